"""What Pykka documents, on its own threading runtime and on ours. test_pykka_differences.py has the exceptions."""

from __future__ import annotations

import asyncio
import logging
import operator
import queue
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import pykka
import pytest

from tests.support.actors import HANG_S, LoopThread, fail, recorder
from zfoo_py.actor import LoopActor, LoopFuture


class Kit(NamedTuple):
    """One runtime under test."""

    name: str
    actor_class: Any
    future_class: Any
    start: Any


@pytest.fixture(params=["threading", "loop"])
def kit(request) -> Iterator[Kit]:
    logging.getLogger("pykka").addHandler(logging.NullHandler())
    if request.param == "threading":
        yield Kit("threading", pykka.ThreadingActor, pykka.ThreadingFuture, lambda cls, *args: cls.start(*args))
        pykka.ActorRegistry.stop_all(timeout=HANG_S)
    else:
        with LoopThread() as thread:
            yield Kit("loop", LoopActor, LoopFuture, thread.spawn)


class Playback:
    """Reached through an actor by traversable."""

    state = "idle"

    def play(self):
        return "playing"


@pykka.traversable
class Deck:
    """A traversable with a traversable in it."""

    name = "deck"

    def __init__(self) -> None:
        self.playback = pykka.traversable(Playback())


def counter(kit: Kit) -> Any:
    """An actor class with methods and attributes for proxies."""

    class Counter(kit.actor_class):
        label = "class attribute"

        def __init__(self, start=0, step=1):
            super().__init__()
            self.count = start
            self.step = step
            self.deck = Deck()
            self.failure = None
            self._hidden = 1

        def add(self, amount=1, *, times=1):
            self.count += amount * times * self.step
            return self.count

        def fail(self):
            raise LookupError("as told")

        def me(self):
            return self.actor_ref.proxy()

        def end(self):
            self.stop()
            return "ending"

    return Counter


# ------------------------------------------------------------------------------------------------ life
def test_start_passes_the_arguments_and_gives_a_living_ref(kit):
    ref = kit.start(counter(kit), 5, 2)
    assert isinstance(ref, pykka.ActorRef)
    assert ref.is_alive()
    assert ref.proxy().count.get(timeout=HANG_S) == 5
    assert ref.proxy().step.get(timeout=HANG_S) == 2


def test_each_actor_has_a_urn_of_its_own_and_its_ref_names_class_and_urn(kit):
    cls = counter(kit)
    one, other = kit.start(cls), kit.start(cls)
    assert one.actor_urn.startswith("urn:uuid:")
    assert one.actor_urn != other.actor_urn
    assert one.actor_class is cls
    assert str(one) == f"Counter ({one.actor_urn})"
    assert repr(one) == f"<ActorRef for {one}>"


def test_stop_returns_true_for_a_living_actor_and_false_for_a_dead_one(kit):
    ref = kit.start(recorder(kit.actor_class))
    assert ref.stop(timeout=HANG_S) is True
    assert not ref.is_alive()
    assert ref.stop(timeout=HANG_S) is False
    assert ref.stop(block=False).get(timeout=HANG_S) is False


def test_two_stops_behind_each_other_are_both_true(kit):
    cls = recorder(kit.actor_class)
    ref, gate = kit.start(cls), threading.Event()
    ref.tell(lambda _: gate.wait(HANG_S))
    stops = [ref.stop(block=False), ref.stop(block=False)]
    gate.set()
    assert [stop.get(timeout=HANG_S) for stop in stops] == [True, True]


def test_stop_comes_in_order_and_asks_behind_it_get_actor_dead(kit):
    cls = recorder(kit.actor_class)
    ref, gate = kit.start(cls), threading.Event()
    ref.tell(lambda _: gate.wait(HANG_S))
    ref.tell("before")
    stopped = ref.stop(block=False)
    asked = ref.ask("after", block=False)
    gate.set()
    assert stopped.get(timeout=HANG_S) is True
    with pytest.raises(pykka.ActorDeadError, match="stopped before handling the message"):
        asked.get(timeout=HANG_S)
    assert cls.handled == ["before"]


def test_an_actor_stops_itself_after_the_messages_it_already_has(kit):
    cls = recorder(kit.actor_class)
    ref, gate = kit.start(cls), threading.Event()
    ref.tell(lambda _: gate.wait(HANG_S))
    ref.tell(lambda actor: actor.stop())
    ref.tell("already there")
    gate.set()
    assert ref.actor_stopped.wait(HANG_S)
    ref.stop(timeout=HANG_S)
    assert cls.handled == ["already there"]


