"""The policies by name, and what their options are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, TypeVar

import msgspec

from zfoo_py.consumer.balancer import Balancer, BalancerOptions
from zfoo_py.consumer.policies.bounded_consistent_hash import BoundedConsistentHashBalancer, BoundOptions
from zfoo_py.consumer.policies.cached_consistent_hash import CachedConsistentHashBalancer
from zfoo_py.consumer.policies.consistent_hash import ConsistentHashBalancer
from zfoo_py.consumer.policies.least_pending import LeastPendingBalancer
from zfoo_py.consumer.policies.random_choice import RandomBalancer
from zfoo_py.consumer.policies.round_robin import RoundRobinBalancer
from zfoo_py.tables import read_table

__all__ = ["BALANCERS", "OPTIONS", "CacheOptions", "NoOptions", "check_options"]

S = TypeVar("S", bound=msgspec.Struct)


class NoOptions(msgspec.Struct, frozen=True):
    """The options of a policy that has none."""


class CacheOptions(msgspec.Struct, frozen=True):
    """The options of a consumer with a key cache; None: the node's limits of that name.

    Attributes:
        max_entries: keys remembered at most.
        expire_after_access_s: a key not asked for so long is forgotten.
    """

    max_entries: int | None = None
    expire_after_access_s: float | None = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None and not (value > 0 and isfinite(value)):
                raise ValueError(f"{name} must be a finite number greater than 0, not {value}")


def _cached(options: BalancerOptions) -> Balancer:
    named = _read(options, CacheOptions)
    return CachedConsistentHashBalancer(
        options.rng,
        max_entries=named.max_entries or options.max_entries,
        expire_after_access_s=named.expire_after_access_s or options.expire_after_access_s,
        virtual_nodes=options.virtual_nodes,
    )


def _bounded(options: BalancerOptions) -> Balancer:
    named = _read(options, BoundOptions)
    return BoundedConsistentHashBalancer(options.rng, named, virtual_nodes=options.virtual_nodes)


def _read(options: BalancerOptions, kind: type[S]) -> S:
    return read_table(options.named, kind, "options")


BALANCERS: Mapping[str, Callable[[BalancerOptions], Balancer]] = {
    "random": lambda options: RandomBalancer(options.rng),
    "round-robin": lambda options: RoundRobinBalancer(options.rng),
    "least-pending": lambda options: LeastPendingBalancer(options.rng),
    "consistent-hash": lambda options: ConsistentHashBalancer(options.rng, virtual_nodes=options.virtual_nodes),
    "cached-consistent-hash": _cached,
    "bounded-consistent-hash": _bounded,
}

OPTIONS: Mapping[str, type[msgspec.Struct]] = {
    **dict.fromkeys(BALANCERS, NoOptions),
    "cached-consistent-hash": CacheOptions,
    "bounded-consistent-hash": BoundOptions,
}


def check_options(balancer: str, named: Mapping[str, Any], path: str) -> None:
    """Check the options of a consumer, if its policy is one of ours; one's own judges them in its constructor.

    Raises:
        ConfigError: with the option's path and the nearest name.
    """
    if balancer in OPTIONS:
        read_table(named, OPTIONS[balancer], path)
