"""What a node takes from the program that it is in: its main module, its name, and modules that settings name."""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType
from typing import Any

from zfoo_py.errors import ConfigError, nearest_name

__all__ = ["import_module", "load", "main_modules", "main_name", "read_file"]


def import_module(name: str, path: str) -> ModuleType:
    """Import a module that the configuration names at ``path``.

    Raises:
        ConfigError: it cannot be imported.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        msg = f"cannot import {name!r} ({error}): is its folder in PYTHONPATH?"
        raise ConfigError(msg, path=path) from error


def load(name: str, path: str) -> Any:
    """Return what ``module:Class`` names.

    Raises:
        ConfigError: there is none, or it cannot be called.
    """
    module_name, _, attribute = name.partition(":")
    module = import_module(module_name, path)
    found = getattr(module, attribute, None)
    if not callable(found):
        msg = f"{module_name!r} has no class {attribute!r}"
        raise ConfigError(
            msg, path=path, nearest=nearest_name(attribute, (one for one in vars(module) if one[0] != "_"))
        )
    return found


def read_file(name: str, path: str) -> bytes:
    """Return what is in a file that the configuration names at ``path``.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        with open(name, "rb") as file:  # noqa: PTH123 - pathlib would be imported for this alone
            return file.read()
    except OSError as error:
        raise ConfigError(f"cannot read {name}: {error.strerror}", path=path) from error


def main_modules() -> list[ModuleType]:
    """Return the program's main module, if it can hold receivers (the command line loads another one)."""
    main = sys.modules.get("__main__")
    return [main] if main is not None and hasattr(main, "__file__") else []


def main_name() -> str:
    """Return the main program's name, for a node that was given none."""
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name and not spec.name.endswith("__main__"):
        return str(spec.name).rpartition(".")[2]
    return os.path.splitext(os.path.basename(file))[0] if file else "node"  # noqa: PTH119, PTH122 - two texts
