"""Signs of life: any byte is one; silence is asked about once, and a second silence is the end."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

__all__ = ["Beat", "Heartbeat", "Verdict"]


class Verdict(Enum):
    """What to do about the peer."""

    ALIVE = auto()
    ASK = auto()  # send a Ping
    TELL = auto()  # send a Heartbeat: we read nothing, so its Pings go unanswered
    WAIT = auto()  # it was asked and has said nothing yet
    DEAD = auto()  # close the session


class Beat(NamedTuple):
    """A verdict, and the seconds until the next one is due."""

    verdict: Verdict
    next_s: float


class Heartbeat:
    """Decides from the count of received bytes; pure. A peer is dead at most interval + wait after its last byte.

    Bytes, not frames: a long frame on a slow line takes longer than the wait. Two looks per interval: a byte may
    have come right after a look, so the next one finds it, and only the one after that, not more than an interval
    after the byte, finds silence. A peer that speaks is asked once per interval all the same, to measure how long
    a Ping and its Pong take.

    Args:
        interval_s: silence after which the peer is asked, at the latest.
        wait_s: how long it may take to say anything.

    Attributes:
        latency_s: from the last Ping that was answered to its Pong; 0.0 before the first.
    """

    __slots__ = (
        "_asked_after_bytes", "_bytes", "_is_odd", "_left_s", "_pinged_at_s", "_stalled_since_s", "_taken_bytes",
        "interval_s", "latency_s", "look_s", "wait_s",
    )  # fmt: skip

    def __init__(self, interval_s: float, wait_s: float) -> None:
        self.interval_s = interval_s
        self.wait_s = wait_s
        self.look_s = interval_s / 2
        self.latency_s = 0.0
        self._bytes = -1
        self._left_s: float | None = None  # once asked: of the wait
        self._is_odd = False
        self._pinged_at_s: float | None = None  # the Ping that has no Pong yet
        self._asked_after_bytes = -1
        self._taken_bytes = -1
        self._stalled_since_s: float | None = None

    def due(self, bytes_in: int, now_s: float, *, is_reading: bool) -> Beat:
        """Judge, when the time of the last beat is over; the first is due after ``look_s``.

        Args:
            bytes_in: received so far, those of incomplete frames too.
            now_s: the clock.
            is_reading: False while we take nothing from the socket: then silence is our own doing.
        """
        if not is_reading:
            self._left_s = self._pinged_at_s = None
            self._bytes = bytes_in
            return Beat(Verdict.TELL, self.look_s)
        if bytes_in != self._bytes:
            self._bytes = bytes_in
            self._left_s = None
            self._is_odd = not self._is_odd
            if self._is_odd and self._pinged_at_s is None:
                return self._ask(now_s, self.look_s)
            return Beat(Verdict.ALIVE, self.look_s)
        is_asked = True
        if self._left_s is None:
            is_asked, self._left_s = self._asked_after_bytes == bytes_in, self.wait_s
        elif self._left_s <= 0.0:
            return Beat(Verdict.DEAD, 0.0)
        next_s = min(self.look_s, self._left_s)
        self._left_s -= next_s
        return Beat(Verdict.WAIT, next_s) if is_asked else self._ask(now_s, next_s)

    def _ask(self, now_s: float, next_s: float) -> Beat:
        self._asked_after_bytes = self._bytes
        if self._pinged_at_s is None:
            self._pinged_at_s = now_s
        return Beat(Verdict.ASK, next_s)

    def ponged(self, now_s: float) -> None:
        """Take note of a Pong."""
        if self._pinged_at_s is not None:
            self.latency_s = now_s - self._pinged_at_s
            self._pinged_at_s = None

    def is_stalled(self, taken_bytes: int, now_s: float, *, is_full: bool) -> bool:
        """Return whether the peer has read nothing for interval + wait while it should have: at each beat.

        Args:
            taken_bytes: that the transport has got rid of so far.
            now_s: the clock.
            is_full: whether the transport holds more than it should.
        """
        if not is_full or taken_bytes != self._taken_bytes:
            self._taken_bytes = taken_bytes
            self._stalled_since_s = now_s if is_full else None
            return False
        return self._stalled_since_s is not None and now_s - self._stalled_since_s >= self.interval_s + self.wait_s
