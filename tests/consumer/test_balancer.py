"""The policies: the cached one and the ring always agree, whatever happened before."""

from __future__ import annotations

import random
from collections import Counter
from enum import IntEnum

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from zfoo_py.consumer import balancer as balancer_module
from zfoo_py.consumer.balancer import (
    BALANCERS,
    DEFAULT_BALANCER,
    Balancer,
    BalancerOptions,
    BalancerStats,
    CachedConsistentHashBalancer,
    ConsistentHashBalancer,
    Provider,
    RandomBalancer,
    ServiceView,
)
from zfoo_py.consumer.hashing import cache_key, fnv_hash, point_hashes, task_hash
from zfoo_py.consumer.key_cache import KeyCache

NAMES = [f"app | 10.0.0.{number}:12400 | provider:[visits-visits]" for number in range(6)]


class Level(IntEnum):
    ONE = 1


def consumer(policy, names=NAMES[:3], **options):
    """A policy that has seen some providers come, and the view it gets."""
    balancer = BALANCERS[policy](BalancerOptions(rng=random.Random(7), **options))
    view = ServiceView("visits")
    for version, name in enumerate(names, 1):
        provider = Provider(name)
        view = view.joined(provider, version)
        balancer.on_up(provider)
    return balancer, view


class Truth:
    """What is right, said as simply as possible: no cache, no index, the ring built anew for every question."""

    VIRTUAL_NODES = 5
    MAX_ENTRIES = 8
    EXPIRE_AFTER = 5

    def __init__(self):
        self.providers = {}
        self.last_asked = {}
        self.now = 0
        self.asked = 0

    def owner(self, key):
        points = {}
        for name in sorted(self.providers):
            points |= dict.fromkeys(point_hashes(name, self.VIRTUAL_NODES), self.providers[name])
        if not points:
            return None
        after = [point for point in points if point >= fnv_hash(key)]
        return points[min(after) if after else max(points)]

    def evictions(self, before, after, *, all_left):
        """Why entries changed, from what was remembered before and after: cache key → (ring name, tick)."""
        causes = Counter()
        for key, (name, tick) in before.items():
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
                causes["provider_up" if key in after else "capacity"] += 1
        return causes


class CacheAgainstTruth(RuleBasedStateMachine):
    """Picks, joins, leaves, reconnects, time and sweeps in any order."""

    keys = st.one_of(
        st.integers(-2, 9),
        st.sampled_from(["1", "2", "true", "1.0", "user-7", "é", "\U0001f600"]),
        st.sampled_from([True, 1.0, 2.5, b"1", Level.ONE, ("room", 7), ("room", "7")]),
    )
    names = st.sampled_from(NAMES)

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
        return {key: (entry.provider.ring_name, entry.tick) for key, entry in entries.items()}

    @rule(key=keys)
    def pick(self, key):
        provider, lane = self.balancer.route(self.view, key)
        assert provider is self.truth.owner(key)
        assert lane == task_hash(key)
        self.truth.asked += 1
        if provider is not None:
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

    @rule(seconds=st.integers(0, 7))
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
        unanswered = self.truth.asked - new.hits - new.misses
        assert unanswered >= 0
        assert unanswered == 0 or new.ring_points == 0 or self.balancer.empty_picks == unanswered
        self.seen = (after, new)


TestCacheAgainstTruth = CacheAgainstTruth.TestCase
TestCacheAgainstTruth.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
