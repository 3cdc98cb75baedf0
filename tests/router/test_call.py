"""What a receiver may be given: answers, now and later, and the time that is left."""

from __future__ import annotations

import asyncio
import math
import threading
from typing import Any

import pytest

from tests.support.packets import PageAnswer, VisitAnswer, VisitAsk, VisitNote
from tests.support.routers import HANG_S, RouterWorld
from zfoo_py.errors import AlreadyAnsweredError, EncodeError, UnmappedPacketError
from zfoo_py.net import messages as m
from zfoo_py.protocol.common import ErrorCode
from zfoo_py.protocol.packet import Packet
from zfoo_py.router.call import Call, current_call
from zfoo_py.router.receivers import packet_receiver


def with_call(body):
    """Return a receiver of VisitAsk that awaits ``body(call)``."""

    @packet_receiver
    async def receiver(session: Any, ask: VisitAsk, call: Call) -> VisitAnswer:
        return await body(call)

    return receiver


def test_a_call_knows_what_it_serves():
    """Session, packet, lane and deadline are there, for asks with and without key and for sends."""

    async def main():
        seen = []

        async def looks(call):
            seen.append((call.session, call.packet, call.lane, call.wants_answer, call.remaining_s))
            assert current_call.get() is call
            return VisitAnswer("") if call.wants_answer else None

        async with RouterWorld(with_call(looks)) as world:
            peer = world.peer()
            packet = VisitAsk("x")
            peer.receive(peer.ask_frame(packet, 1, 5, 2000), peer.one_way(packet, 6), peer.one_way(packet))
            await world.quiet()
            session = peer.session
            assert seen == [
                (session, packet, 5, True, 2.0),
                (session, packet, 6, False, math.inf),
                (session, packet, None, False, math.inf),
            ]

    asyncio.run(main())


def test_an_explicit_answer_goes_out_before_the_receiver_ends():
    """The asker does not wait for what the receiver does afterwards, but it stays in work."""

    async def main():
        gate = asyncio.Event()

        async def answers_first(call):
            call.answer(VisitAnswer("early"))
            await gate.wait()

        async with RouterWorld(with_call(answers_first)) as world:
            peer = world.peer()
            assert await world.answer(peer, VisitAsk("x")) == VisitAnswer("early")
            assert world.router.in_work == peer.actor.intake.in_work == 1
            gate.set()
            await world.quiet()
            assert peer.written() == []
            assert peer.actor.intake.in_work == 0

    asyncio.run(main())


def test_an_answer_may_come_later_even_from_a_thread():
    """A receiver may keep its call, end, and let somebody else answer."""

    async def main():
        kept = []

        async def keeps(call):
            kept.append(call)

        async with RouterWorld(with_call(keeps)) as world:
            peer = world.peer()
            peer.receive(peer.ask_frame(VisitAsk("x"), 1), peer.ask_frame(VisitAsk("y"), 2))
            await world.quiet()
            assert peer.written() == []
            thread = threading.Thread(target=lambda: kept[0].answer(VisitAnswer("from a thread")))
            thread.start()
            assert await world.answers(peer) == [(1, VisitAnswer("from a thread"))]
            thread.join(HANG_S)
            kept[1].answer(VisitAnswer("from the loop"))
            assert await world.answers(peer) == [(2, VisitAnswer("from the loop"))]

    asyncio.run(main())


def test_a_second_answer_raises_and_names_the_receiver():
    """An ask has one answer; the fault is the receiver's, so its place is named."""

    async def main():
        caught = []

        async def answers_twice(call):
            call.answer(VisitAnswer("one"))
            try:
                call.answer(VisitAnswer("two"))
            except AlreadyAnsweredError as error:
                caught.append(str(error))

        async with RouterWorld(with_call(answers_twice)) as world:
            peer = world.peer()
            assert await world.answer(peer, VisitAsk("x")) == VisitAnswer("one")
            await world.quiet()
            assert peer.written() == []
            assert "test_call.py" in caught[0]
            assert "answered VisitAsk twice" in caught[0]

    asyncio.run(main())


