"""How asks and sends end badly: each error has its sentence, its facts, and an honest `may_have_run`."""

from __future__ import annotations

import pytest

from tests.support.packets import PageAnswer, VisitNote
from tests.support.sessions import PROVIDER, World
from zfoo_py import errors
from zfoo_py.net import failures
from zfoo_py.net import messages as m
from zfoo_py.protocol.common import Error, ErrorCode

FACTS = ("visits", "VisitAsk", PROVIDER, 1)


@pytest.mark.parametrize(
    ("make", "kind", "may_have_run", "text"),
    [
        (lambda o, s: failures.refused(o, Error(1, "boom"), s), errors.RemoteError, True, "error 1: boom"),
        (lambda o, s: failures.refused(o, Error(ErrorCode.OVERLOADED, "b"), s), errors.RemoteError, False, "error 5"),
        (lambda o, s: failures.refused(o, Error(77, "mine"), s), errors.RemoteError, True, "error 77: mine"),
        (lambda o, s: failures.unexpected(o, PageAnswer(""), s), errors.UnexpectedPacketError, True, "PageAnswer"),
        (lambda o, s: failures.timed_out(o, s, written=True), errors.AskTimeoutError, True, PROVIDER),
        (lambda o, s: failures.timed_out(o, s, written=False), errors.AskTimeoutError, False, "was not written"),
        (lambda o, s: failures.lost_in_flight(o, s, "cable"), errors.SessionClosedError, True, "cable"),
        (lambda o, s: failures.too_many_pending(o, s, 9), errors.BackpressureError, False, "9 asks are in flight"),
        (lambda o, s: failures.too_large(o, s, 9), errors.EncodeError, False, "at most 9"),
        (lambda o, s: failures.java_error(o, Error(7, "mine"), s), errors.RemoteError, True, "error 7: mine"),
        (
            lambda o, s: failures.cannot_encode(o, errors.EncodeError("VisitAsk.who: no"), s),
            errors.EncodeError,
            False,
            "VisitAsk.who: no (",
        ),
    ],
)
def test_errors_of_asks(make, kind, may_have_run, text):
    with World() as world:
        session = world.up().session
        error = make(m.Outbound(world.call(), None, PROVIDER), session)
        assert type(error) is kind
        assert error.may_have_run is may_have_run
        assert text in str(error)
        assert "VisitAsk" in str(error) or kind is errors.BackpressureError
        assert (error.module, error.packet, error.provider, error.sid) == FACTS


def test_an_ask_that_was_written_before_may_have_run_whatever_becomes_of_it_now():
    with World() as world:
        session = world.up()
        call = m.AskRecord(**{**{f: getattr(world.call(), f) for f in m.AskRecord.__struct_fields__}, "tries": 1})
        again = m.AskRecord(**{**{f: getattr(call, f) for f in call.__struct_fields__}, "may_have_run": True})
        error = failures.timed_out(m.Outbound(again, None, PROVIDER), session.session, written=False)
        assert error.may_have_run


def test_an_ask_that_the_peer_does_not_serve_goes_back_to_who_picked_it():
    with World() as world:
        session = world.up().session
        picked, direct = world.call(back=True), world.call()
        for call in (picked, direct):
            failures.refuse(m.Outbound(call, None, PROVIDER), Error(ErrorCode.NOT_SERVED, "no"), session)
        assert isinstance(direct.answer.exception(), errors.RemoteError)
        assert not picked.answer.done()
        [back] = world.consumer.told
        assert (back.call, back.provider, back.error.code, back.error.may_have_run) == (picked, PROVIDER, 3, False)
        other = world.call(back=True)
        failures.refuse(m.Outbound(other, None, PROVIDER), Error(ErrorCode.BAD_PACKET, "no"), session)
        assert isinstance(other.answer.exception(), errors.RemoteError)


def test_sends_that_fail_tell_whoever_waits_and_the_node():
    with World() as world:
        session = world.up()
        full, large = session.make_send(VisitNote("a")), session.make_send(VisitNote("b"))
        failures.fail_send(full, failures.outbox_full(full, session.session))
        failures.fail_send(large, failures.send_too_large(large, session.session, 3))
        odd = session.make_send(VisitNote("c"))
        failures.fail_send(odd, failures.send_cannot_encode(odd, errors.EncodeError("no"), session.session))
        assert isinstance(odd.sent.exception(), errors.EncodeError)
        assert isinstance(full.sent.exception(), errors.BackpressureError)
        assert isinstance(large.sent.exception(), errors.EncodeError)
        for error in (full.sent.exception(), large.sent.exception(), odd.sent.exception()):
            assert not error.may_have_run
            assert (error.module, error.packet, error.sid) == ("visits", "VisitNote", 1)
        assert [names[:2] for names in world.undelivered] == [("VisitNote", "visits")] * 3


def test_what_was_never_written_goes_to_who_picks_again_or_fails():
    with World() as world:
        session = world.up()
        call, alone = world.call(back=True), world.call()
        failures.return_outbound(m.Outbound(call, None, PROVIDER), "why")
        failures.return_outbound(m.Outbound(alone, None, PROVIDER), "why")
        [back] = world.consumer.told
        assert (back.order.call, back.reason) == (call, "why")
        error = alone.answer.exception()
        assert isinstance(error, errors.SessionClosedError)
        assert not error.may_have_run
        assert "VisitAsk was not sent: why" in str(error)
        send = session.make_send(VisitNote("x"))
        failures.return_send(send, "why")
        assert "VisitNote was not sent: why" in str(send.sent.exception())
        assert world.undelivered == [("VisitNote", "visits", "VisitNote was not sent: why")]
