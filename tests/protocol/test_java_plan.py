"""Any class Java could have: what is written is read again, as Java reads it; and what a hostile peer may send."""

from __future__ import annotations

import itertools
import random
import struct
import tracemalloc
from typing import Annotated

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.java_model import without_halves
from tests.support.java_packets import TABLE as WIRE_TABLE
from tests.support.java_packets import WIRE, packet_of
from zfoo_py.errors import DecodeError, EncodeError, PacketError
from zfoo_py.protocol.frozen_map import FrozenMap
from zfoo_py.protocol.java_bytes import write_int
from zfoo_py.protocol.java_types import RANGES, Byte, Double, Float, Int, Long, Short, Wire
from zfoo_py.protocol.msgpack_codec import MsgpackCodec
from zfoo_py.protocol.packet import Packet, PacketTable, ProtocolModule
from zfoo_py.protocol.zfoo_java_codec import ZfooJavaCodec, decode, encode


class Inner(Packet):
    a: Int
    b: str


class Wider(Packet):
    a: Int
    tail: Annotated[list[Short], Wire(compatible=2)] = []  # noqa: RUF012
    flag: Annotated[bool, Wire(compatible=-1)] = False


def ints(width):
    return st.integers(*RANGES[width])


def single(value):
    return struct.unpack(">f", struct.pack(">f", value))[0]


FLOATS = st.floats(allow_nan=False)
TEXT = st.text(st.characters(codec="utf-8")) | st.text(st.sampled_from("a\ud800é\udc00😀\x00"), max_size=5)
INNERS = st.builds(Inner, ints("int"), TEXT)
WIDER = st.builds(Wider, ints("int"), st.lists(ints("short"), max_size=3), st.booleans())
HASHED = [(bool, st.booleans()), (Byte, ints("byte")), (Short, ints("short")), (Int, ints("int")), (Long, ints("long")),
          (int, ints("long")), (str, TEXT), (Inner, INNERS)]  # fmt: skip
LEAVES = [*HASHED, (Float, st.floats(width=32, allow_nan=False)), (Double, FLOATS), (float, FLOATS),
          (bytes, st.binary()), (Wider, WIDER)]  # fmt: skip


def frozen(depth):
    leaf = st.sampled_from(HASHED)
    if not depth:
        return leaf
    inner = frozen(depth - 1)
    return st.one_of(
        leaf,
        inner.map(lambda k: (tuple[k[0], ...], st.lists(k[1], max_size=3).map(tuple))),
        inner.map(lambda k: (frozenset[k[0]], st.frozensets(k[1], max_size=3))),
        st.tuples(inner, inner).map(
            lambda k: (FrozenMap[k[0][0], k[1][0]], st.dictionaries(k[0][1], k[1][1], max_size=3).map(FrozenMap))
        ),
    )


def kinds(depth):
    leaf = st.sampled_from(LEAVES)
    if not depth:
        return leaf
    inner, key = kinds(depth - 1), frozen(depth - 1)
    return st.one_of(
        leaf,
        inner.map(lambda k: (list[k[0]], st.lists(k[1], max_size=3))),
        key.map(lambda k: (set[k[0]], st.sets(k[1], max_size=3))),
        st.tuples(key, inner).map(lambda k: (dict[k[0][0], k[1][0]], st.dictionaries(k[0][1], k[1][1], max_size=3))),
        frozen(depth),
    )


FIELDS = st.lists(
    st.tuples(kinds(2), st.none() | st.integers(-3, 3), st.booleans()),
    max_size=5,
    unique_by=lambda field: object() if field[1] is None else field[1],
)


def normal(value):
    """What reading gives for a value, by zfoo.md section 1."""
    if isinstance(value, str):
        return without_halves(value)
    if isinstance(value, FrozenMap | dict):
        return type(value)({normal(k): normal(v) for k, v in value.items()})
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(map(normal, value))
    if isinstance(value, Packet):
        return type(value)(*(normal(getattr(value, field)) for field in value.__struct_fields__))
    return value


def declared(fields):
    """Return a class of these fields, in a table of its own."""
    table = PacketTable()
    annotations = []
    for index, ((kind, _), compatible, nullable) in enumerate(fields):
        annotation = kind | None if nullable else kind
        annotations.append((f"field_{index}", Annotated[annotation, Wire(compatible=compatible)]))
    made = msgspec.defstruct("Made", annotations, bases=(Packet,), module=__name__)
    ProtocolModule(10, "made", table=table).packet(1000)(made)
    return made, table


