"""Driver tasks: coroutine receivers run inside standing asyncio Tasks instead of one Task each.

One driver is active: it starts ready calls one after another, each in a `contextvars` copy of its own. A
receiver that does not suspend costs no Task. At a receiver's first suspension the driver belongs to it until
it ends, and another driver takes the rest. So `asyncio.current_task`, `asyncio.timeout`, `TaskGroup`, context
tokens and cancellation work in a receiver from its first line (a coroutine stepped outside of a Task would
break `asyncio.timeout`). Measured on CPython 3.11: 0.33 µs a message against 1.27 µs with a Task each.

Where no Task runs (in the callback that brought the bytes), calls start at once in the name of an idle driver, as
asyncio's eager tasks do (its documentation, "Extending": `_enter_task`); only one that suspends wakes it. That saves
a look of the loop at its sockets for each message that comes alone.
"""

from __future__ import annotations

import asyncio
import types
from asyncio import current_task
from asyncio.tasks import _enter_task, _leave_task
from collections import deque
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from loguru import logger

from zfoo_py.router.call import Call, current_call

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from contextvars import Context

    from zfoo_py.actor import Pace

__all__ = ["Drivers"]

# The answers of a quarter of the ready calls, but of 4 to 32, are sent before the next ones start: else their asker
# waits while we work, and we while it does. With 16 asks outstanding (W3) that is 1.2 of the asks/s; a batch costs a
# system call here and a wake-up there.
SMALLEST_BATCH_CALLS, BATCH_CALLS = 4, 32

# What receivers get to end after their cancellation, before they are abandoned.
CANCEL_WAIT_S = 1.0

# Idle drivers kept for the next burst; one costs about 1 KiB, and making one 10 µs.
MAX_IDLE_DRIVERS = 64


