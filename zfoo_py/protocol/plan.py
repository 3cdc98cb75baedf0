"""Functions made for each packet class: packet → fields for the wire, and back, with every type checked.

Each message crosses one of them on each side, so they are written out per class, compiled once, and run straight
down: a packet of four fields takes 0.3 µs each way where ``msgspec.convert`` takes 1 µs. They accept what it would
accept in strict mode (tests/protocol/test_plan.py proves it), and name class and field of what they refuse.

* `Plan.flatten` takes a packet apart. Values must be of the declared types as a type checker sees it, except: a bool
  is no int, and a packet must be of exactly the declared class. An int may stand for a float and is sent as given; a
  set may be any iterable but a str, bytes or a map, and is sent in its order. A `Byte` and the like must be in range.
* `Plan.build` makes the packet from what msgpack unpacked; arrays are lists, or tuples in the key of a map. Missing
  trailing fields get their defaults; fields beyond the declared ones are a newer peer's, and ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from zfoo_py.protocol.coercion import MismatchError, argument, attribute, exact, in_order, out_of_range, refused
from zfoo_py.protocol.field_types import Fields, FieldType
from zfoo_py.protocol.frozen_map import FrozenMap
from zfoo_py.protocol.hashes import is_composed, spread
from zfoo_py.protocol.java_types import MAX_FLOAT, RANGES
from zfoo_py.protocol.sets_in_order import FrozenSetInOrder, SetInOrder

__all__ = ["Plan", "Plans"]

# Kind → name of the type, where they differ: in a packet, and in what msgpack unpacks.
_PYTHON_TYPE = {"series": "tuple", "map": "FrozenMap"}
_ARRIVES_AS = dict.fromkeys(("set", "frozenset", "tuple", "series", "map"), "list")
# Kinds of which the elements must hash: in a set, and in the key of a map.
_SETS = frozenset({"set", "frozenset"})


class Plan:
    """What is compiled for one packet class.

    Attributes:
        flatten: packet → its fields as msgpack packs them, in a tuple. Raises MismatchError. O(size).
        build: unpacked array → packet. Raises MismatchError, and what the class's __post_init__ raises. O(size).
    """

    __slots__ = ("_fields", "_keeps_order", "_nested", "_packet_class", "_required", "_shorter", "build", "flatten")
    flatten: Callable[[Any], tuple[Any, ...]]
    build: Callable[[Any], Any]

    def __init__(self, packet_class: type[Any], fields: Fields) -> None:
        self._packet_class = packet_class
        self._fields = tuple(fields.items())
        self._nested: Mapping[type[Any], Plan] = {}
        self._shorter: dict[int, Callable[[Any], Any]] = {}
        # msgspec aligns the defaults with the last fields; keyword-only ones among them may have none.
        defaults = packet_class.__struct_defaults__
        self._required = len(fields) - len(defaults)
        for index, default in enumerate(defaults, self._required + 1):
            if default is msgspec.NODEFAULT:
                self._required = index

    def compile(self, nested: Mapping[type[Any], Plan], *, keeps_order: bool = False) -> None:
        """Make both functions; `nested` has the plans of the classes in the fields, compiled or not."""
        self._nested = nested
        self._keeps_order = keeps_order
        name = self._packet_class.__name__
        code = _Code(nested, {})
        values = _values(len(self._fields))
        lines = []
        for value, (field, kind) in zip(values, self._fields, strict=True):
            lines += [f"{value} = {attribute(field)}", *code.flatten(kind, value, f"{name}.{field}")]
        self.flatten = code.function("packet", [*lines, f"return {_tuple(values)}"])
        self.build = self._builder(len(self._fields))

    def _builder(self, count: int) -> Callable[[Any], Any]:
        """Make the function that builds from a list of `count` fields."""
        name = self._packet_class.__name__
        more = {"packet_class": self._packet_class, "build_other": self._build_other}
        code = _Code(self._nested, {**more, **(_IN_ORDER if self._keeps_order else {})})
        values = _values(count)
        lines = [f"if type(array) is not list or len(array) != {count}:", "    return build_other(array)"]
        if values:
            lines.append(f"{_tuple(values)} = array")
        for value, (field, kind) in zip(values, self._fields, strict=False):
            lines += code.build(kind, value, f"{name}.{field}")
        given = [
            argument(name, value) for value, (name, _) in zip(values, self._fields, strict=False)
        ]  # as fast as without
        return code.function("array", [*lines, f"return packet_class({', '.join(given)})"])

    def _build_other(self, array: Any) -> Any:
        """Build from an array of another length, or in the key of a map."""
        name = self._packet_class.__name__
        array = _as_list(name, "an array of fields", array)
        count = len(array)
        if count >= len(self._fields):
            return self.build(array[: len(self._fields)])
        if count < self._required:
            raise MismatchError(f"{name}.{self._fields[count][0]} is missing: {count} fields came")
        if count not in self._shorter:
            self._shorter[count] = self._builder(count)
        return self._shorter[count](array)


class Plans:
    """The plans of one codec, made at first use; any thread.

    Args:
        fields_of: gives the field types of a class; may raise PacketError.
        keeps_order: whether sets that are built remember the order they came in.
    """

    def __init__(self, fields_of: Callable[[type[Any]], Fields], *, keeps_order: bool = False) -> None:
        self._fields_of = fields_of
        self._keeps_order = keeps_order
        self._plans: dict[type[Any], Plan] = {}

    def of(self, packet_class: type[Any]) -> Plan:
        """Return the plan of a class; at first it is compiled, with those of all classes in its fields."""
        if packet_class not in self._plans:
            made = dict(self._plans)
            todo = [packet_class]
            while todo:
                current = todo.pop()
                if current not in made:
                    fields = self._fields_of(current)
                    made[current] = Plan(current, fields)
                    todo += [nested for kind in fields.values() for nested in kind.packets()]
            for current in made.keys() - self._plans.keys():
                made[current].compile(made, keeps_order=self._keeps_order)
            self._plans.update(made)  # whole plans only: other threads read here
        return self._plans[packet_class]


class _Code:
    """Writes the lines of one function, and the names they use."""

    def __init__(self, nested: Mapping[type[Any], Plan], names: Mapping[str, object]) -> None:
        self._nested = nested
        self._count = 0
        self._names: dict[str, object] = {**_HELPERS, **names}

    def function(self, argument: str, lines: list[str]) -> Callable[[Any], Any]:
        """Compile a function of one argument."""
        source = "\n".join([f"def function({argument}):", *_indented(lines)])
        exec(source, self._names)  # noqa: S102 - field names are identifiers, everything else is written here
        made: Callable[[Any], Any] = self._names["function"]  # type: ignore[assignment]
        return made

    def flatten(self, kind: FieldType, value: str, where: str) -> list[str]:
        """Write: check `value`, and replace it by what msgpack is to pack."""
        if kind.nullable:
            inner = self.flatten(msgspec.structs.replace(kind, nullable=False), value, where)
            return [f"if {value} is not None:", *_indented(inner)]
        if kind.packet is not None:
            packet_class = self._name("c", kind.packet)
            plan = self._name("p", self._nested[kind.packet])
            check = [f"if type({value}) is not {packet_class}:", f"    {_refusal(kind, value, where)}"]
            return [*check, f"{value} = {plan}.flatten({value})"]
        wanted = _PYTHON_TYPE.get(kind.kind, kind.kind)
        test = f"type({value}) is not {wanted}"
        if kind.kind == "float":
            test += f" and type({value}) is not int"
        replaced = f"in_order({where!r}, {kind.text!r}, {value})"
        if kind.kind not in _SETS:
            replaced = f"exact({where!r}, {kind.text!r}, {wanted}, {value})"
        lines = [f"if {test}:", f"    {value} = {replaced}"]
        lines += _range_check(kind, value, where)
        lines += self._items(self.flatten, kind, value, where, changes=not _packs_as_is(kind.items))
        if kind.kind == "set" and _packs_as_is(kind.items):
            lines.append(f"{value} = list({value})")
        elif kind.kind == "map":
            lines.append(f"{value} = tuple({value}.items())")
        elif kind.kind == "frozenset" or (kind.kind == "series" and not _packs_as_is(kind.items)):
            lines.append(f"{value} = tuple({value})")  # it may be the key of a dict
        return lines

    def build(self, kind: FieldType, value: str, where: str) -> list[str]:
        """Write: check the unpacked `value`, and replace it by what the packet is to hold."""
        if kind.nullable:
            inner = self.build(msgspec.structs.replace(kind, nullable=False), value, where)
            return [f"if {value} is not None:", *_indented(inner)]
        if kind.packet is not None:
            return [f"{value} = {self._name('p', self._nested[kind.packet])}.build({value})"]
        refusal = _refusal(kind, value, where)
        if kind.kind == "float":
            other = [f"if type({value}) is not int:", f"    {refusal}", f"{value} = float({value})"]
            return [f"if type({value}) is not float:", *_indented(other), *_range_check(kind, value, where)]
        lines = [f"if type({value}) is not {_ARRIVES_AS.get(kind.kind, kind.kind)}:"]
        if _ARRIVES_AS.get(kind.kind) and kind.kind != "set":  # only they can be the key of a map
            lines.append(f"    {value} = as_list({where!r}, {kind.text!r}, {value})")
        else:
            lines.append(f"    {refusal}")
        if kind.kind == "map":
            lines.append(f"{value} = as_pairs({where!r}, {kind.text!r}, {value})")
        lines += _range_check(kind, value, where)
        lines += self._items(self.build, kind, value, where, changes=not _unpacks_as_is(kind.items))
        if kind.kind in {"set", "frozenset", "series", "map"}:
            given = f"spread({value})" if kind.kind in _SETS and is_composed(kind.items[0]) else value
            lines.append(f"{value} = {_PYTHON_TYPE.get(kind.kind, kind.kind)}({given})")
        elif kind.kind == "tuple" and _unpacks_as_is(kind.items):
            lines.append(f"{value} = tuple({value})")
        return lines

    def _items(
        self,
        step: Callable[[FieldType, str, str], list[str]],
        kind: FieldType,
        value: str,
        where: str,
        *,
        changes: bool,
    ) -> list[str]:
        """Write: apply `step` to what is inside `value`; make a new container only if that changes it."""
        if kind.kind == "tuple":
            parts = [self._name("t") for _ in kind.items]
            lines = [f"if len({value}) != {len(parts)}:", f"    {_refusal(kind, value, where)}"]
            if parts:
                lines.append(f"{_tuple(parts)} = {value}")
            for index, (part, inner) in enumerate(zip(parts, kind.items, strict=True)):
                lines += step(inner, part, f"{where}[{index}]")
            return [*lines, f"{value} = {_tuple(parts)}"] if changes else lines
        if not kind.items:
            return []
        new, key, item = self._name("n"), self._name("k"), self._name("i")
        if kind.kind in {"dict", "map"}:
            lines = step(kind.items[0], key, f"{where} (a key)") + step(kind.items[1], item, f"{where} (a value)")
            items = value if kind.kind == "map" and step == self.build else f"{value}.items()"
            head, empty, keep = f"for {key}, {item} in {items}:", "{}", f"{new}[{key}] = {item}"
        else:
            lines = step(kind.items[0], item, f"{where} (an element)")
            head, empty, keep = f"for {item} in {value}:", "[]", f"{new}.append({item})"
        if step == self.build and kind.kind in {"dict", "map"} and is_composed(kind.items[0]):
            keys = self._name("l")
            lines += [f"{keys}.append({key})", f"{new}.append({item})"]
            made = f"{value} = dict(zip(spread({keys}), {new}))"
            return [f"{keys}, {new} = [], []", head, *_indented(lines), made]
        if not changes:
            return [head, *_indented(lines)]
        return [f"{new} = {empty}", head, *_indented([*lines, keep]), f"{value} = {new}"]

    def _name(self, letter: str, constant: object = None) -> str:
        """Return a name of its own; of a constant if one is given."""
        self._count += 1
        name = f"{letter}_{self._count}"
        if constant is not None:
            self._names[name] = constant
        return name


def _packs_as_is(items: Iterable[FieldType]) -> bool:
    """Whether msgpack packs values of all these types without help."""
    changed = {"packet", "set", "frozenset", "map"}
    return all(item.kind not in changed and _packs_as_is(item.items) for item in items)


def _unpacks_as_is(items: Iterable[FieldType]) -> bool:
    """Whether what msgpack unpacks is, once checked, the value itself (an int may stand for a float)."""
    changed = {"packet", "set", "frozenset", "map", "tuple", "series", "float"}
    return all(item.kind not in changed and _unpacks_as_is(item.items) for item in items)


def _values(count: int) -> list[str]:
    return [f"v{index}" for index in range(count)]


def _tuple(names: list[str]) -> str:
    return f"({', '.join(names)}{',' if len(names) == 1 else ''})"


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _range_check(kind: FieldType, value: str, where: str) -> list[str]:
    """Write: refuse a number that Java's type cannot hold. A plain int or float is as wide as the codec has it."""
    if kind.width in RANGES:
        low, high = RANGES[kind.width]
        return [f"if not {low} <= {value} <= {high}:", f"    raise out_of_range({where!r}, {kind.text!r}, {value})"]
    if kind.width == "float":
        return [
            f"if not -{MAX_FLOAT} <= {value} <= {MAX_FLOAT} and {value} - {value} == 0:",  # neither infinite nor NaN
            f"    raise out_of_range({where!r}, {kind.text!r}, {value})",
        ]
    return []


def _refusal(kind: FieldType, value: str, where: str) -> str:
    return f"raise refused({where!r}, {kind.text!r}, {value})"


# --- called by the functions made


def _as_list(where: str, expected: str, value: Any) -> list[Any]:
    """Return an array as a list; in the key of a map it is a tuple."""
    if type(value) is tuple:
        return list(value)
    if type(value) is not list:
        raise refused(where, expected, value)
    return value


def _as_pairs(where: str, expected: str, value: list[Any]) -> list[Any]:
    """Return an array of [key, value], checked."""
    for pair in value:
        if type(pair) not in {list, tuple} or len(pair) != 2:
            raise refused(f"{where} (a pair)", expected, pair)
    return value


# What stands for set and frozenset in functions that keep the order.
_IN_ORDER: dict[str, object] = {"set": SetInOrder, "frozenset": FrozenSetInOrder}
# What the functions made may name.
_HELPERS: dict[str, object] = {
    "FrozenMap": FrozenMap,
    "as_list": _as_list,
    "as_pairs": _as_pairs,
    "exact": exact,
    "in_order": in_order,
    "out_of_range": out_of_range,
    "refused": refused,
    "spread": spread,
}
