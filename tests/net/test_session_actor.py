"""One session: its Hello, what it asks and sends, and what becomes of the answers."""

from __future__ import annotations

import pytest

from tests.support.packets import PageAnswer, VisitAnswer, VisitAsk, VisitNote
from tests.support.sessions import PROVIDER, World, chunk
from zfoo_py.errors import (
    AskCycleError,
    AskTimeoutError,
    BackpressureError,
    EncodeError,
    FrameError,
    RemoteError,
    SessionClosedError,
    UnexpectedPacketError,
)
from zfoo_py.net import messages as m
from zfoo_py.net.handshake import WIRE_VERSION
from zfoo_py.protocol.attachment import CLIENT_KEYED, CLIENT_KEYLESS, SignalAttachment
from zfoo_py.protocol.common import MAY_NOT_HAVE_RUN, Error, ErrorCode, Heartbeat, Hello, Ping, Pong

# --- the Hello


def test_it_says_hello_first_and_takes_the_peer_s():
    with World() as world:
        session = world.session("client", PROVIDER)
        assert session.packets() == [Hello(WIRE_VERSION, "node", "us", "", world.limits.max_frame_bytes)]
        assert not session.session.is_up
        session.hello()
        assert (session.session.is_up, session.session.kind, session.session.node_id) == (True, "node", "them")
        up, provider = world.registry.told
        record = up.record
        assert (up.ref, up.session) == (session.ref, session.session)
        assert (record.sid, record.side, record.kind, record.node_id) == (1, "client", "node", "them")
        assert (record.peer, record.local) == ("10.0.0.1:1111", "10.0.0.2:2222")
        assert (record.registration, record.opened_at_s) == (PROVIDER, world.clock.time())
        assert (provider.sid, provider.registration.text, provider.ref) == (1, PROVIDER, session.ref)
        assert session.connection.calls == [("limit_frames", world.limits.max_frame_bytes)]


def test_only_those_we_dialled_are_providers():
    with World() as world:
        world.session("server").hello()
        world.session("client").hello(registration="")
        world.session("client").hello(registration="c | consumer:[random-visits]")
        assert [type(fact) for fact in world.registry.told] == [m.SessionUp] * 3


def test_an_outside_client_keeps_the_small_frame_limit():
    with World() as world:
        session = world.session("server")
        session.hello(kind="client", registration="")
        assert session.session.kind == "client"
        assert session.connection.calls == []


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"wire_version": WIRE_VERSION + 1}, "upgrade the older node"),
        ({"kind": "gateway"}, "a peer is a node or a client"),
        ({"registration": PROVIDER + " "}, "another node uses this address now"),
        ({"registration": ""}, "another node uses this address now"),
    ],
)
def test_a_wrong_hello_is_refused_with_a_reason_and_a_warning(fields, text):
    facts = []
    with World() as world:
        session = world.session("client", PROVIDER, facts.append)
        session.connection.writes.clear()
        session.hello(**fields)
        [refusal] = session.packets()
        assert refusal.code == ErrorCode.BAD_HELLO
        assert text in refusal.message
        assert session.is_closed
        assert world.registry.told == []  # nobody ever heard of it
        assert [type(fact) for fact in facts] == [m.SessionDown]
        [warning] = world.warnings
        assert "10.0.0.1:1111" in warning
        assert text in warning


def test_a_registration_that_cannot_be_read_is_refused():
    with World() as world:
        session = world.session("server")
        session.hello(registration="a | 1.2.3.4:5 | provider:[m]")
        assert session.is_closed
        assert "cannot be read" in world.warnings[0]


def test_the_peer_s_refusal_of_our_hello_closes_and_is_told():
    facts = []
    with World() as world:
        session = world.session("client", None, facts.append)
        session.connection.writes.clear()
        session.receive(session.one_way(Error(ErrorCode.BAD_HELLO, "upgrade")))
        assert session.is_closed
        assert session.packets() == []
        assert facts == [m.SessionDown(1, "the peer refused our Hello: upgrade", is_proven=False)]


def test_anything_else_before_the_hello_closes_and_is_not_received():
    with World() as world:
        for frame in ("one_way", "ask_frame"):
            session = world.session("server")
            session.connection.writes.clear()
            session.receive(getattr(session, frame)(VisitAsk("early")), session.one_way(VisitNote("more")))
            assert session.is_closed
            [refusal] = session.packets()
            assert "must be a Hello, not VisitAsk" in refusal.message
        assert world.received == []


def test_bytes_that_hold_no_packet_before_the_hello_close():
    with World() as world:
        session = world.session("server")
        session.receive(b"\x00\x00\x00\x01\xc1")
        assert session.is_closed


