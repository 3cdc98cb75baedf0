"""Python packets written from Java's: which classes are packets, the types of their fields, the text of the module."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from zfoo_py.cli.java_names import FROM_ZFOO_PY, LINE_LENGTH, class_name, docstring, field_name, snake, string
from zfoo_py.cli.java_source import JavaClass, JavaField, JavaType
from zfoo_py.errors import ConfigError
from zfoo_py.names import check_name
from zfoo_py.protocol.common import common
from zfoo_py.protocol.java_types import wire_name
from zfoo_py.protocol.packet import BUILT_IN, BUILT_IN_MODULES, USER_MODULE_IDS, USER_PROTOCOL_IDS
from zfoo_py.protocol.protocol_xml import XmlModule

__all__ = ["Fault", "Module", "assigned", "python_module"]

# Java type → Python type, and the default that an older peer's packet gets.
SCALARS: Final[Mapping[str, tuple[str, str]]] = {
    "boolean": ("bool", "False"),
    "Boolean": ("bool", "False"),
    "byte": ("Byte", "0"),
    "Byte": ("Byte", "0"),
    "short": ("Short", "0"),
    "Short": ("Short", "0"),
    "int": ("Int", "0"),
    "Integer": ("Int", "0"),
    "long": ("Long", "0"),
    "Long": ("Long", "0"),
    "float": ("Float", "0.0"),
    "Float": ("Float", "0.0"),
    "double": ("Double", "0.0"),
    "Double": ("Double", "0.0"),
    "String": ("str", '""'),
}
# Java's collections as zfoo takes them, and how many types stand in the brackets.
COLLECTIONS: Final = {"List": 1, "Set": 1, "Map": 2}
CONCRETE: Final = frozenset(
    {
        "ArrayList",
        "LinkedList",
        "HashSet",
        "LinkedHashSet",
        "TreeSet",
        "HashMap",
        "LinkedHashMap",
        "TreeMap",
        "Collection",
    }
)
# Its packets have their Python classes already, in zfoo_py.protocol.common.
ZFOO_PACKETS: Final = frozenset(
    binding.packet_class.__name__ for binding in BUILT_IN.bindings() if binding.module is common
)
# What an ask and its answer are called, end for end.
ANSWERS: Final = (("Ask", "Answer"), ("Request", "Response"), ("Req", "Res"), ("Req", "Resp"))


class Fault(NamedTuple):
    """What cannot be mapped, and why."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


class Module(NamedTuple):
    """A protocol module, and the packets in it by protocol id."""

    id: int
    name: str
    packets: dict[int, JavaClass]


class UnmappedError(Exception):
    """A type has no Python form."""


# ----------------------------------------------------------------------------------------- which classes are packets


def assigned(
    classes: Iterable[JavaClass], modules: Sequence[XmlModule], default: tuple[int, str] | None
) -> tuple[list[Module], list[Fault]]:
    """Find the packets among Java's classes, their modules and their ids, as zfoo does (zfoo.md section 2).

    Args:
        classes: all that were read.
        modules: of protocol.xml; its classes go before its packages.
        default: id and name of the module of what protocol.xml does not name; None: that is left out, and a fault.
    """
    faults: list[Fault] = []
    found: dict[str, Module] = {}
    taken: dict[object, JavaClass] = {}
    places = _Places(modules)
    candidates = [one for one in classes if not one.full_name.startswith("com.zfoo.net.")]
    for java in candidates:
        place = places.of(java)
        if place is None and not java.is_protocol:
            continue
        fault = _cannot_be_a_packet(java)
        module_id, name, xml_id = place or (*(default or (0, "")), None)
        if not fault and not name:
            fault = f"is in no module: {places.elsewhere(java)}"
        if not fault and module_id not in USER_MODULE_IDS:
            fault = f"is in module {module_id}; zfoo_py's users have {_span(USER_MODULE_IDS)}: give it another id there"
        fault = fault or _name_fault(name)
        number, id_fault = _id_of(java, xml_id)
        fault = fault or id_fault
        for key, what in ((number, f"protocol id {number}"), (java.name, f"class name {java.name}")):
            if not fault and key in taken:
                fault = f"has the {what} of {taken[key].full_name} ({taken[key].file}:{taken[key].line})"
        if fault:
            faults.append(Fault(java.file, java.line, f"{java.full_name} {fault}"))
            continue
        taken[number] = taken[java.name] = java
        module = found.setdefault(name, Module(module_id, name, {}))
        module.packets[number] = java
    names = {java.name for java in candidates}
    faults += places.missing(names)
    return sorted(found.values()), faults