def test_answering_and_returning_a_packet_is_reported_and_answered_once():
    """The first answer stands, and the second is an event."""

    async def main():
        async def both(call):
            call.answer(VisitAnswer("one"))
            return VisitAnswer("two")

        async with RouterWorld(with_call(both)) as world:
            peer = world.peer()
            assert await world.answer(peer, VisitAsk("x")) == VisitAnswer("one")
            await world.quiet()
            assert peer.written() == []
            [failure] = world.failures
            assert "answered and returned a packet as well" in failure.message

    asyncio.run(main())


def test_an_answer_that_cannot_be_sent_raises_and_the_ask_can_still_be_answered():
    """A wrong packet uses up nothing."""

    class Stray(Packet):
        text: str

    async def main():
        async def tries(call):
            for wrong, kind in ((VisitAnswer(3), EncodeError), (Stray("x"), UnmappedPacketError)):
                with pytest.raises(kind):
                    call.answer(wrong)
            call.answer(VisitAnswer("right"))

        async with RouterWorld(with_call(tries)) as world:
            assert await world.answer(world.peer(), VisitAsk("x")) == VisitAnswer("right")

    asyncio.run(main())


def test_a_packet_sent_one_way_takes_no_answer():
    """One receiver serves asks and sends alike, so answering a send is no error."""

    async def main():
        async def answers(call):
            call.answer(VisitAnswer("nobody asked"))
            call.answer(VisitAnswer("again"))

        async with RouterWorld(with_call(answers)) as world:
            peer = world.peer()
            peer.receive(peer.one_way(VisitAsk("x")))
            await world.quiet()
            assert peer.written() == []
            assert world.router.receiver_failures == 0

    asyncio.run(main())


def test_an_answer_to_an_asker_that_is_gone_does_nothing():
    """It is counted, and raises nothing at who answers."""

    async def main():
        kept = []

        async def keeps(call):
            kept.append(call)

        async with RouterWorld(with_call(keeps)) as world:
            peer = world.peer()
            peer.receive(peer.ask_frame(VisitAsk("x"), 1))
            await world.quiet()
            peer.tell(m.Lost("cable"))
            kept[0].answer(VisitAnswer("late"))
            assert world.router.unsent_answers == 1

    asyncio.run(main())


# --- zfoo's style


def test_router_send_in_a_receiver_that_returns_none_answers_once_and_then_pushes():
    """The style of zfoo: the first send is the answer and carries its signal id."""

    async def main():
        @packet_receiver
        async def zfoo_style(session: Any, ask: VisitAsk) -> None:
            world.router.send(session, VisitAnswer("the answer"))
            world.router.send(session, VisitNote("a push"))

        async with RouterWorld(zfoo_style) as world:
            peer = world.peer()
            peer.receive(peer.ask_frame(VisitAsk("x"), 9))
            await world.quiet()
            (answer, attachment), (push, nothing) = peer.written()
            assert (answer, attachment.signal_id) == (VisitAnswer("the answer"), 9)
            assert (push, nothing) == (VisitNote("a push"), None)

    asyncio.run(main())


def test_router_send_elsewhere_is_a_push():
    """In a receiver that returns its answer, to another session, to one that only sent, and outside of receivers."""

    async def main():
        @packet_receiver
        async def pushes(session: Any, ask: VisitAsk) -> VisitAnswer:
            world.router.send(session, VisitNote("push"))
            return VisitAnswer("answer")

        async with RouterWorld(pushes) as world:
            peer = world.peer()
            peer.receive(peer.ask_frame(VisitAsk("x"), 9))
            await world.quiet()
            assert {type(packet): attachment is None for packet, attachment in peer.written()} == {
                VisitNote: True,
                VisitAnswer: False,
            }
            world.router.send(peer.session, VisitNote("outside"))
            world.runtime.drain()
            assert peer.written() == [(VisitNote("outside"), None)]

        @packet_receiver
        async def to_another(session: Any, ask: VisitAsk) -> None:
            world.router.send(other.session, VisitNote("for you"))
            world.router.send(session, VisitAnswer("and you"))

        async with RouterWorld(to_another) as world:
            peer, other = world.peer(), world.peer()
            peer.receive(peer.ask_frame(VisitAsk("x"), 9))
            await world.quiet()
            assert other.written() == [(VisitNote("for you"), None)]
            assert peer.written()[0][1].signal_id == 9
            peer.receive(peer.one_way(VisitAsk("x")))
            await world.quiet()
            assert peer.written() == [(VisitAnswer("and you"), None)]

    asyncio.run(main())


