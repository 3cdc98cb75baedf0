"""The types that a field of a packet may have, read from the annotations of its class.

The codecs know exactly these (Java has no ``tuple[A, B]``); everything else is refused where the packet is declared,
not when it is sent.
"""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec

from zfoo_py.errors import PacketError
from zfoo_py.protocol.frozen_map import FrozenMap
from zfoo_py.protocol.java_types import Width, Wire, wire_name

__all__ = ["KEY_KINDS", "SUPPORTED", "FieldType", "Fields", "read_fields", "read_with_nested", "type_argument"]

SUPPORTED = (
    "bool, int, float, str, bytes, Byte, Short, Int, Long, Float, Double, a packet class, list[T], set[T], "
    "frozenset[T], dict[K, V], FrozenMap[K, V], tuple[A, B], tuple[T, ...], and any of these with `| None`"
)
_SCALARS: dict[Any, str] = {bool: "bool", int: "int", float: "float", str: "str", bytes: "bytes"}
# How many types stand in the brackets; tuple is read apart.
_CONTAINERS: dict[Any, tuple[str, int]] = {
    list: ("list", 1),
    set: ("set", 1),
    frozenset: ("frozenset", 1),
    dict: ("dict", 2),
    FrozenMap: ("map", 2),
}
_EXAMPLES = {
    list: "list[str]",
    set: "set[str]",
    frozenset: "frozenset[str]",
    dict: "dict[str, int]",
    FrozenMap: "FrozenMap[str, int]",
    tuple: "tuple[str, ...]",
}
# Deeper types would pass the limit of nested loops in one Python function (20), in which plan.py writes them.
MAX_TYPE_DEPTH = 16
# Kinds of a field that `balance_by` may name: what is a key of the balancers as it stands.
KEY_KINDS = frozenset({*_SCALARS.values(), "tuple", "series"})


class FieldType(msgspec.Struct, frozen=True):
    """One type.

    Attributes:
        kind: "bool", "int", "float", "str", "bytes", "packet", "list", "set", "frozenset", "dict", "map"
            (`FrozenMap`), "tuple" (fixed length) or "series" (``tuple[T, ...]``).
        items: element types: one of a list, set or series, key and value of a dict, each of a tuple.
        packet: the class of a packet.
        nullable: whether None is a value too.
        width: of a number, Java's name of its type where one is given; "" is as many bits as the codec has.
        wire: what a field is to Java peers, where that is given.
    """

    kind: str
    items: tuple[FieldType, ...] = ()
    packet: type[Any] | None = None
    nullable: bool = False
    width: str = ""
    wire: Wire | None = None

    @property
    def text(self) -> str:
        """The type as one writes it."""
        if self.packet is not None:
            name = self.packet.__name__
        elif self.kind == "series":
            name = f"tuple[{self.items[0].text}, ...]"
        elif self.kind == "tuple":
            name = f"tuple[{', '.join(item.text for item in self.items) or '()'}]"
        elif self.width:
            name = self.width.capitalize()
        else:
            name = "FrozenMap" if self.kind == "map" else self.kind
            name = f"{name}[{', '.join(item.text for item in self.items)}]" if self.items else name
        return f"{name} | None" if self.nullable else name

    @property
    def depth(self) -> int:
        """How many containers are within one another."""
        return 1 + max((item.depth for item in self.items), default=0) if self.kind not in _SCALARS.values() else 0

    def packets(self) -> Iterator[type[Any]]:
        """Yield the packet classes that this type names."""
        if self.packet is not None:
            yield self.packet
        for item in self.items:
            yield from item.packets()


# The fields of one class, in wire order.
Fields = Mapping[str, FieldType]


class _UnsupportedError(Exception):
    """The type, and why it is not supported."""

    def __init__(self, annotation: object, why: str = "") -> None:
        self.name = annotation.__qualname__ if isinstance(annotation, type) else str(annotation)
        self.why = why
        super().__init__(self.name)


