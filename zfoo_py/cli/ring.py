"""``zfoo-py ring``: what a change of membership would do, and what the last one did."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from zfoo_py.cli.admin_io import add_admin, ask_admin
from zfoo_py.cli.members import add_members, members_of
from zfoo_py.cli.options import add_json, add_log_level
from zfoo_py.consumer.change_log import ChangeReport
from zfoo_py.consumer.explain import KEY_KINDS, read_key
from zfoo_py.consumer.ring import VIRTUAL_NODES
from zfoo_py.consumer.simulate import names_of, simulate
from zfoo_py.errors import ConfigError
from zfoo_py.protocol.common import AdminExplainChange, AdminStats
from zfoo_py.protocol.registration import parse

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from zfoo_py.consumer.hashing import Key

__all__ = ["add_to"]

# Names made up by `--add 3` stand for nodes that do not exist yet; their points lie where no real node's are.
MADE_UP = "new-{number} | 192.0.2.{number}:1 | provider:[{module}-{group}]"
MOST_MADE_UP = 254


def add_to(commands: Any) -> None:
    """Add the commands to the parser."""
    ring = commands.add_parser("ring", help="simulate a change of membership, or explain one that happened")
    actions = ring.add_subparsers(required=True, metavar="ACTION")
    simulated = actions.add_parser("simulate", help="show what joins and leaves would move, before they happen")
    add = simulated.add_argument
    add("module", metavar="MODULE", help="the protocol module")
    add("--add", metavar="N|NAME", nargs="+", default=[], help="providers that join: how many, or their ring names")
    add("--remove", metavar="NAME", nargs="+", default=[], help="providers that leave: node ids or ring names")
    add("--keys", metavar="FILE", help="keys that are asked for, one a line, frequent ones often; -: stdin")
    add("--type", choices=KEY_KINDS, default="str", help="what the keys are (default: str)")
    add("--providers", metavar="NAME", nargs="+", help="ring names of the providers (default: as they are now)")
    add_admin(simulated, "the providers that it knows (default: those of the discovery)")
    add_members(simulated)
    simulated.set_defaults(command=_simulate)
    change = actions.add_parser("change", help="show what a membership change did to the keys of a running node")
    change.add_argument(
        "version", metavar="VERSION", nargs="?", type=int, default=0, help="membership version (default: the last)"
    )
    change.add_argument("--admin", metavar="PATH", required=True, help="the node's admin_path, a Unix socket")
    change.set_defaults(command=_change)
    for action in (simulated, change):
        add_json(action)
        add_log_level(action, default="WARNING")


def _simulate(options: argparse.Namespace, _parser: argparse.ArgumentParser) -> int:
    there, points = _there(options)
    numbers = [int(word) for word in options.add if word.isdecimal()]
    come = _made_up(sum(numbers), options)
    for word in options.add:
        if word[:1] == "-":
            raise ConfigError(f"--add takes how many join, or their ring names, not {word!r}")
        if not word.isdecimal():
            come[word] = _label(word)
    found = simulate(options.module, there, come, names_of(options.remove, there), _keys(options), points=points)
    print(json.dumps({"ok": True, **found.as_dict()}) if options.json else found)
    return 0


def _there(options: argparse.Namespace) -> tuple[dict[str, str], dict[str, int]]:
    """Ring name → label, and ring name → points, of the providers that are there."""
    if options.providers is not None:
        return {name: _label(name) for name in options.providers}, {}
    if options.admin is None:
        found = members_of(options)
        points = {provider.ring_name: provider.weight * VIRTUAL_NODES for provider in found}
        return {provider.ring_name: provider.node_id for provider in found}, points
    stats = asyncio.run(ask_admin(options.admin, AdminStats()))
    services = stats["consumer"]["services"]
    if options.module not in services:
        consumed = ", ".join(sorted(services)) or "none"
        raise ConfigError(f"the node {stats['id']} does not consume module {options.module!r}; it consumes {consumed}")
    service = services[options.module]
    points = {name: weight * VIRTUAL_NODES for name, weight in service["weights"].items()}
    return {name: _label(name) for name in service["providers"]}, points


def _label(ring_name: str) -> str:
    registration = parse(ring_name)
    return ring_name if registration is None else registration.id


def _made_up(count: int, options: argparse.Namespace) -> dict[str, str]:
    if count > MOST_MADE_UP:
        raise ConfigError(f"--add takes at most {MOST_MADE_UP} made-up providers, not {count}")
    group = options.group or options.module
    names = [MADE_UP.format(number=number, module=options.module, group=group) for number in range(1, count + 1)]
    return {name: _label(name) for name in names}


def _keys(options: argparse.Namespace) -> Iterator[Key]:
    if options.keys is None:
        return
    with ExitStack() as stack:
        try:
            lines = sys.stdin if options.keys == "-" else stack.enter_context(Path(options.keys).open(encoding="utf-8"))
            for line in lines:
                if text := line.rstrip("\r\n"):
                    yield read_key(options.type, text)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read keys from {options.keys}: {error}") from error


def _change(options: argparse.Namespace, _parser: argparse.ArgumentParser) -> int:
    document = asyncio.run(ask_admin(options.admin, AdminExplainChange(options.version)))
    if options.json:
        print(json.dumps({"ok": True, "changes": document}))
        return 0
    reports = msgspec.convert(document, list[ChangeReport])
    print("\n\n".join(map(str, reports)) if reports else "no provider has joined or left yet")
    return 0
