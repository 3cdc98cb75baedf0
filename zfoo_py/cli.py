"""``zfoo-py``: run a node from a file or module, host the discovery, check what is declared.

Exit codes: 0 it went well (also after SIGTERM or Ctrl-C), 1 something is wrong and one sentence on stderr says
what, 2 the command itself was written wrongly. stdout carries results only; the log goes to stderr.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from loguru import logger

from zfoo_py import __version__
from zfoo_py.config import DEFAULT_DISCOVERY_ADDRESS, DEFAULT_SERVER_ADDRESS, NodeConfig
from zfoo_py.errors import ConfigError, ZfooError
from zfoo_py.log import enable_logging
from zfoo_py.node import Node

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

__all__ = ["main"]

LEVELS: Final = ("TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
# What these options say, a Node that stands in the file has been told already.
NODE_OPTIONS: Final = ("id", "address", "provide", "consume", "discovery", "config")
# Of the environment, what concerns a process that only hosts the discovery; the rest is meant for nodes beside it.
DISCOVERY_VARIABLES: Final = ("ZFOO_NODE", "ZFOO_DISCOVERY", "ZFOO_LIMITS")


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

    run = commands.add_parser("run", help="run a node until SIGTERM or Ctrl-C; a second one ends it at once")
    _add_target(run, "loaded as the main program; a module without :attr becomes the node's receivers")
    run.set_defaults(command=_run, json=False)

    discovery = commands.add_parser("discovery", help="host the embedded discovery until SIGTERM or Ctrl-C")
    discovery.add_argument(
        "--address",
        metavar="HOST:PORT",
        help=f"where to listen; port 0: choose one (default: ZFOO_DISCOVERY__ADDRESS, or {DEFAULT_DISCOVERY_ADDRESS})",
    )
    discovery.set_defaults(command=_discovery)

    check = commands.add_parser("check", help="load packets, receivers and configuration, and show what fits what")
    _add_target(check, "loaded as by `run`, and not started")
    check.set_defaults(command=_check)

    for command in (discovery, check):
        command.add_argument("--json", action="store_true", help="print one JSON object (default: text)")
    for command in (run, discovery, check):
        command.add_argument(
            "--log-level", type=str.upper, choices=LEVELS, default="INFO", help="of the log on stderr (default: INFO)"
        )
    return parser


def _add_target(command: argparse.ArgumentParser, what: str) -> None:
    command.add_argument("target", help=f"file.py, module, or either with :attr that is a Node; {what}")
    add = command.add_argument
    add("--provide", metavar="MODULE", nargs="+", action="extend", help="protocol modules to provide (default: none)")
    add("--consume", metavar="MODULE", nargs="+", action="extend", help="protocol modules to consume (default: none)")
    add("--id", help="name of the node (default: the name of the configuration file, the file or the module)")
    add(
        "--address",
        metavar="HOST:PORT",
        help=f"where a provider listens; port 0: choose one (default: {DEFAULT_SERVER_ADDRESS})",
    )
    add(
        "--discovery",
        metavar="HOST:PORT",
        help=f"address of the embedded discovery (default: {DEFAULT_DISCOVERY_ADDRESS})",
    )
    add("--config", metavar="FILE.toml", help="the node's configuration; options win over it (default: none)")


def _failed(error: ZfooError, options: argparse.Namespace) -> int:
    sentence = " ".join(str(error).split())
    if options.json:
        print(json.dumps({"ok": False, "faults": [sentence]}))
    if options.log_level in {"TRACE", "DEBUG"}:
        traceback.print_exception(error)
    print(f"zfoo-py: {sentence}", file=sys.stderr)
    return 1


# ------------------------------------------------------------------------------------------------- commands


def _run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    node = _node(options, parser)
    config = node.config
    if not (config.provides or config.consumes or config.discovery.host):
        served = sorted({node.table.binding(packet).module.name for packet in node.receivers})
        there = f"its receivers serve {', '.join(served)}" if served else "it has no receivers"
        tip = f"--provide {' '.join(served)}" if served else "--consume MODULE, or mark functions with @packet_receiver"
        raise ConfigError(f"{options.target} would provide and consume nothing ({there}): say {tip}")
    node.run()
    return 0


def _discovery(options: argparse.Namespace, _parser: argparse.ArgumentParser) -> int:
    def started(node: Node) -> None:
        where = node.discovery_address
        print(json.dumps({"listening_at": where}) if options.json else f"listening at {where}", flush=True)

    environment = {name: value for name, value in os.environ.items() if name.startswith(DISCOVERY_VARIABLES)}
    place: dict[str, Any] = {"kind": "embedded", "host": True}
    if options.address is not None:
        place["address"] = options.address
    config = NodeConfig.build({}, environment, default_id="discovery", discovery=place)
    Node(config, receivers=[], on_start=started).run()
    return 0


class Row(NamedTuple):
    """One protocol: a packet, what it belongs to, and who handles it here."""

    protocol: int
    packet: str
    module: str
    balance_by: str | None
    provided: bool
    receiver: str | None


def _check(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    node = _node(options, parser)
    rows = _rows(node)
    if options.json:
        config = node.config
        found = {
            "ok": True,
            "faults": [],
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


# -------------------------------------------------------------------------------------------------- loading


def _node(options: argparse.Namespace, parser: argparse.ArgumentParser) -> Node:
    """Load the target and return its node, or make one of which it is the receivers.

    Raises:
        ZfooError: something declared is wrong, or the target cannot be loaded.
        SystemExit: the target is a complete Node, and options would change it.
    """
    place, _, attribute = options.target.partition(":")
    spec = _find(place)
    module = _load(spec, place)
    if attribute:
        found = getattr(module, attribute, None)
        if not isinstance(found, Node):
            has = "has no such name" if not hasattr(module, attribute) else f"has a {type(found).__name__} there"
            raise ConfigError(f"{options.target} should be a Node, and {place} {has}: name a Node, or say just {place}")
        given = [f"--{name}" for name in NODE_OPTIONS if getattr(options, name) is not None]
        if given:
            parser.error(f"{options.target} is a complete Node: leave {', '.join(given)} away, or say just {place}")
        return found
    discovery = None if options.discovery is None else {"kind": "embedded", "address": options.discovery}
    arguments: dict[str, Any] = {
        "id": options.id,
        "address": options.address,
        "provides": options.provide,
        "consumes": options.consume,
        "discovery": discovery,
    }
    with _as_main(module):  # its receivers and its name are the node's, as if it were started by itself
        return Node.from_toml(options.config, **arguments) if options.config else Node(**arguments)


def _find(place: str) -> ModuleSpec:
    """Find a file or a module, and put its folder into the path, as Python does for a program."""
    if place.endswith(".py"):
        path = Path(place).resolve()
        if not path.is_file():
            raise ConfigError(f"there is no file {place}")
        sys.path.insert(0, str(path.parent))
        known = sys.modules.get(path.stem)
        if known is not None and getattr(known, "__file__", None) != str(path):
            raise ConfigError(f"{place} has the name of a module that is in use, {path.stem!r}: rename the file")
        spec = importlib.util.spec_from_file_location(path.stem, path)
    else:
        sys.path.insert(0, str(Path.cwd()))
        try:
            spec = importlib.util.find_spec(place)
        except (ImportError, ValueError, AttributeError) as error:
            raise ConfigError(f"cannot find module {place!r}: {error}") from error
    if spec is None or spec.loader is None:
        hint = f"; there is a file {place}.py: say {place}.py" if Path(f"{place}.py").is_file() else ""
        raise ConfigError(f"there is no module {place!r} in the current folder or in PYTHONPATH{hint}")
    return spec


def _load(spec: ModuleSpec, place: str) -> ModuleType:
    known = sys.modules.get(spec.name)
    if known is not None:
        return known
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    try:
        with _as_main(module):  # a Node made while it loads takes its receivers and its name from it
            spec.loader.exec_module(module)
    except ZfooError:
        del sys.modules[spec.name]
        raise
    except Exception as error:
        del sys.modules[spec.name]
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f" ({frame.filename}:{frame.lineno})" if "importlib" not in frame.filename else ""
        raise ConfigError(f"cannot load {place}: {type(error).__name__}: {error}{where}") from error
    parent, _, child = spec.name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)
    return module


@contextmanager
def _as_main(module: ModuleType) -> Iterator[None]:
    """Let a module be the program's main module, which is where a Node looks for receivers and for a name."""
    before = sys.modules["__main__"]
    sys.modules["__main__"] = module
    try:
        yield
    finally:
        sys.modules["__main__"] = before
