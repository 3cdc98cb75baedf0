"""Nodes with a zfoo-java listener, a msgpack listener or both, through the engine, on a ZooKeeper in memory."""

from __future__ import annotations

import asyncio

import pytest

from samples.services import Counts, visits
from tests.support.mixed_cluster import play
from tests.support.zookeeper import FakeZooKeeper
from zfoo_py import Node
from zfoo_py.consumer.discovery import StaticDiscovery


@pytest.fixture
def servers(monkeypatch):
    pytest.importorskip("kazoo")
    servers = FakeZooKeeper()
    monkeypatch.setattr("zfoo_py.consumer.zookeeper_io.KazooLink", lambda *_: servers.link())
    return servers


def test_each_node_is_found_where_it_is_looked_for_and_reached_in_a_codec_it_speaks(servers):
    async def read(path):
        return {name: servers.nodes[f"{path}/{name}"].data for name in servers.names(path)}

    asyncio.run(play({"kind": "zookeeper", "root": "/mixed"}, read))


def test_nor_is_one_dialled_in_another_codec_that_an_applications_own_discovery_names():
    async def main():
        listen = [("127.0.0.1:0", "zfoo-java")]
        static = {"kind": "static"}
        async with Node(id="p", provides=[visits], receivers=[Counts("p")], listen=listen, discovery=static) as node:
            java = f"zfoo-java://java | {node.listeners['zfoo-java']} | provider:[visits-visits]"
            own = StaticDiscovery([java, node.address])
            async with Node(id="c", consumes=[visits], receivers=[], discovery=own, codecs=["msgpack"]) as consumer:
                assert [record.peer for record in await consumer.sessions()] == [node.address]

    asyncio.run(main())
