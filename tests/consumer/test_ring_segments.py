"""What the ring tells about itself: points and segments, against the ring's own owners."""

from __future__ import annotations

from bisect import bisect_right
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from tests.consumer.test_ring import HASHES, crowded, histories, interesting_hashes, key_hashes, names, replay
from zfoo_py.consumer.hashing import point_hashes
from zfoo_py.consumer.ring import HashRing

layouts = st.sampled_from([crowded, point_hashes])


def is_inside(segments, key_hash):
    firsts, lasts = segments
    at = bisect_right(firsts, key_hash) - 1
    return at >= 0 and key_hash <= lasts[at]


@given(histories, layouts, st.sampled_from([1, 3, 20]))
def test_segments_are_exactly_what_a_provider_owns(history, layout, points):
    ring = HashRing(points, hash_points=layout)
    members = replay(ring, history)
    hashes = interesting_hashes(dict(ring.points()))
    for name in members:
        segments = ring.segments_of(name)
        assert list(segments[0]) == sorted(segments[0])
        assert all(first <= last for first, last in zip(*segments, strict=True))
        assert [is_inside(segments, h) for h in hashes] == [ring.owner_of_hash(h) == name for h in hashes]


@given(histories, layouts)
def test_all_segments_cover_the_hash_space_once(history, layout):
    ring = HashRing(5, hash_points=layout)
    members = replay(ring, history)
    sizes = [last - first + 1 for name in members for first, last in zip(*ring.segments_of(name), strict=True)]
    assert sum(sizes) == (HASHES if members else 0)


@given(histories, layouts, key_hashes, names)
def test_a_join_and_a_leave_change_the_segments_of_that_provider_only(history, layout, key_hash, name):
    ring = HashRing(5, hash_points=layout)
    members = replay(ring, history)
    if name in members:
        ring.remove(name)
    before = ring.owner_of_hash(key_hash)
    ring.add(name)
    assert (ring.owner_of_hash(key_hash) != before) == is_inside(ring.segments_of(name), key_hash)


@given(histories, layouts, key_hashes, st.integers(0, 9))
def test_the_walk_names_those_who_follow_when_owners_leave(history, layout, key_hash, count):
    ring = HashRing(4, hash_points=layout)
    replay(ring, history)
    walk = list(islice(ring.walk(key_hash), count))
    expected = []
    while (owner := ring.owner_of_hash(key_hash)) is not None:
        ring.remove(owner)
        expected.append(owner)
    assert walk == expected[:count]


@given(histories, layouts, key_hashes)
def test_the_point_of_a_hash_is_one_of_its_owner(history, layout, key_hash):
    ring = HashRing(4, hash_points=layout)
    members = replay(ring, history)
    found = ring.point_of_hash(key_hash)
    if not members:
        assert found is None
        return
    point, number = found
    owner = ring.owner_of_hash(key_hash)
    assert list(layout(owner, 4))[number] == point
    at_or_after = [p for p, _ in ring.points() if p >= key_hash]
    assert point == (min(at_or_after) if at_or_after else max(p for p, _ in ring.points()))


def test_points_of_counts_weight():
    ring = HashRing()
    ring.add("light")
    ring.add("heavy", points=600)
    assert [ring.points_of(name) for name in ("light", "heavy", "gone")] == [200, 600, 0]
