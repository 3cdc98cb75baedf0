"""Threads that wait for a future of a runtime sleep on its sockets: none is lost, and none is woken for another."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pykka
import pytest

from tests.support.actors import HANG_S, step_runtime
from zfoo_py.actor import LoopFuture
from zfoo_py.actor.waking_io import LockSleeper, SocketSleeper


@pytest.fixture
def home():
    runtime, _ = step_runtime()
    yield runtime
    runtime.sleepers.close()


def free(runtime):
    return len(runtime.sleepers._free)


def test_threads_that_wait_one_after_the_other_share_a_sleeper(home):
    for number in range(20):
        future = LoopFuture(home)
        thread = threading.Thread(target=future.settle, args=(number,))
        thread.start()
        assert future.get(timeout=HANG_S) == number
        thread.join()
    assert free(home) <= 1
    assert home.sleepers._made <= 1


def test_many_that_wait_at_once_are_all_woken_with_their_own(home):
    threads, asks = 12, 200

    def ask(thread):
        for number in range(asks):
            future = LoopFuture(home)
            waiting = settlers.submit(future.settle, (thread, number))
            assert future.get(timeout=HANG_S) == (thread, number)
            waiting.result(HANG_S)

    with ThreadPoolExecutor(4) as settlers, ThreadPoolExecutor(threads) as askers:
        for asked in [askers.submit(ask, thread) for thread in range(threads)]:
            asked.result(3 * HANG_S)
    assert free(home) == home.sleepers._made <= threads


def test_who_gives_up_is_waited_for_no_more_and_its_sleeper_is_as_new(home):
    future = LoopFuture(home)
    for _ in range(3):
        with pytest.raises(pykka.Timeout):
            future.get(timeout=0.001)
    assert future._waiters == []
    assert (free(home), home.sleepers._made) == (1, 1)
    future.settle(1)
    later = LoopFuture(home)
    with pytest.raises(pykka.Timeout):  # of the first one nothing is left in it
        later.get(timeout=0.001)


@pytest.mark.parametrize("kind", [SocketSleeper, LockSleeper])
def test_an_outcome_at_the_moment_of_giving_up_is_taken(home, monkeypatch, kind):
    """Who settles has taken the sleeper off the list, and is about to wake it."""
    future = LoopFuture(home)
    sleep = kind.sleep
    slept = []

    def sleep_and_settle(sleeper, timeout_s):
        slept.append(timeout_s)
        if len(slept) == 1:
            assert not sleep(sleeper, timeout_s)
            future.settle("just in time")
            return False
        return sleep(sleeper, timeout_s)

    monkeypatch.setattr(kind, "sleep", sleep_and_settle)
    if kind is LockSleeper:
        monkeypatch.setattr(home.sleepers, "borrow", LockSleeper)
    assert future.get(timeout=0.001) == "just in time"
    assert slept == [0.001, None]


def test_who_is_interrupted_leaves_its_sleeper_to_nobody(home):
    """It may still be called: a byte in it would wake the next thread for nothing."""

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    future = LoopFuture(home)

    def kill_when_it_waits():
        while not future._waiters:
            pass
        os.kill(os.getpid(), signal.SIGUSR1)

    thread = threading.Thread(target=kill_when_it_waits)
    try:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            future.get(timeout=HANG_S)
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert free(home) == 0
    assert future.settle(1)
    assert future.get() == 1
