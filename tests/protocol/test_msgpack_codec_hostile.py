"""The default codec against a hostile peer: only DecodeError, bounded memory, and never half a packet."""

from __future__ import annotations

import itertools
import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zfoo_py.errors import DecodeError, EncodeError
from zfoo_py.protocol.attachment import CLIENT_KEYED
from zfoo_py.protocol.common import Heartbeat, Hello
from zfoo_py.protocol.msgpack_codec import UNSCANNED_BYTES, MsgpackCodec
from zfoo_py.protocol.packet import Packet, PacketTable, ProtocolModule

table = PacketTable()
module = ProtocolModule(10, "codec_hostile_test", table=table)


class Point(Packet):
    x: int
    y: float = 0.5


@module.packet(1000)
class Mixed(Packet):
    ratio: float
    text: str
    data: bytes
    points: list[Point]
    chosen: set[int]
    cells: dict[tuple[int, int], Point]
    pair: tuple[int, str] | None
    counts: dict[str, int] = {}  # noqa: RUF012


@module.packet(1001)
class Tree(Packet):
    children: list[Tree] = []  # noqa: RUF012


MIXED = Mixed(1.5, "aé", b"\x00\xff", [Point(7), Point(8, 1.0)], {3}, {(1, 2): Point(3)}, (1, "p"), {"k": 1})
CODEC = MsgpackCodec(table)


def refused(data):
    with pytest.raises(DecodeError):
        CODEC.decode(data)


def only_decode_errors(data):
    """Decode; whatever comes out is whole: it can be sent again."""
    try:
        _, packet, _ = CODEC.decode(data)
    except DecodeError:
        return
    CODEC.encode(packet)


VALID = [
    CODEC.ask_frame(CODEC.encode(MIXED), 5, CLIENT_KEYED, 7, 3000)[4:],
    CODEC.answer_frame(CODEC.encode(Mixed(-2, "", b"", [], set(), {}, None)), 5)[4:],
    CODEC.one_way_frame(CODEC.encode(Tree([Tree(), Tree([Tree()])])), 9)[4:],
    CODEC.one_way_frame(CODEC.encode(Hello(1, "node", "id", "text", 5, ["c"], b"t")), None)[4:],
]


HEADERS = [
    b"\x94", b"\xcd\x03\xe8", b"\xcd\x03\xe9", b"\x66", b"\x90", b"\x91", b"\x81", b"\xc0", b"\xa1", b"\x00",
    b"\xdd\x00\x00\x00\x05", b"\xca\x00\x00\x00\x00", b"\xd4\x05x",
]  # fmt: skip


@settings(max_examples=300)
@given(st.binary(max_size=64) | st.tuples(st.sampled_from(VALID), st.binary(max_size=8)).map(b"".join))
def test_random_bytes(data):
    only_decode_errors(data)


@given(st.lists(st.sampled_from(HEADERS), max_size=30))
def test_random_headers(parts):
    only_decode_errors(b"".join(parts))


@pytest.mark.parametrize("data", VALID)
def test_truncations(data):
    for size in range(len(data)):
        refused(data[:size])


@pytest.mark.parametrize("data", VALID)
def test_bit_flips(data):
    for index, bit in itertools.product(range(len(data)), range(8)):
        flipped = bytearray(data)
        flipped[index] ^= 1 << bit
        only_decode_errors(bytes(flipped))


def test_many_changes_at_once():
    rng = random.Random(5)
    for _ in range(3000):
        data = bytearray(rng.choice(VALID))
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        only_decode_errors(bytes(data))


@pytest.mark.parametrize("depth", [200, 600, 1000, 5000, 100_000])
@pytest.mark.parametrize(
    "opening",
    [b"\x91", b"\x81\xa0", b"\x81", b"\xdd\x00\x00\x00\x01", b"\xdf\x00\x00\x00\x01\x00", b"\x91\x91\x81\x91"],
)
def test_deep_nesting(depth, opening):
    """In the fields of a recursive class, in a scalar's place, as an id, as a key; complete or cut off."""
    deep = opening * depth
    for before, after in (
        (b"\x94\xcd\x03\xe9", b"\x90\xc0\xc0"),
        (b"\x94\x66\x91", b"\xc0\xc0\xc0"),
        (b"\x94", b""),
        (b"", b""),
    ):
        only_decode_errors(before + deep + after)


def test_depth_that_is_meant_is_no_fault():
    """A tree of 200 levels (400 arrays) goes through; what Python's recursion limit forbids is a typed error."""
    tree = Tree()
    for depth in range(600):
        try:
            head = CODEC.encode(tree)
        except EncodeError:
            assert depth > 200
            break
        if depth <= 200:
            assert CODEC.decode(head + b"\xc0\xc0")[1] == tree
        else:
            only_decode_errors(head + b"\xc0\xc0")
        tree = Tree([tree])


@pytest.mark.parametrize("size", [UNSCANNED_BYTES, UNSCANNED_BYTES + 1, 65536, 1 << 20])
@pytest.mark.parametrize("use", ["array", "key"])
def test_headers_that_lie_about_their_length(size, use):
    """Nested arrays that each claim as many places as there are bytes: 8 bytes of pointer each, times the depth."""
    depth = min(200, size // 5 - 2)
    start = b"\x81" if use == "key" else b""  # an array as key is unpacked a second time, into tuples
    lie = b"\xdd" + (size - 5 * depth).to_bytes(4, "big")
    data = (b"\x94\x66" + start + lie * depth).ljust(size, b"\xc0")
    tracemalloc.start()
    try:
        refused(data)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < max(65 * size, 3_000_000)


def test_a_megabyte_of_empty_arrays_is_the_worst_that_is_true():
    """Architecture section 4: 65 times its size; the fields are of no use, but had to be unpacked to see that."""
    size = 1 << 18
    data = b"\x94\x66\xdd" + (size).to_bytes(4, "big") + b"\x90" * size + b"\xc0\xc0"
    tracemalloc.start()
    try:
        assert CODEC.decode(data)[1] == Heartbeat()  # a newer peer's Heartbeat may have fields
        assert tracemalloc.get_traced_memory()[1] < 75 * size
    finally:
        tracemalloc.stop()


def test_equal_keys_collapse_as_in_any_dict():
    """1, 1.0 and True are one key of Python's: the declared type decides what is left."""
    head = CODEC.encode(MIXED)
    doubled = head.replace(b"\x81\xa1k\x01", b"\x82\xa1k\x01\xa1k\x02")
    assert doubled != head
    assert CODEC.decode(doubled + b"\xc0\xc0")[1].counts == {"k": 2}
