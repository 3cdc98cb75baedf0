"""How many asks each provider of one service type has in flight: each counted up once and down once, however it ends.

An ask ends when its answer is settled: answered, failed, timed out, its session lost. It ends at *this* provider before
that when it comes back to be picked again. A provider that has left counts no more, nor does what it still has.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

__all__ = ["InFlight", "let_go"]

P = TypeVar("P")


class InFlight(Generic[P]):
    """The counts of one balancer. Not thread-safe: written in the turns of the node's loop.

    Attributes:
        counts: provider → asks in flight, for exactly those that joined.
        total: their sum.
    """

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts: dict[P, int] = {}
        self.total = 0

    def join(self, provider: P) -> None:
        """Count for this provider from now on."""
        self.counts.setdefault(provider, 0)

    def leave(self, provider: P) -> None:
        """Forget a provider, with what it has in flight."""
        self.total -= self.counts.pop(provider, 0)

    def hold(self, answer: Any, provider: P) -> None:
        """An ask is on its way to a provider, until its `Answer` is settled or `let_go`. O(1)."""
        if provider not in self.counts:
            return
        is_first = answer.held is None
        self.counts[provider] += 1
        self.total += 1
        answer.held = (self, provider)
        if is_first:  # one callback for all tries
            answer.add_done_callback(let_go)

    def end(self, provider: P) -> None:
        """One ask less."""
        if provider in self.counts:
            self.counts[provider] -= 1
            self.total -= 1


def let_go(answer: Any) -> None:
    """An ask has ended, or is to be picked again: it is in flight no more. Harmless for one that was not counted."""
    if answer.held:
        in_flight, provider = answer.held
        answer.held = ()
        in_flight.end(provider)
