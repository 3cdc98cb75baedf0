"""Functions made for each packet class, as zfoo makes bytecode: packet → bytes of Java zfoo, and back.

Field order: ordinary fields by Java name, then those with ``compatible=`` by that number. None is Java's null wherever
it stands: written as 0, false, empty or one 0 byte, and read back as such (a packet that is null is None).

* ``write(packet)`` returns the bytes of an object. Raises MismatchError, and EncodeError's other causes.
* ``read(data, position, memory)`` returns (packet or None, next position); ``memory`` is `memory_for` the message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from zfoo_py.errors import PacketError
from zfoo_py.protocol.coercion import argument, attribute
from zfoo_py.protocol.field_types import Fields, FieldType
from zfoo_py.protocol.frozen_map import FrozenMap
from zfoo_py.protocol.java_bytes import SURROGATES
from zfoo_py.protocol.java_reading import READING, memory_for
from zfoo_py.protocol.java_types import Wire, wire_name
from zfoo_py.protocol.java_writing import WRITING, plain_value, slow_writer

__all__ = ["JavaPlan", "JavaPlans", "java_fields", "memory_for"]

# Kind → what it is when it is null or missing, as Python source.
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
_PYTHON_TYPE: Final = {"series": "tuple", "map": "FrozenMap"}
_MAPS: Final = frozenset({"dict", "map"})
_KEYED: Final = _MAPS | {"set", "frozenset"}
# Of numbers and bools: the least bytes of one, and zfoo's bound of how many a list may have.
_WIDTH_BYTES: Final = {"short": 2, "float": 4, "double": 8}
_LIST_LIMITS: Final = {
    "bool": 0x400_0000,
    "byte": 0x400_0000,
    "short": 0x8_0000,
    "int": 0x4_0000,
    "float": 0x4_0000,
    "long": 0x2_0000,
    "double": 0x2_0000,
}
_BYTES_LIMIT: Final = _LIST_LIMITS["byte"]
_OBJECTS_LIMIT: Final = 0x1_0000  # of other lists
_KEYED_LIMIT: Final = 0x8000  # of sets and maps


def java_fields(packet_class: type[Any], fields: Fields) -> tuple[list[tuple[str, FieldType]], int]:
    """Return the fields that Java peers know, in wire order, and how many of them are not compatible ones."""
    plain: list[tuple[str, str, FieldType]] = []
    compatible: list[tuple[int, str, FieldType]] = []
    for field, kind in fields.items():
        wire = kind.wire or Wire()
        if not wire.java:
            continue
        if any(item.kind == "tuple" for item in _all_types(kind)):
            raise PacketError(
                f"{packet_class.__qualname__}.{field} is {kind.text}, which Java zfoo does not have: "
                f"use tuple[T, ...] or a packet"
            )
        if wire.compatible is None:
            plain.append((wire.name or wire_name(field), field, kind))
        else:
            compatible.append((wire.compatible, field, kind))
    plain.sort(key=lambda entry: entry[0].encode("utf-16-be", "surrogatepass"))  # String.compareTo
    compatible.sort(key=lambda entry: entry[0])
    return [(field, kind) for _, field, kind in (*plain, *compatible)], len(plain)


class JavaPlan:
    """What is compiled for one packet class: `write` and `read`, as the module says.

    `is_charged`: whether `read` uses its ``memory``; it does for sets, maps and compatible fields, at any depth.
    """

    __slots__ = ("is_charged", "packet_class", "read", "write")
    is_charged: bool
    write: Callable[[Any], bytes]
    read: Callable[[bytes, int, list[int]], tuple[Any, int]]

    def __init__(self, packet_class: type[Any]) -> None:
        self.packet_class = packet_class


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
                    made[current] = JavaPlan(current)
                    new[current] = java_fields(current, self._fields_of(current))
                    todo += [nested for _, kind in new[current][0] for nested in kind.packets()]
            for current, (fields, plain) in new.items():
                code = _Code(made)
                made[current].write = code.writer(current, fields, plain)
                made[current].read = code.reader(current, fields, plain)
            # Whatever is reachable from it was made with it, or before.
            named = {other for fields, _ in new.values() for _, kind in fields for other in kind.packets()}
            charged = any(made[other].is_charged for other in named if other not in new)
            charged = charged or any(_is_charged(fields, plain) for fields, plain in new.values())
            for current in new:
                made[current].is_charged = charged
            self._plans.update(made)  # whole plans only: other threads read here
        return self._plans[packet_class]


class _Code:
    """Writes the functions of one class, and of the containers in its fields."""

    def __init__(self, plans: Mapping[type[Any], JavaPlan]) -> None:
        self._plans = plans
        self._count = 0
        self._names: dict[str, Any] = {"FrozenMap": FrozenMap, **WRITING, **READING}

    # --- packet → bytes

    def writer(
        self, packet_class: type[Any], fields: list[tuple[str, FieldType]], plain: int
    ) -> Callable[[Any], bytes]:
        """Make ``write``."""
        lines = ["if packet is None:", "    return ZERO"]
        parts = []
        for index, (field, kind) in enumerate(fields):
            where = f"{packet_class.__name__}.{field}"
            lines.append(f"v{index} = {attribute(field)}")
            if kind.kind in {"str", "bytes"}:
                lines += self._sized_writer(kind, f"v{index}", f"n{index}", where)
                parts += [f"INTS[n{index}] if n{index} < SMALL else write_int(n{index})", f"v{index}"]
            else:
                parts.append(self._expression(kind, f"v{index}", where))
        if plain == len(fields):
            lines.append(f"return {_joined(['ONE', *parts])}")
        else:
            lines += [f"data = {_joined(parts)}", "return sized(data)"]
        made: Callable[[Any], bytes] = self._function("packet", lines)
        return made

    def _sized_writer(self, kind: FieldType, value: str, size: str, where: str) -> list[str]:
        """Write: make a str or bytes the bytes to send, and count them."""
        lines = [
            f"if type({value}) is not {kind.kind}:",
            f"    {value} = {self._name('w', plain_value(kind, where))}({value})",
        ]
        if kind.kind == "str":
            lines.append(f"{value} = {value}.encode('utf-8', {SURROGATES!r})")
        return [*lines, f"{size} = len({value})"]

    def _expression(self, kind: FieldType, value: str, where: str) -> str:
        """Write an expression: the bytes of `value`, which is a name."""
        slow = self._name("w", slow_writer(kind, where))
        if kind.packet is not None:
            plan, packet_class = self._name("p", self._plans[kind.packet]), self._name("c", kind.packet)
            return f"({plan}.write({value}) if type({value}) is {packet_class} else {slow}({value}))"
        if kind.items:
            return f"{self._name('f', self._container_writer(kind, where, slow))}({value})"
        size, data = self._name("n"), self._name("b")
        count = f"(INTS[{size}] if ({size} := len(%s)) < SMALL else write_int({size}))"
        encoded = f"{data} := {value}.encode('utf-8', {SURROGATES!r})"
        large = f"write_int({value}) if -%d <= {value} < %d else {slow}({value})"
        fast = {
            "bool": f"(ONE if {value} else ZERO)",
            "byte": f"(BYTES[{value}] if -128 <= {value} <= 127 else {slow}({value}))",
            "short": f"(pack_short({value}) if -32768 <= {value} <= 32767 else {slow}({value}))",
            "int": f"(INTS[{value}] if -SMALL <= {value} < SMALL else {large % (0x8000_0000, 0x8000_0000)})",
            "long": f"(INTS[{value}] if -SMALL <= {value} < SMALL else {large % (1 << 63, 1 << 63)})",
            "float": f"{slow}({value})",
            "double": f"pack_double({value})",
            "str": f"{count % encoded} + {data}",
            "bytes": f"{count % value} + {value}",
        }[_width(kind)]
        return f"({fast} if type({value}) is {kind.kind} else {slow}({value}))"

    def _container_writer(self, kind: FieldType, where: str, slow: str) -> Callable[[Any], bytes]:
        wanted = _PYTHON_TYPE.get(kind.kind, kind.kind)
        limit = _limit(kind)
        lines = [f"if type(value) is not {wanted}:", f"    value = {slow}(value)"]
        if kind.kind in _MAPS:
            key = self._expression(kind.items[0], "k", f"{where} (a key)")
            item = self._expression(kind.items[1], "i", f"{where} (a value)")
            lines.append(f"parts = [{key} + {item} for k, i in value.items()]")
        elif kind.items[0].kind in {"str", "bytes"}:
            each = self._sized_writer(kind.items[0], "i", "n", f"{where} (an element)")
            each.append("parts.append((INTS[n] if n < SMALL else write_int(n)) + i)")
            lines += ["parts = []", "for i in value:", *_indented(each)]
        else:
            lines.append(f"parts = [{self._expression(kind.items[0], 'i', f'{where} (an element)')} for i in value]")
        lines += [
            "size = len(parts)",
            "if size < SMALL:",
            "    return INTS[size] + join(parts)",
            f"if size >= {limit}:",
            f"    raise too_many({where!r}, size, {limit})",
            "return write_int(size) + join(parts)",
        ]
        return self._function("value", lines)

    # --- bytes → packet

    def reader(
        self, packet_class: type[Any], fields: list[tuple[str, FieldType]], plain: int
    ) -> Callable[[bytes, int, list[int]], tuple[Any, int]]:
        """Make ``read``."""
        self._names["packet_class"] = packet_class
        lines = ["last = len(data)"]
        if plain == len(fields):
            lines += ["if data[p] == 1:", "    size = end = -1", "    p += 1", "else:"]
        start = [*_read_size("size"), "if size == 0:", "    return None, p", "end = p + size"]
        start += ["if end > last:", "    raise too_short()"]
        lines += _indented(start) if plain == len(fields) else start
        for index, (field, kind) in enumerate(fields):
            read = self._read(kind, f"v{index}", f"{packet_class.__name__}.{field}")
            if index < plain:
                lines += read
            else:
                missing = [f"v{index} = {_EMPTY[kind.kind]}", f"memory[0] -= {_EMPTY_BYTES.get(kind.kind, 8)}"]
                lines += ["if p < end:", *_indented(read), "else:", *_indented(missing)]
        if plain < len(fields):
            lines += ["if memory[0] < 0:", "    raise too_much()"]
        lines += ["if size > 0 and p != end:", "    if p > end:", "        raise too_long()", "    p = end"]
        lines += ["if p > last:", "    raise too_short()"]
        given = ", ".join(argument(field, f"v{index}") for index, (field, _) in enumerate(fields))
        lines.append(f"return packet_class({given}), p")
        return self._function("data, p, memory", lines)

    def _read(self, kind: FieldType, to: str, where: str) -> list[str]:
        """Write: read one value at `p` into the name `to`."""
        if kind.packet is not None:
            return [f"{to}, p = {self._name('p', self._plans[kind.packet])}.read(data, p, memory)"]
        if kind.items:
            return [f"{to}, p = {self._name('r', self._container_reader(kind, where))}(data, p, memory)"]
        width = _width(kind)
        if width in {"int", "long"}:
            return _read_size(to, width)
        if width in {"bool", "byte"}:
            return [f"{to} = {'data[p] != 0' if width == 'bool' else 'signed(data[p])'}", "p += 1"]
        if width in _WIDTH_BYTES:
            return [f"({to},) = unpack_{width}(data, p)", f"p += {_WIDTH_BYTES[width]}"]
        decoded = ".decode()" if kind.kind == "str" else ""
        # A slice past the end is short, and then `p` is past it: seen at the next byte, or at the end of the object.
        return [
            "n = data[p]",
            "if n < 128:",
            "    p += 1",
            f"    {to} = data[p : (p := p + SIZES[n])]{decoded}",
            "else:",
            "    n, p = read_int(data, p, n)",
            f"    {to} = data[p : (p := p + max(n, 0))]{decoded}",
        ]

    def _container_reader(self, kind: FieldType, where: str) -> Callable[..., tuple[Any, int]]:
        many = ["count, p = read_int(data, p, count)", f"if count >= {_limit(kind)}:"]
        many.append(f"    raise too_many({where!r}, count, {_limit(kind)})")
        least = sum(map(_least_bytes, kind.items))
        lines = ["start = p"] if kind.kind in _KEYED else []
        lines += ["count = data[p]", "if count < 128:", "    count = UNZIGZAG[count]", "    p += 1"]
        lines += ["else:", *_indented(many), "if count <= 0:"]
        lines.append(f"    return {self._keep(kind, _EMPTY[kind.kind])}")
        lines += [f"if count * {least} > len(data) - p:", "    raise too_short()"]
        lines += self._read_items(kind, where)
        lines.append(f"return {self._keep(kind, _made(kind))}")
        return self._function("data, p, memory", lines)

    @staticmethod
    def _keep(kind: FieldType, value: str) -> str:
        """Write: the value with its next position; a table of hashes is charged to the message's memory."""
        if kind.kind not in _KEYED:
            return f"{value}, p"
        own = "p - start" if not any(item.items or item.packet for item in kind.items) else "max(count, 0) + 1"
        return f"charged({value}, {own}, memory), p"

    def _read_items(self, kind: FieldType, where: str) -> list[str]:
        if kind.kind in _MAPS:
            key = self._read(kind.items[0], "k", f"{where} (a key)")
            item = self._read(kind.items[1], "i", f"{where} (a value)")
            return ["made = {}", "for _ in range(count):", *_indented([*key, *item, "made[k] = i"])]
        width = _width(kind.items[0])
        if width in {"int", "long"} and not kind.items[0].packet:
            return [f"made, p = read_{width}_list(data, p, count)"]
        if width in {"bool", "byte"}:
            each = "i != 0" if width == "bool" else "signed(i)"
            return [f"made = [{each} for i in data[p : p + count]]", "p += count"]
        if width in _WIDTH_BYTES:
            letter, size = {"short": "h", "float": "f", "double": "d"}[width], _WIDTH_BYTES[width]
            return [f"made = list(unpack_from('>%d{letter}' % count, data, p))", f"p += {size} * count"]
        item = self._read(kind.items[0], "i", f"{where} (an element)")
        return ["made = []", "for _ in range(count):", *_indented([*item, "made.append(i)"])]

    # --- inside

    def _function(self, arguments: str, lines: list[str]) -> Callable[..., Any]:
        source = "\n".join([f"def function({arguments}):", *_indented(lines)])
        exec(source, self._names)  # noqa: S102 - field names are identifiers, everything else is written here
        made: Callable[..., Any] = self._names["function"]
        return made

    def _name(self, letter: str, constant: object = None) -> str:
        """Return a name of its own; of a constant if one is given."""
        self._count += 1
        name = f"{letter}_{self._count}"
        if constant is not None:
            self._names[name] = constant
        return name


