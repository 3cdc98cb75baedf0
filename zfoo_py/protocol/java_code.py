"""What `java_writing` and `java_reading` share: source written and compiled, and what Java's readers take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from zfoo_py.errors import PacketError
from zfoo_py.protocol.coercion import MismatchError
from zfoo_py.protocol.field_types import Fields, FieldType

__all__ = [
    "KEYED",
    "MAPS",
    "PYTHON_TYPE",
    "SETS",
    "WIDTHS",
    "Code",
    "all_types",
    "for_java",
    "indented",
    "limit_of",
    "too_many",
    "width_of",
]

# Kind → name of its type, where they differ.
PYTHON_TYPE: Final = {"series": "tuple", "map": "FrozenMap"}
MAPS: Final = frozenset({"dict", "map"})
SETS: Final = frozenset({"set", "frozenset"})
KEYED: Final = MAPS | SETS
# Numbers and bools of a fixed width → letter of `struct`, bytes.
WIDTHS: Final = {"bool": ("?", 1), "byte": ("b", 1), "short": ("h", 2), "float": ("f", 4), "double": ("d", 8)}
# How many of them zfoo's readers refuse.
_LIST_LIMITS: Final = {
    "bool": 0x400_0000,
    "byte": 0x400_0000,
    "short": 0x8_0000,
    "int": 0x4_0000,
    "float": 0x4_0000,
    "long": 0x2_0000,
    "double": 0x2_0000,
}
_OBJECTS_LIMIT: Final = 0x1_0000  # of other lists
_KEYED_LIMIT: Final = 0x8000  # of sets and maps


class Code:
    """Writes functions, and keeps the names they use."""

    def __init__(self, names: Mapping[str, object]) -> None:
        self._names: dict[str, Any] = dict(names)
        self._count = 0

    def function(self, arguments: str, lines: list[str]) -> Callable[..., Any]:
        """Compile a function."""
        source = "\n".join([f"def function({arguments}):", *indented(lines)])
        exec(source, self._names)  # noqa: S102 - field names are identifiers, everything else is written here
        made: Callable[..., Any] = self._names["function"]
        return made

    def name(self, letter: str, constant: object = None) -> str:
        """Return a name of its own; of a constant if one is given."""
        self._count += 1
        name = f"{letter}_{self._count}"
        if constant is not None:
            self._names[name] = constant
        return name


def indented(lines: Iterable[str]) -> list[str]:
    """Return lines a level deeper."""
    return [f"    {line}" for line in lines]


def for_java(packet_class: type[Any], fields: Fields) -> dict[str, FieldType]:
    """Return the fields that Java peers know, in the order of declaration.

    Raises:
        PacketError: one of them is of a type that Java zfoo does not have.
    """
    known = {field: kind for field, kind in fields.items() if kind.wire is None or kind.wire.java}
    for field, kind in known.items():
        if any(item.kind == "tuple" for item in all_types(kind)):
            raise PacketError(
                f"{packet_class.__qualname__}.{field} is {kind.text}, which Java zfoo does not have: "
                f"use tuple[T, ...] or a packet"
            )
    return known


def all_types(kind: FieldType) -> Iterator[FieldType]:
    """Yield a type and those in it."""
    yield kind
    for item in kind.items:
        yield from all_types(item)


def width_of(kind: FieldType) -> str:
    """Return Java's type of a number, else the kind."""
    return kind.width or {"int": "long", "float": "double"}.get(kind.kind, kind.kind)


def limit_of(kind: FieldType) -> int:
    """Return the count at which Java's readers refuse a container."""
    if kind.kind in KEYED:
        return _KEYED_LIMIT
    return _LIST_LIMITS.get(width_of(kind.items[0]), _OBJECTS_LIMIT)


def too_many(where: str, count: int, limit: int) -> MismatchError:
    """Return the error of a container that Java does not read."""
    return MismatchError(f"{where}: {count} elements, and Java zfoo reads fewer than {limit}")
