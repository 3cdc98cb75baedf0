"""H1 at a live listener for Java peers: frames cut anywhere, and bytes that are none; nobody else is harmed."""

from __future__ import annotations

import asyncio
import random
import struct
from contextlib import asynccontextmanager

import pytest

from tests.support.java_peers import JavaPeer
from tests.support.nodes import eventually, logged, sessions_of
from zfoo_py import Ask, Node, Packet, PacketTable, ProtocolModule, Session, SessionClosedError, packet_receiver
from zfoo_py.net.foreign_session_actor import MAX_MESSAGE_BYTES
from zfoo_py.protocol import zfoo_java_codec, zfoo_json_codec
from zfoo_py.protocol.attachment import NoAnswerAttachment, SignalAttachment
from zfoo_py.protocol.common import Heartbeat
from zfoo_py.protocol.framing import frame
from zfoo_py.testing import MemoryNetwork

TABLE = PacketTable()
walls = ProtocolModule(82, "walls", table=TABLE)
CODECS = {"zfoo-java": zfoo_java_codec, "zfoo-json": zfoo_json_codec}


@walls.packet(8201)
class WallAnswer(Packet):
    number: int


@walls.packet(8200)
class WallAsk(Ask[WallAnswer]):
    number: int
    texts: list[str]


class Walls:
    @packet_receiver
    async def at_wall_ask(self, _session: Session, ask: WallAsk) -> WallAnswer:
        return WallAnswer(ask.number)


ASK, BACK = SignalAttachment(1, -9, 5, 6), SignalAttachment(0, -9, 5, 6)

# What ends a session, whatever was said before: name → bytes, what the log says.
ENDS = {
    "a length of zero": (struct.pack(">I", 0) + b"x", "length zero"),
    "a negative length": (struct.pack(">i", -1) + b"x" * 100, "negative length"),
    "a length over the limit": (struct.pack(">I", MAX_MESSAGE_BYTES + 1), "over the limit"),
    "an HTTP request": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "over the limit"),
    "a TLS hello": (bytes.fromhex("16030100c8010000c40303") + bytes(100), "over the limit"),
}
# What is right in its frame only: it ends a session that has said nothing right so far, and no other.
BODIES = {
    "noise": random.Random(7).randbytes(300),
    "zeros": bytes(300),
    "an unknown id": b"\x7f\x00\x01\x00",
    "an id alone": b"\x20",
    "an ask, cut off": zfoo_java_codec.encode(WallAsk(1, ["a"]), ASK, TABLE)[:-3],
    "a count that lies": b"\x20\x08\x01\x02\xfe\xff\xff\xff\x0f",
    "JSON, cut off": zfoo_json_codec.encode(WallAsk(1, ["a"]), ASK, TABLE)[:-3],
    "a lot of brackets": b'{"protocolId":8200,"packet":{"texts":' + b"[" * 100_000,
}


@asynccontextmanager
async def provider(codec):
    """A provider, and a peer of it that is answered before and after; what is left of others is nothing."""
    network = MemoryNetwork()
    node = Node(
        id="provider", table=TABLE, listen=[("127.0.0.1:0", codec)], address="127.0.0.1:0", provides=[walls],
        receivers=[Walls()], discovery={"kind": "static"}, network=network,
    )  # fmt: skip

    async def dial():
        return await JavaPeer.dial(network, node.listeners[codec], TABLE, CODECS[codec])

    async with node:
        good = await dial()
        await answered(good)
        yield node, dial
        await answered(good)
        await eventually(lambda: len(sessions_of(node)) == 1)
        assert not good.is_lost


async def answered(peer, number=1):
    peer.send(WallAsk(number, ["a", "bé"]), ASK)
    assert await peer.receive() == (WallAnswer(number), BACK)


async def arrived(node, peer):
    """Let everything that was written be read."""
    await eventually(lambda: not peer.transport.get_write_buffer_size())
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize("codec", CODECS)
def test_frames_cut_at_every_byte_are_the_same_frames(codec):
    async def main():
        async with provider(codec) as (node, dial):
            peer = await dial()
            two = b"".join(frame(peer.codec.encode(WallAsk(number, ["é"]), ASK, TABLE)) for number in (1, 2))
            for cut in range(1, len(two)):
                peer.write(two[:cut])
                await arrived(node, peer)
                peer.write(two[cut:])
                assert await peer.receive() == (WallAnswer(1), BACK)
                assert await peer.receive() == (WallAnswer(2), BACK)
            for byte in two:
                peer.write(bytes((byte,)))
                await arrived(node, peer)
            assert [(await peer.receive())[0] for _ in range(2)] == [WallAnswer(1), WallAnswer(2)]
            peer.transport.close()

    with logged() as lines:
        asyncio.run(main())
    assert lines == []


