"""One session under pressure, in silence, and at its end."""

from __future__ import annotations

import itertools

import pytest

from tests.support.packets import VisitAnswer, VisitAsk, VisitNote, VisitPeek
from tests.support.sessions import PROVIDER, World, chunk
from zfoo_py.actor import Abort
from zfoo_py.errors import AskTimeoutError, BackpressureError, SessionClosedError
from zfoo_py.net import messages as m
from zfoo_py.net.intake import PAUSE_LIMIT_S
from zfoo_py.protocol.common import MAY_NOT_HAVE_RUN, Draining, ErrorCode, Ping, Pong

# --- the peer reads too slowly


def test_while_the_transport_is_full_asks_wait_in_order_and_sends_are_refused():
    with World() as world:
        session = world.up()
        session.pause()
        calls = [session.ask(VisitAsk(str(number))) for number in range(5)]
        order = session.send(VisitNote("no"))
        assert session.written() == []
        assert not session.session.writable
        error = order.sent.exception()
        assert isinstance(error, BackpressureError)
        assert not error.may_have_run
        assert [names[:2] for names in world.undelivered] == [("VisitNote", "visits")]
        session.resume()
        assert session.session.writable
        assert session.packets() == [VisitAsk(str(number)) for number in range(5)]
        assert not any(call.answer.done() for call in calls)


def test_an_ask_that_waited_is_answered_as_any_other():
    with World() as world:
        session = world.up()
        session.pause()
        call = session.ask()
        session.resume()
        session.receive(session.answer_frame(session.signal_ids()[0]))
        assert call.answer.result() == VisitAnswer("!")


def test_asks_that_wait_expire_in_time_and_have_not_run():
    """And the one that was written before the pause may have."""
    with World(ask_timeout_s=3.0, heartbeat_interval_s=1000.0) as world:
        session = world.up()
        written = session.ask()
        session.pause()
        waiting, short = session.ask(VisitAsk("waits")), session.ask(VisitAsk("short"), in_s=1.0)
        session.written()
        world.clock.advance(1.01)
        assert isinstance(short.answer.exception(), AskTimeoutError)
        assert not short.answer.exception().may_have_run
        later = session.ask(VisitAsk("later"))
        world.clock.advance(2.0)
        assert not waiting.answer.exception().may_have_run
        assert written.answer.exception().may_have_run
        session.resume()
        assert session.packets() == [VisitAsk("later")]
        assert not later.answer.done()


def test_the_pause_overtakes_the_orders_that_would_make_it_longer():
    with World() as world:
        session = world.up()
        session.connection.on_write = session.pause
        long, queued = VisitAsk("x" * 10_000), VisitAsk("queued")
        session.tell(*(m.Outbound(world.call(packet), None, PROVIDER) for packet in (long, queued)))
        assert session.packets() == [long]


def test_what_waited_is_written_only_as_far_as_there_is_room():
    """A transport that is full again after the first write says so at once; the rest goes on waiting, in order."""
    with World() as world:
        session = world.up()
        session.pause()
        names = [f"{number:03}" + "x" * 1000 for number in range(40)]
        for name in names:
            session.ask(VisitAsk(name))
        seen = []
        for _ in range(20):
            session.connection.on_write = session.pause
            session.resume()
            packets = [packet.text for packet in session.packets()]
            assert len(packets) < 20
            seen += packets
        assert seen == names


def test_asks_that_wait_go_back_unwritten_when_the_session_is_lost():
    with World() as world:
        session = world.up()
        written = session.ask(back=True)
        session.pause()
        waiting = session.ask(back=True)
        session.tell(m.Lost("cable"))
        [back] = world.consumer.of(m.Undelivered)
        assert back.order.call is waiting
        assert not waiting.answer.done()
        error = written.answer.exception()
        assert isinstance(error, SessionClosedError)
        assert error.may_have_run
        assert "cable" in str(error)


# --- we work too slowly


