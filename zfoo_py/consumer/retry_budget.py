"""How many asks may be made twice: a share of all asks and a few a second, so that trouble is not doubled.

The rule is Finagle's retry budget (2016): every ask pays in a part of a retry, and a small income a second lets
a quiet consumer retry too. What is not used within ten seconds is gone.
"""

from __future__ import annotations

__all__ = ["RetryBudget"]

# One ask in five may be repeated: at worst a provider in trouble sees 1.2 times the load.
SHARE = 0.2

# So that somebody who asks once a minute may repeat it.
PER_SECOND = 10.0

# Savings older than this are gone (Finagle's): else a quiet night would let a burst through. A fresh budget has the
# income of so many seconds in advance: a rolling restart right after the start is not to cost an ask.
WINDOW_S = 10.0


class RetryBudget:
    """A bucket of retries that leaks; pure: the clock is an argument. Owned by the ConsumerActor."""

    __slots__ = ("_asks", "_at_s", "_saved")

    def __init__(self, now_s: float) -> None:
        self._saved = PER_SECOND * WINDOW_S
        self._at_s = now_s + WINDOW_S
        self._asks = 0

    def take(self, asks: int, now_s: float) -> bool:
        """Take one retry, if there is one.

        Args:
            asks: how many asks were made so far, ever.
            now_s: the clock.
        """
        passed_s = max(0.0, now_s - self._at_s)
        income = max(0, asks - self._asks) * SHARE + passed_s * PER_SECOND
        if passed_s > WINDOW_S:
            income *= WINDOW_S / passed_s
        self._saved = self._saved * max(0.0, 1.0 - passed_s / WINDOW_S) + income
        self._asks = asks
        self._at_s = max(self._at_s, now_s)
        if self._saved < 1.0:
            return False
        self._saved -= 1.0
        return True
