"""Is the ring what membership says it is? A difference that lasts is a fault that somebody must hear of."""

from __future__ import annotations

__all__ = ["BOUND_S", "Watchdog"]

# A change is handled in its turn, and one that got lost is asked for again at the next look, a second later: two looks
# that still find a difference have found a fault.
BOUND_S = 2.0


class Watchdog:
    """Remembers since when something differs. Pure: the clock is an argument. Owned by the ConsumerActor."""

    __slots__ = ("_has_barked", "_since_s")

    def __init__(self) -> None:
        self._since_s: float | None = None
        self._has_barked = False

    def look(self, fault: str, now_s: float) -> str:
        """Return what to raise an alert about now, once for each time that something differs; usually "".

        Args:
            fault: what differs at this moment, "" if nothing does.
            now_s: the clock.
        """
        if not fault:
            self._since_s = None
            self._has_barked = False
            return ""
        if self._since_s is None:
            self._since_s = now_s
        if self._has_barked or now_s - self._since_s < BOUND_S:
            return ""
        self._has_barked = True
        hint = "look for errors of its balancer in the log, and restart the node"
        return f"for {now_s - self._since_s:.1f} s, {fault}: {hint}"
