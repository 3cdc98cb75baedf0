"""``consistent-hash``: the ring's owner of the key, as in Java zfoo."""

from __future__ import annotations

from zfoo_py.consumer.balancer import Balancer, BalancerStats, Provider, Rng, ServiceView, any_of, by_chance
from zfoo_py.consumer.explain import Decision, on_ring
from zfoo_py.consumer.hashing import Key, fnv_hash, key_hashes, task_hash
from zfoo_py.consumer.ring import VIRTUAL_NODES, HashRing

__all__ = ["ConsistentHashBalancer"]


class ConsistentHashBalancer(Balancer):
    """The ring's owner of the key, as in Java zfoo; any provider for ``key=None``.

    Args:
        rng: for asks without key.
        virtual_nodes: of a provider of weight 1; must be equal on all nodes.
    """

    is_guarded = False

    def __init__(self, rng: Rng, *, virtual_nodes: int = VIRTUAL_NODES) -> None:
        self._random = rng.random
        self._ring = HashRing(virtual_nodes)
        self._providers: dict[str, Provider] = {}  # exactly those in the ring

    @property
    def ring(self) -> HashRing:
        """The ring, for reading only."""
        return self._ring

    def on_up(self, provider: Provider) -> None:
        """Raises ValueError if a provider of that ring name is in the ring; nothing has changed then."""
        self._ring.add(provider.ring_name, self._ring.virtual_nodes * provider.weight)
        self._providers[provider.ring_name] = provider

    def on_down(self, provider: Provider) -> None:
        """Raises ValueError if no provider of that ring name is in the ring; nothing has changed then."""
        self._ring.remove(provider.ring_name)
        del self._providers[provider.ring_name]

    def on_weight(self, provider: Provider) -> None:
        """It gets the points of its weight; only these move keys."""
        self._ring.remove(provider.ring_name)
        self._ring.add(provider.ring_name, self._ring.virtual_nodes * provider.weight)

    def follows(self, view: ServiceView) -> bool:
        """Whether the ring holds exactly the view's providers."""
        known = self._providers
        return len(known) == len(view.providers) and all(known.get(one.ring_name) is one for one in view.providers)

    def pick(self, view: ServiceView, key: Key | None) -> Provider | None:
        """O(length of the key + log points)."""
        if key is None:
            return any_of(view, self._random)
        return self._pick_at(fnv_hash(key))

    def route(self, view: ServiceView, key: Key | None) -> tuple[Provider | None, int | None]:
        """As `Balancer.route`; the key's text is made once for ring and lane."""
        if key is None:
            return any_of(view, self._random), None
        key_hash, lane = key_hashes(key)
        return self._pick_at(key_hash), lane

    def route_around(self, view: ServiceView, key: Key | None, refused: str) -> tuple[Provider | None, int | None]:
        """To the one who would own the key if that provider were gone."""
        if key is None:
            return super().route_around(view, key, refused)
        owners = (name for name in self._ring.walk(fnv_hash(key)) if name != refused)
        return self._providers.get(next(owners, "")), task_hash(key)

    def _pick_at(self, key_hash: int) -> Provider | None:
        return self._owner_of_hash(key_hash)

    def _owner_of_hash(self, key_hash: int) -> Provider | None:
        name = self._ring.owner_of_hash(key_hash)
        return None if name is None else self._providers[name]

    def explain(self, view: ServiceView, key: Key | None) -> Decision:
        """By the ring."""
        if key is None:
            return by_chance(view, "without a key the policy takes any provider")
        return on_ring(self._ring, self._providers, fnv_hash(key))

    def stats(self) -> BalancerStats:
        """The ring's."""
        return BalancerStats(ring_points=len(self._ring), points_version=self._ring.points_version)
