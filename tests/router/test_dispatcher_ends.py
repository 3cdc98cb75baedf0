"""How calls end when several would end them: two answers at once, hooks that raise anything, and the node's stop."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from tests.support.nodes import logged
from tests.support.packets import VisitAnswer, VisitAsk
from tests.support.routers import HANG_S, RouterWorld, spin
from zfoo_py.errors import AlreadyAnsweredError
from zfoo_py.protocol.common import Cancel, Error, ErrorCode
from zfoo_py.router.call import Call
from zfoo_py.router.receivers import packet_receiver


def keeping(calls: list[Call], answer: VisitAnswer | None = None) -> Any:
    """Return a receiver that keeps its call, and returns ``answer``."""

    @packet_receiver
    async def receiver(session: Any, ask: VisitAsk, call: Call) -> VisitAnswer | None:
        calls.append(call)
        return answer

    return receiver


def test_of_two_threads_that_answer_at_once_one_does():
    """Both have seen that it is not answered yet; the peer gets one answer all the same."""

    async def main():
        calls: list[Call] = []
        async with RouterWorld(keeping(calls)) as world:
            peer = world.peer()
            peer.receive(peer.ask_frame(VisitAsk("x"), 1))
            await world.quiet()
            both, encode, raised = threading.Barrier(2), world.router._codec.encode, []

            def slow_encode(packet):
                both.wait(HANG_S)
                return encode(packet)

            world.router._codec.encode = slow_encode

            def answers(text):
                try:
                    calls[0].answer(VisitAnswer(text))
                except AlreadyAnsweredError as error:
                    raised.append(error)

            threads = [threading.Thread(target=answers, args=(text,)) for text in "ab"]
            for thread in threads:
                thread.start()
            for thread in threads:
                await asyncio.to_thread(thread.join, HANG_S)
            world.router._codec.encode = encode
            assert len(await world.answers(peer)) == 1
            await asyncio.sleep(0)
            world.runtime.drain()
            assert peer.written() == []
            assert len(raised) == 1

    asyncio.run(main())


def test_a_thread_that_answers_while_the_receiver_returns_is_one_answer_too():
    async def main():
        calls: list[Call] = []
        async with RouterWorld(keeping(calls, VisitAnswer("returned"))) as world:
            peer, encode = world.peer(), world.router._codec.encode

            def interrupted(packet):
                if packet == VisitAnswer("returned"):
                    thread = threading.Thread(target=calls[0].answer, args=(VisitAnswer("from a thread"),))
                    thread.start()
                    thread.join(HANG_S)
                return encode(packet)

            world.router._codec.encode = interrupted
            with logged("CRITICAL"):
                assert await world.answer(peer, VisitAsk("x")) == VisitAnswer("from a thread")
                await world.quiet()
            assert peer.written() == []
            assert (world.router.receiver_failures, world.router.in_work) == (1, 0)

    asyncio.run(main())


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, asyncio.CancelledError, GeneratorExit])
def test_a_hook_may_raise_anything(kind):
    """The ask gets it as an error; no driver dies of it, and the first hook hears the end."""

    class Hook:
        heard: list[Any] = []  # noqa: RUF012 - one test's

        def __init__(self, raises):
            self.raises = raises

        def before_receive(self, session, packet):
            if self.raises and packet.text == "bad":
                raise kind

        def after_receive(self, session, packet, error):
            self.heard.append((self.raises, type(error)))

    @packet_receiver
    async def echo(session: Any, ask: VisitAsk) -> VisitAnswer:
        return VisitAnswer(ask.text)

    async def main():
        async with RouterWorld(echo, interceptors=[Hook(raises=False), Hook(raises=True)]) as world:
            peer = world.peer()
            with logged("CRITICAL"):
                error = await world.answer(peer, VisitAsk("bad"))
            assert error == Error(ErrorCode.RECEIVER_RAISED, kind.__name__)
            assert Hook.heard == [(False, kind)]
            assert await world.answer(peer, VisitAsk("good"), signal_id=2) == VisitAnswer("good")
            assert world.router.in_work == 0

    asyncio.run(main())


def test_blocking_calls_that_wait_at_the_stop_never_begin_and_are_refused():
    """Also while suspended coroutines still get their time to end; the asker may ask elsewhere."""

    async def main():
        began, go_on, ran = threading.Event(), threading.Event(), []

        @packet_receiver
        def blocks(session: Any, ask: VisitAsk) -> VisitAnswer:
            ran.append(ask.text)
            began.set()
            go_on.wait(HANG_S)
            return VisitAnswer(ask.text)

        async with RouterWorld(blocks, workers=1) as world:
            peer = world.peer()
            peer.receive(*(peer.ask_frame(VisitAsk(str(number)), number) for number in (1, 2, 3)))
            await asyncio.to_thread(began.wait, HANG_S)
            stopping = asyncio.create_task(world.router.stop())
            refused = await world.answers(peer, 2)
            assert [(number, error.code) for number, error in refused] == [(n, ErrorCode.DRAINING) for n in (2, 3)]
            go_on.set()
            await (await stopping)
            assert ran == ["1"]

    asyncio.run(main())


def test_what_expires_in_the_queue_of_the_workers_never_begins():
    """The only worker is at another call until its time is over."""

    async def main():
        began, go_on, ran = threading.Event(), threading.Event(), []

        @packet_receiver
        def blocks(session: Any, ask: VisitAsk) -> VisitAnswer:
            ran.append(ask.text)
            began.set()
            go_on.wait(HANG_S)
            return VisitAnswer(ask.text)

        async with RouterWorld(blocks, workers=1) as world:
            peer = world.peer()
            peer.receive(
                peer.ask_frame(VisitAsk("first"), 1, remaining_ms=60_000),
                peer.ask_frame(VisitAsk("late"), 2, remaining_ms=100),
                peer.ask_frame(VisitAsk("in time"), 3, remaining_ms=60_000),
            )
            await asyncio.to_thread(began.wait, HANG_S)
            world.clock.advance(0.2)
            go_on.set()
            answers = dict(await world.answers(peer, 3))
            assert (answers[1], answers[3]) == (VisitAnswer("first"), VisitAnswer("in time"))
            assert answers[2].code == ErrorCode.EXPIRED
            assert ran == ["first", "in time"]
            assert (world.router.expired, peer.actor.intake.in_work) == (1, 0)

    asyncio.run(main())


def test_what_is_cancelled_before_its_turn_never_runs():
    """The ask and its Cancel come in one chunk; nothing is answered, and it is counted."""

    async def main():
        calls: list[Call] = []
        async with RouterWorld(keeping(calls, VisitAnswer("!"))) as world:
            peer = world.peer()
            peer.receive(peer.ask_frame(VisitAsk("x"), 1), peer.one_way(Cancel([1])), peer.ask_frame(VisitAsk("y"), 2))
            await world.quiet()
            assert [call.packet.text for call in calls] == ["y"]
            assert peer.signal_ids() == [2]
            assert (world.router.cancelled, world.router.expired, peer.actor.intake.in_work) == (1, 0, 0)

    asyncio.run(main())


def test_stop_ends_suspended_receivers_and_their_askers_hear_of_it():
    """Nobody waits for its deadline because this node ends."""

    async def main():
        @packet_receiver
        async def waits(session: Any, ask: VisitAsk) -> VisitAnswer:
            return await asyncio.get_running_loop().create_future()

        async with RouterWorld(waits) as world:
            peer = world.peer()
            peer.receive(peer.ask_frame(VisitAsk("x")))
            await spin()
            await world.router.stop()
            world.runtime.drain()
            [error] = peer.packets()
            assert error.code == ErrorCode.RECEIVER_RAISED
            assert error.message.startswith("CancelledError: ")
            assert "was still running when its node stopped" in error.message
            assert "limits.drain_timeout_s" in error.message
            assert world.router.receiver_failures == 0

    asyncio.run(main())
