"""Nodes with a zfoo-java listener, a msgpack listener or both, on a real ZooKeeper."""

from __future__ import annotations

import asyncio

from tests.support.mixed_cluster import play
from tests.zookeeper.test_servers import Eye, table


def test_each_node_is_found_where_it_is_looked_for_and_reached_in_a_codec_it_speaks(shared):
    async def main():
        async with Eye(shared, root="/mixed") as eye:

            async def read(path):
                return {name: await eye.read(f"{path}/{name}") for name in await eye.children(path)}

            await play(table(shared, root="/mixed"), read)

    asyncio.run(main())