class Drivers:
    """Runs ready calls on driver tasks. Everything here belongs to the loop's thread.

    Args:
        loop: the node's loop.
        pace: of the node's runtime: a batch of receivers begins and ends.
        admit: asked before a call starts; False if it must not start now (the lane is held, it is too late,
            or it went to a worker).
        suspended: told when a receiver suspends for the first time, and the Task that is its own from then on.
        ended: told when such a receiver has ended, before ``finished``.
        finished: told the outcome of every call admitted: (call, value, error).
        batch_done: called when nothing is ready any more, before the driver idles.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pace: Pace,
        *,
        admit: Callable[[Call], bool],
        suspended: Callable[[Call, asyncio.Task[None]], None],
        ended: Callable[[Call], None],
        finished: Callable[[Call, Any, BaseException | None], None],
        batch_done: Callable[[], None],
    ) -> None:
        self.ready: deque[Call] = deque()
        self._loop = loop
        self._pace = pace
        self._admit = admit
        self._suspended = suspended
        self._ended = ended
        self._finished = finished
        self._batch_done = batch_done
        self._active: asyncio.Task[None] | None = None  # the one that starts calls, or is woken to do so
        self._idle: list[_Idle] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    def wake(self) -> bool:
        """See to it that a driver takes what is ready.

        Returns:
            True if calls have started and ended meanwhile; ``batch_done`` is the caller's to do.
        """
        if self.is_active() or not self.ready or self._stopping:
            return False
        while self._idle:
            idle = self._idle.pop()
            if not idle.woken.done():  # else somebody has cancelled its task
                self._active = idle.task
                if current_task(self._loop) is None:
                    self._start_here(idle)
                    return True
                idle.woken.set_result(None)
                return False
        self._active = task = self._loop.create_task(self._run(), name="zfoo_py driver")
        self._tasks.add(task)
        task.add_done_callback(self._driver_ended)
        return False

    def is_active(self) -> bool:
        """Return whether a driver starts calls, or is woken to do so: it alone decides what starts next."""
        return self._active is not None

    async def stop(self) -> None:
        """Cancel every driver and the receivers suspended in them, and wait until they have ended, but not for ever."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            _, hanging = await asyncio.wait(self._tasks, timeout=CANCEL_WAIT_S)
            if hanging:
                logger.warning("{} receivers swallowed their cancellation; they are abandoned", len(hanging))

    def _driver_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._active is task:  # it was cancelled, maybe before its first step, or fell: the work is another one's
            self._active = None
            self.wake()

    async def _run(self) -> None:
        try:
            await self._drive()
        finally:
            self._pace.end()

    @types.coroutine
    def _drive(self) -> Generator[Any, Any, None]:
        """Start calls until one suspends, see that one through, begin again."""
        task = current_task()
        assert task is not None
        begun = self._start_ready(task)
        error: BaseException | None = None
        while True:
            if begun is not None:
                failure = yield from self._see_through(begun, error)
                if isinstance(failure, GeneratorExit):
                    raise failure
                if not self.is_active():
                    self._active = task
                    if not task.cancelling():
                        begun, error = self._start_ready(task), None
                        continue
            self._batch_done()
            # Somebody may have cancelled this task, and the cancellation may still be pending: it must not hit the
            # next receiver, so this driver ends and a fresh one takes the rest.
            if self._stopping or task.cancelling() or len(self._idle) >= MAX_IDLE_DRIVERS:
                return
            if self.ready and not self.is_active():  # batch_done made something ready
                self._active = task
                begun, error = self._start_ready(task), None
                continue
            idle = _Idle(task, self._loop.create_future())
            self._idle.append(idle)
            self._pace.end()
            error = None
            try:
                yield from idle.woken
            except asyncio.CancelledError as cancelled:
                if idle.begun is None:
                    raise
                error = cancelled  # it is the receiver's
            begun = idle.begun or self._start_ready(task)

    def _start_here(self, idle: _Idle) -> None:
        """Start what is ready in the name of an idle driver's task, which sleeps on unless a receiver suspends."""
        task = idle.task
        _enter_task(self._loop, task)
        try:
            idle.begun = self._start_ready(task)
        finally:
            _leave_task(self._loop, task)
        if idle.woken.done():  # a receiver has cancelled its task, which ends when it gets to run
            return
        if idle.begun is None:
            self._idle.append(idle)
        else:
            idle.woken.set_result(None)

    def _start_ready(self, task: asyncio.Task[None]) -> _Begun | None:
        """Start calls, in the name of a task, until nothing is ready (or the task is cancelled) or one suspends.

        Returns:
            The one that suspended: the task's until it ends. Another driver takes the rest.
        """
        ready, admit, pace = self.ready, self._admit, self._pace
        batch_calls = min(BATCH_CALLS, max(SMALLEST_BATCH_CALLS, len(ready) // 4))
        started = 0
        pace.begin()
        while ready:
            call = ready.popleft()
            if not admit(call):
                continue
            started += 1
            if not started % batch_calls:
                self._batch_done()
                pace.begin()
            context = copy_context()
            try:
                coroutine, waits_for = context.run(_start, call)
            except StopIteration as end:
                self._finished(call, end.value, None)
            except BaseException as error:  # noqa: BLE001 - a receiver's error is the asker's, whatever it is
                self._finished(call, None, error)
            else:
                self._suspended(call, task)
                self._active = None
                self.wake()
                return _Begun(call, context, coroutine, waits_for)
            if task.cancelling():
                return None  # `_driver_ended` lets another one go on
        self._active = None
        return None

    def _see_through(self, begun: _Begun, error: BaseException | None) -> Generator[Any, Any, BaseException | None]:
        """Relay between a suspended receiver and the Task it runs in, until it ends.

        Args:
            begun: the receiver.
            error: a cancellation of the Task that came before it could wait for what the receiver waits for.

        Returns:
            What the receiver raised.
        """
        coroutine, waits_for, run, pace = begun.coroutine, begun.waits_for, begun.context.run, self._pace
        if error is not None and waits_for is not None and waits_for.cancel():
            error = None  # as Task.cancel does: what it waits for tells it
        value = None
        while True:
            step: tuple[Callable[..., Any], Any]
            if error is not None:
                step = (coroutine.throw, error)
            else:
                pace.end()
                try:
                    sent = yield waits_for
                except BaseException as thrown:  # noqa: BLE001 - cancellation above all: it is the receiver's
                    step = (coroutine.throw, thrown)
                else:
                    step = (coroutine.send, sent)
            error = None
            pace.begin()
            try:
                waits_for = run(*step)
            except StopIteration as end:
                value = end.value
                break
            except BaseException as raised:  # noqa: BLE001 - a receiver's error is the asker's, whatever it is
                error = raised
                break
        self._ended(begun.call)
        self._finished(begun.call, value, error)
        return error


class _Begun:
    """A call whose receiver has suspended for the first time."""

    __slots__ = ("call", "context", "coroutine", "waits_for")

    def __init__(self, call: Call, context: Context, coroutine: Coroutine[Any, Any, Any], waits_for: Any) -> None:
        self.call = call
        self.context = context
        self.coroutine = coroutine
        self.waits_for = waits_for


class _Idle:
    """A driver that sleeps until it is woken, and what has begun in its name meanwhile."""

    __slots__ = ("begun", "task", "woken")

    def __init__(self, task: asyncio.Task[None], woken: asyncio.Future[None]) -> None:
        self.task = task
        self.woken = woken
        self.begun: _Begun | None = None


def _start(call: Call) -> tuple[Coroutine[Any, Any, Any], Any]:
    """Run the receiver up to its first suspension; in the call's own context.

    Raises:
        StopIteration: it ended without suspending; carries what it returned.
    """
    current_call.set(call)
    receiver = call.receiver
    if receiver.wants_call:
        coroutine = receiver.function(call.session, call.packet, call)
    else:
        coroutine = receiver.function(call.session, call.packet)
    return coroutine, coroutine.send(None)