def test_after_the_end_tell_raises_ask_fails_and_a_proxy_cannot_be_made(kit):
    ref = kit.start(recorder(kit.actor_class))
    ref.stop(timeout=HANG_S)
    with pytest.raises(pykka.ActorDeadError, match=r"Recorder.* not found"):
        ref.tell("too late")
    with pytest.raises(pykka.ActorDeadError, match=r"Recorder.* not found"):
        ref.ask("too late", timeout=HANG_S)
    future = ref.ask("too late", block=False)
    with pytest.raises(pykka.ActorDeadError):
        future.get(timeout=HANG_S)
    with pytest.raises(pykka.ActorDeadError):
        ref.proxy()


# ------------------------------------------------------------------------------------------------ hooks
def test_on_start_comes_first_and_on_stop_last(kit):
    cls = recorder(kit.actor_class)
    ref = kit.start(cls)
    assert ref.ask(lambda actor: list(actor.hooks), timeout=HANG_S) == ["start"]
    ref.stop(timeout=HANG_S)
    assert cls.hooks == ["start", "stop"]


def test_on_failure_instead_of_on_stop_gets_the_exception(kit):
    error = ValueError("told")
    failed = threading.Event()
    got = []

    def on_failure(self, *failure):
        got.extend(failure)
        failed.set()

    cls = recorder(kit.actor_class, on_failure=on_failure)
    ref = kit.start(cls)
    ref.tell(fail(error))
    assert failed.wait(HANG_S)
    assert got[:2] == [ValueError, error]
    assert got[2] is error.__traceback__
    assert not ref.is_alive()
    assert cls.hooks == ["start"]


def test_an_exception_in_on_start_ends_the_actor(kit):
    def on_start(self):
        raise ValueError("no start")

    ref = kit.start(recorder(kit.actor_class, on_start=on_start))
    assert ref.actor_stopped.wait(HANG_S)
    assert not ref.is_alive()


def test_an_exception_in_on_stop_or_on_failure_does_not_keep_the_actor_alive(kit):
    def raise_it(self, *_):
        raise ValueError("in the hook")

    stopped = kit.start(recorder(kit.actor_class, on_stop=raise_it))
    assert stopped.stop(timeout=HANG_S) is True
    failed = kit.start(recorder(kit.actor_class, on_failure=raise_it))
    failed.tell(fail(KeyError()))
    assert failed.actor_stopped.wait(HANG_S)


# ------------------------------------------------------------------------------------------------ messages
@pytest.mark.parametrize("message", ["text", b"bytes", 7, None, {"a": 1}, ["list"], ("tuple",), object()])
def test_any_object_is_a_message_and_the_return_value_the_reply(kit, message):
    assert kit.start(recorder(kit.actor_class)).ask(message, timeout=HANG_S) is message


def test_tells_are_handled_in_order(kit):
    cls = recorder(kit.actor_class)
    ref = kit.start(cls)
    for number in range(300):
        ref.tell(number)
    ref.stop(timeout=HANG_S)
    assert cls.handled == list(range(300))


def test_ask_without_block_gives_a_future_of_the_runtimes_kind(kit):
    future = kit.start(recorder(kit.actor_class)).ask("ping", block=False)
    assert isinstance(future, kit.future_class)
    assert future.get(timeout=HANG_S) == "ping"
    assert future.get() == "ping"


def test_ask_that_is_not_answered_in_time_raises_timeout_and_is_handled_all_the_same(kit):
    cls = recorder(kit.actor_class)
    ref, gate = kit.start(cls), threading.Event()
    ref.tell(lambda _: gate.wait(HANG_S))
    with pytest.raises(pykka.Timeout, match="0 seconds"):
        ref.ask("late", timeout=0)
    gate.set()
    ref.stop(timeout=HANG_S)
    assert cls.handled == ["late"]


def test_exception_in_an_ask_goes_to_the_asker_and_the_actor_lives_on(kit):
    ref = kit.start(recorder(kit.actor_class))
    error = ValueError("asked")
    with pytest.raises(ValueError, match="asked") as caught:
        ref.ask(fail(error), timeout=HANG_S)
    assert caught.value is error
    assert ref.ask("still there", timeout=HANG_S) == "still there"


def test_exception_in_a_tell_ends_the_actor(kit):
    ref = kit.start(recorder(kit.actor_class))
    ref.tell(fail(ValueError()))
    assert ref.actor_stopped.wait(HANG_S)
    assert ref.stop(timeout=HANG_S) is False


def test_default_on_receive_warns_and_answers_none(kit, caplog):
    class Silent(kit.actor_class):
        pass

    assert kit.start(Silent).ask({"unknown": 1}, timeout=HANG_S) is None
    assert "Unexpected message received by Silent" in caplog.text