def _is_charged(fields: list[tuple[str, FieldType]], plain: int) -> bool:
    return plain < len(fields) or any(one.kind in _KEYED for _, kind in fields for one in _all_types(kind))


def _all_types(kind: FieldType) -> Iterable[FieldType]:
    yield kind
    for item in kind.items:
        yield from _all_types(item)


def _width(kind: FieldType) -> str:
    """Return Java's type of a number, else the kind."""
    return kind.width or {"int": "long", "float": "double"}.get(kind.kind, kind.kind)


def _limit(kind: FieldType) -> int:
    """Return the count at which Java's readers refuse a container."""
    if kind.kind in _KEYED:
        return _KEYED_LIMIT
    return _LIST_LIMITS.get(_width(kind.items[0]), _OBJECTS_LIMIT)


def _least_bytes(kind: FieldType) -> int:
    return _WIDTH_BYTES.get(_width(kind), 1)


def _made(kind: FieldType) -> str:
    if kind.kind in {"list", "dict"}:
        return "made"
    return f"{_PYTHON_TYPE.get(kind.kind, kind.kind)}(made)"


def _read_size(to: str, width: str = "int") -> list[str]:
    """Write: read an int or long at `p` into the name `to`."""
    return [
        f"{to} = data[p]",
        f"if {to} < 128:",
        f"    {to} = UNZIGZAG[{to}]",
        "    p += 1",
        "else:",
        f"    {to}, p = read_{width}(data, p, {to})",
    ]


def _joined(parts: list[str]) -> str:
    return f"join(({', '.join(parts)},))" if len(parts) != 1 else parts[0]


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" for line in lines]