class _Places:
    """Where protocol.xml puts a class: by its name, else by the longest package."""

    def __init__(self, modules: Sequence[XmlModule]) -> None:
        self._classes: dict[str, tuple[int, str, int | None]] = {}
        self._packages: list[tuple[str, tuple[int, str, None]]] = []
        self._where: dict[str, str] = {}
        for module in modules:
            for protocol in module.protocols:
                if protocol.is_zfoo:
                    continue
                # In Java a package has no id.
                if protocol.simple_name[:1].isupper() or protocol.protocol_id is not None:
                    location = protocol.location.replace("$", ".")
                    self._classes[location] = module.id, module.name, protocol.protocol_id
                    self._where[location] = protocol.where
                else:
                    self._packages.append((f"{protocol.location}.", (module.id, module.name, None)))
        self._packages.sort(key=lambda one: len(one[0]), reverse=True)

    def of(self, java: JavaClass) -> tuple[int, str, int | None] | None:
        named = self._classes.get(java.full_name)
        if named is not None or not java.is_protocol:
            return named
        return next((place for package, place in self._packages if java.full_name.startswith(package)), None)

    def elsewhere(self, java: JavaClass) -> str:
        """Say how to give a class a module, or where protocol.xml names one that is called so."""
        for location, where in self._where.items():
            if location.rpartition(".")[2] == java.name:
                return f"{where} names {location}, which is of another package"
        return "name it in protocol.xml (--xml), or give its module with --module ID NAME"

    def missing(self, names: set[str]) -> list[Fault]:
        found = []
        for location, where in self._where.items():
            if location.rpartition(".")[2] not in names:
                file, _, line = where.rpartition(":")
                found.append(Fault(file, int(line), f"{location} was not found in the folders given"))
        return found


def _name_fault(module: str) -> str:
    try:
        check_name(module, "module")
    except ConfigError as error:
        return f"is in a module that cannot be called so: {error}"
    return f"is in module {module!r}, which is zfoo_py's own: rename the module" if module in BUILT_IN_MODULES else ""


def _cannot_be_a_packet(java: JavaClass) -> str:
    if java.broken_line:
        return f"cannot be mapped: its line {java.broken_line} is no Java that can be read"
    if java.kind not in {"class", "record"}:
        return f"is {'an' if java.kind[0] in 'aei' else 'a'} {java.kind}: zfoo sends classes and records"
    if java.is_generic:
        return "is generic, which zfoo refuses"
    if java.is_abstract:
        return "is abstract: zfoo cannot make one"
    if java.name in ZFOO_PACKETS:
        return "has the name of a packet of zfoo's own"
    return ""


def _id_of(java: JavaClass, xml_id: int | None) -> tuple[int, str]:
    said = java.protocol_id
    if isinstance(said, str):
        return -1, f"has an id that is no number, {said}: write the number, or name it in protocol.xml"
    if said is not None and said >= 0 and xml_id is not None and said != xml_id:
        return -1, f"has id {said} in its annotation and {xml_id} in protocol.xml: zfoo wants them to agree"
    number = xml_id if said is None or said < 0 else said
    if number is None:
        return -1, 'has no id: give one in its annotation, or in protocol.xml (id="…")'
    if number not in USER_PROTOCOL_IDS:
        return -1, f"has id {number}; zfoo_py's users have {_span(USER_PROTOCOL_IDS)}: give it another id in Java"
    return number, ""


def _span(numbers: range) -> str:
    return f"{numbers.start}..{numbers.stop - 1}"


# ------------------------------------------------------------------------------------------------------- the module


def python_module(modules: Sequence[Module], faults: list[Fault]) -> str:
    """Write the Python module; what cannot be mapped is appended to `faults`, and left out with what needs it."""
    packets = {java.name: java for module in modules for java in module.packets.values()}
    bodies: dict[str, _Body] = {}
    keys = _keys(packets)
    for name, java in packets.items():
        try:
            bodies[name] = _Body(java, packets, is_key=name in keys)
        except _ClassFaultError as fault:
            faults.append(fault.fault)
    _leave_out(packets, bodies, faults)
    imports = sorted({"Packet", "ProtocolModule"}.union(*(body.imports for body in bodies.values())))
    zfoo = sorted(set().union(*(body.zfoo for body in bodies.values())))
    where = {java.name: (module, number) for module in modules for number, java in module.packets.items()}
    variables = _variables(modules, packets)
    lines = ['"""Packets of Java zfoo, written by ``zfoo-py import-java``; change them there."""', ""]
    lines += ["from __future__ import annotations", ""]
    if any("Annotated" in body.text for body in bodies.values()):
        lines += ["from typing import Annotated", ""]
    lines += _import("zfoo_py", [name for name in imports if name in FROM_ZFOO_PY])
    if zfoo:
        lines += _import("zfoo_py.protocol.common", zfoo)
    lines.append("")
    lines += [f"{variables[module.name]} = ProtocolModule({module.id}, {string(module.name)})" for module in modules]
    for name in _in_order(bodies):
        module, number = where[name]
        lines += ["", "", f"@{variables[module.name]}.packet({number})", bodies[name].text]
    return "\n".join(lines) + "\n"


