"""A session with a Java peer from its beginning to its end, on the fake clock: zfoo.md section 7."""

from __future__ import annotations

import msgspec
import pytest

from tests.support.packets import TABLE, VisitAnswer, VisitAsk
from tests.support.sessions import PROVIDER, SessionUnderTest, World
from zfoo_py.errors import SessionClosedError
from zfoo_py.net import messages as m
from zfoo_py.net.foreign_session_actor import IDLE_S, LOOK_S, QUIET_S, SILENT_S, ForeignSessionActor
from zfoo_py.protocol import zfoo_java_codec
from zfoo_py.protocol.attachment import NoAnswerAttachment, SignalAttachment
from zfoo_py.protocol.common import Error, Heartbeat
from zfoo_py.protocol.foreign_codec import foreign_codec
from zfoo_py.protocol.framing import frame

CLIENT_SIDE = "10.0.0.1:1111"


class JavaSession(SessionUnderTest):
    """A session actor whose peer speaks Java's codec."""

    def __init__(self, world, side, announced=PROVIDER):
        self.downs = []
        super().__init__(world, side, announced if side == "client" else None, self.downs.append)

    def spawn(self, *arguments):
        return self.world.runtime.spawn(ForeignSessionActor, foreign_codec("zfoo-java", self.world.codec), *arguments)

    def says(self, packet, attachment=None):
        self.receive(frame(zfoo_java_codec.encode(packet, attachment, TABLE)))

    def written(self):
        decoded = [zfoo_java_codec.decode(body, TABLE) for body in self.connection.bodies()]
        self.connection.writes.clear()
        return decoded

    def later(self, seconds):
        for _ in range(round(seconds * 10)):
            self.world.clock.advance(0.1)
            self.tell()

    def went_down(self):
        return [fact for fact in self.downs if isinstance(fact, m.SessionDown)]


def up(world, side="client"):
    """Return a session that is up and as old as its last look, without what led there."""
    session = JavaSession(world, side)
    if side == "client":
        session.later(QUIET_S)
    assert session.session.is_up
    session.written()
    world.registry.told.clear()
    session.downs.clear()
    return session


# --------------------------------------------------------------------------------------------------- the beginning
def test_who_is_dialled_takes_asks_when_a_heartbeat_has_not_made_it_close():
    with World() as world:
        session = JavaSession(world, "client")
        assert session.written() == [(Heartbeat(), None)]
        session.later(QUIET_S - 0.1)
        assert (session.session.is_up, world.registry.told) == (False, [])
        session.later(0.1)
        assert session.session.is_up
        assert [type(fact) for fact in world.registry.told] == [m.SessionUp, m.ProviderUp]
        assert session.written() == []


def test_who_says_something_takes_asks_at_once():
    with World() as world:
        session = JavaSession(world, "client")
        session.says(VisitAsk("pushed"))
        assert session.session.is_up
        assert [packet for _, packet, _ in world.received] == [VisitAsk("pushed")]
        session.later(QUIET_S + 1)
        assert len(world.registry.of(m.SessionUp)) == 1


def test_who_dialled_is_up_at_once_and_is_written_nothing():
    with World() as world:
        session = JavaSession(world, "server")
        assert session.session.is_up
        assert session.written() == []


@pytest.mark.parametrize("what", ["closes", "msgpack", "nonsense"])
def test_who_speaks_another_codec_never_takes_an_ask_and_is_reported_so(what):
    with World() as world:
        session = JavaSession(world, "client")
        if what == "closes":
            session.tell(m.Lost("the peer closed it"))
        elif what == "msgpack":
            session.receive(session.one_way(Error(1, "no Hello")))
        else:
            session.receive(frame(b"\x7f\x00\x01\x00"))
        assert session.is_closed
        assert world.registry.told == []
        (down,) = session.went_down()
        assert not down.is_proven
        assert ("msgpack" in down.reason) is (what == "msgpack")
        assert world.warnings == []  # the connector's, once a minute


def test_who_dials_in_msgpack_is_closed_at_once_in_one_line():
    with World() as world:
        session = JavaSession(world, "server")
        session.hello()
        assert session.is_closed
        assert session.written() == []
        fault = "its first frame is a Hello in msgpack, and Java zfoo is spoken here"
        assert world.warnings == [f"closed the session with {CLIENT_SIDE}: {fault}"]


def test_who_dials_msgpack_in_javas_format_is_closed_at_once_in_one_line():
    with World() as world:
        session = world.session("server")
        session.receive(frame(zfoo_java_codec.encode(Heartbeat(), None, TABLE)))
        assert session.is_closed
        assert session.written() == []
        (line,) = world.warnings
        assert line.startswith(f"closed the session with {CLIENT_SIDE}: its first frame is no Hello")
        assert line.endswith("msgpack is spoken here, and a Java peer needs a [[listen]] with its codec")


