"""`zfoo-py ring`: what a simulation says is what then happens; and what a change did."""

from __future__ import annotations

import io
import json
import sys

import pytest

from tests.support.admin import live
from zfoo_py.cli.main import main

NAMES = [f"app-{n} | 10.0.0.{n}:1 | provider:[visits-visits]" for n in range(4)]


@pytest.fixture
def admin(tmp_path_factory):
    return str(tmp_path_factory.mktemp("a") / "s")


def simulated(capsys, *words):
    assert main(["ring", "simulate", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_keys_that_are_said_to_move_do_and_no_others(folder, admin, capsys):
    keys = [f"k{n}" for n in range(60)]
    folder.write("keys.txt", "\n".join([*keys, "hot", "hot", "", "hot"]) + "\n")
    with live(admin) as cluster:
        for where in (["--admin", admin], ["--discovery", cluster.discovery]):
            found = simulated(capsys, "tallies", "--remove", "t-1", "--keys", "keys.txt", *where)
            assert (found["keys"], found["asks"]) == (61, 63)
            owners = {key: cluster.owner(key) for key in [*keys, "hot"]}
            assert found["moved_keys"] == sum(owner == "t-1" for owner in owners.values())
            (hottest, *_) = found["hottest"]
            assert (hottest["key"], hottest["asks"], hottest["before"]) == ("hot", 3, owners["hot"])
            asks = {one["label"]: one["asks_before"] for one in found["providers"]}
            assert asks["t-0"] == sum(owners[key] == "t-0" for key in keys) + 3 * (owners["hot"] == "t-0")


@pytest.mark.usefixtures("folder")
def test_weights_count(admin, capsys):
    with live(admin, providers=2, weight=3) as cluster:
        shares = []
        for where in (["--admin", admin], ["--discovery", cluster.discovery]):
            found = simulated(capsys, "tallies", "--add", "1", *where)
            assert found["ideal_share"] == pytest.approx(1 / 5)
            shares.append({one["label"]: one["share_before"] for one in found["providers"]})
        assert shares[0] == shares[1]
        assert shares[0]["t-0"] > 0.65
        assert main(["route", "tallies", "k", "--discovery", cluster.discovery, "--json"]) == 0
        route = json.loads(capsys.readouterr().out)
        assert route["point"]["points"] == 800
        assert route["owner"]["node_id"] == cluster.owner("k")


@pytest.mark.usefixtures("folder")
def test_providers_may_be_named_and_made_up(capsys, monkeypatch):
    found = simulated(
        capsys, "visits", "--providers", *NAMES, "--add", "2", "x | 10.9.9.9:1", "--remove", "app-2", NAMES[3]
    )
    labels = {one["label"]: (one["share_before"] is None, one["share_after"] is None) for one in found["providers"]}
    assert labels == {
        "app-0": (False, False), "app-1": (False, False), "app-2": (False, True), "app-3": (False, True),
        "new-1": (True, False), "new-2": (True, False), "x": (True, False),
    }  # fmt: skip
    found = simulated(capsys, "visits", "--providers", *NAMES, "--add", "1", "2")
    assert len(found["providers"]) == len(NAMES) + 3
    monkeypatch.setattr(sys, "stdin", io.StringIO("1\n2\n2\n"))
    found = simulated(capsys, "visits", "--providers", *NAMES, "--add", "1", "--keys", "-", "--type", "int")
    assert [one["key"] for one in found["hottest"]] == ["2", "1"]
    assert main(["ring", "simulate", "visits", "--providers", *NAMES, "--add", "1"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("visits: 4 → 5 providers\n")
    assert "on an even ring" in out


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--remove", "app-9"], "is no provider here; there is app-0, app-1, app-2, app-3 (did you mean 'app-0'?)"),
        (["--add", NAMES[0]], "is a provider already"),
        (["--add", "9999"], "at most 254 made-up providers"),
        (["--add", "200", "55"], "at most 254 made-up providers, not 255"),
        (["--add", "-1"], "--add takes how many join, or their ring names, not '-1'"),
        (["--keys", "none.txt"], "cannot read keys from none.txt"),
    ],
)
def test_what_is_wrong_is_said(capsys, words, text):
    assert main(["ring", "simulate", "visits", "--providers", *NAMES, *words]) == 1
    err = capsys.readouterr().err
    assert text.partition(" (did")[0] in err


@pytest.mark.usefixtures("folder")
def test_a_change_is_explained(admin, capsys):
    with live(admin) as cluster:
        for number in range(50):
            cluster.owner(f"k{number}")
        assert main(["ring", "change", "--admin", admin]) == 0
        out = capsys.readouterr().out
        assert out.startswith("tallies, membership 3, ")
        assert "  joined     t-" in out
        assert main(["ring", "change", "2", "--admin", admin, "--json"]) == 0
        (change,) = json.loads(capsys.readouterr().out)["changes"]
        assert (change["version"], change["astray"]) == (2, 0)
        assert main(["ring", "change", "99", "--admin", admin]) == 1
        assert "it knows 1 to 3" in capsys.readouterr().err
        assert main(["ring", "simulate", "pages", "--admin", admin]) == 1
        assert "does not consume module 'pages'" in capsys.readouterr().err
