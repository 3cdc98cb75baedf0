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

from zfoo_py.consumer.balancer import Balancer, Provider, ServiceView
from zfoo_py.consumer.policies.consistent_hash import ConsistentHashBalancer

if TYPE_CHECKING:
    from zfoo_py.consumer.balancer import BalancerOptions
    from zfoo_py.consumer.hashing import Key

__all__ = ["SharedMemo", "Zfoo2024Balancer"]


class SharedMemo:
    """What Java kept in a static field: key → provider, for every service type at once."""

    def __init__(self) -> None:
        self.providers: dict[object, Provider] = {}

    def gone(self) -> int:
        """Return how many entries point at providers without session. O(entries)."""
        return sum(provider.session is None for provider in self.providers.values())

    def estimated_bytes(self) -> int:
        """Return the memory of the map and its keys, without the providers. O(entries)."""
        return getsizeof(self.providers) + sum(map(getsizeof, self.providers))


class Zfoo2024Balancer(Balancer):
    """One service type's face of the shared memo; misses are answered by a right ring of its own type."""

    is_guarded = False  # the guard would refuse what it does wrong

    def __init__(self, options: BalancerOptions, memo: SharedMemo) -> None:
        self._memo = memo
        self._ring = ConsistentHashBalancer(options.rng)

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
            return remembered
        picked = self._ring.pick(view, key)
        if picked is not None and key is not None:
            self._memo.providers[key] = picked
        return picked

    def route_around(
        self,
        view: ServiceView,
        key: Key | None,
        refused: str,  # noqa: ARG002 - zfoo did not look at it
    ) -> tuple[Provider | None, int | None]:
        """Whom it remembers, again: zfoo had no second pick after a refusal."""
        return self.route(view, key)
