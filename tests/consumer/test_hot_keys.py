"""Space-saving: what is certain of it, on any stream; and the gaps between samples."""

from __future__ import annotations

import random
from collections import Counter
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from zfoo_py.consumer.hot_keys import MEAN_GAP, HotKeys, gaps

streams = st.lists(st.integers(0, 12), max_size=300)


@given(streams, st.integers(1, 8))
def test_counts_are_bounded_and_never_too_low(stream, counters):
    hot = HotKeys(counters)
    for key in stream:
        hot.offer(key)
        assert len(hot) <= counters
    truth = Counter(stream)
    total = max(1, len(stream))
    shown = {one.key: one for one in hot.top(counters)}
    for key, one in shown.items():
        count, error = round(one.share * total), round(one.error * total)
        assert count - error <= truth[key] <= count
    # The theorem of the paper: whatever has more than 1/counters of the stream has a counter.
    assert {key for key, count in truth.items() if count > len(stream) / counters} <= set(shown)


@given(streams, st.integers(1, 8), st.integers(0, 300))
def test_fading_halves_the_counts_and_keeps_the_bound(stream, counters, fade_at):
    hot = HotKeys(counters)
    for at, key in enumerate(stream):
        if at == fade_at:
            before = dict(hot._count)
            hot.fade()
            assert hot._count == {key: count // 2 for key, count in before.items() if count > 1}
            after = [hot._count[one.key] for one in hot.top(counters)]
            assert after == sorted(hot._count.values(), reverse=True)
        hot.offer(key)
        assert len(hot) <= counters
        assert sum(hot._count.values()) >= 1


def test_what_nobody_asks_for_any_more_fades_away():
    hot = HotKeys(4)
    for _ in range(1000):
        hot.offer("was")
    for _ in range(12):
        hot.fade()
        hot.offer("is")
    assert [one.key for one in hot.top(4)] == ["is"]
    assert hot.total < 3


def test_a_skewed_stream_gives_the_hot_keys_with_their_shares():
    rng = random.Random(4)
    hot = HotKeys(100)
    for _ in range(20_000):
        hot.offer("hot" if rng.random() < 0.2 else rng.randrange(10**6))
    (first,) = hot.top(1)
    assert first.key == "hot"
    assert 0.19 < first.share < 0.215
    assert first.error <= 0.011


def test_gaps_are_64_on_average_and_not_in_step_with_anything():
    some = list(islice(gaps(), 100_000))
    assert min(some) == 1
    assert max(some) == 2 * MEAN_GAP - 1
    assert abs(sum(some) / len(some) - MEAN_GAP) < 0.5
    for period in (2, 10, 64, 100):  # a caller that goes round so many keys
        hits = Counter()
        at = 0
        for step in some:
            at += step
            hits[at % period] += 1
        assert len(hits) == period
        assert max(hits.values()) < 1.2 * 100_000 / period