def _import(module: str, names: Sequence[str]) -> list[str]:
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= LINE_LENGTH:
        return [line]
    return [f"from {module} import (", *(f"    {name}," for name in names), ")"]


def _variables(modules: Sequence[Module], packets: Mapping[str, JavaClass]) -> dict[str, str]:
    found: dict[str, str] = {}
    for module in modules:
        name = re.sub(r"\W", "_", snake(module.name)) or "module"
        name = f"module_{name}" if name[0].isdigit() else name
        while keyword.iskeyword(name) or name in found.values() or name in packets or hasattr(builtins, name):
            name += "_"
        found[module.name] = name
    return found


def _leave_out(packets: Mapping[str, JavaClass], bodies: dict[str, _Body], faults: list[Fault]) -> None:
    """A packet with a field of a class that was left out is left out too."""
    left_out = True
    while left_out:
        left_out = False
        for name, body in list(bodies.items()):
            missing = [one for one in body.needs if one not in bodies]
            if missing:
                java = packets[name]
                text = f"{java.full_name} is left out, as {missing[0]} is"
                faults.append(Fault(java.file, java.line, text))
                del bodies[name]
                left_out = True
    for body in bodies.values():
        body.answer = body.answer if body.answer in bodies else ""


def _keys(packets: Mapping[str, JavaClass]) -> set[str]:
    """Return the packets that are elements of a set or keys of a map, and those in their fields: all must hash."""
    found: set[str] = set()
    todo = [(field.type, False) for java in packets.values() for field in java.fields]
    while todo:
        kind, is_key = todo.pop()
        for number, inner in enumerate(kind.arguments):
            todo.append((inner, is_key or kind.name == "Set" or (kind.name == "Map" and not number)))
        if is_key and kind.name in packets and kind.name not in found:
            found.add(kind.name)
            todo += [(field.type, True) for field in packets[kind.name].fields]
    return found


def _in_order(bodies: Mapping[str, _Body]) -> list[str]:
    """Each class behind those that it needs; otherwise as they came, by module and id. Cycles are Java's fault."""
    ordered: list[str] = []
    begun: set[str] = set()

    def add(name: str) -> None:
        if name not in begun:
            begun.add(name)
            for needed in (*bodies[name].needs, *filter(None, [bodies[name].answer])):
                add(needed)
            ordered.append(name)

    for name in bodies:
        add(name)
    return ordered


class _ClassFaultError(Exception):
    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