# ------------------------------------------------------------------------------------------------ proxies
def test_proxy_reads_attributes_and_calls_methods_with_arguments(kit):
    proxy = kit.start(counter(kit), 1).proxy()
    assert proxy.label.get(timeout=HANG_S) == "class attribute"
    assert proxy.add().get(timeout=HANG_S) == 2
    assert proxy.add(10, times=2).get(timeout=HANG_S) == 22
    assert proxy.count.get(timeout=HANG_S) == 22


def test_proxy_sets_attributes_and_waits_for_it(kit):
    ref = kit.start(counter(kit))
    proxy = ref.proxy()
    proxy.count = 41
    assert proxy.add().get(timeout=HANG_S) == 42
    proxy.new_one = "new"
    assert proxy.new_one.get(timeout=HANG_S) == "new"


def test_proxy_hides_private_and_missing_attributes(kit):
    proxy = kit.start(counter(kit)).proxy()
    with pytest.raises(AttributeError, match="has no attribute '_hidden'"):
        proxy._hidden  # noqa: B018
    with pytest.raises(AttributeError, match="has no attribute 'missing'"):
        proxy.missing()
    assert {"add", "count", "label", "actor_ref"} <= set(dir(proxy))
    assert "_hidden" not in dir(proxy)


def test_proxy_brings_exceptions_to_the_caller_and_the_actor_lives_on(kit):
    proxy = kit.start(counter(kit)).proxy()
    with pytest.raises(LookupError, match="as told"):
        proxy.fail().get(timeout=HANG_S)
    assert proxy.add().get(timeout=HANG_S) == 1


def test_deferred_call_has_no_future_and_its_exception_ends_the_actor(kit):
    ref = kit.start(counter(kit))
    proxy = ref.proxy()
    assert proxy.add.defer(3) is None
    assert proxy.count.get(timeout=HANG_S) == 3
    proxy.fail.defer()
    assert ref.actor_stopped.wait(HANG_S)


def test_traversable_attributes_are_reached_at_any_depth(kit):
    proxy = kit.start(counter(kit)).proxy()
    assert isinstance(proxy.deck, pykka.ActorProxy)
    assert proxy.deck.name.get(timeout=HANG_S) == "deck"
    assert proxy.deck.playback.play().get(timeout=HANG_S) == "playing"
    proxy.deck.playback.state = "paused"
    assert proxy.deck.playback.state.get(timeout=HANG_S) == "paused"
    with pytest.raises(ValueError, match="slots"):
        pykka.traversable(type("Slotted", (), {"__slots__": ()})())


def test_proxies_can_be_chained_and_made_by_the_actor_itself(kit):
    ref = kit.start(counter(kit))
    own = ref.proxy().me().get(timeout=HANG_S)
    assert own == ref.proxy()
    assert hash(own) == hash(ref.proxy())
    assert own.add().get(timeout=HANG_S) == 1


def test_an_actor_schedules_its_own_work_behind_what_it_has(kit):
    class Cooperative(kit.actor_class):
        def __init__(self):
            super().__init__()
            self._in_future = self.actor_ref.proxy()
            self.done = []

        def work(self, parts):
            self.done.append(parts)
            if parts > 1:
                self._in_future.work(parts - 1)
            else:
                self.stop()

        def on_receive(self, message):
            self.done.append(message) if message != "hold" else gate.wait(HANG_S)

        def on_stop(self):
            results.extend(self.done)

    gate, results = threading.Event(), []
    ref = kit.start(Cooperative)
    proxy = ref.proxy()
    ref.tell("hold")
    proxy.work(3)
    ref.tell("between")
    gate.set()
    assert ref.actor_stopped.wait(HANG_S)
    ref.stop(timeout=HANG_S)
    assert results == [3, "between", 2, 1]


def test_a_method_can_stop_its_actor_and_still_answer(kit):
    ref = kit.start(counter(kit))
    assert ref.proxy().end().get(timeout=HANG_S) == "ending"
    assert ref.actor_stopped.wait(HANG_S)


def test_proxy_messages_can_be_sent_by_hand(kit):
    ref = kit.start(counter(kit))
    ref.tell(pykka.messages.ProxyCall(attr_path=("add",), args=(4,), kwargs={"times": 2}))
    ref.ask(pykka.messages.ProxySetAttr(attr_path=("step",), value=10), timeout=HANG_S)
    assert ref.ask(pykka.messages.ProxyCall(("add",), (), {}), timeout=HANG_S) == 18
    assert ref.ask(pykka.messages.ProxyGetAttr(attr_path=("count",)), timeout=HANG_S) == 18


