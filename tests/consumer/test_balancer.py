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
    balancer, view = consumer(policy)
    return [(key, balancer.pick(view, key).ring_name) for key in range(1000)]


def test_the_cached_policy_picks_as_the_ring_does():
    assert pairs("cached-consistent-hash") == pairs("consistent-hash")
    assert len({name for _, name in pairs("consistent-hash")}) == 3


@pytest.mark.parametrize("policy", ["consistent-hash", "cached-consistent-hash"])
def test_a_hot_consumer_and_a_fresh_one_agree_as_soon_as_a_join_is_handled(policy):
    hot, view = consumer(policy, NAMES[:2])
    for key in range(2000):
        hot.pick(view, key)
    newcomer = Provider(NAMES[2])
    view = view.joined(newcomer, 3)
    hot.on_up(newcomer)
    fresh, fresh_view = consumer(policy, NAMES[:3])
    for key in range(2000):
        assert hot.pick(view, key).ring_name == fresh.pick(fresh_view, key).ring_name


@pytest.mark.parametrize("policy", sorted(BALANCERS))
def test_a_provider_is_never_picked_after_it_went(policy):
    balancer, view = consumer(policy)
    for key in range(500):
        balancer.pick(view, key)
    gone = view.providers[1]
    view = view.left(gone, 4)
    balancer.on_down(gone)
    picked = {balancer.pick(view, key) for key in [*range(500), None, "other"]}
    assert picked == set(view.providers)


@pytest.mark.parametrize("policy", sorted(BALANCERS))
def test_without_providers_there_is_no_pick(policy):
    balancer, view = consumer(policy)
    for provider in view.providers:
        view = view.left(provider, 4)
        balancer.on_down(provider)
    assert balancer.route(view, "key") == (None, task_hash("key"))
    assert balancer.route(view, None) == (None, None)
    assert balancer.stats().entries == balancer.stats().ring_points == 0


def test_two_service_types_share_nothing():
    """The same keys under two policies, whose providers differ: zfoo's misroute."""
    visits, visits_view = consumer("cached-consistent-hash", NAMES[:3])
    pages, pages_view = consumer("cached-consistent-hash", NAMES[3:])
    for key in [*range(300), *range(300)]:
        assert visits.pick(visits_view, key) in visits_view.providers
        assert pages.pick(pages_view, key) in pages_view.providers
    assert visits.stats().hits == pages.stats().hits == 300


def test_keys_that_python_mixes_up_keep_their_own_lanes():
    balancer, view = consumer("cached-consistent-hash")
    alike = [1, 1.0, True, "1", "true", Level.ONE, (1,), ("1",)]
    for key in alike * 2:
        assert balancer.route(view, key)[1] == task_hash(key)
    assert balancer.stats().entries == balancer.stats().hits == len(alike)


@pytest.mark.parametrize("key", ["10.0.0.7", 7, 1.5, ("room", 7)])
def test_a_remembered_key_is_not_hashed_again(monkeypatch, key):
    balancer, view = consumer("cached-consistent-hash")
    first = balancer.route(view, key)
    monkeypatch.setattr(balancer_module, "fnv_hash", None)
    monkeypatch.setattr(balancer_module, "task_hash", None)
    assert balancer.route(view, key) == first
    newcomer = Provider(NAMES[3])
    balancer.on_up(newcomer)
    assert balancer.route(view, key)[1] == first[1], "nor when the ring has changed"


@pytest.mark.parametrize("policy", ["consistent-hash", "cached-consistent-hash"])
def test_a_refused_change_changes_nothing(policy):
    balancer, view = consumer(policy)
    before = pairs(policy)
    with pytest.raises(ValueError, match="in the ring already"):
        balancer.on_up(Provider(NAMES[0]))
    with pytest.raises(ValueError, match="not in the ring"):
        balancer.on_down(Provider(NAMES[5]))
    assert [(key, balancer.pick(view, key).ring_name) for key in range(1000)] == before
    assert all(balancer.pick(view, key) in view.providers for key in range(1000))


@pytest.mark.parametrize("policy", ["consistent-hash", "cached-consistent-hash"])
def test_a_key_that_is_not_allowed_is_refused_and_changes_nothing(policy):
    balancer, view = consumer(policy)
    with pytest.raises(TypeError, match="a key cannot be list"):
        balancer.route(view, ["a"])
    assert balancer.stats().misses == balancer.stats().entries == 0


