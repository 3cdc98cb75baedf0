"""A consumed service type."""

from __future__ import annotations

import msgspec

from zfoo_py.consumer.balancer import Balancer, ServiceView

__all__ = ["Service"]


class Service(msgspec.Struct, eq=False):
    """One consumed service type: its module, the provider group it calls, its policy and what the policy sees."""

    module: str
    group: str
    balancer_name: str
    balancer: Balancer
    view: ServiceView
