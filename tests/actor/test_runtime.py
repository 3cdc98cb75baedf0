"""Turns on a loop: wake-ups, fairness, flushes, timers, threads, and several runtimes side by side."""

from __future__ import annotations

import asyncio
import threading

import pytest
import uvloop
from pykka import ActorDeadError

from tests.support.actors import HANG_S, Died, LoopThread, as_another_thread, fail, in_threads, recorder, step_runtime
from zfoo_py.actor import Abort, LoopFuture, Runtime
from zfoo_py.actor.runtime import (
    BATCH_MESSAGES,
    DEFAULT_INBOX_LIMIT_MESSAGES,
    MAX_BURST,
    MAX_TURNS_PER_WAKE,
)
from zfoo_py.errors import InboxFullError
from zfoo_py.testing import FakeClock


def spawn(runtime, **attributes):
    """Return a ref of a fresh recorder and its class."""
    cls = recorder(**attributes)
    return runtime.spawn(cls), cls


# ------------------------------------------------------------------------------------------------ wake-ups
def test_many_messages_to_many_actors_take_one_wake_up():
    runtime, loop = step_runtime()
    actors = [spawn(runtime) for _ in range(5)]
    for number in range(100):
        actors[number % 5][0].tell(number)
    assert loop.step() == 1
    assert sum(len(cls.handled) for _, cls in actors) == 100
    assert loop.step() == 0


def test_what_turns_tell_is_handled_in_the_same_wake_up():
    """A chain through ten actors costs one wake-up."""
    runtime, loop = step_runtime()
    refs = [spawn(runtime)[0] for _ in range(10)]
    last, cls = spawn(runtime)

    def hop(left):
        return lambda _: left[0].tell(hop(left[1:])) if left else last.tell("arrived")

    refs[0].tell(hop(refs[1:]))
    loop.step()
    assert cls.handled == ["arrived"]


def test_no_turn_runs_inside_a_tell():
    runtime, loop = step_runtime()
    ref, cls = spawn(runtime)
    ref.tell("x")
    assert cls.handled == []
    assert not runtime.in_turn
    ref.tell(lambda actor: cls.handled.append(actor.runtime.in_turn))
    loop.run()
    assert cls.handled == ["x", True]
    assert not runtime.in_turn


def test_a_wake_up_is_bounded_and_the_rest_follows_in_the_next():
    runtime, loop = step_runtime()
    ref, cls = spawn(runtime)
    for number in range(2 * MAX_TURNS_PER_WAKE + 1):
        ref.tell(number)
    handled = []
    while loop.step():
        handled.append(len(cls.handled))
    assert handled == [MAX_TURNS_PER_WAKE, 2 * MAX_TURNS_PER_WAKE, 2 * MAX_TURNS_PER_WAKE + 1]
    assert cls.handled == list(range(2 * MAX_TURNS_PER_WAKE + 1))


def test_an_actor_that_tells_itself_for_ever_leaves_the_loop_to_others():
    runtime, loop = step_runtime()
    ref, cls = spawn(runtime)
    turns = []

    def again(actor):
        turns.append(1)
        actor.actor_ref.tell(again)

    ref.tell(again)
    for wake_up in range(1, 4):
        assert loop.step() == 1
        assert len(turns) == wake_up * MAX_TURNS_PER_WAKE
    ref.tell(Abort())
    loop.run()
    assert cls.undelivered == [again]


def test_two_busy_actors_alternate_by_bursts():
    runtime, loop = step_runtime()
    order = []
    refs = [spawn(runtime, on_receive=lambda self, message: order.append(message))[0] for _ in range(2)]
    for _ in range(3 * MAX_BURST):
        for name, ref in zip("ab", refs, strict=True):
            ref.tell(name)
    loop.run()
    assert "".join(order) == ("a" * MAX_BURST + "b" * MAX_BURST) * 3


def test_a_quiet_actor_waits_for_one_burst_of_a_busy_one_at_most():
    runtime, loop = step_runtime()
    (busy, busy_class), (quiet, quiet_class) = spawn(runtime), spawn(runtime)
    for number in range(10 * MAX_BURST):
        busy.tell(number)
    quiet.tell(lambda _: quiet_class.handled.append(len(busy_class.handled)))
    loop.run()
    assert quiet_class.handled == [MAX_BURST]


