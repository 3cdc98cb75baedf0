"""Y8: the cases of tests/test_discovery_conformance.py on a real ZooKeeper."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from tests.support.discoveries import CASES, CROWD, Place, quiet_ports, two_hundred_joins_in_a_second
from zfoo_py.consumer.zookeeper_io import KazooLink
from zfoo_py.discovery_config import DiscoveryConfig


class Real(Place):
    """A root of its own on a server that others use, too."""

    def __init__(self, count, server):
        self.ports = quiet_ports(count)
        self.server = server
        self.root = f"/test-{uuid.uuid4().hex}"

    def of_provider(self, of):
        return {"kind": "zookeeper", "address": self.server.address, "root": self.root, "session_timeout_s": 4.0}

    async def put(self, texts):
        loop = asyncio.get_running_loop()
        connected = asyncio.Event()
        link = KazooLink(DiscoveryConfig(**self.of_provider(None)), loop.call_soon_threadsafe)
        link.start(lambda state: connected.set() if state == "connected" else None, lambda *_: None)
        await connected.wait()
        for text in texts:
            path = f"{self.root}/zfoo_py/provider/{text}"
            if await link.stat(path) is None:
                await link.create(path, b"", ephemeral=False, closed=False)
        await link.stop()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_zookeeper_conforms(shared, case):
    async def main():
        count = CROWD + 2 if case is two_hundred_joins_in_a_second else 16
        async with asyncio.timeout(50), Real(count, shared) as place:
            await case(place)

    asyncio.run(main())
