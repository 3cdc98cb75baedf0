"""Java's codecs where a session expects the default one."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zfoo_py.errors import EncodeError
from zfoo_py.protocol.attachment import NoAnswerAttachment, SignalAttachment
from zfoo_py.protocol.common import PairLong, Pong
from zfoo_py.protocol.foreign_codec import foreign_codec
from zfoo_py.protocol.frozen_map import FrozenMap
from zfoo_py.protocol.msgpack_codec import MsgpackCodec
from zfoo_py.protocol.packet import Packet, PacketTable, ProtocolModule

DEFAULT = MsgpackCodec()


@pytest.mark.parametrize("name", ["zfoo-java", "zfoo-json"])
def test_frames(name):
    codec = foreign_codec(name, DEFAULT)
    head = codec.encode(PairLong(1, 2))
    for made, attachment in (
        (codec.ask_frame(head, 7, 1, 5, 3000), SignalAttachment(1, 7, 5)),
        (codec.one_way_frame(head, 5), NoAnswerAttachment(5)),
        (codec.one_way_frame(head, None), None),
    ):
        assert int.from_bytes(made[:4], "big") == len(made) - 4
        binding, packet, got = codec.messages.decode_message(made[4:])
        assert (binding.protocol_id, packet, got) == (111, PairLong(1, 2), attachment)


def test_what_the_peers_codec_cannot_carry():
    table = PacketTable()

    class Wide(Packet):
        number: int

    ProtocolModule(10, "wide", table=table).packet(1000)(Wide)
    codec = foreign_codec("zfoo-java", MsgpackCodec(table))
    with pytest.raises(EncodeError, match=r"Wide\.number: .* out of range"):
        codec.own(codec.encode(Wide(1 << 63)))
    assert codec.own(codec.encode(Pong(1))).hex() == "00680102"


sets_table = PacketTable()
sets = ProtocolModule(11, "sets", table=sets_table)


class Basket(Packet):
    names: set[str]


@sets.packet(1001)
class Baskets(Packet):
    numbers: set[int]
    names: set[str]
    groups: set[frozenset[str]]
    maps: set[FrozenMap[int, str]]
    by_group: FrozenMap[frozenset[int], list[Basket]]


numbers, texts = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=6), st.lists(st.text(max_size=4), max_size=6)
baskets = st.builds(
    Baskets,
    numbers | st.sets(st.integers(-9, 9)).map(sorted) | st.sets(st.integers(-9, 9)),
    texts | texts.map(lambda names: dict.fromkeys(names).keys()),
    st.lists(texts.map(frozenset), max_size=3),
    st.lists(st.dictionaries(st.integers(0, 9), st.text(max_size=3), max_size=3).map(FrozenMap), max_size=3),
    st.dictionaries(
        st.frozensets(st.integers(0, 9), max_size=4), st.lists(st.builds(Basket, texts), max_size=2), max_size=3
    ).map(FrozenMap),
)


@pytest.mark.parametrize("name", ["zfoo-java", "zfoo-json"])
@given(packet=baskets)
def test_sets_are_written_in_their_order_as_without_the_default_codec_between(name, packet):
    default = MsgpackCodec(sets_table)
    codec = foreign_codec(name, default)
    if name == "zfoo-json":  # which has no such keys
        packet = msgspec.structs.replace(packet, by_group=FrozenMap({}), maps=[])
    assert codec.own(default.encode(packet)) == codec.messages.encode(packet)


def test_what_a_class_does_to_its_set_when_it_is_made_counts():
    table = PacketTable()

    class Odd(Packet):
        numbers: set[int]

        def __post_init__(self) -> None:
            if isinstance(self.numbers, set):
                self.numbers.add(7)

    ProtocolModule(12, "odd", table=table).packet(1002)(Odd)
    default = MsgpackCodec(table)
    codec = foreign_codec("zfoo-java", default)
    own = codec.own(default.encode(Odd([9, 1])))
    assert codec.messages.decode_message(codec.messages.finish(own))[1].numbers == {9, 1, 7}
