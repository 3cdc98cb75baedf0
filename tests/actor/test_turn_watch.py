"""The watch finds a batch that is too old, once, and reads from the stack which turn it is."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from time import perf_counter

import pytest

from tests.support.actors import HANG_S
from zfoo_py.actor import LoopActor, Pace, Runtime
from zfoo_py.actor import turn_watch as module
from zfoo_py.actor.turn_watch import TurnWatch, named


def looked(pace, after_s, frame=None):
    """Look at a pace so many seconds after its batch began."""
    return pace.look(pace.since_s + after_s, lambda _ident: frame or sys._getframe())


def test_a_batch_is_found_once_it_is_too_old():
    pace = Pace(1, 0.1)
    assert pace.look(perf_counter(), lambda _: pytest.fail("nothing runs")) is None
    pace.begin()
    assert looked(pace, 0.099) is None
    held = looked(pace, 0.101)
    assert held.seen_s == pytest.approx(0.101)
    assert looked(pace, 0.2) is None, "once for each batch"
    pace.end()
    pace.begin()
    assert looked(pace, 0.3) is not None
    assert pace.count == 2


def test_it_is_told_when_the_batch_ends_with_all_its_time():
    told = []
    pace = Pace(1, 0.1, told=lambda held, held_s: told.append((held, held_s)))
    pace.begin()
    pace.since_s -= 5.0
    held = looked(pace, 1.0)
    assert told == []
    pace.end()
    [(was, held_s)] = told
    assert was is held
    assert held_s >= 5.0
    pace.begin()
    pace.end()
    assert len(told) == 1


def test_what_was_told_of_lately_is_counted_only():
    told = []
    pace = Pace(1, 0.1, seen=lambda _: False, told=lambda *args: told.append(args))
    pace.begin()
    looked(pace, 1.0)
    pace.end()
    assert (told, pace.count) == ([], 1)


def test_one_that_ended_while_the_watch_looked_is_no_find():
    pace = Pace(1, 0.1)
    pace.begin()

    def stack(_ident):
        pace.end()
        return sys._getframe()

    assert pace.look(pace.since_s + 1.0, stack) is None
    pace.begin()
    assert pace.look(pace.since_s + 1.0, lambda _: None) is None, "its thread has ended"
    assert pace.count == 0


def test_a_late_find_does_not_take_the_time_of_the_next_batch():
    told = []
    pace = Pace(1, 0.1, told=lambda held, held_s: told.append(held_s))
    pace.begin()
    held = looked(pace, 0.2)
    pace.held = None
    pace.end()
    pace.begin()
    pace.held = held  # the watch's thread was put aside between looking and noting
    pace.since_s -= 5.0
    pace.end()
    assert told == [held.seen_s]


class Sleeper(LoopActor):
    """Looks at its own stack."""

    def on_receive(self, message):
        self.runtime.found = named(sys._getframe())
        helper(self.runtime)


def helper(runtime):
    runtime.deeper = named(sys._getframe())


def test_an_actors_turn_and_a_callback_are_named_by_their_outermost_function():
    async def main():
        runtime = Runtime(asyncio.get_running_loop())
        ref = runtime.spawn(Sleeper)
        runtime.deliver(ref, "x")
        cause, at = runtime.found
        assert cause.startswith("Sleeper.on_receive (test_turn_watch.py:")
        assert at.startswith("test_turn_watch.py:")
        assert runtime.deeper[0] == cause
        assert runtime.deeper[1].endswith(" in helper")
        runtime.call_back(helper, runtime)
        assert runtime.deeper[0].startswith("helper (test_turn_watch.py:")
        assert runtime.pace.since_s == 0.0
        runtime.actors.pop().actor_ref.stop(block=False)
        runtime.drain()

    asyncio.run(main())
    assert named(None) == ("the runtime itself", "")


def test_a_drain_within_a_receiver_does_not_end_its_batch():
    """A receiver asks, the actors run, and then it holds the loop."""

    async def main():
        runtime = Runtime(asyncio.get_running_loop())
        runtime.pace.begin()
        runtime.drain()
        assert runtime.pace.since_s > 0.0
        runtime.pace.end()
        runtime.drain()
        assert runtime.pace.since_s == 0.0

    asyncio.run(main())


def test_the_thread_looks_while_there_is_something_to_watch_and_ends_with_the_last():
    watch, found = TurnWatch(), threading.Event()
    paces = [Pace(threading.get_ident(), 0.01, seen=lambda _: found.set() or True) for _ in range(2)]
    for pace in paces:
        watch.add(pace)
    thread = watch._thread
    watch.remove(paces[1])
    assert thread.is_alive()
    paces[0].begin()
    assert found.wait(HANG_S)
    assert paces[0].held.cause.startswith("test_the_thread_looks") or paces[0].held.cause
    watch.remove(paces[0])
    watch.remove(paces[0])
    assert not thread.is_alive()
    watch.add(paces[1])
    watch.remove(paces[1])


def test_a_child_has_no_thread_and_watches_nothing():
    watch, pace = TurnWatch(), Pace(0)
    watch.add(pace)
    thread = watch._thread
    before = (watch._lock, watch._changed)
    watch.after_fork()
    assert (watch._thread, watch._paces) == (None, [])
    before[1].set()
    thread.join(HANG_S)
    assert not thread.is_alive()


def test_its_callers_are_files_that_are_there():
    for file in module.CALLERS:
        with open(file, encoding="utf-8") as text:  # noqa: PTH123
            assert text.read()


def test_no_garbage_is_collected_while_the_stacks_are_read(monkeypatch):
    """CPython 3.11 hangs if it is: it holds a lock then that whoever runs meanwhile may need."""
    collects = []
    frames = sys._current_frames

    def current_frames():
        collects.append(gc.isenabled())
        return frames()

    monkeypatch.setattr(sys, "_current_frames", current_frames)
    assert module.stack_of(threading.get_ident()).f_code is current_frames.__code__
    assert collects == [False]
    assert gc.isenabled()
    gc.disable()
    try:
        module.stack_of(threading.get_ident())
        assert not gc.isenabled(), "left as it was"
    finally:
        gc.enable()


def test_stacks_are_read_of_slow_turns_only(monkeypatch):
    watch, pace = TurnWatch(), Pace(threading.get_ident(), 0.002)
    looks, reads = threading.Semaphore(0), []
    look = Pace.look

    def looked(self, now_s, stack):
        look(self, now_s, stack)
        looks.release()

    monkeypatch.setattr(module.sys, "_current_frames", lambda: reads.append(1) or {})
    monkeypatch.setattr(Pace, "look", looked)
    watch.add(pace)
    for _ in range(3):
        assert looks.acquire(timeout=HANG_S)
    watch.remove(pace)
    assert not reads
