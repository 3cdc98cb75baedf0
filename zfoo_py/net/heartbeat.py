"""Signs of life: any frame is one; silence is asked about once, and a second silence is the end."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

__all__ = ["Beat", "Heartbeat", "Verdict"]


class Verdict(Enum):
    """What to do about the peer."""

    ALIVE = auto()
    ASK = auto()  # send a Ping
    WAIT = auto()  # it was asked and has said nothing yet
    DEAD = auto()  # close the session


class Beat(NamedTuple):
    """A verdict, and the seconds until the next one is due."""

    verdict: Verdict
    next_s: float


class Heartbeat:
    """Decides from the count of received frames; pure. A peer is dead at most interval + wait after its last frame.

    Two looks per interval: a frame may have come right after a look, so the next one finds it, and only the
    one after that, not more than an interval after the frame, finds silence.

    Args:
        interval_s: silence after which the peer is asked, at the latest.
        wait_s: how long it may take to say anything.
    """

    __slots__ = ("_frames", "_left_s", "interval_s", "look_s", "wait_s")

    def __init__(self, interval_s: float, wait_s: float) -> None:
        self.interval_s = interval_s
        self.wait_s = wait_s
        self.look_s = interval_s / 2
        self._frames = -1
        self._left_s: float | None = None  # once asked: of the wait

    def due(self, frames_in: int, *, is_reading: bool) -> Beat:
        """Judge, when the time of the last beat is over; the first is due after ``look_s``.

        Args:
            frames_in: frames received so far.
            is_reading: False while we take nothing from the socket: then silence is our own doing.
        """
        if frames_in != self._frames or not is_reading:
            self._frames = frames_in
            self._left_s = None
            return Beat(Verdict.ALIVE, self.look_s)
        verdict = Verdict.WAIT
        if self._left_s is None:
            verdict, self._left_s = Verdict.ASK, self.wait_s
        elif self._left_s <= 0.0:
            return Beat(Verdict.DEAD, 0.0)
        next_s = min(self.look_s, self._left_s)
        self._left_s -= next_s
        return Beat(verdict, next_s)