def test_frames_behind_the_hello_in_one_chunk_are_received():
    with World() as world:
        session = world.session("server")
        hello = Hello(WIRE_VERSION, "node", "them", "")
        session.receive(session.one_way(hello), session.one_way(VisitNote("1")), session.one_way(VisitNote("2")))
        assert [packet.text for _, packet, _ in world.received] == ["1", "2"]


def test_a_late_hello_closes():
    with World(hello_timeout_s=5.0) as world:
        session = world.session("server")
        world.clock.advance(4.999)
        assert session.ref.is_alive()
        world.clock.advance(0.002)
        assert session.is_closed
        assert "no Hello within 5.0 s" in world.warnings[0]


def test_the_timer_of_the_hello_is_over_once_it_came():
    with World(hello_timeout_s=1.0) as world:
        session = world.up("server")
        world.clock.advance(1.5)
        assert session.ref.is_alive()


# --- asks


def test_an_ask_is_written_with_signal_lane_and_time_left_and_its_answer_settles_it():
    with World() as world:
        session = world.up()
        keyed = session.ask(VisitAsk("k"), lane=-7)
        keyless = session.ask(VisitAsk("n"), in_s=0.25)
        (packet, signal), (other, other_signal) = session.written()
        assert (packet, other) == (VisitAsk("k"), VisitAsk("n"))
        assert (signal.client, signal.task_executor_hash, signal.remaining_ms) == (CLIENT_KEYED, -7, 3001)
        assert (other_signal.client, other_signal.task_executor_hash) == (CLIENT_KEYLESS, -1)
        assert other_signal.remaining_ms == 251
        assert signal.signal_id != other_signal.signal_id
        session.receive(session.answer_frame(other_signal.signal_id, VisitAnswer("two")))
        assert keyless.answer.result() == VisitAnswer("two")
        assert not keyed.answer.done()
        session.receive(session.answer_frame(signal.signal_id, VisitAnswer("one")))
        assert keyed.answer.result() == VisitAnswer("one")
        assert len(session.actor._pending) == 0


def test_an_answer_of_another_class_is_an_error_that_names_both():
    with World() as world:
        session = world.up()
        call = session.ask()
        session.receive(session.answer_frame(session.signal_ids()[0], PageAnswer("x")))
        error = call.answer.exception()
        assert isinstance(error, UnexpectedPacketError)
        assert error.may_have_run
        assert "VisitAsk was answered with PageAnswer, not with VisitAnswer" in str(error)
        assert (error.module, error.packet, error.provider, error.sid) == ("visits", "VisitAsk", PROVIDER, 1)


@pytest.mark.parametrize("code", [*ErrorCode, 4711])
def test_an_error_answer_says_whether_the_receiver_can_have_run(code):
    """An application's own code proves nothing, so it may have."""
    with World() as world:
        session = world.up()
        call = session.ask()
        session.receive(session.answer_frame(session.signal_ids()[0], Error(code, "so")))
        error = call.answer.exception()
        kind = {ErrorCode.EXPIRED: AskTimeoutError, ErrorCode.ASK_CYCLE: AskCycleError}.get(code, RemoteError)
        assert type(error) is kind
        assert error.may_have_run == (code not in MAY_NOT_HAVE_RUN)
        if kind is RemoteError:
            said = ("so", "") if code == ErrorCode.RECEIVER_RAISED else ("", "so")
            assert (error.code, error.remote_type, error.remote_message) == (code, *said)
        assert "so" in str(error)
        assert (error.module, error.packet, error.provider, error.sid) == ("visits", "VisitAsk", PROVIDER, 1)


def test_codes_after_which_the_receiver_has_run_are_not_among_those_that_prove_the_contrary():
    assert not MAY_NOT_HAVE_RUN & {ErrorCode.RECEIVER_RAISED, ErrorCode.NO_ANSWER}
    assert {ErrorCode.OVERLOADED, ErrorCode.NOT_SERVED, ErrorCode.NO_RECEIVER, ErrorCode.BAD_PACKET} < MAY_NOT_HAVE_RUN


def test_answers_that_nobody_waits_for_are_counted_and_dropped():
    """A late one, a second one, one of a made-up signal, and one that belongs to another session's ask."""
    with World() as world:
        one, two = world.up(), world.up()
        asked, others = one.ask(), two.ask()
        one.ask(in_s=1.0)
        mine, own_timeout = one.signal_ids()
        assert two.signal_ids() == [mine]  # ids are per session, so they may be equal
        world.clock.advance(1.1)
        one.receive(one.answer_frame(own_timeout), one.answer_frame(mine), one.answer_frame(mine), one.answer_frame(99))
        assert asked.answer.result() == VisitAnswer("!")
        assert (one.actor.late_answers, two.actor.late_answers) == (3, 0)
        assert not others.answer.done()
        assert one.ref.is_alive()


