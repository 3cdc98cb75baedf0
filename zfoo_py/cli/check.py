"""``zfoo-py check``: load everything, start nothing, and say what fits what, what is wrong, and what looks wrong.

What is declared wrongly is a fault: one sentence, exit code 1. What may be meant, or will be there later (a discovery
that does not run yet), is a warning: exit code 0.
"""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING, Any, NamedTuple

from zfoo_py.addresses import parse_address
from zfoo_py.cli.directory_io import read_discovery
from zfoo_py.cli.options import add_json, add_log_level
from zfoo_py.cli.target import add_target, load_node
from zfoo_py.errors import ConfigError
from zfoo_py.protocol.packet import Ask

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from zfoo_py.node import Node
    from zfoo_py.protocol.registration import Registration

__all__ = ["add_to"]

# Balancers that take no key; an ask of any other without one is a MissingKeyError.
KEYLESS = frozenset(("random", "round-robin", "least-pending"))


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    check = commands.add_parser("check", help="load packets, receivers and configuration, and show what fits what")
    add_target(check, "loaded as by `run`, and not started")
    check.add_argument("--offline", action="store_true", help="look at no discovery and no port (default: look)")
    add_json(check)
    add_log_level(check)
    check.set_defaults(command=_check)


class Row(NamedTuple):
    """One protocol: a packet, what it belongs to, and who handles it here."""

    protocol: int
    packet: str
    module: str
    balance_by: str | None
    provided: bool
    receiver: str | None


def _check(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    node = load_node(options, parser)
    rows = _rows(node)
    warnings = [*_declared(node)]
    if not options.offline:
        warnings += _around(node)
    if options.json:
        config = node.config
        found = {
            "ok": True,
            "faults": [],
            "warnings": warnings,
            "id": config.id,
            "provides": [provided.module for provided in config.provides],
            "consumes": {consumed.module: consumed.balancer for consumed in config.consumes},
            "protocols": [row._asdict() for row in rows],
        }
        print(json.dumps(found))
        return 0
    head = ("protocol", "packet", "module", "balanced by", "provided", "receiver")
    lines = [head]
    for row in rows:
        provided = "yes" if row.provided else "no"
        lines.append((str(row.protocol), row.packet, row.module, row.balance_by or "-", provided, row.receiver or "-"))
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
    for consumed in node.config.consumes:
        print(f"consumes {consumed.module} of {consumed.provider}, balanced by {consumed.balancer}")
    for warning in warnings:
        print(f"warning: {warning}")
    return 0


def _rows(node: Node) -> list[Row]:
    provided = {service.module for service in node.config.provides}
    rows = []
    for binding in node.table.bindings():
        receiver = node.receivers.get(binding.packet_class)
        module = binding.module.name
        where = receiver.where if receiver is not None else None
        name = binding.packet_class.__name__
        rows.append(Row(binding.protocol_id, name, module, binding.balance_by, module in provided, where))
    return sorted(rows)


def _declared(node: Node) -> Iterable[str]:
    """Say what is legal, and seldom meant."""
    provided = {service.module for service in node.config.provides}
    idle: dict[str, list[str]] = {}
    for packet_class, receiver in node.receivers.items():
        module = node.table.binding(packet_class).module.name
        if module not in provided:
            idle.setdefault(module, []).append(receiver.where)
    for module, where in idle.items():
        yield f"module {module} is not provided, so nothing reaches {', '.join(where)}: say --provide {module}"
    by_key = {service.module for service in node.config.consumes if service.balancer not in KEYLESS} | provided
    for binding in node.table.bindings():
        if binding.module.name in by_key and issubclass(binding.packet_class, Ask) and binding.balance_by is None:
            yield (
                f"{binding.packet_class.__name__} names no key: declare "
                f'@{binding.module.name}.packet({binding.protocol_id}, balance_by="…"), or give key= with every ask'
            )


def _around(node: Node) -> Iterable[str]:
    """Say what is wrong outside: this node's own port, the discovery, and who is registered there."""
    config = node.config
    if config.address is not None:
        yield from _port(config.address, "server.address")
    if config.discovery.kind == "static" or not (config.provides or config.consumes):
        return
    if config.discovery.host:
        yield from _port(config.discovery.address, "discovery.address")
        return
    try:
        registered = asyncio.run(read_discovery(config.discovery))
    except ConfigError as error:
        yield str(error)
        return
    yield from _registered(node, [one.registration for one in registered])


def _registered(node: Node, registered: Iterable[Registration]) -> Iterable[str]:
    config = node.config
    others = list(registered)
    for other in others:
        if config.provides and other.id == config.id:
            yield (
                f"another node is called {config.id!r}, at {other.address}: "
                f"give each its own --id to tell them apart in logs and events"
            )
    for wanted in config.consumes:
        if not any((one.module, one.name) == (wanted.module, wanted.provider) for o in others for one in o.provides):
            there = sorted({f"{one.module} as {one.name}" for other in others for one in other.provides})
            yield (
                f"nobody provides {wanted.module} as {wanted.provider} yet; registered at {config.discovery.address}: "
                f"{', '.join(there) or 'nothing'}"
            )


def _port(address: str, path: str) -> Iterable[str]:
    place = parse_address(address, path=path)
    try:
        with socket.create_server((place.host, place.port), family=_family(place.host)):
            pass
    except OSError as error:
        yield f"this node cannot listen at {address} ({error.strerror or error}): change {path}, or take port 0"


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
