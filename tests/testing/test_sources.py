"""What a cluster provides and who receives it, from what a test has named."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from tests.support import greetings as greetings_file
from tests.support.greetings import TABLE, Gate, Greeter, gates, greetings
from zfoo_py import Ask, PacketTable, ProtocolModule, ReceiverError, packet_receiver
from zfoo_py.protocol.packet import DEFAULT_TABLE
from zfoo_py.testing.sources import module_of, service_of

HERE = sys.modules[__name__]
EMPTY = types.ModuleType("empty")
LOCAL = PacketTable()
local = ProtocolModule(90, "local", table=LOCAL)


@local.packet(9000)
class LocalAsk(Ask["LocalAsk"]):
    pass


@packet_receiver
async def at_local_ask(session: Any, ask: LocalAsk) -> LocalAsk:
    return ask


def service(*sources, provides=None, receivers=None, table=None, here=EMPTY):
    return service_of(sources, provides, receivers, table, here)


def test_of_a_protocol_module_the_receivers_are_where_its_packets_are():
    found = service(greetings)
    assert found.provides == (greetings,)
    assert found.receivers("provider-1") == [greetings_file]
    assert found.table is TABLE


def test_else_they_are_where_the_test_is(monkeypatch):
    """As for packets in a file of their own; also when nothing is named at all: then what they receive is provided."""
    monkeypatch.delitem(sys.modules, greetings_file.__name__)
    stubs = types.ModuleType("stubs")
    stubs.Stub = type("Stub", (Greeter,), {"__module__": "stubs"})  # type: ignore[attr-defined]
    assert service(greetings, here=stubs).receivers("p") == [stubs]
    found = service(table=LOCAL, here=HERE)
    assert (found.provides, found.receivers("p"), found.table) == ((local,), [HERE], LOCAL)


def test_a_python_module_or_an_object_provides_what_it_receives():
    assert service(greetings_file, table=TABLE).provides == (greetings,)
    gate = Gate("g")
    found = service(gate, greetings_file, table=TABLE)
    assert found.provides == (greetings, gates)
    assert found.receivers("p") == [gate, greetings_file]


def test_receivers_are_given_as_a_list_or_made_by_name():
    found = service(gates, receivers=[Gate("one")])
    assert [gate.name for gate in found.receivers("p")] == ["one"]
    found = service(provides=[gates], receivers=lambda name: [Gate(name)])
    assert [gate.name for name in ("a", "b") for gate in found.receivers(name)] == ["a", "b"]
    assert found.table is TABLE
    assert service(provides=["greetings"], receivers=[greetings_file]).table is DEFAULT_TABLE
    assert service(receivers=lambda name: [Gate(name)], table=TABLE).provides == (gates,)


def test_who_finds_nothing_says_where_it_was_looked_for():
    with pytest.raises(ReceiverError, match=r"no receiver of module 'gates' in tests\.support\.greetings, empty: give"):
        service(gates)
    with pytest.raises(ReceiverError, match=r"found no receiver in empty: give cluster\(\) the Python module"):
        service()


def test_the_module_of_a_frame_is_found_or_made():
    """Some test runners keep test modules out of sys.modules."""
    assert module_of(sys._getframe()) is HERE
    names: dict[str, Any] = {"__name__": "loose", "sys": sys}
    exec("frame = sys._getframe()", names)  # noqa: S102 - a frame of a module that is nowhere
    found = module_of(names["frame"])
    assert (found.__name__, found.sys) == ("loose", sys)
