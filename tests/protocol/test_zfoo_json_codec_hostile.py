"""What a hostile peer may send as JSON: nothing but DecodeError comes of it, and memory is bounded by the frame."""

from __future__ import annotations

import json
import tracemalloc

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.protocol.test_java_plan import Inner, Wider, declared
from zfoo_py.errors import DecodeError
from zfoo_py.protocol.frozen_map import FrozenMap
from zfoo_py.protocol.packet import Packet, PacketTable, ProtocolModule
from zfoo_py.protocol.zfoo_json_codec import ZfooJsonCodec

table = PacketTable()
module = ProtocolModule(13, "anything", table=table)
CODEC = ZfooJsonCodec(table)
FRAME_BYTES = 60_000


class Leaf(Packet):
    a: int = 0


@module.packet(1003)
class Anything(Packet):
    lists: list[list[int]]
    sets: set[tuple[int, ...]]
    maps: dict[str, dict[int, str]]
    leaves: list[Leaf | None]
    text: str


RIGHT = CODEC.finish(CODEC.encode(Anything([[1, 2]], {(3,)}, {"a": {4: "b"}}, [Leaf(5), None], "é")))
RANDOM_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def decode(message, codec=CODEC):
    """Decode; return how much memory that took at most."""
    tracemalloc.start()
    try:
        codec.decode_message(message)
    except DecodeError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


def message_of(field, value):
    return f'{{"protocolId":1003,"attachmentId":-1,"packet":{{"{field}":{value}}},"attachment":null}}'.encode()


@pytest.mark.parametrize("field", ["lists", "sets", "maps", "leaves", "text", "unknown"])
@pytest.mark.parametrize("unit", ["[]", "{}", "0", "null", '""', '{"a":1}', "[1]", "1e9", '"\\u0000"', "[[]]"])
def test_memory_is_bounded_by_the_frame(field, unit):
    """H4: 80 times the frame, and 1 MiB for small ones."""
    decode(RIGHT)  # compiles
    count = FRAME_BYTES // (len(unit) + 1)
    as_list = "[" + ",".join([unit] * count) + "]"
    as_map = "{" + ",".join(f'"{number}":{unit}' for number in range(count // 4)) + "}"
    for value in (as_list, as_map):
        message = message_of(field, value)
        assert decode(message) <= 80 * len(message) + (1 << 20)


FIELDS = [*((f"number_{index}", int) for index in range(9)), *((f"list_{index}", list[int]) for index in range(9))]
Wide = msgspec.defstruct("Wide", FIELDS, bases=(Packet,), module=__name__)


@pytest.mark.parametrize(
    ("kind", "unit"),
    [
        (set[int], "[]"), (set[int], "[0]"), (set[frozenset[int]], "[[]]"), (frozenset[int], "[]"), (Wide, "{}"),
        (dict[str, set[int]], '{"":[]}'), (dict[str, Wide], '{"":{}}'), (FrozenMap[str, str], '{"":""}'),
        (FrozenMap[str, FrozenMap[str, str]], '{"":{}}'), (Inner, "{}"), (Wider, "{}"), (list[list[int]], "[[]]"),
        (set[tuple[int, ...]], "[[]]"), (float, "0"), (list[float], "[0]"), (str, '"\U0001f600"'),
    ],
)  # fmt: skip
def test_nor_do_large_objects_of_small_texts_take_more(kind, unit):
    """Sets take a hundred times the text of an empty one, packets 8 bytes for each field that is missing."""
    made, own_table = declared([((list[kind], None), None, False)])
    codec = ZfooJsonCodec(own_table)
    for size in (1, 100_000, 200_000):
        items = ",".join([unit] * (size // (len(unit) + 1)))
        message = f'{{"protocolId":1000,"attachmentId":-1,"packet":{{"field0":[{items}]}}}}'.encode()
        assert decode(message, codec) <= 80 * len(message) + (1 << 20)
    usual = made([])
    assert codec.decode_message(codec.message(usual))[1] == usual


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (set[int], {1, 22, 333}), (dict[str, int], {"a": 1}), (Inner, Inner(1, "b")),
        (FrozenMap[str, int], FrozenMap({"a": 1})), (Wide, Wide(*range(9), *([] for _ in range(9)))),
        (list[set[str]], [{"a", "b"}]),
    ],
)  # fmt: skip
def test_many_of_what_is_usual_are_taken(kind, value):
    made, own_table = declared([((list[kind], None), None, False)])
    codec = ZfooJsonCodec(own_table)
    packet = made([value] * 10_000)
    assert codec.decode_message(codec.message(packet))[1] == packet


@pytest.mark.parametrize(("head", "tail"), [("[", "]"), ('{"a":', "}"), ("[[],", "]"), ("[", ""), ('{"a":', "")])
def test_nesting_as_deep_as_a_frame_can_hold(head, tail):
    for depth in (10, 900, 1100, FRAME_BYTES // len(head)):
        value = head * depth + "0" + tail * depth
        for message in (message_of("lists", value), value.encode()):
            assert decode(message) <= 80 * len(message) + (1 << 20)


def test_every_bit_flipped_and_every_cut():
    for at in range(len(RIGHT)):
        for bit in range(8):
            decode(RIGHT[:at] + bytes([RIGHT[at] ^ 1 << bit]) + RIGHT[at + 1 :])
        decode(RIGHT[:at])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80) | RANDOM_JSON.map(lambda value: json.dumps(value).encode()))
def test_anything_else(data):
    decode(data)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["lists", "sets", "maps", "leaves", "text"]), RANDOM_JSON)
def test_any_value_in_a_field(field, value):
    decode(message_of(field, json.dumps(value)))