def test_an_actor_that_dies_in_its_burst_does_not_stop_the_wake_up():
    runtime, loop = step_runtime()
    (dying, dead), (other, cls) = spawn(runtime), spawn(runtime)
    dying.tell(fail(Died()))
    dying.tell("left")
    other.tell("next")
    loop.step()
    assert (dead.undelivered, cls.handled) == (["left"], ["next"])


# ------------------------------------------------------------------------------------------------ flushes
def test_flushes_run_once_after_all_turns_of_a_wake_up():
    runtime, loop = step_runtime()
    ref, cls = spawn(runtime)
    ref.tell(lambda actor: actor.runtime.at_turn_end(lambda: cls.handled.append("flush 1")))
    ref.tell(lambda actor: actor.runtime.at_turn_end(lambda: cls.handled.append("flush 2")))
    ref.tell("last turn")
    loop.step()
    assert cls.handled == ["last turn", "flush 1", "flush 2"]
    ref.tell("another wake-up")
    loop.run()
    assert cls.handled[3:] == ["another wake-up"]


def test_a_flush_asked_for_outside_of_a_turn_wakes_the_loop():
    runtime, loop = step_runtime()
    flushed = []
    runtime.at_turn_end(lambda: flushed.append(runtime.in_turn))
    runtime.at_turn_end(lambda: flushed.append(runtime.in_turn))
    assert flushed == []
    assert loop.step() == 1
    assert flushed == [True, True]
    assert loop.step() == 0


def test_a_flush_asked_for_in_on_start_comes_too():
    runtime, loop = step_runtime()
    flushed = []
    runtime.spawn(recorder(on_start=lambda actor: actor.runtime.at_turn_end(lambda: flushed.append(1))))
    loop.run()
    assert flushed == [1]


def test_what_a_flush_tells_is_handled_in_the_same_wake_up():
    runtime, loop = step_runtime()
    ref, cls = spawn(runtime)
    runtime.at_turn_end(lambda: ref.tell("from a flush"))
    loop.step()
    assert cls.handled == ["from a flush"]


@pytest.mark.parametrize("error", [ValueError(), Died()])
def test_a_flush_that_raises_harms_no_other(error):
    runtime, loop = step_runtime()
    ref, cls = spawn(runtime)
    runtime.at_turn_end(lambda: cls.handled.append("first"))
    runtime.at_turn_end(lambda: fail(error)(None))
    runtime.at_turn_end(lambda: cls.handled.append("last"))
    loop.run()
    ref.tell("next")
    loop.run()
    assert cls.handled == ["first", "last", "next"]


def test_flushes_for_ever_leave_the_loop_to_others():
    runtime, loop = step_runtime()
    flushed = []

    def again():
        flushed.append(1)
        if len(flushed) <= 2 * MAX_TURNS_PER_WAKE:
            runtime.at_turn_end(again)

    runtime.at_turn_end(again)
    assert loop.step() == 1
    assert len(flushed) == MAX_TURNS_PER_WAKE
    loop.run()
    assert len(flushed) == 2 * MAX_TURNS_PER_WAKE + 1


# ----------------------------------------------------------------------------- deliver, batches, timers
def test_deliver_runs_at_once_with_everything_it_causes():
    runtime, loop = step_runtime()
    (first, _), (second, cls) = spawn(runtime), spawn(runtime)
    runtime.deliver(first, lambda _: second.tell("caused"))
    assert cls.handled == ["caused"]
    assert not runtime.in_turn
    loop.run()


def test_deliver_within_a_turn_only_tells():
    runtime, loop = step_runtime()
    (first, cls), (second, other) = spawn(runtime), spawn(runtime)

    def turn(_):
        runtime.deliver(second, "inner")
        cls.handled.append(list(other.handled))

    runtime.deliver(first, turn)
    assert (cls.handled, other.handled) == ([[]], ["inner"])
    loop.run()


