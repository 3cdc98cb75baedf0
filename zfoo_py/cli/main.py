"""``zfoo-py``: the parser, and what a command that fails looks like.

Exit codes: 0 it went well (also after SIGTERM or Ctrl-C), 1 something is wrong and one sentence on stderr says
what, 2 the command itself was written wrongly. stdout carries results only; the log goes to stderr.

A command is a module of this package with ``add_to(commands)``: it adds its own parser, and sets ``command`` (called
with the options and the parser; returns the exit code), ``json`` and ``log_level`` where they are no options of it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from typing import TYPE_CHECKING

from loguru import logger

from zfoo_py import __version__
from zfoo_py.cli import ask, check, discovery, import_java, new, ring, route, run, stats
from zfoo_py.errors import ZfooError
from zfoo_py.log import enable_logging

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main", "make_parser"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code.

    Raises:
        SystemExit: with 2 for a command that is written wrongly, with 0 after ``--help`` and ``--version``.
    """
    parser = make_parser()
    options = parser.parse_args(argv)
    logger.remove()
    logger.add(sys.stderr, level=options.log_level)
    enable_logging(options.log_level)
    try:
        code: int = options.command(options, parser)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read it has gone, as `head` does; Python would say so once more at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ZfooError as error:
        return _failed(error, options)
    except KeyboardInterrupt:  # before the node took over the signals
        return 130
    return code


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="zfoo-py", description="Actors and typed RPC in the style of zfoo.")
    parser.add_argument("--version", action="version", version=f"zfoo-py {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (new, discovery, run, ask, check, route, ring, stats, import_java):
        command.add_to(commands)
    return parser


def _failed(error: ZfooError, options: argparse.Namespace) -> int:
    sentence = " ".join(str(error).split())
    if options.json:
        print(json.dumps({"ok": False, "faults": [sentence]}))
    if options.log_level in {"TRACE", "DEBUG"}:
        traceback.print_exception(error)
    print(f"zfoo-py: {sentence}", file=sys.stderr)
    return 1
