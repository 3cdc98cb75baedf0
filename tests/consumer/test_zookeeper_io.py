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


@pytest.mark.parametrize(("session_s", "call_s"), [(2.0, 0.3), (10.0, 10.0), (40.0, 10.0)])
@pytest.mark.parametrize(
    "addresses", ["127.0.0.1:1", "127.0.0.1:1, 127.0.0.1:2", ",".join(f"127.0.0.1:{port}" for port in range(1, 6))]
)
def test_a_handshake_waits_no_longer_than_a_call_and_a_third_of_the_session(addresses, session_s, call_s):
    """Kazoo waits the session's time-out, divided by the number of addresses; each address comes up as often."""

    async def main():
        config = DiscoveryConfig(
            kind="zookeeper", address=addresses, session_timeout_s=session_s, call_timeout_s=call_s
        )
        link = KazooLink(config, asyncio.get_running_loop().call_soon_threadsafe)
        link.start(lambda _: None, lambda *_: None)
        hosts = link._client.hosts
        assert await link.stop() == ""
        assert session_s / len(hosts) <= min(call_s, session_s / 3)
        each = {host: hosts.count(host) for host in hosts}
        assert len(each) == addresses.count(",") + 1
        assert len(set(each.values())) == 1

    asyncio.run(main())
