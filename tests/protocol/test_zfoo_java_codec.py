"""The binary format against what Java zfoo wrote and read (tests/data/wire.json)."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.java_packets import CLASSES, TABLE, WIRE, packet_as_read, packet_of
from zfoo_py.errors import DecodeError
from zfoo_py.protocol.attachment import CLIENT_CODES, MAX_SIGNAL_ID, SignalAttachment
from zfoo_py.protocol.common import PairLong
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


@pytest.mark.parametrize("signal_id", [1, 63, 64, 1023, 1024, 123_456, MAX_SIGNAL_ID])
@pytest.mark.parametrize("lane", [-1, 0, 1023, -1024, 1024, 0x7FFF_FFFF, -0x8000_0000])
def test_an_ask_is_a_message_with_a_signal_attachment(signal_id, lane):
    head = CODEC.encode(PairLong(1, 2))
    for client in CLIENT_CODES:
        attachment = SignalAttachment(client, signal_id, lane)
        assert CODEC.ask(head, signal_id, client, lane) == CODEC.finish(head, attachment)
        assert CODEC.decode_message(CODEC.finish(head, attachment))[2] == attachment


@pytest.mark.parametrize("client", [-128, 0, 5, 127])
def test_a_java_peer_tells_the_time(client):
    """And its client code and signal id may be any."""
    head = CODEC.encode(PairLong(1, 2))
    for signal_id, timestamp in [(-1, 0), (-(1 << 31), 1_700_000_000_000), (0, -(1 << 63)), (5, (1 << 63) - 1)]:
        attachment = SignalAttachment(client, signal_id, 7, timestamp)
        message = CODEC.finish(head, attachment)
        assert CODEC.decode_message(message)[2] == attachment
        for size in range(len(head) + 1, len(message)):
            with pytest.raises(DecodeError, match="ends within a value"):
                CODEC.decode_message(message[:size])


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from([0, 1, 2, 0x7F, 0x80, 0x81, 0xC5, 0xFF]) | st.integers(0, 255), max_size=22).map(bytes))
def test_the_quick_function_reads_what_the_plan_reads(data):
    """Of a SignalAttachment: the same numbers, and the end of the data in the same places."""
    head = CODEC.encode(PairLong(1, 2))
    try:
        expected, end = CODEC._plans.of(SignalAttachment).read(b"\x01" + data, 0, [0])
        assert end <= len(data) + 1
    except IndexError:
        with pytest.raises(DecodeError, match="ends within a value"):
            CODEC.decode_message(head + b"\x01\x00\x00\x01" + data)
    else:
        assert CODEC.decode_message(head + b"\x01\x00\x00\x01" + data)[2] == expected


@pytest.mark.parametrize("entry", WIRE["crossDecode"], ids=ids(WIRE["crossDecode"]))
def test_longer_and_shorter_peers(entry):
    sent = CODEC.encode(packet_of(entry["encodedAs"], entry["values"]))
    assert sent[2:].hex() == entry["objectHex"]
    number = CODEC.encode(packet_of(entry["decodedAs"], entry["decoded"]))[:2]
    got, _ = decode(number + sent[2:] + b"\x00", TABLE)
    assert got == packet_as_read(entry["decodedAs"], packet_of(entry["decodedAs"], entry["decoded"]))
