"""The states of a session, line by line, and the handle that receivers get."""

from __future__ import annotations

from itertools import product

import pytest

from tests.support.packets import VisitNote
from tests.support.sessions import World
from zfoo_py.errors import BackpressureError, EncodeError, IllegalTransitionError, SessionClosedError
from zfoo_py.net import messages as m
from zfoo_py.net.session import TRANSITIONS, SessionEvent, SessionState, advance

S, E = SessionState, SessionEvent

# Written out again: a line that is changed must be changed on purpose.
LEGAL = {
    (S.CONNECTING, E.OPENED): S.HELLO,
    (S.CONNECTING, E.LOST): S.DOWN,
    (S.HELLO, E.WELCOMED): S.UP,
    (S.HELLO, E.LOST): S.DOWN,
    (S.UP, E.DRAIN): S.DRAINING,
    (S.UP, E.LOST): S.DOWN,
    (S.DRAINING, E.DRAIN): S.DRAINING,
    (S.DRAINING, E.LOST): S.DOWN,
    (S.DOWN, E.LOST): S.DOWN,
    (S.DOWN, E.DRAIN): S.DOWN,
}


@pytest.mark.parametrize(("state", "event"), list(product(SessionState, SessionEvent)))
def test_every_pair_is_in_the_table_or_raises(state, event):
    if (state, event) in LEGAL:
        assert advance(state, event) is LEGAL[state, event]
    else:
        with pytest.raises(IllegalTransitionError, match=f"{state.name}.*{event.name}"):
            advance(state, event)


def test_every_state_can_end_and_nothing_leaves_down():
    assert all(TRANSITIONS[state, E.LOST] is S.DOWN for state in SessionState)
    assert {after for (state, _), after in TRANSITIONS.items() if state is S.DOWN} == {S.DOWN}


def test_send_pushes_with_no_attachment():
    with World() as world:
        session = world.up("server")
        session.session.send(VisitNote("hi"))
        world.runtime.drain()
        assert session.written() == [(VisitNote("hi"), None)]
        assert session.session.node == "the node"


def test_send_of_what_cannot_be_encoded_raises_at_the_call_and_sends_nothing():
    with World() as world:
        session = world.up("server")
        with pytest.raises(EncodeError, match=r"VisitNote\.text"):
            session.session.send(VisitNote(3))
        world.runtime.drain()
        assert session.written() == []


def test_send_bind_and_close_on_a_closed_session():
    """The first two say that nothing was done; closing twice is harmless."""
    with World() as world:
        session = world.up("server")
        session.session.close()
        world.runtime.drain()
        assert session.is_closed
        with pytest.raises(SessionClosedError, match="VisitNote was not sent") as caught:
            session.session.send(VisitNote("late"))
        assert not caught.value.may_have_run
        with pytest.raises(SessionClosedError, match="uid 7 was not bound"):
            session.session.bind_uid(7)
        assert session.session.uid == 0
        session.session.close()


def test_send_before_the_hello_is_refused():
    with World() as world:
        session = world.session("server")
        with pytest.raises(SessionClosedError):
            session.session.send(VisitNote("early"))


def test_send_is_refused_at_the_call_while_the_outbox_is_full():
    with World() as world:
        session = world.up("server")
        session.pause()
        with pytest.raises(BackpressureError, match="VisitNote was not sent") as caught:
            session.session.send(VisitNote("x"))
        assert (caught.value.module, caught.value.packet, caught.value.sid) == ("visits", "VisitNote", 1)
        session.resume()
        session.session.send(VisitNote("y"))
        world.runtime.drain()
        assert session.packets() == [VisitNote("y")]


@pytest.mark.parametrize("uid", [0, -1, 1 << 63, True, "7", 1.0, None])
def test_a_uid_that_is_none_is_refused(uid):
    with World() as world:
        session = world.up("server")
        with pytest.raises(ValueError, match="uid"):
            session.session.bind_uid(uid)
        assert session.session.uid == 0


def test_bind_uid_is_told_to_the_registry():
    with World() as world:
        session = world.up("server")
        session.session.bind_uid((1 << 63) - 1)
        world.runtime.drain()
        assert session.session.uid == (1 << 63) - 1
        assert world.registry.of(m.BindUid) == [m.BindUid(1, (1 << 63) - 1)]


def test_repr_names_peer_and_kind():
    with World() as world:
        session = world.session("server").session
        assert repr(session) == "<Session 1 server ? 10.0.0.1:1111>"
        assert repr(world.up("client").session) == "<Session 2 client them 10.0.0.1:1111>"