def read_fields(packet_class: type[Any], base: type[Any], scope: Mapping[str, object], where: str) -> Fields:
    """Read the fields of one packet class. O(fields).

    Args:
        packet_class: the class.
        base: what a packet class must inherit from.
        scope: names that string annotations may use besides those of the class's module.
        where: the place to name in errors, "file:line".

    Raises:
        NameError: a string annotation names what is not there (yet).
        PacketError: an annotation is of no supported type.
    """
    name = packet_class.__qualname__
    if getattr(packet_class, "__parameters__", ()):
        raise PacketError(
            f"{name} ({where}) is generic: a packet's fields must have one type; make a class for each use"
        )
    try:
        hints = typing.get_type_hints(packet_class, None, {packet_class.__name__: packet_class, **scope}, True)
    except NameError:
        raise
    except AttributeError as error:  # a module that is still being imported
        raise NameError(str(error)) from error
    except Exception as error:
        raise PacketError(f"the annotations of {name} ({where}) cannot be read: {error}") from error
    fields: dict[str, FieldType] = {}
    for field in packet_class.__struct_fields__:
        try:
            fields[field] = kind = _parse_field(hints[field], base)
            if kind.depth > MAX_TYPE_DEPTH:
                raise _UnsupportedError(kind.text, f"more than {MAX_TYPE_DEPTH} containers within one another")  # noqa: TRY301
        except _UnsupportedError as error:
            why = error.why or f"{error.name} is not supported"
            raise PacketError(f"field {name}.{field} ({where}): {why}; a field may be {SUPPORTED}") from None
    if fault := _wire_fault(packet_class, fields):
        raise PacketError(f"{name} ({where}): {fault}")
    return fields


def read_with_nested(
    packet_class: type[Any], base: type[Any], scope: Mapping[str, object], where: str
) -> dict[type[Any], Fields]:
    """Read a class and every packet class reachable through its fields. O(all their fields).

    Raises:
        NameError: as `read_fields`.
        PacketError: as `read_fields`, and for a set or dict whose elements or keys cannot be hashed.
    """
    found: dict[type[Any], Fields] = {}
    todo = [packet_class]
    while todo:
        current = todo.pop()
        if current in found:
            continue
        # A local scope says nothing about classes of another module.
        names = scope if current.__module__ == packet_class.__module__ else {}
        place = where if current is packet_class else f"{where}, through {packet_class.__qualname__}"
        found[current] = read_fields(current, base, names, place)
        todo += [nested for kind in found[current].values() for nested in kind.packets()]
    for current, fields in found.items():
        for field, kind in fields.items():
            if bad := _unhashable(kind, found):
                raise PacketError(
                    f"field {current.__qualname__}.{field} ({where}): {bad} cannot be hashed, so it can be neither "
                    f"an element of a set nor a key of a dict; use tuples instead of lists"
                )
    return found


def type_argument(
    packet_class: type[Any], generic: type[Any], mapped: Mapping[str, object], scope: Mapping[str, object]
) -> object:
    """Return what stands in the brackets of ``generic[...]`` among the bases of a class, or their bases.

    `mapped` and `scope` are names for forward references, after and before those of the class's module.

    Raises:
        NameError: a forward reference names what is not there (yet).
    """
    found = _argument(packet_class, generic)
    if not isinstance(found, typing.ForwardRef):
        return found
    module = sys.modules.get(packet_class.__module__)
    names = {**mapped, **(vars(module) if module else {}), **scope}
    try:
        return eval(found.__forward_arg__, names)  # noqa: S307 - the user's own annotation, as get_type_hints does
    except AttributeError as error:  # a module that is still being imported
        raise NameError(str(error)) from error


def _argument(packet_class: type[Any], generic: type[Any]) -> object:
    for base in packet_class.__dict__.get("__orig_bases__", packet_class.__bases__):
        origin = typing.get_origin(base) or base
        if not (isinstance(origin, type) and issubclass(origin, generic)):
            continue
        args = typing.get_args(base)
        if origin is generic:
            return args[0] if args else None
        inner = _argument(origin, generic)
        parameters = getattr(origin, "__parameters__", ())
        return args[parameters.index(inner)] if args and inner in parameters else inner
    return None


def _parse_field(annotation: object, base: type[Any]) -> FieldType:
    """Read a field's whole annotation, in which there may be a `Wire`."""
    if typing.get_origin(annotation) is not Annotated:
        return _parse(annotation, base)
    inner, *notes = typing.get_args(annotation)
    wires = [note for note in notes if isinstance(note, Wire)]
    others = tuple(note for note in notes if not isinstance(note, Wire))
    if len(wires) > 1:
        raise _UnsupportedError(annotation, "it has more than one Wire(...)")
    kind = _parse(Annotated[(inner, *others)] if others else inner, base)
    return msgspec.structs.replace(kind, wire=wires[0]) if wires else kind


