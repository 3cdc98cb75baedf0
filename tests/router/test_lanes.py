"""Lanes: in order, one at a time, and nobody waits for another lane."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zfoo_py.consumer.hashing import task_hash
from zfoo_py.router.lanes import Lanes, lane_of_sid, lane_of_uid


@pytest.mark.parametrize("uid", [1, 7, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 5, 2**63 - 1])
def test_a_user_s_lane_is_that_of_the_key(uid):
    """So a user's own packets and those asked with ``key=uid`` share one lane."""
    assert lane_of_uid(uid) == task_hash(uid)
    assert -(2**31) <= lane_of_uid(uid) < 2**31


def test_lanes_of_sessions_are_a_space_of_their_own():
    """No key's hash can fall on a session's lane."""
    assert len({lane_of_sid(sid) for sid in range(1, 1000)}) == 999
    assert all(lane_of_sid(sid) < -(2**31) for sid in (1, 2, 2**40))


def test_a_free_lane_lets_pass_and_a_held_one_does_not():
    """Other lanes do not notice."""
    lanes = Lanes()
    assert lanes.holders(1) == []
    lanes.hold(1, "a")
    assert lanes.holders(1) == ["a"]
    assert lanes.holders(2) == []
    assert len(lanes) == 1


def test_the_first_that_waits_gets_the_lane_and_holds_it():
    """So nothing can slip in between, and an empty lane is forgotten."""
    lanes = Lanes()
    lanes.hold(1, "first")
    for name in "abc":
        lanes.wait(1, name)
    assert lanes.release(1, "first") == "a"
    assert lanes.holders(1) == ["a"]
    lanes.wait(1, "d")
    assert [lanes.release(1, name) for name in "abcd"] == ["b", "c", "d", None]
    assert len(lanes) == 0
    assert lanes.holders(1) == []


def test_with_two_holders_both_must_let_go():
    """A reentrant receiver is the second one."""
    lanes = Lanes()
    lanes.hold(1, "one")
    lanes.hold(1, "two")
    assert lanes.holders(1) == ["one", "two"]
    lanes.wait(1, "a")
    assert lanes.release(1, "one") is None
    assert lanes.release(1, "two") == "a"
    assert lanes.release(1, "a") is None
    assert len(lanes) == 0


def test_what_waits_can_be_dropped():
    """What was meant is returned; the others keep their order, and nobody else moves up."""
    lanes = Lanes()
    for lane in (1, 2):
        lanes.hold(lane, "holder")
        for name in "abc":
            lanes.wait(lane, f"{name}{lane}")
    assert lanes.drop(lambda work: work in {"b1", "a2", "holder", "z"}) == ["b1", "a2"]
    assert [lanes.release(1, work) for work in ("holder", "a1", "c1")] == ["a1", "c1", None]
    assert [lanes.release(2, work) for work in ("holder", "b2", "c2")] == ["b2", "c2", None]


def test_what_waits_can_be_taken_at_the_end():
    """Each once."""
    lanes = Lanes()
    for lane, name in [(1, "a"), (2, "b"), (1, "c")]:
        lanes.hold(lane, "holder")
        lanes.wait(lane, name)
    assert sorted(lanes.take_waiting()) == ["a", "b", "c"]
    assert lanes.take_waiting() == []


class Model:
    """The rules of the dispatcher, without packets: admit what is ready; some suspend, some end at once."""

    def __init__(self):
        self.lanes = Lanes()
        self.ready = deque()
        self.running = []
        self.log = []

    def admit_all(self, suspends):
        while self.ready:
            work = self.ready.popleft()
            number, lane, is_reentrant = work
            handed = work in self.handed
            if not handed and not is_reentrant and self.lanes.holders(lane):
                self.lanes.wait(lane, work)
                continue
            self.log.append(("start", number))
            if number in suspends:
                if not handed:
                    self.lanes.hold(lane, work)
                self.handed.add(work)
                self.running.append(work)
            else:
                self.end(work)

    def end(self, work):
        self.log.append(("end", work[0]))
        if work in self.handed:
            self.handed.discard(work)
            following = self.lanes.release(work[1], work)
            if following is not None:
                self.handed.add(following)
                self.ready.appendleft(following)

    handed: set


@given(
    st.lists(st.tuples(st.integers(1, 3), st.booleans(), st.booleans()), max_size=25),
    st.lists(st.integers(0, 100), max_size=60),
)
def test_any_interleaving_keeps_equal_lanes_in_order_and_others_apart(calls, choices):
    """Calls come and suspended ones end, in any order."""
    model = Model()
    model.handed = set()
    suspends = {number for number, (_, does, _) in enumerate(calls) if does}
    lane_of = {number: lane for number, (lane, _, _) in enumerate(calls)}
    reentrant = {number for number, (_, _, is_reentrant) in enumerate(calls) if is_reentrant}
    coming = deque((number, lane, is_reentrant) for number, (lane, _, is_reentrant) in enumerate(calls))
    for choice in [*choices, *[0] * 200]:
        if coming and choice % 2:
            model.ready.append(coming.popleft())
        elif model.running:
            model.end(model.running.pop(choice % len(model.running)))
        elif coming:
            model.ready.append(coming.popleft())
        model.admit_all(suspends)
        open_lanes = {lane for _, lane, _ in model.running}
        arrived = set(lane_of) - {number for number, _, _ in coming}
        started = {number for what, number in model.log if what == "start"}
        assert all(lane_of[number] in open_lanes for number in arrived - started), "waits for a lane of its own only"
    assert {number for what, number in model.log if what == "end"} == set(lane_of), "everything has run"
    assert len(model.lanes) == 0, "nothing is left held"
    for lane in (1, 2, 3):
        gated = [(what, n) for what, n in model.log if lane_of[n] == lane and n not in reentrant]
        numbers = [n for what, n in gated if what == "start"]
        assert numbers == sorted(numbers), "in order"
        assert gated == [(what, n) for n in numbers for what in ("start", "end")], "one at a time"
