"""A balancer at fault, between real nodes: what it sends to the wrong service type is caught, counted and told."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

from tests.support.nodes import TABLE, Tallies, Tally, TallyAsk, TallyNote
from zfoo_py import Node, Session, packet_receiver
from zfoo_py.events import Alert
from zfoo_py.testing import MemoryNetwork

KEYS = [f"key-{number}" for number in range(60)]


@packet_receiver
async def take(session: Session, packet: Tally) -> None:
    """Serve the other module."""


@asynccontextmanager
async def nodes():
    """Run a provider of each group, in one network, and a consumer of the blue one."""
    network = MemoryNetwork()
    async with AsyncExitStack() as stack:

        async def start(name, **more):
            more = {"receivers": [Tallies(name), take], "discovery": where, **more}
            return await stack.enter_async_context(Node(id=name, table=TABLE, network=network, **more))

        where = {"address": "127.0.0.1:0", "host": True}
        discovery = await start("discovery")
        where = {"address": discovery.discovery_address}
        blue = await start("blue", provides=[("tallies", "blue")])
        green = await start("green", provides=[("tallies", "green"), ("other", "other")])
        consumer = await start("consumer", consumes=[("tallies", "blue"), "other"])
        yield blue, green, consumer


def misroute(consumer):
    """Do what zfoo's balancer of 2024 did: let a provider of another type into the ring of this one."""
    actor = consumer._engine.consumer_ref.actor
    service = actor._services["tallies"]
    [stranger] = actor._services["other"].view.providers
    service.view = service.view.joined(stranger, actor.version)
    service.balancer.on_up(stranger)


def test_a_misrouted_ask_is_answered_by_the_right_provider_and_raises_an_alert():
    async def main():
        async with nodes() as (_, green, consumer):
            alerts = []
            consumer.events.subscribe(Alert, alerts.append)
            misroute(consumer)
            answers = [consumer.consumer.async_ask(TallyAsk(key)) for key in KEYS]
            assert [(await answer).served_by for answer in answers] == ["blue"] * len(KEYS)
            wrong = green.router.unserved.misrouted
            assert (await consumer.consumer.stats())["misroutes"] == wrong > 10
            assert [alert.name for alert in alerts] == ["misroute"]
            assert "provides module 'tallies' as 'green'" in alerts[0].text

    asyncio.run(main())


def test_a_misrouted_packet_one_way_reaches_no_receiver_and_is_counted():
    async def main():
        async with nodes() as (blue, green, consumer):
            misroute(consumer)
            for key in KEYS:
                await consumer.consumer.send(TallyNote(key))
            while blue.router.received + green.router.unserved.misrouted < len(KEYS):
                await asyncio.sleep(0)
            assert green.router.unserved.misrouted > 10

    asyncio.run(main())
