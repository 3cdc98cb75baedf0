"""Node.stats: from coroutines, from threads, and when the node stops."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.support.nodes import TABLE, TallyAsk, pair
from zfoo_py import Node
from zfoo_py.errors import ZfooError
from zfoo_py.events import Alert


def test_the_figures_of_all_parts_are_there_and_are_json():
    async def main():
        async with pair() as (_, provider, consumer):
            for _ in range(3):
                await consumer.consumer.async_ask(TallyAsk("a"))
            consumer.events.publish(Alert("misroute", "look", "tallies"))
            stats = await consumer.stats()
            assert json.loads(json.dumps(stats)) == stats
            assert set(stats) == {
                "id", "address", "uptime_s", "memory_bytes", "undelivered", "consumer", "alerts", "sessions", "router",
                "actors", "refused_connections", "discovery",
            }  # fmt: skip
            assert stats["alerts"] == {"raised": {"misroute": 1}, "active": []}
            assert stats["consumer"]["services"]["tallies"]["hits"] == 2
            there = await provider.stats()
            assert (there["address"], there["consumer"]["services"]) == (provider.address, {})
            assert there["sessions"]["frames_in"] >= 3

    asyncio.run(main())


def test_threads_get_them_too():
    with Node(id="lonely", receivers=[], table=TABLE) as node:
        assert node.stats().get(timeout=5)["id"] == "lonely"


def test_a_node_that_does_not_run_has_none():
    with pytest.raises(ZfooError, match="the node is new"):
        Node(id="lonely", receivers=[], table=TABLE).stats()


async def _outcome(answer):
    try:
        return await answer
    except ZfooError as error:
        return error


def test_an_answer_that_the_end_of_the_node_overtakes_ends_too():
    async def main():
        async with Node(id="lonely", receivers=[], table=TABLE) as node:
            answer = node.stats()
        async with asyncio.timeout(5):
            await asyncio.wait([asyncio.ensure_future(_outcome(answer))])
        assert answer.done()

    asyncio.run(main())
