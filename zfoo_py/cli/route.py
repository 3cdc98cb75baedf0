"""``zfoo-py route``: where a key goes, and why."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import msgspec

from zfoo_py.cli.admin_io import add_admin, ask_admin
from zfoo_py.cli.members import add_members, members_of
from zfoo_py.cli.options import add_json, add_log_level
from zfoo_py.consumer.balancer import ServiceView
from zfoo_py.consumer.explain import KEY_KINDS, CachedKey, Explanation, explanation, read_key
from zfoo_py.consumer.policies.consistent_hash import ConsistentHashBalancer
from zfoo_py.errors import ConfigError
from zfoo_py.protocol.common import AdminExplain

if TYPE_CHECKING:
    import argparse

__all__ = ["add_to"]


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    route = commands.add_parser("route", help="show where a key goes, and why")
    route.add_argument("module", metavar="MODULE", help="the protocol module, as in `--consume`")
    route.add_argument("key", metavar="KEY", help="the key, as --type says")
    route.add_argument("--type", choices=KEY_KINDS, default="str", help="what the key is (default: str)")
    add_admin(route, "it explains its own pick (default: computed from the discovery, without its cache)")
    add_members(route)
    add_json(route)
    add_log_level(route, default="WARNING")
    route.set_defaults(command=_route)


def _route(options: argparse.Namespace, _parser: argparse.ArgumentParser) -> int:
    if options.admin is not None:
        read_key(options.type, options.key)  # before anybody is asked
        document = asyncio.run(ask_admin(options.admin, AdminExplain(options.module, options.type, options.key)))
        try:
            found = msgspec.convert(document, Explanation)
        except msgspec.ValidationError as error:
            raise ConfigError(f"the node at {options.admin} is of another version of zfoo_py: {error}") from error
    else:
        found = _computed(options)
    print(json.dumps({"ok": True, **found.as_dict()}) if options.json else found)
    return 0


def _computed(options: argparse.Namespace) -> Explanation:
    key = read_key(options.type, options.key)
    view = ServiceView(options.module)
    balancer = ConsistentHashBalancer(_NoChance())
    for provider in members_of(options):
        view = view.joined(provider, 0)
        balancer.on_up(provider)
    decision = msgspec.structs.replace(balancer.explain(view, key), cached=CachedKey("unknown"))
    group = options.group or options.module
    return explanation(view, group, "consistent-hash (assumed)", key, decision, balancer.ring.points_version)


class _NoChance:
    """A key is given, so nothing is drawn."""

    def random(self) -> float:
        """Not called."""
        raise NotImplementedError
