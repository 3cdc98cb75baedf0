"""zfoo's ``protocol.xml``: which protocols belong to which module, read and mapped as a Java node does.

::

    <protocols>
        <module id="10" name="visits">
            <protocol id="1100" location="com.example.visits.VisitAsk"/>
            <protocol location="com.example.visits.packet"/>       <!-- a package: its classes have ids in Java -->
        </module>
    </protocols>

The rules are zfoo's (zfoo.md section 2). Class names are unique in a Java node, packages apart, so a Python class is
found by the last part of its location. What zfoo ignores (``enhance``, ``author``, unknown elements) is ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any, Final
from xml.parsers import expat

import msgspec

from zfoo_py.errors import ConfigError
from zfoo_py.protocol.packet import BUILT_IN, Ask, Packet, PacketTable, ProtocolModule

__all__ = ["XmlModule", "XmlProtocol", "declare_xml", "packets_of", "read_protocol_xml"]

# Java's tables: a byte and a short.
MODULE_IDS: Final = range(1, 127)
PROTOCOL_IDS: Final = range(32767)
# zfoo's own packets. They are built in here too, so a module that lists nothing else is not the application's.
ZFOO_PREFIX: Final = "com.zfoo.net."


class XmlProtocol(msgspec.Struct, frozen=True):
    """One ``<protocol>``; `location` is a class or a package, `where` is "file:line"."""

    location: str
    protocol_id: int | None
    where: str

    @property
    def simple_name(self) -> str:
        """The last part of the location: the name of the class, if it is one."""
        return self.location.replace("$", ".").rpartition(".")[2]

    @property
    def is_zfoo(self) -> bool:
        """Whether it is a packet of zfoo itself."""
        return self.location.startswith(ZFOO_PREFIX)


class XmlModule(msgspec.Struct, frozen=True):
    """One ``<module>``."""

    id: int
    name: str
    protocols: tuple[XmlProtocol, ...]
    where: str

    @property
    def is_zfoo(self) -> bool:
        """Whether it lists packets of zfoo itself and nothing else."""
        return bool(self.protocols) and all(protocol.is_zfoo for protocol in self.protocols)


def read_protocol_xml(content: bytes, name: str) -> tuple[XmlModule, ...]:
    """Read a protocol.xml. `name` is the file's, for errors.

    Raises:
        ConfigError: it is no XML or no protocol.xml, or an id, a name or a location is wrong or taken twice; with
            the line, and both lines of what is there twice.
    """
    return _Reader(name).read(content)


def packets_of(modules: Iterable[ModuleType]) -> dict[str, type[Packet]]:
    """Return the packet classes of some Python modules by their names.

    Raises:
        ConfigError: two of them have the same name.
    """
    found: dict[str, type[Packet]] = {}
    for module in modules:
        for thing in vars(module).values():
            if not (isinstance(thing, type) and issubclass(thing, Packet)) or thing in {Packet, Ask}:
                continue
            other = found.setdefault(thing.__name__, thing)
            if other is not thing:
                raise ConfigError(
                    f"{other.__module__} and {thing.__module__} both have a packet {thing.__name__}; "
                    f"protocol.xml cannot tell which one is meant: rename one"
                )
    return found


def declare_xml(
    table: PacketTable, modules: Iterable[XmlModule], packets: Mapping[str, type[Packet]]
) -> list[ProtocolModule]:
    """Map packets as a protocol.xml says. While a node starts.

    A class that Python does not have is left out: a node needs the packets that it uses. A class that is mapped
    already must be so in the same module, with the same id if the file names one. A package maps no class (their ids
    are in Java): `zfoo-py import-java` does.

    Args:
        table: where to.
        modules: as read.
        packets: Python's classes by name.

    Returns:
        The application's modules.

    Raises:
        ConfigError: the file and what is mapped already disagree, or a class has no id anywhere.
        PacketError: see `PacketTable.add`; a module id or protocol id that zfoo_py reserves.
    """
    declared: list[ProtocolModule] = []
    for entry in modules:
        for protocol in entry.protocols:
            _check_built_in(protocol)
        if entry.is_zfoo:
            continue
        module = table.modules.get(entry.name)
        if module is None or module.id != entry.id:  # another id: ProtocolModule says where the other one is
            module = ProtocolModule(entry.id, entry.name, table=table, where=entry.where)
        declared.append(module)
        for protocol in entry.protocols:
            packet_class = packets.get(protocol.simple_name)
            if packet_class is not None and not protocol.is_zfoo:
                _declare(table, module, protocol, packet_class)
    return declared


def _check_built_in(protocol: XmlProtocol) -> None:
    if not protocol.is_zfoo or protocol.protocol_id is None:
        return
    for binding in BUILT_IN.bindings():
        if binding.packet_class.__name__ == protocol.simple_name and binding.protocol_id != protocol.protocol_id:
            text = f"gives {protocol.location} the id {protocol.protocol_id}; in zfoo_py it is {binding.protocol_id}"
            raise ConfigError(text, path=protocol.where)


def _declare(table: PacketTable, module: ProtocolModule, protocol: XmlProtocol, packet_class: type[Packet]) -> None:
    old = next((one for one in table.bindings() if one.packet_class is packet_class), None)
    if old is None:
        if protocol.protocol_id is None:
            text = (
                f"gives {protocol.location} no id, and Java's annotation is not seen from here: add "
                f'id="…", or put @<module>.packet(<id>) above {packet_class.__qualname__}'
            )
            raise ConfigError(text, path=protocol.where)
        table.add(module, packet_class, protocol.protocol_id, where=protocol.where)
    elif old.module is not module or protocol.protocol_id not in {None, old.protocol_id}:
        asked = f"protocol {protocol.protocol_id} of" if protocol.protocol_id is not None else "a protocol of"
        text = (
            f"makes {protocol.simple_name} {asked} module {module.name!r}; "
            f"it is protocol {old.protocol_id} of module {old.module.name!r} ({old.where})"
        )
        raise ConfigError(text, path=protocol.where)


class _Reader:
    """Reads one file. Elements are kept by their depth: 0 protocols, 1 module, 2 protocol."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.EntityDeclHandler = self._refuse_entity
        self._open: list[str] = []
        self._modules: list[tuple[dict[str, Any], list[XmlProtocol]]] = []
        self._range = PROTOCOL_IDS
        # What must be there once → where it is.
        self._taken: dict[tuple[str, object], str] = {}

    def read(self, content: bytes) -> tuple[XmlModule, ...]:
        try:
            self._parser.Parse(content, True)
        except expat.ExpatError as error:
            raise ConfigError(
                f"is no XML: {expat.ErrorString(error.code)}", path=f"{self._name}:{error.lineno}"
            ) from error
        except ConfigError:
            raise
        except (ValueError, LookupError) as error:  # what expat leaves to Python's codecs
            raise ConfigError(
                f"is in an encoding that cannot be read ({error}): save it as UTF-8", path=self._name
            ) from error
        return tuple(XmlModule(**module, protocols=tuple(protocols)) for module, protocols in self._modules)

    @property
    def _where(self) -> str:
        return f"{self._name}:{self._parser.CurrentLineNumber}"

    def _start(self, element: str, attributes: dict[str, str]) -> None:
        self._open.append(element)
        if len(self._open) == 1 and element != "protocols":
            raise ConfigError(f"begins with <{element}>; a protocol.xml begins with <protocols>", path=self._where)
        if self._open == ["protocols", "module"]:
            self._module(attributes)
        elif self._open == ["protocols", "module", "protocol"]:
            self._modules[-1][1].append(self._protocol(attributes))

    def _end(self, _element: str) -> None:
        self._open.pop()

    def _refuse_entity(self, *_declared: object) -> None:
        raise ConfigError("declares an entity, which zfoo_py does not expand: write the text itself", path=self._where)

    def _module(self, attributes: dict[str, str]) -> None:
        module_id = self._number(attributes, "id", MODULE_IDS, "module")
        if module_id is None:
            raise ConfigError(f"a module has no id: give one of 1..{MODULE_IDS[-1]}", path=self._where)
        name = attributes.get("name", "").strip()
        if not name:
            raise ConfigError(f"module {module_id} has no name, which is what providers announce", path=self._where)
        self._once("module id", module_id)
        self._once("module name", name)
        # Older versions of zfoo give a module its own range; what they refuse is refused here too.
        least = self._number(attributes, "minId", PROTOCOL_IDS, "module") or 0
        most = self._number(attributes, "maxId", range(PROTOCOL_IDS.stop + 1), "module")
        self._range = range(least, PROTOCOL_IDS.stop if most is None else most + 1)
        self._modules.append(({"id": module_id, "name": name, "where": self._where}, []))

    def _protocol(self, attributes: dict[str, str]) -> XmlProtocol:
        location = attributes.get("location", "").strip()
        if not location:
            raise ConfigError("a protocol has no location: name its Java class or package", path=self._where)
        protocol_id = self._number(attributes, "id", PROTOCOL_IDS, "protocol")
        if protocol_id is not None:
            if protocol_id not in self._range:
                span = f"{self._range.start}..{self._range.stop - 1}"
                text = f"protocol id {protocol_id} of {location} is outside of its module's range {span}"
                raise ConfigError(text, path=self._where)
            self._once("protocol id", protocol_id)
        self._once("location", location)
        return XmlProtocol(location, protocol_id, self._where)

    def _number(self, attributes: dict[str, str], key: str, allowed: range, what: str) -> int | None:
        """Return a whole number, or None if there is none; zfoo takes a protocol id below 0 for none."""
        text = attributes.get(key)
        if text is None:
            return None
        try:
            number = int(text)
        except ValueError:
            raise ConfigError(f"{key}={text!r} of a {what} is no whole number", path=self._where) from None
        if what == "protocol" and number < 0:
            return None
        if number not in allowed:
            span = f"{allowed.start}..{allowed.stop - 1}"
            raise ConfigError(f"{key} {number} of a {what} is outside of Java's range {span}", path=self._where)
        return number

    def _once(self, what: str, value: object) -> None:
        key = (what, value)
        if key in self._taken:
            raise ConfigError(f"{what} {value} is there twice: first at {self._taken[key]}", path=self._where)
        self._taken[key] = self._where
