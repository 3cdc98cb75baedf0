"""Every discovery behaves alike (Y8); on a real ZooKeeper the same cases are in tests/zookeeper."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.discoveries import CASES, CROWD, Embedded, InMemory, Static, two_hundred_joins_in_a_second


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@pytest.mark.parametrize("kind", [Static, Embedded, InMemory], ids=lambda kind: kind.__name__)
def test_the_discovery_conforms(kind, case):
    async def main():
        async with asyncio.timeout(50), kind(CROWD + 2 if case is two_hundred_joins_in_a_second else 16) as place:
            await case(place)

    asyncio.run(main())
