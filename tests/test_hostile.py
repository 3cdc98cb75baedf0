"""Bad input over real sockets: the session that sent it ends or gets an Error; every other one goes on."""

from __future__ import annotations

import asyncio
import os
import struct

import pytest
from loguru import logger

from samples.services import Counts, VisitAnswer, VisitAsk, visits
from zfoo_py import Node, disable_logging, enable_logging, log
from zfoo_py.protocol.common import Error, ErrorCode, Hello
from zfoo_py.protocol.framing import FrameParser, frame
from zfoo_py.protocol.msgpack_codec import MsgpackCodec
from zfoo_py.testing import Client

CODEC = MsgpackCodec()
HELLO = CODEC.one_way_frame(CODEC.encode(Hello(1, "client", "stranger")), None)
ASK = CODEC.ask_frame(CODEC.encode(VisitAsk("a", 1)), 7, 1, 1, 3000)

# name, what the stranger sends after connecting, what one log line says about it
CLOSING = {
    "an HTTP request": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "over the limit"),
    "a TLS hello": (bytes.fromhex("16030100c8010000c40303") + os.urandom(100), "over the limit"),
    "a length over the limit": (struct.pack(">I", 65 * 1024) + b"x" * 100, "over the limit"),
    "a negative length": (struct.pack(">i", -1) + b"x" * 100, "negative length"),
    "a length of zero": (struct.pack(">I", 0) + b"x", "length zero"),
    "another first packet": (CODEC.one_way_frame(CODEC.encode(VisitAsk("a", 1)), None), "must be a Hello"),
    "no packet first": (frame(b"\xc1\xc1\xc1"), "is no Hello"),
    "a Hello of another version": (
        CODEC.one_way_frame(CODEC.encode(Hello(99, "client", "x")), None),
        "wire version 99 cannot talk to wire version 1",
    ),
    "a Hello of another kind": (CODEC.one_way_frame(CODEC.encode(Hello(1, "spy", "x")), None), "node or a client"),
    "a frame over the limit after the Hello": (HELLO + struct.pack(">I", 65 * 1024), "over the limit"),
}

# what is answered with an Error and does no more harm
ANSWERED = {
    "an unknown protocol id": b"\x94\xcd\x75\x30\x90\x00\x95\x01\x07\x01\x00\x00",
    "wrong field types": b"\x94\xcd\x04\x4c\x92\x01\x01\x00\x95\x01\x07\x01\x00\x00",
    "too few fields": b"\x94\xcd\x04\x4c\x91\xa1a\x00\x95\x01\x07\x01\x00\x00",
    "deep nesting": b"\x94\xcd\x04\x4c" + b"\x92\xa1a" + b"\x91" * 400 + b"\x01" + b"\x00\x95\x01\x07\x01\x00\x00",
}

# what says nothing that could be answered, and does no harm either
IGNORED = {
    "random bytes in a frame": os.urandom(500),
    "an array that promises 2**32 - 1 items": b"\xdd\xff\xff\xff\xff",
    "nesting of 50,000": b"\x91" * 50_000,
    "an answer to nobody's ask": b"\x94\x65\x92\x01\xa1x\x00\x92\x00\x07",
}


@pytest.fixture(autouse=True)
def fresh_limiter(monkeypatch):
    """Log lines are bounded in rate for the whole process: other tests must not have used them up."""
    monkeypatch.setattr(log, "_SHARED", log.RateLimiter())


def lines_about(work):
    """Run a scenario against a node and a good client, and return the warnings it logged."""
    lines: list[str] = []

    async def main():
        async with (
            Node(id="p", provides=[visits], receivers=[Counts("p")], discovery="static", drain_timeout_s=0.2) as node,
            await Client.connect(node.address, name="good") as good,
        ):
            assert (await good.ask(VisitAsk("good", 1), VisitAnswer)).count == 1
            await work(node)
            assert (await good.ask(VisitAsk("good", 1), VisitAnswer)).count == 2

    sink = logger.add(lambda line: lines.append(str(line)), level="WARNING", format="{message}")
    enable_logging()
    try:
        asyncio.run(main())
    finally:
        disable_logging()
        logger.remove(sink)
    return lines


