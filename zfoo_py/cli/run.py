"""``zfoo-py run``: a node from a file or a module, until it is told to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zfoo_py.cli.options import add_log_level
from zfoo_py.cli.target import add_target, load_node
from zfoo_py.errors import ConfigError

if TYPE_CHECKING:
    import argparse

__all__ = ["add_to"]


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    run = commands.add_parser("run", help="run a node until SIGTERM or Ctrl-C; a second one ends it at once")
    add_target(run, "loaded as the main program; a module without :attr becomes the node's receivers")
    add_log_level(run)
    run.set_defaults(command=_run, json=False)


def _run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    node = load_node(options, parser)
    config = node.config
    if not (config.provides or config.consumes or config.discovery.host):
        served = sorted({node.table.binding(packet).module.name for packet in node.receivers})
        there = f"its receivers serve {', '.join(served)}" if served else "it has no receivers"
        tip = f"--provide {' '.join(served)}" if served else "--consume MODULE, or mark functions with @packet_receiver"
        raise ConfigError(f"{options.target} would provide and consume nothing ({there}): say {tip}")
    node.run()
    return 0
