"""How threads wake each other: through sockets, because of the interpreter lock.

Who writes to a socket gives the interpreter lock away meanwhile, so whoever is woken by it runs at once. Who releases
a `threading.Lock` keeps it: the thread that was woken sleeps again, on the interpreter lock, and is woken twice. An
ask of a blocking thread cost 8.7 changes of thread with locks and 3.8 with sockets (W1), of 16 threads 4.1 and 1.5
each (W3; `perf stat -e context-switches`).
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from typing import TYPE_CHECKING, Protocol

from zfoo_py.fork_io import socket_id

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["Doorbell", "LockSleeper", "Sleeper", "Sleepers"]

# So many threads may sleep on sockets at once, two descriptors each; more would reach for the 1,024 descriptors that
# a process may have by default, so they sleep on locks.
MAX_SOCKET_SLEEPERS = 64

# What may lie in the doorbell's socket is read at once: one byte for each thread that rang.
READ_BYTES = 4096


class Doorbell:
    """Wakes a loop from any thread. Its sockets are closed when nobody has it any more, so none rings a stranger's.

    Args:
        loop: of the thread that makes this and removes it.
        answer: called there soon after each `ring`, once for several of them.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, answer: Callable[[], object]) -> None:
        self._in, self._out = socket.socketpair()
        self._in.setblocking(False)
        self._out.setblocking(False)
        self._in_number, self._out_number = self._in.fileno(), self._out.fileno()
        self._loop = loop
        self._answer = answer
        # Number → inode.
        self.sockets = {number: socket_id(number) for number in (self._in_number, self._out_number)}
        loop.add_reader(self._in_number, self._rung)

    def __del__(self) -> None:
        self._in.close()
        self._out.close()

    def ring(self) -> None:
        """Have the loop answer. From any thread."""
        try:
            os.write(self._out_number, b"\0")
        except BlockingIOError:  # it is full of rings that will be answered
            pass

    def _rung(self) -> None:
        try:
            os.read(self._in_number, READ_BYTES)
        except BlockingIOError:  # a poller may wake for nothing
            return
        self._answer()

    def remove(self) -> None:
        """Answer no more."""
        self._loop.remove_reader(self._in_number)


class Sleeper(Protocol):
    """Where one thread waits for one event."""

    def sleep(self, timeout_s: float | None) -> bool:
        """Wait until somebody calls this object; False if nobody did in time (None: no limit)."""
        ...

    def __call__(self, _: object = None) -> None:
        """Wake the thread; at most once for each `sleep`. From any thread."""
        ...


class LockSleeper:
    """A `Sleeper` that costs no descriptor."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def sleep(self, timeout_s: float | None) -> bool:
        """Wait; see `Sleeper`."""
        return self._lock.acquire(timeout=-1 if timeout_s is None else max(timeout_s, 0.0))

    def __call__(self, _: object = None) -> None:
        """Wake; see `Sleeper`."""
        self._lock.release()


class SocketSleeper:
    """A `Sleeper` on a pair of sockets, which are closed when nobody has it any more."""

    __slots__ = ("_in", "_in_number", "_out", "_out_number", "_timeout_s")

    def __init__(self) -> None:
        self._in, self._out = socket.socketpair()
        self._in.setblocking(True)  # whatever socket.setdefaulttimeout() says
        self._out.setblocking(True)
        self._in_number, self._out_number = self._in.fileno(), self._out.fileno()
        self._timeout_s: float | None = None

    def __del__(self) -> None:
        if hasattr(self, "_out"):  # else there was no descriptor left
            self._in.close()
            self._out.close()

    @property
    def sockets(self) -> dict[int, int]:
        """Number → inode."""
        return {number: socket_id(number) for number in (self._in_number, self._out_number)}

    def sleep(self, timeout_s: float | None) -> bool:
        """Wait; see `Sleeper`. The kernel keeps the time, in one system call with the wait."""
        if timeout_s != self._timeout_s:
            self._in.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(timeout_s))
            self._timeout_s = timeout_s
        try:
            return bool(os.read(self._in_number, 1))
        except BlockingIOError:
            return False

    def __call__(self, _: object = None) -> None:
        """Wake; see `Sleeper`."""
        os.write(self._out_number, b"\0")


def _timeval(timeout_s: float | None) -> bytes:
    """Return a struct timeval, in which 0 means for ever."""
    if timeout_s is None:
        return struct.pack("@ll", 0, 0)
    return struct.pack("@ll", *divmod(max(1, int(timeout_s * 1_000_000)), 1_000_000))


class Sleepers:
    """Sleepers for the threads that wait for one runtime. Those that have been made are kept.

    Args:
        sockets: gets number → inode of theirs.
    """

    def __init__(self, sockets: dict[int, int]) -> None:
        self._sockets = sockets
        self._free: list[SocketSleeper] = []
        self._made = 0

    def borrow(self) -> Sleeper:
        """Return one that nobody else has. From any thread."""
        try:
            return self._free.pop()
        except IndexError:
            pass
        if self._made >= MAX_SOCKET_SLEEPERS:  # threads that look at the same moment may pass it by one each
            return LockSleeper()
        try:
            sleeper = SocketSleeper()
        except OSError:  # no descriptor is left
            return LockSleeper()
        self._made += 1
        self._sockets.update(sleeper.sockets)
        return sleeper

    def give_back(self, sleeper: Sleeper) -> None:
        """Keep one for the next thread; nobody may wake it any more. From any thread."""
        if sleeper.__class__ is SocketSleeper and self._made <= MAX_SOCKET_SLEEPERS:
            self._free.append(sleeper)

    def close(self) -> None:
        """Keep none any more; they close when no thread has them."""
        self._made = MAX_SOCKET_SLEEPERS + 1
        self._free.clear()
