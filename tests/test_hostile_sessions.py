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
    consumer_of,
    eventually,
    hosting,
    logged,
    pair,
    pending,
    provider_at,
    providers,
    sessions_of,
    tallies,
)
from zfoo_py import CallError, Node, NotReadyError, RemoteError, SessionClosedError, UnexpectedPacketError
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
    "a registration that cannot be read": one_way(Hello(1, "node", "x", "no | registration")),
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
        for number in range(count):
            peer.writer.write(ask_frame(2 * number + 2, how="big"))
        await eventually(lambda: any(not actor._reading for actor in sessions_of(node)))
        [deaf] = [actor for actor in sessions_of(node) if not actor._reading]
        waiting = deaf._connection._transport.get_write_buffer_size()
        done = served.counts["stranger"]
        for _ in range(100):
            await asyncio.sleep(0)
        assert served.counts["stranger"] - done <= 64  # what one chunk had brought
        assert waiting < 200_000 + 64 * 101_000
        peer.writer.transport.resume_reading()
        assert len(await peer.packets(count + 1)) == count + 1
        peer.writer.close()
        await eventually(lambda: served.counts["stranger"] == count)

    assert against_a_provider(scenario, outbox_limit_bytes=200_000, max_in_work_per_session=64) == []


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
        async with pair(address="127.0.0.1:0") as (_, p, c):
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


