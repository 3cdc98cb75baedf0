"""Which discovery a configuration means, and where its servers are."""

from __future__ import annotations

import sys

import pytest

from tests.support.nodes import TABLE, tallies
from zfoo_py import Node
from zfoo_py.config import NodeConfig
from zfoo_py.consumer.discoveries import servers_of
from zfoo_py.errors import ConfigError


@pytest.mark.parametrize(
    ("discovery", "servers"),
    [
        ({"kind": "static", "addresses": ["a:1", "b:2"]}, ("a:1", "b:2")),
        ({"kind": "zookeeper", "address": "a:1,b:2"}, ("a:1", "b:2")),
        ({"kind": "embedded", "address": "a:1"}, ("a:1",)),
        ({"kind": "embedded", "host": True}, ()),
    ],
)
def test_where_the_servers_are(discovery, servers):
    assert servers_of(NodeConfig.build(discovery=discovery)) == servers


def test_without_the_client_library_a_node_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "kazoo", None)
    node = Node(id="c", receivers=[], consumes=[tallies], discovery="zookeeper", table=TABLE)
    with pytest.raises(ConfigError, match=r"zfoo_py\[zookeeper\]"), node:
        pass
