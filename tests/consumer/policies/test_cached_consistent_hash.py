"""The cached policy and the ring always agree, whatever happened before."""

from __future__ import annotations

import random
from collections import Counter
from enum import IntEnum

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.support.consumers import POLICY_NAMES, policy_of
from zfoo_py.consumer.balancer import BalancerStats, Provider, ServiceView
from zfoo_py.consumer.hashing import cache_key, fnv_hash, point_hashes, task_hash
from zfoo_py.consumer.key_cache import KeyCache
from zfoo_py.consumer.policies import cached_consistent_hash as module
from zfoo_py.consumer.policies.cached_consistent_hash import CachedConsistentHashBalancer


class Level(IntEnum):
    ONE = 1


class Truth:
    """What is right, said as simply as possible: no cache, no index, the ring built anew for every question."""

    VIRTUAL_NODES = 5
    MAX_ENTRIES = 8
    EXPIRE_AFTER = 40  # long enough for the hand to need several ticks for a round

    def __init__(self):
        self.providers = {}
        self.last_asked = {}
        self.now = 0
        self.answered = 0

    def owner(self, key_hash):
        points = {}
        for name in sorted(self.providers):
            points |= dict.fromkeys(point_hashes(name, self.VIRTUAL_NODES), self.providers[name])
        if not points:
            return None
        after = [point for point in points if point >= key_hash]
        return points[min(after) if after else max(points)]

    def evictions(self, before, after, *, all_left):
        """Why entries changed, from what was remembered before and after: cache key → (ring name, tick, hash)."""
        causes = Counter()
        for key, (name, tick, key_hash) in before.items():
            is_expired = tick < self.now - self.EXPIRE_AFTER
            if after.get(key, (None, None))[0] == name and not (is_expired and after[key][1] != tick):
                continue
            if all_left:
                causes["provider_down"] += 1
            elif is_expired:
                causes["expired"] += 1
            elif name not in self.providers:
                causes["provider_down"] += 1
            else:
                # One that makes room may have been found to have moved just before.
                causes["provider_up"] += self.owner(key_hash).ring_name != name
                causes["capacity"] += key not in after
        return +causes


class CacheAgainstTruth(RuleBasedStateMachine):
    """Picks, joins, leaves, reconnects, time and sweeps in any order."""

    keys = st.one_of(
        st.integers(-2, 9),
        st.sampled_from(["1", "2", "true", "1.0", "user-7", "é", "\U0001f600"]),
        st.sampled_from([True, 1.0, 2.5, b"1", Level.ONE, ("room", 7), ("room", "7")]),
    )
    names = st.sampled_from(POLICY_NAMES)

    def __init__(self):
        super().__init__()
        self.truth = Truth()
        self.view = ServiceView("visits")
        self.balancer = CachedConsistentHashBalancer(
            random.Random(7),
            max_entries=Truth.MAX_ENTRIES,
            expire_after_access_s=Truth.EXPIRE_AFTER,
            virtual_nodes=Truth.VIRTUAL_NODES,
        )
        self.seen = (self.remembered(), self.balancer.stats())

    def remembered(self):
        entries = self.balancer.cache.entries
        return {key: (entry.provider.ring_name, entry.tick, entry.hash) for key, entry in entries.items()}

    @rule(key=keys)
    def pick(self, key):
        provider, lane = self.balancer.route(self.view, key)
        assert provider is self.truth.owner(fnv_hash(key))
        assert lane == task_hash(key)
        if provider is not None:
            self.truth.answered += 1
            self.truth.last_asked[cache_key(key)] = self.truth.now

    @rule(name=names)
    def up(self, name):
        if name not in self.truth.providers:
            provider = self.truth.providers[name] = Provider(name)
            self.view = self.view.joined(provider, self.view.applied_version + 1)
            self.balancer.on_up(provider)

    @rule(name=names)
    def down(self, name):
        provider = self.truth.providers.pop(name, None)
        if provider is not None:
            self.view = self.view.left(provider, self.view.applied_version + 1)
            self.balancer.on_down(provider)

    @rule(name=names)
    def comes_back_as_another(self, name):
        self.down(name)
        self.up(name)

    @rule(seconds=st.sampled_from([0, 1, 1, 2, 15, 41]))
    def time_passes(self, seconds):
        self.truth.now += seconds
        self.balancer.tick(self.truth.now)

    @rule(budget=st.integers(1, 6))
    def sweep(self, budget):
        if self.balancer.sweep(budget):
            for entry in self.balancer.cache.entries.values():
                assert entry.provider is self.truth.providers[entry.provider.ring_name]
                assert entry.checked == self.balancer.ring.points_version

    @rule()
    def sweep_to_the_end(self):
        turns = 0
        while not self.balancer.sweep(3):
            turns += 1
        assert turns <= Truth.MAX_ENTRIES // 3
        self.sweep(1)

    @invariant()
    def what_is_remembered_is_right_and_bounded(self):
        cache = self.balancer.cache
        assert len(cache) == len(cache._clock) <= Truth.MAX_ENTRIES
        assert {entry.key for entry in cache._clock} == cache.entries.keys()
        for key, entry in cache.entries.items():
            assert entry.key == key
            assert entry.tick == self.truth.last_asked[key]
            if entry.checked == cache.version:
                assert entry.provider is self.truth.providers[entry.provider.ring_name]
        assert {entry.checked for entry in list(cache._clock)[cache.unswept :]} <= {cache.version}

    @invariant()
    def every_pick_and_every_eviction_is_counted_once(self):
        before, old = self.seen
        after, new = self.remembered(), self.balancer.stats()
        if old.points_version == new.points_version or not self.truth.providers:
            expected = self.truth.evictions(before, after, all_left=not self.truth.providers)
            assert Counter(new.evictions) - Counter(old.evictions) == expected
        else:
            assert after == before or not after, "a change touches no entry, unless the last provider left"
        assert new.hits + new.misses == self.truth.answered
        assert new.moved_keys == new.evictions["provider_up"] + new.evictions["provider_down"]
        self.seen = (after, new)


