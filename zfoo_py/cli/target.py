"""What a command works on: a file or a module, loaded as the main program of a node."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from zfoo_py.cli.options import add_discovery
from zfoo_py.discovery_config import discovery_of
from zfoo_py.errors import ConfigError, ZfooError
from zfoo_py.listen_config import DEFAULT_SERVER_ADDRESS
from zfoo_py.node import Node

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from importlib.machinery import ModuleSpec
    from types import ModuleType

__all__ = ["add_target", "find", "load", "load_node"]

# What these options say, a Node that stands in the file has been told already.
NODE_OPTIONS: Final = ("id", "address", "provide", "consume", "discovery", "config")


def add_target(command: argparse.ArgumentParser, what: str) -> None:
    """Add the target, and the options of the node that is made of it."""
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
    add_discovery(command)
    add("--config", metavar="FILE.toml", help="the node's configuration; options win over it (default: none)")


def load_node(options: argparse.Namespace, parser: argparse.ArgumentParser) -> Node:
    """Load the target and return its node, or make one of which it is the receivers.

    Raises:
        ZfooError: something declared is wrong, or the target cannot be loaded.
        SystemExit: the target is a complete Node, and options would change it.
    """
    place, _, attribute = options.target.partition(":")
    spec = find(place)
    module = load(spec, place)
    if attribute:
        found = getattr(module, attribute, None)
        if not isinstance(found, Node):
            has = "has no such name" if not hasattr(module, attribute) else f"has a {type(found).__name__} there"
            raise ConfigError(f"{options.target} should be a Node, and {place} {has}: name a Node, or say just {place}")
        given = [f"--{name}" for name in NODE_OPTIONS if getattr(options, name) is not None]
        if given:
            parser.error(f"{options.target} is a complete Node: leave {', '.join(given)} away, or say just {place}")
        return found
    if options.id is not None and not options.id.strip():
        raise ConfigError("--id is empty: leave it out, or give the node a name")
    discovery = None if options.discovery is None else discovery_of(options.discovery)
    arguments: dict[str, Any] = {
        "id": options.id,
        "address": options.address,
        "provides": options.provide,
        "consumes": options.consume,
        "discovery": discovery,
    }
    with _as_main(module):  # its receivers and its name are the node's, as if it were started by itself
        return Node.from_toml(options.config, **arguments) if options.config else Node(**arguments)


def find(place: str) -> ModuleSpec:
    """Find a file or a module, and put its folder into the path, as Python does for a program.

    Raises:
        ConfigError: there is none.
    """
    if place.endswith(".py"):
        path = Path(place).resolve()
        if not path.is_file():
            raise ConfigError(f"there is no file {place}")
        sys.path.insert(0, str(path.parent))
        if "." in path.stem:
            raise ConfigError(
                f"{place} cannot be imported, as its name has a dot: rename it to {path.stem.replace('.', '_')}.py"
            )
        known = sys.modules.get(path.stem)
        if known is not None and getattr(known, "__file__", None) != str(path):
            raise ConfigError(f"{place} has the name of a module that is in use, {path.stem!r}: rename the file")
        spec = importlib.util.spec_from_file_location(path.stem, path)
    else:
        if Path(place).suffix and Path(place).is_file():
            raise ConfigError(
                f"{place} is no Python file: name FILE.py or a module; a .toml file is given with --config"
            )
        sys.path.insert(0, str(Path.cwd()))
        try:
            spec = importlib.util.find_spec(place)
        except (ImportError, ValueError, AttributeError) as error:
            raise ConfigError(f"cannot find module {place!r}: {error}") from error
    if spec is None or spec.loader is None:
        hint = f"; there is a file {place}.py: say {place}.py" if Path(f"{place}.py").is_file() else ""
        raise ConfigError(f"there is no module {place!r} in the current folder or in PYTHONPATH{hint}")
    return spec


def load(spec: ModuleSpec, place: str) -> ModuleType:
    """Load what `find` found, once, as if it were the main program.

    Raises:
        ZfooError: it cannot be loaded; says where, and nothing half-loaded stays behind.
    """
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