def test_reading_is_paused_at_the_bound_and_resumed_at_half_of_it():
    with World(max_in_work_per_session=4) as world:
        session = world.up("server")
        calls = session.connection.calls
        calls.clear()
        session.receive(*(session.one_way(VisitNote("n")) for _ in range(3)))
        assert calls == []
        session.receive(session.one_way(VisitNote("n")), session.one_way(VisitNote("one more of the chunk")))
        assert calls == ["pause_reading"]
        assert len(world.received) == session.actor.intake.in_work == 4  # exactly, also within a chunk
        session.tell(m.Finished())
        assert (calls, len(world.received)) == (["pause_reading"], 4)
        session.tell(m.Reply(1, world.codec.encode(VisitAnswer("a")), finishes=True))
        assert (len(world.received), session.actor.intake.in_work) == (5, 3)
        assert world.received[-1][1] == VisitNote("one more of the chunk")
        assert calls == ["pause_reading"]
        session.tell(m.Finished())
        assert calls == ["pause_reading", "resume_reading"]


def test_answers_and_signs_of_life_pass_by_the_packets_that_are_held():
    with World(max_in_work_per_session=1) as world:
        session = world.up("client")
        call = session.ask()
        [signal_id] = session.signal_ids()
        notes = [session.one_way(VisitNote(f"{n}")) for n in range(3)]
        session.receive(*notes, session.one_way(Ping()), session.answer_frame(signal_id))
        assert call.answer.result() == VisitAnswer("!")
        assert session.packets() == [Pong(0)]
        for _ in range(3):
            session.tell(m.Finished())
        assert [packet.text for _, packet, _ in world.received] == ["0", "1", "2"]
        assert session.actor.intake.is_reading


def test_when_receivers_stay_slow_it_reads_again_and_says_so_to_each_ask():
    """Else its peer, which hears nothing and cannot write, would take this node for dead."""
    with World(max_in_work_per_session=2) as world:
        session = world.up("server")
        session.receive(*(session.ask_frame(VisitAsk(str(number)), number) for number in (1, 2, 3)))
        world.clock.advance(PAUSE_LIMIT_S - 0.01)
        assert (session.packets(), session.connection.calls[-1]) == ([], "pause_reading")
        world.clock.advance(0.02)
        session.receive(session.ask_frame(VisitAsk("4"), 4), session.one_way(VisitNote("n")), session.one_way(Ping()))
        said = session.written()
        assert [packet.code for packet, _ in said[:2]] == [ErrorCode.OVERLOADED] * 2
        assert ErrorCode.OVERLOADED in MAY_NOT_HAVE_RUN
        assert [attachment.signal_id for _, attachment in said[:2]] == [3, 4]
        assert said[2][0] == Pong(0)
        assert [packet.text for _, packet, _ in world.received] == ["1", "2"]
        session.tell(m.Finished())
        session.receive(session.ask_frame(VisitAsk("5"), 5))
        assert [packet.text for _, packet, _ in world.received] == ["1", "2", "5"]


def test_a_short_pause_leaves_no_timer_and_the_next_one_has_its_whole_time():
    with World(max_in_work_per_session=1) as world:
        session = world.up("server")
        for _ in range(5):
            session.receive(session.one_way(VisitNote("n")))
            world.clock.advance(PAUSE_LIMIT_S * 0.9)
            assert not session.actor.intake.is_reading
            session.tell(m.Finished())
            assert session.actor.intake.takes


@pytest.mark.parametrize(("side", "asks", "pauses"), [("server", 0, True), ("server", 1, False), ("client", 0, False)])
def test_a_node_that_does_not_read_its_answers_is_not_read_unless_we_wait_for_its_own(side, asks, pauses):
    """Two nodes that both read nothing would wait for each other."""
    with World() as world:
        session = world.up(side)
        for _ in range(asks):
            session.ask()
        session.connection.calls.clear()
        session.pause()
        assert (session.connection.calls == ["pause_reading"]) is pauses
        session.resume()
        assert session.actor.intake.is_reading


def test_what_is_not_taken_is_not_in_work():
    with World(max_in_work_per_session=2) as world:
        world.takes = False
        session = world.up("server")
        session.connection.calls.clear()
        session.receive(*(session.one_way(VisitNote("n")) for _ in range(10)))
        assert session.connection.calls == []
        assert session.actor.intake.in_work == 0


# --- the end


