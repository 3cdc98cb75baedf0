"""Nodes and a real ZooKeeper: auth, an ensemble, servers that stand still or come late, expiry, forks."""

from __future__ import annotations

import asyncio
import os
import time
import uuid

import pytest

from samples.registry.stage import expire
from samples.services import Counts, VisitAsk, visits
from tests.support.nodes import eventually
from zfoo_py import ForkedError, Node, NotReadyError
from zfoo_py.consumer.zookeeper_io import KazooLink
from zfoo_py.consumer.zookeeper_link import RefusedError
from zfoo_py.discovery_config import DiscoveryConfig
from zfoo_py.testing.zookeeper import ensemble

SESSION_S = 2.0
SECRET = "-".join("abc")


def table(server, **more):
    addresses = server if isinstance(server, str) else server.address
    return {"kind": "zookeeper", "address": addresses, "session_timeout_s": SESSION_S, "call_timeout_s": 2.0, **more}


def provider(name, server, **more):
    return Node(id=name, provides=[visits], receivers=[Counts(name)], discovery=table(server, **more))


def consumer(server, **more):
    return Node(id="consumer", consumes=[visits], receivers=[], discovery=table(server, **more))


def members(node):
    return {one.node_id for one in node._engine.service("visits").view.providers}


def session_of(node):
    return node._engine._discovery._link.session()


class Eye:
    """A look past the nodes."""

    def __init__(self, server, **more):
        self.config = DiscoveryConfig(**table(server, **more))

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        self.link = KazooLink(self.config, lambda *call: None if loop.is_closed() else loop.call_soon_threadsafe(*call))
        connected = asyncio.Event()
        self.link.start(lambda state: connected.set() if state == "connected" else None, lambda *_: None)
        async with asyncio.timeout(10):
            await connected.wait()
        return self.link

    async def __aexit__(self, *_):
        assert await self.link.stop() == ""


def run(scenario):
    async def main():
        async with asyncio.timeout(50):
            await scenario()

    asyncio.run(main())


def fresh():
    return f"/test-{uuid.uuid4().hex}"


@pytest.mark.parametrize("acl", ["all", "root"])
def test_with_a_user_strangers_see_nothing_of_what_is_closed(shared, acl):
    root = fresh()
    mine = {"root": root, "user": "me", "password": SECRET, "acl": acl}

    async def scenario():
        async with provider("p1", shared, **mine), consumer(shared, **mine) as c:
            assert (await c.consumer.async_ask(VisitAsk("a", 1))).served_by == "p1"
            async with Eye(shared, user="me", password=SECRET) as eye:
                assert await eye.is_closed(root)
                for folder in ("/provider", "/consumer", "/zfoo_py", "/zfoo_py/provider"):
                    assert await eye.is_closed(root + folder) == (acl == "all")
            async with Eye(shared) as stranger:
                with pytest.raises(RefusedError):
                    await stranger.children(root)
                if acl == "all":
                    with pytest.raises(RefusedError):
                        await stranger.children(f"{root}/zfoo_py/provider")
                else:
                    assert len(await stranger.children(f"{root}/zfoo_py/provider")) == 1
            with pytest.raises(NotReadyError, match=r"discovery\.user"):
                await consumer(shared, root=root, required=True).start()
            with pytest.raises(NotReadyError, match=r"discovery\.user"):
                await consumer(shared, root=root, user="you", password=SECRET, required=True).start()

    run(scenario)


def test_a_root_of_something_else_is_refused(shared):
    root = fresh()

    async def scenario():
        async with Eye(shared) as eye:
            await eye.create(root, b"eureka", ephemeral=False, closed=False)
        with pytest.raises(NotReadyError, match="'eureka'"):
            await provider("p1", shared, root=root, required=True).start()

    run(scenario)


def test_a_stop_takes_the_nodes_away_at_once(shared):
    root = fresh()

    async def scenario():
        async with Eye(shared) as eye:
            async with provider("p1", shared, root=root), consumer(shared, root=root):
                assert len(await eye.children(f"{root}/zfoo_py/provider")) == 1
                # A consumer has its node once a session is made: its start does not wait for that one write.
                while not await eye.children(f"{root}/consumer"):
                    await asyncio.sleep(0.01)
            assert await eye.children(f"{root}/zfoo_py/provider") == []
            assert await eye.children(f"{root}/consumer") == []

    run(scenario)


def test_a_node_that_an_operator_deletes_comes_back(shared):
    root = fresh()

    async def scenario():
        async with provider("p1", shared, root=root) as p, consumer(shared, root=root) as c, Eye(shared) as eye:
            path = f"{root}/zfoo_py/provider/{p._engine._registration_text}"
            await eye.delete(path, 0)
            await eventually(p._engine._discovery._settled.is_set)
            while (stat := await eye.stat(path)) is None:
                await asyncio.sleep(0.01)
            assert stat.owner == session_of(p)
            assert members(c) == {"p1"}

    run(scenario)


