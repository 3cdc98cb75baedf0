"""The calls that have begun, by the session and number of their ask."""

from __future__ import annotations

from types import SimpleNamespace

from zfoo_py.router.begun import Begun


def call(sid=1, signal_id=1):
    return SimpleNamespace(session=SimpleNamespace(sid=sid), signal_id=signal_id)


def test_a_call_is_found_by_session_and_number_until_it_ends_or_is_taken():
    begun, one, two, elsewhere = Begun(), call(1, 1), call(1, 2), call(2, 1)
    for each in (one, two, elsewhere):
        begun.add(each, None)
    begun.add(two, "its task")
    assert len(begun) == 3
    assert begun.take(1, 2) == (two, "its task")
    assert begun.take(1, 2) is None
    begun.remove(one)
    assert begun.take(1, 1) is None
    assert begun.take(2, 1) == (elsewhere, None)
    begun.remove(elsewhere)
    assert len(begun) == 0


def test_what_is_no_ask_is_not_noted():
    """A packet sent one way, own work, and an ask that was given up meanwhile."""
    begun = Begun()
    for each in (call(1, 0), SimpleNamespace(session=None, signal_id=0)):
        begun.add(each, None)
        begun.remove(each)
    assert len(begun) == 0
