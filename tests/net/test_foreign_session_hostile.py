"""H1 with Java peers: frames in pieces, noise at first and noise later; whoever sends it harms itself at most."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.support.java_peers import JavaPeer
from tests.support.nodes import eventually, logged, sessions_of
from zfoo_py import Ask, Node, Packet, PacketTable, ProtocolModule, Session, packet_receiver
from zfoo_py.protocol import zfoo_java_codec, zfoo_json_codec
from zfoo_py.protocol.attachment import SignalAttachment
from zfoo_py.protocol.framing import frame
from zfoo_py.testing import MemoryNetwork

TABLE = PacketTable()
weights = ProtocolModule(82, "weights", table=TABLE)
CODECS = {"zfoo-java": zfoo_java_codec, "zfoo-json": zfoo_json_codec}


@weights.packet(8201)
class WeightAnswer(Packet):
    grams: int


@weights.packet(8200)
class WeightAsk(Ask[WeightAnswer]):
    grams: int


@packet_receiver
async def at_weight_ask(_session: Session, ask: WeightAsk) -> WeightAnswer:
    return WeightAnswer(ask.grams)


def provider(network, codec):
    return Node(
        id="provider", table=TABLE, listen=[("127.0.0.1:0", codec)], address="127.0.0.1:0", provides=[weights],
        receivers=[at_weight_ask], discovery={"kind": "static"}, network=network,
    )  # fmt: skip


def ask_of(codec, number):
    return frame(CODECS[codec].encode(WeightAsk(number), SignalAttachment(1, -number, 5, 6), TABLE))


async def asks(peer, codec, number):
    """Ask, and have it answered."""
    peer.write(ask_of(codec, number))
    assert await peer.receive() == (WeightAnswer(number), SignalAttachment(0, -number, 5, 6))


@pytest.mark.parametrize("codec", CODECS)
def test_an_ask_in_two_pieces_wherever_it_is_cut_and_in_single_bytes(codec):
    async def main():
        network = MemoryNetwork()
        async with provider(network, codec) as node:
            peer = await JavaPeer.dial(network, node.listeners[codec], TABLE, CODECS[codec])
            data = ask_of(codec, 7)
            pieces = [(data[:cut], data[cut:]) for cut in range(1, len(data))]
            for parts in (*pieces, tuple(data[at : at + 1] for at in range(len(data)))):
                for part in parts:
                    peer.write(part)
                    await asyncio.sleep(0)
                assert await peer.receive() == (WeightAnswer(7), SignalAttachment(0, -7, 5, 6))
            assert not peer.is_lost

    asyncio.run(main())


@pytest.mark.parametrize("codec", CODECS)
def test_noise_as_the_first_frame_closes_in_one_line_and_harms_nobody(codec):
    async def main():
        network, rng = MemoryNetwork(), random.Random(5)
        async with provider(network, codec) as node:
            good = await JavaPeer.dial(network, node.listeners[codec], TABLE, CODECS[codec])
            await asks(good, codec, 1)
            for number in range(2, 40):
                noise = rng.randbytes(rng.randrange(1, 60))
                peer = await JavaPeer.dial(network, node.listeners[codec], TABLE, CODECS[codec])
                with logged("WARNING") as lines:
                    peer.write(frame(noise) if number % 2 else (1 << 31).to_bytes(4, "big") + noise)
                    await eventually(lambda peer=peer: peer.is_lost)
                assert len(lines) <= 1, lines  # the same cause is told of once a minute
                await asks(good, codec, number)
            await eventually(lambda: len(sessions_of(node)) == 1)

    asyncio.run(main())


@pytest.mark.parametrize("codec", CODECS)
def test_noise_between_right_frames_ends_nothing(codec):
    async def main():
        network, rng = MemoryNetwork(), random.Random(6)
        async with provider(network, codec) as node:
            good = await JavaPeer.dial(network, node.listeners[codec], TABLE, CODECS[codec])
            await asks(good, codec, 1)
            bad = await JavaPeer.dial(network, node.listeners[codec], TABLE, CODECS[codec])
            await asks(bad, codec, 1)  # after its first right frame, a wrong one is only counted
            for number in range(2, 60):
                right = ask_of(codec, number)
                data = bytearray(right)
                data[rng.randrange(4, len(data))] ^= 1 << rng.randrange(8)  # its length stands
                bad.write(bytes(data) + right)
                answers = []
                while (WeightAnswer(number), SignalAttachment(0, -number, 5, 6)) not in answers:
                    answers.append(await bad.receive())  # of the spoiled one, too, if it can still be read
                while not bad.bodies.empty():
                    bad.bodies.get_nowait()
                await asks(good, codec, number)
            assert not bad.is_lost
            assert node._engine.router.in_work == 0

    asyncio.run(main())
