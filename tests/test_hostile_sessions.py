"""Peers that speak the protocol and mean harm, or are broken, over real sockets: only their own session suffers."""

from __future__ import annotations

import asyncio
import os
import struct
from contextlib import asynccontextmanager, suppress

import pytest

from tests.support.nodes import (
    HANG_S,
    TABLE,
    Tallies,
    TallyAnswer,
    TallyAsk,
    TallyNote,
    eventually,
    logged,
    pair,
    providers,
    sessions_of,
    tallies,
)
from zfoo_py import Node
from zfoo_py.protocol.common import (
    DirectoryChange,
    DirectoryRegister,
    Draining,
    Error,
    ErrorCode,
    Heartbeat,
    Hello,
    Message,
    Ping,
    Pong,
)
from zfoo_py.protocol.framing import FrameParser, frame
from zfoo_py.protocol.msgpack_codec import MsgpackCodec
from zfoo_py.testing import Client

CODEC = MsgpackCodec(TABLE)


def one_way(packet):
    return CODEC.one_way_frame(CODEC.encode(packet), None)


def ask_frame(signal_id=2, key="stranger", how="", lane=-1):
    return CODEC.ask_frame(CODEC.encode(TallyAsk(key, how)), signal_id, 2 if lane == -1 else 1, lane, 60_000)


HELLO = one_way(Hello(1, "client", "stranger"))