def test_an_expired_session_costs_no_ask_and_no_member(shared):
    root = fresh()

    async def scenario():
        async with provider("p1", shared, root=root) as p, consumer(shared, root=root) as c:
            for node in (p, c):
                before = session_of(node)
                await expire(node)
                while session_of(node) in (0, before):
                    await c.consumer.async_ask(VisitAsk("a", 1))
                    await asyncio.sleep(0.01)
            await c.consumer.async_ask(VisitAsk("a", 1))
            assert members(c) == {"p1"}
            async with Eye(shared) as eye:
                while True:
                    names = await eye.children(f"{root}/zfoo_py/provider")
                    stats = [await eye.stat(f"{root}/zfoo_py/provider/{name}") for name in names]
                    if [stat.owner for stat in stats if stat] == [session_of(p)]:
                        return
                    await asyncio.sleep(0.02)

    run(scenario)


def test_an_ensemble_loses_a_server_and_its_quorum_and_no_ask(tmp_path):
    servers = ensemble(tmp_path)
    try:
        addresses = ",".join(server.address for server in servers)

        async def scenario():
            async with provider("p1", addresses) as p, consumer(addresses) as c:
                before = session_of(p)
                for server in servers:  # whichever it is at, and the leader among them
                    await asyncio.to_thread(server.restart)
                    await c.consumer.async_ask(VisitAsk("a", 1))
                servers[0].kill()
                servers[1].kill()
                async with asyncio.timeout(3 * SESSION_S):
                    while p._engine._discovery._is_connected:
                        await c.consumer.async_ask(VisitAsk("a", 1))
                        await asyncio.sleep(0.05)
                for server in servers[:2]:
                    server.run()
                async with provider("p2", addresses):
                    while members(c) != {"p1", "p2"}:
                        await c.consumer.async_ask(VisitAsk("a", 1))
                        await asyncio.sleep(0.05)
                assert before

        run(scenario)
    finally:
        for server in servers:
            server.kill()


def test_a_server_that_stands_still_stops_no_ask_and_holds_up_no_stop(server):
    async def scenario():
        async with provider("p1", server):
            c = await consumer(server).start()
            server.freeze()
            try:
                for _ in range(20):
                    await c.consumer.async_ask(VisitAsk("a", 1))
                    await asyncio.sleep(SESSION_S / 20)
                began_s = time.monotonic()
                await c.stop()
                assert time.monotonic() - began_s < 8.0
                began_s = time.monotonic()
                late = provider("p2", server)
                await late.start()  # starts all the same
                await late.stop()
                assert time.monotonic() - began_s < 8.0
            finally:
                server.thaw()

    run(scenario)


def test_a_zookeeper_that_comes_late_is_found(server):
    server.kill()

    async def scenario():
        async with provider("p1", server) as p:
            assert "no ZooKeeper answers at" in p._engine._discovery.trouble()
            with pytest.raises(NotReadyError, match="no ZooKeeper answers"):
                await Node(
                    id="c", consumes=[visits], receivers=[], discovery=table(server), ready_timeout_s=0.3
                ).start()
            server.run()
            async with consumer(server) as c:
                assert (await c.consumer.async_ask(VisitAsk("a", 1))).served_by == "p1"

    run(scenario)


def test_a_fork_leaves_the_parents_session_alone(shared):
    root = fresh()

    async def scenario():
        async with provider("p1", shared, root=root) as p, consumer(shared, root=root) as c, Eye(shared) as eye:
            before = session_of(p)
            child = os.fork()
            if not child:
                try:
                    c.consumer.sync_ask(VisitAsk("a", 1))
                except ForkedError:
                    os._exit(0)
                finally:
                    os._exit(1)
            done = await asyncio.to_thread(os.waitpid, child, 0)
            assert done[1] == 0
            await c.consumer.async_ask(VisitAsk("a", 1))
            (name,) = await eye.children(f"{root}/zfoo_py/provider")
            assert (await eye.stat(f"{root}/zfoo_py/provider/{name}")).owner == before

    run(scenario)


def test_a_provider_at_every_interface_announces_a_reachable_address(shared):
    root = fresh()

    async def scenario():
        node = Node(
            id="p1",
            provides=[visits],
            receivers=[Counts("p1")],
            address="0.0.0.0:0",
            discovery=table(shared, root=root),
        )
        async with node, consumer(shared, root=root) as c, Eye(shared) as eye:
            (name,) = await eye.children(f"{root}/zfoo_py/provider")
            assert name.split(" | ")[1] == node.address
            assert node.address.startswith("127.0.0.1:")
            await c.consumer.async_ask(VisitAsk("a", 1))

    run(scenario)