EMPTY = {list: [], set: set(), dict: {}, tuple: (), frozenset: frozenset(), FrozenMap: FrozenMap()}
ZERO = {bool: False, str: "", bytes: b"", Inner: None, Wider: None}


def null_of(kind):
    origin = getattr(kind, "__origin__", kind)
    if origin in EMPTY:
        return EMPTY[origin]
    return ZERO.get(kind, 0)


@settings(max_examples=80, deadline=None)
@given(st.data(), FIELDS)
def test_what_is_written_is_read(data, fields):
    made, table = declared(fields)
    values, expected = [], []
    for (kind, value), _, _ in fields:
        drawn = data.draw(value | st.none())
        values.append(drawn)
        expected.append(null_of(kind) if drawn is None else normal(drawn))
    message = encode(made(*values), None, table)
    assert decode(message, table) == (made(*expected), None)
    assert decode(encode(made(*expected), None, table), table) == (made(*expected), None)
    for size in range(2, min(len(message) - 1, 40)):
        with pytest.raises(DecodeError):
            decode(message[:size], table)


@settings(max_examples=40, deadline=None)
@given(st.data(), FIELDS)
def test_the_default_codec_takes_the_same_packets(data, fields):
    made, table = declared(fields)
    packet = made(*(data.draw(value.map(normal)) for (_, value), _, _ in fields))
    codec = MsgpackCodec(table)
    assert codec.decode(codec.encode(packet) + b"\xc0\xc0")[1] == packet


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (Byte, 128, "Made.field_0: 128 is out of range: Byte is -128 to 127"),
        (Short, -32769, "out of range: Short"),
        (Int, 1 << 31, "out of range: Int"),
        (int, 1 << 63, "out of range: Long"),
        (Float, 1e39, "Made.field_0: a Float cannot hold"),
        (float, 10**400, "Made.field_0: a Double cannot hold"),
        (Int, True, "expected Int, got bool"),
        (list[Byte], [1, 200], r"Made.field_0 \(an element\): 200 is out of range"),
        (str, b"a", "expected str, got bytes"),
        (bool, 1, "expected bool, got int"),
        (Inner, Wider(1), "expected Inner, got Wider"),
        (set[int], "ab", r"expected set\[int\], got str"),
        (list[int], (1,), r"expected list\[int\], got tuple"),
        (dict[str, int], [1], r"expected dict\[str, int\], got list"),
        (set[int], range(0x8000), "32768 elements, and Java zfoo reads fewer than 32768"),
    ],
)
def test_what_is_refused(kind, value, text):
    made, table = declared([((kind, None), None, False)])
    with pytest.raises(EncodeError, match=text):
        encode(made(value), None, table)


def test_java_has_no_tuples_of_two():
    made, table = declared([((tuple[int, str], None), None, False)])
    with pytest.raises(PacketError, match="which Java zfoo does not have"):
        encode(made((1, "a")), None, table)


def test_sets_are_written_in_the_order_given():
    made, table = declared([((set[Int], None), None, False)])
    for given_ in ([3, 1, 2], (3, 1, 2), iter([3, 1, 2]), {3: 0, 1: 0, 2: 0}.keys()):
        assert encode(made(given_), None, table).hex() == "03e8010606020400"


def test_what_is_not_for_java_is_not_written():
    table = PacketTable()

    class Own(Packet):
        a: Int
        hidden: Annotated[str, Wire(java=False)] = "here"

    ProtocolModule(10, "own", table=table).packet(1000)(Own)
    assert encode(Own(1, "x"), None, table).hex() == "03e8010200"
    assert decode(encode(Own(1, "x"), None, table), table)[0] == Own(1, "here")


# --- hostile peers

VALID = [bytes.fromhex(entry["frameHex"][8:]) for entry in (*WIRE["entries"], *WIRE["attachmentFrames"])]
SHORT = sorted({data for data in VALID if 20 < len(data) < 120}, key=lambda data: (len(data), data))[::7]


def only_decode_errors(data):
    try:
        packet, _ = decode(data, WIRE_TABLE)
    except DecodeError:
        return
    encode(packet, None, WIRE_TABLE)


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=64) | st.tuples(st.sampled_from(VALID), st.integers(2, 60), st.binary(max_size=20)).map(
    lambda parts: parts[0][: parts[1]] + parts[2]))  # fmt: skip
