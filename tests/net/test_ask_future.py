"""Who is told when an ask is given up: the session that has it in flight, and only for this ask."""

from __future__ import annotations

import asyncio

from tests.support.sessions import World
from zfoo_py.net import messages as m
from zfoo_py.protocol.common import CAN_CANCEL, Cancel


def test_the_session_forgets_it_and_tells_the_peer():
    with World() as world:
        session = world.up(capabilities=[CAN_CANCEL, "unknown"])
        kept, given_up = session.ask(), session.ask()
        first, second = session.signal_ids()
        assert (given_up.answer.signal_id, given_up.answer.carrier) == (second, session.ref)
        assert given_up.answer.cancel()
        world.runtime.drain()
        assert session.packets() == [Cancel([second])]
        assert isinstance(given_up.answer.exception(), asyncio.CancelledError)
        assert len(session.actor._pending) == 1
        session.receive(session.answer_frame(second), session.answer_frame(first))
        assert session.actor.late_answers == 1
        assert kept.answer.result().text == "!"


def test_a_peer_without_the_capability_is_not_told():
    with World() as world:
        session = world.up()
        call = session.ask()
        session.signal_ids()
        call.answer.cancel()
        world.runtime.drain()
        assert session.packets() == []
        assert len(session.actor._pending) == 0


def test_an_ask_cancelled_on_its_way_is_never_written():
    with World() as world:
        session = world.up(capabilities=[CAN_CANCEL])
        call = world.call()
        assert call.answer.cancel()
        session.tell(m.Outbound(call, None, ""))
        assert session.packets() == []
        assert len(session.actor._pending) == 0


def test_an_order_that_comes_late_hits_no_other_ask():
    """The ask has ended, and its number has been given to another one."""
    with World() as world:
        session = world.up(capabilities=[CAN_CANCEL])
        call = session.ask()
        [signal_id] = session.signal_ids()
        session.tell(m.CancelAsk(world.call().answer, signal_id), m.CancelAsk(call.answer, signal_id + 2))
        assert session.packets() == []
        assert len(session.actor._pending) == 1


def test_asks_that_time_out_are_told_of_in_one_packet_but_not_those_never_written():
    with World() as world:
        session = world.up(capabilities=[CAN_CANCEL])
        for _ in range(3):
            session.ask(in_s=1.0)
        signal_ids = session.signal_ids()
        session.pause()
        session.ask(in_s=1.0)
        world.clock.advance(1.1)
        world.runtime.drain()
        assert session.packets() == [Cancel(signal_ids)]
        assert len(session.actor._pending) == 0


def test_a_session_that_is_gone_needs_no_telling():
    with World() as world:
        session = world.up(capabilities=[CAN_CANCEL])
        call = session.ask()
        answer = m.AskRecord(**{f: getattr(call, f) for f in call.__struct_fields__}).answer
        session.tell(m.Close("over"))
        assert not answer.cancel()  # it ended with its session
        late = world.call().answer
        late.carrier, late.signal_id = session.ref, 7
        assert late.cancel()
