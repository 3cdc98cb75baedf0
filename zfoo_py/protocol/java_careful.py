"""Values of any type → bytes of Java zfoo, or the reason why not: null, subclasses, faults.

The functions that `java_writing` makes are for values of the usual types; a packet that has others is written by these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from zfoo_py.protocol.coercion import exact, in_order, out_of_range, refused
from zfoo_py.protocol.field_types import FieldType
from zfoo_py.protocol.java_bytes import BYTES, SURROGATES, pack_double, pack_float, pack_short, write_long
from zfoo_py.protocol.java_code import MAPS, SETS, limit_of, too_many
from zfoo_py.protocol.java_types import RANGES

__all__ = ["CarefulWriter", "careful_object", "careful_writer", "sized"]

CarefulWriter = Callable[[Any], bytes]
_ONE, _ZERO = b"\x01", b"\x00"


def careful_object(
    packet_class: type[Any], fields: list[tuple[str, FieldType]], plain: int, writer_of: Callable[[Any], CarefulWriter]
) -> CarefulWriter:
    """Return packet → its bytes as an object; `writer_of` gives this for other classes, once they are there."""
    writers = [(field, careful_writer(kind, f"{packet_class.__name__}.{field}", writer_of)) for field, kind in fields]

    def write(packet: Any) -> bytes:
        data = b"".join(write_field(getattr(packet, field)) for field, write_field in writers)
        return _ONE + data if plain == len(fields) else sized(b"", data)

    return write


def careful_writer(kind: FieldType, where: str, writer_of: Callable[[Any], CarefulWriter]) -> CarefulWriter:
    """Return value → bytes. It raises MismatchError, naming `where`, for what is not of the type."""
    text = kind.text.removesuffix(" | None")
    packet_class = kind.packet

    def packet(value: Any) -> bytes:
        if type(value) is not packet_class:
            raise refused(where, text, value)
        return writer_of(packet_class)(value)

    def series(value: Any) -> bytes:
        if kind.kind in SETS:
            value = in_order(where, text, value)
        else:
            value = exact(where, text, tuple if kind.kind == "series" else list, value)
        return counted(map(writers[0], value))

    def mapping(value: Any) -> bytes:
        pairs = exact(where, text, dict, value).items()
        return counted(writers[0](key) + writers[1](item) for key, item in pairs)

    def counted(items: Iterable[bytes]) -> bytes:
        made = list(items)
        if len(made) >= limit_of(kind):
            raise too_many(where, len(made), limit_of(kind))
        return write_long(len(made)) + b"".join(made)

    def scalar(value: Any) -> bytes:
        return _scalar(kind, where, value)

    if packet_class is not None:
        return lambda value: _ZERO if value is None else packet(value)
    if not kind.items:
        return scalar
    names = (" (a key)", " (a value)") if kind.kind in MAPS else (" (an element)",)
    writers = [careful_writer(item, where + name, writer_of) for item, name in zip(kind.items, names, strict=True)]
    write = mapping if kind.kind in MAPS else series
    return lambda value: _ZERO if value is None else write(value)


def _scalar(kind: FieldType, where: str, value: Any) -> bytes:
    text = kind.text.removesuffix(" | None")
    if kind.kind == "bool":
        if value is not None and type(value) is not bool:
            raise refused(where, text, value)
        return _ONE if value else _ZERO
    if kind.kind == "int":
        return _whole(kind, where, 0 if value is None else exact(where, text, int, value))
    if kind.kind == "float":
        plain = 0.0 if value is None else exact(where, text, float, value)
        try:
            return (pack_float if kind.width == "float" else pack_double)(float(plain))
        except OverflowError:
            raise out_of_range(where, text if kind.width else "Double", plain) from None
    if kind.kind == "str":
        return sized(b"", b"" if value is None else exact(where, text, str, value).encode("utf-8", SURROGATES))
    return sized(b"", b"" if value is None else exact(where, text, bytes, value))


def _whole(kind: FieldType, where: str, number: int) -> bytes:
    low, high = RANGES[kind.width or "long"]
    if not low <= number <= high:
        raise out_of_range(where, kind.width.capitalize() or "Long", number)
    if kind.width == "byte":
        return BYTES[number]
    return pack_short(number) if kind.width == "short" else write_long(number)


def sized(start: bytes, data: bytes) -> bytes:
    """Return data behind `start` and their length: of a text, of bytes, of an object with compatible fields."""
    return b"".join((start, write_long(len(data)), data))