def test_the_side_that_asks_closes_when_its_answers_are_there():
    """The provider says Draining; the consumer takes no new asks, waits for those in flight, and closes."""
    with World() as world:
        session = world.up("client")
        call = session.ask()
        [signal_id] = session.signal_ids()
        session.receive(session.one_way(Draining()))
        assert [type(fact) for fact in world.registry.told] == [m.ProviderDown]
        assert session.ref.is_alive()
        again = session.ask(back=True)
        assert [back.order.call for back in world.consumer.of(m.Undelivered)] == [again]
        session.receive(session.answer_frame(signal_id))
        assert call.answer.result() == VisitAnswer("!")
        assert session.is_closed
        assert [type(fact) for fact in world.registry.told] == [m.ProviderDown, m.SessionDown]


def test_an_idle_client_session_closes_at_once_when_it_retires_or_the_provider_drains():
    with World() as world:
        one, two = world.up(), world.up()
        one.tell(m.Retire("not announced any more"))
        two.receive(two.one_way(Draining()))
        assert one.is_closed
        assert two.is_closed
        assert world.registry.of(m.SessionDown)[0].reason == "not announced any more"


def test_a_retired_session_whose_asks_expire_closes():
    with World(ask_timeout_s=3.0) as world:
        session = world.up()
        session.ask()
        session.tell(m.Retire("go"))
        assert session.ref.is_alive()
        world.clock.advance(3.1)
        assert session.is_closed


def test_a_draining_provider_says_so_once_and_still_answers_until_the_peer_closes():
    with World() as world:
        session = world.up("server")
        session.receive(session.ask_frame(VisitAsk("q"), 3))
        session.tell(m.Drain(), m.Drain())
        assert session.packets() == [Draining()]
        assert session.ref.is_alive()
        session.tell(m.Reply(3, world.codec.encode(VisitAnswer("a")), finishes=True))
        assert session.packets() == [VisitAnswer("a")]
        session.tell(m.Lost("the peer closed it"))
        assert session.is_closed
        assert session.actor.ended.done()


def test_a_session_that_never_heard_a_hello_ends_when_it_should_drain():
    with World() as world:
        for order in (m.Drain(), m.Retire("go")):
            session = world.session()
            session.connection.writes.clear()
            session.tell(order)
            assert session.is_closed
            assert session.written() == []
        assert world.registry.told == []


def test_close_comes_after_every_send_before():
    with World() as world:
        session = world.up("server")
        notes = [VisitNote(str(number)) for number in range(10)]
        session.tell(*map(session.make_send, notes), m.Close("bye"))
        assert session.packets() == notes
        assert session.is_closed


def test_lost_comes_after_every_frame_before():
    with World() as world:
        session = world.up()
        calls = [session.ask() for _ in range(3)]
        ids = session.signal_ids()
        session.tell(*(chunk(session.answer_frame(each)) for each in ids), m.Lost("gone"))
        assert [call.answer.result() for call in calls] == [VisitAnswer("!")] * 3


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_messages_of_one_class_keep_their_order_in_every_interleaving(order):
    """Two frames, a send and the loss, in any order: what came before the loss is done, what came after is not."""
    with World() as world:
        session = world.up("server")
        send = session.make_send(VisitNote("out"))
        frames = [chunk(session.one_way(VisitNote(name))) for name in "ab"]
        messages = [*frames, send, m.Lost("gone")]
        session.tell(*(messages[number] for number in order))
        before = order[: order.index(3)]
        assert [packet.text for _, packet, _ in world.received] == ["ab"[number] for number in before if number < 2]
        assert (session.packets() == [VisitNote("out")]) is (2 in before)
        assert (send.sent.exception() is None) is (2 in before)
        assert send.sent.done()


def test_abort_ends_at_once_and_gives_everything_back():
    with World() as world:
        session = world.up()
        written = session.ask(back=True)
        queued = world.call(back=True)
        session.tell(m.Outbound(queued, None, PROVIDER), Abort("now"))
        assert session.is_closed
        assert [back.order.call for back in world.consumer.of(m.Undelivered)] == [queued]
        assert written.answer.exception().may_have_run