class Peer:
    """A raw connection to a node."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.name = "{}:{}".format(*writer.get_extra_info("sockname"))
        self.parser = FrameParser(1 << 30)

    @classmethod
    async def to(cls, address):
        host, _, port = address.rpartition(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    async def until_closed(self):
        """Return the packets that come until the node closes."""
        async with asyncio.timeout(HANG_S):
            received = b""
            with suppress(ConnectionResetError):
                received = await self.reader.read()
        self.writer.close()
        return [CODEC.decode(body)[1] for body in self.parser.feed(received)]

    async def packets(self, count):
        """Return so many packets."""
        found = []
        async with asyncio.timeout(HANG_S):
            while len(found) < count:
                data = await self.reader.read(65536)
                assert data, "the node closed the session"
                found += [CODEC.decode(body)[1] for body in self.parser.feed(data)]
        return found


@asynccontextmanager
async def beside_good_ones(node):
    """Let a good client and a good node ask on and on; both must be served while it lasts."""
    is_over, counts = False, [0, 0]

    async def client_asks(client):
        while not is_over:
            assert (await client.ask(TallyAsk("client"), TallyAnswer, timeout_s=HANG_S)).key == "client"
            counts[0] += 1

    async def node_asks(consumer):
        while not is_over:
            assert (await consumer.async_ask(TallyAsk("node"), timeout_s=HANG_S)).key == "node"
            counts[1] += 1

    where = {"kind": "static", "addresses": [node.address]}
    async with (
        Node(id="good", consumes=[tallies], receivers=[], discovery=where, table=TABLE) as good,
        await Client.connect(node.address, table=TABLE, name="good") as client,
    ):
        async with asyncio.TaskGroup() as group:
            group.create_task(client_asks(client))
            group.create_task(node_asks(good.consumer))
            await eventually(lambda: min(counts) > 3)
            yield
            before = list(counts)
            await eventually(lambda: all(now > then + 3 for now, then in zip(counts, before, strict=True)))
            is_over = True
        assert sorted(record.node_id for record in await node.sessions() if record.node_id == "good") == ["good"] * 2


def against_a_provider(scenario, **limits):
    """Run a scenario of (node, served) beside good sessions; return what was logged."""

    async def main():
        served = Tallies("p")
        given = {"drain_timeout_s": 0.2, **limits}
        async with (
            Node(id="p", provides=[tallies], receivers=[served], discovery="static", table=TABLE, **given) as node,
            beside_good_ones(node),
        ):
            await scenario(node, served)

    with logged() as lines:
        asyncio.run(main())
    return lines


# what it sends at once; every one ends the session with one line
TWO_FAULTS = {
    "garbage, then a negative length": frame(b"\xc1") + struct.pack(">i", -1),
    "garbage twice": frame(b"\xc1") + frame(b"\xc1"),
    "no Hello, then an HTTP request": ask_frame() + b"GET / HTTP/1.1\r\n\r\n",
    "another version, then a Hello": one_way(Hello(2, "client")) + HELLO,
    "a Hello, then two lengths over the limit": HELLO + struct.pack(">I", 1 << 30) * 2,
    "an Error instead of a Hello, then bytes": one_way(Error(1, "no")) + os.urandom(50),
    "a registration that cannot be read": one_way(Hello(1, "node", "x", "x | provider:[a]")),
    "wrong types in the Hello": frame(b"\x94\xcd\x7f\xbc\x92\xa1x\xa1y\xc0\xc0"),
}


@pytest.mark.parametrize("name", TWO_FAULTS)
def test_a_session_that_ends_is_one_line_however_much_is_wrong(name):
    """Everything after the first fault is not even looked at."""
    names = []

    async def scenario(node, _):
        peer = await Peer.to(node.address)
        names.append(peer.name)
        peer.writer.write(TWO_FAULTS[name])
        await peer.until_closed()

    lines = against_a_provider(scenario)
    assert len(lines) == 1, lines
    assert names[0] in lines[0]


def test_half_a_hello_is_no_hello():
    """It comes byte by byte and never ends: closed after hello_timeout_s, with one line."""
    names = []

    async def scenario(node, _):
        peer = await Peer.to(node.address)
        names.append(peer.name)
        for byte in HELLO[:-1]:
            peer.writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert await peer.until_closed() == []

    lines = against_a_provider(scenario, hello_timeout_s=0.1)
    assert [names[0] in line and "no Hello within 0.1 s" in line for line in lines] == [True]


def test_a_hello_that_comes_byte_by_byte_is_a_hello():
    """Slow is not wrong."""

    async def scenario(node, served):
        peer = await Peer.to(node.address)
        for byte in HELLO + ask_frame():
            peer.writer.write(bytes([byte]))
            await asyncio.sleep(0)
        hello, answer = await peer.packets(2)
        assert (type(hello), answer) == (Hello, TallyAnswer("stranger", 1, "p"))
        peer.writer.close()

    assert against_a_provider(scenario) == []


def test_a_client_that_never_reads_its_answers_is_not_read_either():
    """What waits for it stays within the outbox's bound and a few answers; when it reads, everything is there."""
    count = 400

    async def scenario(node, served):
        peer = await Peer.to(node.address)
        peer.writer.transport.pause_reading()
        peer.writer.write(HELLO)
        await eventually(lambda: any(actor.session.node_id == "stranger" for actor in sessions_of(node)))
        [deaf] = [actor for actor in sessions_of(node) if actor.session.node_id == "stranger"]
        for number in range(count):
            peer.writer.write(ask_frame(2 * number + 2, how="big"))
            await eventually(lambda number=number: served.counts["stranger"] > number or not deaf.intake.is_reading)
        assert not deaf.intake.is_reading
        done = served.counts["stranger"]
        assert done < count
        assert deaf._connection._transport.get_write_buffer_size() < 200_000 + 2 * 101_000
        for _ in range(100):
            await asyncio.sleep(0)
        assert served.counts["stranger"] == done
        peer.writer.transport.resume_reading()
        assert len(await peer.packets(count + 1)) == count + 1
        peer.writer.close()
        await eventually(lambda: served.counts["stranger"] == count)

    assert against_a_provider(scenario, outbox_limit_bytes=200_000) == []