def test_looking_at_an_entry_touches_nothing():
    balancer, view = consumer("cached-consistent-hash")
    balancer.tick(5)
    provider = balancer.pick(view, "seen")
    balancer.tick(6)
    assert balancer.entry("unseen") is None
    entry = balancer.entry("seen")
    assert (entry.provider, entry.hash, entry.tick) == (provider, fnv_hash("seen"), 5)
    assert balancer.stats().hits == 0


def test_options_reach_the_policy():
    balancer, view = consumer("cached-consistent-hash", max_entries=5, expire_after_access_s=1.5, virtual_nodes=7)
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
    plain, _ = consumer("consistent-hash", virtual_nodes=7)
    assert plain.stats() == BalancerStats(ring_points=21, points_version=3)


# -------------------------------------------------------------------------------------------------- random


@pytest.mark.parametrize("policy", sorted(BALANCERS))
def test_without_key_every_provider_has_its_chance(policy):
    balancer, view = consumer(policy)
    picks = Counter(balancer.route(view, None)[0] for _ in range(3000))
    assert picks.keys() == set(view.providers)
    assert min(picks.values()) > 850
    assert balancer.route(view, None)[1] is None
    assert balancer.stats().entries == 0


def test_random_keeps_the_lane_of_a_key_but_not_its_provider():
    balancer, view = consumer("random")
    routes = {balancer.route(view, "key") for _ in range(50)}
    assert routes == {(provider, task_hash("key")) for provider in view.providers}


# --------------------------------------------------------------------------------------------- the interface


class First(Balancer):
    """As small as a policy can be."""

    def pick(self, view, key):
        return view.providers[0] if view.providers else None


def test_a_policy_needs_nothing_but_pick():
    policy, provider = First(), Provider("a")
    policy.on_up(provider)
    view = ServiceView("m").joined(provider, 1)
    assert policy.route(view, "key") == (provider, task_hash("key"))
    assert policy.route(view, None) == (provider, None)
    policy.tick(1)
    assert policy.sweep(1)
    policy.on_down(provider)
    assert policy.stats() == BalancerStats()


def test_a_policy_without_pick_says_so():
    with pytest.raises(NotImplementedError, match=r"must define pick\(view, key\)"):
        Balancer().pick(ServiceView("m"), "key")


def test_the_names():
    assert set(BALANCERS) == {"random", "consistent-hash", "cached-consistent-hash"}
    assert DEFAULT_BALANCER in BALANCERS
    assert {name: type(consumer(name)[0]) for name in BALANCERS} == {
        "random": RandomBalancer,
        "consistent-hash": ConsistentHashBalancer,
        "cached-consistent-hash": CachedConsistentHashBalancer,
    }
    assert {name for name in BALANCERS if not consumer(name)[0].needs_key} == {"random"}


def test_a_view_is_sorted_and_cannot_be_written():
    b, a, other_b = Provider("b"), Provider("a"), Provider("b")
    view = ServiceView("m").joined(b, 1).joined(a, 2)
    assert (view.providers, view.applied_version) == ((a, b), 2)
    assert view.joined(other_b, 3).providers == (a, other_b), "one provider per ring name"
    assert (view.left(Provider("a"), 4).providers, view.left(b, 4).providers) == ((b,), (a,))
    with pytest.raises(AttributeError):
        view.providers = ()


def test_a_provider_is_up_from_its_first_session_to_its_last():
    provider = Provider("a", node_id="n")
    assert (provider.text, provider.session) == ("a", None)
    assert provider.add_session(2, "second node")
    assert not provider.add_session(1, "first node")
    assert not provider.add_session(1, "again"), "a sid that is known changes nothing"
    assert provider.sessions == [(2, "second node"), (1, "first node")]
    assert provider.session == "second node"
    assert not provider.drop_session(2)
    assert not provider.drop_session(2), "nor does one that is not known"
    assert provider.session == "first node"
    assert provider.drop_session(1)
    assert (provider.session, provider.sessions) == (None, [])
    assert not provider.drop_session(1)


def test_stats_are_plain_values():
    balancer, view = consumer("cached-consistent-hash")
    balancer.pick(view, "key")
    stats = balancer.stats()
    assert msgspec.json.decode(msgspec.json.encode(stats), type=BalancerStats) == stats
    balancer.pick(view, "other")
    assert stats.misses == 1, "a snapshot, not a window"
    assert isinstance(balancer.cache, KeyCache)
