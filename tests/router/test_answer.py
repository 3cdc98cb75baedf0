"""The answer to come: awaited anywhere, or told to a callback where its state is."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from tests.support.packets import VisitAnswer, VisitAsk
from tests.support.routers import HANG_S, RouterWorld
from tests.support.sessions import World
from zfoo_py.errors import AskTimeoutError
from zfoo_py.router.answer import Answer, check_timeout
from zfoo_py.router.receivers import packet_receiver


def test_result_does_not_wait():
    """It is for callbacks; called too early it says what to do instead."""
    answer = Answer()
    with pytest.raises(RuntimeError, match="is not there yet: await it, or use when_complete"):
        answer.result()
    answer.settle(VisitAnswer("x"))
    assert answer.result() == VisitAnswer("x")
    assert (answer.provider, answer.membership_version) == ("", 0)


def test_result_raises_what_it_ended_with():
    """A callback learns of a failed ask as an awaiting coroutine does."""
    answer = Answer()
    answer.settle(error=AskTimeoutError("late"))
    with pytest.raises(AskTimeoutError, match="late"):
        answer.result()


def test_it_can_be_awaited_any_number_of_times():
    """By several tasks at once, and again when it is there."""

    async def main():
        async with RouterWorld() as world:
            peer = world.peer()
            answer = world.router.async_ask(peer.session, VisitAsk("x"))
            world.runtime.drain()
            waiters = [asyncio.create_task(wait(answer)) for _ in range(3)]
            await asyncio.sleep(0)
            peer.receive(peer.answer_frame(peer.signal_ids()[0]))
            assert await asyncio.gather(*waiters, wait(answer)) == [VisitAnswer("!")] * 4

    async def wait(answer):
        return await answer

    asyncio.run(main())


def test_a_callback_of_a_coroutine_runs_on_its_loop():
    """In a later callback, not within the turn of the session that brings the answer."""

    async def main():
        async with RouterWorld() as world:
            peer = world.peer()
            heard = asyncio.get_running_loop().create_future()
            answer = world.router.async_ask(peer.session, VisitAsk("x"))
            assert answer.when_complete(lambda done: heard.set_result((done, threading.get_ident()))) is answer
            world.runtime.drain()
            peer.receive(peer.answer_frame(peer.signal_ids()[0]))
            assert not heard.done(), "not in the turn of the session"
            async with asyncio.timeout(HANG_S):
                assert await heard == (answer, threading.get_ident())

    asyncio.run(main())


def test_a_callback_on_an_answer_that_is_there_runs_too():
    """Who comes late is called, too."""

    async def main():
        async with RouterWorld() as world:
            answer = Answer(world.runtime)
            answer.settle(VisitAnswer("x"))
            heard = asyncio.get_running_loop().create_future()
            answer.when_complete(heard.set_result)
            async with asyncio.timeout(HANG_S):
                assert await heard is answer

    asyncio.run(main())


def test_a_callback_of_a_plain_thread_runs_on_the_node_s_loop_and_may_raise():
    """It does not run in the turn of the session that brings the answer, which its error would close."""

    async def main():
        async with RouterWorld() as world:
            loop, errors = asyncio.get_running_loop(), []
            reported = loop.create_future()
            loop.set_exception_handler(lambda _, context: (errors.append(context), reported.set_result(None)))
            peer = world.peer()
            threads = []

            def asks():
                def callback(done):
                    threads.append(threading.get_ident())
                    raise LookupError(done.result().text)

                world.router.async_ask(peer.session, VisitAsk("x")).when_complete(callback)

            await asyncio.to_thread(asks)
            await asyncio.sleep(0)
            world.runtime.drain()
            peer.receive(peer.answer_frame(peer.signal_ids()[0]))
            assert peer.ref.is_alive()
            async with asyncio.timeout(HANG_S):
                await reported
            assert threads == [threading.get_ident()]
            assert isinstance(errors[0]["exception"], LookupError)
            assert peer.ref.is_alive()

    asyncio.run(main())


@pytest.mark.parametrize("is_async", [True, False])
def test_a_callback_of_a_receiver_runs_on_its_lane(is_async):
    """It waits for the receiver that holds the lane, and runs where that kind of receivers runs."""

    async def main():
        log, gate, loop = [], asyncio.Event(), asyncio.get_running_loop()
        main_thread = threading.get_ident()

        def note(text):
            log.append((text, (threading.get_ident() == main_thread) is is_async))

        def ask_back(session):
            world.router.async_ask(session, VisitAsk("back")).when_complete(lambda done: note(done.result().text))

        if is_async:

            @packet_receiver
            async def receiver(session: Any, ask: VisitAsk) -> VisitAnswer:
                ask_back(session)
                await gate.wait()
                note("receiver ends")
                return VisitAnswer("")
        else:

            @packet_receiver
            def receiver(session: Any, ask: VisitAsk) -> VisitAnswer:
                ask_back(session)
                asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(HANG_S)
                note("receiver ends")
                return VisitAnswer("")

        async with RouterWorld(receiver) as world:
            peer = world.peer()
            peer.receive(peer.ask_frame(VisitAsk("x"), 1, 5))
            [(signal_id, packet)] = await world.answers(peer)
            assert packet == VisitAsk("back")
            peer.receive(peer.answer_frame(signal_id, VisitAnswer("callback")))
            for _ in range(10):
                await asyncio.sleep(0)
            assert log == []
            gate.set()
            await world.answers(peer)
            await world.quiet()
            assert log == [("receiver ends", True), ("callback", True)]

    asyncio.run(main())


def test_a_callback_outlives_the_loop_that_asked():
    """That loop is closed when the answer comes: nothing happens, and nothing breaks."""
    with World() as world:
        session = world.up()
        heard = []

        async def asks():
            call = world.call()
            call.answer.when_complete(heard.append)
            return call

        call = asyncio.run(asks())
        call.answer.settle(VisitAnswer("late"))
        assert heard == []
        assert session.ref.is_alive()


def test_a_time_out_is_a_number_of_seconds():
    """0 and less are what may be left of somebody's time."""
    assert [check_timeout(seconds) for seconds in (-1, 0, 0.5, 4e6)] == [-1, 0, 0.5, 4e6]
    for seconds in (float("nan"), float("inf"), 1e300):
        with pytest.raises(ValueError, match="every ask ends"):
            check_timeout(seconds)
    with pytest.raises(TypeError, match="must be a number of seconds"):
        check_timeout("3")


def test_a_wrong_time_out_is_refused_at_the_call_site_and_harms_no_other_ask():
    """NaN got as far as the session, which it ended together with every ask in flight there."""

    async def main():
        async with RouterWorld() as world:
            peer = world.peer()
            other = world.router.async_ask(peer.session, VisitAsk("a"))
            for seconds in (float("nan"), float("inf")):
                with pytest.raises(ValueError, match="timeout_s"):
                    world.router.async_ask(peer.session, VisitAsk("b"), timeout_s=seconds)
            world.runtime.drain()
            assert peer.session.is_up
            assert not other.done()

    asyncio.run(main())