def test_random_bytes(data):
    only_decode_errors(data)


@pytest.mark.parametrize("data", SHORT)
def test_bit_flips_and_truncations(data):
    for index, bit in itertools.product(range(len(data)), range(8)):
        flipped = bytearray(data)
        flipped[index] ^= 1 << bit
        only_decode_errors(bytes(flipped))
    for size in range(len(data)):
        only_decode_errors(data[:size])


def test_ten_thousand_messages_that_somebody_has_worked_on():
    """H1: noise, and right ones with bytes changed, cut, doubled, put in."""
    rng = random.Random(3)
    for number in range(10_000):
        data = bytearray(rng.choice(VALID)[:300])
        for _ in range(rng.randint(1, 5)):
            at = rng.randint(2, len(data))
            data[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
        only_decode_errors(bytes(data[: rng.randint(2, len(data))] if number % 3 == 0 else data))
        only_decode_errors(bytes(data[:2]) + rng.randbytes(rng.randrange(40)))


class Tree(Packet):
    children: list[Tree | None]
    twig: Annotated[Tree | None, Wire(compatible=1)] = None


@pytest.mark.parametrize("depth", [100, 900, 1100, 100_000])
@pytest.mark.parametrize("opening", ["0102", "010202", "02010202", "fc010102", "fcff7e02"])
def test_nesting_as_deep_as_a_frame_can_hold(depth, opening):
    table = PacketTable()
    ProtocolModule(10, "trees", table=table).packet(1000)(Tree)
    for end in (b"", b"\x00", b"\x00" * depth, b"\x01" + b"\x00" * depth):
        data = bytes.fromhex("03e8") + bytes.fromhex(opening) * depth + end
        try:
            decode(data, table)
        except DecodeError:
            pass


def peak_of(data, table, *, fails=False):
    codec = ZfooJavaCodec(table)
    try:
        codec.decode_message(data[:3])  # compiles
    except DecodeError:
        pass
    tracemalloc.start()
    try:
        made = codec.decode_message(data)
    except DecodeError:
        made = None
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert not (fails and made)
    return peak


@pytest.mark.parametrize(
    "kind",
    [
        list[list[int]], list[set[int]], list[dict[int, int]], list[str], list[int], list[Inner], list[Wider],
        list[FrozenMap[int, int]], list[set[FrozenMap[int, int]]], dict[int, list[int]],
        list[list[set[str]]], list[bool],
    ],
)  # fmt: skip
@pytest.mark.parametrize("filling", [b"\x00", b"\x02\x00", b"\x02\x01", b"\x02\x00\x00", b"\x02\x02\x02"])
def test_memory_is_bounded_by_the_frame(kind, filling):
    """H4: 80 times the frame, and 1 MiB for small ones."""
    made, table = declared([((kind, None), None, False)])
    head = encode(made(None), None, table)[:3]
    for count in (30_000, 60_000):
        data = head + write_int(count) + filling * count
        assert peak_of(data, table) < 80 * len(data) + (1 << 20)


def test_counts_that_lie_are_refused_at_once():
    for kind in (list[int], list[str], bytes, str, set[str], dict[str, str], list[Float], list[Inner]):
        made, table = declared([((kind, None), None, False)])
        head = encode(made(None), None, table)[:3]
        for lie in ("feffffff0f", "80808008", "8004"):
            assert peak_of(head + bytes.fromhex(lie) + b"\x02" * 100, table, fails=True) < 100_000


def test_a_bool_is_true_whatever_its_byte_is_but_0():
    made, table = declared([((bool, None), None, False), ((list[bool], None), None, False)])
    for byte in (1, 2, 0x7F, 0x80, 0xFF):
        assert decode(b"\x03\xe8\x01" + bytes((byte, 4, 0, byte)), table)[0] == made(True, [False, True])


def test_a_negative_count_is_empty():
    made, table = declared([((list[str], None), None, False), ((str, None), None, False)])
    assert decode(bytes.fromhex("03e8010101"), table)[0] == made([], "")


def test_an_object_longer_than_it_says_is_refused():
    packet = packet_of("WCompatV2", {"a": "long", "b": 1, "newInt": 2, "newStr": "x"})
    data = bytearray(encode(packet, None, WIRE_TABLE))
    data[2] = 4
    with pytest.raises(DecodeError, match="more bytes than its length"):
        decode(bytes(data), WIRE_TABLE)
