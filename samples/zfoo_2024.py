"""A model of the balancer that zfoo_py exists to replace: zfoo's "memory" balancer of January 2024 (issue 87).

It remembered, for ever, which session a key was first sent to, in one static map for all service types: it
leaked, because an entry was replaced only when the same key came again after its session had gone; and it
misrouted, because the key did not tell types apart. zfoo remembered Longs only; this model remembers keys of
every type, so that the effect can be seen with the keys of a web log. Nobody should use it: only a sample
can share one balancer between service types.
"""

from __future__ import annotations

from sys import getsizeof
from typing import TYPE_CHECKING

from zfoo_py.consumer.balancer import Balancer, BalancerStats, Provider, ServiceView
from zfoo_py.consumer.policies.consistent_hash import ConsistentHashBalancer

if TYPE_CHECKING:
    from zfoo_py.consumer.balancer import BalancerOptions
    from zfoo_py.consumer.hashing import Key

__all__ = ["SharedMemo", "Zfoo2024Balancer"]


class SharedMemo:
    """What Java kept in a static field: key → provider, for every service type at once."""

    def __init__(self) -> None:
        self.providers: dict[object, Provider] = {}
        self._key_bytes = 0
        self._counts: dict[Provider, int] = {}

    def remember(self, key: object, provider: Provider) -> bool:
        """Keep where a key was sent to, for ever; return whether it is a new key."""
        before = self.providers.get(key)
        if before is None:
            self._key_bytes += getsizeof(key)
        else:
            self._counts[before] -= 1
            if not self._counts[before]:
                del self._counts[before]
        self.providers[key] = provider
        self._counts[provider] = self._counts.get(provider, 0) + 1
        return before is None

    def gone(self) -> int:
        """Return how many entries point at providers without session. O(providers that have entries)."""
        return sum(count for provider, count in self._counts.items() if provider.session is None)

    def estimated_bytes(self) -> int:
        """Return the memory of the map and its keys, without the providers. O(1)."""
        return getsizeof(self.providers) + self._key_bytes


class Zfoo2024Balancer(Balancer):
    """One service type's face of the shared memo; misses are answered by a right ring of its own type."""

    is_guarded = False  # the guard would refuse what it does wrong

    def __init__(self, options: BalancerOptions, memo: SharedMemo) -> None:
        self._memo = memo
        self._ring = ConsistentHashBalancer(options.rng)
        self._entries = 0  # of the shared memo, those that this type brought
        self._hits = 0
        self._misses = 0

    def on_up(self, provider: Provider) -> None:
        """Add it to the ring; the memo hears nothing."""
        self._ring.on_up(provider)

    def on_down(self, provider: Provider) -> None:
        """Take it from the ring; the memo hears nothing."""
        self._ring.on_down(provider)

    def pick(self, view: ServiceView, key: Key | None) -> Provider | None:
        """Return whatever this key was sent to first, of whichever type, as long as it is connected."""
        remembered = self._memo.providers.get(key)
        if remembered is not None and remembered.session is not None:
            self._hits += 1
            return remembered
        picked = self._ring.pick(view, key)
        if picked is not None and key is not None:
            self._misses += 1
            self._entries += self._memo.remember(key, picked)
        return picked

    def route_around(
        self,
        view: ServiceView,
        key: Key | None,
        refused: str,  # noqa: ARG002 - zfoo did not look at it
    ) -> tuple[Provider | None, int | None]:
        """Whom it remembers, again: zfoo had no second pick after a refusal."""
        return self.route(view, key)

    def stats(self) -> BalancerStats:
        """What this type brought into the shared memo, the rest by its share. O(providers); zfoo had none."""
        ring = self._ring.stats()
        memo = self._memo
        share = self._entries / max(1, len(memo.providers))
        return BalancerStats(
            entries=self._entries,
            estimated_bytes=int(memo.estimated_bytes() * share),
            gone_entries=int(memo.gone() * share),
            hits=self._hits,
            misses=self._misses,
            ring_points=ring.ring_points,
            points_version=ring.points_version,
        )
