"""``zfoo-py discovery``: a process that only hosts the embedded discovery."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final

from zfoo_py.cli.options import add_json, add_log_level
from zfoo_py.config import NodeConfig
from zfoo_py.discovery_config import DEFAULT_DISCOVERY_ADDRESS
from zfoo_py.node import Node

if TYPE_CHECKING:
    import argparse

__all__ = ["add_to"]

# Of the environment, what concerns a process that only hosts the discovery; the rest is meant for nodes beside it.
VARIABLES: Final = ("ZFOO_NODE", "ZFOO_DISCOVERY", "ZFOO_LIMITS")


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    discovery = commands.add_parser("discovery", help="host the embedded discovery until SIGTERM or Ctrl-C")
    discovery.add_argument(
        "--address",
        metavar="HOST:PORT",
        help=f"where to listen; port 0: choose one (default: ZFOO_DISCOVERY__ADDRESS, or {DEFAULT_DISCOVERY_ADDRESS})",
    )
    add_json(discovery)
    add_log_level(discovery)
    discovery.set_defaults(command=_discovery)


def _discovery(options: argparse.Namespace, _parser: argparse.ArgumentParser) -> int:
    def started(node: Node) -> None:
        where = node.discovery_address
        print(json.dumps({"listening_at": where}) if options.json else f"listening at {where}", flush=True)

    environment = {name: value for name, value in os.environ.items() if name.startswith(VARIABLES)}
    place: dict[str, Any] = {"kind": "embedded", "host": True}
    if options.address is not None:
        place["address"] = options.address
    config = NodeConfig.build({}, environment, default_id="discovery", discovery=place)
    Node(config, receivers=[], on_start=started).run()
    return 0
