"""key → provider, remembered: bounded, expiring, and never in disagreement with the ring.

zfoo's memory leak was such a memo without these bounds, so this is how each way of growing is closed:

* **Exact.** An entry keeps its key's hash and the ring's `points_version` it was checked at. Under a newer ring the
  entry asks again, by the stored hash; until it has, nobody is given its provider.
* **Bounded.** `max_entries`, and no key over `MAX_KEY_BYTES` is remembered; so memory is bounded whatever the keys.
* **Expiring.** An access writes the current tick (a coarse clock, given from outside) into the entry. A clock hand
  goes round all entries, a share of them for each tick, and drops what was not asked for in `expire_after_ticks`. An
  entry is inspected once a round, so what nobody asks for costs O(1) until it is gone.
* **Swept.** After a change of the ring the same hand goes on until every entry was inspected.

`tick` and `ring_changed` only say how far the hand has to go; `sweep` turns it, in steps as small as the caller wants.

Inspecting an entry (by the hand, or by a pick that finds it outdated) has one of these outcomes, counted once:

=====================================  ===========================  =======================================
its provider …                         counted as                   the entry
=====================================  ===========================  =======================================
still owns the key                     --                           stays
lives, but another one owns the key    evictions["provider_up"]     is moved to the new owner
is gone                                evictions["provider_down"]   the hand drops it; a pick refills it
was not asked for in time              evictions["expired"]         the hand drops it; a pick refills it
must make room                         evictions["capacity"]        is dropped
=====================================  ===========================  =======================================

An entry that was just found to have moved may still be the one that must make room: both are counted.
`moved_keys` counts keys whose owner changed while they were remembered: provider_up + provider_down. A provider is its
`ring_name`: one that comes back under the same name between two inspections has moved nothing.

Pure and not thread-safe: the ConsumerActor owns it. Entries stand in a dict and in a deque, which is the clock: the
hand takes from the left and puts back on the right; new entries come in on the right, already checked. When the last
provider goes, both are put aside as they are and taken apart a few entries at a time: 100,000 at once would take 14 ms.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from math import ceil
from sys import getsizeof
from typing import Generic, Literal, Protocol, TypeVar

from zfoo_py.consumer.explain import CachedKey
from zfoo_py.consumer.hashing import CacheKey
from zfoo_py.consumer.ring import HashRing

__all__ = ["ENTRY_BYTES", "MAX_KEY_BYTES", "Entry", "EvictionCause", "KeyCache", "MovedKey"]

EvictionCause = Literal["provider_down", "provider_up", "expired", "capacity"]
# Called with (hash, old owner, new owner, points_version of the last check) of a key that is found to have moved.
MovedKey = Callable[[int, str, str, int], None]

# A longer key (a pasted document, a number of 4,000 digits) is routed by the ring alone: 100,000 of them would be
# bounded in number and still not in memory.
MAX_KEY_BYTES = 1024
# What an entry costs beside its key: the object, its hash and lane, and its places in dict and deque. From tracemalloc
# at 100,000 entries; tests/consumer/test_key_cache.py compares.
ENTRY_BYTES = 190
# At capacity the oldest of so many leaves. Four come close to true LRU and cost a pick that misses 1 µs.
_CAPACITY_SAMPLE = 4
# The hand goes round ten times within the expiry time, so an unused entry is gone after 1.2 of it at the latest.
_ROUNDS_PER_EXPIRY = 10


class _Named(Protocol):
    ring_name: str


P = TypeVar("P", bound=_Named)


class Entry(Generic[P]):
    """What is known of one key. Written by the cache and by the balancer's hit path only.

    Attributes:
        key: its `cache_key`.
        provider: who owned it at `checked`.
        hash: its `fnv_hash`.
        lane: its `task_hash`.
        checked: the ring's points_version when the owner was looked up last.
        tick: of the last access.
    """

    __slots__ = ("checked", "hash", "key", "lane", "provider", "tick")

    def __init__(self, key: CacheKey, provider: P, key_hash: int, lane: int, checked: int, tick: int) -> None:
        self.key = key
        self.provider = provider
        self.hash = key_hash
        self.lane = lane
        self.checked = checked
        self.tick = tick


class KeyCache(Generic[P]):
    """The remembered keys of one ring.

    A hit is inlined by the caller (see `CachedConsistentHashBalancer.route`)::

        entry = cache.entries.get(cache_key(key))
        if entry is not None and entry.checked == cache.version and entry.tick >= cache.oldest_tick:
            entry.tick = cache.now_tick
            cache.hits += 1
            return entry.provider, entry.lane

    Any other entry goes through `renew`, a key without entry through `put`.

    Args:
        ring: who owns a hash.
        providers: ring name → provider, for exactly the names in the ring.
        max_entries: at most so many keys are remembered.
        expire_after_ticks: ticks without access after which an entry is dropped.

    Raises:
        ValueError: if a bound is below 1.
    """

    __slots__ = (
        "_clock",
        "_dead",
        "_due",
        "_key_bytes",
        "_providers",
        "_ring",
        "_round_ends",
        "_round_left",
        "_unswept",
        "entries",
        "evictions",
        "expire_after_ticks",
        "hits",
        "inspected",
        "max_entries",
        "misses",
        "moved",
        "now_tick",
        "oldest_tick",
        "version",
    )

    def __init__(
        self, ring: HashRing, providers: Mapping[str, P], *, max_entries: int, expire_after_ticks: int
    ) -> None:
        if max_entries < 1 or expire_after_ticks < 1:
            raise ValueError(
                f"max_entries and expire_after_ticks must be at least 1, not {max_entries} and {expire_after_ticks}"
            )
        self._ring = ring
        self._providers = providers
        self.max_entries = max_entries
        self.expire_after_ticks = expire_after_ticks
        self.entries: dict[CacheKey, Entry[P]] = {}
        self._clock: deque[Entry[P]] = deque()
        self._dead: list[tuple[dict[CacheKey, Entry[P]], deque[Entry[P]]]] = []  # forgotten, and still in memory
        self._due = 0  # so many, from the left, are to be inspected because time has passed
        self._unswept = 0  # so many entries, from the left, were not inspected since the ring last changed
        self._round_left = 0  # so many, from the left, were not inspected in this round of the hand
        self._round_ends = 0  # the tick by which they must have been
        self._key_bytes = 0
        self.version = ring.points_version
        self.now_tick = 0
        self.oldest_tick = -expire_after_ticks  # an entry last accessed before it is expired
        self.hits = 0
        self.misses = 0
        self.inspected = 0  # entries that have passed under the hand, ever
        self.moved: MovedKey | None = None
        self.evictions: dict[EvictionCause, int] = {"provider_down": 0, "provider_up": 0, "expired": 0, "capacity": 0}

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def estimated_bytes(self) -> int:
        """Memory of all entries with their keys, without the providers; within about a fifth. O(1)."""
        return len(self.entries) * ENTRY_BYTES + self._key_bytes

    @property
    def moved_keys(self) -> int:
        """Keys whose owner changed while they were remembered."""
        return self.evictions["provider_up"] + self.evictions["provider_down"]

    @property
    def unswept(self) -> int:
        """Entries that the hand still has to inspect since the ring changed."""
        return self._unswept

    @property
    def dead(self) -> int:
        """Entries forgotten with the last provider and still in memory; with `len` they are never over the limit."""
        return sum(len(entries) for entries, _ in self._dead)

    # --- picks

    def put(self, key: CacheKey, provider: P, key_hash: int, lane: int) -> None:
        """Remember a key that has no entry, as looked up just now. O(1); makes room first if there is none."""
        self.misses += 1
        if self._dead:  # one comes, one goes: all of them together are within the limit
            self._bury(1)
        key_bytes = _sizeof(key)
        if key_bytes > MAX_KEY_BYTES:
            return
        if len(self.entries) >= self.max_entries:
            self._make_room()
        entry = Entry(key, provider, key_hash, lane, self.version, self.now_tick)
        self.entries[key] = entry
        self._clock.append(entry)
        self._key_bytes += key_bytes

    def renew(self, entry: Entry[P]) -> P:
        """The present owner of an entry that is expired or older than the ring. O(log points).

        A hit is counted if the remembered provider was right, else a miss.
        """
        if entry.tick < self.oldest_tick:
            self.evictions["expired"] += 1
            self.misses += 1
            entry.provider = self._owner_of(entry)
            entry.checked = self.version
        elif self._check(entry):
            self.hits += 1
        else:
            self.misses += 1
        entry.tick = self.now_tick
        return entry.provider

    def explain(self, key: CacheKey) -> tuple[CachedKey, str]:
        """What is remembered of a key, and what a pick would make of it, in words. Counts and touches nothing."""
        entry = self.entries.get(key)
        if entry is None:
            if _sizeof(key) > MAX_KEY_BYTES:
                return CachedKey(
                    "absent"
                ), f"a key of over {MAX_KEY_BYTES} bytes is never remembered: the ring is asked"
            return CachedKey("absent"), "the key is not remembered: a pick asks the ring and remembers it"
        idle_s = self.now_tick - entry.tick
        if entry.tick < self.oldest_tick:
            state, step = "expired", f"not asked for in over {self.expire_after_ticks} s: a pick asks the ring again"
        elif entry.checked != self.version:
            state = "outdated"
            step = (
                f"checked at ring {entry.checked}, now {self.version}: a pick asks the ring again, by the stored hash"
            )
        else:
            state, step = (
                "fresh",
                "the key is remembered, checked at the present ring: a pick takes the owner from there",
            )
        return CachedKey(state, entry.checked, idle_s, entry.provider.ring_name), step  # type: ignore[arg-type]

    # --- changes and time

    def ring_changed(self) -> None:
        """To be called in the same turn, after every change of the ring and of `providers`. O(1).

        `entries` is another dict afterwards if the last provider has gone.
        """
        self.version = self._ring.points_version
        self._unswept = len(self._clock)
        if not self._providers:
            self.evictions["provider_down"] += len(self.entries)
            self.clear()

    def clear(self) -> None:
        """Forget all keys; counters stay. O(1); `sweep` frees the memory."""
        if self.entries:
            self._dead.append((self.entries, self._clock))
            self.inspected += len(self._clock)
        self.entries, self._clock = {}, deque()
        self._unswept = self._round_left = self._due = self._key_bytes = 0

    def tick(self, now_tick: int) -> None:
        """Time has passed: the hand has its share of a round to go. O(1). A clock that went back is ignored."""
        if now_tick <= self.now_tick:
            return
        self.now_tick = now_tick
        self.oldest_tick = now_tick - self.expire_after_ticks
        if not self._round_left:
            self._round_left = len(self._clock)
            self._round_ends = now_tick + max(1, self.expire_after_ticks // _ROUNDS_PER_EXPIRY)
        ticks_left = max(1, self._round_ends - now_tick)
        self._due = max(self._due, ceil(self._round_left / ticks_left))

    def sweep(self, budget_entries: int) -> bool:
        """Inspect, or free, up to so many entries; True when nothing is left to do until the next change or tick.

        An entry costs 0.4 µs to look at, 0.7 µs to move, 1.5 µs where the processor's cache cannot hold the ring.
        """
        buried = self._bury(budget_entries) if self._dead else 0
        self._turn_hand(min(budget_entries - buried, max(self._unswept, self._due)))
        return not (self._unswept or self._due or self._dead)

    def _bury(self, budget_entries: int) -> int:
        entries, clock = self._dead[0]
        steps = min(len(entries), budget_entries)
        for _ in range(steps):
            clock.popleft()
            entries.popitem()
        if not entries:
            del self._dead[0]
        return steps

    # --- the hand

    def _turn_hand(self, steps: int) -> None:
        clock = self._clock
        for _ in range(steps):
            entry = clock.popleft()
            if self._inspect(entry):
                clock.append(entry)
        self._was_inspected(steps)

    def _was_inspected(self, entries: int) -> None:
        self.inspected += entries
        self._unswept = max(0, self._unswept - entries)
        self._due = max(0, self._due - entries)
        self._round_left = max(0, self._round_left - entries)

    def _inspect(self, entry: Entry[P]) -> bool:
        """Whether the entry stays; it is dropped from `entries` and counted otherwise."""
        if entry.tick < self.oldest_tick:
            self._drop(entry, "expired")
            return False
        if entry.checked != self.version:
            old = entry.provider.ring_name
            if not self._check(entry) and old not in self._providers:
                self._forget(entry)
                return False
        return True

    def _check(self, entry: Entry[P]) -> bool:
        """Ask the ring again; whether the owner is the same. Counts the eviction and moves the entry otherwise."""
        old, checked = entry.provider.ring_name, entry.checked
        entry.provider = owner = self._owner_of(entry)
        entry.checked = self.version
        if owner.ring_name == old:
            return True
        if self.moved is not None:
            self.moved(entry.hash, old, owner.ring_name, checked)
        self.evictions["provider_up" if old in self._providers else "provider_down"] += 1
        return False

    def _owner_of(self, entry: Entry[P]) -> P:
        name = self._ring.owner_of_hash(entry.hash)
        return self._providers[name]  # type: ignore[index]  # without providers there are no entries

    def _make_room(self) -> None:
        """Inspect a few entries; if all stay, drop the one that was accessed longest ago."""
        clock = self._clock
        sample: list[Entry[P]] = []
        looked_at = min(_CAPACITY_SAMPLE, len(clock))
        for _ in range(looked_at):
            entry = clock.popleft()
            if self._inspect(entry):
                sample.append(entry)
        self._was_inspected(looked_at)
        if len(self.entries) >= self.max_entries:
            oldest = min(sample, key=_tick_of)
            sample.remove(oldest)
            self._drop(oldest, "capacity")
        clock.extend(sample)

    def _drop(self, entry: Entry[P], cause: EvictionCause) -> None:
        self.evictions[cause] += 1
        self._forget(entry)

    def _forget(self, entry: Entry[P]) -> None:
        del self.entries[entry.key]
        self._key_bytes -= _sizeof(entry.key)


def _tick_of(entry: Entry[P]) -> int:
    return entry.tick


def _sizeof(key: CacheKey) -> int:
    size = getsizeof(key)
    if key.__class__ is tuple:
        for part in key:
            if part is not None:
                size += getsizeof(part)
    return size
