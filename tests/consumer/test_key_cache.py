"""The memo of keys: it forgets in time, never holds too much, and counts why."""

from __future__ import annotations

import gc
import math
import tracemalloc
from uuid import UUID

import pytest

from zfoo_py.consumer.hashing import cache_key, fnv_hash, task_hash
from zfoo_py.consumer.key_cache import MAX_KEY_BYTES, KeyCache
from zfoo_py.consumer.ring import HashRing


class Named:
    def __init__(self, ring_name):
        self.ring_name = ring_name


class Memo:
    """A ring, its providers and a cache, put together as a balancer does it."""

    def __init__(self, *names, max_entries=100, expire_after_ticks=100):
        self.ring = HashRing(20)
        self.providers = {}
        self.cache = KeyCache(self.ring, self.providers, max_entries=max_entries, expire_after_ticks=expire_after_ticks)
        for name in names:
            self.up(name)

    def up(self, name):
        self.ring.add(name)
        self.providers[name] = Named(name)
        self.cache.ring_changed()

    def down(self, name):
        self.ring.remove(name)
        del self.providers[name]
        self.cache.ring_changed()

    def pick(self, key):
        cache = self.cache
        entry = cache.entries.get(cache_key(key))
        if entry is None:
            key_hash = fnv_hash(key)
            provider = self.providers[self.ring.owner_of_hash(key_hash)]
            cache.put(cache_key(key), provider, key_hash, task_hash(key))
        elif entry.checked == cache.version and entry.tick >= cache.oldest_tick:
            entry.tick = cache.now_tick
            cache.hits += 1
            provider = entry.provider
        else:
            provider = cache.renew(entry)
        return provider.ring_name

    def tick(self, now_tick):
        """Let time pass, and the hand go as far as it must."""
        self.cache.tick(now_tick)
        self.sweep()

    def sweep(self):
        while not self.cache.sweep(7):
            pass


@pytest.fixture
def inspections(monkeypatch):
    """The entries that the hand has looked at, one by one."""
    seen = []
    inspect = KeyCache._inspect
    monkeypatch.setattr(KeyCache, "_inspect", lambda self, entry: (seen.append(entry), inspect(self, entry))[1])
    return seen


# ------------------------------------------------------------------------------------------------- changes


def test_a_join_moves_exactly_the_newcomers_keys():
    memo = Memo("a", "b", max_entries=1000)
    owners = {key: memo.pick(key) for key in range(1000)}
    memo.up("c")
    moved = {key for key in owners if memo.ring.owner(key) == "c"}
    memo.sweep()
    assert 0 < len(moved) < 1000
    assert memo.cache.evictions == {"provider_up": len(moved), "provider_down": 0, "expired": 0, "capacity": 0}
    assert memo.cache.moved_keys == len(moved)
    assert len(memo.cache) == 1000, "a moved key is still remembered"
    assert {key for key, entry in memo.cache.entries.items() if entry.provider is memo.providers["c"]} == moved


def test_a_leave_evicts_exactly_the_leavers_keys():
    memo = Memo("a", "b", "c", max_entries=1000)
    owners = {key: memo.pick(key) for key in range(1000)}
    lost = {key for key, owner in owners.items() if owner == "c"}
    memo.down("c")
    memo.sweep()
    assert 0 < len(lost) < 1000
    assert memo.cache.evictions == {"provider_up": 0, "provider_down": len(lost), "expired": 0, "capacity": 0}
    assert memo.cache.entries.keys() == owners.keys() - lost


@pytest.mark.parametrize("change", ["up", "down"])
def test_a_change_counts_each_key_once_whether_a_pick_or_the_sweep_finds_it(change):
    memo = Memo("a", "b", "c", max_entries=1000)
    before = {key: memo.pick(key) for key in range(1000)}
    memo.up("d") if change == "up" else memo.down("c")
    for key in range(0, 1000, 3):
        assert memo.pick(key) == memo.ring.owner(key)
    memo.cache.sweep(300)
    for key in range(0, 1000, 2):
        assert memo.pick(key) == memo.ring.owner(key)
    memo.sweep()
    moved = sum(memo.ring.owner(key) != owner for key, owner in before.items())
    assert memo.cache.evictions[f"provider_{change}"] == memo.cache.moved_keys == moved > 0


def test_a_provider_that_comes_back_before_the_sweep_has_moved_nothing():
    memo = Memo("a", "b")
    for key in range(50):
        memo.pick(key)
    memo.down("b")
    memo.up("b")
    memo.sweep()
    assert memo.cache.moved_keys == 0
    assert len(memo.cache) == 50
    assert all(entry.provider is memo.providers[memo.ring.owner(key)] for key, entry in memo.cache.entries.items())


