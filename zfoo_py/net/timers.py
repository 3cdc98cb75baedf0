"""The four timers of one session: deadlines, heartbeat, counters, pauses. What is due comes as a message."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from zfoo_py.net.messages import CountersDue, Expire, HeartbeatDue, HelloLate, PausedLong

if TYPE_CHECKING:
    from zfoo_py.actor import LoopActorRef, Runtime, TimerHandle

__all__ = ["SessionTimers"]

# A session that receives reports its counters so often; one that is silent costs no timer.
COUNTERS_EVERY_S = 1.0


class SessionTimers:
    """Owned by one session actor; each kind is armed at most once.

    Attributes:
        expires_at_s: when Expire is due; infinite if it is not.
    """

    __slots__ = ("_beat", "_counters", "_expiry", "_pause", "_ref", "_runtime", "expires_at_s")

    def __init__(self, runtime: Runtime, ref: LoopActorRef[Any]) -> None:
        self._runtime = runtime
        self._ref = ref
        self._expiry: TimerHandle | None = None
        self.expires_at_s = math.inf
        self._beat: TimerHandle | None = None
        self._counters: TimerHandle | None = None
        self._pause: TimerHandle | None = None

    def expire_at(self, deadline_s: float) -> None:
        """See to it that Expire comes at this deadline, if none is due before."""
        if self.expires_at_s <= deadline_s:
            return
        if self._expiry is not None:
            self._expiry.cancel()
        self.expires_at_s = deadline_s
        delay_s = max(0.0, deadline_s - self._runtime.time())
        self._expiry = self._runtime.call_later(delay_s, self._ref, Expire())

    def expired(self) -> None:
        """Take note that Expire has come."""
        self._expiry = None
        self.expires_at_s = math.inf

    def hello_within(self, seconds: float) -> None:
        """Let HelloLate come in so many seconds, until the first `beat_in`."""
        self._beat = self._runtime.call_later(seconds, self._ref, HelloLate())

    def beat_in(self, seconds: float) -> None:
        """Let HeartbeatDue come in so many seconds, instead of whatever was armed before."""
        if self._beat is not None:
            self._beat.cancel()
        self._beat = self._runtime.call_later(seconds, self._ref, HeartbeatDue())

    def count_soon(self) -> None:
        """Let CountersDue come within a second."""
        if self._counters is None:
            self._counters = self._runtime.call_later(COUNTERS_EVERY_S, self._ref, CountersDue())

    def counted(self) -> None:
        """Take note that CountersDue has come."""
        self._counters = None

    def paused(self, limit_s: float) -> None:
        """Let PausedLong come in so many seconds, unless it is due anyhow, or `reads` comes before."""
        if self._pause is None:
            self._pause = self._runtime.call_later(limit_s, self._ref, PausedLong())

    def reads(self) -> None:
        """Take note that reading goes on, or that PausedLong has come."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None

    def cancel(self) -> None:
        """Forget them all."""
        for timer in (self._expiry, self._beat, self._counters, self._pause):
            if timer is not None:
                timer.cancel()
        self._expiry = self._beat = self._counters = self._pause = None
        self.expires_at_s = math.inf