def test_an_ask_without_answer_expires_and_may_have_run():
    with World(ask_timeout_s=3.0) as world:
        session = world.up()
        call = session.ask()
        world.clock.advance(2.99)
        assert not call.answer.done()
        world.clock.advance(0.02)
        error = call.answer.exception()
        assert isinstance(error, AskTimeoutError)
        assert isinstance(error, TimeoutError)
        assert error.may_have_run
        assert PROVIDER in str(error)
        assert (error.module, error.packet, error.provider, error.sid) == ("visits", "VisitAsk", PROVIDER, 1)
        assert len(session.actor._pending) == 0


def test_each_ask_expires_at_its_own_time():
    with World(ask_timeout_s=3.0, heartbeat_interval_s=1000.0) as world:
        session, ended = world.up(), []
        for name, timeout_s in [("default", None), ("long", 9.0), ("short", 1.0), ("middle", 2.0), ("same", 3.0)]:
            call = session.ask(in_s=timeout_s)
            call.answer.add_done_callback(lambda _, name=name: ended.append((name, world.clock.time())))
        start_s = world.clock.time()
        world.clock.advance(20.0)
        assert {name: round(at_s - start_s, 2) for name, at_s in ended} == {
            "short": 1.0,
            "middle": 2.0,
            "default": 3.0,
            "same": 3.0,
            "long": 9.0,
        }
        assert [name for name, _ in ended][:2] == ["short", "middle"]
        assert ended[-1][0] == "long"


def test_ten_thousand_asks_expire_and_leave_nothing():
    with World(ask_timeout_s=3.0, heartbeat_interval_s=1000.0) as world:
        session = world.up()
        calls = [world.call(in_s=None if number % 3 else 0.5 + number / 5_000) for number in range(10_000)]
        session.tell(*(m.Outbound(call, None, PROVIDER) for call in calls))
        assert len(session.actor._pending) == 10_000
        world.clock.advance(10.0)
        assert all(isinstance(call.answer.exception(), AskTimeoutError) for call in calls)
        assert len(session.actor._pending) == 0
        pending = session.actor._pending
        assert [*pending._even, *pending._odd, *pending._heap] == []
        timers = world.clock.pending()
        assert timers == 1, "only the heartbeat's"


def test_an_ask_that_is_too_late_to_be_sent_is_not_sent():
    with World() as world:
        session = world.up()
        call = world.call(in_s=1.0)
        world.clock.advance(1.0)
        session.tell(m.Outbound(call, None, PROVIDER))
        assert isinstance(call.answer.exception(), AskTimeoutError)
        assert not call.answer.exception().may_have_run
        assert session.written() == []


def test_the_bound_of_pending_asks_refuses_the_next_one_only():
    with World(max_pending_asks=2) as world:
        session = world.up()
        first, second, third = session.ask(), session.ask(), session.ask()
        error = third.answer.exception()
        assert isinstance(error, BackpressureError)
        assert not error.may_have_run
        ids = session.signal_ids()
        assert len(ids) == 2
        session.receive(session.answer_frame(ids[0]))
        assert (first.answer.done(), second.answer.done()) == (True, False)
        assert not session.ask().answer.done()


def test_what_the_peer_would_close_the_session_for_is_refused_here():
    with World() as world:
        session = world.up(max_frame_bytes=1000)
        big = VisitAsk("x" * 1000)
        call, order = session.ask(big), session.send(big)
        for error in (call.answer.exception(), order.sent.exception()):
            assert isinstance(error, EncodeError)
            assert not error.may_have_run
            assert "takes at most" in str(error)
        assert session.written() == []
        session.tell(m.Reply(5, world.codec.encode(VisitAnswer("y" * 1000)), finishes=False))
        [(answer, attachment)] = session.written()
        assert (answer.code, attachment.signal_id) == (ErrorCode.ANSWER_TOO_LARGE, 5)


@pytest.mark.parametrize("state", ["hello", "draining", "down"])
def test_in_any_state_but_up_an_ask_goes_back_unwritten(state):
    with World() as world:
        session = world.session() if state == "hello" else world.up()
        if state == "draining":
            pending = session.ask()
            session.tell(m.Retire("go"))
            assert not pending.answer.done()
        elif state == "down":
            session.tell(m.Close("go"))
        session.connection.writes.clear()
        call, nobody = world.call(back=True), world.call()
        world.runtime.in_turn = True  # as within the consumer's turn: a dead session gives messages back
        session.ref.tell(m.Outbound(call, 5, PROVIDER))
        session.ref.tell(m.Outbound(nobody, 5, PROVIDER))
        world.runtime.drain()
        [back] = world.consumer.of(m.Undelivered)
        assert back.order == m.Outbound(call, 5, PROVIDER)
        assert not call.answer.done()
        assert isinstance(nobody.answer.exception(), SessionClosedError)
        assert not nobody.answer.exception().may_have_run
        assert session.written() == []


