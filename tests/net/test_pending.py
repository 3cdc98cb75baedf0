"""Asks in flight: every one ends, in time, once."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zfoo_py.net.pending import MAX_SIGNAL_ID, Pending


def ask(deadline_s, is_default=True):
    return SimpleNamespace(call=SimpleNamespace(deadline_s=deadline_s, is_default_timeout=is_default))


def test_an_ask_is_taken_once():
    pending = Pending(10)
    one, two = ask(1.0), ask(2.0, is_default=False)
    ids = pending.add(one), pending.add(two)
    assert len(pending) == 2
    assert all(0 < each <= MAX_SIGNAL_ID for each in ids)
    assert len(set(ids)) == 2
    assert pending.holds(ids[0])
    assert pending.take(ids[0]) is one
    assert pending.take(ids[0]) is None
    assert not pending.holds(ids[0])
    assert pending.take(ids[1]) is two
    assert len(pending) == 0
    assert pending.next_deadline_s() is None


def test_what_was_never_asked_is_not_there():
    pending = Pending(10)
    pending.add(ask(1.0))
    for signal_id in (0, 1, 4, -2, MAX_SIGNAL_ID):
        assert pending.take(signal_id) is None


def test_the_limit_counts_both_kinds():
    pending = Pending(2)
    pending.add(ask(1.0))
    signal_id = pending.add(ask(1.0, is_default=False))
    assert [pending.add(ask(1.0, is_default)) for is_default in (True, False)] == [0, 0]
    assert len(pending) == 2
    pending.take(signal_id)
    assert pending.add(ask(1.0))


@pytest.mark.parametrize("is_default", [True, False])
def test_signal_ids_wrap_and_skip_those_in_flight(is_default):
    pending = Pending(100)
    old = [pending.add(ask(1.0, is_default)) for _ in range(3)]
    pending.take(old[1])
    pending._last_even = pending._last_odd = MAX_SIGNAL_ID - (1 if is_default else 2)
    around = [pending.add(ask(1.0, is_default)) for _ in range(3)]
    assert len({old[0], old[2], *around}) == 5
    assert all(0 < each <= MAX_SIGNAL_ID for each in around)
    assert old[1] in around, "an id that is free again is used again"
    assert {each % 2 for each in around} == {old[0] % 2}


def test_expiry_takes_exactly_what_is_due():
    pending = Pending(100)
    early, late = ask(1.0), ask(3.0)
    own_early, own_late = ask(0.5, is_default=False), ask(9.0, is_default=False)
    for each in (early, own_late, late, own_early):
        pending.add(each)
    assert pending.next_deadline_s() == 0.5
    assert pending.expire(0.4) == []
    assert pending.expire(0.5) == [own_early]
    assert pending.next_deadline_s() == 1.0
    assert pending.expire(2.0) == [early]
    assert pending.next_deadline_s() == 3.0
    assert pending.expire(100.0) == [late, own_late]
    assert len(pending) == 0


def test_an_id_that_is_used_again_does_not_inherit_a_deadline():
    """The heap still holds the deadline of the ask that had this id before."""
    pending = Pending(100)
    first = pending.add(ask(1.0, is_default=False))
    pending.take(first)
    pending._last_odd = -1
    again = ask(5.0, is_default=False)
    assert pending.add(again) == first
    assert pending.expire(4.9) == []
    assert pending.next_deadline_s() == 5.0
    assert pending.expire(5.0) == [again]


def test_answered_asks_with_timeouts_of_their_own_leave_no_heap_behind():
    pending = Pending(10)
    for number in range(10_000):
        pending.take(pending.add(ask(1000.0 + number, is_default=False)))
    assert len(pending._heap) < 100
    assert len(pending) == 0


def test_taking_all_leaves_nothing():
    pending = Pending(100)
    asks = [ask(float(number), number % 2 == 0) for number in range(10)]
    for each in asks:
        pending.add(each)
    assert {id(each) for each in pending.take_all()} == {id(each) for each in asks}
    assert (len(pending), pending.next_deadline_s(), pending.expire(100.0)) == (0, None, [])


steps = st.lists(
    st.one_of(
        st.tuples(st.just("default"), st.floats(0, 2)),
        st.tuples(st.just("own"), st.floats(0.01, 20)),
        st.tuples(st.just("answer"), st.integers(0, 30)),
        st.tuples(st.just("pass"), st.floats(0, 5)),
    ),
    max_size=60,
)


@given(steps)
def test_every_ask_ends_exactly_once_and_never_early_or_late(steps):
    """Against a plain model: whatever is asked, answered and waited for, both hold the same asks."""
    pending, model, now_s = Pending(1000), {}, 0.0
    for what, value in steps:
        if what == "default":
            now_s += value
            one = ask(now_s + 3.0)
            model[pending.add(one)] = one
        elif what == "own":
            one = ask(now_s + value, is_default=False)
            model[pending.add(one)] = one
        elif what == "answer" and model:
            signal_id = sorted(model)[value % len(model)]
            assert pending.take(signal_id) is model.pop(signal_id)
        elif what == "pass":
            now_s += value
        due = {sid: one for sid, one in model.items() if one.call.deadline_s <= now_s}
        assert {id(one) for one in pending.expire(now_s)} == {id(one) for one in due.values()}
        model = {sid: one for sid, one in model.items() if sid not in due}
        assert len(pending) == len(model)
        assert pending.next_deadline_s() == min((one.call.deadline_s for one in model.values()), default=None)