def test_without_providers_nothing_is_remembered():
    memo = Memo("a", "b")
    for key in range(50):
        memo.pick(key)
    memo.down("a")
    memo.down("b")
    assert len(memo.cache) == memo.cache.estimated_bytes == memo.cache.unswept == 0
    assert memo.cache.evictions["provider_down"] == 50
    memo.sweep()
    memo.up("c")
    assert memo.pick(1) == "c"


def test_an_outdated_entry_is_not_hashed_again(monkeypatch):
    memo = Memo("a", "b")
    for key in range(50):
        memo.pick(key)
    memo.up("c")
    monkeypatch.setattr(f"{__name__}.fnv_hash", None)
    assert "c" in {memo.pick(key) for key in range(50)}


def test_a_sweep_goes_in_steps_of_its_budget(inspections):
    memo = Memo("a", "b")
    for key in range(50):
        memo.pick(key)
    memo.up("c")
    assert [memo.cache.sweep(20) for _ in range(3)] == [False, False, True]
    assert len(inspections) == len(set(inspections)) == 50
    assert memo.cache.sweep(20)
    assert len(inspections) == 50, "nothing is left to do"


def test_a_change_in_the_middle_of_a_sweep_begins_it_anew():
    memo = Memo("a", "b", max_entries=2000)
    for key in range(1000):
        memo.pick(key)
    memo.up("c")
    memo.cache.sweep(600)
    memo.down("a")
    memo.pick("a new key")
    assert memo.cache.unswept == 1000
    memo.sweep()
    assert {entry.provider.ring_name for entry in memo.cache.entries.values()} == {"b", "c"}


def test_changes_without_end_do_not_starve_the_sweep(inspections):
    memo = Memo("a", "b")
    for key in range(100):
        memo.pick(key)
    all_entries = set(memo.cache.entries.values())
    for _ in range(10):
        memo.up("c")
        memo.cache.sweep(5)
        memo.down("c")
        memo.cache.sweep(5)
        assert memo.cache.unswept > 0
    assert all_entries == set(inspections)


# ------------------------------------------------------------------------------------------------- time


def test_keys_that_nobody_asks_for_again_go_within_1_2_of_the_expiry_time():
    memo = Memo("a", max_entries=1000)
    for key in range(1000):
        memo.pick(key)
    for tick in range(1, 101):
        memo.tick(tick)
    assert len(memo.cache) == 1000, "not before the time"
    for tick in range(101, 121):
        memo.tick(tick)
    assert len(memo.cache) == memo.cache.estimated_bytes == 0
    assert memo.cache.evictions["expired"] == 1000


def test_a_key_that_is_asked_for_stays():
    memo = Memo("a")
    for tick in range(500):
        memo.tick(tick)
        memo.pick("hot")
        memo.pick(f"once {tick}" if tick < 50 else "hot")
    assert set(memo.cache.entries) == {"hot"}
    assert memo.cache.evictions == {"provider_up": 0, "provider_down": 0, "expired": 50, "capacity": 0}


def test_an_expired_key_that_is_asked_for_first_is_a_miss():
    memo = Memo("a", "b")
    memo.pick("late")
    memo.cache.now_tick = 101
    memo.cache.oldest_tick = 1  # as tick(101) would, with the hand not yet there
    memo.pick("late")
    assert (memo.cache.hits, memo.cache.misses, memo.cache.evictions["expired"]) == (0, 2, 1)
    memo.pick("late")
    assert memo.cache.hits == 1


def test_an_entry_lives_for_exactly_the_expiry_time():
    memo = Memo("a")
    memo.pick("x")
    memo.tick(100)
    memo.pick("x")
    memo.tick(200)
    assert memo.cache.hits == len(memo.cache) == 1
    memo.tick(301)
    assert len(memo.cache) == 0


def test_a_clock_that_goes_back_changes_nothing():
    memo = Memo("a")
    memo.tick(1000)
    memo.pick("x")
    memo.tick(3)
    memo.tick(1000)
    assert (memo.cache.now_tick, memo.cache.oldest_tick, len(memo.cache)) == (1000, 900, 1)


def test_the_hand_takes_no_longer_way_than_it_must(inspections):
    """Ten rounds in each expiry time, whatever the number of entries: O(1) per entry and round."""
    memo = Memo("a", max_entries=333)
    for key in range(333):
        memo.pick(key)
    for tick in range(1, 101):
        memo.tick(tick)
    assert len(inspections) == 3330


