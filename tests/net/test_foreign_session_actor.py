"""Java peers: nodes that speak zfoo's codecs, and frames as Java zfoo would write and read them."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.support.java_peers import JavaPeer
from zfoo_py import Ask, Error, Int, Node, Packet, PacketTable, ProtocolModule, RemoteError, Session, packet_receiver
from zfoo_py.protocol import zfoo_java_codec, zfoo_json_codec
from zfoo_py.protocol.attachment import GatewayAttachment, NoAnswerAttachment, SignalAttachment
from zfoo_py.protocol.common import Heartbeat, Ping, Pong
from zfoo_py.protocol.framing import frame
from zfoo_py.protocol.zfoo_java_codec import encode
from zfoo_py.testing import MemoryNetwork

TABLE = PacketTable()
scores = ProtocolModule(80, "scores", table=TABLE)


@scores.packet(8001)
class ScoreAnswer(Packet):
    user_id: int
    level: Int


@scores.packet(8000, balance_by="user_id")
class ScoreAsk(Ask[ScoreAnswer]):
    user_id: int
    medals: set[str]


@scores.packet(8002)
class ScoreNote(Packet):
    text: str


@scores.packet(8003)
class ScoreList(Packet):
    medals: set[str]
    users: set[int]


# In another order than a set of them has, on whatever PYTHONHASHSEED.
MEDALS, USERS = [f"medal {i}" for i in range(50, 0, -1)], [8, 1, 16, 0, 9, 1024, 24]


class Scores:
    def __init__(self):
        self.notes = []

    @packet_receiver
    async def at_ask(self, session: Session, ask: ScoreAsk) -> ScoreAnswer:
        if ask.user_id < 0:
            raise ValueError("no such user")
        return ScoreAnswer(ask.user_id, len(ask.medals))

    @packet_receiver
    async def at_note(self, session: Session, note: ScoreNote) -> None:
        self.notes.append(note.text)
        session.send(ScoreNote(f"re: {note.text}"))

    @packet_receiver
    async def at_list(self, session: Session, given: ScoreList) -> ScoreList:
        session.send(ScoreList(MEDALS, USERS))
        return ScoreList(tuple(MEDALS), USERS)


def provider(codec="zfoo-java"):
    return Node(
        id="provider",
        table=TABLE,
        address="127.0.0.1:0",
        listen=[("127.0.0.1:0", codec)],
        provides=[scores],
        receivers=[Scores()],
        discovery={"kind": "static"},
    )


def consumer(node, codec="zfoo-java"):
    entry = f"{codec}://provider | {node.listeners[codec]} | provider:[scores-scores]"
    return Node(
        id="consumer",
        table=TABLE,
        consumes=[scores],
        receivers=[],
        discovery={"kind": "static", "addresses": [entry]},
    )


class JavaClient:
    """A socket that writes messages, and reads them."""

    def __init__(self, reader, writer, codec=zfoo_java_codec):
        self.reader, self.writer, self.codec, self.table = reader, writer, codec, TABLE

    @classmethod
    async def connect(cls, address, codec=zfoo_java_codec):
        host, port = address.rsplit(":", 1)
        return cls(*await asyncio.open_connection(host, int(port)), codec)

    def send(self, packet, attachment=None):
        self.writer.write(frame(self.codec.encode(packet, attachment, self.table)))

    async def receive(self):
        async with asyncio.timeout(5):
            size = int.from_bytes(await self.reader.readexactly(4), "big")
            return self.codec.decode(await self.reader.readexactly(size), self.table)

    async def close(self):
        self.writer.close()
        await self.writer.wait_closed()


@pytest.mark.parametrize("codec", ["zfoo-java", "zfoo-json"])
def test_two_nodes_speak_it(codec):
    async def main():
        async with provider(codec) as server, consumer(server, codec) as client:
            answer = await client.consumer.async_ask(ScoreAsk(5, {"a", "b"}), key=5)
            assert answer == ScoreAnswer(5, 2)
            with pytest.raises(RemoteError, match="no such user"):
                await client.consumer.async_ask(ScoreAsk(-1, set()), key=-1)
            many = await asyncio.gather(*(client.consumer.async_ask(ScoreAsk(i, ["x"]), key=i) for i in range(300)))
            assert many == [ScoreAnswer(i, 1) for i in range(300)]

    asyncio.run(main())


@pytest.mark.parametrize("codec", [zfoo_java_codec, zfoo_json_codec])
def test_a_java_client_asks(codec):
    """Its attachment comes back, whatever its id, with client 0; 12 stays 12 (zfoo.md section 3)."""

    async def main():
        name = "zfoo-java" if codec is zfoo_java_codec else "zfoo-json"
        async with provider(name) as server:
            client = await JavaClient.connect(server.listeners[name], codec)
            for sent, back in [(1, 0), (2, 0), (12, 12)]:
                attachment = SignalAttachment(sent, -7, 99, 1700000000000)
                client.send(ScoreAsk(1, ["a"]), attachment)
                expected = SignalAttachment(back, -7, 99, 1700000000000)
                assert await client.receive() == (ScoreAnswer(1, 1), expected)
            client.send(Heartbeat())
            client.send(ScoreAsk(-1, []), SignalAttachment(1, 0, 5, 6))
            packet, attachment = await client.receive()
            assert type(packet) is Error
            assert attachment == SignalAttachment(0, 0, 5, 6)
            client.send(ScoreNote("hello"), NoAnswerAttachment(-1))
            assert await client.receive() == (ScoreNote("re: hello"), None)
            client.send(ScoreNote("bare"))
            assert await client.receive() == (ScoreNote("re: bare"), None)
            client.send(Ping())
            pong, attachment = await client.receive()
            assert (type(pong), attachment) == (Pong, None)
            assert abs(pong.time - time.time() * 1000) < 60_000  # Java clients set their clocks by it
            client.send(Ping(), SignalAttachment(1, 5, -1, 0))
            pong, attachment = await client.receive()
            assert (type(pong), attachment) == (Pong, SignalAttachment(0, 5, -1, 0))
            await client.close()

    asyncio.run(main())


@pytest.mark.parametrize("codec", ["zfoo-java", "zfoo-json"])
def test_each_of_many_asks_written_at_once_is_answered(codec):
    """Far more than may be in work (1,024): those behind them wait, and none of their attachments is forgotten."""

    async def main():
        async with provider(codec) as server:
            made = zfoo_java_codec if codec == "zfoo-java" else zfoo_json_codec
            client = await JavaClient.connect(server.listeners[codec], made)
            for number in range(4000):
                client.send(ScoreAsk(number, []), SignalAttachment(1, number, number))
            answers = [await client.receive() for _ in range(4000)]
            assert {(packet.user_id, attachment.signal_id) for packet, attachment in answers} == {
                (number, number) for number in range(4000)
            }
            await client.close()

    asyncio.run(main())


def test_behind_a_java_gateway():
    async def main():
        async with provider() as server:
            client = await JavaClient.connect(server.listeners["zfoo-java"])
            signal = SignalAttachment(0, 9, -1, 3)
            client.send(ScoreAsk(1, ["a"]), GatewayAttachment(True, 5, signal, 0, 6))
            assert await client.receive() == (ScoreAnswer(1, 1), GatewayAttachment(False, 5, signal, 0, 6))
            client.send(ScoreAsk(2, ["a"]), GatewayAttachment(True, 7, None, 0, 6))
            assert await client.receive() == (ScoreAnswer(2, 1), GatewayAttachment(False, 7, None, 0, 6))
            await client.close()

    asyncio.run(main())


@pytest.mark.parametrize("codec", [zfoo_java_codec, zfoo_json_codec])
def test_an_ask_without_attachment_is_answered_without(codec):
    """As Java's clients do that wait for a packet, and not for the answer to an ask (zfoo.md section 3)."""

    async def main():
        name = "zfoo-java" if codec is zfoo_java_codec else "zfoo-json"
        async with provider(name) as server:
            client = await JavaClient.connect(server.listeners[name], codec)
            client.send(ScoreAsk(1, ["a"]))
            client.send(ScoreAsk(2, []))
            assert await client.receive() == (ScoreAnswer(1, 1), None)
            assert await client.receive() == (ScoreAnswer(2, 0), None)
            client.send(ScoreAsk(-1, []))
            error, attachment = await client.receive()
            assert (type(error), attachment) == (Error, None)
            # Whoever says that it wants no answer gets none.
            client.send(ScoreAsk(3, []), NoAnswerAttachment(5))
            client.send(ScoreAsk(4, []), SignalAttachment(1, 9, 5, 0))
            assert await client.receive() == (ScoreAnswer(4, 0), SignalAttachment(0, 9, 5, 0))
            await client.close()

    asyncio.run(main())


