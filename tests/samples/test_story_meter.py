"""Rates and rows of the story's tables."""

from __future__ import annotations

from samples.story_meter import (
    PROVIDER_HEADER,
    SERVICE_HEADER,
    Meter,
    Rate,
    percentiles,
    provider_rows,
    service_rows,
)


def test_rates_are_those_of_the_last_two_seconds():
    meter = Meter(0.0)
    for at in range(1, 13):  # one piece each half second
        for n in range(10):
            meter.took("visits-1" if at <= 6 else "visits-2", "ok", 100.0 * (n + 1))
        rates = meter.roll(at / 2)
    assert set(rates) == {"", "visits-2"}, "visits-1 was last asked more than two seconds ago"
    assert rates["visits-2"].asks_per_second == rates[""].asks_per_second == 20
    assert (rates[""].p50_us, rates[""].p99_us) == (600, 1000)
    assert (meter.answered, meter.asks) == (120, 120)


def test_failed_asks_are_counted_by_name_and_have_no_latency():
    meter = Meter(0.0)
    meter.took(None, "NotServed", None)
    meter.took("visits-1", "SessionClosedError", None)
    assert meter.failed == {"NotServed": 1, "SessionClosedError": 1}
    assert (meter.answered, meter.asks) == (0, 2)
    assert meter.roll(1.0) == {"": Rate(0.0, 0.0, 0.0)}


def test_percentiles():
    assert percentiles([]) == (0.0, 0.0)
    assert percentiles([3.0]) == (3.0, 3.0)
    assert percentiles(map(float, range(100, 0, -1))) == (51.0, 100.0)


def test_a_row_for_each_provider_that_lives_and_for_the_last_one_killed():
    offers = {
        "visits-1": ("visits",),
        "visits-2": ("visits",),
        "visits-3": ("visits",),
        "mixed-1": ("sessions", "pages"),
    }
    rows = provider_rows(
        offers,
        ["visits-3", "visits-2"],
        {"visits-1": 1234, "visits-2": 7},
        {"visits-1": Rate(1000.4, 310.0, 1200.0), "mixed-1": Rate(0.0, 0.0, 0.0)},
        {"visits-1": 33 * 1024 * 1024},
    )
    assert rows == [
        ("visits-1", "visits", "1,234", "1,000", "0.3 ms", "1.2 ms", "33.0 MiB"),
        ("visits-2 killed", "visits", "-", "-", "-", "-", "-"),
        ("mixed-1", "sessions, pages", "0", "0", "-", "-", "-"),
    ]
    assert {len(row) for row in rows} == {len(PROVIDER_HEADER)}


def test_a_row_for_each_cache():
    evictions = {"provider_down": 1, "provider_up": 2, "expired": 4, "capacity": 3}
    cache = {"entries": 2000, "hits": 900, "misses": 100, "evictions": evictions, "estimated_bytes": 512 * 1024}
    unused = {"entries": 0, "hits": 0, "misses": 0, "evictions": {}, "estimated_bytes": 0}
    rows = service_rows({"visits": cache, "pages": unused})
    assert [dict(zip(SERVICE_HEADER, row, strict=True)) for row in rows] == [
        {
            "cache of": "visits",
            "keys": "2,000",
            "hits": "900",
            "hit %": "90%",
            "evicted: down": "1",
            "join": "2",
            "full": "3",
            "expired": "4",
            "memory": "0.5 MiB",
        },
        dict(zip(SERVICE_HEADER, ("pages", "0", "0", "-", "0", "0", "0", "0", "0.0 MiB"), strict=True)),
    ]
