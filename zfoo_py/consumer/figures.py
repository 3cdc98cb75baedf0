"""The figures of a consumer at one moment: what `Node.stats` shows, metrics are made of and alerts are judged by."""

from __future__ import annotations

from typing import Any

import msgspec

from zfoo_py.consumer.balancer import BalancerStats

__all__ = ["ConsumerFigures", "HotKey", "ServiceFigures"]


class HotKey(msgspec.Struct, frozen=True):
    """A key that is asked for often.

    Attributes:
        key: its text, cut at 80 characters.
        share: of the sampled picks, 0 to 1; older ones count less.
        error: by how much the share may be too high.
    """

    key: str
    share: float
    error: float


class ServiceFigures(msgspec.Struct, frozen=True):
    """One consumed service type.

    Attributes:
        module, group, balancer: names of the type, of the provider group, and of the policy.
        providers: ring names of those that may be picked.
        weights: ring name → weight, of those whose weight is not 1.
        ring: names in the policy's ring; None: it has none.
        picks: ring name → how often it was picked since it came.
        picks_are_estimates: a provider serves several consumed modules, and its picks are split by the sample.
        hot_keys: most frequent first.
        new_keys_by: packet class → its share of the picks whose key was not remembered yet.
        applied_version: the last membership version handled.
        last_change: the membership version that changed this type's providers last; 0: none yet.
        check_open_s: for how long the oldest change waits for the sweep to have seen all entries; 0: none waits.
        astray: moved keys whose segment of the ring did not change; see `zfoo_py.consumer.change_log`.
        stats: what the policy counts.
    """

    module: str
    group: str
    balancer: str
    providers: tuple[str, ...]
    weights: dict[str, int]
    ring: tuple[str, ...] | None
    picks: dict[str, int]
    picks_are_estimates: bool
    hot_keys: tuple[HotKey, ...]
    new_keys_by: dict[str, float]
    applied_version: int
    last_change: int
    check_open_s: float
    astray: int
    stats: BalancerStats

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values, the policy's figures beside the others."""
        found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        stats = found.pop("stats")
        return {**found, **stats}


class ConsumerFigures(msgspec.Struct, frozen=True):
    """All consumed service types of a node.

    Attributes:
        membership_version: the last one handled.
        asks, sends: forwarded to a session.
        retries: picked again.
        misroutes: refused by a provider that does not serve what was routed to it.
        failed_turns: turns and policies that raised.
        services: by module.
    """

    membership_version: int
    asks: int
    sends: int
    retries: int
    misroutes: int
    failed_turns: int
    services: dict[str, ServiceFigures]

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        found = msgspec.structs.asdict(self)
        found["services"] = {module: service.as_dict() for module, service in self.services.items()}
        return found
