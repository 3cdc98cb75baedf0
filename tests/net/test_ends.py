"""Asks that end before their answer; what it looks like in a session is in test_session_actor_flow.py."""

from __future__ import annotations

from types import SimpleNamespace

from tests.support.packets import VisitAsk
from tests.support.sessions import World
from zfoo_py.errors import AskTimeoutError
from zfoo_py.net import ends
from zfoo_py.protocol.common import CAN_CANCEL


def test_cancels_are_told_in_frames_that_anybody_takes():
    able = SimpleNamespace(is_up=True, can=frozenset((CAN_CANCEL,)))
    told = list(ends.cancels(able, list(range(1, 2502))))
    assert [len(each.signal_ids) for each in told] == [ends.MAX_CANCELS, ends.MAX_CANCELS, 501]
    assert [number for each in told for number in each.signal_ids] == list(range(1, 2502))
    assert not list(ends.cancels(able, []))
    assert not list(ends.cancels(SimpleNamespace(is_up=True, can=frozenset()), [1]))
    assert not list(ends.cancels(SimpleNamespace(is_up=False, can=able.can), [1]))


def test_only_what_was_written_is_to_be_told():
    with World() as world:
        session = world.up()
        written = session.ask(in_s=1.0)
        [signal_id] = session.signal_ids()
        session.pause()
        parked = session.ask(VisitAsk("parked"), in_s=1.0)
        actor = session.actor
        assert ends.expire(session.session, actor._pending, actor.outbox, world.clock.time()) == []
        assert ends.expire(session.session, actor._pending, actor.outbox, world.clock.time() + 1.0) == [signal_id]
        errors = [call.answer.exception() for call in (written, parked)]
        assert [type(error) for error in errors] == [AskTimeoutError] * 2
        assert [error.may_have_run for error in errors] == [True, False]


def test_what_was_never_written_goes_back():
    with World() as world:
        session = world.up()
        written = session.ask(back=True)
        session.pause()
        parked = session.ask(back=True)
        ends.fail_all(session.session, session.actor._pending, session.actor.outbox, "cable")
        assert [back.order.call for back in world.consumer.told] == [parked]
        assert "cable" in str(written.answer.exception())
        assert len(session.actor._pending) == 0
