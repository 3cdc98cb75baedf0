"""What Java peers see of a node that stops: it leaves discovery, answers what is in work, refuses the rest, closes."""

from __future__ import annotations

import asyncio

import pytest

from tests.net.test_foreign_session_actor import JavaClient
from tests.support.nodes import eventually, sessions_of
from tests.support.zookeeper import FakeZooKeeper
from zfoo_py import Ask, Node, Packet, PacketTable, ProtocolModule, Session, packet_receiver
from zfoo_py.protocol.attachment import SignalAttachment
from zfoo_py.protocol.common import Error, ErrorCode

TABLE = PacketTable()
slow = ProtocolModule(80, "slow", table=TABLE)
JAVAS = "/zfoo/provider"


@slow.packet(8001)
class SlowAnswer(Packet):
    number: int
    payload: bytes


@slow.packet(8000, balance_by="number")
class SlowAsk(Ask[SlowAnswer]):
    number: int


class Slow:
    def __init__(self, size=0):
        self.size = size
        self.begun = asyncio.Event()
        self.count = 0
        self.go_on = asyncio.Event()

    @packet_receiver
    async def at_ask(self, session: Session, ask: SlowAsk) -> SlowAnswer:
        self.begun.set()
        self.count += 1
        await self.go_on.wait()
        return SlowAnswer(ask.number, b"x" * self.size)


@pytest.fixture
def servers(monkeypatch):
    pytest.importorskip("kazoo")
    servers = FakeZooKeeper()
    monkeypatch.setattr("zfoo_py.consumer.zookeeper_io.KazooLink", lambda *_: servers.link())
    return servers


class Java(JavaClient):
    """A Java consumer."""

    def __init__(self, *how):
        super().__init__(*how)
        self.table = TABLE

    @classmethod
    async def to(cls, node):
        return await cls.connect(node.listeners["zfoo-java"])

    def ask(self, number):
        self.send(SlowAsk(number), SignalAttachment(1, number, number, 1))

    async def rest(self):
        """Return all packets until the end of the connection."""
        packets = []
        while True:
            try:
                packets.append((await self.receive())[0])
            except asyncio.IncompleteReadError:
                return packets


def provider(receivers, **more):
    more = {"drain_timeout_s": 5.0, "discovery": {"kind": "zookeeper"}, **more}
    java = {"codecs": ["zfoo-java"], "listen": ["127.0.0.1:0"]}
    return Node(id="p", table=TABLE, provides=[slow], receivers=[receivers], **java, **more)


def test_what_is_in_work_is_answered_what_comes_later_is_refused_and_then_it_closes(servers):
    async def main():
        receivers = Slow()
        async with provider(receivers) as node:
            java, idle = await Java.to(node), await Java.to(node)
            java.ask(1)
            java.ask(1)  # behind it, in the same lane
            await receivers.begun.wait()
            stopping = asyncio.create_task(node.stop())
            while servers.names(JAVAS):
                await asyncio.sleep(0)
            await eventually(lambda: node.router.admission.is_draining)
            assert not stopping.done()
            java.ask(3)
            packet, attachment = await java.receive()
            assert (type(packet), packet.code, attachment) == (Error, ErrorCode.DRAINING, SignalAttachment(0, 3, 3, 1))
            with pytest.raises(ConnectionError):
                await Java.to(node)
            receivers.go_on.set()
            assert await java.receive() == (SlowAnswer(1, b""), SignalAttachment(0, 1, 1, 1))
            assert await java.rest() == [SlowAnswer(1, b"")]
            assert await idle.rest() == []
            await stopping
            await java.close()
            await idle.close()

    asyncio.run(main())


def test_asks_that_were_read_before_are_answered_each(servers):
    async def main():
        receivers = Slow()
        receivers.go_on.set()
        async with provider(receivers) as node:
            java = await Java.to(node)
            for number in range(500):
                java.ask(number)
            await receivers.begun.wait()
            await node.stop()
            assert await java.rest() == [SlowAnswer(number, b"") for number in range(500)]
            await java.close()

    asyncio.run(main())


def test_a_node_ends_when_its_answers_are_taken(servers):
    """A process that ended before would take them along: 18 MB are more than the kernel holds."""

    async def main():
        receivers = Slow(size=900_000)
        async with provider(receivers) as node:
            java = await Java.to(node)
            for number in range(20):
                java.ask(number)
            await eventually(lambda: receivers.count == 20)
            stopping = asyncio.create_task(node.stop())
            receivers.go_on.set()
            await eventually(lambda: any(actor.unsent_bytes() for actor in sessions_of(node, "server")))
            await asyncio.sleep(0.1)
            assert not stopping.done()
            assert len(await java.rest()) == 20
            await stopping
            await java.close()

    asyncio.run(main())


def test_a_peer_that_takes_nothing_is_not_waited_for(servers, monkeypatch):
    monkeypatch.setattr("zfoo_py.engine.GOODBYE_S", 0.2)

    async def main():
        receivers = Slow(size=900_000)
        async with provider(receivers, drain_timeout_s=60.0) as node:
            java = await Java.to(node)
            for number in range(20):
                java.ask(number)
            await eventually(lambda: receivers.count == 20)
            receivers.go_on.set()
            async with asyncio.timeout(5):
                await node.stop()
            java.writer.transport.abort()

    asyncio.run(main())


def test_who_asks_a_java_provider_waits_for_its_answer_before_it_ends():
    async def main():
        receivers = Slow()
        async with provider(receivers, discovery={"kind": "static"}) as node:
            entry = f"zfoo-java://p | {node.listeners['zfoo-java']} | provider:[slow-slow]"
            static = {"kind": "static", "addresses": [entry]}
            async with Node(id="c", table=TABLE, consumes=[slow], receivers=[], discovery=static) as consumer:
                answer = consumer.consumer.async_ask(SlowAsk(1))
                await receivers.begun.wait()
                stopping = asyncio.create_task(consumer.stop())
                await asyncio.sleep(0.05)
                assert not stopping.done()
                receivers.go_on.set()
                assert await answer == SlowAnswer(1, b"")
                await stopping

    asyncio.run(main())
