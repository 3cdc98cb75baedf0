"""``zfoo-py stats``: the figures of a running node."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from zfoo_py.cli.admin_io import ask_admin
from zfoo_py.cli.options import add_json, add_log_level
from zfoo_py.cli.stats_text import stats_text
from zfoo_py.metrics import metrics_text
from zfoo_py.protocol.common import AdminStats

if TYPE_CHECKING:
    import argparse

__all__ = ["add_to"]

# As `watch` and `top` do it.
WATCH_S: Final = 2.0
# Home, and clear what is below: without the flicker of clearing everything first.
HOME: Final = "\x1b[H\x1b[J"


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    stats = commands.add_parser("stats", help="show the figures of a running node")
    stats.add_argument("--admin", metavar="PATH", required=True, help="the node's admin_path, a Unix socket")
    stats.add_argument(
        "--watch",
        metavar="SECONDS",
        nargs="?",
        type=float,
        const=WATCH_S,
        help=f"again and again, with what changes a second, until Ctrl-C (default: once; every {WATCH_S:g} s)",
    )
    form = stats.add_mutually_exclusive_group()
    form.add_argument("--prometheus", action="store_true", help="print Prometheus text (needs the extra metrics)")
    add_json(form)
    add_log_level(stats, default="WARNING")
    stats.set_defaults(command=_stats)


def _stats(options: argparse.Namespace, _parser: argparse.ArgumentParser) -> int:
    before: dict[str, Any] | None = None
    try:
        while True:
            stats = asyncio.run(ask_admin(options.admin, AdminStats()))
            _show(stats, before, options)
            if options.watch is None:
                return 0
            before = stats
            time.sleep(max(0.1, options.watch))
    except KeyboardInterrupt:
        return 0


def _show(stats: dict[str, Any], before: dict[str, Any] | None, options: argparse.Namespace) -> None:
    if options.json:
        text = json.dumps({"ok": True, **stats})
    elif options.prometheus:
        text = metrics_text(stats).rstrip()
    else:
        text = stats_text(stats, before)
        if options.watch is not None and sys.stdout.isatty():
            text = HOME + text
    print(text, flush=True)