def test_what_cannot_be_read_harms_nobody():
    async def main():
        async with provider() as server:
            client = await JavaClient.connect(server.listeners["zfoo-java"])
            client.send(Heartbeat())
            client.writer.write(frame(b"\x7f\x00\x01\x00"))
            client.writer.write(frame(encode(ScoreAsk(1, []), None, TABLE)[:3]))
            client.send(ScoreAsk(2, []), SignalAttachment(1, 1, 1, 1))
            assert await client.receive() == (ScoreAnswer(2, 0), SignalAttachment(0, 1, 1, 1))
            await client.close()

    asyncio.run(main())


def test_a_java_provider_hears_nothing_of_ours():
    """No Hello, but a heartbeat, which it ignores; the ask has zfoo's attachment; its Error is a RemoteError."""

    async def main():
        seen = []

        async def serve(reader, writer):
            client = JavaClient(reader, writer)
            assert await client.receive() == (Heartbeat(), None)
            while True:
                packet, attachment = await client.receive()
                seen.append((packet, attachment))
                code = SignalAttachment(0, attachment.signal_id, attachment.task_executor_hash, attachment.timestamp)
                client.send(Error(3, "mine") if packet.user_id == 1 else ScoreAnswer(packet.user_id, 4), code)

        async def served(reader, writer):
            try:
                await serve(reader, writer)
            except asyncio.IncompleteReadError:
                writer.close()

        server = await asyncio.start_server(served, "127.0.0.1", 0)
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        entry = f"zfoo-java://java | {address} | provider:[scores-scores]"
        discovery = {"kind": "static", "addresses": [entry]}
        node = Node(id="consumer", table=TABLE, consumes=[scores], receivers=[], discovery=discovery)
        async with server, node:
            assert await node.consumer.async_ask(ScoreAsk(2, {"m"}), key=2) == ScoreAnswer(2, 4)
            with pytest.raises(RemoteError, match="mine") as caught:
                await node.consumer.async_ask(ScoreAsk(1, set()), key=1)
            assert caught.value.code == 3
        signal_id = seen[0][1].signal_id
        assert seen[0] == (ScoreAsk(2, {"m"}), SignalAttachment(1, signal_id, 2, 0))
        assert len(seen) == 2

    asyncio.run(main())


