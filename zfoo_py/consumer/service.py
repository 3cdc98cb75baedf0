"""A consumed service type, as the ConsumerActor keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zfoo_py.consumer.balancer import Balancer, Provider, ServiceView

__all__ = ["Service", "membership_of"]


class Service(msgspec.Struct, eq=False):
    """One consumed service type: its module, the provider group it calls, its policy and what the policy sees."""

    module: str
    group: str
    balancer_name: str
    balancer: Balancer
    view: ServiceView

    def is_served_by(self, provider: Provider) -> bool:
        """Whether a provider offers this module in this group: nothing else of it matters here."""
        return (self.module, self.group) in provider.services


def membership_of(services: Iterable[Service]) -> dict[str, tuple[tuple[str, str], ...]]:
    """Module → (ring name, node id) of each provider, as `zfoo_py.events.MembershipChanged` has it. O(providers)."""
    return {one.module: tuple((by.ring_name, by.node_id) for by in one.view.providers) for one in services}
