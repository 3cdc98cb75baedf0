"""The JSON variant against what Java zfoo wrote and read (tests/data/json_wire.json)."""

from __future__ import annotations

import json

import msgspec
import pytest

from tests.support.java_packets import CLASSES, DATA, TABLE, WIRE, annotation, packet_as_read, packet_of, python_name
from zfoo_py.errors import DecodeError
from zfoo_py.protocol.attachment import SignalAttachment
from zfoo_py.protocol.java_types import Long
from zfoo_py.protocol.packet import Packet, PacketTable, ProtocolModule
from zfoo_py.protocol.zfoo_json_codec import ZfooJsonCodec, decode, encode

JSON = json.loads((DATA / "json_wire.json").read_text(encoding="utf-8"))
TABLE_ = PacketTable()
MODULE = ProtocolModule(61, "jsonModule", table=TABLE_)


@MODULE.packet(6000)
class HelloAsk(Packet):
    id: Long
    text: str | None


def in_java_order(entry):
    """Return the packet, of a class that declares its fields as Java does: as they stand in the text."""
    name, values = entry["packet"], entry["values"]
    if name == "HelloAsk":
        return HelloAsk(**values), TABLE_
    packet = packet_of(name, values)
    if CLASSES[name].__module__ != "tests.support.java_packets":
        return packet, TABLE
    order = [*json.loads(entry["text"])["packet"]]
    types = {field["name"]: field["type"] for field in WIRE["schema"][name]["fields"]}
    order += [other for other in types if other not in order]
    made = msgspec.defstruct(
        name, [(python_name(field), annotation(types[field])) for field in order], bases=(Packet,), module=__name__
    )
    table = PacketTable()
    ProtocolModule(60, "wireModule", table=table).packet(entry["protocolId"])(made)
    return made(**msgspec.structs.asdict(packet)), table


@pytest.mark.parametrize("entry", JSON["entries"], ids=range(len(JSON["entries"])))
def test_messages(entry):
    packet, table = in_java_order(entry)
    attachment = entry["attachment"] and packet_of(entry["attachment"], entry["attachmentValues"])
    message = encode(packet, attachment, table)
    assert message.decode() == entry["text"]
    assert message.hex() == entry["tcpFrameHex"][8:]
    got, got_attachment = decode(message, table)
    assert got_attachment == attachment
    if "decoded" in entry:
        name = entry["packet"]
        known = {field["name"] for field in WIRE["schema"].get(name, {"fields": []})["fields"]}
        expected = (
            HelloAsk(**entry["decoded"])
            if not known and name == "HelloAsk"
            else packet_as_read(name, packet_of(name, entry["decoded"]))
        )
        for field in expected.__struct_fields__:
            assert (getattr(got, field) or None) == (getattr(expected, field) or None)
    else:
        assert got == packet


def test_an_ask_is_a_message_with_a_signal_attachment():
    codec = ZfooJsonCodec(TABLE_)
    head = codec.encode(HelloAsk(1, "a"))
    assert codec.ask(head, 7, 1, -5) == codec.finish(head, SignalAttachment(1, 7, -5))


@pytest.mark.parametrize("entry", JSON["inbound"], ids=range(len(JSON["inbound"])))
def test_inbound(entry):
    message = entry["text"].encode()
    if "error" in entry:
        with pytest.raises(DecodeError):
            decode(message, TABLE_)
        return
    packet, attachment = decode(message, TABLE_)
    assert packet == HelloAsk(**entry["decoded"])
    if entry["attachment"] is None:
        assert attachment is None
    else:
        expected = packet_of("SignalAttachment", entry["attachment"])
        assert msgspec.structs.replace(attachment, timestamp=0) == msgspec.structs.replace(expected, timestamp=0)
