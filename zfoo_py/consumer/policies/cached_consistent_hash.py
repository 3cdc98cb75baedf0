"""``cached-consistent-hash``: the same picks, remembering keys."""

from __future__ import annotations

from math import ceil

import msgspec

from zfoo_py.consumer.balancer import (
    EXPIRE_AFTER_ACCESS_S,
    MAX_ENTRIES,
    BalancerStats,
    Provider,
    Rng,
    ServiceView,
    any_of,
)
from zfoo_py.consumer.explain import Decision
from zfoo_py.consumer.hashing import Key, cache_key, key_hashes
from zfoo_py.consumer.key_cache import Entry, KeyCache, MovedKey
from zfoo_py.consumer.policies.consistent_hash import ConsistentHashBalancer
from zfoo_py.consumer.ring import VIRTUAL_NODES

__all__ = ["CachedConsistentHashBalancer"]


class CachedConsistentHashBalancer(ConsistentHashBalancer):
    """`ConsistentHashBalancer`, remembering keys: the same picks, four times as fast for a key seen before.

    Args:
        rng: for asks without key.
        max_entries: keys remembered at most.
        expire_after_access_s: a key not asked for so long is forgotten (resolution: a second).
        virtual_nodes: must be equal on all nodes.
    """

    is_guarded = False

    def __init__(
        self,
        rng: Rng,
        *,
        max_entries: int = MAX_ENTRIES,
        expire_after_access_s: float = EXPIRE_AFTER_ACCESS_S,
        virtual_nodes: int = VIRTUAL_NODES,
    ) -> None:
        super().__init__(rng, virtual_nodes=virtual_nodes)
        self._cache: KeyCache[Provider] = KeyCache(
            self._ring, self._providers, max_entries=max_entries, expire_after_ticks=max(1, ceil(expire_after_access_s))
        )
        self._get_entry = self._cache.entries.get

    @property
    def cache(self) -> KeyCache[Provider]:
        """For reading only."""
        return self._cache

    def on_up(self, provider: Provider) -> None:
        """The ring changes here; entries follow when they are picked or swept."""
        super().on_up(provider)
        self._cache.ring_changed()

    def on_down(self, provider: Provider) -> None:
        """The ring changes here; with the last provider all entries go."""
        super().on_down(provider)
        self._cache.ring_changed()
        self._get_entry = self._cache.entries.get

    def on_weight(self, provider: Provider) -> None:
        """The ring changes here; entries follow when they are picked or swept."""
        super().on_weight(provider)
        self._cache.ring_changed()

    def pick(self, view: ServiceView, key: Key | None) -> Provider | None:
        """O(1) for a key that is remembered."""
        return self.route(view, key)[0]

    def route(self, view: ServiceView, key: Key | None) -> tuple[Provider | None, int | None]:
        """As `Balancer.route`; a remembered key is hashed neither for the ring nor for the lane."""
        kind = key.__class__
        if kind is str or kind is int:
            entry = self._get_entry(key)  # type: ignore[arg-type]
        elif key is None:
            return any_of(view, self._random), None
        else:
            entry = self._get_entry(cache_key(key))
        if entry is None:
            return self._remember(key)  # type: ignore[arg-type]
        cache = self._cache
        if entry.checked == cache.version and entry.tick >= cache.oldest_tick:
            entry.tick = cache.now_tick
            cache.hits += 1
            return entry.provider, entry.lane
        return cache.renew(entry), entry.lane

    def _remember(self, key: Key) -> tuple[Provider | None, int | None]:
        key_hash, lane = key_hashes(key)
        provider = self._owner_of_hash(key_hash)
        if provider is not None:
            self._cache.put(cache_key(key), provider, key_hash, lane)
        return provider, lane

    def entry(self, key: Key) -> Entry[Provider] | None:
        """What is remembered of a key; counts and touches nothing."""
        return self._cache.entries.get(cache_key(key))

    def explain(self, view: ServiceView, key: Key | None) -> Decision:
        """By the ring, which a pick does not always ask."""
        decision = super().explain(view, key)
        if key is None:
            return decision
        cached, step = self._cache.explain(cache_key(key))
        return msgspec.structs.replace(decision, because=(step, *decision.because), cached=cached)

    def observe(self, moved: MovedKey) -> None:
        """Each key that a pick or the sweep finds to have moved."""
        self._cache.moved = moved

    def tick(self, now_s: int) -> None:
        """Says how far the cache's clock hand has to go."""
        self._cache.tick(now_s)

    def sweep(self, budget_entries: int) -> bool:
        """Moves and evicts what the last changes of the ring left behind, and what nobody asks for."""
        return self._cache.sweep(budget_entries)

    def stats(self) -> BalancerStats:
        """The ring's and the cache's."""
        cache = self._cache
        return BalancerStats(
            entries=len(cache),
            estimated_bytes=cache.estimated_bytes,
            unswept=cache.unswept,
            hits=cache.hits,
            misses=cache.misses,
            moved_keys=cache.moved_keys,
            evictions=dict(cache.evictions),
            ring_points=len(self._ring),
            points_version=self._ring.points_version,
            max_entries=cache.max_entries,
            inspected=cache.inspected,
        )