def test_a_tick_inspects_nothing_and_the_sweep_after_it_only_its_budget(inspections):
    """Even after a long sleep; what it could not do at once is not forgotten."""
    memo = Memo("a", max_entries=1000)
    for key in range(1000):
        memo.pick(key)
    memo.cache.tick(10_000)
    assert inspections == []
    for turn in range(1, 4):
        assert not memo.cache.sweep(30)
        assert len(inspections) == 30 * turn
    memo.cache.tick(10_001)
    while not memo.cache.sweep(30):
        pass
    assert len(inspections) == 90 + 102, "a ninth of the 910 that are left of this round"


def test_what_the_last_provider_leaves_is_freed_in_steps_and_counts_against_the_limit():
    memo = Memo("a", max_entries=100)
    for key in range(100):
        memo.pick(key)
    memo.down("a")
    assert (len(memo.cache), memo.cache.dead, memo.cache.evictions["provider_down"]) == (0, 100, 100)
    memo.up("b")
    for number in range(1, 31):
        assert memo.pick(number) == "b"
        assert (len(memo.cache), memo.cache.dead) == (number, 100 - number)
    memo.down("b")
    assert memo.cache.dead == 100
    for left in (60, 30, 0):
        is_done = memo.cache.sweep(40)
        assert (memo.cache.dead, is_done) == (left, not left)
    assert memo.cache.evictions["provider_down"] == 130


# ------------------------------------------------------------------------------------------------- bounds


def test_the_last_few_entries_go_in_time_too():
    """A hand that did a share of the present entries at each tick would get slower and slower."""
    memo = Memo("a", max_entries=1000)
    for tick in range(1, 400):
        memo.tick(tick)
        if tick <= 100:
            memo.pick(f"once {tick}")
            memo.pick(f"twice {tick}")
        assert all(tick - entry.tick <= 120 for entry in memo.cache.entries.values())


def test_it_never_holds_more_than_it_may():
    memo = Memo("a", max_entries=10)
    for key in range(100):
        memo.pick(key)
        assert len(memo.cache) == len(memo.cache._clock) <= 10
    assert memo.cache.evictions["capacity"] == 90
    assert memo.cache.misses == 100


def test_one_entry_is_a_cache_too():
    memo = Memo("a", max_entries=1)
    for key in (1, 1, 2, 2):
        memo.pick(key)
    assert (memo.cache.hits, memo.cache.misses, list(memo.cache.entries)) == (2, 2, [2])


def test_at_capacity_those_asked_for_last_stay():
    memo = Memo("a", max_entries=200)
    hot = range(100)
    for tick in range(100):
        memo.tick(tick)
        for key in hot:
            memo.pick(key)
        for number in range(20):
            memo.pick(f"once {tick} {number}")
    assert memo.cache.hits > 0.97 * 100 * len(hot)


def test_at_capacity_expired_and_lost_entries_go_first():
    memo = Memo("a", "b", max_entries=4)
    for key in range(4):
        memo.pick(key)
    memo.cache.oldest_tick = 1
    memo.cache.now_tick = 101
    memo.pick("new")
    assert memo.cache.evictions == {"provider_up": 0, "provider_down": 0, "expired": 4, "capacity": 0}
    assert list(memo.cache.entries) == ["new"]


@pytest.mark.parametrize("key", ["x" * MAX_KEY_BYTES, 10**4000, ("x" * 600, "y" * 600), (0,) * 600, b"x" * 600])
def test_a_huge_key_is_not_remembered(key):
    memo = Memo("a")
    assert memo.pick(key) == memo.pick(key) == "a"
    assert len(memo.cache) == memo.cache.estimated_bytes == 0
    assert memo.cache.misses == 2


@pytest.mark.parametrize(
    "make_key",
    [lambda number: f"user:{number:07}", lambda number: 10**9 + number, lambda number: UUID(int=number)],
    ids=["str", "int", "uuid"],
)
def test_the_estimate_of_memory_is_about_right(make_key):
    memo = Memo("a", "b", max_entries=5_000)
    gc.collect()
    tracemalloc.start()
    for number in range(5_000):
        memo.pick(make_key(number))
    measured = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert math.isclose(memo.cache.estimated_bytes, measured, rel_tol=0.2)
    for tick in range(1, 120):
        memo.tick(tick)
    assert memo.cache.estimated_bytes == 0


@pytest.mark.parametrize("bounds", [{"max_entries": 0}, {"expire_after_ticks": 0}])
def test_bounds_below_one_are_refused(bounds):
    with pytest.raises(ValueError, match="must be at least 1"):
        Memo(**bounds)
