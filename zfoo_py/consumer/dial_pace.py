"""How many connections are opened in a second: two hundred providers that start at once are not dialled at once."""

from __future__ import annotations

from collections import deque

__all__ = ["DialPace"]

# A small cluster is not held up at all, and of 200 providers that start at once the last is dialled after 3 s.
MAX_DIALS_PER_S = 50


class DialPace:
    """Lets at most so many dials through in any second."""

    def __init__(self, limit_per_s: int = MAX_DIALS_PER_S) -> None:
        self._made_at_s: deque[float] = deque(maxlen=limit_per_s)

    def wait_s(self, now_s: float) -> float:
        """Return 0.0, and count a dial; or, if it is too early, how long to wait. O(1)."""
        made = self._made_at_s
        if len(made) == made.maxlen and now_s - made[0] < 1.0:
            return max(1.0 - (now_s - made[0]), 0.001)  # a timer of the loop may be early by a millisecond
        made.append(now_s)
        return 0.0
