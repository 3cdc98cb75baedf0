"""A real ZooKeeper, in `make test-zookeeper` alone: `make test` needs no Java, and says that these are left out."""

from __future__ import annotations

import os

import pytest

from zfoo_py.testing.zookeeper import ZooKeeperServer, why_missing

# Set by `make test-zookeeper` to "1", and by the continuous integration to "required".
VARIABLE = "TEST_ZOOKEEPER"


@pytest.fixture(autouse=True)
def zookeeper_is_here():
    """Skip, and say why; or fail, where it is required."""
    wanted = os.environ.get(VARIABLE, "")
    if not wanted:
        pytest.skip("needs a real ZooKeeper: run `make test-zookeeper`")
    if why := why_missing():
        if wanted == "required":
            pytest.fail(why)
        pytest.skip(f"NOT TESTED, {why}")


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """One server for tests that break nothing, each with a root of its own."""
    with ZooKeeperServer.start(tmp_path_factory.mktemp("zookeeper")) as server:
        yield server


@pytest.fixture
def server(tmp_path):
    """A server of one's own, to break."""
    with ZooKeeperServer.start(tmp_path / "zookeeper") as server:
        yield server
