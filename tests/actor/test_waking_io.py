"""Doorbells and sleepers: who rings is heard, who sleeps is woken once or gives up in time, and descriptors go."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import threading
import time

import pytest

from zfoo_py.actor import waking_io
from zfoo_py.actor.waking_io import Doorbell, LockSleeper, Sleepers, SocketSleeper
from zfoo_py.fork_io import socket_id

# A test that waits longer has found a hang.
HANG_S = 10.0


def is_open(sockets):
    """Return whether any of these sockets is still there."""
    for number, inode in sockets.items():
        try:
            if socket_id(number) == inode:
                return True
        except OSError:
            continue
    return False


# --- doorbell


def test_who_rings_in_any_thread_is_answered_on_the_loop():
    async def main():
        rung = asyncio.Event()
        threads = []

        def answer():
            threads.append(threading.current_thread())
            rung.set()

        bell = Doorbell(asyncio.get_running_loop(), answer)
        for ring in (bell.ring, lambda: asyncio.get_running_loop().run_in_executor(None, bell.ring)):
            rung.clear()
            ring()
            async with asyncio.timeout(HANG_S):
                await rung.wait()
        bell.remove()
        assert set(threads) == {threading.current_thread()}

    asyncio.run(main())


def test_rings_that_come_together_are_answered_once_and_a_full_bell_is_no_error():
    async def main():
        answers = []
        bell = Doorbell(asyncio.get_running_loop(), lambda: answers.append(1))
        for _ in range(3):
            bell.ring()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert answers == [1]
        for _ in range(100_000):  # more than its sockets hold
            bell.ring()
        async with asyncio.timeout(HANG_S):
            while len(answers) < 2:
                await asyncio.sleep(0)
        bell._rung()  # the rest of it
        bell.remove()

    asyncio.run(main())


def test_a_poller_that_wakes_for_nothing_is_no_ring():
    async def main():
        bell = Doorbell(asyncio.get_running_loop(), lambda: pytest.fail("nobody has rung"))
        bell._rung()
        bell.remove()

    asyncio.run(main())


def test_who_rings_a_bell_that_is_gone_rings_no_strangers():
    async def main():
        bell = Doorbell(asyncio.get_running_loop(), lambda: pytest.fail("it is removed"))
        sockets = bell.sockets
        bell.remove()
        assert is_open(sockets), "somebody may be about to ring"
        bell.ring()
        await asyncio.sleep(0)
        del bell
        gc.collect()
        assert not is_open(sockets)

    asyncio.run(main())


# --- sleepers


@pytest.mark.parametrize("kind", [LockSleeper, SocketSleeper])
def test_who_sleeps_is_woken_from_another_thread_however_often(kind):
    sleeper = kind()
    for timeout_s in (None, HANG_S, HANG_S, 2 * HANG_S, None):
        thread = threading.Thread(target=sleeper)
        thread.start()
        assert sleeper.sleep(timeout_s)
        thread.join()


@pytest.mark.parametrize("kind", [LockSleeper, SocketSleeper])
@pytest.mark.parametrize("timeout_s", [-1.0, 0.0, 1e-9, 0.02])
def test_who_is_not_woken_gives_up_in_time_and_may_sleep_again(kind, timeout_s):
    sleeper = kind()
    began_s = time.monotonic()
    assert not sleeper.sleep(timeout_s)
    assert time.monotonic() - began_s >= timeout_s
    sleeper()
    assert sleeper.sleep(HANG_S)
    assert not sleeper.sleep(timeout_s)


def test_a_default_of_socket_timeouts_changes_nothing():
    socket.setdefaulttimeout(0.001)
    try:
        sleeper = SocketSleeper()
    finally:
        socket.setdefaulttimeout(None)
    threading.Timer(0.05, sleeper).start()
    assert sleeper.sleep(HANG_S)


def test_a_signal_that_raises_nothing_does_not_end_a_sleep():
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
    try:
        sleeper = SocketSleeper()

        def disturb():
            os.kill(os.getpid(), signal.SIGUSR1)
            sleeper()

        thread = threading.Thread(target=disturb)
        thread.start()
        assert sleeper.sleep(HANG_S)
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [1]


# --- the pool


def test_sleepers_come_back_and_their_sockets_are_known_and_closed_in_the_end():
    sockets = {}
    sleepers = Sleepers(sockets)
    first = sleepers.borrow()
    second = sleepers.borrow()
    assert first is not second
    sleepers.give_back(first)
    assert sleepers.borrow() is first
    sleepers.give_back(first)
    kept = dict(sockets)
    assert len(kept) == 4
    sleepers.close()
    del first
    assert is_open(second.sockets), "a thread sleeps there"
    sleepers.give_back(second)
    del second
    assert not is_open(kept)
    assert isinstance(sleepers.borrow(), LockSleeper)


def test_beyond_the_bound_they_sleep_on_locks(monkeypatch):
    monkeypatch.setattr(waking_io, "MAX_SOCKET_SLEEPERS", 2)
    sleepers = Sleepers({})
    borrowed = [sleepers.borrow() for _ in range(3)]
    assert [type(one) for one in borrowed] == [SocketSleeper, SocketSleeper, LockSleeper]
    for one in borrowed:
        sleepers.give_back(one)
    assert {type(sleepers.borrow()) for _ in range(2)} == {SocketSleeper}


def test_without_descriptors_they_sleep_on_locks(monkeypatch):
    def none_left():
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(socket, "socketpair", none_left)
    sleepers = Sleepers({})
    assert isinstance(sleepers.borrow(), LockSleeper)
    assert sleepers._made == 0