def test_only_an_idempotent_ask_in_flight_is_given_to_who_can_ask_again():
    with World() as world:
        session = world.up()
        once, again = session.ask(back=True), session.ask(VisitPeek("?"), back=True)
        alone = session.ask(VisitPeek("?"))
        session.tell(m.Lost("gone"))
        [lost] = world.consumer.told
        assert (type(lost), lost.call) == (m.LostInFlight, again)
        assert lost.error.may_have_run
        assert not again.answer.done()
        assert isinstance(once.answer.exception(), SessionClosedError)
        assert isinstance(alone.answer.exception(), SessionClosedError)


def test_a_turn_that_raises_closes_its_own_session_and_no_other():
    with World() as world:
        bad, good = world.up("server"), world.up("server")
        call = bad.ask()

        def broken(*_: object) -> bool:
            raise LookupError("a bug")

        bad.actor._env = type("Env", (), {"receive": staticmethod(broken), "registry": world.registry})()
        bad.receive(bad.one_way(VisitNote("boom")))
        assert bad.is_closed
        assert isinstance(call.answer.exception(), SessionClosedError)
        assert "LookupError" in world.registry.of(m.SessionDown)[0].reason
        good.receive(good.one_way(VisitNote("fine")))
        assert [packet.text for _, packet, _ in world.received] == ["fine"]
        assert good.ref.is_alive()


def test_the_watcher_hears_of_up_and_down():
    facts = []
    with World() as world:
        session = world.session("client", PROVIDER, facts.append)
        session.hello()
        session.tell(m.Close("bye"))
        assert [type(fact) for fact in facts] == [m.SessionUp, m.SessionDown]
        assert facts[1] == m.SessionDown(1, "bye")


def test_an_ended_session_leaves_no_timer_and_no_actor():
    with World() as world:
        for end in (m.Close("c"), m.Lost("l"), Abort("a")):
            session = world.up()
            session.ask()
            session.receive(session.one_way(VisitNote("n")))
            session.tell(end)
        assert world.clock.pending() == 0
        assert world.runtime.actors == set()


# --- counters


def test_counters_are_reported_a_second_after_something_came_and_not_in_silence():
    with World(heartbeat_interval_s=1000.0) as world:
        session = world.up("server")
        world.clock.advance(1.0)  # the Hello's
        world.registry.told.clear()
        actor = session.actor
        before = (actor.frames_in, actor.outbox.frames_out, actor.bytes_in, actor.outbox.bytes_out)
        frames = [session.one_way(VisitNote("n")) for _ in range(3)]
        session.receive(*frames)
        session.send(VisitNote("o"))
        world.clock.advance(0.99)
        assert world.registry.told == []
        world.clock.advance(0.02)
        [report] = world.registry.of(m.CountersReport)
        got = (report.frames_in, report.frames_out, report.bytes_in, report.bytes_out)
        out_bytes = len(session.connection.writes[0])
        assert [now - then for now, then in zip(got, before, strict=True)] == [3, 1, sum(map(len, frames)), out_bytes]
        world.clock.advance(100.0)
        assert len(world.registry.of(m.CountersReport)) == 1


# --- after a restart of the registry


def test_it_reports_itself_with_the_uid_that_was_bound_meanwhile():
    with World() as world:
        session = world.session("client")
        session.hello()
        [up, provider] = world.registry.told
        session.session.bind_uid(7)
        world.runtime.drain()
        session.tell(m.ReportYourself(3))
        report = world.registry.told[-1]
        assert (report.registry_life, report.urn, report.provider) == (3, session.actor.actor_urn, provider)
        assert report.up.record.uid == 7
        assert (report.up.ref, report.up.session) == (up.ref, up.session)


def test_a_draining_session_reports_no_provider_and_one_without_hello_nothing():
    with World() as world:
        draining, young = world.up(), world.session()
        draining.ask()
        draining.tell(m.Retire("go"))
        for session in (draining, young):
            session.tell(m.ReportYourself(1))
        first, second = world.registry.told[-2:]
        assert first.up is not None
        assert first.provider is None
        assert (second.up, second.provider) == (None, None)


def test_an_ask_says_when_it_was_sent_also_if_it_waits_then():
    with World() as world:
        session = world.up()
        session.ask()
        world.clock.advance(1.5)
        session.pause()
        session.ask()
        world.clock.advance(1.0)
        session.resume()
        sent = [attachment.timestamp for _, attachment in session.written() if attachment is not None]
        assert sent == [1, 1500]