class _Body:
    """The text of one class, and what it needs.

    Attributes:
        needs: other packets among its fields.
        zfoo: packets of zfoo's own among them.
        answer: the packet that answers it, or "".
    """

    def __init__(self, java: JavaClass, packets: Mapping[str, JavaClass], *, is_key: bool) -> None:
        self.needs: list[str] = []
        self.zfoo: set[str] = set()
        self._names: set[str] = set()
        self._packets = packets
        self._is_key = is_key
        self.answer = next(
            (
                answer
                for ask, end in ANSWERS
                if java.name.endswith(ask) and (answer := java.name.removesuffix(ask) + end) in packets
            ),
            "",
        )
        fields, comments = self._fields(java)
        self._name = class_name(java.name)
        self._lines = [*docstring(java, comments), *(["", *fields] if fields else [])]

    @property
    def text(self) -> str:
        """From ``class`` on."""
        base = f"Ask[{class_name(self.answer)}]" if self.answer else "Packet"
        return "\n".join([f"class {self._name}({base}):", *self._lines])

    @property
    def imports(self) -> set[str]:
        """Names of zfoo_py."""
        return self._names | {"Ask"} if self.answer else self._names

    def _fields(self, java: JavaClass) -> tuple[list[str], list[tuple[str, str]]]:
        orders: dict[int, str] = {}
        names: dict[str, str] = {}
        compatible: list[tuple[int, str]] = []
        lines: list[str] = []
        comments: list[tuple[str, str]] = []
        for field in java.fields:
            fault = ""
            if isinstance(field.compatible, str):
                fault = f"its @Compatible({field.compatible}) is no number: write the number"
            elif field.compatible is not None and field.compatible in orders:
                fault = f"@Compatible({field.compatible}) is that of {orders[field.compatible]} too, which zfoo refuses"
            try:
                annotation, default = self._python(field.type, is_key=self._is_key)
            except UnmappedError as error:
                fault = str(error)
            name = field_name(field.name)
            if not fault and name in names:
                fault = f"in Python it would have the name of {names[name]}, {name}: rename one of them"
            if fault:
                text = f"{java.full_name}.{field.name} cannot be mapped, nor its class: {fault}"
                raise _ClassFaultError(Fault(java.file, field.line, text))
            names[name] = field.name
            line = self._line(name, field, annotation, default)
            if isinstance(field.compatible, int):
                orders[field.compatible] = field.name
                compatible.append((field.compatible, line))
            else:
                lines.append(line)
            if field.comment:
                comments.append((name, field.comment))
        return [*lines, *(line for _, line in sorted(compatible))], comments

    def _line(self, name: str, field: JavaField, annotation: str, default: str) -> str:
        said = []
        if wire_name(name) != field.name:
            said.append(f"name={string(field.name)}")
        if field.compatible is not None:
            said.append(f"compatible={field.compatible}")
        if not said:
            return f"    {name}: {annotation}"
        self._names.add("Wire")
        end = f" = {default}" if field.compatible is not None else ""
        line = f"    {name}: Annotated[{annotation}, Wire({', '.join(said)})]{end}"
        if len(line) <= LINE_LENGTH:
            return line
        inner = f"        {annotation}, Wire({', '.join(said)})"
        if len(inner) > LINE_LENGTH:
            inner = f"        {annotation},\n        Wire({', '.join(said)}),"
        return f"    {name}: Annotated[\n{inner}\n    ]{end}"

    def _python(self, java: JavaType, *, is_key: bool) -> tuple[str, str]:
        """Return the Python type and its default; `is_key`: it must be hashable.

        Raises:
            UnmappedError: zfoo has no such type.
        """
        if java.dimensions:
            return self._array(java, is_key=is_key)
        if java.name in COLLECTIONS:
            return self._collection(java, is_key=is_key)
        if java.arguments:
            raise UnmappedError(f"{java.text} is generic, and zfoo knows List, Set and Map only")
        if java.name in SCALARS:
            name, default = SCALARS[java.name]
            if name in FROM_ZFOO_PY:
                self._names.add(name)
            return name, default
        if java.name in ZFOO_PACKETS and java.name not in self._packets:
            self.zfoo.add(java.name)
            return f"{java.name} | None", "None"
        if java.name not in self._packets:
            why = "write the interface" if java.name in CONCRETE else "it has no @Protocol, or is not in these folders"
            raise UnmappedError(f"{java.text} is no type that zfoo sends ({why})")
        if java.name not in self.needs:
            self.needs.append(java.name)
        return f"{class_name(java.name)} | None", "None"

    def _array(self, java: JavaType, *, is_key: bool) -> tuple[str, str]:
        if java.dimensions > 1:
            raise UnmappedError(f"{java.text} has more than one dimension, which zfoo refuses")
        if java.name in COLLECTIONS:
            raise UnmappedError(f"zfoo takes no {java.text} there: arrays and collections do not hold one another")
        if java.name == "byte":
            return "bytes", 'b""'
        inner, _ = self._python(java._replace(dimensions=0), is_key=is_key)
        return (f"tuple[{inner}, ...]", "()") if is_key else (f"list[{inner}]", "[]")

    def _collection(self, java: JavaType, *, is_key: bool) -> tuple[str, str]:
        if len(java.arguments) != COLLECTIONS[java.name]:
            raise UnmappedError(f"{java.text} does not say what is in it")
        for argument in java.arguments:
            if argument.name.startswith("?"):
                raise UnmappedError(f"{java.text} has a wildcard: say the type")
            if argument.dimensions:
                raise UnmappedError(f"zfoo takes no {java.text}: arrays and collections do not hold one another")
        keyed = is_key or java.name == "Set"
        inner = [
            self._python(one, is_key=keyed or (java.name == "Map" and not number))[0]
            for number, one in enumerate(java.arguments)
        ]
        if java.name == "List":
            return (f"tuple[{inner[0]}, ...]", "()") if is_key else (f"list[{inner[0]}]", "[]")
        if java.name == "Set":
            return (f"frozenset[{inner[0]}]", "frozenset()") if is_key else (f"set[{inner[0]}]", "set()")
        key = java.arguments[0].name
        if is_key or (key not in SCALARS and key not in COLLECTIONS):
            self._names.add("FrozenMap")
            return f"FrozenMap[{', '.join(inner)}]", "FrozenMap()"
        return f"dict[{', '.join(inner)}]", "{}"
