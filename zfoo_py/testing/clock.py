"""A clock that stands still: time passes only when a test says so, or, in a cluster, when everything waits."""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from zfoo_py.actor import TimerHandle, TimerSource

__all__ = ["FakeClock", "FakeTimer", "HeldTimers"]


class FakeClock:
    """A `zfoo_py.actor.TimerSource` whose time passes only by `advance`.

    Args:
        now_s: what `time` returns first, in seconds.
    """

    def __init__(self, now_s: float = 1000.0) -> None:
        self._now_s = now_s
        self._timers: list[tuple[float, int, FakeTimer]] = []
        self._order = itertools.count()

    def time(self) -> float:
        """Return the time, in seconds."""
        return self._now_s

    def call_later(self, delay: float, callback: Callable[..., object], /, *args: Any) -> FakeTimer:
        """Call ``callback(*args)`` once ``delay`` seconds have passed. O(log timers)."""
        timer = FakeTimer(callback, args)
        heapq.heappush(self._timers, (self._now_s + max(0.0, delay), next(self._order), timer))
        return timer

    def advance(self, seconds: float) -> None:
        """Let time pass; what falls due runs here, in order of time, then of asking."""
        until_s = self._now_s + seconds
        while (due_s := self.next_due_s()) is not None and due_s <= until_s:
            for timer in self.pass_to(due_s):
                timer.run()
        self._now_s = until_s

    def pending(self) -> int:
        """Return how many timers are set and not cancelled. O(timers)."""
        return sum(not timer.is_cancelled for _, _, timer in self._timers)

    def next_due_s(self) -> float | None:
        """Return when the next timer falls due, or None if none is set."""
        timers = self._timers
        while timers and timers[0][2].is_cancelled:
            heapq.heappop(timers)
        return timers[0][0] if timers else None

    def pass_to(self, at_s: float) -> list[FakeTimer]:
        """Let it be that time, and return what is due by now, in order, for the caller to run."""
        self._now_s = max(self._now_s, at_s)
        due = []
        while self._timers and self._timers[0][0] <= self._now_s:
            due.append(heapq.heappop(self._timers)[2])
        return due


class FakeTimer:
    """A timer of a `FakeClock`."""

    __slots__ = ("_args", "_callback", "is_cancelled")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self._callback = callback
        self._args = args
        self.is_cancelled = False

    def cancel(self) -> None:
        """Forget the callback; harmless if it has run."""
        self.is_cancelled = True

    def run(self) -> None:
        """Call back, unless it was cancelled or has run."""
        if not self.is_cancelled:
            self.is_cancelled = True
            self._callback(*self._args)


class HeldTimers:
    """The timers of one process: while it is stopped (SIGSTOP) none goes off, and those that fell due do afterwards.

    Args:
        timers: the clock behind.
    """

    def __init__(self, timers: TimerSource) -> None:
        self._timers = timers
        self._is_held = False
        self._late: list[FakeTimer] = []
        self.time = timers.time

    def call_later(self, delay: float, callback: Callable[..., object], /, *args: Any) -> TimerHandle:
        """Call ``callback(*args)`` once ``delay`` seconds have passed and it is not held."""
        timer = FakeTimer(callback, args)
        self._timers.call_later(delay, self._due, timer)
        return timer

    def _due(self, timer: FakeTimer) -> None:
        if self._is_held:
            self._late.append(timer)
        else:
            timer.run()

    def hold(self) -> None:
        """Let none go off."""
        self._is_held = True

    def release(self) -> None:
        """Let those go off that fell due meanwhile, in order, and the others at their time."""
        self._is_held = False
        late, self._late = self._late, []
        for timer in late:
            timer.run()
