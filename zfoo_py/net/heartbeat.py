"""Signs of life: a frame is one, and so are many bytes; silence is asked about once, a second silence is the end."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

__all__ = ["SIGN_BYTES", "Beat", "Heartbeat", "Verdict"]

# So many bytes of a frame that is not complete are a sign of life, too. Fewer may be somebody who says a byte now and
# then, to hold a connection and a buffer for ever (slowloris); a line that is slower carries no ask in time either.
SIGN_BYTES = 1024


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
    """Decides from the count of signs of life; pure. A peer is dead at most interval + wait after its last one.

    Not of frames alone: a long one on a slow line takes longer than the wait. Two looks per interval: a sign may
    have come right after a look, so the next one finds it, and only the one after that, not more than an interval
    after the sign, finds silence. A peer that speaks is asked once per interval all the same, to measure how long
    a Ping and its Pong take.

    Args:
        interval_s: silence after which the peer is asked, at the latest.
        wait_s: how long it may take to say anything.

    Attributes:
        latency_s: from the last Ping that was answered to its Pong; 0.0 before the first.
    """

    __slots__ = (
        "_asked_after_signs",
        "_is_odd",
        "_left_s",
        "_pinged_at_s",
        "_progress",
        "_signs",
        "_stalled_since_s",
        "interval_s",
        "latency_s",
        "look_s",
        "wait_s",
    )  # fmt: skip

    def __init__(self, interval_s: float, wait_s: float) -> None:
        self.interval_s = interval_s
        self.wait_s = wait_s
        self.look_s = interval_s / 2
        self.latency_s = 0.0
        self._signs = -1
        self._left_s: float | None = None  # once asked: of the wait
        self._is_odd = False
        self._pinged_at_s: float | None = None  # the Ping that has no Pong yet
        self._asked_after_signs = -1
        self._progress = -1
        self._stalled_since_s: float | None = None

    def due(self, signs_in: int, now_s: float, *, is_reading: bool) -> Beat:
        """Judge, when the time of the last beat is over; the first is due after ``look_s``.

        Args:
            signs_in: frames received so far, and each `SIGN_BYTES` of bytes, those of incomplete frames too.
            now_s: the clock.
            is_reading: False while we take nothing from the socket: then silence is our own doing.
        """
        if not is_reading:
            self._left_s = self._pinged_at_s = None
            self._signs = signs_in
            return Beat(Verdict.TELL, self.look_s)
        if signs_in != self._signs:
            self._signs = signs_in
            self._left_s = None
            self._is_odd = not self._is_odd
            if self._is_odd and self._pinged_at_s is None:
                return self._ask(now_s, self.look_s)
            return Beat(Verdict.ALIVE, self.look_s)
        is_asked = True
        if self._left_s is None:
            is_asked, self._left_s = self._asked_after_signs == signs_in, self.wait_s
        elif self._left_s <= 0.0:
            return Beat(Verdict.DEAD, 0.0)
        next_s = min(self.look_s, self._left_s)
        self._left_s -= next_s
        return Beat(Verdict.WAIT, next_s) if is_asked else self._ask(now_s, next_s)

    def _ask(self, now_s: float, next_s: float) -> Beat:
        self._asked_after_signs = self._signs
        if self._pinged_at_s is None:
            self._pinged_at_s = now_s
        return Beat(Verdict.ASK, next_s)

    def ponged(self, now_s: float) -> None:
        """Take note of a Pong."""
        if self._pinged_at_s is not None:
            self.latency_s = now_s - self._pinged_at_s
            self._pinged_at_s = None

    def is_stalled(self, taken_bytes: int, signs_in: int, now_s: float, *, is_full: bool) -> bool:
        """Return whether the peer has read nothing for interval + wait while it should have: at each beat.

        One that has given signs of life meanwhile is busy, and has asks of ours; we hear none of whom we do not read.

        Args:
            taken_bytes: that the transport has got rid of so far.
            signs_in: as in `due`.
            now_s: the clock.
            is_full: whether the transport holds more than it should.
        """
        progress = taken_bytes + signs_in  # neither ever falls
        if not is_full or progress != self._progress:
            self._progress = progress
            self._stalled_since_s = now_s if is_full else None
            return False
        return self._stalled_since_s is not None and now_s - self._stalled_since_s >= self.interval_s + self.wait_s
