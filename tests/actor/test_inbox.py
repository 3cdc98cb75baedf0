"""The two queues of an actor: which message comes first, and how many there may be."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pykka import ActorDeadError
from pykka._envelope import Envelope

from tests.support.actors import HANG_S, LoopThread, MoreUrgent, Urgent, in_threads, recorder, step_runtime
from zfoo_py.actor import Abort, Control
from zfoo_py.actor.inbox import NO_CONTROL
from zfoo_py.errors import InboxFullError

NORMAL, CONTROL = "normal", "control"


def message(kind: str, number: int, sender: str = "") -> object:
    """Control messages of two classes, and ordinary ones."""
    if kind == CONTROL:
        return (Urgent, MoreUrgent)[number % 2](number=number, sender=sender)
    return (sender, number)


def expected(sent):
    """All control messages in the order of sending, then all others in theirs."""
    return [m for m in sent if isinstance(m, Control)] + [m for m in sent if not isinstance(m, Control)]


# ------------------------------------------------------------------------------------------------ order
@pytest.mark.parametrize("kinds", list(itertools.product((NORMAL, CONTROL), repeat=6)), ids="-".join)
def test_control_overtakes_and_each_class_is_fifo_in_every_order_of_sending(kinds):
    runtime, loop = step_runtime()
    cls = recorder()
    ref = runtime.spawn(cls)
    sent = [message(kind, number) for number, kind in enumerate(kinds)]
    for each in sent:
        ref.tell(each)
    loop.run()
    assert cls.handled == expected(sent)


def merges(first, second):
    """Every way to interleave two sequences."""
    size = len(first) + len(second)
    for places in itertools.combinations(range(size), len(first)):
        ones, others = iter(first), iter(second)
        yield [next(ones) if place in places else next(others) for place in range(size)]


def test_two_senders_in_every_interleaving_keep_their_order_within_each_class():
    first = [message(kind, number, "a") for number, kind in enumerate((NORMAL, CONTROL, NORMAL, CONTROL))]
    second = [message(kind, number, "b") for number, kind in enumerate((CONTROL, NORMAL, NORMAL, CONTROL))]
    for sent in merges(first, second):
        runtime, loop = step_runtime()
        cls = recorder()
        ref = runtime.spawn(cls)
        for each in sent:
            ref.tell(each)
        loop.run()
        assert cls.handled == expected(sent)


@given(st.lists(st.sampled_from((NORMAL, CONTROL, "turn")), max_size=30))
def test_control_overtakes_also_between_turns(steps):
    """What was handled already cannot be overtaken; what waits is."""
    runtime, _ = step_runtime()
    cls = recorder()
    ref = runtime.spawn(cls)
    model: list[object] = []
    handled = []
    for number, step in enumerate(steps):
        if step == "turn":
            ref.actor_inbox.run(1)
            handled += expected(model)[:1]
            model = [each for each in model if each not in handled]
        else:
            model.append(message(step, number))
            ref.tell(model[-1])
        assert cls.handled == handled


def test_control_sent_in_a_turn_overtakes_what_waits_already():
    runtime, loop = step_runtime()
    cls = recorder()
    ref = runtime.spawn(cls)
    ref.tell(lambda actor: actor.actor_ref.tell(Urgent(7)))
    ref.tell("waits")
    loop.run()
    assert cls.handled == [Urgent(7), "waits"]


def test_asks_of_control_messages_overtake_too():
    runtime, loop = step_runtime()
    cls = recorder()
    ref = runtime.spawn(cls)
    ref.tell("first")
    answer = ref.ask(Urgent(1), block=False)
    loop.run()
    assert cls.handled == [Urgent(1), "first"]
    assert answer.value() == Urgent(1)


@pytest.mark.parametrize("order", list(itertools.permutations(("tell", "control", "stop", "abort"))), ids="-".join)
def test_stop_is_in_order_and_abort_overtakes_everything_but_control(order):
    runtime, loop = step_runtime()
    cls = recorder()
    ref = runtime.spawn(cls)
    send = {
        "tell": lambda: ref.tell("tell"),
        "control": lambda: ref.tell(Urgent()),
        "stop": lambda: ref.stop(block=False),
        "abort": lambda: ref.tell(Abort("now")),
    }
    outcomes = [send[name]() for name in order]
    loop.run()
    assert cls.handled == ([Urgent()] if order.index("control") < order.index("abort") else [])
    assert "tell" in cls.undelivered
    assert cls.hooks == ["start", "stop"]
    assert outcomes[order.index("stop")].value() is True


def test_stop_alone_lets_everything_before_it_be_handled():
    runtime, loop = step_runtime()
    cls = recorder()
    ref = runtime.spawn(cls)
    ref.tell("before")
    ref.stop(block=False)
    ref.tell("after")
    ref.tell(Urgent())
    loop.run()
    assert cls.handled == [Urgent(), "before"]
    assert cls.undelivered == ["after"]


# ------------------------------------------------------------------------------------------------ bound
def test_the_bound_is_exact_on_the_loop():
    runtime, loop = step_runtime(inbox_limit_messages=3)
    cls = recorder()
    ref = runtime.spawn(cls)
    for number in range(3):
        ref.tell(number)
    with pytest.raises(InboxFullError, match=r"Recorder is full \(3 messages\)") as caught:
        ref.tell(3)
    assert caught.value.limit_messages == 3
    assert isinstance(ref.ask(3, block=False).exception(), InboxFullError)
    loop.run()
    ref.tell("room again")
    loop.run()
    assert cls.handled == [0, 1, 2, "room again"]


def test_an_actor_class_may_have_a_bound_of_its_own():
    runtime, _ = step_runtime(inbox_limit_messages=3)
    assert runtime.spawn(recorder(inbox_limit_messages=1)).actor_inbox.limit == 1
    assert runtime.spawn(recorder()).actor_inbox.limit == 3


def test_control_abort_and_stop_pass_a_full_inbox_and_do_not_count():
    runtime, loop = step_runtime(inbox_limit_messages=2)
    cls = recorder()
    ref = runtime.spawn(cls)
    ref.tell(0)
    stops = [ref.stop(block=False) for _ in range(3)]
    for number in range(5):
        ref.tell(Urgent(number))
    ref.tell(1)
    with pytest.raises(InboxFullError):
        ref.tell(2)
    stops.append(ref.stop(block=False))
    loop.run()
    assert cls.handled == [*(Urgent(number) for number in range(5)), 0]
    assert [stop.value() for stop in stops] == [True] * 4
    assert cls.undelivered == [1]


def test_a_refused_message_leaves_the_inbox_as_it_was():
    runtime, loop = step_runtime(inbox_limit_messages=1)
    cls = recorder()
    ref = runtime.spawn(cls)
    ref.tell("kept")
    for _ in range(10):
        with pytest.raises(InboxFullError):
            ref.tell("refused")
    loop.run()
    assert (cls.handled, cls.undelivered, runtime.undelivered) == (["kept"], [], 0)


def test_messages_of_threads_count_while_they_are_on_their_way():
    runtime, loop = step_runtime(inbox_limit_messages=3)
    cls = recorder()
    ref = runtime.spawn(cls)

    def from_a_thread():
        ref.tell(Urgent())
        ref.stop(block=False)
        for number in range(3):
            ref.tell(number)
        with pytest.raises(InboxFullError):
            ref.tell(3)

    in_threads(from_a_thread)
    assert ref.actor_inbox.foreign == 3, "control and stop do not count"
    loop.run()
    assert ref.actor_inbox.foreign == 0
    assert cls.handled == [Urgent()]
    assert cls.undelivered == [0, 1, 2], "they came behind the stop"


def test_loop_and_threads_together_never_pass_twice_the_bound():
    runtime, loop = step_runtime(inbox_limit_messages=5)
    cls = recorder()
    ref = runtime.spawn(cls)
    in_threads(lambda: [ref.tell(number) for number in range(5)])
    for number in range(5):
        ref.tell(number)
    with pytest.raises(InboxFullError):
        ref.tell("loop")
    runtime._take_foreign()
    with pytest.raises(InboxFullError):
        in_threads(lambda: [ref.tell(number) for number in range(6)])
    loop.run()
    assert len(cls.handled) == 15


def test_a_flood_of_threads_is_refused_with_a_typed_error_and_control_still_passes():
    limit, each, senders = 50, 400, 4
    counts: Counter[str] = Counter()
    depths = []

    def on_receive(self, got):
        depths.append(len(self.actor_inbox.normal) - self.actor_inbox.stops)
        counts[CONTROL if isinstance(got, Urgent) else NORMAL] += 1

    with LoopThread() as thread:
        cls = recorder(on_receive=on_receive, inbox_limit_messages=limit)
        ref = thread.spawn(cls)

        def flood():
            refused = 0
            for number in range(each):
                try:
                    ref.tell(number)
                except InboxFullError:
                    refused += 1
                ref.tell(Urgent(number))
            refusals.append(refused)

        refusals: list[int] = []
        in_threads(*[flood] * senders)
        assert ref.stop(timeout=HANG_S) is True
    assert counts[CONTROL] == each * senders
    assert counts[NORMAL] + sum(refusals) == each * senders
    assert max(depths) <= limit


def test_a_flood_against_a_loop_that_is_busy_is_bounded_exactly():
    limit, each = 30, 100
    with LoopThread() as thread:
        cls = recorder(inbox_limit_messages=limit)
        ref = thread.spawn(cls)
        refused = []

        def flood():
            for number in range(each):
                try:
                    ref.tell(number)
                except InboxFullError as error:
                    refused.append(error)

        thread.call(in_threads, flood, flood)  # the loop waits for the threads, so nothing is handled meanwhile
        assert ref.stop(timeout=HANG_S) is True
    assert len(cls.handled) == limit
    assert len(refused) == 2 * each - limit


# ------------------------------------------------------------------------------------- Pykka's interface
def test_inbox_answers_pykkas_questions():
    runtime, loop = step_runtime()
    cls = recorder()
    inbox = runtime.spawn(cls).actor_inbox
    assert inbox.empty()
    inbox.put(Envelope("put"))
    assert not inbox.empty()
    with pytest.raises(NotImplementedError, match="drained by its runtime"):
        inbox.get()
    loop.run()
    assert cls.handled == ["put"]


def test_a_closed_inbox_lets_go_of_its_actor_and_takes_nothing():
    runtime, loop = step_runtime()
    ref = runtime.spawn(recorder())
    inbox = ref.actor_inbox
    assert inbox.actor is ref._actor_weakref()
    ref.tell(Abort())
    loop.run()
    assert (inbox.closed, inbox.actor, inbox.empty()) == (True, None, True)
    with pytest.raises(ActorDeadError):
        inbox.put(Envelope("late"))


def test_the_deque_that_stands_for_no_control_stays_empty():
    """All inboxes share it until their first control message, whichever way that comes."""
    runtime, loop = step_runtime()
    refs = [runtime.spawn(recorder()) for _ in range(3)]
    refs[0].tell(Urgent())
    in_threads(lambda: refs[1].tell(Urgent()))
    runtime._take_foreign()
    refs[2].tell(Abort())
    loop.run()
    assert list(NO_CONTROL) == []
