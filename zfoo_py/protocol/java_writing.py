"""What the writers of `java_plan` call for values that are not of the usual type and size: null, subclasses, faults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from zfoo_py.protocol.coercion import exact, in_order, out_of_range, refused
from zfoo_py.protocol.field_types import FieldType
from zfoo_py.protocol.java_bytes import (
    BYTES,
    INTS,
    SMALL,
    SURROGATES,
    pack_double,
    pack_float,
    pack_short,
    write_int,
)
from zfoo_py.protocol.java_types import RANGES

__all__ = ["WRITING", "plain_value", "slow_writer"]

_SIZED: Final[dict[str, type[Any]]] = {"str": str, "bytes": bytes}
_ONE, _ZERO = b"\x01", b"\x00"


def plain_value(kind: FieldType, where: str) -> Callable[[Any], Any]:
    """Return what takes any value for a str or bytes and makes it one; null is empty. It raises MismatchError."""
    wanted = _SIZED[kind.kind]
    return lambda value: wanted() if value is None else exact(where, kind.kind, wanted, value)


def slow_writer(kind: FieldType, where: str) -> Callable[[Any], Any]:  # noqa: C901 - a short function per kind
    """Return what takes any value: of a scalar or packet it makes the bytes, of a container the container to write.

    It raises MismatchError, naming `where`, for what is not of the type.
    """
    text = kind.text.removesuffix(" | None")

    def packet(value: Any) -> bytes:
        if value is not None:
            raise refused(where, text, value)
        return _ZERO

    def container(value: Any) -> Any:
        if value is None:
            return ()
        if kind.kind in {"set", "frozenset"}:
            return in_order(where, text, value)
        return exact(where, text, tuple if kind.kind == "series" else list, value)

    def mapping(value: Any) -> Any:
        return {} if value is None else exact(where, text, dict, value)

    def number(value: Any) -> bytes:
        plain = 0 if value is None else exact(where, text, int, value)
        low, high = RANGES[kind.width or "long"]
        if not low <= plain <= high:
            raise out_of_range(where, text if kind.width else "Long", plain)
        if kind.width == "byte":
            return BYTES[plain]
        return pack_short(plain) if kind.width == "short" else write_int(plain)

    def real(value: Any) -> bytes:
        plain = 0.0 if value is None else exact(where, text, float, value)
        try:
            return pack_float(float(plain)) if kind.width == "float" else pack_double(float(plain))
        except OverflowError:
            raise out_of_range(where, text if kind.width else "Double", plain) from None

    def sized(value: Any) -> bytes:
        plain = plain_value(kind, where)(value)
        data = plain.encode("utf-8", SURROGATES) if isinstance(plain, str) else plain
        return write_int(len(data)) + data

    def flag(value: Any) -> bytes:
        if value is not None:
            raise refused(where, text, value)
        return _ZERO

    if kind.packet is not None:
        return packet
    if kind.items:
        return mapping if kind.kind in {"dict", "map"} else container
    return {"int": number, "float": real, "bool": flag, "str": sized, "bytes": sized}[kind.kind]


def _sized(data: bytes) -> bytes:
    """Return the data of an object with compatible fields behind their length."""
    return write_int(len(data)) + data


# What the functions made may name. An object without compatible fields begins with ONE: the int -1.
WRITING: Final[dict[str, object]] = {
    "BYTES": BYTES,
    "INTS": INTS,
    "ONE": _ONE,
    "SMALL": SMALL,
    "ZERO": _ZERO,
    "join": b"".join,
    "pack_double": pack_double,
    "pack_short": pack_short,
    "sized": _sized,
    "write_int": write_int,
}
