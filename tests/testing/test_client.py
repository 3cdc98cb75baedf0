"""The outside client, over real TCP."""

import asyncio

import pytest

from samples.services import Counts, VisitAnswer, VisitAsk, visits
from zfoo_py import Node, RemoteError, Session, SessionClosedError, packet_receiver
from zfoo_py.protocol.common import Draining, Message
from zfoo_py.testing import Client


def test_an_outside_client_asks_over_real_tcp():
    """A client gets its answer, a typed error where there is no receiver, and the end when the node stops."""

    async def main():
        node = Node(id="p", provides=[visits], receivers=[Counts("p")], discovery="static")
        async with node, await Client.connect(node.address) as client:
            assert await client.ask(VisitAsk("x", 1), VisitAnswer) == VisitAnswer("x", 1, "p")
            assert (await client.ask(VisitAsk("x", 1), VisitAnswer, lane=7)).count == 2
            with pytest.raises(RemoteError, match="no receiver"):
                await client.ask(VisitAnswer("x", 1, "p"), VisitAnswer)
            records = await node.sessions()
            assert [(record.kind, record.side, record.node_id) for record in records] == [
                ("client", "server", "client")
            ]
            await node.stop()
            assert isinstance((await client.receive())[0], Draining)
            with pytest.raises(SessionClosedError, match="closed the connection"):
                await client.receive()

    asyncio.run(main())


@packet_receiver
async def push_then_answer(session: Session, ask: VisitAsk) -> VisitAnswer:
    session.send(Message(2, "first this"))
    return VisitAnswer(ask.client, 1, "p")


def test_what_is_pushed_meanwhile_gathers():
    async def main():
        node = Node(id="p", provides=[visits], receivers=[push_then_answer], discovery="static")
        async with node, await Client.connect(node.address) as client:
            assert (await client.ask(VisitAsk("x", 1), VisitAnswer)).count == 1
            assert client.pushes == [Message(2, "first this")]

    asyncio.run(main())


def test_a_node_that_does_not_take_the_hello_is_an_error():
    async def main():
        async def hang_up(_, writer):
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        async with server:
            host, port = server.sockets[0].getsockname()
            with pytest.raises(SessionClosedError):
                await Client.connect(f"{host}:{port}")
        with pytest.raises(OSError, match="Connect call failed"):
            await Client.connect(f"{host}:{port}")

    asyncio.run(main())