def _wire_fault(packet_class: type[Any], fields: Fields) -> str:
    """Return what keeps Java peers from telling the fields of a class apart, or ""."""
    names: dict[str, str] = {}
    orders: dict[int, str] = {}
    required = set(_required(packet_class))
    for field, kind in fields.items():
        wire = kind.wire or Wire()
        if not wire.java:
            if field in required:
                return f"{field} is not for Java peers, so it needs a default"
            continue
        other = names.setdefault(wire.name or wire_name(field), field)
        if other != field:
            return f"{other} and {field} have the same name for Java peers: give one a Wire(name=...)"
        if wire.compatible is not None and (other := orders.setdefault(wire.compatible, field)) != field:
            return f"{other} and {field} have the same compatible={wire.compatible}: each needs a number of its own"
    return ""


def _required(packet_class: type[Any]) -> Iterator[str]:
    """Yield the fields without default."""
    fields, defaults = packet_class.__struct_fields__, packet_class.__struct_defaults__
    yield from fields[: len(fields) - len(defaults)]
    for field, default in zip(fields[len(fields) - len(defaults) :], defaults, strict=True):
        if default is msgspec.NODEFAULT:
            yield field


def _parse(annotation: object, base: type[Any]) -> FieldType:
    if annotation in _SCALARS or typing.get_origin(annotation) is Annotated:
        return _parse_scalar(annotation)
    if isinstance(annotation, type) and not typing.get_origin(annotation) and issubclass(annotation, base):
        if annotation is base:
            raise _UnsupportedError(annotation, f"{annotation.__name__} has no fields: name a class derived from it")
        if getattr(annotation, "__parameters__", ()):
            raise _UnsupportedError(
                annotation, f"{annotation.__name__} is generic: name a class with one type for each field"
            )
        return FieldType("packet", packet=annotation)
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in {typing.Union, types.UnionType}:
        return _parse_union(annotation, args, base)
    if origin is tuple and annotation is not typing.Tuple:  # noqa: UP006 - somebody may have written it
        if len(args) == 2 and args[1] is Ellipsis:
            return FieldType("series", (_parse(args[0], base),))
        return FieldType("tuple", tuple(_parse(arg, base) for arg in args))
    if origin in _CONTAINERS and len(args) == _CONTAINERS[origin][1]:
        return FieldType(_CONTAINERS[origin][0], tuple(_parse(arg, base) for arg in args))
    for bare, example in _EXAMPLES.items():
        if annotation is bare or origin is bare:  # list or typing.List
            raise _UnsupportedError(annotation, f"{bare.__name__} does not say what is in it: write {example}, say")
    raise _UnsupportedError(annotation)


def _parse_scalar(annotation: Any) -> FieldType:
    if typing.get_origin(annotation) is not Annotated:
        return FieldType(_SCALARS[annotation])
    inner, *notes = typing.get_args(annotation)
    if inner not in {int, float} or len(notes) != 1 or not isinstance(notes[0], Width):
        raise _UnsupportedError(
            annotation, f"{annotation} says more than a type; Wire(...) stands in a field's own Annotated[...]"
        )
    return FieldType(_SCALARS[inner], width=notes[0].name)


def _parse_union(annotation: object, args: tuple[Any, ...], base: type[Any]) -> FieldType:
    others = [arg for arg in args if arg is not types.NoneType]
    if len(others) != 1 or len(others) == len(args):
        raise _UnsupportedError(annotation, f"{annotation} has more than one type besides None")
    return msgspec.structs.replace(_parse(others[0], base), nullable=True)


def _unhashable(kind: FieldType, found: Mapping[type[Any], Fields]) -> str:
    """Return the text of the first element or key type that cannot be hashed, or ""."""
    if kind.kind in {"set", "frozenset", "dict", "map"} and not _is_hashable(kind.items[0], found, set()):
        return kind.items[0].text
    return next(filter(None, (_unhashable(item, found) for item in kind.items)), "")


def _is_hashable(kind: FieldType, found: Mapping[type[Any], Fields], seen: set[type[Any]]) -> bool:
    if kind.kind in {"list", "set", "dict"}:
        return False
    if kind.packet is not None and kind.packet not in seen:
        seen.add(kind.packet)
        return all(_is_hashable(field, found, seen) for field in found[kind.packet].values())
    return all(_is_hashable(item, found, seen) for item in kind.items)
