"""Asks that wait for room."""

from __future__ import annotations

from types import SimpleNamespace

from zfoo_py.net.parked import Parked
from zfoo_py.net.pending import Pending


def park(*names):
    """Return pending asks and the parked ones, one for each name."""
    pending, parked, asks = Pending(100), Parked(), {}
    for name in names:
        asks[name] = SimpleNamespace(call=SimpleNamespace(deadline_s=1.0, is_default_timeout=True))
        signal_id = pending.add(asks[name])
        asks[name].signal_id = signal_id
        parked.add(signal_id, name.encode(), asks[name])
    return pending, parked, asks


def test_they_come_out_in_order_and_stay_pending():
    pending, parked, asks = park("a", "b", "c")
    assert [parked.next_frame(pending) for _ in range(4)] == [b"a", b"b", b"c", None]
    assert len(parked) == 0
    assert all(pending.holds(ask.signal_id) for ask in asks.values())


def test_those_that_ended_meanwhile_are_never_written():
    pending, parked, asks = park("a", "b", "c")
    pending.take(asks["a"].signal_id)
    pending.take(asks["c"].signal_id)
    assert parked.next_frame(pending) == b"b"
    assert parked.next_frame(pending) is None


def test_what_is_late_says_whether_it_was_written_and_the_others_stay_in_order():
    pending, parked, asks = park("a", "b", "c", "d")
    assert parked.next_frame(pending) == b"a"
    for name in "ab":
        asks[name].call.deadline_s = 0.5
    pending.take(asks["c"].signal_id)
    assert parked.expire(pending, 0.7) == [(asks["a"], True), (asks["b"], False)]
    assert len(parked) == 1
    assert parked.next_frame(pending) == b"d"


def test_taking_all_takes_them_out_of_pending_and_leaves_the_written_ones_there():
    pending, parked, asks = park("a", "b", "c")
    parked.next_frame(pending)
    pending.take(asks["b"].signal_id)
    assert list(parked.take_all(pending)) == [asks["c"]]
    assert len(parked) == 0
    assert pending.take_all() == [asks["a"]]
