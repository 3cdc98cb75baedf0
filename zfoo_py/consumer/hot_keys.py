"""Which keys are asked for most, from a sample, in bounded memory.

`HotKeys` is the space-saving algorithm (Metwally, Agrawal, El Abbadi 2005): so many counters, and a key without one
takes over the counter that stands lowest, with its count as its possible error. A key that has more than 1/counters
of the sample is certainly among them. `offer` is O(1), because counters of equal height stand together.

`gaps` says how many picks pass until the next sampled one. Gaps vary, so that a caller which goes round its keys in
order is not sampled at the same key each time; they are computed, not drawn, because a policy's randomness is its own.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from itertools import cycle
from typing import Generic, TypeVar

import msgspec

__all__ = ["COUNTERS", "MEAN_GAP", "HotKeys", "HotShare", "gaps"]

# One pick in so many is sampled: a key with 1 % of 10,000 picks a second is seen 1.5 times a second, and the cost of a
# sample (about a microsecond) is spread over as many picks.
MEAN_GAP = 64
# A key that has 1 % of the picks or more is certainly among so many.
COUNTERS = 100

K = TypeVar("K", bound=Hashable)


class HotShare(msgspec.Struct, Generic[K], frozen=True):
    """One of the most frequent keys.

    Attributes:
        key: as it was offered.
        share: of the sample, 0 to 1; at most this.
        error: by how much the share may be too high.
    """

    key: K
    share: float
    error: float


class HotKeys(Generic[K]):
    """The most frequent of what is offered. Pure and not thread-safe.

    Args:
        counters: how many keys are counted at once; the memory's bound.
    """

    __slots__ = ("_by_count", "_count", "_counters", "_error", "_lowest", "total")

    def __init__(self, counters: int = COUNTERS) -> None:
        self._counters = counters
        self._count: dict[K, int] = {}
        self._error: dict[K, int] = {}
        self._by_count: dict[int, dict[K, None]] = {}
        self._lowest = 1
        self.total = 0

    def __len__(self) -> int:
        return len(self._count)

    def offer(self, key: K) -> None:
        """Count one occurrence. O(1)."""
        self.total += 1
        counts, by_count = self._count, self._by_count
        count = counts.get(key)
        if count is not None:
            peers = by_count[count]
            del peers[key]
            if not peers:
                del by_count[count]
                if count == self._lowest:
                    self._lowest = count + 1
        elif len(counts) < self._counters:
            count = 0
            self._lowest = 1
        else:
            count = self._lowest
            peers = by_count[count]
            victim = next(iter(peers))
            del peers[victim], counts[victim]
            self._error.pop(victim, None)
            self._error[key] = count
            if not peers:
                del by_count[count]
                self._lowest = count + 1
        count += 1
        counts[key] = count
        if count in by_count:
            by_count[count][key] = None
        else:
            by_count[count] = {key: None}

    def fade(self) -> None:
        """Halve every count, so that what is hot now outweighs what was; counts below one go. O(counters)."""
        old = self._count
        self._count = {key: count // 2 for key, count in old.items() if count > 1}
        self._error = {key: error // 2 for key, error in self._error.items() if key in self._count and error > 1}
        self._by_count = {}
        for key, count in self._count.items():
            self._by_count.setdefault(count, {})[key] = None
        self._lowest = min(self._by_count, default=1)
        self.total //= 2

    def top(self, most: int) -> tuple[HotShare[K], ...]:
        """The most frequent ones, most frequent first. O(counters * log counters)."""
        ranked = sorted(self._count.items(), key=lambda item: -item[1])[:most]
        total = max(1, self.total)
        return tuple(HotShare(key, min(1.0, count / total), self._error.get(key, 0) / total) for key, count in ranked)


def gaps() -> Iterator[int]:
    """Gaps between samples, for ever: 1 to 127 picks, 64 on average, the sampled pick included."""
    return cycle(_GAPS)


def _numbers(count: int) -> Iterator[int]:
    """Numbers without visible order, by a linear congruential generator (the example of C's rand)."""
    state = 1
    for _ in range(count):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        yield state >> 16


# Computed once, since a sample should cost as little as it can; after so many (a prime) they come again.
_GAPS = tuple(1 + number % (2 * MEAN_GAP - 1) for number in _numbers(4093))
