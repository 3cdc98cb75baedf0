"""How fast a queue empties, and so which of those that join it would start too late."""

from __future__ import annotations

__all__ = ["Drainage"]

# A new sample counts a fifth: after a change of load ten batches make the estimate right.
WEIGHT = 0.2


class Drainage:
    """The mean time between two starts from one queue, measured only while something waits; pure.

    The rule is that of a deadline-aware queue: whoever stands ``n`` places from its head starts in about ``n`` times
    the mean. One addition and one clock reading per batch, nothing per call.

    Attributes:
        each_s: the estimate; 0.0 until a queue has been seen, and then nothing is too late.
    """

    __slots__ = ("_at_s", "_begun", "_is_busy", "each_s")

    def __init__(self) -> None:
        self.each_s = 0.0
        self._at_s = 0.0
        self._begun = 0
        self._is_busy = False

    def note(self, begun: int, waiting: int, now_s: float) -> None:
        """Take note after each batch.

        Args:
            begun: how many calls have left the queue, ever.
            waiting: how many are in it.
            now_s: the clock.
        """
        count, passed_s = begun - self._begun, now_s - self._at_s
        if self._is_busy and count > 0:
            sample_s = passed_s / count
            self.each_s += (sample_s - self.each_s) * (WEIGHT if self.each_s else 1.0)
        elif self._is_busy and passed_s > self.each_s:  # nothing has left for longer than the estimate says
            return
        self._at_s, self._begun, self._is_busy = now_s, begun, waiting > 0

    def wait_s(self, ahead: int) -> float:
        """Return in how many seconds a call starts that has so many before it."""
        return ahead * self.each_s
