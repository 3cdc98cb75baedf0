"""Signs of life: any frame is one; silence is asked about once, and a second silence is the end."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

__all__ = ["Beat", "Heartbeat", "Verdict"]


class Verdict(Enum):
    """What to do about the peer."""

    ALIVE = auto()
    ASK = auto()  # send a Ping
    DEAD = auto()  # close the session


class Beat(NamedTuple):
    """A verdict, and the seconds until the next one is due."""

    verdict: Verdict
    next_s: float


class Heartbeat:
    """Decides from the count of received frames; pure. A peer is dead at most interval + wait after its last frame.

    Args:
        interval_s: silence after which the peer is asked.
        wait_s: how long it may take to say anything.
    """

    __slots__ = ("_frames", "_has_asked", "interval_s", "wait_s")

    def __init__(self, interval_s: float, wait_s: float) -> None:
        self.interval_s = interval_s
        self.wait_s = wait_s
        self._frames = -1
        self._has_asked = False

    def due(self, frames_in: int, *, is_reading: bool) -> Beat:
        """Judge, when the time of the last beat is over.

        Args:
            frames_in: frames received so far.
            is_reading: False while we take nothing from the socket: then silence is our own doing.
        """
        if frames_in != self._frames or not is_reading:
            self._frames = frames_in
            self._has_asked = False
            return Beat(Verdict.ALIVE, self.interval_s)
        if self._has_asked:
            return Beat(Verdict.DEAD, 0.0)
        self._has_asked = True
        return Beat(Verdict.ASK, self.wait_s)
