"""Makes a packet class's ``write(packet, start)``: `start` and the fields of a packet, as bytes of Java zfoo.

What it writes is straight and without regard for the unusual. A value that is not of exactly the declared type, or out
of range, raises something; `java_careful` is asked then, which takes what may be taken, and says what is wrong.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from zfoo_py.protocol.coercion import attribute
from zfoo_py.protocol.field_types import FieldType
from zfoo_py.protocol.frozen_map import FrozenMap
from zfoo_py.protocol.java_bytes import BYTES, INTS, SMALL, pack_double, pack_float, pack_short, write_int, write_long
from zfoo_py.protocol.java_careful import sized
from zfoo_py.protocol.java_code import MAPS, PYTHON_TYPE, SETS, WIDTHS, Code, indented, limit_of, width_of
from zfoo_py.protocol.sets_in_order import FrozenSetInOrder, SetInOrder

if TYPE_CHECKING:
    from zfoo_py.protocol.java_plan import JavaPlan

__all__ = ["writer"]

_UNUSUAL: Final = "raise UnusualError"


class UnusualError(Exception):
    """The packet is one for `java_careful`."""


def writer(
    plans: Mapping[type[Any], JavaPlan], fields: list[tuple[str, FieldType]], plain: int
) -> Callable[[Any, bytes], bytes]:
    """Make ``write`` for the fields of a class, of which the first `plain` are not compatible ones."""
    return _Writer(plans).write(fields, is_sized=plain < len(fields))


class _Writer(Code):
    """Writes one function.

    What a value is on the wire are lines that check and prepare it, then expressions, its pieces, and for what is in
    a container, lines that append to ``parts``.
    """

    def __init__(self, plans: Mapping[type[Any], JavaPlan]) -> None:
        super().__init__(_NAMES)
        self._plans = plans

    def write(self, fields: list[tuple[str, FieldType]], *, is_sized: bool) -> Callable[[Any, bytes], bytes]:
        lines: list[str] = []
        pieces = [] if is_sized else ["start"]
        is_begun = False
        for index, (field, kind) in enumerate(fields):
            value = f"v{index}"
            checks, more, inside = self._value(kind, value)
            lines += [f"{value} = {attribute(field)}", *checks]
            pieces += more
            if inside:
                lines += [f"parts {'+' if is_begun else ''}= [{', '.join(pieces)}]", *inside]
                pieces, is_begun = [], True
        made = f"join(({', '.join(pieces)},))" if len(pieces) != 1 else pieces[0]
        if is_begun:
            lines += [f"parts += [{', '.join(pieces)}]"] if pieces else []
            made = "join(parts)"
        lines.append(f"return sized(start, {made})" if is_sized else f"return {made}")
        return self.function("packet, start", lines)

    def _value(self, kind: FieldType, value: str) -> tuple[list[str], list[str], list[str]]:
        """Write for the name `value`: lines that prepare it, its pieces, and lines that append what is inside."""
        if kind.packet is not None:
            plan, packet_class = self.name("p", self._plans[kind.packet]), self.name("c", kind.packet)
            lines = [f"if type({value}) is {packet_class}:", f"    {value} = {plan}.write({value}, {plan}.start)"]
            lines += [f"elif {value} is None:", f"    {value} = ZERO"] if kind.nullable else []
            return [*lines, "else:", "    raise UnusualError"], [value], []
        if kind.items:
            return self._container(kind, value)
        if kind.kind == "str":
            encoded = f"encode({value})"
            checks = [f"{value} = {f'{encoded} if {value} is not None else EMPTY' if kind.nullable else encoded}"]
        else:
            checks = _check(kind, value, f"type({value}) is not {kind.kind}", {"bytes": "EMPTY"}.get(kind.kind, "0"))
        width = width_of(kind)
        if width in {"str", "bytes"}:
            size = self.name("n")
            return [*checks, f"{size} = len({value})"], [_count(size, f"write_int({size})"), value], []
        piece = {
            "bool": f"ONE if {value} else ZERO",
            "byte": f"BYTES[{value}]",
            "int": f"INTS[{value}] if -SMALL <= {value} < SMALL else write_int({value})",
            "long": f"INTS[{value}] if -SMALL <= {value} < SMALL else write_long({value})",
        }.get(width, f"pack_{width}({value})")
        return checks, [piece], []

    def _container(self, kind: FieldType, value: str) -> tuple[list[str], list[str], list[str]]:
        wrong = f"type({value}) is not {PYTHON_TYPE.get(kind.kind, kind.kind)}"
        if kind.kind in SETS:
            wrong = f"type({value}) not in ORDERED"
        size = self.name("n")
        other = f"{value} = listed({value})" if kind.kind in SETS else _UNUSUAL
        lines = [*_check(kind, value, wrong, "()" if kind.kind not in MAPS else "{}", other), f"{size} = len({value})"]
        counted = _count(size, f"write_count({size}, {limit_of(kind)})")
        item = self.name("i")
        if kind.kind in MAPS:
            key = self.name("k")
            inside = [*self._appended(kind.items[0], key), *self._appended(kind.items[1], item)]
            return lines, [counted], [f"for {key}, {item} in {value}.items():", *indented(inside)]
        element = kind.items[0]
        if element.kind in {"bool", "int", "float"} and not element.nullable:
            wanted = self.name("t", frozenset({{"bool": bool, "int": int, "float": float}[element.kind]}))
            lines += [f"if not {wanted}.issuperset(map(type, {value})):", "    raise UnusualError"]
            width = width_of(element)
            if width in WIDTHS:
                return lines, [counted, f"pack(f'>{{{size}}}{WIDTHS[width][0]}', *{value})"], []
            each = self._value(element, item)[1][0]
            return lines, [counted], [f"parts += [{each} for {item} in {value}]"]
        return lines, [counted], [f"for {item} in {value}:", *indented(self._appended(element, item))]

    def _appended(self, kind: FieldType, value: str) -> list[str]:
        checks, pieces, inside = self._value(kind, value)
        return [*checks, *(f"parts.append({piece})" for piece in pieces), *inside]


def _check(kind: FieldType, value: str, wrong: str, null: str, other: str = _UNUSUAL) -> list[str]:
    """Write: do what `other` says if a value is of a `wrong` type; None becomes `null` where it is declared."""
    if not kind.nullable:
        return [f"if {wrong}:", f"    {other}"]
    return [f"if {value} is None:", f"    {value} = {null}", f"elif {wrong}:", f"    {other}"]


def _count(size: str, large: str) -> str:
    return f"INTS[{size}] if {size} < SMALL else {large}"


def _write_count(count: int, limit: int) -> bytes:
    if count >= limit:
        raise UnusualError
    return write_int(count)


def _listed(value: Any) -> list[Any]:
    """Return the items of a set that a node has read to write it to a Java peer; they may be more than its length."""
    if type(value) in {SetInOrder, FrozenSetInOrder}:
        return list(value)
    raise UnusualError


# What the functions made may name.
_NAMES: Final[dict[str, object]] = {
    "BYTES": BYTES,
    "EMPTY": b"",
    "FrozenMap": FrozenMap,
    "INTS": INTS,
    "ONE": b"\x01",
    "ORDERED": frozenset({set, frozenset, list, tuple}),
    "SMALL": SMALL,
    "UnusualError": UnusualError,
    "ZERO": b"\x00",
    "encode": str.encode,
    "join": b"".join,
    "listed": _listed,
    "pack": struct.pack,
    "pack_double": pack_double,
    "pack_float": pack_float,
    "pack_short": pack_short,
    "sized": sized,
    "write_count": _write_count,
    "write_int": write_int,
    "write_long": write_long,
}
