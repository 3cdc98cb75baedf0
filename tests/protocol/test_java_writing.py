"""The quick functions: what they write is what the careful ones write, and what they do not take, they leave alone."""

from __future__ import annotations

import enum
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.protocol.test_java_plan import FIELDS, HASHED, LEAVES, Inner, Wider, declared, normal
from tests.support.java_model import Model, RefusedError
from tests.support.java_packets import CLASSES, TABLE, WIRE, packet_of
from zfoo_py.errors import EncodeError
from zfoo_py.protocol.coercion import MismatchError
from zfoo_py.protocol.field_types import FieldType
from zfoo_py.protocol.frozen_map import FrozenMap
from zfoo_py.protocol.java_bytes import SMALL
from zfoo_py.protocol.java_plan import JavaPlans
from zfoo_py.protocol.java_types import Int, Short
from zfoo_py.protocol.java_writing import UnusualError, writer
from zfoo_py.protocol.packet import Packet
from zfoo_py.protocol.sets_in_order import FrozenSetInOrder, SetInOrder
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


class Level(enum.IntEnum):
    HIGH = 3


class Name(str):
    __slots__ = ()


class Twin(Packet):
    """Has the fields of Inner, and is none."""

    a: Int
    b: str


# Values that some type takes and others refuse, and some that none takes.
STRANGE = [
    None, True, 0, -1, 127, 128, -129, 1 << 15, 1 << 31, -(1 << 31) - 1, 1 << 63, -(1 << 63) - 1, 1 << 64, 10**400,
    0.5, 1e39, -1e39, 3.4028235677973366e38, float("inf"), "x", "\ud800\udc00\udc00", "\U0001f600", Name("n"), b"x",
    bytearray(b"x"), Level.HIGH, Inner(1, "b"), Inner(1 << 31, "b"), Inner(1, None), Twin(1, "b"), Wider(1, [1]),
    Wider(1, None, None), (), (1,), (True, "x"), [], [1], [None], [[]], {1}, {"x"}, frozenset({1}), {}, {1: "x"},
    {"x": 1}.keys(), range(3), FrozenMap(), FrozenMap({1: 1}), object(),
]  # fmt: skip


def mangled(data, value):
    """Return a value in which one thing or another, at any depth, is of another kind."""
    if data.draw(st.integers(0, 5)) == 0:
        return data.draw(st.sampled_from(STRANGE))
    if isinstance(value, list | tuple):
        return type(value)(mangled(data, item) for item in value)
    if isinstance(value, set | frozenset):
        return [mangled(data, item) for item in value]
    if isinstance(value, dict):
        return {key: mangled(data, item) for key, item in value.items()}
    if isinstance(value, Packet):
        return type(value)(*(mangled(data, getattr(value, field)) for field in value.__struct_fields__))
    return value


def outcome(write, *packet):
    """Return the bytes, or None if the packet is refused."""
    try:
        return write(*packet)
    except (MismatchError, RefusedError, EncodeError):
        return None


def all_ways_agree(made, table, packet):
    codec = ZfooJavaCodec(table)
    plan = codec._plans.of(made)
    expected = outcome(Model(table).write, packet)
    assert outcome(plan.write_any, packet) == expected
    try:
        assert plan.write(packet, plan.start) == expected
    except AssertionError:
        raise
    except Exception:  # noqa: BLE001, S110 - it may be anything: the careful one is asked
        pass
    assert outcome(codec.encode, packet) == (None if expected is None else struct.pack(">h", 1000) + expected)


@settings(max_examples=300, deadline=None)
@given(st.data(), FIELDS)
def test_whatever_the_values_all_ways_agree_with_the_model(data, fields):
    """The quick one gives the careful one's bytes or nothing, and that one the model's, or an error."""
    made, table = declared(fields)
    packet = made(*(mangled(data, data.draw(value)) for (_, value), _, _ in fields))
    all_ways_agree(made, table, packet)


@pytest.mark.parametrize("kind", [kind for kind, _ in LEAVES], ids=str)
def test_of_every_type_all_strange_values_alone_and_in_containers(kind):
    wraps = [(kind, lambda item: item), (kind | None, lambda item: item), (list[kind], lambda item: [item])]
    wraps += [(dict[int, kind], lambda item: {1: item}), (set[kind], lambda item: [item])]
    for declared_kind, wrap in wraps:
        if declared_kind == set[kind] and kind not in {hashed for hashed, _ in HASHED}:
            continue
        made, table = declared([((declared_kind, None), None, False)])
        for value in STRANGE:
            all_ways_agree(made, table, made(wrap(value)))


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


@pytest.mark.parametrize(
    ("kind", "value"),
    [(Inner, Twin(1, "b")), (list[Inner], [Twin(1, "b")]), (dict[int, Inner | None], {1: Twin(1, "b")})],
)
def test_a_packet_of_another_class_is_none_of_this_however_alike(kind, value):
    made, table = declared([((kind, None), None, False)])
    plan = JavaPlans(table.fields).of(made)
    with pytest.raises(UnusualError):
        plan.write(made(value), b"")
    with pytest.raises(MismatchError, match="expected Inner"):
        plan.write_any(made(value))


@pytest.mark.parametrize(
    ("kind", "count", "make"),
    [
        (set[int], 0x8000, range),
        (frozenset[int], 0x8000, range),
        (dict[int, int], 0x8000, lambda count: dict.fromkeys(range(count), 0)),
        (list[str], 0x1_0000, lambda count: ["x"] * count),
        (tuple[Inner, ...], 0x1_0000, lambda count: [Inner(1, "b")] * count),
        (list[int], 0x2_0000, lambda count: [1] * count),
        (list[Short], 0x8_0000, lambda count: [1] * count),
    ],
)
def test_fewer_than_java_refuses_and_no_more(kind, count, make):
    made, table = declared([((kind, None), None, False)])
    quick, careful = both(table, made(kind.__origin__(make(count - 1))))
    assert quick == careful
    plan = JavaPlans(table.fields).of(made)
    with pytest.raises(UnusualError):
        plan.write(made(kind.__origin__(make(count))), b"")
    with pytest.raises(MismatchError, match=f"{count} elements"):
        plan.write_any(made(kind.__origin__(make(count))))


@pytest.mark.parametrize("count", [SMALL - 1, SMALL, SMALL + 1, 0x4000, 0x20_0000])
def test_lengths_next_to_those_that_have_their_bytes_in_a_table(count):
    made, table = declared([((str, None), None, False), ((bytes, None), None, False), ((list[str], None), None, False)])
    packet = made("x" * count, b"x" * count, ["x"] * min(count, 0x4000))
    quick, careful = both(table, packet)
    assert quick == careful == Model(table).write(packet)


def test_sets_on_their_way_to_a_java_peer_are_written_quickly_in_their_order():
    made, table = declared([((set[Int], None), None, False), ((frozenset[Int] | None, None), None, True)])
    packet = made(SetInOrder([3, 1, 2, 1]), FrozenSetInOrder([8, 0, 8]))
    quick, careful = both(table, packet)
    assert quick == careful == bytes.fromhex("01080602040206100010")


def test_begins_with_what_it_is_given():
    write = writer({}, [("a", FieldType("int"))], 1)
    made, _ = declared([])
    assert write(type("X", (made,), {"a": 3})(), b"start") == b"start\x06"
