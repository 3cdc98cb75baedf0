"""Which keys a change moves is judged by the referee's ring; a wrong consumer does not pass."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samples.check_cluster import Ring
from samples.story_change import Change, explain, judge
from zfoo_py.consumer.ring import HashRing


def members(*numbers):
    """Return provider → ring name."""
    return {f"visits-{n}": f"visits-{n} | 127.0.0.1:{9000 + n} | provider:[visits-visits]" for n in numbers}


def owners(names, keys):
    """Return key → provider, by zfoo_py's own ring."""
    ring, by_name = HashRing(), {ring_name: name for name, ring_name in names.items()}
    for ring_name in by_name:
        ring.add(ring_name)
    return {key: by_name[ring.owner(key)] for key in keys}


KEYS = [f"10.0.{n >> 8}.{n & 255}" for n in range(500)]
THREE, TWO, FOUR = members(1, 2, 3), members(1, 3), members(1, 2, 3, 4)


def changed(event, provider, before, after, counted=100):
    """Return a change of which the consumer has heard."""
    change = Change(event, provider, begun_s=10.0)
    change.heard(10.003, before, owners(before, KEYS), counted)
    change.after = after
    return change


def moved(before, after):
    return sum(a != b for a, b in zip(owners(before, KEYS).values(), owners(after, KEYS).values(), strict=True))


@pytest.mark.parametrize(
    ("event", "provider", "before", "after"), [("killed", "visits-2", THREE, TWO), ("joined", "visits-4", THREE, FOUR)]
)
def test_a_right_change_is_exact(event, provider, before, after):
    change = changed(event, provider, before, after)
    number = moved(before, after)
    moves = judge(change, owners(after, KEYS), 100 + number)
    assert moves == (500, number, number, 0, 0)
    assert moves.exact
    assert 0 < number < 500
    assert change.cause == {"killed": "provider_down", "joined": "provider_up"}[event]


def test_keys_that_were_forgotten_meanwhile_or_are_new_change_nothing():
    change = changed("killed", "visits-2", THREE, TWO)
    now = {key: owner for key, owner in owners(TWO, KEYS).items() if not key.endswith("7")} | {"new": "visits-1"}
    assert judge(change, now, 100 + moved(THREE, TWO)).exact


def test_a_key_that_moved_without_need_a_key_that_did_not_and_a_wrong_count_are_seen():
    change = changed("killed", "visits-2", THREE, TWO)
    number = moved(THREE, TWO)
    right = owners(TWO, KEYS)
    kept = next(key for key in KEYS if change.owners[key] == "visits-1")
    due = next(key for key in KEYS if change.owners[key] == "visits-2")
    assert judge(change, right | {kept: "visits-3"}, 100 + number) == (500, number, number, 1, 0)
    assert judge(change, right | {due: "visits-2"}, 100 + number) == (500, number, number, 0, 1)
    assert judge(change, right, 101 + number) == (500, number + 1, number, 0, 0)
    assert not judge(change, right | {kept: "visits-3"}, 100 + number).exact
    assert not judge(change, right | {due: "visits-2"}, 100 + number).exact
    assert not judge(change, right, 101 + number).exact


def test_the_first_answer_is_of_a_moved_key_and_from_its_new_owner():
    change = Change("killed", "visits-2", 10.0)
    change.answered(10.001, "b", "visits-1")  # nobody has noticed yet
    change.heard(10.003, THREE, {"a": "visits-1", "b": "visits-2"}, 0)
    change.answered(10.004, "a", "visits-1")  # did not move
    change.answered(10.005, "b", "visits-2")  # was on its way when it died
    change.answered(10.006, "unknown", "visits-3")
    assert change.first_answer_s is None
    change.answered(10.007, "b", "visits-3")
    change.answered(10.008, "b", "visits-3")
    assert (change.noticed_s, change.first_answer_s, change.first_key) == (10.003, 10.007, "b")


def test_the_first_answer_of_one_who_joined_is_its_own():
    change = Change("joined", "visits-4", 10.0)
    change.heard(10.5, THREE, {"a": "visits-1", "b": "visits-2"}, 0)
    change.answered(10.6, "a", "visits-3")
    assert change.first_answer_s is None
    change.answered(10.7, "a", "visits-4")
    assert change.first_key == "a"


@given(st.text(min_size=1, max_size=20), st.sampled_from([(THREE, TWO), (THREE, FOUR), (TWO, THREE)]))
def test_an_explanation_names_the_owners_and_the_points_that_decide(key, change):
    before, after = change
    found = explain(key, before, after)
    for names, owner, point in ((before, found.old_owner, found.old_point), (after, found.new_owner, found.new_point)):
        ring = Ring(names.values())
        assert names[owner] == ring.owner(key)
        assert point in ring.hashes
        between = [other for other in ring.hashes if found.key_hash <= other < point]
        assert not between
        assert point >= found.key_hash or point == ring.hashes[-1]