# --- sends and replies


def test_a_send_in_hello_or_after_the_end_is_told_to_whoever_sent_it():
    with World() as world:
        early, ended = world.session(), world.up()
        ended.tell(m.Close("over"))
        order = early.send(VisitNote("x"))
        assert isinstance(order.sent.exception(), SessionClosedError)
        world.runtime.in_turn = True
        late = ended.make_send(VisitNote("y"))
        ended.ref.tell(late)
        assert isinstance(late.sent.exception(), SessionClosedError)
        assert [names[:2] for names in world.undelivered] == [("VisitNote", "visits")] * 2


def test_replies_are_answers_and_finish_what_is_in_work():
    with World() as world:
        session = world.up("server")
        session.receive(session.ask_frame(VisitAsk("q"), 41))
        [(taken_by, packet, attachment)] = world.received
        assert (taken_by, packet, attachment.signal_id) == (session.session, VisitAsk("q"), 41)
        assert session.actor.intake.in_work == 1
        session.tell(m.Reply(41, world.codec.encode(VisitAnswer("a")), finishes=True))
        assert session.written() == [(VisitAnswer("a"), SignalAttachment(0, 41))]
        assert session.actor.intake.in_work == 0


def test_all_of_one_turn_goes_out_in_one_write():
    with World() as world:
        session = world.up("server")
        head = world.codec.encode(VisitAnswer("a"))
        session.tell(
            m.Reply(1, head, finishes=False),
            session.make_send(VisitNote("n")),
            m.Outbound(world.call(), None, PROVIDER),
            m.Reply(2, head, finishes=False),
        )
        assert len(session.connection.writes) == 1
        assert session.packets() == [VisitAnswer("a"), VisitNote("n"), VisitAsk("?"), VisitAnswer("a")]


def test_a_long_turn_writes_before_its_end_and_in_order():
    with World() as world:
        session = world.up("server")
        notes = [VisitNote(f"{number:03}" + "x" * 500) for number in range(50)]
        session.tell(*map(session.make_send, notes))
        assert 1 < len(session.connection.writes) < 25
        assert session.packets() == notes


# --- built-in packets and bad ones


def test_a_ping_is_answered_and_signs_of_life_are_not_received():
    with World() as world:
        session = world.up("server")
        session.receive(*map(session.one_way, (Ping(), Pong(5), Heartbeat(), Hello(1, "node"))))
        assert session.packets() == [Pong(0)]
        assert world.received == []


def test_an_ask_that_cannot_be_decoded_is_answered_and_the_session_lives():
    with World() as world:
        session = world.up("server")
        bad = session.ask_frame(VisitAsk("q"), 9).replace(b"\xa1q", b"\xcc\x05")  # the text becomes a number
        session.receive(bad, session.one_way(VisitNote("next")))
        [(answer, attachment)] = session.written()
        assert (answer.code, attachment.signal_id) == (ErrorCode.BAD_PACKET, 9)
        assert session.actor.undecodable == 1
        assert [packet for _, packet, _ in world.received] == [VisitNote("next")]
        assert len(world.warnings) == 1


def test_a_bad_packet_without_signal_is_counted_only():
    with World() as world:
        session = world.up("server")
        session.receive(b"\x00\x00\x00\x01\xc1")
        assert session.written() == []
        assert session.actor.undecodable == 1
        assert session.ref.is_alive()


def test_a_broken_stream_closes_after_the_frames_before_the_fault():
    with World() as world:
        session = world.up("server")
        fault = FrameError("a frame of 9 GB")
        world.runtime.deliver(session.ref, chunk(session.one_way(VisitNote("good")), error=fault))
        assert [packet for _, packet, _ in world.received] == [VisitNote("good")]
        assert session.is_closed
        assert world.registry.of(m.SessionDown) == [m.SessionDown(1, "a frame of 9 GB")]
        assert "10.0.0.1:1111" in world.warnings[0]


def test_an_error_packet_that_answers_nothing_is_one_warning():
    with World() as world:
        session = world.up("server")
        session.receive(session.one_way(Error(5, "forged\nline")))
        assert session.ref.is_alive()
        [warning] = world.warnings
        assert "\n" not in warning