@pytest.mark.parametrize("codec", [zfoo_java_codec, zfoo_json_codec])
def test_a_java_peer_gets_sets_in_the_order_given(codec):
    """The bytes of an ask, of a push and of an answer are those of the packets as they were given."""
    name = "zfoo-java" if codec is zfoo_java_codec else "zfoo-json"
    given = ScoreList(MEDALS, USERS)

    async def main():
        network = MemoryNetwork()
        accepted = await JavaPeer.listen(network, 9000, TABLE, codec)
        entry = f"{name}://java | 127.0.0.1:9000 | provider:[scores-scores]"
        discovery = {"kind": "static", "addresses": [entry]}
        consumer = Node(id="c", table=TABLE, consumes=[scores], receivers=[], discovery=discovery, network=network)
        async with consumer:
            peer = await accepted.get()
            asked = asyncio.ensure_future(consumer.consumer.async_ask(given, ScoreList, key=None))
            assert codec.decode(await peer.body(), TABLE)[0] == Heartbeat()
            body = await peer.body()
            _, attachment = codec.decode(body, TABLE)
            assert body == codec.encode(given, attachment, TABLE)
            peer.send(given, SignalAttachment(0, attachment.signal_id))
            assert (await asked).users == set(USERS)
        server = Node(
            id="p", table=TABLE, address="127.0.0.1:0", listen=[("127.0.0.1:0", name)], provides=[scores],
            receivers=[Scores()], discovery={"kind": "static"}, network=network,
        )  # fmt: skip
        async with server:
            peer = await JavaPeer.dial(network, server.listeners[name], TABLE, codec)
            peer.send(given, SignalAttachment(1, 5, -1, 6))
            assert await peer.body() == codec.encode(given, None, TABLE)
            assert await peer.body() == codec.encode(given, SignalAttachment(0, 5, -1, 6), TABLE)

    asyncio.run(main())