class Server:
    """Listens, and plays a provider that does what the test says."""

    def __init__(self, play):
        self.play = play
        self.accepted = 0
        self.writers = []

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = "{}:{}".format(*self.server.sockets[0].getsockname())
        self.text = f"evil | {self.address} | provider:[tallies-tallies]"
        return self

    async def __aexit__(self, *_):
        self.server.close()
        for writer in self.writers:
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _accept(self, reader, writer):
        self.accepted += 1
        self.writers.append(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await self.play(self, reader, writer)

    async def hello(self, reader, writer, text=None):
        """Read theirs, say ours."""
        await self.body(reader)
        writer.write(one_way(Hello(1, "node", "evil", self.text if text is None else text)))

    async def body(self, reader):
        (length,) = struct.unpack(">I", await reader.readexactly(4))
        return await reader.readexactly(length)

    async def ask(self, reader):
        """Read an ask; return its signal id."""
        return CODEC.decode(await self.body(reader))[2].signal_id


EVIL_ANSWERS = {
    "random bytes": (lambda _: b"\xff" + os.urandom(100), SessionClosedError, "over the limit|negative length"),
    "a frame over the limit": (lambda _: struct.pack(">I", 1 << 30), SessionClosedError, "over the limit"),
    "an answer of another class": (
        lambda signal_id: CODEC.answer_frame(CODEC.encode(Pong(1)), signal_id),
        UnexpectedPacketError,
        "answered with Pong",
    ),
    "an answer with wrong types": (
        lambda signal_id: frame(b"\x94\xcd\x1b\x59\x93\x01\x01\x01\x00\x92\x00" + bytes([signal_id])),
        UnexpectedPacketError,
        "cannot be decoded",
    ),
    "an Error of its own code": (
        lambda signal_id: CODEC.answer_frame(CODEC.encode(Error(-7, "evil\n")), signal_id),
        RemoteError,
        "error -7: evil",
    ),
    "the end": (lambda _: None, SessionClosedError, "in flight"),
}


@pytest.mark.parametrize("name", EVIL_ANSWERS)
def test_a_provider_that_answers_wrongly_ends_its_asks_typed_and_at_once(name):
    """The consumer says what came; asks elsewhere go on."""
    answer, kind, text = EVIL_ANSWERS[name]

    async def play(server, reader, writer):
        await server.hello(reader, writer)
        while True:
            data = answer(await server.ask(reader))
            if data is None:
                writer.close()
                return
            writer.write(data)

    async def main():
        async with Server(play) as evil:
            where = {"kind": "static", "addresses": [evil.address]}
            async with Node(
                id="c", consumes=[tallies], receivers=[], discovery=where, table=TABLE, ask_timeout_s=HANG_S
            ) as c:
                with pytest.raises(kind, match=text) as caught:
                    await c.consumer.async_ask(TallyAsk("a"))
                assert isinstance(caught.value, CallError)
                assert caught.value.may_have_run
                assert pending(c) == 0

    with logged() as lines:
        asyncio.run(main())
    assert not any(line.startswith("ERROR") for line in lines)


def test_a_reused_address_never_enters_a_ring():
    """Discovery announced another registration than the Hello says: refused on both sides, and the good one serves."""

    async def play(server, reader, writer):
        await server.hello(reader, writer, server.text.replace("evil", "somebody else"))
        await server.body(reader)  # the refusal

    async def main():
        async with hosting() as d, Server(play) as evil, provider_at(d.discovery_address, Tallies("good")):
            directory = await Peer.to(d.discovery_address)
            directory.writer.write(one_way(Hello(1, "node", "evil")) + one_way(DirectoryRegister(evil.text)))
            await eventually(lambda: evil.text in d._engine.directory.actor.registered)
            async with consumer_of(d.discovery_address) as c:
                await eventually(lambda: evil.accepted >= 2)  # refused, and tried again
                assert providers(c) == ["good"]
                assert {(await c.consumer.async_ask(TallyAsk(f"{n}"))).served_by for n in range(20)} == {"good"}
            directory.writer.close()

    with logged() as lines:
        asyncio.run(main())
    assert any("another node uses this address now" in line for line in lines)


@pytest.mark.parametrize("how", ["silent", "closes", "floods"])
def test_a_provider_that_is_none_is_tried_again_with_backoff_and_harms_nobody(how):
    """It says nothing, closes at once, or floods: no ring, no spinning, and the others serve."""

    async def play(server, reader, writer):
        if how == "silent":
            await reader.read()
        elif how == "floods":
            writer.write(os.urandom(1) + b"\xff" * 100_000)
        writer.close()

    async def main():
        served = Tallies("p")
        p = Node(id="p", provides=[tallies], receivers=[served], discovery="static", table=TABLE)
        async with Server(play) as evil, p:
            where = {"kind": "static", "addresses": [evil.address, p.address]}
            limits = {"hello_timeout_s": 0.05, "reconnect_min_s": 0.02, "reconnect_max_s": 0.02}
            async with Node(id="c", consumes=[tallies], receivers=[], discovery=where, table=TABLE, **limits) as c:
                asked = 0
                while evil.accepted < 3:
                    assert (await c.consumer.async_ask(TallyAsk("a"))).served_by == "p"
                    asked += 1
                    await asyncio.sleep(0)
                assert providers(c) == ["p"]
                assert asked > 3

    with logged():
        asyncio.run(main())


def test_a_server_that_never_says_hello_is_missing_not_hanging():
    """NotReadyError in time."""

    async def play(server, reader, writer):
        await reader.read()

    async def main():
        async with Server(play) as evil:
            where = {"kind": "static", "addresses": [evil.address]}
            with pytest.raises(NotReadyError, match="'tallies'"):
                await Node(
                    id="c", consumes=[tallies], receivers=[], discovery=where, table=TABLE, ready_timeout_s=0.05
                ).start()

    asyncio.run(main())


# --- the directory

NONSENSE = {
    "no registration": "hello",
    "nothing": "",
    "no address": "x | provider:[tallies-tallies]",
    "no modules": "x | 127.0.0.1:1",
    "too long": "x | 127.0.0.1:1 | provider:[tallies-tallies]" + "x" * 5000,
}


@pytest.mark.parametrize("name", NONSENSE)
def test_a_registration_that_is_none_is_refused_with_a_message(name):
    """Watchers never hear of it."""

    async def main():
        async with (
            hosting() as d,
            provider_at(d.discovery_address, Tallies("p")),
            consumer_of(d.discovery_address) as c,
        ):
            peer = await Peer.to(d.discovery_address)
            peer.writer.write(HELLO + one_way(DirectoryRegister(NONSENSE[name])))
            hello, message = await peer.packets(2)
            assert isinstance(hello, Hello)
            assert "is no registration of a provider" in message.message
            assert len(d._engine.directory.actor.registered) == 1
            assert providers(c) == ["p"]
            peer.writer.close()

    asyncio.run(main())


def test_registrations_of_places_where_nobody_is_cost_a_dial_now_and_then():
    """A whole list of them, some that are no address at all: the good provider serves, and the stop does not wait."""
    texts = [f"x{n} | 127.0.0.1:1 | provider:[tallies-tallies]" for n in range(12)]
    texts += ["y | nowhere | provider:[tallies-tallies]", "z | [::1:5 | provider:[tallies-tallies]"]

    async def main():
        async with hosting() as d, provider_at(d.discovery_address, Tallies("good")):
            peer = await Peer.to(d.discovery_address)
            peer.writer.write(HELLO + b"".join(one_way(DirectoryRegister(text)) for text in texts * 2))
            peer.writer.write(
                b"".join(one_way(DirectoryRegister(f"v{n} | 1.1.1.1:1 | provider:[a-a]")) for n in range(9))
            )
            messages = await peer.packets(1 + 7)  # sixteen registrations a session, and no more
            assert all("one session may hold 16" in packet.message for packet in messages[1:])
            async with consumer_of(d.discovery_address, reconnect_max_s=0.02) as c:
                for n in range(20):
                    assert (await c.consumer.async_ask(TallyAsk(f"{n}"))).served_by == "good"
                assert providers(c) == ["good"]
                peer.writer.close()
                await eventually(lambda: len(d._engine.directory.actor.registered) == 1)
                await eventually(lambda: len(c._engine.connector.actor.links()) == 1)

    with logged():
        asyncio.run(main())
