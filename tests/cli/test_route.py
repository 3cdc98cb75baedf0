"""`zfoo-py route`: from a running node and from the discovery, both saying what an ask then does."""

from __future__ import annotations

import json

import pytest

from tests.support.admin import live
from zfoo_py.cli.main import main


@pytest.fixture
def admin(tmp_path_factory):
    return str(tmp_path_factory.mktemp("a") / "s")


@pytest.mark.usefixtures("folder")
def test_both_ways_name_the_provider_that_an_ask_reaches(admin, capsys):
    with live(admin) as cluster:
        for key in ("10.0.0.7", "b"):
            assert main(["route", "tallies", key, "--admin", admin, "--json"]) == 0
            asked = json.loads(capsys.readouterr().out)
            assert main(["route", "tallies", key, "--discovery", cluster.discovery, "--json"]) == 0
            computed = json.loads(capsys.readouterr().out)
            assert asked["owner"]["node_id"] == computed["owner"]["node_id"] == cluster.owner(key)
            assert [heir["ring_name"] for heir in asked["heirs"]] == [one["ring_name"] for one in computed["heirs"]]
            assert (asked["cached"]["state"], computed["cached"]["state"]) == ("absent", "unknown")
            assert asked["ok"] is computed["ok"] is True
        assert main(["route", "tallies", "b", "--admin", admin]) == 0
        out = capsys.readouterr().out
        assert out.startswith("tallies, key 'b' (str) → t-")
        assert "cached     yes: checked at ring 3" in out
        assert main(["route", "tallies", "b", "--discovery", cluster.discovery]) == 0
        assert "cache unknown" in capsys.readouterr().out


@pytest.mark.usefixtures("folder")
def test_a_key_has_the_type_that_is_said(admin, capsys):
    with live(admin) as cluster:
        cluster.consumer.consumer.explain("tallies", 7).get(timeout=5)
        for how in (["--admin", admin], ["--discovery", cluster.discovery]):
            assert main(["route", "tallies", "0x00ff", "--type", "bytes", *how, "--json"]) == 0
            found = json.loads(capsys.readouterr().out)
            assert (found["key"], found["key_kind"]) == ("0x00ff", "bytes")
            assert main(["route", "tallies", "x", "--type", "int", *how]) == 1
            assert capsys.readouterr().err == "zfoo-py: 'x' is no key of type int\n"


@pytest.mark.usefixtures("folder")
def test_what_is_not_there_is_said(admin, capsys):
    with live(admin, providers=1) as cluster:
        assert main(["route", "pages", "x", "--admin", admin]) == 1
        assert "does not consume module 'pages'; it consumes tallies" in capsys.readouterr().err
        assert main(["route", "pages", "x", "--discovery", cluster.discovery]) == 1
        assert "no provider of module 'pages' as 'pages' is registered" in capsys.readouterr().err
        assert main(["route", "tallies", "x", "--group", "blue", "--discovery", cluster.discovery]) == 1
        assert "tallies as tallies is" in capsys.readouterr().err
    assert main(["route", "tallies", "x", "--admin", admin]) == 1
    assert "cannot reach" in capsys.readouterr().err
