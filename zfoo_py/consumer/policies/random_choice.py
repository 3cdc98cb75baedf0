"""``random``: any provider, by chance."""

from __future__ import annotations

from zfoo_py.consumer.balancer import Balancer, Provider, Rng, ServiceView, any_of, by_chance
from zfoo_py.consumer.explain import Decision
from zfoo_py.consumer.hashing import Key

__all__ = ["RandomBalancer"]


class RandomBalancer(Balancer):
    """Any provider, each with its weight; a key only chooses the lane."""

    is_guarded = False
    needs_key = False
    keeps_keys = False

    def __init__(self, rng: Rng) -> None:
        self._random = rng.random

    def pick(self, view: ServiceView, key: Key | None) -> Provider | None:  # noqa: ARG002
        """O(1)."""
        return any_of(view, self._random)

    def explain(self, view: ServiceView, key: Key | None) -> Decision:  # noqa: ARG002
        """By chance; the key does not matter."""
        return by_chance(view, "the policy takes any provider, whatever the key")
