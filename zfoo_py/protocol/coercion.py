"""Values that are not of exactly the declared type: taken as it, or refused.

The compiled functions fall back on this.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from zfoo_py.protocol.frozen_map import FrozenMap
from zfoo_py.protocol.java_types import RANGES

__all__ = ["MismatchError", "argument", "attribute", "exact", "in_order", "out_of_range", "refused"]

# Copies of the exact type, which leave alone what a subclass (an Enum, a defaultdict) defines.
_EXACT: dict[type[Any], Callable[[Any], Any]] = {
    int: int.__int__,
    float: float.__float__,
    str: str.__str__,
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    list: list,
    tuple: tuple,
}


class MismatchError(ValueError):
    """A value is not of the declared type; the text names class and field."""


def refused(where: str, expected: str, value: object) -> MismatchError:
    """Return the error of a value of another type. Neither the value (it may be a secret) nor its repr is in it."""
    length = ""
    if isinstance(value, list | tuple) and expected.startswith("tuple") and not expected.endswith(", ...]"):
        length = f" of length {len(value)}"
    got = "None" if value is None else type(value).__name__
    return MismatchError(f"{where}: expected {expected}, got {got}{length}")


def out_of_range(where: str, expected: str, value: float) -> MismatchError:
    """Return the error of a number that Java's type, with a capital, does not hold."""
    if expected in {"Float", "Double"}:
        return MismatchError(f"{where}: a {expected} cannot hold a number as large as this")
    low, high = RANGES[expected.lower()]
    shown = value if -(1 << 70) < value < 1 << 70 else "a number of more than 70 bits"
    return MismatchError(f"{where}: {shown} is out of range: {expected} is {low} to {high}")


def in_order(where: str, expected: str, value: Any) -> list[Any]:
    """Return what was given for a set, in its order."""
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | bytearray | memoryview | Mapping):
        return list(value)
    raise refused(where, expected, value)


def exact(where: str, expected: str, wanted: type[Any], value: Any) -> Any:
    """Return a subclass's value as the declared type."""
    if wanted is float and isinstance(value, int):
        wanted = int
    if wanted in {dict, FrozenMap} and isinstance(value, dict | FrozenMap):
        return dict(value)  # each may stand for the other
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise refused(where, expected, value)
    return _EXACT[wanted](value)


def attribute(field: str) -> str:
    """Return the source of ``packet.<field>``; ``msgspec.defstruct`` makes fields that are keywords, too."""
    return f"getattr(packet, {field!r})" if keyword.iskeyword(field) else f"packet.{field}"


def argument(field: str, value: str) -> str:
    """Return the source of ``<field>=<value>`` in a call."""
    return f"**{{{field!r}: {value}}}" if keyword.iskeyword(field) else f"{field}={value}"
