"""The default codec: its bytes, and what it says of packets and frames that are wrong."""

from __future__ import annotations

import threading

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zfoo_py.errors import DecodeError, EncodeError, PacketError, UnmappedPacketError
from zfoo_py.protocol.attachment import (
    CLIENT_KEYED,
    CLIENT_KEYLESS,
    MAX_SIGNAL_ID,
    GatewayAttachment,
    HttpAttachment,
    NoAnswerAttachment,
    SignalAttachment,
    UdpAttachment,
)
from zfoo_py.protocol.common import Error, ErrorCode, Heartbeat, Hello
from zfoo_py.protocol.msgpack_codec import MsgpackCodec
from zfoo_py.protocol.packet import Ask, Packet, PacketTable, ProtocolModule

table = PacketTable()
module = ProtocolModule(10, "codec_test", table=table)


class Point(Packet):
    """Mapped nowhere, and a field of others."""

    x: int
    y: float = 0.5


@module.packet(1000)
class Kinds(Packet):
    """Every kind of field."""

    flag: bool
    number: int
    ratio: float
    text: str
    data: bytes
    point: Point
    listed: list[str]
    chosen: set[int]
    counts: dict[str, int]
    pair: tuple[int, str]
    series: tuple[float, ...]
    absent: int | None
    cells: dict[tuple[int, int], Point]
    later: str = "x"


@module.packet(1001)
class Tree(Packet):
    children: list[Tree] = []  # noqa: RUF012


@module.packet(1002)
class Request(Ask[Kinds]):
    id: int
    name: str
    payload: bytes
    tags: list[str]


@module.packet(1003)
class Strict(Packet):
    n: int

    def __post_init__(self):
        if self.n < 0:
            raise LookupError("negative")


KINDS = Kinds(
    flag=True,
    number=-5,
    ratio=1.5,
    text="aé",
    data=b"\x00\xff",
    point=Point(7),
    listed=["a", "b"],
    chosen={3},
    counts={"k": 1},
    pair=(1, "p"),
    series=(0.5, 2),
    absent=None,
    cells={(1, 2): Point(3, 4.0)},
)
GOLDEN = {
    "array of 4, protocol id": "94 cd03e8",
    "array of 14 fields": "9e",
    "flag": "c3",
    "number": "fb",
    "ratio": "cb3ff8000000000000",
    "text": "a3 61c3a9",
    "data": "c402 00ff",
    "point": "92 07 cb3fe0000000000000",
    "listed": "92 a161 a162",
    "chosen": "91 03",
    "counts": "81 a16b 01",
    "pair": "92 01 a170",
    "series": "92 cb3fe0000000000000 02",
    "absent": "c0",
    "cells": "81 92 01 02 92 03 cb4010000000000000",
    "later": "a178",
}


@pytest.fixture
def codec():
    return MsgpackCodec(table)


CODEC = MsgpackCodec(table)


def body(*parts):
    return msgpack.packb(list(parts))


def refused(data, match=None, codec=CODEC):
    with pytest.raises(DecodeError, match=match) as caught:
        codec.decode(data)
    return caught.value


