"""``bounded-consistent-hash``: the ring's owner of the key, unless it has more than its share of the asks in flight.

"Consistent Hashing with Bounded Loads" (Mirrokni, Thorup, Zadimoghaddam 2016), with the asks in flight as the load. A
provider of weight w may have ``ceil(factor * asks * w / W)`` of them, the new one included, W being the sum of the
weights. A key whose owner is at its bound goes to the next provider along the ring that is not, for this ask only.
"""

from __future__ import annotations

from math import ceil, isfinite

import msgspec

from zfoo_py.consumer.balancer import Provider, Rng, ServiceView
from zfoo_py.consumer.explain import Decision
from zfoo_py.consumer.hashing import Key
from zfoo_py.consumer.in_flight import InFlight
from zfoo_py.consumer.policies.consistent_hash import ConsistentHashBalancer
from zfoo_py.consumer.ring import VIRTUAL_NODES

__all__ = ["BoundOptions", "BoundedConsistentHashBalancer"]


class BoundOptions(msgspec.Struct, frozen=True):
    """The options of a consumer with this policy.

    Attributes:
        factor: how much more than its fair share of the asks in flight a provider may have.
        probes: providers looked at along the ring before the least loaded one is taken.
    """

    # The paper's and Vimeo's: a quarter over the mean keeps most keys at home and no provider over 1.25 times the mean.
    factor: float = 1.25
    # At most 1/1.25 of all providers can be full, so 16 in a row are in 3 % of the picks at the very worst.
    probes: int = 16

    def __post_init__(self) -> None:
        if not (isfinite(self.factor) and self.factor >= 1):
            raise ValueError(f"factor must be at least 1 (1.25: a quarter over the mean), not {self.factor}")
        if self.probes < 1:
            raise ValueError(f"probes must be at least 1, not {self.probes}")


DEFAULT = BoundOptions()


class BoundedConsistentHashBalancer(ConsistentHashBalancer):
    """The first provider along the ring from the key that is below its bound; after `probes` of them, the least loaded.

    A key that meets no bound keeps its owner, and no pick is over the bound: the least loaded provider never is.

    Args:
        rng: for asks without key.
        options: factor and probes.
        virtual_nodes: of a provider of weight 1; must be equal on all nodes.
    """

    is_guarded = False
    counts_in_flight = True
    keeps_keys = False

    def __init__(self, rng: Rng, options: BoundOptions = DEFAULT, *, virtual_nodes: int = VIRTUAL_NODES) -> None:
        super().__init__(rng, virtual_nodes=virtual_nodes)
        self._factor = options.factor
        self._probes = options.probes
        self._weight = 0
        self.in_flight = InFlight()

    def on_up(self, provider: Provider) -> None:
        """As the ring's; it has nothing in flight yet."""
        super().on_up(provider)
        self.in_flight.join(provider)
        self._weigh()

    def on_down(self, provider: Provider) -> None:
        """As the ring's; what it still has in flight counts no more."""
        super().on_down(provider)
        self.in_flight.leave(provider)
        self._weigh()

    def on_weight(self, provider: Provider) -> None:
        """As the ring's; what it has in flight stays."""
        super().on_weight(provider)
        self._weigh()

    def _weigh(self) -> None:
        self._weight = sum(provider.weight for provider in self._providers.values())

    def bound(self, provider: Provider) -> int:
        """So many asks may be in flight to it, the next one included."""
        return ceil(self._factor * (self.in_flight.total + 1) * provider.weight / self._weight)

    def _pick_at(self, key_hash: int) -> Provider | None:
        """O(log points); O(points passed) where bounds are met, O(providers) after `probes`."""
        owner = self._owner_of_hash(key_hash)
        if owner is None or self._has_room(owner):
            return owner
        for _, name in zip(range(self._probes), self._ring.walk(key_hash), strict=False):
            provider = self._providers[name]
            if self._has_room(provider):
                return provider
        return min(self._providers.values(), key=self._load)

    def explain(self, view: ServiceView, key: Key | None) -> Decision:
        """By the ring, and by what is in flight at this moment."""
        decision = super().explain(view, key)
        picked = None if key is None else self.pick(view, key)  # counts nothing: an ask is counted when it is made
        owner = decision.owner
        if picked is None or owner is None:
            return decision
        load = f"{self.in_flight.counts[owner]} asks are in flight to it, of {self.bound(owner) - 1} it may have before"
        if picked is owner:
            return msgspec.structs.replace(decision, because=(*decision.because, load))
        step = f"{load}: for this ask the next provider along the ring with room, {picked.node_id or picked.ring_name}"
        return msgspec.structs.replace(decision, owner=picked, because=(*decision.because, step))

    def _has_room(self, provider: Provider) -> bool:
        return self.in_flight.counts[provider] < self.bound(provider)

    def _load(self, provider: Provider) -> tuple[float, str]:
        return self.in_flight.counts[provider] / provider.weight, provider.ring_name
