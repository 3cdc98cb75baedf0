"""The quick functions: what they write is what the careful ones write, and what they do not take, they leave alone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.protocol.test_java_plan import FIELDS, declared, normal
from tests.support.java_packets import CLASSES, TABLE, WIRE, packet_of
from zfoo_py.protocol.field_types import FieldType
from zfoo_py.protocol.java_plan import JavaPlans
from zfoo_py.protocol.java_types import Int
from zfoo_py.protocol.java_writing import UnusualError, writer
from zfoo_py.protocol.zfoo_java_codec import ZfooJavaCodec


def both(table, packet):
    """Return what each makes of a packet; None for the quick one where it makes nothing."""
    plan = ZfooJavaCodec(table)._plans.of(type(packet))
    careful = plan.write_any(packet)
    try:
        return plan.write(packet, plan.start), careful
    except Exception:  # noqa: BLE001 - it may be anything
        return None, careful


@settings(max_examples=100, deadline=None)
@given(st.data(), FIELDS)
def test_both_write_the_same(data, fields):
    made, table = declared(fields)
    usual = made(*(data.draw(value.map(normal)) for (_, value), _, _ in fields))
    quick, careful = both(table, usual)
    assert quick == careful
    nulls = made(*(None if is_nullable else data.draw(value.map(normal)) for (_, value), _, is_nullable in fields))
    quick, careful = both(table, nulls)
    assert quick == careful
    anything = made(*(data.draw(value | st.none()) for (_, value), _, _ in fields))
    quick, careful = both(table, anything)
    assert quick in {None, careful}


@pytest.mark.parametrize("entry", WIRE["entries"][::5], ids=lambda entry: entry["packet"])
def test_both_write_what_java_writes(entry):
    quick, careful = both(TABLE, packet_of(entry["packet"], entry["values"]))
    assert quick in {None, careful}
    assert careful.hex() == entry["hex"][4:]


def test_every_class_has_values_that_are_written_quickly():
    for entry in WIRE["entries"]:
        if "Normal" in entry["packet"]:
            assert both(TABLE, packet_of(entry["packet"], entry["values"]))[0] is not None, CLASSES[entry["packet"]]


@pytest.mark.parametrize("value", [True, 1 << 31, 1.0, "1", None])
def test_what_the_quick_one_leaves_alone(value):
    made, table = declared([((Int, None), None, False)])
    with pytest.raises((UnusualError, OverflowError)):
        JavaPlans(table.fields).of(made).write(made(value), b"")


def test_begins_with_what_it_is_given():
    write = writer({}, [("a", FieldType("int"))], 1)
    made, _ = declared([])
    assert write(type("X", (made,), {"a": 3})(), b"start") == b"start\x06"