# ------------------------------------------------------------------------------------------------ the bytes
class TestBytes:
    def test_golden(self, codec):
        """One packet with every kind of field, byte by byte."""
        assert codec.encode(KINDS) == bytes.fromhex("".join(GOLDEN.values()))

    def test_golden_decodes(self, codec):
        data = bytes.fromhex("".join(GOLDEN.values()) + "c0c0")
        binding, packet, attachment = codec.decode(data)
        assert binding is table.binding(Kinds)
        assert packet == KINDS
        assert [type(getattr(packet, name)) for name in Kinds.__struct_fields__] == [
            bool, int, float, str, bytes, Point, list, set, dict, tuple, tuple, type(None), dict, str,
        ]  # fmt: skip
        assert attachment is None

    @pytest.mark.parametrize(
        ("packet", "head"),
        [
            (Heartbeat(), "94 66 90"),
            (Error(ErrorCode.DRAINING, "m"), "94 65 92 06 a16d"),
            (Tree([Tree()]), "94cd03e9 91 91 91 90"),
        ],
    )
    def test_other_heads(self, codec, packet, head):
        assert codec.encode(packet) == bytes.fromhex(head)

    @pytest.mark.parametrize("signal_id", [1, 127, 128, 70_000, MAX_SIGNAL_ID])
    @pytest.mark.parametrize("lane", [-1, 0, 5, 2**31 - 1, -(2**31)])
    def test_ask_frame(self, codec, signal_id, lane):
        head = codec.encode(Heartbeat())
        data = codec.ask_frame(head, signal_id, CLIENT_KEYED, lane, 3000)
        assert int.from_bytes(data[:4], "big") == len(data) - 4
        assert msgpack.unpackb(data[4:]) == [102, [], 0, [1, signal_id, lane, 0, 3000]]
        assert codec.decode(data[4:])[2] == SignalAttachment(1, signal_id, lane, 0, 3000)

    @pytest.mark.parametrize(
        ("remaining_ms", "sent"), [(1, 1), (0, 1), (-7, 1), (2**32 - 1, 2**32 - 1), (2**40, 2**32 - 1)]
    )
    def test_remaining_time_is_kept_in_range(self, codec, remaining_ms, sent):
        """A deadline just passed is not "no deadline"."""
        data = codec.ask_frame(codec.encode(Heartbeat()), 1, CLIENT_KEYLESS, -1, remaining_ms)
        assert codec.decode(data[4:])[2].remaining_ms == sent

    @pytest.mark.parametrize("signal_id", [1, 127, 128, 70_000, MAX_SIGNAL_ID])
    def test_answer_frame(self, codec, signal_id):
        data = codec.answer_frame(codec.encode(Heartbeat()), signal_id)
        assert int.from_bytes(data[:4], "big") == len(data) - 4
        assert msgpack.unpackb(data[4:]) == [102, [], 0, [0, signal_id]]
        assert codec.decode(data[4:])[2] == SignalAttachment(0, signal_id)

    @pytest.mark.parametrize("lane", [None, -1, 0, 2**31 - 1, -(2**31)])
    def test_one_way_frame(self, codec, lane):
        data = codec.one_way_frame(codec.encode(Heartbeat()), lane)
        assert int.from_bytes(data[:4], "big") == len(data) - 4
        expected = [102, [], None, None] if lane is None else [102, [], 5, [lane]]
        assert msgpack.unpackb(data[4:]) == expected
        assert codec.decode(data[4:])[2] == (None if lane is None else NoAnswerAttachment(lane))

    def test_a_body_may_be_a_memoryview(self, codec):
        data = memoryview(codec.one_way_frame(codec.encode(KINDS), None))[4:]
        packet = codec.decode(data)[1]
        assert packet == KINDS
        assert type(packet.data) is bytes


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
FLOATS = st.floats(allow_nan=False)
POINTS = st.builds(Point, st.integers(-(2**63), 2**64 - 1), FLOATS)
PACKETS = st.builds(
    Kinds,
    flag=st.booleans(),
    number=st.integers(-(2**63), 2**64 - 1),
    ratio=FLOATS,
    text=TEXTS,
    data=st.binary(max_size=40),
    point=POINTS,
    listed=st.lists(TEXTS, max_size=4),
    chosen=st.sets(st.integers(-9, 9), max_size=4),
    counts=st.dictionaries(TEXTS, st.integers(0, 9), max_size=4),
    pair=st.tuples(st.integers(0, 9), TEXTS),
    series=st.lists(FLOATS, max_size=3).map(tuple),
    absent=st.none() | st.integers(0, 9),
    cells=st.dictionaries(st.tuples(st.integers(0, 9), st.integers(0, 9)), POINTS, max_size=3),
    later=TEXTS,
)


@given(PACKETS)
def test_what_is_encoded_is_decoded(packet):
    data = CODEC.ask_frame(CODEC.encode(packet), 5, CLIENT_KEYLESS, -1, 1)[4:]
    binding, found, attachment = CODEC.decode(data)
    assert (binding.packet_class, found, attachment.signal_id) == (Kinds, packet, 5)


