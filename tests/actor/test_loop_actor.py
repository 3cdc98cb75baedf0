"""The life of an actor on the loop: its end, its hooks, and that no message is lost in silence."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pykka import ActorDeadError

from tests.support.actors import (
    HANG_S,
    Died,
    LoopThread,
    Urgent,
    as_another_thread,
    fail,
    in_threads,
    recorder,
    step_runtime,
)
from zfoo_py.actor import Abort, CoreActor, LoopActor, LoopFuture
from zfoo_py.actor.messages import ActorStop
from zfoo_py.errors import InboxFullError

ENDS = {
    "stop": lambda ref: ref.stop(block=False),
    "abort": lambda ref: ref.tell(Abort()),
    "exception": lambda ref: ref.tell(fail(ValueError())),
    "base exception": lambda ref: ref.tell(fail(Died())),
    "base exception in an ask": lambda ref: ref.ask(fail(Died()), block=False),
}


def test_an_actor_knows_its_runtime_and_its_ref():
    runtime, _ = step_runtime()
    cls = recorder()
    ref = runtime.spawn(cls)
    actor = ref._actor_weakref()
    assert actor.runtime is runtime
    assert actor.actor_ref is ref
    assert ref.actor_class is cls
    assert isinstance(cls._create_future(), LoopFuture)
    assert runtime.actors == {actor}


@pytest.mark.parametrize("end", ENDS)
def test_everything_left_at_the_end_is_given_back_or_its_asker_told(end):
    runtime, loop = step_runtime()
    cls = recorder()
    ref = runtime.spawn(cls)
    ENDS[end](ref)
    ref.tell("told")
    asked = ref.ask("asked", block=False)
    stopped = ref.stop(block=False)
    if end != "abort":
        ref.tell(lambda _: cls.handled.append("never"))
    loop.run()
    assert cls.handled == []
    assert cls.undelivered[0] == "told"
    assert runtime.undelivered == len(cls.undelivered) == (1 if end == "abort" else 2)
    assert isinstance(asked.exception(), ActorDeadError)
    assert stopped.value() is True
    assert runtime.actors == set()
    assert not ref.is_alive()


def test_control_that_is_left_is_given_back_too_and_first():
    runtime, loop = step_runtime()
    cls = recorder()
    ref = runtime.spawn(cls)
    ref.tell("normal")
    ref.tell(lambda _: None)
    ref.tell(Abort())
    ref.tell(Urgent(1))
    ref.tell(Urgent(2))
    loop.run()
    assert cls.undelivered[:3] == [Urgent(1), Urgent(2), "normal"]


def test_told_orders_and_proxy_calls_are_given_back_without_their_envelope():
    runtime, loop = step_runtime()
    cls = recorder()
    ref = runtime.spawn(cls)
    ref.tell(Abort())
    ref.tell(ActorStop())
    ref.proxy().on_stop.defer()
    loop.run()
    assert [type(each).__name__ for each in cls.undelivered] == ["_ActorStop", "ProxyCall"]


def test_on_stop_and_on_failure_run_before_the_rest_is_given_back():
    runtime, loop = step_runtime()
    order = []
    cls = recorder(
        on_stop=lambda _: order.append("on_stop"),
        on_undelivered=classmethod(lambda _, message: order.append(message)),
    )
    ref = runtime.spawn(cls)
    ref.stop(block=False)
    ref.tell("left")
    loop.run()
    assert order == ["on_stop", "left"]


@pytest.mark.parametrize("error", [ValueError("hook"), Died("hook")])
@pytest.mark.parametrize("hook", ["on_stop", "on_failure", "on_undelivered"])
def test_a_last_hook_that_raises_loses_nothing_and_harms_nobody(hook, error):
    def raise_it(*_):
        calls.append(hook)
        raise error

    runtime, loop = step_runtime()
    calls: list[str] = []
    cls = recorder(**{hook: classmethod(raise_it) if hook == "on_undelivered" else raise_it})
    neighbour = recorder()
    ref, other = runtime.spawn(cls), runtime.spawn(neighbour)
    ref.tell(fail(ValueError()) if hook == "on_failure" else Abort())
    ref.tell("left")
    asked = ref.ask("asked", block=False)
    other.tell("next")
    loop.run()
    assert calls == [hook]
    assert runtime.undelivered == 1
    assert isinstance(asked.exception(), ActorDeadError)
    assert neighbour.handled == ["next"]
    assert runtime.actors == {other._actor_weakref()}


@pytest.mark.parametrize("error", [ValueError("start"), Died("start")])
def test_an_actor_that_fails_in_on_start_ends_with_on_failure(error):
    def on_start(self):
        self.actor_ref.tell("to myself")
        raise error

    runtime, loop = step_runtime()
    cls = recorder(on_start=on_start)
    ref = runtime.spawn(cls)
    loop.run()
    assert not ref.is_alive()
    assert cls.hooks[0][:2] == (type(error), error)
    assert cls.undelivered == ["to myself"]
    assert runtime.actors == set()


def test_on_start_is_a_turn_so_a_tell_in_it_cannot_raise():
    runtime, loop = step_runtime()
    dead = recorder()
    gone = runtime.spawn(dead)
    gone.tell(Abort())
    loop.run()
    ref = runtime.spawn(recorder(on_start=lambda _: gone.tell("hello")))
    assert ref.is_alive()
    assert dead.undelivered == ["hello"]
    assert not runtime.in_turn


def test_a_constructor_that_raises_leaves_no_actor():
    def init(self):
        LoopActor.__init__(self)
        raise ValueError("constructor")

    runtime, _ = step_runtime()
    with pytest.raises(ValueError, match="constructor"):
        runtime.spawn(recorder(__init__=init))
    assert runtime.actors == set()


def test_an_exception_does_not_stop_a_loop_actor_when_asked_and_does_when_told():
    runtime, loop = step_runtime()
    cls = recorder()
    ref = runtime.spawn(cls)
    error = ValueError()
    asked = ref.ask(fail(error), block=False)
    loop.run()
    assert (ref.is_alive(), asked.exception()) == (True, error)
    ref.tell(fail(error))
    loop.run()
    assert not ref.is_alive()
    assert cls.hooks[1] == (ValueError, error, error.__traceback__)


def test_the_asker_may_have_settled_the_future_itself():
    """A reply that comes late, and the end of the actor, do not trip over it."""
    runtime, loop = step_runtime()
    ref = runtime.spawn(recorder())
    futures = [ref.ask("a", block=False), ref.ask(fail(ValueError()), block=False)]
    ref.tell(lambda actor: actor.actor_ref.tell(Abort()))
    futures += [ref.ask("left", block=False), ref.ask(ActorStop(), block=False)]
    for future in futures:
        future.set("mine")
    loop.run()
    assert [future.value() for future in futures] == ["mine"] * 4
    assert runtime.actors == set()


# ---------------------------------------------------------------------------------- nothing is lost
STEPS = st.lists(
    st.tuples(
        st.sampled_from(("tell", "control", "from a turn", "from a thread", "control from a thread", "ask", "step")),
        st.integers(0, 1),
    ),
    max_size=40,
)
ENDINGS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 1), st.sampled_from(tuple(ENDS))), max_size=3)


@given(STEPS, ENDINGS, st.sampled_from((LoopActor, CoreActor)), st.integers(1, 5))
def test_every_message_is_handled_or_given_back_or_refused(steps, endings, base, limit):
    """Told = handled + undelivered + refused, and every ask is answered, in any order of events."""
    runtime, loop = step_runtime()
    classes = [recorder(base, inbox_limit_messages=limit) for _ in range(2)]
    refs = [runtime.spawn(cls) for cls in classes]
    helper = runtime.spawn(recorder())
    told: Counter[object] = Counter()
    refused: Counter[object] = Counter()
    asked = []

    def tell(ref, message):
        told[message] += 1
        try:
            ref.tell(message)
        except (ActorDeadError, InboxFullError):
            refused[message] += 1

    for number, (step, which) in enumerate(steps):
        for at, victim, end in endings:
            if at == number:
                with suppress(ActorDeadError, InboxFullError):
                    ENDS[end](refs[victim])
        ref = refs[which]
        message = Urgent(number) if step.startswith("control") else number
        if step in {"tell", "control"}:
            tell(ref, message)
        elif step == "from a turn":
            helper.tell(lambda _, ref=ref, message=message: tell(ref, message))
        elif step.endswith("thread"):
            with as_another_thread(runtime):
                tell(ref, message)
        elif step == "ask":
            asked.append(ref.ask(("asked", number), block=False))
        else:
            loop.step()
    for ref in refs:
        ref.stop(block=False)
    loop.run()
    met = [each for cls in classes for each in (*cls.handled, *cls.undelivered) if isinstance(each, (int, Urgent))]
    assert Counter(met) + refused == told
    assert all(future.done() for future in asked)
    assert runtime.actors == {helper._actor_weakref()}


def test_with_real_threads_every_message_is_accounted_for_while_actors_end():
    each, senders = 300, 3
    with LoopThread() as thread:
        cls = recorder(inbox_limit_messages=40)
        refs = [thread.spawn(cls) for _ in range(12)]
        refused: list[object] = []
        answers = []

        def flood():
            for number in range(each):
                ref = refs[number * len(refs) // each]
                try:
                    ref.tell(number)
                except (ActorDeadError, InboxFullError):
                    refused.append(number)
                answers.append(ref.ask(("asked", number), block=False))

        def end():
            for number, ref in enumerate(refs):
                if number % 3 == 0:
                    ref.stop(timeout=HANG_S)
                elif number % 3 == 1:
                    ref.ask(lambda actor: actor.actor_ref.tell(Abort()), block=False)
                else:
                    ref.ask(fail(Died()), block=False)

        in_threads(*[flood] * senders, end)
        for ref in refs:
            ref.stop(timeout=HANG_S)
        told = [number for number in (*cls.handled, *cls.undelivered) if isinstance(number, int)]
        assert len(told) + len(refused) == each * senders
        assert len(answers) == each * senders
        for answer in answers:
            with suppress(ActorDeadError, InboxFullError):
                answer.get(timeout=HANG_S)


# ------------------------------------------------------------------------------------------ many actors
def test_twenty_thousand_actors_leave_nothing():
    """A third of them fail, a third stop, a third are aborted; nobody but the runtime holds them."""

    class Small(LoopActor):
        def on_receive(self, message):
            if message == "fail":
                raise ValueError(message)

        def on_failure(self, *_):
            failed.append(1)

    runtime, loop = step_runtime()
    failed: list[int] = []
    gc.collect()
    before = len(gc.get_objects())
    count = 20_000
    refs = [runtime.spawn(Small) for _ in range(count)]
    actors = [weakref.ref(actor) for actor in runtime.actors]
    assert len(runtime.actors) == count
    for number, ref in enumerate(refs):
        ref.tell(("fail", ActorStop(), Abort())[number % 3])
    loop.run()
    assert runtime.actors == set()
    assert len(failed) == -(-count // 3)
    assert not any(ref.is_alive() for ref in refs)
    refs.clear()
    gc.collect()
    assert sum(actor() is not None for actor in actors) == 0
    actors.clear()
    gc.collect()
    assert len(gc.get_objects()) - before < 100


def test_the_runtime_holds_an_actor_until_it_has_stopped_and_no_longer():
    runtime, loop = step_runtime()
    ref = runtime.spawn(recorder())
    actor = weakref.ref(ref._actor_weakref())
    gc.collect()
    assert actor() is not None
    ref.stop(block=False)
    loop.run()
    gc.collect()
    assert actor() is None


def test_an_actor_that_is_ended_again_in_its_last_hook_ends_once():
    runtime, loop = step_runtime()
    cls = recorder(on_stop=lambda actor: (actor.hooks.append("stop"), actor._stop()))
    ref = runtime.spawn(cls)
    ref.stop(block=False)
    loop.run()
    assert cls.hooks == ["start", "stop"]
