"""Prometheus text: parsed by Prometheus' own parser, and every figure in it is the node's."""

from __future__ import annotations

import asyncio
import importlib

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.nodes import TallyAsk, pair
from zfoo_py.errors import ConfigError
from zfoo_py.figures import session_figures
from zfoo_py.metrics import metrics_text


def samples(text):
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_text_holds_the_figures_of_stats():
    async def main():
        async with pair() as (_, provider, consumer):
            for number in range(10):
                await consumer.consumer.async_ask(TallyAsk(f"k{number % 5}"))
            stats = await consumer.stats()
            found = samples(metrics_text(stats))
            c, module = ("node", consumer.id), ("module", "tallies")
            assert found["zfoo_asks_total", (c,)] == 10
            assert found["zfoo_cache_hits_total", (module, c)] == 5
            assert found["zfoo_cache_misses_total", (module, c)] == 5
            assert found["zfoo_cache_evictions_total", (("cause", "capacity"), module, c)] == 0
            assert found["zfoo_ring_points", (module, c)] == 200
            (name,) = stats["consumer"]["services"]["tallies"]["providers"]
            assert found["zfoo_picks_total", (module, c, ("provider", name))] == 10
            assert found["zfoo_sessions", (c, ("side", "client"))] >= 1
            assert found["zfoo_memory_bytes", (c,)] == stats["memory_bytes"] > 0
            there = samples(await provider.metrics_text())
            assert there["zfoo_received_total", (("node", provider.id),)] >= 10

    asyncio.run(main())


ROUTER = (
    "received", "in_work", "expired", "refused", "receiver_failures", "shed", "refused_draining", "ready",
    "waiting_for_workers", "longest_lane", "held_back",
)  # fmt: skip


def test_alerts_are_series():
    active = {"name": "cache-unbounded", "subject": "visits", "text": "…"}
    service = dict.fromkeys(
        ("entries", "max_entries", "estimated_bytes", "unswept", "gone_entries", "idle_entries", "hits", "misses",
         "moved_keys", "ring_points", "points_version", "applied_version", "astray"), 0,
    ) | {"evictions": {}, "picks": {}, "providers": []}  # fmt: skip
    stats = {
        "id": 'odd "name"\\', "uptime_s": 1.5, "memory_bytes": 7, "undelivered": 0, "refused_connections": 0,
        "discovery": {"ok": 1, "trouble": ""},
        "consumer": dict.fromkeys(("membership_version", "asks", "sends", "retries", "misroutes"), 0)
        | {"services": {"visits": service}},
        "alerts": {"raised": {"cache-unbounded": 3}, "active": [active]},
        "sessions": session_figures(()),
        "router": dict.fromkeys(ROUTER, 0),
        "actors": {"failed_turns": 0, "slow_turns": 0, "longest": 0},
    }  # fmt: skip
    found = samples(metrics_text(stats))
    node = ("node", 'odd "name"\\')
    assert found["zfoo_alerts_raised_total", (("name", "cache-unbounded"), node)] == 3
    assert found["zfoo_alert_active", (("name", "cache-unbounded"), node, ("subject", "visits"))] == 1


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    def missing(name, *args):
        raise ModuleNotFoundError(f"No module named {name!r}", name="prometheus_client")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ConfigError, match=r"pip install 'zfoo_py\[metrics\]'"):
        metrics_text({})
