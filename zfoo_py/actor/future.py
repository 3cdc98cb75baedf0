"""One future for loops and threads."""

from __future__ import annotations

import asyncio
import functools
import queue
import sys
from asyncio import _get_running_loop as running_loop  # the C function: asyncio.get_running_loop without the raise
from threading import get_ident
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pykka
from loguru import logger
from pykka import Timeout

from zfoo_py.actor.waking_io import LockSleeper
from zfoo_py.errors import BlockingCallError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from zfoo_py.actor.runtime import Runtime
    from zfoo_py.actor.waking_io import Sleeper

__all__ = ["LoopFuture", "refuse_blocking", "running_loop"]

T = TypeVar("T")


class LoopFuture(pykka.Future[T]):
    """A result that coroutines of any loop await and threads wait for.

    It is settled once, on any thread; the waiters of a loop are woken on that loop. ``home`` is the runtime on
    whose loop it is mostly awaited and settled: it only makes that cheaper. Waiting without a lock is
    sound because a waiter registers first and looks for the result afterwards, and settling stores the
    result first and empties the list of waiters afterwards: whoever comes second empties it, and
    ``list.pop`` gives each waiter to one of them only. Of several that settle one wins, since an attribute
    can be deleted but once.
    """

    # Class-level defaults: one of these is made per ask, so its __init__ does as little as it can.
    is_settled: bool = False  # whether the outcome is there, as `done` says it; for reading only
    _value: Any = None
    _error: BaseException | None = None
    _get_hook: Any = None

    def __init__(self, home: Runtime | None = None) -> None:
        """Make a pending future; deliberately without Pykka's per-future set-up."""
        self._home = home
        self._open: None = None  # there until somebody settles
        # A coroutine waits as the asyncio future that it awaits; a closure around it would cost three times as much.
        self._waiters: list[asyncio.Future[T] | Callable[[Any], object]] = []

    def done(self) -> bool:
        """Return whether a value or an error is there. Any thread."""
        return self.is_settled

    def value(self) -> T | None:
        """Return the value it was settled with, or None. Any thread."""
        return cast("T | None", self._value)

    def exception(self) -> BaseException | None:
        """Return the error it was settled with, or None. Any thread."""
        return self._error

    def now_s(self) -> float | None:
        """Return the clock of the runtime that it is at home at, or None. Any thread."""
        return None if self._home is None else self._home.time()

    def settle(self, value: T | None = None, error: BaseException | None = None) -> bool:
        """Store the outcome and wake all waiters; the first one wins. Any thread.

        Returns:
            False if it was settled before (nothing changed).
        """
        try:
            del self._open
        except AttributeError:
            return False
        self._value = value
        self._error = error
        self.is_settled = True
        if self._waiters:
            self._wake()
        return True

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        """Call ``callback(self)`` once, in the thread that settles it, or at once if it is settled.

        What it raises is logged: it is the fault of neither who settles nor the others that wait.
        """
        self._waiters.append(callback)
        if self.is_settled:
            self._wake()

    def _wake(self) -> None:
        waiters, home = self._waiters, self._home
        while waiters:
            try:
                waiter = waiters.pop(0)
            except IndexError:  # another thread took the last one
                return
            try:
                if not isinstance(waiter, asyncio.Future):
                    waiter(self)
                    continue
                loop = waiter.get_loop()
                # asyncio's own look at the running loop costs a system call in CPython 3.11, hence `home` first.
                if (home is not None and loop is home.loop and get_ident() == home.thread_ident) or (
                    running_loop() is loop
                ):
                    if self._error is None and not waiter.done():
                        waiter.set_result(self._value)
                    else:
                        self._copy_to(waiter)
                elif not loop.is_closed():
                    loop.call_soon_threadsafe(self._copy_to, waiter)
            except BaseException as error:  # noqa: BLE001 - a callback raised, or its loop closed just now
                logger.opt(exception=error).error("a callback of a future raised")

    # --- awaiting, on any loop

    def __await__(self) -> Generator[Any, None, T]:
        """Suspend the awaiting task until the outcome is there; cancelling it does not settle the future."""
        if self.is_settled:
            return self._outcome_now()
        if self._get_hook is not None:
            return asyncio.to_thread(self.get).__await__()
        home = self._home
        at_home = home is not None and get_ident() == home.thread_ident
        if not at_home and home is not None:
            home.refuse_wait()
        loop = cast("Runtime", home).loop if at_home else asyncio.get_running_loop()
        waiter: asyncio.Future[T] = loop.create_future()
        self._waiters.append(waiter)
        if self.done():  # settled meanwhile, by another thread
            self._wake()
        return waiter.__await__()

    __iter__ = __await__

    def _outcome_now(self) -> Generator[Any, None, T]:
        yield from ()  # makes this a generator
        if self._error is not None:
            raise self._error
        return cast("T", self._value)

    def _copy_to(self, waiter: asyncio.Future[T]) -> None:
        if waiter.done():  # cancelled meanwhile
            return
        if self._error is None:
            waiter.set_result(self._value)
        elif isinstance(self._error, StopIteration):  # no coroutine can raise it; Python itself turns it into this
            wrapped = RuntimeError("the future was settled with StopIteration")
            wrapped.__cause__ = self._error
            waiter.set_exception(wrapped)
        else:
            waiter.set_exception(self._error)

    # --- waiting in a thread, and the rest of Pykka's interface

    def get(self, *, timeout: float | None = None) -> T:
        """Block this thread until the outcome is there.

        Args:
            timeout: seconds, or None for no limit.

        Raises:
            BlockingCallError: an event loop runs in this thread.
            ForkedError: the node that would settle it is in this process's parent.
            pykka.Timeout: no outcome in time.
            BaseException: the error it was settled with.
        """
        if self._get_hook is not None:
            if not self.is_settled:  # the value is kept, as in Pykka
                refuse_blocking("get()", "await the future")
                self.settle(self._get_hook(timeout))
            return cast("T", self._value)
        if not self.is_settled:
            refuse_blocking("get()", "await the future")
            if not self._sleep(timeout):
                msg = f"{timeout} seconds"
                raise Timeout(msg)
        if self._error is not None:
            raise self._error
        return cast("T", self._value)

    def _sleep(self, timeout_s: float | None) -> bool:
        """Wait in this thread; False if there is no outcome in time."""
        home = self._home
        if home is None:
            sleeper: Sleeper = LockSleeper()
        else:
            home.refuse_wait()
            sleeper = home.sleepers.borrow()
        self._waiters.append(sleeper)
        if self.is_settled:  # meanwhile, by another thread
            self._wake()
        if not sleeper.sleep(timeout_s):
            try:
                self._waiters.remove(sleeper)
            except ValueError:  # whoever settles has just taken it off, and wakes it now
                sleeper.sleep(None)
            else:
                self._give_back(sleeper)
                return False
        self._give_back(sleeper)  # not one that an exception (Ctrl-C) has woken: it may be called still
        return True

    def _give_back(self, sleeper: Sleeper) -> None:
        if self._home is not None:
            self._home.sleepers.give_back(sleeper)

    def set(self, value: T | None = None) -> None:
        """Settle with a value.

        Raises:
            queue.Full: it was settled before, or has a get hook (as in Pykka).
        """
        if self._get_hook is not None or not self.settle(value):
            raise queue.Full

    def set_exception(self, exc_info: Any = None) -> None:
        """Settle with an error: ``exc_info`` as of ``sys.exc_info()``, None for the current one.

        Raises:
            queue.Full: it was settled before, or has a get hook (as in Pykka).
        """
        kind, error, traceback = exc_info or sys.exc_info()
        if error is None:
            error = kind() if kind is not None else RuntimeError("set_exception() without an exception")
        if error.__traceback__ is not traceback:
            error = error.with_traceback(traceback)
        if self._get_hook is not None or not self.settle(error=error):
            raise queue.Full

    def set_get_hook(self, func: Callable[[float | None], T]) -> None:
        """Let ``func(timeout)`` produce the value when it is asked for, in a thread of the asker's."""
        if self.is_settled:
            raise queue.Full
        self._get_hook = func

    def map(self, func: Callable[[T], Any]) -> LoopFuture[Any]:
        """Return a future of ``func(value)``; ``func`` runs in the thread that settles this one."""
        mapped: LoopFuture[Any] = LoopFuture()
        if self._get_hook is not None:  # it is settled when somebody asks, so this one must be, too
            mapped.set_get_hook(lambda timeout: func(self.get(timeout=timeout)))
            return mapped

        def apply(done: LoopFuture[T]) -> None:
            if done._error is not None:
                mapped.settle(error=done._error)
                return
            try:
                mapped.settle(func(cast("T", done._value)))
            except BaseException as error:  # noqa: BLE001 - the function is the caller's; its error is the outcome
                mapped.settle(error=error)

        self.add_done_callback(apply)
        return mapped

    def filter(self: LoopFuture[Any], func: Callable[[Any], bool]) -> LoopFuture[Any]:
        """Return a future of the list of items for which ``func`` is true."""
        return self.map(lambda items: [item for item in items if func(item)])

    def reduce(self: LoopFuture[Any], func: Callable[[Any, Any], Any], *args: Any) -> LoopFuture[Any]:
        """Return a future of the items folded by ``func``, as `functools.reduce`."""
        return self.map(lambda items: functools.reduce(func, items, *args))

    def join(self: LoopFuture[Any], *futures: pykka.Future[Any]) -> LoopFuture[Any]:
        """Return a future of the list of all values; it fails with the first error."""
        joined: LoopFuture[Any] = LoopFuture()
        if any(not isinstance(each, LoopFuture) or each._get_hook is not None for each in (self, *futures)):
            joined.set_get_hook(lambda timeout: [each.get(timeout=timeout) for each in (self, *futures)])
            return joined
        parts = [self, *cast("tuple[LoopFuture[Any], ...]", futures)]
        missing = [None] * (len(parts) - 1)  # a list, because threads may pop it at once

        def arrived(part: LoopFuture[Any]) -> None:
            if part._error is not None:
                joined.settle(error=part._error)
                return
            try:
                missing.pop()
            except IndexError:
                joined.settle([each._value for each in parts])

        for part in parts:
            part.add_done_callback(arrived)
        return joined


def refuse_blocking(what: str, instead: str) -> None:
    """Raise where a wait would hang an event loop.

    Raises:
        BlockingCallError: an event loop runs in this thread.
    """
    if running_loop() is not None:
        msg = f"{what} would block the event loop that runs in this thread: {instead} instead"
        raise BlockingCallError(msg)
