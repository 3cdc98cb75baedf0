"""One suite for every discovery: the same cases, between real nodes, wherever they meet."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from contextlib import AsyncExitStack

from samples.services import Counts, VisitAsk, visits
from tests.support.consumers import registration
from tests.support.nodes import hosting
from tests.support.zookeeper import FakeZooKeeper
from zfoo_py import Node
from zfoo_py.consumer.zookeeper import ZooKeeperDiscovery
from zfoo_py.discovery_config import DiscoveryConfig
from zfoo_py.protocol.common import DirectoryRegister
from zfoo_py.protocol.registration import Registration, ServiceName

CROWD = 200
STRANGE = ("no registration", "a | b | provider:[visits]", "x" * 5000, "é | \u3000 | provider:[visits-visits]", "|||")


def quiet_ports(count):
    """Return free ports below those that the system gives to outgoing connections, some thousand of them a test."""
    found = []
    for port in range(random.randrange(15_000, 25_000), 32_000):
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            break
    return found


class Place:
    """Where nodes meet; a subclass per discovery."""

    ports = ()

    async def __aenter__(self):
        self.stack = AsyncExitStack()
        await self.stack.__aenter__()
        await self.open()
        return self

    async def __aexit__(self, *error):
        await self.stack.__aexit__(*error)

    async def open(self):
        """Begin."""

    def of_consumer(self):
        return self.of_provider(None)

    async def put(self, texts):
        """Let texts stand among the providers, which are none, or somebody else's."""

    def provider(self, number, **more):
        address = f"127.0.0.1:{self.ports[number]}" if self.ports else None
        name = f"p{number}"
        of = Registration(name, address, (ServiceName("visits", "visits"),))
        return Node(
            id=name,
            provides=[visits],
            receivers=[Counts(name)],
            address=address,
            discovery=self.of_provider(of),
            **more,
        )

    def consumer(self):
        return Node(id="c", consumes=[visits], receivers=[], discovery=self.of_consumer(), ready_timeout_s=20.0)


class Static(Place):
    """A list of addresses, some of them of nobody."""

    def __init__(self, count):
        self.ports = quiet_ports(count)

    def of_provider(self, of):
        listed = [f"127.0.0.1:{port}" for port in self.ports]
        return {"kind": "static", "addresses": [*listed, *listed, "127.0.0.1:1"]}


class Embedded(Place):
    """A directory in a node of its own."""

    def __init__(self, count):
        self.ports = quiet_ports(count)

    async def open(self):
        self.host = await self.stack.enter_async_context(hosting())

    def of_provider(self, of):
        return {"kind": "embedded", "address": self.host.discovery_address}

    async def put(self, texts):
        async with self.provider(0) as stranger:
            session = stranger._engine._discovery._session
            while session is None:
                await asyncio.sleep(0)
                session = stranger._engine._discovery._session
            for text in texts:
                session.send(DirectoryRegister(text))
            await asyncio.sleep(0.05)


class InMemory(Place):
    """ZooKeeper discovery, on a ZooKeeper in memory."""

    def __init__(self, count):
        self.ports = quiet_ports(count)
        self.servers = FakeZooKeeper()

    def of_provider(self, of):
        link = self.servers.link()
        return ZooKeeperDiscovery(
            DiscoveryConfig(kind="zookeeper"), of or Registration("c"), link=link, warn=lambda _: 0
        )

    async def put(self, texts):
        for text in texts:
            self.servers.put(f"/zfoo/zfoo_py/provider/{text.replace('/', '_')}")


class Case:
    """What the cases share: who is a member of the consumer's."""

    def __init__(self, consumer):
        self.node = consumer

    def members(self):
        return sorted(one.node_id for one in self.node._engine.service("visits").view.providers)

    def sessions(self):
        """Return how many sessions to providers there are."""
        return len(self.node._engine.registry.actor._providers)

    async def until(self, *names, limit_s=20.0):
        """Wait until these are the members."""
        async with asyncio.timeout(limit_s):
            while self.members() != sorted(names):
                await asyncio.sleep(0.005)

    async def serve(self, count=50):
        """Ask with many keys; return who answered."""
        return {(await self.node.consumer.async_ask(VisitAsk(f"k{number}", 1))).served_by for number in range(count)}


async def join_and_leave(place):
    async with place.provider(1), place.consumer() as node:
        case = Case(node)
        async with place.provider(2):
            await case.until("p1", "p2")
            assert await case.serve() == {"p1", "p2"}
        await case.until("p1")
        assert await case.serve() == {"p1"}


async def crash(place):
    async with place.provider(1), place.consumer() as node:
        case = Case(node)
        victim = await place.provider(2).start()
        await case.until("p1", "p2")
        await victim._engine.abort()
        await case.until("p1")
        assert await case.serve() == {"p1"}
        await victim.stop()


async def restart_on_the_same_address(place):
    async with place.provider(1), place.consumer() as node:
        case = Case(node)
        for _ in range(3):
            async with place.provider(2):
                await case.until("p1", "p2")
                assert await case.serve() == {"p1", "p2"}
            await case.until("p1")


async def two_hundred_joins_in_a_second(place):
    async with AsyncExitStack() as stack, place.provider(0), place.consumer() as node:
        case = Case(node)
        for number in range(1, CROWD + 1):
            await stack.enter_async_context(place.provider(number))
        began_s = time.monotonic()
        await case.until(*(f"p{number}" for number in range(CROWD + 1)))
        assert time.monotonic() - began_s < 15.0
        assert case.sessions() == CROWD + 1


async def malformed_and_huge_names(place):
    async with place.provider(1), place.consumer() as node:
        case = Case(node)
        await place.put(STRANGE)
        async with place.provider(2):
            await case.until("p1", "p2")
            assert await case.serve() == {"p1", "p2"}


async def duplicates(place):
    """A registration at an address where another node is now: the Hello tells, and it enters no ring."""
    async with place.provider(1) as p1, place.consumer() as node:
        case = Case(node)
        stale = registration(9)
        await place.put([stale.text.replace(stale.address, p1.address), p1._engine._registration_text])
        async with place.provider(2):
            await case.until("p1", "p2")
            assert await case.serve() == {"p1", "p2"}


async def slow_watcher(place):
    async with place.provider(1), place.consumer() as node, AsyncExitStack() as stack:
        case = Case(node)
        for number in range(2, 12):
            await stack.enter_async_context(place.provider(number))
            time.sleep(0.02)  # noqa: ASYNC251 - the consumer's loop stands still meanwhile, as under a heavy turn
        await case.until(*(f"p{number}" for number in range(1, 12)))


CASES = (
    join_and_leave,
    crash,
    restart_on_the_same_address,
    two_hundred_joins_in_a_second,
    malformed_and_huge_names,
    duplicates,
    slow_watcher,
)
