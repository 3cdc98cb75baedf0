"""Makes a packet class's ``read(data, position, memory)``: bytes of Java zfoo → a packet, and where it ends.

A slice past the end of the data is short, and then the position is past it: the next byte read raises IndexError, and
if there is none, whoever reads the message sees where it ended.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from zfoo_py.protocol.coercion import MismatchError, argument
from zfoo_py.protocol.field_types import FieldType
from zfoo_py.protocol.frozen_map import FrozenMap
from zfoo_py.protocol.hashes import is_composed, spread
from zfoo_py.protocol.java_bytes import UNZIGZAG, read_int, read_int_list, read_long, read_long_list, too_short
from zfoo_py.protocol.java_code import (
    KEYED,
    MAPS,
    PYTHON_TYPE,
    SETS,
    WIDTHS,
    Code,
    indented,
    limit_of,
    too_many,
    width_of,
)

if TYPE_CHECKING:
    from zfoo_py.protocol.java_plan import JavaPlan

__all__ = ["Read", "memory_for", "reader"]

Read = Callable[[bytes, int, list[int]], tuple[Any, int]]

# Empty lists, which take a byte each, become 65 times their bytes in Python; tables of hashes (sets, maps) can become
# 230 times theirs. Each byte of theirs pays for so many bytes of memory ...
PAID_BY_A_BYTE: Final = 48
# ... and what it does not pay for comes out of what the whole message allows: this much for each of its bytes ...
ALLOWED_BY_A_BYTE: Final = 14
# ... and this much in any case, which is a thousand empty sets. So a message stays within 80 times its length.
ALLOWED_BYTES: Final = 256 * 1024
# Kind → what a missing field is, as Python source.
_EMPTY: Final = {
    "bool": "False",
    "int": "0",
    "float": "0.0",
    "str": "''",
    "bytes": "b''",
    "packet": "None",
    "list": "[]",
    "set": "set()",
    "frozenset": "frozenset()",
    "series": "()",
    "dict": "{}",
    "map": "FrozenMap()",
}
# What a missing field of that kind takes in memory, in bytes; others take a pointer.
_EMPTY_BYTES: Final = {"list": 72, "dict": 80, "set": 232, "map": 136}


def memory_for(data: bytes) -> list[int]:
    """Return the bytes of memory that the tables of one message may take beyond what their own bytes pay for."""
    return [ALLOWED_BYTES + ALLOWED_BY_A_BYTE * len(data)]


def reader(
    plans: Mapping[type[Any], JavaPlan], packet_class: type[Any], fields: list[tuple[str, FieldType]], plain: int
) -> Read:
    """Make ``read`` for the fields of a class, of which the first `plain` are not compatible ones."""
    return _Reader(plans).read(packet_class, fields, plain)


class _Reader(Code):
    """Writes one function. What is read next stands in `data` at `p`."""

    def __init__(self, plans: Mapping[type[Any], JavaPlan]) -> None:
        super().__init__(_NAMES)
        self._plans = plans

    def read(self, packet_class: type[Any], fields: list[tuple[str, FieldType]], plain: int) -> Read:
        # `end` is where the object ends, if it says so, else -1.
        lines = ["if data[p] == 1:", "    end = -1", "    p += 1", "else:", "    end, p = object_end(data, p)"]
        lines += ["    if end == 0:", "        return None, p"]
        for index, (field, kind) in enumerate(fields):
            read = self._value(kind, f"v{index}", f"{packet_class.__name__}.{field}")
            if index < plain:
                lines += read
            else:
                missing = [f"v{index} = {_EMPTY[kind.kind]}", f"memory[0] -= {_EMPTY_BYTES.get(kind.kind, 8)}"]
                lines += ["if p < end:", *indented(read), "else:", *indented(missing)]
        if plain < len(fields):
            lines += ["if memory[0] < 0:", "    raise too_much()"]
        lines += ["if p != end and end > 0:", "    if p > end:", "        raise too_long()", "    p = end"]
        given = ", ".join(argument(field, f"v{index}") for index, (field, _) in enumerate(fields))
        lines.append(f"return {self.name('c', packet_class)}({given}), p")
        return self.function("data, p, memory", lines)

    def _value(self, kind: FieldType, to: str, where: str) -> list[str]:
        """Write: read one value into the name `to`."""
        if kind.packet is not None:
            return [f"{to}, p = {self.name('p', self._plans[kind.packet])}.read(data, p, memory)"]
        if kind.items:
            return self._container(kind, to, where)
        width = width_of(kind)
        if width in {"int", "long"}:
            small = ["if {0} < 128:", "    {0} = UNZIGZAG[{0}]", "    p += 1"]
            large = ["else:", f"    {{0}}, p = read_{width}(data, p, {{0}})"]
            return [f"{to} = data[p]", *(line.format(to) for line in (*small, *large))]
        if width in {"bool", "byte"}:
            return [f"{to} = {'data[p] != 0' if width == 'bool' else 'SIGNED[data[p]]'}", "p += 1"]
        if width in WIDTHS:
            return [f"({to},) = unpack_{width}(data, p)", f"p += {WIDTHS[width][1]}"]
        data = "data[start:p]" if kind.kind == "bytes" else "data[start:p].decode()"
        small = ["if p < 128:", "    p = start + SIZES[p]"]
        large = ["else:", "    p, start = read_size(data, start, p)", "    p += start"]
        return ["start = p + 1", "p = data[p]", *small, *large, f"{to} = {data}"]

    def _container(self, kind: FieldType, to: str, where: str) -> list[str]:
        count = self.name("n")
        begun = self.name("b")
        lines = [f"{begun} = p"] if kind.kind in KEYED else []
        lines += [f"{count} = data[p]", "p += 1", f"if {count} < 128:", f"    {count} = SIZES[{count}]", "else:"]
        lines += [f"    {count}, p = read_size(data, p, {count})", f"    if {count} >= {limit_of(kind)}:"]
        lines += [f"        raise too_many({where!r}, {count}, {limit_of(kind)})"]
        lines += self._items(kind, to, count, where)
        if kind.kind not in {"list", "dict"}:
            given = f"spread({to})" if kind.kind in SETS and is_composed(kind.items[0]) else to
            lines.append(f"{to} = {PYTHON_TYPE.get(kind.kind, kind.kind)}({given})")
        if kind.kind in KEYED:
            # What is in elements has paid for itself.
            own = f"{count} + 1" if any(item.items or item.packet for item in kind.items) else f"p - {begun}"
            lines.append(f"charge({to}, {own}, memory)")
        return lines

    def _items(self, kind: FieldType, to: str, count: str, where: str) -> list[str]:
        """Write: read so many items into a list or dict `to`."""
        item = self.name("i")
        if kind.kind in MAPS:
            key = self.name("k")
            read = self._value(kind.items[0], key, f"{where} (a key)")
            read += self._value(kind.items[1], item, f"{where} (a value)")
            if is_composed(kind.items[0]):
                keys = self.name("l")
                lines = [f"{keys}, {to} = [], []", f"for _ in range({count}):"]
                lines += indented([*read, f"{keys}.append({key})", f"{to}.append({item})"])
                return [*lines, f"{to} = dict(zip(spread({keys}), {to}))"]
            return [f"{to} = {{}}", f"for _ in range({count}):", *indented([*read, f"{to}[{key}] = {item}"])]
        width = width_of(kind.items[0])
        if width in {"int", "long"}:
            return [*_enough(count), f"{to}, p = read_{width}_list(data, p, {count})"]
        if width in WIDTHS:
            letter, size = WIDTHS[width]
            step = f"{count} * {size}" if size > 1 else count
            return [*_enough(step), f"{to} = list(unpack_from(f'>{{{count}}}{letter}', data, p))", f"p += {step}"]
        read = self._value(kind.items[0], item, f"{where} (an element)")
        return [f"{to} = []", f"for _ in range({count}):", *indented([*read, f"{to}.append({item})"])]


def _enough(count: str) -> list[str]:
    return [f"if {count} > len(data) - p:", "    raise too_short()"]


# --- called by the functions made


def _object_end(data: bytes, position: int) -> tuple[int, int]:
    """Read the length of an object; return where it ends (0: it is null; -1: it does not say), and where it begins."""
    size = data[position]
    size, position = (UNZIGZAG[size], position + 1) if size < 0x80 else read_int(data, position, size)
    if size <= 0:
        return (-1 if size else 0), position
    if position + size > len(data):
        raise too_short()
    return position + size, position


def _read_size(data: bytes, position: int, first: int) -> tuple[int, int]:
    """Read a count of more than one byte, of which the first was read before `position`; a negative one is 0."""
    count, position = read_int(data, position - 1, first)
    return max(count, 0), position


def _charge(table: Any, own_bytes: int, memory: list[int]) -> None:
    """Charge a set or map to the message; raise MismatchError if it has too many that are all but empty."""
    memory[0] += PAID_BY_A_BYTE * own_bytes - table.__sizeof__()
    if type(table) is FrozenMap:
        memory[0] -= table.table_bytes()
    if memory[0] < 0:
        raise _too_much()


def _too_much() -> MismatchError:
    return MismatchError("the message would take more than 80 times its length in memory")


def _too_long() -> MismatchError:
    return MismatchError("an object has more bytes than its length says")


# What the functions made may name.
_NAMES: Final[dict[str, object]] = {
    "FrozenMap": FrozenMap,
    "SIZES": bytes(max(number, 0) for number in UNZIGZAG),
    "SIGNED": [*range(0x80), *range(-0x80, 0)],
    "UNZIGZAG": UNZIGZAG,
    "charge": _charge,
    "object_end": _object_end,
    "read_int": read_int,
    "read_int_list": read_int_list,
    "read_long": read_long,
    "read_long_list": read_long_list,
    "read_size": _read_size,
    "spread": spread,
    "too_long": _too_long,
    "too_many": too_many,
    "too_much": _too_much,
    "too_short": too_short,
    "unpack_double": struct.Struct(">d").unpack_from,
    "unpack_float": struct.Struct(">f").unpack_from,
    "unpack_from": struct.unpack_from,
    "unpack_short": struct.Struct(">h").unpack_from,
}