# ------------------------------------------------------------------------------------------ encoding errors
class TestEncodeErrors:
    @pytest.mark.parametrize(
        ("packet", "text"),
        [
            (Request("1", "n", b"", []), "Request.id: expected int, got str"),
            (Request(True, "n", b"", []), "Request.id: expected int, got bool"),
            (Request(1, "n", "text", []), "Request.payload: expected bytes, got str"),
            (Request(1, "n", b"", ["a", None]), "Request.tags (an element): expected str, got None"),
            (Request(2**64, "n", b"", []), "Request.id: Integer value out of range"),
            (Request(-(2**63) - 1, "n", b"", []), "Request.id: Integer value out of range"),
            (Request(1, "\ud800", b"", []), "Request.name: 'utf-8' codec can't encode"),
            (Request(1, "n", b"", ["a", "\udfff"]), "Request.tags: 'utf-8' codec can't encode"),
            (Tree([Tree([5])]), "Tree.children (an element): expected Tree, got int"),
        ],
        ids=str,
    )
    def test_name_class_and_field(self, codec, packet, text):
        with pytest.raises(EncodeError) as caught:
            codec.encode(packet)
        assert str(caught.value).startswith(text)
        assert caught.value.packet == type(packet).__name__
        assert caught.value.module == "codec_test"
        assert caught.value.may_have_run is False

    def test_in_a_nested_packet_both_are_named(self, codec):
        bad = Kinds(**{name: getattr(KINDS, name) for name in Kinds.__struct_fields__} | {"point": Point("7")})
        with pytest.raises(EncodeError, match=r"^Kinds: Point\.x: expected int, got str$"):
            codec.encode(bad)

    def test_a_ring_of_packets_ends(self, codec):
        tree = Tree([])
        tree.children.append(tree)
        with pytest.raises(EncodeError, match="Tree"):
            codec.encode(tree)

    def test_too_deep_a_packet(self, codec):
        tree = Tree()
        for _ in range(600):
            tree = Tree([tree])
        with pytest.raises(EncodeError, match="Tree"):
            codec.encode(tree)

    def test_a_failure_leaves_the_codec_whole(self, codec):
        """No bytes of the packet that failed are left in the thread's packer."""
        good = codec.encode(KINDS)
        for bad in (Request(1, "n" * 1000, b"", ["\ud800"]), Request(1, "n", b"", [5])):
            with pytest.raises(EncodeError):
                codec.encode(bad)
            assert codec.encode(KINDS) == good

    def test_an_unmapped_class(self, codec):
        with pytest.raises(UnmappedPacketError, match="Point has no protocol id"):
            codec.encode(Point(1))
        with pytest.raises(UnmappedPacketError, match="NoneType"):
            codec.encode(None)

    def test_a_class_mapped_after_the_codec_was_made(self):
        own = PacketTable()
        codec = MsgpackCodec(own)
        with pytest.raises(UnmappedPacketError):
            codec.encode(KINDS)
        refused(body(1000, [], None, None), "unknown protocol id 1000", codec)
        ProtocolModule(10, "late", table=own).packet(1000)(Kinds)
        assert codec.decode(codec.encode(KINDS) + b"\xc0\xc0")[1] == KINDS

    def test_an_annotation_that_never_resolves(self):
        own = PacketTable()

        @ProtocolModule(10, "lost", table=own).packet(1000)
        class Lost(Packet):
            x: Nowhere  # noqa: F821

        with pytest.raises(PacketError, match="Nowhere"):
            MsgpackCodec(own).encode(Lost(1))
        refused(body(1000, [1], None, None), "Nowhere", MsgpackCodec(own))

    def test_each_thread_has_its_packer(self, codec):
        """msgpack.Packer is not thread-safe."""
        packers = [codec._packer.pack]
        thread = threading.Thread(target=lambda: packers.append(codec._packer.pack))
        thread.start()
        thread.join()
        assert packers[0] is codec._packer.pack
        assert packers[0].__self__ is not packers[1].__self__

    def test_any_thread_may_encode(self, codec):
        """Packers are not shared: each thread gets its own bytes back, whatever the others do."""
        wrong = []
        start = threading.Barrier(8)

        def work(number):
            packets = [Request(number, f"{number}" * n, b"\x00" * n, ["t"] * n) for n in range(40)]
            start.wait()
            wrong.extend(p for p in packets * 5 if codec.decode(codec.encode(p) + b"\xc0\xc0")[1] != p)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong


