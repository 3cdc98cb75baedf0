"""What a Java peer cannot be sent fails alone: the ask, the one-way packet, the answer; the session goes on."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tests.support.java_peers import JavaPeer
from tests.support.nodes import eventually, logged
from zfoo_py import Ask, EncodeError, Error, Node, Packet, PacketTable, ProtocolModule, Session, packet_receiver
from zfoo_py.events import Undelivered
from zfoo_py.protocol import zfoo_java_codec, zfoo_json_codec
from zfoo_py.protocol.attachment import SignalAttachment
from zfoo_py.testing import MemoryNetwork

TABLE = PacketTable()
sizes = ProtocolModule(81, "sizes", table=TABLE)
CODECS = {"zfoo-java": zfoo_java_codec, "zfoo-json": zfoo_json_codec}


@sizes.packet(8101)
class SizeAnswer(Packet):
    number: int
    texts: list[str]


@sizes.packet(8100)
class SizeAsk(Ask[SizeAnswer]):
    number: int
    texts: list[str]


@sizes.packet(8102)
class PairAsk(Ask[SizeAnswer]):
    pair: tuple[int, str]


@sizes.packet(8103)
class PairNote(Packet):
    pair: tuple[int, str]


@sizes.packet(8104)
class SizeNote(Packet):
    number: int


class Sizes:
    @packet_receiver
    async def at_size_ask(self, _session: Session, ask: SizeAsk) -> SizeAnswer | PairNote:
        if ask.number == 3:
            return PairNote((3, "three"))
        texts = ["x"] * 70_000 if ask.number == 2 else ask.texts
        return SizeAnswer(1 << 63 if ask.number == 1 else ask.number, texts)

    @packet_receiver
    async def at_size_note(self, session: Session, note: SizeNote) -> None:
        session.send(PairNote((1, "a")) if note.number == 1 else SizeNote(1 << 63))
        session.send(SizeNote(note.number))


TOO_LARGE = r"SizeAsk\.number: 9223372036854775808 is out of range: Long is -9223372036854775808 to 9223372036854775807"
TOO_MANY = r"SizeAsk\.texts: 70000 elements, and Java zfoo reads fewer than 65536"
NO_PAIRS = r"PairAsk\.pair is tuple\[int, str\], which Java zfoo does not have: use tuple\[T, \.\.\.\] or a packet"
TOO_LONG = r"SizeAsk has 1048[56]\d\d bytes, more than the 1048512 allowed: send less at once \(127"
REFUSED = [
    ("zfoo-java", SizeAsk(0, ["x" * (1 << 20)]), TOO_LONG),
    ("zfoo-json", SizeAsk(0, ["x" * (1 << 20)]), TOO_LONG),
    ("zfoo-java", SizeAsk(1 << 63, []), TOO_LARGE),
    ("zfoo-java", SizeAsk(0, ["x"] * 70_000), TOO_MANY),
    ("zfoo-java", PairAsk((1, "a")), NO_PAIRS),
    ("zfoo-json", SizeAsk(1 << 63, []), TOO_LARGE),
    ("zfoo-json", PairAsk((1, "a")), NO_PAIRS),
]


def consumer(network, codec):
    entry = f"{codec}://java | 127.0.0.1:9000 | provider:[sizes-sizes]"
    discovery = {"kind": "static", "addresses": [entry]}
    return Node(id="asker", table=TABLE, consumes=[sizes], receivers=[], discovery=discovery, network=network)


def provider(network, codec):
    return Node(
        id="provider", table=TABLE, listen=[("127.0.0.1:0", codec)], address="127.0.0.1:0", provides=[sizes],
        receivers=[Sizes()], discovery={"kind": "static"}, network=network,
    )  # fmt: skip


def check(error, packet):
    assert type(error) is EncodeError
    assert not error.may_have_run
    assert (error.module, error.packet, error.provider) == (
        "sizes",
        type(packet).__name__,
        "java | 127.0.0.1:9000 | provider:[sizes-sizes]",
    )
    assert error.sid is not None
    assert "is a Java peer; nothing was sent" in str(error)


@pytest.mark.parametrize(("codec", "packet", "text"), REFUSED)
def test_an_ask_that_java_cannot_be_asked(codec, packet, text):
    async def main():
        network = MemoryNetwork()
        accepted = await JavaPeer.listen(network, 9000, TABLE, CODECS[codec])
        async with consumer(network, codec) as node:
            peer = await accepted.get()
            with pytest.raises(EncodeError, match=text) as caught:
                await node.consumer.async_ask(packet, key=None)
            check(caught.value, packet)
            ended = asyncio.Event()
            answer = node.consumer.async_ask(packet, key=None).when_complete(lambda _: ended.set())
            await ended.wait()
            check(answer.exception(), packet)
            raised = []

            def ask_and_wait():
                with pytest.raises(EncodeError, match=text) as caught:
                    node.consumer.sync_ask(packet, key=None)
                raised.append(caught.value)

            thread = threading.Thread(target=ask_and_wait)
            thread.start()
            await eventually(lambda: bool(raised))
            thread.join()
            check(raised[0], packet)
            # The peer has heard nothing of all this, and the session goes on.
            asked = asyncio.ensure_future(node.consumer.async_ask(SizeAsk(7, []), key=None))
            got, attachment = await peer.receive()
            assert got == SizeAsk(7, [])
            peer.send(SizeAnswer(7, []), SignalAttachment(0, attachment.signal_id, -1, 0))
            assert await asked == SizeAnswer(7, [])
            assert not peer.is_lost

    asyncio.run(main())


@pytest.mark.parametrize(("codec", "packet"), [(codec, packet) for codec in CODECS for packet in (1, 2)])
def test_a_one_way_packet_that_java_cannot_be_sent(codec, packet):
    """It is reported, and what comes after it is sent."""

    async def main():
        network, lost = MemoryNetwork(), []
        async with provider(network, codec) as node:
            node.events.subscribe(Undelivered, lost.append)
            peer = await JavaPeer.dial(network, node.listeners[codec], TABLE, CODECS[codec])
            peer.send(SizeNote(packet))
            assert await peer.receive() == (SizeNote(packet), None)
            await eventually(lambda: bool(lost))
            [one] = lost
            assert (one.what, one.module) == ("PairNote" if packet == 1 else "SizeNote", "sizes")
            assert "PairNote.pair is tuple" in one.reason or "SizeNote.number: 9223372036854775808" in one.reason

    asyncio.run(main())


@pytest.mark.parametrize(
    ("codec", "number", "text"),
    [
        ("zfoo-java", 1, "EncodeError: SizeAnswer.number: 9223372036854775808 is out of range: Long"),
        ("zfoo-java", 2, "EncodeError: SizeAnswer.texts: 70000 elements, and Java zfoo reads fewer than 65536"),
        ("zfoo-java", 3, "EncodeError: PairNote.pair is tuple[int, str], which Java zfoo does not have"),
        ("zfoo-json", 1, "EncodeError: SizeAnswer.number: 9223372036854775808 is out of range: Long"),
        ("zfoo-json", 3, "EncodeError: PairNote.pair is tuple[int, str], which Java zfoo does not have"),
    ],
)
def test_an_answer_that_java_cannot_be_sent(codec, number, text):
    """The asker is told why, the log has it once, and the next ask is answered."""

    async def main():
        network = MemoryNetwork()
        async with provider(network, codec) as node:
            peer = await JavaPeer.dial(network, node.listeners[codec], TABLE, CODECS[codec])
            with logged("WARNING") as lines:
                peer.send(SizeAsk(number, []), SignalAttachment(1, -9, 5, 6))
                packet, attachment = await peer.receive()
            assert type(packet) is Error
            assert packet.message.startswith(text)
            assert attachment == SignalAttachment(0, -9, 5, 6)
            [line] = [line for line in lines if "was not sent" in line]  # not that the turn was slow
            assert text in line
            peer.send(SizeAsk(5, ["a"]), SignalAttachment(1, -8, 5, 6))
            assert await peer.receive() == (SizeAnswer(5, ["a"]), SignalAttachment(0, -8, 5, 6))

    asyncio.run(main())
