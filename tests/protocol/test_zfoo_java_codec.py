"""The binary format against what Java zfoo wrote and read (tests/data/wire.json)."""

from __future__ import annotations

import math

import pytest

from tests.support.java_packets import CLASSES, TABLE, WIRE, packet_as_read, packet_of
from zfoo_py.protocol.zfoo_java_codec import ZfooJavaCodec, decode, encode

CODEC = ZfooJavaCodec(TABLE)


def ids(entries):
    return [
        f"{index}-{entry.get('packet') or entry.get('decodedAs')}-{entry['note'][:40]}"
        for index, entry in enumerate(entries)
    ]


def same(left, right):
    """Compare; NaN equals NaN, and 0.0 is not -0.0."""
    if isinstance(left, float) and isinstance(right, float):
        return (math.isnan(left) and math.isnan(right)) or (left == right and str(left) == str(right))
    return left == right


@pytest.mark.parametrize("entry", WIRE["entries"], ids=ids(WIRE["entries"]))
def test_packets(entry):
    packet = packet_of(entry["packet"], entry["values"])
    message = encode(packet, table=TABLE)
    assert message.hex() == entry["frameHex"][8:]
    assert CODEC.encode(packet).hex() == entry["hex"]
    expected = packet_as_read(entry["packet"], packet_of(entry["packet"], entry["decoded"]))
    for data in (message, memoryview(message), message[:-1], message + b"\x00rest"):
        got, attachment = decode(data, table=TABLE)
        assert attachment is None
        assert type(got) is CLASSES[entry["packet"]]
        for field in got.__struct_fields__:
            assert same(getattr(got, field), getattr(expected, field)), field


@pytest.mark.parametrize("entry", WIRE["attachmentFrames"], ids=ids(WIRE["attachmentFrames"]))
def test_attachments(entry):
    packet = packet_of(entry["packet"], entry["values"])
    attachment = packet_of(entry["attachment"], entry["attachmentValues"])
    message = encode(packet, attachment, TABLE)
    assert message.hex() == entry["frameHex"][8:]
    got, got_attachment = decode(message, TABLE)
    assert got == packet
    assert CODEC.encode(got_attachment).hex() == entry["attachmentHex"]


@pytest.mark.parametrize("entry", WIRE["crossDecode"], ids=ids(WIRE["crossDecode"]))
def test_longer_and_shorter_peers(entry):
    sent = CODEC.encode(packet_of(entry["encodedAs"], entry["values"]))
    assert sent[2:].hex() == entry["objectHex"]
    number = CODEC.encode(packet_of(entry["decodedAs"], entry["decoded"]))[:2]
    got, _ = decode(number + sent[2:] + b"\x00", TABLE)
    assert got == packet_as_read(entry["decodedAs"], packet_of(entry["decodedAs"], entry["decoded"]))
