"""Functions made for each packet class, as zfoo makes bytecode: packet → bytes of Java zfoo, and back.

Field order: ordinary fields by Java name, then those with ``compatible=`` by that number. None is Java's null wherever
it stands: written as 0, false, empty or one 0 byte, and read back as such (a packet that is null is None).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zfoo_py.protocol.field_types import Fields, FieldType
from zfoo_py.protocol.java_careful import CarefulWriter, careful_object
from zfoo_py.protocol.java_code import KEYED, all_types, for_java
from zfoo_py.protocol.java_reading import Read, memory_for, reader
from zfoo_py.protocol.java_types import Wire, wire_name
from zfoo_py.protocol.java_writing import writer

__all__ = ["JavaPlan", "JavaPlans", "java_fields", "memory_for"]


def java_fields(packet_class: type[Any], fields: Fields) -> tuple[list[tuple[str, FieldType]], int]:
    """Return the fields that Java peers know, in wire order, and how many of them are not compatible ones.

    Raises:
        PacketError: as `for_java`.
    """
    plain: list[tuple[str, str, FieldType]] = []
    compatible: list[tuple[int, str, FieldType]] = []
    for field, kind in for_java(packet_class, fields).items():
        wire = kind.wire or Wire()
        if wire.compatible is None:
            plain.append((wire.name or wire_name(field), field, kind))
        else:
            compatible.append((wire.compatible, field, kind))
    plain.sort(key=lambda entry: entry[0].encode("utf-16-be", "surrogatepass"))  # String.compareTo
    compatible.sort(key=lambda entry: entry[0])
    return [(field, kind) for _, field, kind in (*plain, *compatible)], len(plain)


class JavaPlan:
    """What is compiled for one packet class.

    Attributes:
        start: what an object begins with: the int -1, or nothing if it begins with its length.
        write: a packet → what is given, and its object without `start`. Raises anything for a packet that has other
            than the usual values; ask `write_any` then. O(size).
        write_any: a packet → its object. Raises MismatchError, and EncodeError's other causes. O(size), slower.
        read: (data, position, memory) → (packet or None, next position); memory is `memory_for` the message. Raises
            IndexError, MismatchError, struct.error, UnicodeDecodeError, and what the class's __post_init__ raises.
            The position is past the end of the data if they end within the last value. O(size).
        is_charged: whether `read` uses its memory; it does for sets, maps and compatible fields, at any depth.
    """

    __slots__ = ("is_charged", "read", "start", "write", "write_any")
    is_charged: bool
    read: Read
    start: bytes
    write: Callable[[Any, bytes], bytes]
    write_any: CarefulWriter


class JavaPlans:
    """The plans of one table, made at first use; any thread. `fields_of` may raise PacketError."""

    def __init__(self, fields_of: Callable[[type[Any]], Fields]) -> None:
        self._fields_of = fields_of
        self._plans: dict[type[Any], JavaPlan] = {}

    def of(self, packet_class: type[Any]) -> JavaPlan:
        """Return the plan of a class; at first it is compiled, with those of all classes in its fields."""
        if packet_class not in self._plans:
            made = dict(self._plans)
            todo, new = [packet_class], {}
            while todo:
                current = todo.pop()
                if current not in made:
                    made[current] = JavaPlan()
                    new[current] = java_fields(current, self._fields_of(current))
                    todo += [nested for _, kind in new[current][0] for nested in kind.packets()]
            for current, (fields, plain) in new.items():
                plan = made[current]
                plan.start = b"\x01" if plain == len(fields) else b""
                plan.write = writer(made, fields, plain)
                plan.write_any = careful_object(current, fields, plain, lambda other: made[other].write_any)
                plan.read = reader(made, current, fields, plain)
            # Whatever is reachable from it was made with it, or before.
            named = {other for fields, _ in new.values() for _, kind in fields for other in kind.packets()}
            charged = any(made[other].is_charged for other in named if other not in new)
            charged = charged or any(_is_charged(fields, plain) for fields, plain in new.values())
            for current in new:
                made[current].is_charged = charged
            self._plans.update(made)  # whole plans only: other threads read here
        return self._plans[packet_class]


def _is_charged(fields: list[tuple[str, FieldType]], plain: int) -> bool:
    return plain < len(fields) or any(one.kind in KEYED for _, kind in fields for one in all_types(kind))
