"""Y1-Y7, short: faults of ZooKeeper under load, in a cluster of processes."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("psutil", reason="needs the packages of `make test-zookeeper`")

from samples.registry.__main__ import SHORT, play
from samples.registry.rows import ROWS


@pytest.mark.timeout(120)
@pytest.mark.parametrize("id", ROWS)
def test_the_row_passes(id):
    result = asyncio.run(play(id, SHORT))
    assert result.passed, result.figure