def test_after_a_right_frame_one_that_cannot_be_read_ends_nothing():
    with World() as world:
        session = up(world, "server")
        session.says(Heartbeat())
        session.receive(frame(b"\x7f\x00\x01\x00"))
        assert (session.is_closed, len(world.warnings)) == (False, 1)
        session.says(VisitAsk("next"), SignalAttachment(1, 1, 1, 1))
        assert [packet for _, packet, _ in world.received] == [VisitAsk("next")]


@pytest.mark.parametrize("how", ["answered", "long"])
def test_a_session_that_answered_or_stood_for_long_is_proven(how):
    with World() as world:
        session = up(world)
        if how == "answered":
            call = session.ask()
            ((_, attachment),) = session.written()
            session.says(VisitAnswer("!"), msgspec.structs.replace(attachment, client=0))
            assert call.answer.done()
        else:
            session.later(IDLE_S + LOOK_S)
        session.tell(m.Lost("the peer closed it"))
        assert session.went_down() == [m.SessionDown(1, "the peer closed it", is_proven=True)]


# --------------------------------------------------------------------------------------------------- heartbeats
def test_whoever_dialled_says_after_a_minute_without_traffic_that_it_lives():
    """At most a look earlier than zfoo."""
    with World() as world:
        session = up(world)
        session.later(0.2)  # its looks come so late
        for _ in range(3):
            session.later(IDLE_S - LOOK_S - 0.5)
            assert session.written() == []
            session.later(LOOK_S + 0.5)
            assert session.written() == [(Heartbeat(), None)]
        assert session.session.is_up


@pytest.mark.parametrize("what", ["in", "out"])
def test_traffic_either_way_puts_the_heartbeat_off(what):
    with World() as world:
        session = up(world)
        for _ in range(10):
            session.later(50)
            if what == "in":
                session.says(VisitAsk("?"), NoAnswerAttachment(1))
            else:
                session.send(VisitAsk("?"))
        assert Heartbeat() not in session.packets()
        session.later(IDLE_S)
        assert Heartbeat() in session.packets()


def test_whoever_was_dialled_closes_after_three_minutes_of_silence_and_says_why():
    with World() as world:
        session = up(world, "server")
        session.later(SILENT_S - 0.1)
        assert session.session.is_up
        session.later(LOOK_S + 0.1)
        assert session.is_closed
        assert session.written() == []
        reason = "nothing was read or written for 180 s"
        assert world.registry.of(m.SessionDown)[0].reason == reason
        assert world.warnings == [f"closed the session with {CLIENT_SIDE}: {reason}"]


@pytest.mark.parametrize("what", ["heartbeat", "ask", "push"])
def test_any_traffic_puts_the_close_off(what):
    with World() as world:
        session = up(world, "server")
        for _ in range(5):
            session.later(SILENT_S - 1)
            if what == "push":
                session.send(VisitAsk("?"))
            else:
                session.says(Heartbeat() if what == "heartbeat" else VisitAsk("?"))
        session.later(SILENT_S - 1)
        assert session.session.is_up
        session.later(LOOK_S + 1)
        assert session.is_closed


@pytest.mark.parametrize("attachment", [None, SignalAttachment(1, 5, 1, 1), NoAnswerAttachment(3)])
@pytest.mark.parametrize("side", ["client", "server"])
def test_a_heartbeat_is_answered_by_nothing_and_reaches_no_receiver(side, attachment):
    with World() as world:
        session = up(world, side)
        session.says(Heartbeat(), attachment)
        assert (session.written(), world.received, world.warnings) == ([], [], [])


# --------------------------------------------------------------------------------------------------- the end
def test_a_provider_whose_connection_is_lost_is_down_at_once():
    with World() as world:
        session = up(world)
        call = session.ask()
        session.tell(m.Lost("connection lost (reset)"))
        told = [type(fact) for fact in world.registry.told]
        assert told[-2:] == [m.ProviderDown, m.SessionDown]
        assert {fact.reason for fact in world.registry.told[-2:]} == {"connection lost (reset)"}
        error = call.answer.exception()
        assert isinstance(error, SessionClosedError)
        assert error.may_have_run


def test_a_provider_of_which_nothing_is_known_is_not_taken():
    with World() as world:
        session = JavaSession(world, "client", announced="")
        assert session.is_closed
        assert "need their registration in discovery" in session.went_down()[0].reason
