"""What a change moved, and the proof that nothing else did: against the cache, and against changes that are wrong."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zfoo_py.consumer.balancer import BalancerOptions, BalancerStats, Provider, ServiceView
from zfoo_py.consumer.change_log import KEPT_CHANGES, MAX_LONG_SEARCHES, ChangeLog
from zfoo_py.consumer.hashing import fnv_hash
from zfoo_py.consumer.policies.catalog import BALANCERS
from zfoo_py.consumer.ring import HASHES, HashRing

NAMES = [f"app-{n}" for n in range(8)]


class World:
    """A cached balancer with its log."""

    def __init__(self, *, virtual_nodes: int = 4, max_entries: int = 1000, kept: int = KEPT_CHANGES) -> None:
        options = BalancerOptions(rng=random.Random(1), max_entries=max_entries, virtual_nodes=virtual_nodes)
        self.balancer = BALANCERS["cached-consistent-hash"](options)
        self.log = ChangeLog("visits", kept)
        self.balancer.observe(self.log.moved)
        self.up: dict[str, Provider] = {}
        self.version = 0

    def flip(self, name: str, *, version: int | None = None) -> None:
        self.version = self.version + 1 if version is None else version
        stats = self.balancer.stats()
        if name in self.up:
            provider = self.up.pop(name)
            self.log.leaves(name, self.version, float(self.version), self.balancer.ring, stats)
            self.balancer.on_down(provider)
        else:
            self.up[name] = Provider(name)
            self.balancer.on_up(self.up[name])
            self.log.joined(name, self.version, float(self.version), self.balancer.ring, stats)

    def weigh(self, name: str) -> None:
        if name not in self.up:
            return
        self.version += 1
        stats, ring, provider = self.balancer.stats(), self.balancer.ring, self.up[name]
        had = ring.segments_of(name)
        provider.weight = 4 - provider.weight  # 1 and 3
        self.balancer.on_weight(provider)
        self.log.reweighed(name, self.version, float(self.version), ring, stats, had)

    def pick(self, key: int) -> None:
        self.balancer.pick(ServiceView("visits"), key)

    def sweep(self, budget: int = 10**6) -> None:
        if self.balancer.sweep(budget):
            self.log.settle(self.balancer.stats())

    def report(self, version: int | None = None):
        return self.log.report(version, float(self.version), self.balancer.stats())

    def owners(self, keys):
        return {key: self.balancer.ring.owner(key) for key in keys}


def world_of(names, keys=range(300), **more):
    world = World(**more)
    for name in names:
        world.flip(name)
    for key in keys:
        world.pick(key)
    world.sweep()
    return world


@pytest.mark.parametrize("leaves", [False, True])
def test_one_change_says_what_moved_and_proves_that_nothing_else_did(leaves):
    keys = range(300)
    world = world_of(NAMES[:5], keys)
    before = world.owners(keys)
    name = NAMES[2] if leaves else NAMES[5]
    segments = world.balancer.ring.segments_of(name) if leaves else None
    world.flip(name)
    segments = segments or world.balancer.ring.segments_of(name)
    moved = sum(before[key] != owner for key, owner in world.owners(keys).items())
    assert not world.report().is_checked
    assert world.report().checked == 0
    world.sweep()
    report = world.report()
    assert (report.joined, report.left) == (((), (name,)) if leaves else ((name,), ()))
    assert (report.entries, report.checked, report.is_checked) == (300, 300, True)
    assert report.moved_keys == moved > 0
    assert report.evicted == {
        "provider_down": moved * leaves,
        "provider_up": moved * (not leaves),
        "expired": 0,
        "capacity": 0,
    }
    assert (report.astray, report.unverified) == (0, 0)
    assert report.moved_share == sum(b - a + 1 for a, b in zip(*segments, strict=True)) / HASHES
    assert (report.providers, report.version, report.points_version) == (4 if leaves else 6, 6, 6)
    assert "all 300 remembered keys checked: none moved outside the segments that changed" in str(report)
    assert str(report).startswith(f"visits, membership 6, 0 s ago, {report.providers} providers since\n")
    assert report.as_dict()["moved_keys"] == moved


steps = st.lists(
    st.one_of(
        st.tuples(st.just("flip"), st.sampled_from(NAMES)),
        st.tuples(st.just("weigh"), st.sampled_from(NAMES)),
        st.tuples(st.just("pick"), st.integers(0, 40)),
        st.tuples(st.just("sweep"), st.integers(1, 20)),
    ),
    max_size=60,
)


@given(steps, st.sampled_from([1, 3, 40]), st.sampled_from([5, 1000]))
@settings(max_examples=300)
def test_under_any_interleaving_every_moved_key_is_accounted_for_and_none_is_astray(history, points, max_entries):
    world = World(virtual_nodes=points, max_entries=max_entries)
    for what, value in history:
        getattr(world, what)(value)
    while world.balancer.stats().unswept:
        world.sweep()
    world.sweep()
    stats = world.balancer.stats()
    reports = [world.report(version) for version in world.log.versions]
    assert all(report.is_checked for report in reports)
    assert not world.log.is_open
    assert world.log.astray == sum(report.astray for report in reports) == 0
    # With the last provider the cache is emptied, which is no move.
    emptied = sum(report.entries for report in reports if not report.providers)
    accounted = sum(report.moved_keys + report.unverified for report in reports)
    assert accounted <= stats.moved_keys <= accounted + emptied
    assert not world.log._newest
    assert not any(change.steps for change in world.log._changes)


def test_a_key_that_moves_without_reason_is_astray():
    """A ring that gave a key of an unchanged segment to somebody else would be found out."""
    world = world_of(NAMES[:5])
    checked = world.balancer.ring.points_version
    world.flip(NAMES[5])
    ring = world.balancer.ring
    innocent = next(h for h in map(fnv_hash, range(1000)) if ring.owner_of_hash(h) != NAMES[5])
    world.log.moved(innocent, NAMES[0], NAMES[1], checked)
    report = world.report()
    assert report.astray == world.log.astray == 1
    assert "BROKEN: 1 keys moved although" in str(report)
    # It lies in the segment that changed, but was checked since: that change is no reason any more.
    newcomers = next(h for h in map(fnv_hash, range(1000)) if ring.owner_of_hash(h) == NAMES[5])
    world.log.moved(newcomers, NAMES[0], NAMES[5], ring.points_version)
    assert world.log.astray == 2


def test_what_is_older_than_the_log_is_not_judged():
    world = world_of(NAMES[:3], kept=2)
    for name in NAMES[3:7]:
        world.flip(name)
    assert len(world.log) == 2
    world.sweep()
    reports = [world.report(version) for version in world.log.versions]
    assert sum(report.unverified for report in reports) > 0
    assert world.log.astray == 0
    assert "could not be told" in str(reports[-1])


def test_long_searches_are_bounded_between_two_looks():
    world = world_of(NAMES[:5])
    checked = world.balancer.ring.points_version
    world.flip(NAMES[5])
    innocent = next(h for h in map(fnv_hash, range(1000)) if world.balancer.ring.owner_of_hash(h) != NAMES[5])
    for _ in range(MAX_LONG_SEARCHES + 7):
        world.log.moved(innocent, NAMES[0], NAMES[1], checked)
    assert (world.report().astray, world.report().unverified) == (MAX_LONG_SEARCHES, 7)


def test_the_log_is_bounded_and_keeps_the_newest():
    world = World()
    for number in range(200):
        world.flip(NAMES[number % 8])
    assert len(world.log) == KEPT_CHANGES
    assert world.log.versions == tuple(range(200 - KEPT_CHANGES + 1, 201))
    assert world.report(1) is None
    assert world.report().version == 200


def test_changes_of_one_version_are_one_change():
    world = world_of(NAMES[:3])
    world.flip(NAMES[3], version=9)
    world.flip(NAMES[0], version=9)
    report = world.report(9)
    assert (report.joined, report.left, report.providers) == ((NAMES[3],), (NAMES[0],), 3)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(NAMES), min_size=1, max_size=8, unique=True))
def test_what_several_changes_of_one_version_move_counts_once(flipped):
    world = world_of(NAMES[:4])
    old = list(world.balancer.ring.points())
    before = {name: world.balancer.ring.segments_of(name) for name in NAMES[:4]}
    for name in sorted(flipped, key=NAMES.index):  # as with a snapshot: first all who left, then all who came
        world.flip(name, version=99)
    ring = world.balancer.ring
    bounds = sorted({point for point, _ in (*old, *ring.points())} | {HASHES - 1})
    moved, first = 0, 0
    for last in bounds:
        was = next(name for name, parts in before.items() if any(a <= last <= b for a, b in zip(*parts, strict=True)))
        moved += (last + 1 - first) * (was != ring.owner_of_hash(last))
        first = last + 1
    assert world.report(99).moved_share == moved / HASHES
    world.flip(NAMES[0], version=100)
    assert world.report(99).moved_share == moved / HASHES


def test_who_leaves_and_comes_again_in_one_version_moves_nothing():
    """With ring_identity "node-id": the second holder of an id is let in when the first has gone."""
    world = world_of(NAMES[:3])
    world.flip(NAMES[1], version=9)
    world.flip(NAMES[1], version=9)
    report = world.report(9)
    assert (report.joined, report.left, report.moved_share) == ((NAMES[1],), (NAMES[1],), 0.0)


def test_a_policy_without_ring_or_cache_has_a_log_too():
    log = ChangeLog("visits")
    log.joined("one", 1, 5.0, None, BalancerStats())
    log.leaves("one", 2, 6.0, HashRing(), BalancerStats())
    report = log.report(None, 8.0, BalancerStats())
    assert (report.left, report.moved_share, report.is_checked, report.age_s) == (("one",), 0.0, True, 2.0)
    log.joined("two", 3, 9.0, None, BalancerStats(entries=7))
    log.settle(BalancerStats(entries=7))
    assert log.open_for_s(10.0) == 0.0


def test_it_says_for_how_long_a_check_is_open():
    world = world_of(NAMES[:3])
    world.flip(NAMES[3])
    assert world.log.open_for_s(world.version + 4.5) == 4.5
    world.sweep()
    assert world.log.open_for_s(world.version + 4.5) == 0.0


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (2, 3)])
def test_another_weight_moves_keys_only_to_or_from_its_provider(before, after):
    """And the report has the exact share that moved."""
    keys = range(300)
    world = World()
    providers = {name: Provider(name) for name in NAMES[:4]}
    heavy = providers[NAMES[2]]
    heavy.weight = before
    for name, provider in providers.items():
        world.version += 1
        stats = world.balancer.stats()
        world.balancer.on_up(provider)
        world.log.joined(name, world.version, float(world.version), world.balancer.ring, stats)
    for key in keys:
        world.pick(key)
    world.sweep()
    ring, old = world.balancer.ring, world.owners(keys)
    points, segments, stats = dict(ring.points()), ring.segments_of(heavy.ring_name), world.balancer.stats()
    heavy.weight = after
    world.balancer.on_weight(heavy)
    world.version += 1
    world.log.reweighed(heavy.ring_name, world.version, float(world.version), ring, stats, segments)
    world.sweep()
    report = world.report()
    moved = {key: (old[key], owner) for key, owner in world.owners(keys).items() if owner != old[key]}
    assert {pair[after > before] for pair in moved.values()} <= {heavy.ring_name}
    assert (report.moved_keys, report.astray, report.unverified, report.is_checked) == (len(moved), 0, 0, True)
    assert (report.joined, report.left, report.reweighed) == ((), (), (heavy.ring_name,))
    assert f"reweighed  {heavy.ring_name}" in str(report)
    assert report.providers == 4
    edges = sorted({*points, *dict(ring.points())})
    owner_before, owner_after = HashRing(4), HashRing(4)
    for name, provider in providers.items():
        owner_before.add(name, 4 * (before if provider is heavy else 1))
        owner_after.add(name, 4 * (after if provider is heavy else 1))
    changed = sum(
        last - first
        for first, last in zip([-1, *edges], [*edges, HASHES - 1], strict=True)
        if owner_before.owner_of_hash(last) != owner_after.owner_of_hash(last)
    )
    assert report.moved_share == changed / HASHES
