"""The providers that a command computes with: named, from a running node, or from the discovery."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from zfoo_py.cli.directory_io import read_discovery
from zfoo_py.cli.options import add_discovery
from zfoo_py.config import RING_IDENTITIES, NodeConfig
from zfoo_py.consumer.balancer import Provider
from zfoo_py.discovery_config import discovery_of
from zfoo_py.errors import ConfigError

if TYPE_CHECKING:
    import argparse

__all__ = ["add_members", "members_of"]


def add_members(command: argparse.ArgumentParser) -> None:
    """Add the options that say where the providers are found."""
    add_discovery(command)
    command.add_argument(
        "--ring-identity",
        choices=RING_IDENTITIES,
        default=RING_IDENTITIES[0],
        help=f"what the nodes have as their ring_identity (default: {RING_IDENTITIES[0]})",
    )
    command.add_argument("--group", help="the provider group that is called (default: the module's name)")


def members_of(options: argparse.Namespace) -> list[Provider]:
    """Return the providers of ``options.module`` that the discovery knows.

    Raises:
        ConfigError: there is no discovery, or no such provider.
    """
    place = None if options.discovery is None else discovery_of(options.discovery)
    environment = {name: value for name, value in os.environ.items() if name.startswith("ZFOO_DISCOVERY")}
    where = NodeConfig.build({}, environment, discovery=place).discovery
    address = where.address
    registered = asyncio.run(read_discovery(where))
    wanted = (options.module, options.group or options.module)
    is_by_node_id = options.ring_identity == "node-id"
    found = [
        Provider(
            one.id if is_by_node_id else one.ring_name,
            weight=weight,
            text=one.text,
            node_id=one.id,
            address=one.address or "",
            services=frozenset((service.module, service.name) for service in one.provides),
        )
        for one, weight in registered
        if wanted in {(service.module, service.name) for service in one.provides}
    ]
    if not found:
        served = sorted({f"{service.module} as {service.name}" for one, _ in registered for service in one.provides})
        there = ", ".join(served) or "nothing"
        raise ConfigError(
            f"no provider of module {wanted[0]!r} as {wanted[1]!r} is registered at {address}: {there} is"
        )
    return found