# ------------------------------------------------------------------------------------------------ futures
def test_future_is_set_once(kit):
    future = kit.future_class()
    future.set("first")
    assert future.get(timeout=0) == "first"
    for again in (lambda: future.set("second"), lambda: future.set_exception((ValueError, ValueError(), None))):
        with pytest.raises(queue.Full):
            again()
    with pytest.raises(queue.Full):
        future.set_get_hook(lambda _: None)
    assert future.get() == "first"


def test_future_without_value_times_out(kit):
    with pytest.raises(pykka.Timeout):
        kit.future_class().get(timeout=0)


def test_future_carries_exceptions_given_or_current(kit):
    given = kit.future_class()
    given.set_exception((ValueError, ValueError("given"), None))
    current = kit.future_class()
    try:
        {}["current"]
    except KeyError:
        current.set_exception()
    only_class = kit.future_class()
    only_class.set_exception((LookupError, None, None))
    for future, expected in ((given, ValueError), (current, KeyError), (only_class, LookupError)):
        for _ in range(2):
            with pytest.raises(expected) as caught:
                future.get(timeout=0)
            assert type(caught.value) is expected


def test_get_hook_makes_the_value_once_and_keeps_it(kit):
    calls = []
    future = kit.future_class()
    future.set_get_hook(lambda timeout: calls.append(timeout) or len(calls))
    assert [future.get(timeout=3), future.get(timeout=4)] == [1, 1]
    assert calls == [3]
    with pytest.raises(queue.Full):
        future.set("value")
    with pytest.raises(queue.Full):
        future.set_exception((ValueError, ValueError(), None))


def hooked(kit, value):
    future = kit.future_class()
    future.set_get_hook(lambda _: value)
    return future


def settled(kit, value):
    future = kit.future_class()
    future.set(value)
    return future


@pytest.mark.parametrize("make", [hooked, settled])
def test_filter_map_reduce_and_join(kit, make):
    assert make(kit, 30).map(lambda x: x + 10).get(timeout=0) == 40
    assert make(kit, {"foo": "bar"}).map(operator.itemgetter("foo")).get(timeout=0) == "bar"
    assert make(kit, range(5, 15)).filter(lambda x: x > 10).get(timeout=0) == [11, 12, 13, 14]
    assert make(kit, ["a", "b", "c"]).reduce(operator.add).get(timeout=0) == "abc"
    assert make(kit, [1, 2, 3]).reduce(operator.add, 5).get(timeout=0) == 11
    assert make(kit, []).reduce(operator.add, 5).get(timeout=0) == 5
    joined = make(kit, "abc").join(make(kit, 123), make(kit, False))
    assert joined.get(timeout=0) == ["abc", 123, False]
    chained = joined.map(lambda values: values[1:]).filter(bool).reduce(operator.add, 1)
    assert chained.get(timeout=0) == 124


def test_functions_over_wrong_values_fail_at_get(kit):
    for future in (settled(kit, 1).filter(bool), settled(kit, 1).reduce(operator.add), settled(kit, 1).map(len)):
        with pytest.raises(TypeError):
            future.get(timeout=0)


def test_derived_futures_carry_the_error_of_their_source(kit):
    failed = kit.future_class()
    failed.set_exception((ValueError, ValueError("source"), None))
    for derived in (failed.map(str), failed.filter(bool), failed.reduce(max), settled(kit, 1).join(failed)):
        with pytest.raises(ValueError, match="source"):
            derived.get(timeout=0)


def test_derived_futures_follow_values_that_come_later(kit):
    first, second = kit.future_class(), kit.future_class()
    joined = first.join(second).map(sum)
    with pytest.raises(pykka.Timeout):
        joined.get(timeout=0)
    second.set(2)
    first.set(1)
    assert joined.get(timeout=0) == 3


def test_get_all_collects_in_order_and_times_out(kit):
    ref = kit.start(recorder(kit.actor_class))
    futures = [ref.ask(number, block=False) for number in range(5)]
    assert pykka.get_all(futures, timeout=HANG_S) == [0, 1, 2, 3, 4]
    with pytest.raises(pykka.Timeout):
        pykka.get_all([settled(kit, 1), kit.future_class()], timeout=0)


def test_futures_of_actors_can_be_awaited(kit):
    proxy = kit.start(counter(kit)).proxy()

    async def main():
        assert await proxy.add() == 1
        assert await proxy.count == 1
        with pytest.raises(LookupError, match="as told"):
            await proxy.fail()
        return await proxy.actor_ref.stop(block=False)

    assert asyncio.run(main()) is True
