"""Turns that hold the loop too long, found and named without a cost per message.

A batch of turns (a wake-up's, or up to 32 receivers') begins with one reading of the clock: the `Pace` of its runtime.
One thread per process looks twice in the time allowed whether a batch is older, and if so reads the stack of the
loop's thread: what it finds there is the turn, with file and line, also if it never ends. So it can be told of at once;
the loop publishes it when it is free again.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from pathlib import Path
from time import perf_counter
from types import FrameType
from typing import TYPE_CHECKING, Final

import msgspec

from zfoo_py import fork_io

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["WATCH", "Held", "Pace", "TurnWatch", "named"]

PACKAGE: Final = str(Path(__file__).parent.parent) + os.sep
# What calls turns and receivers: above these in a stack is the program, below is the turn.
CALLERS: Final = tuple(
    PACKAGE + str(Path(path)) for path in ("actor/runtime.py", "actor/inbox.py", "router/drivers.py")
)
# Frames that only hand on: the one they call says more.
HANDS_ON: Final = ("on_receive", "_turn_enveloped", "_handle_receive", "publish", "_wake", "settle")


class Held(msgspec.Struct, frozen=True):
    """A turn that holds, or held, the loop.

    Attributes:
        cause: the receiver, callback or actor turn: "name (file:line)".
        at: where it was found: "file:line in name".
        since_s: when its batch began, by `perf_counter`.
        seen_s: how long it had been held when it was seen.
    """

    cause: str
    at: str
    since_s: float
    seen_s: float


class Pace:
    """When the batch of turns that runs now began. Written on the loop, read by the watch's thread.

    Args:
        limit_s: a batch that is older holds the loop too long.
        seen: told of a `Held` at once, in the watch's thread; returns whether it is to be published.
        told: told on the loop, when it is free again: (held, seconds in all).

    Attributes:
        since_s: when the batch began, 0.0 if none runs.
        held: what the watch has found in it.
        count: turns that held the loop too long, ever.
    """

    __slots__ = ("_last_s", "count", "held", "limit_s", "seen", "since_s", "thread_ident", "told")

    def __init__(
        self,
        thread_ident: int,
        limit_s: float = 0.1,
        seen: Callable[[Held], bool] = lambda _: True,
        told: Callable[[Held, float], object] = lambda _, __: None,
    ) -> None:
        self.thread_ident = thread_ident
        self.limit_s = limit_s
        self.seen = seen
        self.told = told
        self.since_s = 0.0
        self.held: Held | None = None
        self.count = 0
        self._last_s = 0.0

    def begin(self) -> None:
        """A batch begins. On the loop; 60 ns."""
        self.since_s = perf_counter()

    def end(self) -> None:
        """It has ended. On the loop; 40 ns."""
        since_s, self.since_s = self.since_s, 0.0
        if self.held is not None:
            self._tell(since_s)

    def _tell(self, since_s: float) -> None:
        held, self.held = self.held, None
        assert held is not None
        # It may have ended while the watch was looking; then this is the end of a later one.
        held_s = perf_counter() - since_s if held.since_s == since_s else held.seen_s
        self.told(held, held_s)

    def look(self, now_s: float, stack: Callable[[int], FrameType | None]) -> Held | None:
        """Return what holds the loop too long, once for each batch. In the watch's thread."""
        since_s = self.since_s
        if not since_s or now_s - since_s < self.limit_s or since_s == self._last_s:
            return None
        self._last_s = since_s
        frame = stack(self.thread_ident)
        if frame is None or self.since_s != since_s:  # it has ended meanwhile
            return None
        cause, at = named(frame)
        del frame  # its locals are the loop's
        self.count += 1
        held = Held(cause, at, since_s, now_s - since_s)
        if self.seen(held):
            self.held = held
        return held


def named(frame: FrameType | None) -> tuple[str, str]:
    """Return cause and place of the turn that a stack, innermost frame first, is in."""
    turn: list[FrameType] = []
    while frame is not None and frame.f_code.co_filename not in CALLERS:
        turn.append(frame)
        frame = frame.f_back
    if not turn:
        return "the runtime itself", ""
    mine = [one for one in turn if not one.f_code.co_filename.startswith(PACKAGE)]
    theirs = [one for one in turn if one.f_code.co_name not in HANDS_ON]
    # The outermost of the application's frames is its receiver or callback; a turn of ours has none.
    cause = (mine or theirs or turn)[-1].f_code
    inner = (mine or turn)[0]
    place = f"{Path(inner.f_code.co_filename).name}:{inner.f_lineno} in {inner.f_code.co_qualname}"
    return f"{cause.co_qualname} ({Path(cause.co_filename).name}:{cause.co_firstlineno})", place


def stack_of(thread_ident: int) -> FrameType | None:
    """Return the innermost frame of a thread. It makes a frame object of each thread, so it is for what is slow only.

    CPython holds a lock of the interpreter meanwhile; a collection of garbage that begins there, and lets another
    thread run that needs the lock, hangs the process (CPython's issue 106883; 3.11 has it for good).
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        return sys._current_frames().get(thread_ident)
    finally:
        if collects:
            gc.enable()


class TurnWatch:
    """The thread that looks at the paces of all runtimes of this process; it lives while there is one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paces: list[Pace] = []
        self._thread: threading.Thread | None = None
        self._changed = threading.Event()
        fork_io.watch(self)

    def after_fork(self) -> None:
        """A child has neither the thread nor the loops."""
        self.__init__()  # type: ignore[misc]

    def add(self, pace: Pace) -> None:
        """Watch a pace. Any thread."""
        with self._lock:
            self._paces.append(pace)
            if self._thread is None:
                self._changed.clear()
                self._thread = threading.Thread(target=self._run, name="zfoo_py turn watch", daemon=True)
                self._thread.start()
            self._changed.set()

    def remove(self, pace: Pace) -> None:
        """Watch a pace no more; with the last one the thread ends before this returns. Idempotent."""
        with self._lock:
            if pace not in self._paces:
                return
            self._paces.remove(pace)
            thread = None
            if not self._paces:
                thread, self._thread = self._thread, None
                self._changed.set()
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        me = threading.current_thread()
        while self._thread is me:
            paces = list(self._paces)
            for pace in paces:
                pace.look(perf_counter(), stack_of)
            self._changed.wait(min((pace.limit_s for pace in paces), default=1.0) / 2)
            self._changed.clear()


WATCH: Final = TurnWatch()
