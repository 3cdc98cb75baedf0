"""The link through kazoo where no ZooKeeper is; with one: tests/zookeeper."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

pytest.importorskip("kazoo")

from zfoo_py.consumer.zookeeper_io import KazooLink
from zfoo_py.consumer.zookeeper_link import LinkError
from zfoo_py.discovery_config import DiscoveryConfig


def run(scenario, address):
    async def main():
        loop = asyncio.get_running_loop()
        config = DiscoveryConfig(kind="zookeeper", address=address, session_timeout_s=2.0, call_timeout_s=0.3)
        link = KazooLink(config, lambda *call: None if loop.is_closed() else loop.call_soon_threadsafe(*call))
        states = []
        link.start(states.append, lambda *_: None)
        try:
            async with asyncio.timeout(20):
                await scenario(link)
        finally:
            began_s = time.monotonic()
            assert await link.stop() == ""
            assert time.monotonic() - began_s < 5.0
        assert "connected" not in states

    asyncio.run(main())


async def calls_end(link):
    for call in (link.stat("/a"), link.children("/a"), link.create("/a", b"", ephemeral=True, closed=False)):
        with pytest.raises(LinkError):
            await call
    assert link.session() == 0


def test_where_nobody_listens_calls_end_and_stop_does_not_hang():
    run(calls_end, "127.0.0.1:1")


def test_where_somebody_listens_and_says_nothing_too():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        run(calls_end, f"127.0.0.1:{silent.getsockname()[1]}")


def test_a_fork_closes_its_copies_once():
    async def fork(link):
        descriptors = link._handler.descriptors()
        assert descriptors
        assert all(number > 2 for number in descriptors)

    run(fork, "127.0.0.1:1")