async def stranger(node, data):
    """Send bytes and return everything that comes back until the node closes."""
    host, _, port = node.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    peer = "{}:{}".format(*writer.get_extra_info("sockname"))
    writer.write(data)
    try:
        async with asyncio.timeout(5):
            received = await reader.read()
    except ConnectionResetError:
        received = b""
    finally:
        writer.close()
    return peer, received


@pytest.mark.parametrize("name", CLOSING)
def test_what_is_no_session_is_closed_with_one_line_that_names_the_peer(name):
    """The stranger is disconnected; one warning says who and why; the good client notices nothing."""
    data, why = CLOSING[name]
    peers = []

    async def work(node):
        peer, _ = await stranger(node, data)
        peers.append(peer)

    about = [line for line in lines_about(work) if peers[0] in line]
    assert len(about) == 1, about
    assert why in about[0]


def test_another_version_gets_a_typed_refusal():
    """The peer reads why before it is disconnected."""
    errors = []

    async def work(node):
        _, received = await stranger(node, CLOSING["a Hello of another version"][0])
        bodies = FrameParser(1 << 20).feed(received)
        errors.extend(packet for _, packet, _ in map(CODEC.decode, bodies) if isinstance(packet, Error))

    lines_about(work)
    assert [error.code for error in errors] == [ErrorCode.BAD_HELLO]
    assert "upgrade" in errors[0].message


@pytest.mark.parametrize("name", ANSWERED)
def test_a_bad_packet_that_asks_gets_an_error_and_the_session_lives(name):
    """BAD_PACKET answers the ask by its signal; the next ask on the same session is served."""
    peers = []

    async def work(node):
        async with await Client.connect(node.address, name="clumsy") as client:
            peers.append("{}:{}".format(*client._writer.get_extra_info("sockname")))
            client._writer.write(frame(ANSWERED[name]))
            packet, attachment = await client.receive()
            assert isinstance(packet, Error)
            assert packet.code == ErrorCode.BAD_PACKET
            assert (attachment.client, attachment.signal_id) == (0, 7)
            assert (await client.ask(VisitAsk("clumsy", 1), VisitAnswer)).count == 1

    about = [line for line in lines_about(work) if peers[0] in line]
    assert len(about) == 1, about


@pytest.mark.parametrize("name", IGNORED)
def test_what_cannot_be_answered_is_counted_and_the_session_lives(name):
    """Nothing comes back, and the next ask is served."""

    async def work(node):
        async with await Client.connect(node.address, name="noisy") as client:
            client._writer.write(frame(IGNORED[name]))
            assert (await client.ask(VisitAsk("noisy", 1), VisitAnswer)).count == 1
            assert client.pushes == []

    lines_about(work)


def test_frames_cut_off_by_the_end_of_the_connection_harm_nobody():
    """Half a header, half a body: the session ends with the connection."""

    async def work(node):
        for data in (b"\x00", HELLO[:-1], HELLO + ASK[:-3]):
            host, _, port = node.address.rpartition(":")
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(data)
            writer.close()
            await writer.wait_closed()

    assert lines_about(work) == []


def test_a_peer_that_says_nothing_is_closed_after_hello_timeout_s():
    """No Hello: the session ends by itself."""

    async def main():
        node = Node(id="p", provides=[visits], receivers=[Counts("p")], discovery="static", hello_timeout_s=0.05)
        async with node:
            _, received = await stranger(node, b"")
            assert received == b""  # a node says nothing to whom it does not know

    asyncio.run(main())


def test_a_hundred_strangers_at_once_do_not_disturb_a_good_client():
    """Garbage from all sides: all are closed, the good one is served."""

    async def work(node):
        everybody = (stranger(node, data) for _ in range(10) for data, _ in CLOSING.values())
        await asyncio.gather(*everybody)
        assert all(record.node_id == "good" for record in await node.sessions())

    lines = lines_about(work)
    assert len(lines) <= 40  # bounded in rate, whatever comes