@pytest.mark.parametrize("codec", CODECS)
def test_a_connection_that_ends_within_a_frame_ends_its_session_and_says_nothing(codec):
    async def main():
        async with provider(codec) as (node, dial):
            whole = frame(CODECS[codec].encode(WallAsk(1, ["é"]), ASK, TABLE))
            for cut in range(len(whole)):
                peer = await dial()
                peer.write(whole[:cut])
                await arrived(node, peer)
                if cut % 2:
                    peer.transport.abort()
                else:
                    peer.transport.close()
            await eventually(lambda: len(sessions_of(node)) == 1)

    with logged() as lines:
        asyncio.run(main())
    assert lines == []


@pytest.mark.parametrize("is_proven", [False, True])
@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("codec", CODECS)
def test_what_is_no_frame_ends_the_session_in_one_line(codec, name, is_proven):
    async def main():
        async with provider(codec) as (_node, dial):
            data, text = ENDS[name]
            peer = await dial()
            if is_proven:
                await answered(peer)
            with logged() as lines:
                peer.write(data)
                peer.write(frame(peer.codec.encode(WallAsk(1, []), ASK, TABLE)))  # nobody reads it
                await eventually(lambda: peer.is_lost)
            assert len(lines) == 1, lines
            assert text in lines[0]
            assert peer.bodies.empty()

    asyncio.run(main())


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("codec", CODECS)
def test_a_first_frame_that_is_none_ends_the_session_in_one_line(codec, name):
    async def main():
        async with provider(codec) as (_node, dial):
            peer = await dial()
            with logged() as lines:
                peer.write(frame(BODIES[name]))
                peer.write(frame(peer.codec.encode(WallAsk(1, []), ASK, TABLE)))
                await eventually(lambda: peer.is_lost)
            assert len(lines) == 1, lines
            assert "its first frame is no message of Java zfoo" in lines[0]
            assert len(lines[0]) < 1000
            assert peer.bodies.empty()

    asyncio.run(main())


@pytest.mark.parametrize("codec", CODECS)
def test_on_a_session_in_use_such_frames_are_counted_and_it_goes_on(codec):
    async def main():
        async with provider(codec) as (node, dial):
            peer = await dial()
            with logged() as lines:
                await answered(peer)
                for number, body in enumerate(BODIES.values(), 2):
                    peer.write(frame(body))
                    await answered(peer, number)
                [actor] = [actor for actor in sessions_of(node) if actor.undecodable]
                assert actor.undecodable == len(BODIES)
                assert 1 <= len(lines) <= len(BODIES)
                assert all("cannot be decoded" in line for line in lines)
                before = len(lines)
                for _ in range(1000):
                    peer.write(frame(BODIES["noise"]))
                await answered(peer)
                assert len(lines) - before <= 10  # bounded in rate
            peer.transport.close()

    asyncio.run(main())


@pytest.mark.parametrize("codec", CODECS)
def test_a_thousand_right_frames_with_wrong_bits_end_at_most_their_session(codec):
    """H1: nothing but a warning, whatever they mean now; who asks beside them is answered."""
    rng = random.Random(11)
    right = [
        CODECS[codec].encode(WallAsk(rng.randrange(1 << 40), ["text", "bé"]), attachment, TABLE)
        for attachment in (None, ASK, NoAnswerAttachment(3))
    ]

    async def main():
        async with provider(codec) as (node, dial):
            peer = await dial()
            await answered(peer)
            for _ in range(1000):
                body = bytearray(rng.choice(right))
                for _ in range(rng.randint(1, 3)):
                    body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
                peer.write(frame(bytes(body)))
                await arrived(node, peer)
            assert not peer.is_lost
            assert all(actor.intake.in_work == 0 for actor in sessions_of(node))
            peer.transport.close()

    with logged() as lines:
        asyncio.run(main())
    assert all(line.startswith("WARNING") for line in lines), lines


@pytest.mark.parametrize("codec", CODECS)
def test_a_provider_that_answers_with_no_frame_loses_its_asks_at_once(codec):
    """What is right in its frame only is a line of the log, and the ask waits on."""

    async def main():
        network = MemoryNetwork()
        accepted = await JavaPeer.listen(network, 9000, TABLE, CODECS[codec])
        entry = f"{codec}://java | 127.0.0.1:9000 | provider:[walls-walls]"
        discovery = {"kind": "static", "addresses": [entry]}
        node = Node(id="asker", table=TABLE, consumes=[walls], receivers=[], discovery=discovery, network=network)
        async with node:
            peer = await accepted.get()
            peer.send(Heartbeat())
            asked = asyncio.ensure_future(node.consumer.async_ask(WallAsk(1, []), key=None))
            await peer.receive()
            with logged() as lines:
                for body in BODIES.values():
                    peer.write(frame(body))
                await eventually(lambda: lines)
                assert not asked.done()
                peer.write(ENDS["a negative length"][0])
                with pytest.raises(SessionClosedError):
                    await asked
            assert sum("cannot be decoded" not in line for line in lines) <= 1

    asyncio.run(main())
