"""Doubles for tests of actors: a loop that is stepped by hand, a loop in a thread, and actors that take notes."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, ClassVar, Self

from zfoo_py.actor import Abort, Control, LoopActor, Runtime
from zfoo_py.testing import FakeClock

# A test that waits longer for another thread has found a hang.
HANG_S = 20.0


class Urgent(Control, frozen=True):
    """A message that overtakes; not the only class of them."""

    number: int = 0
    sender: str = ""


class MoreUrgent(Urgent, frozen=True):
    """Another class of messages that overtake."""


class Died(BaseException):
    """Stands for what is no ``Exception``: SystemExit, KeyboardInterrupt, CancelledError."""


def recorder(base: type[Any] = LoopActor, **attributes: Any) -> Any:
    """Return a fresh class of actors that note what they handle, and call the functions they are told."""

    class Recorder(base):  # type: ignore[misc, valid-type]
        handled: ClassVar[list[Any]] = []
        undelivered: ClassVar[list[Any]] = []
        hooks: ClassVar[list[Any]] = []

        def on_receive(self, message: Any) -> Any:
            if callable(message):
                return message(self)
            self.handled.append(message)
            return message

        @classmethod
        def on_undelivered(cls, message: Any) -> None:
            cls.undelivered.append(message)

        def on_start(self) -> None:
            self.hooks.append("start")

        def on_stop(self) -> None:
            self.hooks.append("stop")

        def on_failure(self, *failure: Any) -> None:
            self.hooks.append(failure)

    fresh: dict[str, Any] = {"handled": [], "undelivered": [], "hooks": []}
    return type("Recorder", (Recorder,), {**fresh, **attributes})


def fail(error: BaseException) -> Any:
    """Return a message for a recorder that raises in its turn."""

    def raise_it(_: Any) -> None:
        raise error

    return raise_it


class StepLoop:
    """As much of an event loop as a `Runtime` needs; nothing runs before `step`. Its thread is the test's."""

    def __init__(self) -> None:
        self.callbacks: deque[tuple[Any, tuple[Any, ...]]] = deque()
        self.clock = FakeClock()
        self.time = self.clock.time
        self.call_later = self.clock.call_later
        self.closed = False

    def call_soon(self, callback: Any, *args: Any) -> None:
        if self.closed:
            raise RuntimeError("Event loop is closed")
        self.callbacks.append((callback, args))

    call_soon_threadsafe = call_soon

    def is_closed(self) -> bool:
        return self.closed

    def step(self) -> int:
        """Run what is there now, as one round of a loop does; returns how many callbacks that were."""
        count = len(self.callbacks)
        for _ in range(count):
            callback, args = self.callbacks.popleft()
            callback(*args)
        return count

    def run(self) -> None:
        """Run until nothing is left."""
        while self.step():
            pass


def step_runtime(**options: Any) -> tuple[Runtime, StepLoop]:
    """Return a runtime on a loop that is stepped by hand."""
    loop = StepLoop()
    return Runtime(loop, **options), loop  # type: ignore[arg-type]


class LoopThread:
    """A runtime on a real loop in a thread of its own; as a context manager it ends what it started."""

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._started: Future[Runtime] = Future()
        self._thread = threading.Thread(target=asyncio.run, args=(self._main(),))

    async def _main(self) -> None:
        self._end = asyncio.Event()
        self._started.set_result(Runtime(asyncio.get_running_loop(), **self._options))
        await self._end.wait()
        for actor in list(self.runtime.actors):
            self.runtime.deliver(actor.actor_ref, Abort())

    def __enter__(self) -> Self:
        self._thread.start()
        self.runtime = self._started.result(HANG_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.runtime.loop.call_soon_threadsafe(self._end.set)
        self._thread.join(HANG_S)

    def call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a function on the loop and return what it returns."""

        async def run() -> Any:
            return function(*args, **kwargs)

        return asyncio.run_coroutine_threadsafe(run(), self.runtime.loop).result(HANG_S)

    def spawn(self, actor_class: Any, *args: Any, **kwargs: Any) -> Any:
        """Start an actor."""
        return self.call(self.runtime.spawn, actor_class, *args, **kwargs)


def in_threads(*functions: Any) -> None:
    """Run each function in a thread of its own, let them start together, and raise what one of them raised."""
    barrier = threading.Barrier(len(functions))
    errors: list[BaseException] = []

    def run(function: Any) -> None:
        try:
            barrier.wait(HANG_S)
            function()
        except BaseException as error:  # noqa: BLE001 - raised below, in the test's thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG_S)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    if errors:
        raise errors[0]


@contextmanager
def as_another_thread(runtime: Runtime) -> Iterator[None]:
    """Make a stepped runtime take this thread for a foreign one: the way of threads, in an order the test chooses."""
    ident, runtime.thread_ident = runtime.thread_ident, -1
    try:
        yield
    finally:
        runtime.thread_ident = ident
