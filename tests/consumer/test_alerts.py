"""Alerts: what holds, who is told, and that nothing is told of a healthy node."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zfoo_py.alert_limits import AlertLimits
from zfoo_py.consumer.alerts import MAX_SAMPLES, MIB, AlertBook, Finding, Judge, Look
from zfoo_py.consumer.balancer import BalancerStats
from zfoo_py.consumer.figures import ConsumerFigures, ServiceFigures

LIMITS = AlertLimits()


def service(stats=None, **more):
    known = {
        "module": "visits", "group": "visits", "balancer": "cached-consistent-hash", "providers": ("one",),
        "weights": {},
        "ring": ("one",), "picks": {}, "picks_are_estimates": False, "hot_keys": (), "new_keys_by": {"VisitAsk": 0.9},
        "applied_version": 1, "last_change": 1, "check_open_s": 0.0, "astray": 0,
    }  # fmt: skip
    return ServiceFigures(**{**known, "stats": stats or BalancerStats(), **more})


def look(now_s, *services, memory_bytes=0, packets=0, sessions=3):
    figures = ConsumerFigures(1, 0, 0, 0, 0, 0, {one.module: one for one in services})
    return Look(now_s, figures, memory_bytes, packets, sessions)


def names(findings):
    return [one.name for one in findings]


# ------------------------------------------------------------------------------------------------ caches
def test_a_cache_beyond_its_bound_is_found_at_the_second_look_and_named_with_its_cause():
    judge = Judge(LIMITS, 1000)
    full = BalancerStats(entries=1500, gone_entries=40, misses=1500)
    grown = msgspec.structs.replace(full, entries=2000, misses=2000)
    assert names(judge.look(look(0.0, service(full, balancer="zfoo-2024")))) == []
    (found,) = judge.look(look(5.0, service(grown, balancer="zfoo-2024")))
    assert (found.name, found.subject) == ("cache-unbounded", "visits")
    for part in (
        "key cache of module 'visits' (balancer zfoo-2024)",
        "2000 entries, 1000 beyond 1000, growing by 100 a second",
        "new keys come from VisitAsk (90 % of those sampled)",
        "nothing evicts at its bound of 1000 (capacity)",
        "40 entries of providers that have left are kept (provider_down)",
        "use cached-consistent-hash",
    ):
        assert part in found.text


def test_the_policys_own_bound_counts_if_it_names_one():
    judge = Judge(LIMITS, 10)
    fine = service(BalancerStats(entries=1000, max_entries=1000))
    assert not judge.look(look(0.0, fine))
    assert not judge.look(look(5.0, fine))


def test_idle_entries_are_a_leak_too():
    judge = Judge(LIMITS, 1000)
    leaking = service(BalancerStats(entries=5, idle_entries=4))
    judge.look(look(0.0, leaking))
    (found,) = judge.look(look(5.0, leaking))
    assert found.name == "cache-unbounded"
    assert "4 entries that nobody asks for are kept (expired)" in found.text


@pytest.mark.parametrize(
    ("figures", "told_at_s"),
    [
        ({"stats": BalancerStats(entries=9, gone_entries=2)}, 10.0),
        ({"stats": BalancerStats(entries=9, unswept=5), "check_open_s": 10.1}, 0.0),
    ],
)
def test_entries_of_gone_providers_are_found_after_longer_than_a_sweep(figures, told_at_s):
    judge = Judge(LIMITS, 1000)
    at_s = [now_s for now_s in (0.0, 5.0, 10.0) if judge.look(look(now_s, service(**figures)))]
    assert at_s == [now_s for now_s in (0.0, 5.0, 10.0) if now_s >= told_at_s]
    (found,) = judge.look(look(15.0, service(**figures)))
    assert found.name == "cache-gone-entries"
    assert "cause: provider_down is not swept" in found.text
    assert not judge.look(look(20.0, service(BalancerStats(entries=9))))
    assert bool(judge.look(look(25.0, service(**figures)))) == (told_at_s == 0.0)  # it begins anew


def low(n, *, hits=0, picks=2000):
    return service(
        BalancerStats(entries=1000, max_entries=1000, estimated_bytes=200_000, hits=n * hits, misses=n * picks)
    )


def test_a_full_cache_with_few_hits_is_found_after_a_minute():
    judge = Judge(LIMITS, 1000)
    told = [n for n in range(20) if judge.look(look(5.0 * n, low(n)))]
    assert told == list(range(13, 20))  # the first look has no ratio, and a minute is twelve more
    (found,) = judge.look(look(100.0, low(20)))
    assert found.name == "cache-low-hits"
    assert "is full (1000 entries) and knows only 0.0 % of the keys" in found.text
    assert "Raise max_cache_entries (200 bytes an entry)" in found.text


@pytest.mark.parametrize(
    "step",
    [
        lambda n: low(n, hits=200, picks=2000),  # 9 %
        lambda n: low(n, picks=500),  # too few picks to say
        lambda n: service(BalancerStats(entries=999, max_entries=1000, misses=2000 * n)),  # not full
        lambda n: low(n if n < 12 else n + 5, hits=0 if n % 12 else 900),  # a busy look now and then
    ],
)
def test_a_cache_that_is_only_busy_raises_nothing(step):
    judge = Judge(LIMITS, 1000)
    assert not [found for n in range(60) for found in judge.look(look(5.0 * n, step(n)))]


def test_a_restarted_consumer_counts_anew():
    judge = Judge(LIMITS, 1000)
    for n in range(10):
        judge.look(look(5.0 * n, low(n)))
    assert not judge.look(look(50.0, low(1)))


def test_a_key_astray_is_found_at_once():
    (found,) = Judge(LIMITS, 1000).look(look(0.0, service(astray=2)))
    assert found.name == "keys-astray"
    assert "2 keys of module 'visits' moved although" in found.text


# ------------------------------------------------------------------------------------------------ memory
def memory_run(held, *, packets=lambda at_s: 100 * at_s, sessions=lambda at_s: 50, cached=lambda at_s: 0, until_s=3600):
    """When "memory-growth" holds, looking every five seconds; ``held`` gives MiB by the time."""
    judge = Judge(LIMITS, 1000)
    told = []
    for at_s in range(0, until_s, 5):
        one = service(BalancerStats(estimated_bytes=int(cached(at_s) * MIB)))
        at = look(at_s, one, memory_bytes=int(held(at_s) * MIB), packets=int(packets(at_s)), sessions=sessions(at_s))
        told += [(at_s, found) for found in judge.look(at) if found.name == "memory-growth"]
    assert len(judge._memory._samples) <= MAX_SAMPLES + 1
    return told


def test_a_leak_under_flat_load_is_found_after_warm_up_and_window():
    told = memory_run(lambda at_s: 100 + at_s / 5)  # 120 MiB in ten minutes
    assert 1080 <= told[0][0] <= 1210
    assert "grown by 120 MiB in 600 s" in told[0][1].text
    assert told[0][1].subject == ""


ZIGZAG = random.Random(3)
NOISE = [ZIGZAG.uniform(-30, 30) for _ in range(3600)]


@pytest.mark.parametrize(
    "run",
    [
        {"held": lambda at_s: 100},
        {"held": lambda at_s: 100 + at_s / 20},  # 30 MiB in ten minutes
        {"held": lambda at_s: 100 + (200 if at_s > 1500 else 0)},  # a step
        {"held": lambda at_s: 100 + 150 * ((at_s // 300) % 2)},  # a sawtooth
        {"held": lambda at_s: 200 + NOISE[at_s]},
        {"held": lambda at_s: 100 + min(at_s, 600) / 2},  # warming up
        {"held": lambda at_s: 100 + at_s / 5, "cached": lambda at_s: at_s / 5},  # a cache that fills
        {"held": lambda at_s: 100 + at_s / 5, "packets": lambda at_s: 1000 * 1.001**at_s},  # load that grows
        {"held": lambda at_s: 100 + at_s / 5, "sessions": lambda at_s: int(50 * 1.001**at_s)},
        {"held": lambda at_s: 0},  # unknown
    ],
    ids=["flat", "slow", "step", "sawtooth", "noise", "warm-up", "cache", "load", "sessions", "unknown"],
)
def test_a_healthy_process_is_left_alone(run):
    assert memory_run(**run) == []


@given(st.lists(st.floats(50, 113), min_size=400, max_size=400))
def test_whatever_stays_within_the_threshold_is_left_alone(held):
    assert memory_run(lambda at_s: held[at_s // 5], until_s=2000) == []


# ------------------------------------------------------------------------------------------------ who is told
A, B = Finding("a", "visits", "first"), Finding("b", "", "second")


def test_an_alert_is_told_once_repeated_at_its_bound_and_cleared():
    book = AlertBook(repeat_s=300.0)
    assert book.update([A], 0.0) == ([A], [])
    later = Finding("a", "visits", "first, still")
    assert book.update([later, B], 5.0) == ([B], [])
    assert book.active == (later, B)
    assert book.update([later], 299.0) == ([], [B])
    assert book.update([later], 300.0) == ([later], [])
    assert book.update([], 305.0) == ([], [later])
    assert book.update([], 310.0) == ([], [])


@given(st.lists(st.tuples(st.integers(0, 200), st.sets(st.sampled_from([A, B]))), max_size=40))
def test_no_alert_is_told_more_often_than_its_bound_and_its_book_stays_small(looks):
    book = AlertBook(repeat_s=300.0)
    now_s = 0.0
    told: dict[Finding, float] = {}
    for passed_s, findings in looks:
        now_s += passed_s
        tell, ended = book.update(sorted(findings, key=lambda one: one.name), now_s)
        for one in tell:
            assert now_s - told.get(one, -1e9) >= 300.0
            told[one] = now_s
        assert not set(ended) & findings
        assert len(book._told_s) <= 2
        assert set(book.active) == findings
