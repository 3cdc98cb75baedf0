"""``zfoo-py run``: a node from a file or a module, or several processes of it, until it is told to stop."""

from __future__ import annotations

import argparse
from typing import Any, Final

from zfoo_py.cli.crew_io import follow, lead
from zfoo_py.cli.options import add_log_level
from zfoo_py.cli.target import add_target, load_node
from zfoo_py.errors import ConfigError

__all__ = ["add_to"]

# More than any machine has cores for; each is an interpreter of 40 MiB.
MAX_WORKERS: Final = 256


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    run = commands.add_parser("run", help="run a node until SIGTERM or Ctrl-C; a second one ends it at once")
    add_target(run, "loaded as the main program; a module without :attr becomes the node's receivers")
    run.add_argument(
        "--workers",
        metavar="N",
        type=_count,
        help="so many processes instead of one, each a provider of its own: ids ID.1 to ID.N, ports from the "
        "address's on; SIGHUP replaces one after the other (default: no processes but this one)",
    )
    run.add_argument("--led-by", metavar="DESCRIPTOR", type=int, help=argparse.SUPPRESS)  # how --workers starts each
    add_log_level(run)
    run.set_defaults(command=_run, json=False)


def _run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    if options.workers is not None and ":" in options.target:
        parser.error(f"{options.target} is one complete Node, with one id: name the file alone, or leave --workers out")
    node = load_node(options, parser)
    config = node.config
    if not (config.provides or config.consumes or config.discovery.host):
        served = sorted({node.table.binding(packet).module.name for packet in node.receivers})
        there = f"its receivers serve {', '.join(served)}" if served else "it has no receivers"
        tip = f"--provide {' '.join(served)}" if served else "--consume MODULE, or mark functions with @packet_receiver"
        raise ConfigError(f"{options.target} would provide and consume nothing ({there}): say {tip}")
    if options.workers is not None:
        return lead(options, node)
    if options.led_by is not None:
        follow(node, options.led_by)
    node.run()
    return 0


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= MAX_WORKERS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of processes from 1 to {MAX_WORKERS}")
    return int(text)