def test_deliver_never_raises_into_the_callback_of_a_socket():
    runtime, loop = step_runtime(inbox_limit_messages=1)
    (gone, dead), (crowded, full) = spawn(runtime), spawn(runtime)
    runtime.deliver(gone, Abort())
    crowded.tell("first")
    runtime.deliver(gone, "late")
    crowded.tell("second")
    runtime.deliver(crowded, "too much")
    assert (dead.undelivered, full.undelivered) == (["late"], ["too much"])
    assert full.handled == ["first", "second"]
    assert not runtime.in_turn
    loop.run()


def test_a_batch_of_tells_from_coroutines_is_run_without_waiting():
    runtime, loop = step_runtime()
    ref, cls = spawn(runtime)
    for number in range(BATCH_MESSAGES + 1):
        ref.tell(number)
        runtime.drain_batch()
        assert len(cls.handled) == (BATCH_MESSAGES if number >= BATCH_MESSAGES - 1 else 0)
    loop.run()
    assert cls.handled == list(range(BATCH_MESSAGES + 1))


def test_a_wake_up_begins_a_new_batch_and_a_turn_never_drains():
    runtime, loop = step_runtime()
    ref, cls = spawn(runtime)
    for _ in range(BATCH_MESSAGES - 1):
        runtime.drain_batch()
    runtime.drain()
    ref.tell("waits")
    runtime.drain_batch()
    assert cls.handled == []
    loop.run()

    def turn(_):
        other.tell("behind")
        for _ in range(2 * BATCH_MESSAGES):
            runtime.drain_batch()
        cls.handled.append(list(other_class.handled))

    other, other_class = spawn(runtime)
    ref.tell(turn)
    loop.run()
    assert (cls.handled, other_class.handled) == (["waits", []], ["behind"])


def test_a_wake_up_that_finds_nothing_leaves_the_next_one_possible():
    """As on a provider: a batch of receivers drains at its end, before the wake-up that its answers asked for."""
    runtime, loop = step_runtime()
    ref, cls = spawn(runtime)
    for text in ("first", "second"):
        ref.tell(text)
        runtime.drain()
        assert cls.handled[-1] == text
        loop.run()
    assert not loop.callbacks
    ref.tell("third")
    loop.run()
    assert cls.handled == ["first", "second", "third"]


def test_what_is_told_at_once_needs_no_wake_up():
    runtime, loop = step_runtime()
    ref, cls = spawn(runtime)
    runtime.is_quiet = True
    runtime.tell_at_once(ref, "now")
    assert cls.handled == ["now"]
    assert not loop.callbacks
    assert not runtime.is_quiet  # what is told next may have company
    runtime.drain_batch()


def test_what_cannot_be_told_at_once_raises_and_the_next_can():
    runtime, loop = step_runtime()
    ref, _ = spawn(runtime)
    other, cls = spawn(runtime)
    ref.stop(block=False)
    loop.run()
    with pytest.raises(ActorDeadError):
        runtime.tell_at_once(ref, "late")
    other.tell("next")
    loop.run()
    assert cls.handled == ["next"]


def test_call_later_delivers_at_its_time_by_the_runtimes_clock():
    clock = FakeClock()
    runtime, loop = step_runtime(timers=clock)
    ref, cls = spawn(runtime)
    assert runtime.time() == clock.time()
    runtime.call_later(2.0, ref, "two")
    runtime.call_later(1.0, ref, "one")
    cancelled = runtime.call_later(1.5, ref, "never")
    cancelled.cancel()
    clock.advance(0.999)
    assert cls.handled == []
    clock.advance(0.001)
    assert cls.handled == ["one"]
    clock.advance(5.0)
    assert cls.handled == ["one", "two"]
    cancelled.cancel()
    assert not loop.callbacks


def test_a_timer_of_a_dead_actor_is_given_back():
    clock = FakeClock()
    runtime, loop = step_runtime(timers=clock)
    ref, cls = spawn(runtime)
    runtime.call_later(1.0, ref, "late")
    ref.tell(Abort())
    loop.run()
    clock.advance(1.0)
    assert (cls.undelivered, runtime.undelivered) == (["late"], 1)


def test_the_loops_own_clock_is_the_default():
    async def main():
        loop = asyncio.get_running_loop()
        runtime = Runtime(loop)
        ref, delivered = runtime.spawn(recorder()), LoopFuture()
        runtime.call_later(0, ref, lambda actor: delivered.settle(actor.runtime.timers))
        assert await delivered is loop
        assert await ref.stop(block=False)

    asyncio.run(main())


