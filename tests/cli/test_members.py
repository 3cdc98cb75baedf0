"""Which providers a command computes with: those the discovery knows, of the module and group."""

from __future__ import annotations

from argparse import Namespace

import pytest

from tests.support.admin import live
from zfoo_py.cli.members import members_of
from zfoo_py.errors import ConfigError


def test_they_are_the_registered_ones_and_the_environment_says_where(tmp_path_factory, monkeypatch):
    with live(str(tmp_path_factory.mktemp("a") / "s"), providers=2) as cluster:
        options = Namespace(module="tallies", group=None, discovery=cluster.discovery, ring_identity="registration")
        found = members_of(options)
        assert sorted(one.node_id for one in found) == ["t-0", "t-1"]
        assert {one.address for one in found} == {node.address for node in cluster.providers}
        monkeypatch.setenv("ZFOO_DISCOVERY__ADDRESS", cluster.discovery)
        options.discovery = None
        assert len(members_of(options)) == 2
        options.ring_identity = "node-id"
        assert sorted(one.ring_name for one in members_of(options)) == ["t-0", "t-1"]
        options.group = "blue"
        with pytest.raises(ConfigError, match="as 'blue' is registered at"):
            members_of(options)
