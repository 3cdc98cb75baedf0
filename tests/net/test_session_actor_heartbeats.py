"""Silence, latency, and peers that read nothing."""

from __future__ import annotations

import pytest

from tests.support.packets import VisitNote
from tests.support.sessions import World
from zfoo_py.errors import SessionClosedError
from zfoo_py.net import messages as m
from zfoo_py.net.heartbeat import SIGN_BYTES
from zfoo_py.protocol.common import Heartbeat, Ping, Pong


def beats(world, session, seconds, step_s=0.5):
    """Let time pass in steps; return when, from now, the session asked for a sign of life, and when it closed."""
    start_s, asked, ended = world.clock.time(), [], None
    for _ in range(int(seconds / step_s)):
        world.clock.advance(step_s)
        if any(isinstance(packet, Ping) for packet in session.packets()):
            asked.append(world.clock.time() - start_s)
        if ended is None and not session.ref.is_alive():
            ended = world.clock.time() - start_s
    return asked, ended


def test_silence_is_asked_about_once_and_then_the_session_ends():
    with World(heartbeat_interval_s=5.0, heartbeat_timeout_s=5.0, ask_timeout_s=1000.0) as world:
        session = world.up()
        call = session.ask()
        session.written()
        asked, ended = beats(world, session, 20)
        assert len(asked) == 1
        assert ended is not None
        assert ended <= 10.0, "the configuration promises interval + timeout"
        assert asked[0] <= 5.0
        assert "abort" in session.connection.calls
        assert isinstance(call.answer.exception(), SessionClosedError)
        assert call.answer.exception().may_have_run
        down = world.registry.of(m.ProviderDown, m.SessionDown)
        assert [type(fact) for fact in down] == [m.ProviderDown, m.SessionDown]
        assert "silent" in world.warnings[0]
        assert world.clock.pending() == 0


@pytest.mark.parametrize("offset_s", [0.0, 0.1, 2.6, 4.9])
def test_the_promise_holds_whenever_the_last_frame_came(offset_s):
    with World(heartbeat_interval_s=5.0, heartbeat_timeout_s=5.0) as world:
        session = world.up()
        for _ in range(7):
            world.clock.advance(1.0)
            session.receive(session.one_way(Heartbeat()))
        world.clock.advance(offset_s)
        session.receive(session.one_way(Heartbeat()))
        _, ended = beats(world, session, 20, 0.05)
        assert ended is not None
        assert ended <= 10.01


def test_any_frame_is_a_sign_of_life():
    with World(heartbeat_interval_s=5.0, heartbeat_timeout_s=5.0) as world:
        session = world.up("server")
        for _ in range(30):
            world.clock.advance(2.0)
            session.receive(session.one_way(VisitNote("n")))
        assert session.ref.is_alive()
        assert set(session.packets()) <= {Ping()}  # for the latency


def test_a_frame_that_takes_long_is_no_silence():
    with World(heartbeat_interval_s=5.0, heartbeat_timeout_s=5.0) as world:
        session = world.up("server")
        for _ in range(60):
            world.clock.advance(1.0)
            session.connection.received_bytes += SIGN_BYTES  # of a frame that is not complete
        assert session.ref.is_alive()
        _, ended = beats(world, session, 20)
        assert ended is not None


def test_a_byte_now_and_then_is_silence():
    """Else whoever says one each second would hold a connection, and what it has begun, for ever."""
    with World(heartbeat_interval_s=5.0, heartbeat_timeout_s=5.0) as world:
        session = world.up("server")
        for _ in range(11):
            world.clock.advance(1.0)
            session.connection.received_bytes += 1
        assert not session.ref.is_alive()


def test_latency_is_measured_and_reported():
    with World(heartbeat_interval_s=4.0, heartbeat_timeout_s=5.0) as world:
        session = world.up("server")
        world.clock.advance(2.0)
        assert session.packets() == [Ping()]
        world.clock.advance(0.125)
        session.receive(session.one_way(Pong(0)))
        world.clock.advance(1.0)
        assert [report.latency_ms for report in world.registry.of(m.CountersReport)][-1] == 125.0


@pytest.mark.parametrize("side", ["server", "client"])
def test_a_peer_that_takes_nothing_is_closed_unless_it_is_read_and_says_that_it_lives(side):
    """Who asks and takes no answers is not read, so nothing it says counts; a provider may be busy with our asks."""
    with World(heartbeat_interval_s=5.0, heartbeat_timeout_s=5.0) as world:
        session = world.up(side)
        kept = session.connection
        kept.on_write = lambda: setattr(kept, "held_bytes", sum(map(len, kept.writes)))
        session.pause()
        seconds = 0
        while session.ref.is_alive() and seconds < 30:
            seconds += 1
            world.clock.advance(1.0)
            session.connection.received_bytes += SIGN_BYTES * session.actor.intake.is_reading
        if side == "client":
            assert seconds == 30
            assert world.warnings == []
            return
        assert seconds <= 15
        assert "abort" in session.connection.calls
        assert "has read nothing for 10.0 s" in world.warnings[0]


def test_who_does_not_read_says_that_it_lives():
    with World(heartbeat_interval_s=5.0, heartbeat_timeout_s=5.0) as world:
        session = world.up("server")
        session.pause()
        world.clock.advance(5.0)
        assert session.packets() == [Heartbeat()] * 2


def test_a_peer_that_answers_the_ping_lives():
    with World(heartbeat_interval_s=5.0, heartbeat_timeout_s=5.0) as world:
        session, pings = world.up("server"), 0
        for _ in range(100):
            world.clock.advance(1.0)
            for packet in session.packets():
                assert packet == Ping()
                pings += 1
                session.receive(session.one_way(Pong(0)))
        assert session.ref.is_alive()
        assert pings > 5


def test_silence_while_we_do_not_read_is_our_own_doing():
    with World(heartbeat_interval_s=5.0, heartbeat_timeout_s=5.0) as world:
        session = world.up("server")
        session.pause()
        for _ in range(60):  # it takes some of its answers now and then
            session.connection.held_bytes -= 1
            assert beats(world, session, 1) == ([], None)
        session.resume()
        assert beats(world, session, 60)[1] is not None


def test_slow_receivers_hide_no_sign_of_life_and_no_silence():
    with World(heartbeat_interval_s=5.0, heartbeat_timeout_s=5.0, max_in_work_per_session=1) as world:
        session = world.up("server")
        session.receive(session.one_way(VisitNote("long work")))
        world.clock.advance(1.0)
        session.receive(session.one_way(Ping()))
        assert session.packets() == [Pong(0)]
        assert beats(world, session, 60)[1] is not None
