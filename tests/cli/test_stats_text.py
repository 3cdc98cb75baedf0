"""The screen of `zfoo-py stats`: alerts first, rates from two moments, long lists cut."""

from __future__ import annotations

import copy

import pytest

from zfoo_py.cli.stats_text import _duration, stats_text

SERVICE = {
    "module": "visits", "group": "blue", "balancer": "cached-consistent-hash", "providers": ["a", "b"],
    "ring": ["a", "b"],
    "points_version": 4, "ring_points": 400, "applied_version": 7, "hits": 90, "misses": 10, "entries": 10,
    "max_entries": 100, "estimated_bytes": 2 * 1024 * 1024, "unswept": 3,
    "evictions": {"provider_down": 2, "provider_up": 0}, "new_keys_by": {"VisitAsk": 0.9},
    "hot_keys": [{"key": "k", "share": 0.25, "error": 0.0}], "picks": {"a": 30, "b": 70}, "picks_are_estimates": False,
}  # fmt: skip
STATS = {
    "id": "web", "address": "", "uptime_s": 10.0, "memory_bytes": 3 * 1024 * 1024,
    "alerts": {"raised": {}, "active": []},
    "consumer": {"asks": 100, "sends": 0, "retries": 1, "misroutes": 0, "services": {"visits": SERVICE}},
    "sessions": {"server": 1, "client": 2, "asks_in_flight": 3, "asks_parked": 0},
    "router": {"received": 5, "in_work": 0, "expired": 0, "refused": 0, "receiver_failures": 0},
    "discovery": {"ok": 0, "trouble": "no discovery answers"},
    "actors": {"actors": 6, "longest": 0, "failed_turns": 0, "undelivered": 0},
}  # fmt: skip


def later():
    """Two seconds later: 40 asks more, all hits, all to a."""
    stats = copy.deepcopy(STATS)
    stats["uptime_s"] = 12.0
    stats["consumer"]["asks"] = 140
    service = stats["consumer"]["services"]["visits"]
    service["hits"] = 130
    service["picks"]["a"] = 70
    return stats


def test_one_moment():
    lines = stats_text(STATS).splitlines()
    assert lines[0] == "web   up 10 s   3.0 MiB"
    assert "visits as blue, cached-consistent-hash: 2 providers, membership 7, ring 4 (400 points)" in lines
    assert "  cache    10 of 100 entries, 2.0 MiB, 90.0 % hits" in lines
    assert "  evicted  provider_down 2; 3 to sweep" in lines
    assert "  new keys VisitAsk 90 %" in lines
    assert "  hot keys k 25.0 %" in lines
    assert lines[-2:] == ["  picks    b  70  70.0 %", "           a  30  30.0 %"]
    assert "/s" not in "".join(lines)


def test_two_moments():
    text = stats_text(later(), STATS)
    assert "asked      140 (20/s)" in text
    assert "100.0 % hits" in text
    assert text.splitlines()[-2:] == ["  picks    a  70  50.0 %  20/s", "           b  70  50.0 %   0/s"]


def test_another_node_in_the_same_place_has_no_rates():
    assert "/s" not in stats_text(STATS, later())


def test_alerts_come_first():
    stats = copy.deepcopy(STATS)
    stats["alerts"] = {"raised": {"cache-unbounded": 2}, "active": [{"name": "cache-unbounded", "text": "look"}]}
    assert stats_text(stats).splitlines()[1:3] == ["ALERT cache-unbounded: look", "alerts so far: cache-unbounded 2"]


def test_a_type_without_ring_and_cache_and_with_many_providers():
    stats = copy.deepcopy(STATS)
    service = stats["consumer"]["services"]["visits"]
    service |= {
        "ring": None,
        "hits": 0,
        "misses": 0,
        "entries": 0,
        "hot_keys": [],
        "new_keys_by": {},
        "group": "visits",
    }
    service |= {"picks": {f"p{n:02}": 20 - n for n in range(20)}, "picks_are_estimates": True}
    lines = stats_text(stats).splitlines()
    assert "visits, cached-consistent-hash: 2 providers, membership 7" in lines
    assert not [line for line in lines if line.startswith(("  cache", "  evicted", "  hot", "  new"))]
    assert lines[-1] == "           and 8 more"
    assert lines[-13].split() == ["picks", "p00", "~20", "9.5", "%"]


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (61, "1 min 1 s"), (3660, "1 h 1 min"), (90_000, "1 d 1 h")])
def test_durations(seconds, text):
    assert _duration(seconds) == text
