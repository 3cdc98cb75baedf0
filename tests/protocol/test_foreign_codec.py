"""Java's codecs where a session expects the default one."""

from __future__ import annotations

import pytest

from zfoo_py.errors import EncodeError
from zfoo_py.protocol.attachment import NoAnswerAttachment, SignalAttachment
from zfoo_py.protocol.common import PairLong, Pong
from zfoo_py.protocol.foreign_codec import foreign_codec
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
