"""The mapping of packets as a TOML file declares it.

::

[modules.visits]
id = 10
[modules.visits.protocols]
1101 = "visits:VisitAnswer"
1100 = { class = "visits:VisitAsk", balance_by = "client", idempotent = true }
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from zfoo_py.errors import ConfigError, nearest_name

__all__ = ["DeclaredPacket", "read_protocols"]

_KEYS = ("class", "balance_by", "idempotent")
_CLASS_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


class DeclaredPacket(msgspec.Struct, frozen=True):
    """One line; `path` is its key, for errors."""

    protocol_id: int
    packet_class: type[Any]
    balance_by: str | None
    idempotent: bool
    path: str


def read_protocols(protocols: object, path: str) -> Iterator[DeclaredPacket]:
    """Read the protocols of one module, importing their classes.

    Raises:
        ConfigError: naming the key that cannot be read, or whose class cannot be imported.
    """
    if not isinstance(protocols, Mapping):
        raise ConfigError('must be a table of protocol id = "package.module:Class"', path=path)
    for key, value in protocols.items():
        yield _read_packet(str(key), value, f"{path}.{key}")


def _read_packet(key: str, value: object, path: str) -> DeclaredPacket:
    if not (key.isascii() and key.isdecimal()):
        raise ConfigError(f"the protocol id {key!r} is no number", path=path)
    options = {"class": value} if isinstance(value, str) else value
    if not isinstance(options, Mapping) or not isinstance(options.get("class"), str):
        raise ConfigError('write "package.module:Class", or a table with the key "class"', path=path)
    for option in options:
        if option not in _KEYS:
            raise ConfigError("unknown key", path=f"{path}.{option}", nearest=nearest_name(str(option), _KEYS))
    balance_by, idempotent = options.get("balance_by"), options.get("idempotent", False)
    if not isinstance(balance_by, str | None):
        raise ConfigError("must be the name of a field", path=f"{path}.balance_by")
    if not isinstance(idempotent, bool):
        raise ConfigError("must be true or false", path=f"{path}.idempotent")
    return DeclaredPacket(int(key), _import_class(options["class"], path), balance_by, idempotent, path)


def _import_class(class_path: str, path: str) -> type[Any]:
    if not _CLASS_PATH.fullmatch(class_path):
        raise ConfigError(f'{class_path!r} names no class: write "package.module:Class"', path=path)
    module_name, _, name = class_path.partition(":")
    try:
        found: object = importlib.import_module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{class_path!r} cannot be imported: {error}", path=path) from error
    if not isinstance(found, type):
        raise ConfigError(f"{class_path!r} is no class", path=path)
    return found
