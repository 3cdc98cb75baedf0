"""The soak can fail: its referee sees a leak, a wrong owner and a misroute; and a short run of it is right."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from samples import soak, soak_load, soak_plot
from samples.soak_providers import ASKS, BALANCERS, FIRST, Providers

ROOT = Path(__file__).parents[2]


def run(*words):
    """Run the program; return its exit code and its figures."""
    done = subprocess.run(
        [sys.executable, "-m", "samples.soak", "--json", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=55,
    )
    assert done.returncode in {0, 1, 2}, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.slow
def test_a_short_run_holds_its_bounds_and_judges_owners():
    """Too short for a verdict about memory: the rest of it is exact all the same."""
    _, figures = run("--seconds", "4", "--types", "8", "--max-entries", "1000")
    assert figures["calls"] > 10_000
    assert max(figures["most_entries"].values()) == 1000
    assert figures["evictions"]["capacity"] > 0
    assert figures["judged"] > 100
    assert (figures["misroutes"], figures["wrong_owners"], figures["alerts"]) == (0, 0, [])
    assert "NoProviderError" not in figures["failed_asks"]


@pytest.mark.slow
def test_the_leaking_model_is_noticed_by_name():
    code, figures = run("--seconds", "18", "--max-entries", "2000", "--old-balancer")
    assert (code, figures["verdict"]) == (0, "right"), figures["faults"]
    first = figures["alerts"][0]
    assert first["name"] == "cache-unbounded"
    assert "VisitAsk" in first["text"]
    assert "'visits' (balancer zfoo-2024)" in first["text"]
    assert sum(figures["most_entries"].values()) > 4 * 2000


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(x / 100, 50 + x / 10) for x in range(500)], 10.0),
        ([(x / 100, 50.0 if x < 300 else 70.0) for x in range(500)], 0.0),
        ([], 0.0),
        ([(1.0, 5.0), (1.0, 9.0)], 0.0),
    ],
    ids=["a leak", "a step", "nothing", "no time"],
)
def test_the_slope_is_a_leaks_and_not_a_steps(points, expected):
    assert soak.slope(points) == pytest.approx(expected)


def some_load(**more):
    """A load that has run, as `judge` sees it."""
    load = soak_load.Load.__new__(soak_load.Load)
    sample = {"entries": {"visits": 10}, "hits": 1, "misses": 1, "evictions": {}, "changes": 1, "seconds": 1.0}
    load.samples = [{**sample, "calls": calls, "rss_mib": 50.0} for calls in range(0, 6_000_000, 100_000)]
    load.calls, load.judged, load.misroutes, load.wrong_owners = 6_000_000, 1, 0, 0
    load.alerts, load.errors = [], {}
    for name, value in more.items():
        setattr(load, name, value)
    return load


def verdict(load, *words):
    return soak.judge(load, load.samples[10], load.samples[-1], soak.parse(["--max-entries", "1000", *words]))


def test_a_run_without_fault_is_right():
    assert verdict(some_load())["verdict"] == "right"


def test_a_short_run_gives_no_verdict():
    load = some_load()
    load.samples = load.samples[:15]
    assert verdict(load)["verdict"] == "too short"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"misroutes": 1}, "misroutes"),
        ({"wrong_owners": 2}, "another provider than the owner"),
        ({"alerts": [(3.0, "cache-unbounded", "text")]}, "the alert cache-unbounded"),
    ],
)
def test_each_fault_is_told(more, words):
    figures = verdict(some_load(**more))
    assert figures["verdict"] == "wrong"
    assert words in figures["faults"][0]


def test_growth_and_entries_over_the_limit_are_told():
    load = some_load()
    for place, sample in enumerate(load.samples):
        sample["rss_mib"] += place
        sample["entries"] = {"visits": 1001}
    faults = verdict(load)["faults"]
    assert [words in " ".join(faults) for words in ("over its limit", "grew by", "per 10^6 calls")] == [True] * 3


ALERT = "the key cache of module 'visits' (balancer zfoo-2024) grows: its new keys come from VisitAsk; cause: nothing"


@pytest.mark.parametrize(
    ("alerts", "fault"),
    [
        ([(10.0, "cache-unbounded", ALERT)], None),
        ([], "no alert of a cache"),
        ([(61.0, "cache-unbounded", ALERT)], "no alert of a cache"),
        ([(10.0, "memory-growth", ALERT)], "no alert of a cache"),
        ([(10.0, "cache-unbounded", ALERT.replace("VisitAsk", "?"))], "no alert names the packets"),
        ([(10.0, "cache-unbounded", ALERT.replace("'visits'", "?"))], "no alert names the cache"),
        ([(10.0, "cache-unbounded", ALERT.replace("cause", "?"))], "no alert names the cause"),
    ],
)
def test_the_old_balancers_alert_must_come_in_time_and_name_what_it_is_about(alerts, fault):
    faults = verdict(some_load(alerts=alerts), "--old-balancer")["faults"]
    assert not faults if fault is None else len(faults) == 1 and fault in faults[0]


def test_every_type_has_a_policy_and_a_question():
    assert list(ASKS) == list(BALANCERS)
    keys = [key_of(7) for _, key_of in ASKS.values()]
    assert len({str(key) for key in keys}) < len(keys), "equal keys in several types"


def test_providers_come_and_go_within_bounds():
    async def churn():
        providers = Providers(["visits", "pages"][:1] * 2, Random(1))
        told = []
        for _ in range(FIRST):
            await providers.come()
        await providers.start(told.append, watch=True)
        for _ in range(100):
            await providers.churn()
        return providers, told

    providers, told = asyncio.run(churn())
    assert 9 <= len(providers.there) <= 15
    assert providers.changes == FIRST + 100
    assert len(told) == 101
    assert len({place.host for place in providers.there}) == len(providers.there)
    assert len(providers.network.hosts) <= 16, "hosts are used again"


@pytest.mark.parametrize("words", [["--types", "1"], ["--types", "9"], ["--keys", "5"], ["--seconds", "-1"]])
def test_a_wrong_command_line_ends_with_2(words, capsys):
    with pytest.raises(SystemExit) as ended:
        soak.parse(words)
    assert ended.value.code == 2
    assert "--types is 2" in capsys.readouterr().err or words[0] == "--seconds"


def test_without_matplotlib_it_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setattr(soak, "is_there", lambda: False)
    assert soak.main(["--plot", "x.png"]) == 2
    assert soak_plot.HOW_TO_GET_IT in capsys.readouterr().err
