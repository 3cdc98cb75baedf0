"""Packets, and the table that maps them: class ↔ protocol id ↔ protocol module.

A protocol module *is* a service type: providers announce module names, and consumers route by them. ::

    visits = ProtocolModule(10, "visits")

    @visits.packet(1101)
    class VisitAnswer(Packet):
        client: str
        count: int

    @visits.packet(1100, balance_by="client")
    class VisitAsk(Ask[VisitAnswer]):
        client: str
        bytes_sent: int

Ids live in a `PacketTable`, never on the class: one class may be mapped in several tables, and a class that is
mapped in none may still be a field of another. Declaring is not thread-safe (it happens while modules are
imported); looking up is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeGuard, TypeVar, dataclass_transform

import msgspec

from zfoo_py.errors import ConfigError, PacketError, UnmappedPacketError
from zfoo_py.names import check_name
from zfoo_py.protocol.declaration import read_protocols
from zfoo_py.protocol.field_types import KEY_KINDS, Fields, read_with_nested, type_argument
from zfoo_py.protocol.places import caller, local_names, place, twice

__all__ = ["BUILT_IN", "DEFAULT_TABLE", "Ask", "Binding", "Packet", "PacketTable", "ProtocolModule"]

# zfoo's built-ins have protocol ids 0-199 and modules 0-2, zfoo_py's own 32700-32766 and module 126.
USER_PROTOCOL_IDS = range(200, 32700)
USER_MODULE_IDS = range(3, 126)
BUILT_IN_MODULES = frozenset({"native", "common", "zfoo_py"})


@dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
class Packet(msgspec.Struct, frozen=True, array_like=True):
    """Base of every packet: an immutable value whose fields travel by position.

    Field types: bool, int, float, str, bytes, packets, list, set, dict, tuple, ``| None``, and defaults. A newer
    version may append fields with defaults; older peers ignore them, and their own packets get the defaults.
    Constructing checks nothing (it costs 0.15 µs); encoding does.
    """


A = TypeVar("A", bound=Packet)
P = TypeVar("P", bound=Packet)


class Ask(Packet, Generic[A]):
    """A packet that is answered with an ``A``: ``class VisitAsk(Ask[VisitAnswer])``."""


class Binding:
    """One mapped packet class. Made by `PacketTable.add`, never changed.

    Attributes:
        packet_class: the class.
        protocol_id: its id on the wire.
        module: the protocol module (service type) that serves it.
        balance_by: the field whose value is the key, or None.
        idempotent: whether it may be asked again after a lost session.
        where: where it was mapped, "file:line".
        answer_class: A of ``Ask[A]``, or None if it is no Ask. A forward reference is looked up at first use;
            PacketError if it cannot be found then.
    """

    __slots__ = (
        "_find_answer",
        "answer_class",
        "balance_by",
        "idempotent",
        "module",
        "packet_class",
        "protocol_id",
        "where",
    )
    answer_class: type[Packet] | None

    def __init__(
        self,
        packet_class: type[Packet],
        protocol_id: int,
        module: ProtocolModule,
        *,
        balance_by: str | None,
        idempotent: bool,
        where: str,
        find_answer: Callable[[], type[Packet] | None],
    ) -> None:
        self.packet_class = packet_class
        self.protocol_id = protocol_id
        self.module = module
        self.balance_by = balance_by
        self.idempotent = idempotent
        self.where = where
        self._find_answer: Callable[[], type[Packet] | None] | None = find_answer

    def look_up_answer(self) -> None:
        """Set `answer_class`. NameError: a forward reference names what is not there (yet)."""
        if self._find_answer is not None:
            self.answer_class = self._find_answer()
            self._find_answer = None

    if not TYPE_CHECKING:  # or every misspelt attribute would be Any

        def __getattr__(self, name: str) -> type[Packet] | None:
            """Look the answer up; reached only while that slot is empty, so reading it costs nothing per ask."""
            if name != "answer_class":
                raise AttributeError(name)
            try:
                self.look_up_answer()
            except NameError as error:
                raise PacketError(
                    f"{self.packet_class.__qualname__} ({self.where}) names an answer that cannot be found: {error}"
                ) from error
            return self.answer_class

    def __repr__(self) -> str:
        return f"<{self.packet_class.__name__} = {self.protocol_id} of {self.module.name}>"


class ProtocolModule:
    """A service type: a named group of packets that one provider serves as a whole.

    Args:
        id: 3..125, equal on every node.
        name: what providers announce and consumers subscribe to.
        table: where it and its packets are mapped.

    Raises:
        PacketError: id or name is taken in that table, reserved, or cannot be announced.
    """

    __slots__ = ("id", "name", "table", "where")

    def __init__(self, id: int, name: str, *, table: PacketTable | None = None, where: str | None = None) -> None:
        self.id = id
        self.name = name
        self.table = DEFAULT_TABLE if table is None else table
        self.where = where or place(caller())
        self.table._add_module(self)  # noqa: SLF001 - the table is the other half of this class

    def packet(
        self, protocol_id: int, *, balance_by: str | None = None, idempotent: bool = False
    ) -> Callable[[type[P]], type[P]]:
        """Map the decorated class.

        Args:
            protocol_id: 200..32699, equal on every node.
            balance_by: the field whose value is the key that chooses the provider.
            idempotent: asking twice does no harm, so a lost session may be asked once more.

        Raises:
            PacketError: see `PacketTable.add`.
        """
        frame = caller()
        where = place(frame)
        scope = local_names(frame)

        def decorate(packet_class: type[P]) -> type[P]:
            self.table.add(
                self, packet_class, protocol_id, balance_by=balance_by, idempotent=idempotent, where=where, scope=scope
            )
            return packet_class

        return decorate

    def __repr__(self) -> str:
        return f"ProtocolModule({self.id}, {self.name!r})"


class PacketTable:
    """The mapping of one application; a process may have several. The built-in packets are visible in each.

    Iteration and `modules` show what was declared in this table only.
    """

    def __init__(self) -> None:
        self._modules: dict[str, ProtocolModule] = {}
        self._by_class: dict[type[Any], Binding] = {}
        self._by_id: dict[int, Binding] = {}
        self._by_name: dict[str, Binding] = {}
        self._fields: dict[type[Any], Fields] = {}
        # Names of the function in which a class was declared, kept only until its annotations are understood.
        self._unresolved: dict[type[Any], Mapping[str, object]] = {}

    @property
    def modules(self) -> Mapping[str, ProtocolModule]:
        """The modules declared here, by name."""
        return MappingProxyType(self._modules)

    def module(self, name_or_id: str | int) -> ProtocolModule:
        """Return a module, built-in ones included. O(modules) by id.

        Raises:
            PacketError: there is none.
        """
        for module in (*self._modules.values(), *BUILT_IN.modules.values()):
            if name_or_id in {module.name, module.id}:
                return module
        known = ", ".join(sorted(self._modules)) or "none"
        raise PacketError(f"no protocol module {name_or_id!r} is declared; known modules: {known}")

    def binding(self, packet_class: type[Any]) -> Binding:
        """Return where a class is mapped. O(1), any thread.

        Raises:
            UnmappedPacketError: it is not.
        """
        found = self._by_class.get(packet_class) or BUILT_IN._by_class.get(packet_class)
        if found is None:
            name = getattr(packet_class, "__qualname__", repr(packet_class))
            raise UnmappedPacketError(
                f"{name} has no protocol id: put @<module>.packet(<id>) above the class "
                f"(or map it in the table that this node uses)"
            )
        return found

    def by_id(self, protocol_id: int) -> Binding | None:
        """Return the mapping of a protocol id, or None. O(1), any thread."""
        return self._by_id.get(protocol_id) or BUILT_IN._by_id.get(protocol_id)

    def bindings(self) -> Iterator[Binding]:
        """Yield what is mapped here, in the order of declaration."""
        yield from self._by_id.values()

    def fields(self, packet_class: type[Any]) -> Fields:
        """Return the field types of a mapped class, or of a class that is a field of one, in wire order.

        Raises:
            PacketError: an annotation cannot be resolved, or its type is not supported.
        """
        if packet_class not in self._fields:
            if packet_class not in self._by_class and self is not BUILT_IN:
                return BUILT_IN.fields(packet_class)
            self._resolve(packet_class, self.binding(packet_class).where)
        return self._fields[packet_class]

    def add(
        self,
        module: ProtocolModule,
        packet_class: type[Any],
        protocol_id: int,
        *,
        balance_by: str | None = None,
        idempotent: bool = False,
        where: str | None = None,
        scope: Mapping[str, object] | None = None,
    ) -> Binding:
        """Map a class. `scope` holds names for string annotations besides those of the class's module.

        Annotations that name classes defined later are read again by `resolve`, or at first use.

        Raises:
            PacketError: an id or class name is taken (both places are named) or reserved; the class is no Packet,
                has a field of an unsupported type, or no field `balance_by`.
        """
        where = where or place(caller())
        if not _is_packet_class(packet_class):
            raise PacketError(
                f"{where} maps {packet_class!r}, which is no packet: derive it from Packet or Ask[Answer]"
            )
        name = packet_class.__qualname__
        if not packet_class.__struct_config__.frozen:
            raise PacketError(f"{name} ({where}) is declared with frozen=False: packets are immutable, leave it out")
        if self._modules.get(module.name) is not module:
            raise PacketError(f"{name} ({where}) is mapped to {module!r} ({module.where}), which is not in this table")
        self._check_id(protocol_id, f"protocol id of {name} ({where})", USER_PROTOCOL_IDS)
        binding = Binding(
            packet_class,
            protocol_id,
            module,
            balance_by=balance_by,
            idempotent=idempotent,
            where=where,
            find_answer=lambda: _answer_class(packet_class, self._class_scope(), scope or {}),
        )
        self._refuse_duplicate(binding)
        if balance_by is not None and balance_by not in packet_class.__struct_fields__:
            known = ", ".join(packet_class.__struct_fields__) or "none"
            raise PacketError(f"balance_by={balance_by!r} is no field of {name} ({where}); its fields: {known}")
        self._unresolved[packet_class] = scope or {}
        self._by_class[packet_class] = self._by_id[protocol_id] = self._by_name[packet_class.__name__] = binding
        try:
            self._resolve(packet_class, where, is_final=False)
            binding.look_up_answer()
        except NameError:
            pass  # defined later, it is hoped: resolve() or the first use will tell
        except PacketError:
            del self._by_class[packet_class], self._by_id[protocol_id], self._by_name[packet_class.__name__]
            self._unresolved.pop(packet_class, None)
            raise
        return binding

    def declare(self, modules: Mapping[str, Mapping[str, Any]]) -> list[ProtocolModule]:
        """Map packets as a TOML file says, importing their classes; what is already mapped just so stays.

        ``{"visits": {"id": 10, "protocols": {"1100": "pkg.mod:VisitAsk", "1101": {"class": …, "balance_by": …}}}}``

        Returns:
            The modules, in order.

        Raises:
            ConfigError: the declaration cannot be read, or a class cannot be imported; says at which key.
            PacketError: see `add`.
        """
        return [self._declare_module(name, entry) for name, entry in modules.items()]

    def resolve(self) -> None:
        """Read every annotation and answer that was put off. To be called once all modules are imported.

        Raises:
            PacketError: a name cannot be found, a type is not supported, or an answer is mapped nowhere.
        """
        for packet_class in list(self._unresolved):
            self._resolve(packet_class, self._by_class[packet_class].where)
        for binding in self._by_id.values():
            answer = binding.answer_class
            if answer is not None and answer not in self._by_class and answer not in BUILT_IN._by_class:
                raise UnmappedPacketError(
                    f"{binding.packet_class.__qualname__} ({binding.where}) is answered with {answer.__qualname__}, "
                    f"which has no protocol id: put @{binding.module.name}.packet(<id>) above it"
                )

    # --- inside

    def _declare_module(self, name: str, entry: Mapping[str, Any]) -> ProtocolModule:
        path = f"modules.{name}"
        module = self._modules.get(name)
        if module is None or module.id != entry.get("id"):
            module = ProtocolModule(entry.get("id"), name, table=self, where=path)  # type: ignore[arg-type]
        for new in read_protocols(entry.get("protocols", {}), f"{path}.protocols"):
            old = self._by_class.get(new.packet_class)
            asked = (new.protocol_id, module, new.balance_by, new.idempotent)
            if old is None or (old.protocol_id, old.module, old.balance_by, old.idempotent) != asked:
                self.add(
                    module,
                    new.packet_class,
                    new.protocol_id,
                    balance_by=new.balance_by,
                    idempotent=new.idempotent,
                    where=new.path,
                )
        return module

    def _add_module(self, module: ProtocolModule) -> None:
        what = f"module {module.name!r} ({module.where})"
        self._check_id(module.id, f"id of {what}", USER_MODULE_IDS)
        try:
            check_name(module.name, "module")
        except ConfigError as error:
            raise PacketError(f"{error} ({module.where})") from error
        if self is not BUILT_IN and module.name in BUILT_IN_MODULES:
            raise PacketError(f"{what}: this name is a built-in module's; choose another")
        for other in self._modules.values():
            if other.id == module.id or other.name == module.name:
                raise PacketError(
                    f"{what} and module {other.name!r} ({other.where}) have the same "
                    f"{'id ' + str(module.id) if other.id == module.id else 'name'}{twice(other.where, module.where)}"
                )
        self._modules[module.name] = module

    def _check_id(self, number: object, what: str, allowed: range) -> None:
        if type(number) is not int:
            raise PacketError(f"the {what} must be a whole number, not {number!r}")
        if self is not BUILT_IN and number not in allowed:
            raise PacketError(
                f"the {what} is {number}: yours are {allowed.start}..{allowed.stop - 1}, the others are reserved"
            )

    def _refuse_duplicate(self, new: Binding) -> None:
        name = new.packet_class.__qualname__
        for old, what in (
            (self._by_class.get(new.packet_class), "is already mapped"),
            (self._by_id.get(new.protocol_id), f"takes protocol id {new.protocol_id}, which is taken"),
            (self._by_name.get(new.packet_class.__name__), "has a class name that is taken in this table"),
        ):
            if old is not None:
                raise PacketError(
                    f"{name} ({new.where}) {what}: {old.packet_class.__qualname__} is protocol {old.protocol_id} of "
                    f"module {old.module.name!r} ({old.where}){twice(old.where, new.where)}"
                )

    def _class_scope(self) -> dict[str, object]:
        """Names of this table's classes: for annotations whose import is under TYPE_CHECKING only."""
        return {name: binding.packet_class for name, binding in self._by_name.items()}

    def _resolve(self, packet_class: type[Any], where: str, *, is_final: bool = True) -> None:
        if packet_class not in self._unresolved:
            return
        scope = self._unresolved[packet_class]
        try:
            try:
                found = read_with_nested(packet_class, Packet, scope, where)
            except NameError:
                found = read_with_nested(packet_class, Packet, {**self._class_scope(), **scope}, where)
        except NameError as error:
            if not is_final:
                raise
            raise PacketError(
                f"an annotation of {packet_class.__qualname__} ({where}) cannot be found: {error}; "
                f"import or define it in the module of the class"
            ) from error
        balance_by = self._by_class[packet_class].balance_by
        if balance_by is not None and (kind := found[packet_class][balance_by]).kind not in KEY_KINDS:
            raise PacketError(
                f"balance_by={balance_by!r} of {packet_class.__qualname__} ({where}) is {kind.text}, which is no key"
            )
        for read, fields in found.items():
            self._fields.setdefault(read, fields)
        self._unresolved.pop(packet_class, None)


def _is_packet_class(thing: object) -> TypeGuard[type[Packet]]:
    return isinstance(thing, type) and issubclass(thing, Packet) and thing is not Packet and thing is not Ask


def _answer_class(
    packet_class: type[Any], mapped: Mapping[str, object], scope: Mapping[str, object]
) -> type[Packet] | None:
    """Find A of Ask[A], through any bases between. NameError if a forward reference is not there yet."""
    if not issubclass(packet_class, Ask):
        return None
    answer = type_argument(packet_class, Ask, mapped, scope)
    if not _is_packet_class(answer):
        raise PacketError(
            f"{packet_class.__qualname__} does not say which packet answers it (found {answer!r}): "
            f"write class {packet_class.__name__}(Ask[TheAnswerClass])"
        )
    return answer


# Filled by common.py only; every other table looks here when it does not find.
BUILT_IN = PacketTable()
DEFAULT_TABLE = PacketTable()
