"""What a test cluster is to provide, and who receives it, from what a test has named."""

from __future__ import annotations

import inspect
import sys
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from zfoo_py.errors import ReceiverError
from zfoo_py.protocol.packet import DEFAULT_TABLE, PacketTable, ProtocolModule
from zfoo_py.router.receivers import collect_receivers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Service", "module_of", "service_of"]


class Service(NamedTuple):
    """What each provider of a cluster does.

    Attributes:
        provides: as of `Node`.
        receivers: called with a provider's name; returns its receivers.
        table: mapping of the packets.
    """

    provides: tuple[Any, ...]
    receivers: Callable[[str], list[Any]]
    table: PacketTable


def module_of(frame: FrameType) -> ModuleType:
    """Return the module whose code a frame runs."""
    names = frame.f_globals
    found = sys.modules.get(names.get("__name__", ""))
    if found is not None and vars(found) is names:
        return found
    module = ModuleType(names.get("__name__", "?"))  # as a test runner imports it that keeps it out of sys.modules
    vars(module).update(names)
    return module


def service_of(
    sources: Iterable[Any],
    provides: Iterable[Any] | None,
    receivers: Any,
    table: PacketTable | None,
    here: ModuleType,
) -> Service:
    """Find what is not said.

    Args:
        sources: protocol modules, and what `Node` takes as receivers.
        provides: None: the protocol modules among the sources; if there are none, those of the receivers' packets.
        receivers: what `Node` takes, or a function from a provider's name to that; None: the receivers among the
            sources; if there are none, those in the modules that declare the packets; if there are none, those here.
        table: None: that of the first protocol module.
        here: the test's module.

    Raises:
        ReceiverError: nobody receives what is to be provided; names where it was looked for.
    """
    given = list(sources)
    modules = [source for source in given if isinstance(source, ProtocolModule)]
    wanted = list(provides) if provides is not None else modules
    named = [each for each in wanted if isinstance(each, ProtocolModule)]
    if table is None:
        table = named[0].table if named else DEFAULT_TABLE
    found = [source for source in given if not isinstance(source, ProtocolModule)]
    if _is_factory(receivers):

        def factory(name: str) -> list[Any]:
            return [*found, *receivers(name)]
    else:
        found += receivers if receivers is not None else []
        if not found:
            found = _places(named, table, here)

        def factory(name: str) -> list[Any]:
            del name
            return list(found)

    if not wanted:
        wanted = _served(factory("provider-1"), table)
        if not wanted:
            names = ", ".join(getattr(each, "__name__", repr(each)) for each in found)
            msg = (
                f"found no receiver in {names}: give cluster() the Python module that holds them, or a protocol "
                f"module, or receivers=[...]"
            )
            raise ReceiverError(msg)
    return Service(tuple(wanted), factory, table)


def _is_factory(receivers: Any) -> bool:
    return inspect.isroutine(receivers) or (callable(receivers) and not hasattr(receivers, "__iter__"))


def _places(wanted: list[ProtocolModule], table: PacketTable, here: ModuleType) -> list[ModuleType]:
    """Return the Python modules with receivers of these protocol modules: where their packets are, else here."""
    if not wanted:
        return [here]
    names = dict.fromkeys(each.packet_class.__module__ for each in table.bindings() if each.module in wanted)
    declaring = [sys.modules[name] for name in names if name in sys.modules]
    for places in (declaring, [here]):
        served = _served(places, table)
        if all(module in served for module in wanted):
            return places
    looked = ", ".join(dict.fromkeys(place.__name__ for place in (*declaring, here)))
    missing = ", ".join(repr(module.name) for module in wanted if module not in _served(declaring, table))
    msg = (
        f"found no receiver of module {missing} in {looked}: give cluster() the Python module that holds it, or "
        f"receivers=[...]; a class whose objects need arguments is given as receivers=lambda name: [Visits(name)]"
    )
    raise ReceiverError(msg)


def _served(sources: Iterable[Any], table: PacketTable) -> list[ProtocolModule]:
    bindings = [table.binding(packet_class) for packet_class in collect_receivers(sources, table)]
    return sorted({binding.module for binding in bindings}, key=lambda module: module.id)
