"""Nodes with a zfoo-java listener, a msgpack listener or both, through the engine, on a ZooKeeper in memory."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.mixed_cluster import play
from tests.support.zookeeper import FakeZooKeeper


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