# --------------------------------------------------------------------------------------------- wrong frames
class TestDecodeErrors:
    @pytest.mark.parametrize(
        ("data", "text"),
        [
            (b"", "incomplete|unpack"),
            (b"\xc1", "FormatError"),
            (body(102, [], None), "no array of protocol id"),
            (body(102, [], None, None, None), "no array of protocol id"),
            (msgpack.packb({102: 0, 1: 0, None: 0, 5: 0}), "no array of protocol id"),
            (msgpack.packb("abcd"), "no array of protocol id"),
            (msgpack.packb(b"\x66abc"), "no array of protocol id"),
            (msgpack.packb(None), "no array of protocol id"),
            (body(102, [], None, None) + b"\x00", "ExtraData"),
            (body(7, [], None, None), "unknown protocol id 7"),
            (body(0, [1, 1], None, None), "unknown protocol id 0"),  # an attachment is no packet
            (body(-1, [], None, None), "unknown protocol id -1"),
            (body(2**64 - 1, [], None, None), "unknown protocol id"),
            (body(102.0, [], None, None), "unknown protocol id of type float"),
            (body(None, [], None, None), "unknown protocol id of type NoneType"),
            (body([102], [], None, None), "unhashable|unknown protocol id"),
            (body("102", [], None, None), "unknown protocol id of type str"),
            (body(102, None, None, None), "Heartbeat: expected an array of fields, got None"),
            (body(102, {}, None, None), "Heartbeat: expected an array of fields, got dict"),
            (body(1002, [1, "n", b"p"], None, None), "Request.tags is missing: 3 fields came"),
            (body(1002, [True, "n", b"p", []], None, None), "Request.id: expected int, got bool"),
            (body(1002, [1, b"n", b"p", []], None, None), "Request.name: expected str, got bytes"),
            (body(1002, [1, "n", b"p", [1]], None, None), r"Request.tags \(an element\): expected str, got int"),
            (body(1002, [1, "n", b"p", {}], None, None), r"Request.tags: expected list\[str\], got dict"),
            (body(1002, [1, "n", b"p", msgpack.ExtType(5, b"x")], None, None), "got ExtType"),
            (body(1002, [msgpack.Timestamp(5), "n", b"p", []], None, None), "got Timestamp"),
            (body(1003, [-1], None, None), "LookupError: 'negative'|negative"),
            (b"\x94\x66\x90\xc0\x81\x90", "incomplete"),
            (b"\x94\x66\x81\x80\xc0\xc0\xc0", "unhashable"),  # a map as a key
            (b"\x94\x66\x81\x91\x80\xc0\xc0\xc0", "unhashable"),  # an array with a map as a key
            (b"\x94\xcd\x03\xea\x94\x01\xa1\xff\xc4\x00\x90\xc0\xc0", "UnicodeDecodeError"),
        ],
        ids=str,
    )
    def test_say_what_is_wrong(self, data, text):
        assert refused(data, text).signal_id is None

    @pytest.mark.parametrize(
        ("number", "fields", "text"),
        [
            (1, [], "unknown attachment id 1"),
            (6, [], "unknown attachment id 6"),
            (False, [1, 5], "unknown attachment id of type bool"),
            (0.0, [0, 5], "unknown attachment id of type float"),
            ("0", [0, 5], "unknown attachment id of type str"),
            ([], [0, 5], "unknown attachment id of type list"),
            (0, None, "SignalAttachment: expected an array of fields, got None"),
            (0, 5, "SignalAttachment: expected an array"),
            (0, "ab", "SignalAttachment: expected an array"),
            (0, {}, "SignalAttachment: expected an array"),
            (0, [], "SignalAttachment.client is missing"),
            (0, [0], "SignalAttachment.signal_id is missing"),
            (0, [False, 5], "SignalAttachment.client: expected Byte, got bool"),
            (0, [0, True], "SignalAttachment.signal_id: expected Int, got bool"),
            (0, [0, 5.0], "SignalAttachment.signal_id: expected Int, got float"),
            (0, [0, "5"], "SignalAttachment.signal_id: expected Int, got str"),
            (0, [0, None], "SignalAttachment.signal_id: expected Int, got None"),
            (0, [1, 5, "lane"], "SignalAttachment.task_executor_hash: expected Int, got str"),
            (0, [1, 5, 5, 0, 1.0], "SignalAttachment.remaining_ms: expected int, got float"),
            (0, [0, 0], "signal id 0 is not in"),
            (0, [0, -5], "signal id -5 is not in"),
            (0, [1, 2**31], "SignalAttachment.signal_id: 2147483648 is out of range: Int"),
            (0, [0, 2**31, -1], "SignalAttachment.signal_id: 2147483648 is out of range: Int"),
            (0, [3, 5], "unknown client code 3"),
            (0, [1, 5, 2**31], "is out of range: Int"),
            (0, [1, 5, -(2**31) - 1, 0, 0], "is out of range: Int"),
            (2, [1, 5], "GatewayAttachment.client: expected bool, got int"),
            (2, [True, 5, [1, 0]], "signal id 0 is not in"),
            (2, [True, 5, [True, 1]], "SignalAttachment.client: expected Byte, got bool"),
            (3, ["host", "port"], "UdpAttachment.port: expected Int"),
            (5, [], "NoAnswerAttachment.task_executor_hash is missing"),
            (5, [2**31], "is out of range: Int"),
            (4, [2**31], "is out of range: Int"),
        ],
    )
    def test_attachments_are_checked(self, number, fields, text):
        assert refused(body(102, [], number, fields), text).signal_id is None

    @pytest.mark.parametrize(
        ("number", "fields", "expected"),
        [
            (0, [0, 5], SignalAttachment(0, 5)),
            (0, [0, MAX_SIGNAL_ID, 7], SignalAttachment(0, MAX_SIGNAL_ID, 7)),
            (0, [12, 5, -1, 99, 7, "n.1 A"], SignalAttachment(12, 5, -1, 99, 7, "n.1 A")),
            (0, [12, 5, -1, 99, 7, "", "a newer peer's"], SignalAttachment(12, 5, -1, 99, 7)),
            (2, [True, 5, [12, 6], 7, 8], GatewayAttachment(True, 5, SignalAttachment(12, 6), 7, 8)),
            (2, [False, 5, None], GatewayAttachment(False, 5)),
            (3, ["host", 5], UdpAttachment("host", 5)),
            (4, [], HttpAttachment()),
            (5, [-1], NoAnswerAttachment(-1)),
            (None, [1, 2], None),
        ],
    )
    def test_right_attachments(self, number, fields, expected):
        attachment = CODEC.decode(body(102, [], number, fields))[2]
        assert attachment == expected
        assert type(attachment) is type(expected)

    @pytest.mark.parametrize("number", [102.0, "102", True, [102]])
    def test_a_known_id_must_still_be_a_whole_number(self, codec, number):
        """102.0 and 102 are one key of a dict."""
        codec.decode(body(102, [], None, None))
        refused(body(number, [], None, None), "unknown protocol id|unhashable", codec)

    @pytest.mark.parametrize("client", [1, 2, 12])
    @pytest.mark.parametrize("packet", [(1002, [1]), (7, []), (1003, [-1]), (1002, None), ([], [])])
    def test_of_an_ask_carry_its_signal(self, client, packet):
        """So that the asker can be told at once."""
        error = refused(body(*packet, 0, [client, 77, 5, 0, 9]))
        assert (error.signal_id, error.answers) == (77, None)

    def test_of_an_answer_carry_none(self):
        """Or two nodes would answer each other's errors for ever."""
        error = refused(body(1002, [1], 0, [0, 77]))
        assert (error.signal_id, error.answers) == (None, 77)
        assert refused(body(1002, [1], 5, [77])).signal_id is None

    def test_fields_of_newer_and_older_peers(self):
        fields = msgpack.unpackb(CODEC.encode(KINDS) + b"\xc0\xc0", use_list=False, strict_map_key=False)[1]
        assert CODEC.decode(body(1000, fields[:-1], None, None))[1] == KINDS
        assert CODEC.decode(body(1000, [*fields, "new", {"a": []}], None, None))[1] == KINDS
        assert CODEC.decode(body(32700, [1, "node"], None, None))[1] == Hello(1, "node")