def test_router_send_answers_from_a_worker_and_from_a_task_of_the_receiver_too():
    """The context of the call reaches both."""

    async def main():
        @packet_receiver
        def in_thread(session: Any, ask: VisitAsk) -> None:
            world.router.send(session, VisitAnswer("thread"))

        async with RouterWorld(in_thread) as world:
            assert await world.answer(world.peer(), VisitAsk("x")) == VisitAnswer("thread")

        @packet_receiver
        async def in_task(session: Any, ask: VisitAsk) -> None:
            async def task():
                world.router.send(session, VisitAnswer("task"))

            await asyncio.create_task(task())

        async with RouterWorld(in_task) as world:
            assert await world.answer(world.peer(), VisitAsk("x")) == VisitAnswer("task")

    asyncio.run(main())


def test_an_answer_of_another_class_is_sent_as_it_is():
    """The asker is the one who knows what it expects."""

    async def main():
        async def other(call):
            return PageAnswer("other")

        async with RouterWorld(with_call(other)) as world:
            assert await world.answer(world.peer(), VisitAsk("x")) == PageAnswer("other")

    asyncio.run(main())


def test_a_call_without_answer_stays_open_if_it_may_be_answered_later():
    """Who takes the call may answer later, so None is no NO_ANSWER."""

    async def main():
        async def keeps(call):
            return None

        async with RouterWorld(with_call(keeps)) as world:
            peer = world.peer()
            peer.receive(peer.ask_frame(VisitAsk("x"), 9))
            await world.quiet()
            assert peer.written() == [], f"no {ErrorCode.NO_ANSWER!r}: it took a call"
            assert peer.actor.intake.in_work == 0

    asyncio.run(main())


class Wait:
    """An answer that a blocking receiver waits for; ``meanwhile`` is what that receiver does when it is woken."""

    def __init__(self, *, ended: bool = False, meanwhile: Any = None) -> None:
        self.ended, self.is_cancelled, self.meanwhile = ended, False, meanwhile

    def cancel(self) -> bool:
        if self.ended:
            if self.meanwhile is not None:
                self.meanwhile()
            return False
        self.ended = self.is_cancelled = True
        if self.meanwhile is not None:
            self.meanwhile()
        return True

    def cancelled(self) -> bool:
        return self.is_cancelled


def blocked() -> Call:
    return Call(None, None, None, math.inf, None, 7, None)  # type: ignore[arg-type]


def test_a_receiver_whose_wait_is_cancelled_is_told_by_that_alone():
    """It runs on at once, before the loop does: its next wait is its own."""
    call, seen = blocked(), []
    call.waits_for = Wait(meanwhile=lambda: seen.append(call.is_untold))
    call.give_up()
    assert seen == [False]
    assert not call.is_untold
    assert call.is_cancelled


def test_a_receiver_that_waits_for_nothing_or_whose_wait_has_just_ended_is_told_by_the_next():
    for wait in (None, Wait(ended=True)):
        call = blocked()
        call.waits_for = wait
        call.give_up()
        assert call.is_untold
        assert call.is_cancelled, "which tells it"
        assert not call.is_untold


def test_a_receiver_that_has_gone_on_to_its_next_wait_meanwhile_is_told_by_that():
    call = blocked()
    following = Wait()
    call.waits_for = Wait(ended=True, meanwhile=lambda: setattr(call, "waits_for", following))
    call.give_up()
    assert following.is_cancelled
    assert not call.is_untold
