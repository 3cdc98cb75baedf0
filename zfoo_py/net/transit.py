"""How long an ask was on its way beyond what an empty line takes: in the buffers of two kernels and two processes.

Two clocks that have nothing in common can tell: arrival minus departure is a constant, the line, and the waiting. The
least of these differences is an ask that did not wait; what another one took longer, it has waited.
"""

from __future__ import annotations

import math

__all__ = ["WINDOW_S", "Transit", "timestamp_ms"]

# Clocks of two machines drift apart (100 ms in 17 minutes, at 100 ppm), and one may jump when its machine was stopped.
# So no difference stays the least for ever: that of the present and of the last window counts. In so long, some ask
# finds the line empty, unless the overload is older; and a jump makes asks look late for no longer than this twice.
WINDOW_S = 10.0

# Timestamps are milliseconds modulo 2**32: after 49 days they begin again.
MASK = 0xFFFF_FFFF
WRAP_S = (MASK + 1) / 1000.0


def timestamp_ms(since_began_s: float) -> int:
    """Return what an ask carries that is sent so long after its session began; 0 would say "not told"."""
    return int(since_began_s * 1000.0) & MASK or 1


class Transit:
    """Of the asks of one session; pure, O(1). Owned by the session's node, on the loop's thread."""

    __slots__ = ("_base_s", "_last_s", "_least_s", "_present_s", "_until_s")

    def __init__(self) -> None:
        self._base_s = 0.0
        self._present_s = self._last_s = self._least_s = math.inf  # of this window, of the one before, of both
        self._until_s = -math.inf  # when the present window ends

    def waited_s(self, timestamp: int, now_s: float) -> float:
        """Return how long an ask has waited on its way, and learn from it.

        Args:
            timestamp: the sender's, as of `timestamp_ms`.
            now_s: this node's monotonic clock.
        """
        transit_s = (now_s - timestamp * 0.001 - self._base_s) % WRAP_S
        if transit_s < self._present_s or now_s >= self._until_s:
            return self._learn(transit_s, now_s)
        return transit_s - self._least_s

    def _learn(self, transit_s: float, now_s: float) -> float:
        if now_s >= self._until_s:
            if self._until_s == -math.inf:  # half a turn, so that neither skew nor drift comes near to zero
                self._base_s = transit_s - WRAP_S / 2
                transit_s = WRAP_S / 2
            self._last_s = self._present_s if now_s < self._until_s + WINDOW_S else math.inf
            self._until_s = now_s + WINDOW_S
            self._present_s = math.inf
        self._present_s = min(transit_s, self._present_s)
        self._least_s = min(self._present_s, self._last_s)
        return transit_s - self._least_s