TestCacheAgainstTruth = CacheAgainstTruth.TestCase
TestCacheAgainstTruth.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)


# ------------------------------------------------------------------------------------------ consistent hash


def pairs(policy):
    """(key, ring name) of many picks of a consumer that starts now."""
    balancer, view = policy_of(policy)
    return [(key, balancer.pick(view, key).ring_name) for key in range(1000)]


def test_two_service_types_share_nothing():
    """The same keys under two policies, whose providers differ: zfoo's misroute."""
    visits, visits_view = policy_of("cached-consistent-hash", POLICY_NAMES[:3])
    pages, pages_view = policy_of("cached-consistent-hash", POLICY_NAMES[3:])
    for key in [*range(300), *range(300)]:
        assert visits.pick(visits_view, key) in visits_view.providers
        assert pages.pick(pages_view, key) in pages_view.providers
    assert visits.stats().hits == pages.stats().hits == 300


def test_keys_that_python_mixes_up_keep_their_own_lanes():
    balancer, view = policy_of("cached-consistent-hash")
    alike = [1, 1.0, True, "1", "true", Level.ONE, (1,), ("1",)]
    for key in alike * 2:
        assert balancer.route(view, key)[1] == task_hash(key)
    assert balancer.stats().entries == balancer.stats().hits == len(alike)


@pytest.mark.parametrize("key", ["10.0.0.7", 7, 1.5, ("room", 7)])
def test_a_remembered_key_is_not_hashed_again(monkeypatch, key):
    balancer, view = policy_of("cached-consistent-hash")
    first = balancer.route(view, key)
    monkeypatch.setattr(module, "key_hashes", None)
    assert balancer.route(view, key) == first
    newcomer = Provider(POLICY_NAMES[3])
    balancer.on_up(newcomer)
    assert balancer.route(view, key)[1] == first[1], "nor when the ring has changed"


def test_looking_at_an_entry_touches_nothing():
    balancer, view = policy_of("cached-consistent-hash")
    balancer.tick(5)
    provider = balancer.pick(view, "seen")
    balancer.tick(6)
    assert balancer.entry("unseen") is None
    entry = balancer.entry("seen")
    assert (entry.provider, entry.hash, entry.tick) == (provider, fnv_hash("seen"), 5)
    assert balancer.stats().hits == 0


def test_options_reach_the_policy():
    balancer, view = policy_of("cached-consistent-hash", max_entries=5, expire_after_access_s=1.5, virtual_nodes=7)
    for key in range(20):
        balancer.pick(view, key)
    stats = balancer.stats()
    assert (stats.entries, stats.evictions["capacity"], stats.ring_points) == (5, 15, 21)
    balancer.tick(2)
    assert balancer.sweep(5)
    assert balancer.stats().entries == 5
    for now_s in (3, 4):
        balancer.tick(now_s)
        assert balancer.sweep(5)
    assert balancer.stats().entries == 0
    plain, _ = policy_of("consistent-hash", virtual_nodes=7)
    assert plain.stats() == BalancerStats(ring_points=21, points_version=3)


def test_stats_are_plain_values():
    balancer, view = policy_of("cached-consistent-hash")
    balancer.pick(view, "key")
    stats = balancer.stats()
    assert msgspec.json.decode(msgspec.json.encode(stats), type=BalancerStats) == stats
    balancer.pick(view, "other")
    assert stats.misses == 1, "a snapshot, not a window"
    assert isinstance(balancer.cache, KeyCache)
