"""``least-pending``: of two providers by chance, the one with fewer asks in flight.

"The power of two choices" (Mitzenmacher 2001): the longest queue is exponentially shorter than with one choice, and,
unlike the least of all, two consumers that know nothing of each other do not both run to the same idle provider.
"""

from __future__ import annotations

from bisect import bisect_right

from zfoo_py.consumer.balancer import Balancer, Provider, Rng, ServiceView, by_chance
from zfoo_py.consumer.explain import Decision
from zfoo_py.consumer.hashing import Key
from zfoo_py.consumer.in_flight import InFlight

__all__ = ["LeastPendingBalancer"]


class LeastPendingBalancer(Balancer):
    """The less loaded of two drawn by weight, by asks in flight per weight; a key only chooses the lane."""

    is_guarded = False
    needs_key = False
    keeps_keys = False
    counts_in_flight = True

    def __init__(self, rng: Rng) -> None:
        self._random = rng.random
        self.in_flight = InFlight()

    def on_up(self, provider: Provider) -> None:
        """It has nothing in flight yet."""
        self.in_flight.join(provider)

    def on_down(self, provider: Provider) -> None:
        """What it still has in flight counts no more."""
        self.in_flight.leave(provider)

    def on_weight(self, provider: Provider) -> None:
        """What it has in flight stays."""

    def follows(self, view: ServiceView) -> bool:
        """Whether it counts for exactly the view's providers."""
        return self.in_flight.counts.keys() == set(view.providers)

    def pick(self, view: ServiceView, key: Key | None) -> Provider | None:  # noqa: ARG002
        """O(1), with weights O(log providers)."""
        providers = view.providers
        if len(providers) < 2:
            return providers[0] if providers else None
        one, other = self._two_of(view)
        counts = self.in_flight.counts
        return one if counts.get(one, 0) * other.weight <= counts.get(other, 0) * one.weight else other

    def _two_of(self, view: ServiceView) -> tuple[Provider, Provider]:
        """Two by chance, each with its weight: of two idle ones the first is taken, and that must be by weight, too."""
        providers, weights = view.providers, view.cumulative_weights
        if not weights:
            first = int(self._random() * len(providers))
            second = int(self._random() * (len(providers) - 1))
            return providers[first], providers[second + (second >= first)]
        first = bisect_right(weights, int(self._random() * weights[-1]))
        begin = weights[first - 1] if first else 0
        own = weights[first] - begin
        turn = int(self._random() * (weights[-1] - own))  # among those of the others
        return providers[first], providers[bisect_right(weights, turn + own if turn >= begin else turn)]

    def explain(self, view: ServiceView, key: Key | None) -> Decision:  # noqa: ARG002
        """Which two are compared, chance decides. O(providers)."""
        if len(view.providers) == 1:
            return Decision(view.providers[0], ("there is no other provider",))
        counts = self.in_flight.counts
        loads = ", ".join(f"{one.node_id or one.ring_name} {counts.get(one, 0)}" for one in view.providers)
        return by_chance(view, f"of two providers by chance, the one with fewer asks in flight; now: {loads}")
