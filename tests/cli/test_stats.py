"""`zfoo-py stats`: text, JSON, Prometheus, and again and again."""

from __future__ import annotations

import json

import pytest

from tests.support.admin import live
from zfoo_py.cli import stats
from zfoo_py.cli.main import main


@pytest.fixture
def admin(tmp_path_factory):
    return str(tmp_path_factory.mktemp("a") / "s")


@pytest.mark.usefixtures("folder")
def test_the_three_forms(admin, capsys):
    with live(admin, providers=2) as cluster:
        cluster.owner("a")
        assert main(["stats", "--admin", admin, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["ok"], found["id"], found["consumer"]["asks"]) == (True, "c", 1)
        assert main(["stats", "--admin", admin]) == 0
        assert "tallies, cached-consistent-hash: 2 providers, membership 2, ring 2" in capsys.readouterr().out
        assert main(["stats", "--admin", admin, "--prometheus"]) == 0
        assert 'zfoo_asks_total{node="c"} 1.0' in capsys.readouterr().out


@pytest.mark.usefixtures("folder")
def test_watching_shows_rates_and_ends_with_ctrl_c(admin, capsys, monkeypatch):
    with live(admin, providers=1) as cluster:
        naps = []

        def nap(seconds):
            naps.append(seconds)
            if len(naps) == 3:
                raise KeyboardInterrupt
            for number in range(5):
                cluster.owner(f"k{number}")

        monkeypatch.setattr(stats.time, "sleep", nap)
        assert main(["stats", "--admin", admin, "--watch", "0.5"]) == 0
        out = capsys.readouterr().out
        assert naps == [0.5] * 3
        assert out.count("sessions ") == 3
        assert out.count("/s)") >= 4
        naps.clear()
        assert main(["stats", "--admin", admin, "--watch", "--json"]) == 0
        assert naps == [stats.WATCH_S] * 3
        assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == ["c"] * 3


@pytest.mark.usefixtures("folder")
def test_nobody_there(admin, capsys):
    assert main(["stats", "--admin", admin, "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["ok"] is False
    assert "is a node with this admin_path running" in err


@pytest.mark.usefixtures("folder")
def test_the_path_must_be_said(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["stats"])
    assert caught.value.code == 2