# ------------------------------------------------------------------------------------------------ threads
def test_one_wake_up_serves_a_whole_batch_of_threads():
    runtime, loop = step_runtime()
    ref, cls = spawn(runtime)
    in_threads(*[lambda: [ref.tell(number) for number in range(50)] for _ in range(4)])
    assert len(loop.callbacks) == 1
    assert loop.step() == 1
    assert len(cls.handled) == 200
    assert not loop.callbacks


def test_turns_run_on_the_loops_thread_whoever_tells():
    with LoopThread() as thread:
        ref = thread.spawn(recorder())
        idents = [ref.ask(lambda _: threading.get_ident(), timeout=HANG_S)]
        in_threads(lambda: idents.append(ref.ask(lambda _: threading.get_ident(), timeout=HANG_S)))
        assert set(idents) == {thread.runtime.thread_ident}


def test_refusals_of_a_thread_do_not_wake_the_loop():
    runtime, loop = step_runtime(inbox_limit_messages=0)
    ref, _ = spawn(runtime)
    with as_another_thread(runtime):
        for _ in range(100):
            with pytest.raises(InboxFullError):
                ref.tell("x")
    assert not loop.callbacks


def test_call_from_outside_runs_on_the_loop_and_is_nothing_on_a_closed_one():
    runtime, loop = step_runtime()
    calls = []
    runtime.call_from_outside(calls.append, 1)
    assert calls == []
    loop.run()
    loop.closed = True
    runtime.call_from_outside(calls.append, 2)
    assert calls == [1]


# ------------------------------------------------------------------------------------------------ several
def test_the_defaults_of_a_runtime():
    runtime, _ = step_runtime()
    ref, _ = spawn(runtime)
    assert ref.actor_inbox.limit == DEFAULT_INBOX_LIMIT_MESSAGES
    assert runtime.thread_ident == threading.get_ident()


def test_runtimes_on_one_loop_know_nothing_of_each_other():
    one, loop = step_runtime()
    other = Runtime(loop)
    (first, first_class), (second, second_class) = spawn(one), spawn(other)
    assert (len(one.actors), len(other.actors)) == (1, 1)
    first.tell(fail(Died()))
    second.tell("lives")
    loop.run()
    assert one.actors == set()
    assert second.is_alive()
    assert second_class.handled == ["lives"]
    assert first_class.hooks[1][0] is Died


def test_an_actor_started_in_a_turn_belongs_to_that_turns_runtime():
    """Also when the turn of one runtime delivers into another on the same loop, and goes on afterwards."""
    one, loop = step_runtime()
    other = Runtime(loop)
    (first, cls), (second, _) = spawn(one), spawn(other)
    child = recorder()

    def turn(_):
        other.deliver(second, lambda _: cls.handled.append(child.start().actor_inbox.runtime))
        cls.handled.append(child.start().actor_inbox.runtime)

    first.tell(turn)
    loop.run()
    assert cls.handled == [other, one]
    with pytest.raises(RuntimeError, match="spawn"):
        Runtime.spawning()


def test_actors_of_two_loops_talk_to_each_other():
    with LoopThread() as one, LoopThread() as other:
        cls = recorder()
        target = other.spawn(cls)
        source = one.spawn(recorder())
        assert one.runtime.thread_ident != other.runtime.thread_ident
        for number in range(20):
            source.tell(lambda _, number=number: target.tell(number))
        relayed = source.ask(lambda _: target.ask("asked", block=False), timeout=HANG_S)
        assert relayed.get(timeout=HANG_S) == "asked"
        assert cls.handled == [*range(20), "asked"]


def test_a_runtime_works_on_uvloop_too():
    async def main():
        runtime = Runtime(asyncio.get_running_loop())
        cls = recorder()
        ref = runtime.spawn(cls)
        thread = threading.Thread(target=lambda: ref.ask("from a thread", timeout=HANG_S))
        thread.start()
        await asyncio.to_thread(thread.join)
        assert await ref.ask("ping", block=False) == "ping"
        assert await ref.stop(block=False) is True
        assert cls.handled == ["from a thread", "ping"]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
