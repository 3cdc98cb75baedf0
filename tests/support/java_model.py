"""zfoo.md section 1 as a reader would write it down: what the compiled functions are held against, slowly.

Nothing of `java_writing`, `java_reading`, `java_careful` and `java_bytes` is used here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Any

from zfoo_py.protocol.field_types import FieldType
from zfoo_py.protocol.frozen_map import FrozenMap
from zfoo_py.protocol.java_plan import java_fields
from zfoo_py.protocol.packet import PacketTable

__all__ = ["Model", "RefusedError", "without_halves"]

BITS = {"byte": 8, "short": 16, "int": 32, "long": 64}
FIXED = {"byte": ">b", "short": ">h", "float": ">f", "double": ">d"}
LIST_LIMITS = {"bool": 1 << 26, "byte": 1 << 26, "short": 1 << 19, "int": 1 << 18, "float": 1 << 18,
               "long": 1 << 17, "double": 1 << 17}  # fmt: skip
MAKE: dict[str, Any] = {"list": list, "series": tuple, "set": set, "frozenset": frozenset}
EMPTY: dict[str, Any] = {"bool": False, "int": 0, "float": 0.0, "str": "", "bytes": b""}


class RefusedError(Exception):
    """The value is not of the type, or the bytes are none of it."""


def java_type(kind: FieldType) -> str:
    return kind.width or {"int": "long", "float": "double"}.get(kind.kind, kind.kind)


def limit(kind: FieldType) -> int:
    if kind.kind in {"set", "frozenset", "dict", "map"}:
        return 1 << 15
    return LIST_LIMITS.get(java_type(kind.items[0]), 1 << 16)


def must(fits: object) -> None:
    if not fits:
        raise RefusedError


class Model:
    """Packets of a table ↔ objects."""

    def __init__(self, table: PacketTable) -> None:
        self.table = table

    def fields(self, packet_class: type[Any]) -> tuple[list[tuple[str, FieldType]], int]:
        return java_fields(packet_class, self.table.fields(packet_class))

    # --- out

    def write(self, packet: Any) -> bytes:
        """Return a packet as an object. Raises RefusedError."""
        fields, plain = self.fields(type(packet))
        data = b"".join(self._value(kind, getattr(packet, field)) for field, kind in fields)
        return (b"\x01" if plain == len(fields) else varint(len(data))) + data

    def _value(self, kind: FieldType, value: Any) -> bytes:  # noqa: PLR0911 - a line per type
        width = java_type(kind)
        if value is None:
            return bytes(struct.calcsize(FIXED.get(width, ">b")))
        if kind.packet is not None:
            must(type(value) is kind.packet)
            return self.write(value)
        if kind.kind == "bool":
            must(type(value) is bool)
            return b"\x01" if value else b"\x00"
        if kind.kind == "int":
            must(isinstance(value, int) and not isinstance(value, bool))
            must(-(1 << BITS[width] - 1) <= value < 1 << BITS[width] - 1)
            return struct.pack(FIXED[width], value) if width in FIXED else varint(int(value))
        if kind.kind == "float":
            must(isinstance(value, int | float) and not isinstance(value, bool))
            try:
                return struct.pack(FIXED[width], value)
            except (OverflowError, struct.error):
                raise RefusedError from None
        if kind.kind == "str":
            must(isinstance(value, str))
            return sized(without_halves(str(value)).encode())
        if kind.kind == "bytes":
            must(isinstance(value, bytes))
            return sized(bytes(value))
        return self._container(kind, value)

    def _container(self, kind: FieldType, value: Any) -> bytes:
        if kind.kind in {"dict", "map"}:
            must(isinstance(value, dict | FrozenMap))
            items = [self._value(kind.items[0], k) + self._value(kind.items[1], v) for k, v in value.items()]
        else:
            if kind.kind in {"set", "frozenset"}:
                must(isinstance(value, Iterable))
                must(not isinstance(value, str | bytes | bytearray | memoryview | Mapping))
            else:
                must(isinstance(value, MAKE[kind.kind]))
            items = [self._value(kind.items[0], item) for item in value]
        must(len(items) < limit(kind))
        return varint(len(items)) + b"".join(items)

    # --- in

    def read(self, packet_class: type[Any], data: bytes, position: int) -> tuple[Any, int]:
        """Return an object and where it ends. Raises RefusedError."""
        fields, plain = self.fields(packet_class)
        size, position = read_varint(data, position, 32)
        if size == 0:
            return None, position
        end = position + size if size > 0 else -1
        must(end <= len(data))
        given = {}
        for index, (field, kind) in enumerate(fields):
            if index < plain or position < end:
                given[field], position = self._read(kind, data, position)
            else:
                given[field] = self._empty(kind)
        if size > 0:
            must(position <= end)
            position = end
        return packet_class(**given), position

    def _empty(self, kind: FieldType) -> Any:
        if kind.kind in {"dict", "map"}:
            return {} if kind.kind == "dict" else FrozenMap()
        return MAKE[kind.kind]() if kind.kind in MAKE else EMPTY.get(kind.kind)

    def _read(self, kind: FieldType, data: bytes, position: int) -> tuple[Any, int]:  # noqa: PLR0911 - the same
        if kind.packet is not None:
            return self.read(kind.packet, data, position)
        width = java_type(kind)
        if kind.kind == "bool":
            return take(data, position, 1) != b"\x00", position + 1
        if width in FIXED:
            size = struct.calcsize(FIXED[width])
            return struct.unpack(FIXED[width], take(data, position, size))[0], position + size
        if kind.kind == "int":
            return read_varint(data, position, BITS[width])
        count, position = read_varint(data, position, 32)
        count = max(count, 0)
        if kind.kind in {"str", "bytes"}:
            found = take(data, position, count)
            try:
                return (found if kind.kind == "bytes" else found.decode()), position + count
            except UnicodeDecodeError:
                raise RefusedError from None
        must(count < limit(kind))
        items = []
        for _ in range(count):
            item = []
            for each in kind.items:
                value, position = self._read(each, data, position)
                item.append(value)
            items.append(item)
        if kind.kind in {"dict", "map"}:
            return (dict(items) if kind.kind == "dict" else FrozenMap(dict(items))), position
        return MAKE[kind.kind](item for (item,) in items), position


def without_halves(text: str) -> str:
    """Return a text as Java writes it: halves of surrogate pairs joined, or "?" if they are alone."""
    joined = text.encode("utf-16-be", "surrogatepass").decode("utf-16-be", "surrogatepass")
    return "".join("?" if "\ud800" <= char <= "\udfff" else char for char in joined)


def varint(number: int) -> bytes:
    """Return an int or long: zigzag, 7 bits a byte, the 9th byte whole."""
    rest, made = number << 1 if number >= 0 else -2 * number - 1, b""
    while rest >= 0x80 and len(made) < 8:
        made += bytes((rest % 0x80 + 0x80,))
        rest //= 0x80
    return made + bytes((rest,))


def read_varint(data: bytes, position: int, bits: int) -> tuple[int, int]:
    last = 5 if bits == 32 else 9
    rest = 0
    for index in range(last):
        (byte,) = take(data, position + index, 1)
        if index == 8 or byte < 0x80:
            rest |= byte << 7 * index
            break
        rest |= (byte & 0x7F) << 7 * index
    rest &= (1 << bits) - 1
    return (rest // 2 if rest % 2 == 0 else -(rest // 2) - 1), position + index + 1


def take(data: bytes, position: int, size: int) -> bytes:
    must(position + size <= len(data))
    return data[position : position + size]


def sized(data: bytes) -> bytes:
    return varint(len(data)) + data
