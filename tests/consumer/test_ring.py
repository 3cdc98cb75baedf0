"""The ring: Java's golden owners, and that its history leaves no trace."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sortedcontainers import SortedList

from zfoo_py.consumer.hashing import fnv_hash, point_hashes
from zfoo_py.consumer.ring import VIRTUAL_NODES, HashRing

SETS = json.loads((Path(__file__).parent.parent / "data" / "ring.json").read_text())["sets"]
HASHES = 2**31
NAMES = [f"app | 10.0.0.{number}:12400 | provider:[visits-visits]" for number in range(12)]

# Names whose order differs between Java (UTF-16 units) and Python (code points), and ordinary ones.
names = st.sampled_from(["a", "b", "c", "aa", "é", "\uffff", "\U00010000", "\ud800", ""])
# (adds?, name): a history in which impossible steps are skipped.
histories = st.lists(st.tuples(st.booleans(), names), max_size=30)
key_hashes = st.integers(0, HASHES - 1)


def crowded(name, count):
    """Points that often coincide, of one provider and of several: 16 places in all, at both ends and between."""
    return [(point_hash % 16) * (HASHES // 15 - 1) for point_hash in point_hashes(name, count)]


def truth(members, hash_points, count=VIRTUAL_NODES):
    """A full build after zfoo's rule: ascending in Java's order, the later provider overwrites."""
    points = {}
    for name in sorted(members, key=lambda name: name.encode("utf-16-be", "surrogatepass")):
        for point in hash_points(name, count):
            points[point] = name
    return points


def owner_in(points, key_hash):
    if not points:
        return None
    at_or_after = [point for point in points if point >= key_hash]
    return points[min(at_or_after) if at_or_after else max(points)]


def interesting_hashes(points):
    """On, before and after every point, at the ends, and around the edges of equal slices."""
    near = {point + step for point in points for step in (-1, 0, 1)}
    edges = {(edge << 22) + step for edge in range(513) for step in (-1, 0, 1)}
    return sorted(each for each in near | edges | {0, HASHES - 1} if 0 <= each < HASHES)


def replay(ring, history):
    members = set()
    for adds, name in history:
        if adds and name not in members:
            ring.add(name)
            members.add(name)
        elif not adds and name in members:
            ring.remove(name)
            members.remove(name)
    return members


# ------------------------------------------------------------------------------------------------- golden


@pytest.mark.parametrize("golden", SETS, ids=lambda golden: golden["name"])
def test_owners_are_javas(golden):
    ring = HashRing(golden["virtualNodesPerProvider"])
    for name in golden["providers"]:
        ring.add(name)
    assert len(ring) == golden["ringSize"]
    assert ring.providers == tuple(sorted(golden["providers"]))
    for key in golden["keys"]:
        assert fnv_hash(key["key"]) == key["hash"]
        assert ring.owner(key["key"]) == key["owner"], key
    beyond = [key for key in golden["keys"] if key.get("beyondLast")]
    assert all(key["owner"] == golden["ownerOfLast"] for key in beyond)
    for point, number in golden.get("ring", ()):
        assert ring.owner_of_hash(point) == golden["sortedProviders"][number]
    assert ring.owner_of_hash(0) == golden["ownerOfFirst"]
    assert ring.owner_of_hash(golden["maxRingKey"]) == golden["ownerOfLast"]


def test_the_golden_sets_tell_clamping_from_wrapping():
    """Else the test above could not fail for a ring that wraps around."""
    assert sum("wrapToFirstOwner" in key for golden in SETS for key in golden["keys"]) >= 10


# ------------------------------------------------------------------------------------------------- history


@pytest.mark.parametrize("hash_points", [crowded, point_hashes], ids=["crowded", "real"])
@given(history=histories)
def test_any_history_equals_a_full_build(hash_points, history):
    count = 5 if hash_points is crowded else 20
    ring = HashRing(count, hash_points=hash_points)
    members = replay(ring, history)
    expected = truth(members, hash_points, count)
    assert dict(ring.points()) == expected
    assert list(ring.points()) == sorted(ring.points())
    assert len(ring) == len(expected)
    assert ring.providers == tuple(sorted(members))
    assert [ring.owner_of_hash(each) for each in interesting_hashes(expected)] == [
        owner_in(expected, each) for each in interesting_hashes(expected)
    ]


@given(history=histories)
def test_nothing_is_left_of_those_who_left(history):
    ring = HashRing(5, hash_points=crowded)
    for name in replay(ring, history):
        ring.remove(name)
    assert len(ring) == 0
    assert ring.providers == ()
    assert not ring._claimants
    assert not ring._points_of
    assert not any(ring._bucket_points)
    assert all(owners == [None] for owners in ring._bucket_owners)
    assert ring.owner("anything") is None


def test_a_contested_point_goes_to_the_last_in_javas_order():
    ring = HashRing(1, hash_points=lambda _name, _count: [7])
    first, last = "\U00010000", "\uffff"  # as code points the other way round
    assert last < first
    ring.add(last)
    ring.add(first)
    assert ring.owner_of_hash(0) == last
    ring.remove(last)
    assert ring.owner_of_hash(0) == first
    assert len(ring) == 1


@given(st.lists(st.sampled_from(NAMES), unique=True, min_size=1), st.lists(key_hashes, max_size=50))
def test_a_change_moves_only_the_keys_of_who_came_or_went(members, hashes):
    *others, newcomer = members
    ring = HashRing()
    for name in others:
        ring.add(name)
    before = [ring.owner_of_hash(each) for each in hashes]
    ring.add(newcomer)
    for old, new in zip(before, map(ring.owner_of_hash, hashes), strict=True):
        assert new in (old, newcomer)
    ring.remove(newcomer)
    assert list(map(ring.owner_of_hash, hashes)) == before


def test_a_newcomer_takes_about_its_share():
    ring = HashRing()
    for name in NAMES[:9]:
        ring.add(name)
    rng = random.Random(7)
    hashes = [rng.randrange(HASHES) for _ in range(20_000)]
    ring.add(NAMES[9])
    share = sum(ring.owner_of_hash(each) == NAMES[9] for each in hashes) / len(hashes)
    assert 0.07 < share < 0.13


@given(history=histories)
def test_the_version_changes_with_every_change_and_only_then(history):
    ring = HashRing(3)
    assert ring.points_version == 0
    members = set()
    for adds, name in history:
        before = ring.points_version
        if adds == (name in members):
            with pytest.raises(ValueError, match="in the ring"):
                (ring.add if adds else ring.remove)(name)
            assert ring.points_version == before
        else:
            (ring.add if adds else ring.remove)(name)
            members ^= {name}
            assert ring.points_version == before + 1
        ring.owner("some key")
    assert set(ring.providers) == members


# ------------------------------------------------------------------------------------------------- details


def test_points_live_in_sorted_lists():
    ring = HashRing()
    ring.add("one")
    ring.add("two")
    assert all(type(points) is SortedList for points in ring._points_of.values())
    assert [point for point, _ in ring.points()] == sorted([*point_hashes("one", 200), *point_hashes("two", 200)])


def test_weight_is_more_points_of_the_same_row():
    ring = HashRing()
    ring.add("light")
    ring.add("heavy", points=600)
    heavy = {point for point, name in ring.points() if name == "heavy"}
    assert heavy == set(point_hashes("heavy", 600))
    assert heavy > set(point_hashes("heavy", 200))
    ring.remove("heavy")
    assert len(ring) == 200


def test_names_are_hashed_unchanged():
    ring = HashRing()
    ring.add("  A name | with - marks\u3000")
    assert {point for point, _ in ring.points()} == {
        fnv_hash(f"  A name | with - marks\u3000&&VN{number}") for number in range(200)
    }


def test_membership_test():
    ring = HashRing()
    ring.add("here")
    assert "here" in ring
    assert "there" not in ring


@pytest.mark.parametrize("name", [None, 7, b"bytes"])
def test_only_texts_are_added(name):
    ring = HashRing()
    with pytest.raises(TypeError, match="a ring holds names"):
        ring.add(name)
    assert ring.points_version == len(ring) == 0


@pytest.mark.parametrize("points", [0, -1])
def test_a_provider_without_points_is_refused(points):
    ring = HashRing()
    with pytest.raises(ValueError, match="at least 1 point"):
        ring.add("none", points=points)
    with pytest.raises(ValueError, match="at least 1 virtual node"):
        HashRing(points)
    assert "none" not in ring


def test_a_key_that_is_not_allowed_is_refused():
    ring = HashRing()
    ring.add("one")
    with pytest.raises(TypeError, match="a key cannot be list"):
        ring.owner(["a"])


@given(st.lists(names, unique=True), st.sampled_from([crowded, point_hashes]), key_hashes)
def test_a_walk_names_all_in_the_order_in_which_they_would_own_the_hash(members, hash_points, key_hash):
    ring = HashRing(5, hash_points=hash_points)
    for name in members:
        ring.add(name)
    walked = list(ring.walk(key_hash))
    expected = []
    while len(ring):
        expected.append(ring.owner_of_hash(key_hash))
        ring.remove(expected[-1])
    assert walked == expected


def shares(weights, seed):
    """The share of the hash space of each weight's providers, over what it should be."""
    rng = random.Random(seed)
    ring, weight_of, owned = HashRing(), {}, dict.fromkeys(set(weights), 0)
    for number, weight in enumerate(weights):
        name = f"app-{number} | 10.0.{rng.randrange(256)}.{rng.randrange(256)}:9000 | provider:[visits-visits]"
        ring.add(name, VIRTUAL_NODES * weight)
        weight_of[name] = weight
    before, last = -1, 0
    for point, name in ring.points():
        owned[weight_of[name]] += point - before
        before, last = point, weight_of[name]
    owned[last] += HASHES - 1 - before
    fair = {weight: weight * weights.count(weight) / sum(weights) for weight in owned}
    return {weight: length / HASHES / fair[weight] for weight, length in owned.items()}


@pytest.mark.parametrize("each", [1, 2, 4])
def test_weights_1_2_4_get_their_shares(each):
    """R4, over 200 memberships of 3, 6 and 12 providers."""
    found = [shares([1, 2, 4] * each, seed) for seed in range(200)]
    for weight in (1, 2, 4):
        assert abs(sum(one[weight] for one in found) / len(found) - 1) <= 0.02
    assert sum(all(abs(share - 1) <= 0.15 for share in one.values()) for one in found) >= 0.95 * len(found)
