"""Providers and directories that misbehave, over real sockets: their askers learn it at once, and nobody else."""

from __future__ import annotations

import asyncio
import os
import struct
from contextlib import suppress

import pytest

from tests.support.nodes import (
    HANG_S,
    TABLE,
    Tallies,
    TallyAsk,
    consumer_of,
    eventually,
    hosting,
    logged,
    pending,
    provider_at,
    providers,
    tallies,
)
from zfoo_py import CallError, Node, NotReadyError, RemoteError, SessionClosedError, UnexpectedPacketError
from zfoo_py.protocol.common import (
    DirectoryRegister,
    Error,
    Hello,
    Pong,
)
from zfoo_py.protocol.framing import FrameParser, frame
from zfoo_py.protocol.msgpack_codec import MsgpackCodec

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
            more = [f"v{n} | 1.1.1.1:1 | provider:[a-a]" for n in range(9)]
            peer.writer.write(b"".join(one_way(DirectoryRegister(text)) for text in more))
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
