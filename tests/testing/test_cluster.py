"""zfoo_py.testing: the memory network, the clock, the cluster in one process, the outside client."""

import asyncio

import pytest

from samples.services import Counts, VisitAnswer, VisitAsk, visits
from zfoo_py import Node, RemoteError, SessionClosedError
from zfoo_py.errors import ConfigError
from zfoo_py.events import ProviderDown
from zfoo_py.testing import Client, FakeClock, MemoryNetwork, cluster


def test_a_fake_clock_runs_timers_in_order_of_time_then_of_asking():
    """Nothing happens but by advance; a timer set by a timer runs in the same advance if it falls due."""
    clock, ran = FakeClock(), []
    clock.call_later(2, ran.append, "two")
    clock.call_later(1, ran.append, "one")
    clock.call_later(1, ran.append, "one again")
    clock.call_later(1, lambda: clock.call_later(0.5, ran.append, "from within"))
    cancelled = clock.call_later(1, ran.append, "cancelled")
    cancelled.cancel()
    assert clock.pending() == 4
    clock.advance(0.5)
    assert ran == []
    clock.advance(5)
    assert ran == ["one", "one again", "from within", "two"]
    assert clock.pending() == 0


def test_a_cluster_needs_no_port_and_keeps_keys():
    """Three providers in memory: the same key reaches the same one, and counts there."""

    async def main():
        async with cluster(provides=[visits], receivers=lambda name: [Counts(name)], providers=3) as c:
            answers = [await c.consumer.async_ask(VisitAsk("ada", 1)) for _ in range(3)]
            assert [answer.count for answer in answers] == [1, 2, 3]
            assert len({answer.served_by for answer in answers}) == 1
            others = {(await c.consumer.async_ask(VisitAsk(f"key {n}", 1))).served_by for n in range(60)}
            assert others == set(c.providers)

    asyncio.run(main())


def test_a_killed_provider_is_noticed_and_its_keys_move():
    """kill() is a SIGKILL: asks go to the next owner from the change on, and nobody else's keys move."""

    async def main():
        async with cluster(provides=[visits], receivers=lambda name: [Counts(name)], providers=3) as c:
            before = {n: (await c.consumer.async_ask(VisitAsk(f"{n}", 1))).served_by for n in range(60)}
            down = asyncio.get_running_loop().create_future()
            c.node.events.subscribe(ProviderDown, down.set_result)
            c.kill("provider-2")
            assert (await down).node_id == "provider-2"
            after = {n: (await c.consumer.async_ask(VisitAsk(f"{n}", 1))).served_by for n in range(60)}
            assert "provider-2" not in after.values()
            assert all(after[n] == name for n, name in before.items() if name != "provider-2")

    asyncio.run(main())


def test_an_address_is_listened_on_once_and_dialled_only_while_it_is():
    """The memory network refuses as TCP does."""

    async def main():
        network = MemoryNetwork()
        listener = await network.listen("127.0.0.1", 0, lambda: None)
        host, _, port = listener.address.rpartition(":")
        with pytest.raises(ConfigError, match="somebody does"):
            await network.listen(host, int(port), lambda: None)
        await listener.close()
        with pytest.raises(SessionClosedError, match="nobody listens"):
            await network.dial(host, int(port), lambda: None, 1.0)

    asyncio.run(main())


def test_an_outside_client_asks_over_real_tcp():
    """A client gets its answer, a typed error where there is no receiver, and the end when the node stops."""

    async def main():
        node = Node(id="p", provides=[visits], receivers=[Counts("p")], discovery="static")
        async with node, await Client.connect(node.address) as client:
            assert await client.ask(VisitAsk("x", 1), VisitAnswer) == VisitAnswer("x", 1, "p")
            with pytest.raises(RemoteError, match="no receiver"):
                await client.ask(VisitAnswer("x", 1, "p"), VisitAnswer)
            records = await node.sessions()
            assert [(record.kind, record.side, record.node_id) for record in records] == [
                ("client", "server", "client")
            ]

    asyncio.run(main())