# what a peer may say at any time, on an open session
SAID = {
    "Hello again": one_way(Hello(1, "node", "another", "", 65)),
    "Hello of another version": one_way(Hello(7, "spy")),
    "Heartbeat": one_way(Heartbeat()),
    "Pong": one_way(Pong(-1)),
    "Draining": one_way(Draining()) * 3,
    "a registration": one_way(DirectoryRegister("x | 127.0.0.1:1 | provider:[tallies-tallies]")),
    "a change of providers": one_way(DirectoryChange(["x | 127.0.0.1:1 | provider:[tallies-tallies]"], snapshot=True)),
    "an answer to nobody": CODEC.answer_frame(CODEC.encode(TallyAnswer("", 1, "")), 77),
    "a garbled answer to nobody": frame(b"\x94\xcd\x1b\x59\x91\x01\x00\x92\x00\x07"),
    "a packet nobody receives": one_way(TallyAnswer("", 1, "")),
    "lanes at both ends": b"".join(ask_frame(n, f"{n}", lane=lane) for n, lane in ((4, -(2**31)), (6, 2**31 - 1))),
}


@pytest.mark.parametrize("name", SAID)
def test_whatever_is_said_on_an_open_session_it_goes_on(name):
    """Nothing changes for anybody, and the next ask is answered."""

    async def scenario(node, served):
        peer = await Peer.to(node.address)
        peer.writer.write(HELLO + SAID[name] + ask_frame(1000))
        found = []
        while TallyAnswer("stranger", 1, "p") not in found:
            found += await peer.packets(1)
        [actor] = [actor for actor in sessions_of(node) if actor.session.peer == peer.name]
        assert (actor.session.kind, actor.session.node_id) == ("client", "stranger")
        peer.writer.close()

    lines = against_a_provider(scenario)
    assert len(lines) == ("garbled" in name), lines


def test_a_ping_is_answered():
    """Once each."""

    async def scenario(node, _):
        peer = await Peer.to(node.address)
        peer.writer.write(HELLO + one_way(Ping()) * 2)
        assert [type(packet) for packet in await peer.packets(3)] == [Hello, Pong, Pong]
        peer.writer.close()

    assert against_a_provider(scenario) == []


def test_a_peer_cannot_fill_the_log_nor_forge_its_lines():
    """Errors that it reports are bounded in rate, and written as one line each."""
    forged = "x\n2026-01-01 00:00:00 | CRITICAL | forged"

    async def scenario(node, _):
        peer = await Peer.to(node.address)
        peer.writer.write(one_way(Hello(1, "client", forged)))
        peer.writer.write(one_way(Error(9, forged)) * 500 + frame(b"\xc1") * 500 + one_way(Message(0, forged)))
        peer.writer.write(ask_frame())
        while TallyAnswer("stranger", 1, "p") not in await peer.packets(1):
            pass
        peer.writer.write(one_way(Hello(1, forged)) + struct.pack(">I", 0))
        await peer.until_closed()

    lines = against_a_provider(scenario)
    assert 0 < len(lines) <= 5 * 3, len(lines)  # five a second
    assert all(line.count("\n") == 1 for line in lines)
    assert not any(line.startswith("2026") for line in lines)


def test_a_stranger_who_names_itself_a_provider_enters_no_ring():
    """Only whom the connector dialled is a provider, whatever a Hello says."""

    async def main():
        async with pair(address="127.0.0.1:0") as (_, _, c):
            peer = await Peer.to(c.address)
            text = "evil | 127.0.0.1:1 | provider:[tallies-tallies]"
            peer.writer.write(one_way(Hello(1, "node", "evil", text)))
            await peer.packets(1)
            await eventually(lambda: len(sessions_of(c)) == 2)
            assert providers(c) == ["p"]
            peer.writer.write(one_way(TallyNote("a")) + ask_frame())
            [refusal] = await peer.packets(1)
            assert refusal.code in {ErrorCode.NOT_SERVED, ErrorCode.NO_RECEIVER}
            assert {(await c.consumer.async_ask(TallyAsk(f"{n}"))).served_by for n in range(20)} == {"p"}
            peer.writer.close()

    asyncio.run(main())


# --- servers that mean harm
