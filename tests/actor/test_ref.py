"""What the address of an actor does with special messages, blocking calls, and actors that are gone."""

from __future__ import annotations

import asyncio

import pytest
from pykka import ActorDeadError, ActorRef, Timeout

from tests.support.actors import HANG_S, LoopThread, Urgent, as_another_thread, in_threads, recorder, step_runtime
from zfoo_py.actor import Abort, LoopActorRef, LoopFuture
from zfoo_py.actor.messages import ActorStop
from zfoo_py.errors import BlockingCallError, InboxFullError


def test_a_loop_actors_ref_is_a_pykka_ref():
    runtime, _ = step_runtime()
    ref = runtime.spawn(recorder())
    assert isinstance(ref, LoopActorRef)
    assert isinstance(ref, ActorRef)


@pytest.mark.parametrize("where", ["loop", "thread"])
def test_a_tell_to_a_dead_actor_raises_outside_of_turns(where):
    runtime, loop = step_runtime()
    cls = recorder()
    ref = runtime.spawn(cls)
    ref.tell(Abort())
    loop.run()
    tells = [lambda message=message: ref.tell(message) for message in ("x", Urgent(), Abort(), ActorStop())]
    for tell in tells:
        with pytest.raises(ActorDeadError, match="Recorder not found"):
            tell() if where == "loop" else in_threads(tell)
    assert (cls.undelivered, runtime.undelivered) == ([], 0), "who raises has not lost it"


def test_a_tell_to_a_dead_actor_in_a_turn_goes_to_on_undelivered_whatever_the_message():
    runtime, loop = step_runtime()
    cls = recorder()
    ref, sender = runtime.spawn(cls), runtime.spawn(recorder())
    ref.tell(Abort())
    loop.run()
    messages = ["x", Urgent(), Abort(), ActorStop()]
    sender.tell(lambda _: [ref.tell(message) for message in messages])
    loop.run()
    assert cls.undelivered == messages
    assert sender.is_alive()


def test_a_message_of_a_thread_that_finds_its_actor_dead_on_arrival_is_given_back():
    runtime, loop = step_runtime()
    cls = recorder()
    ref = runtime.spawn(cls)
    ref.tell(Abort())
    with as_another_thread(runtime):
        ref.tell("on its way")
        asked = ref.ask("asked", block=False)
        stopped = ref.stop(block=False)
    loop.run()
    assert cls.undelivered == ["on its way"]
    assert isinstance(asked.exception(), ActorDeadError)
    assert stopped.value() is False


def test_messages_of_one_thread_stay_in_order():
    with LoopThread() as thread:
        cls = recorder()
        ref = thread.spawn(cls)
        for number in range(1000):
            ref.tell(number) if number % 3 else ref.ask(number, block=False)
        ref.stop(timeout=HANG_S)
    assert cls.handled == list(range(1000))


@pytest.mark.parametrize("block", [True, False])
def test_an_ask_never_raises_a_refusal_before_it_has_a_future(block):
    with LoopThread() as thread:
        dead, full = thread.spawn(recorder()), thread.spawn(recorder(inbox_limit_messages=0))
        dead.stop(timeout=HANG_S)
        for ref, error in ((dead, ActorDeadError), (full, InboxFullError)):
            if block:
                with pytest.raises(error):
                    ref.ask("x", timeout=HANG_S)
            else:
                future = ref.ask("x", block=False)
                assert isinstance(future, LoopFuture)
                assert isinstance(future.exception(), error)


def test_ask_and_stop_time_out_in_a_thread_and_are_done_later_all_the_same():
    runtime, loop = step_runtime()
    cls = recorder()
    ref = runtime.spawn(cls)
    for call in (lambda: ref.ask("late", timeout=0), lambda: ref.stop(timeout=0)):
        with pytest.raises(Timeout):
            call()
    loop.run()
    assert cls.handled == ["late"]
    assert not ref.is_alive()


def test_blocking_calls_are_refused_on_a_loop_before_anything_is_sent():
    async def main():
        runtime, loop = step_runtime()
        cls = recorder()
        ref = runtime.spawn(cls)
        with pytest.raises(BlockingCallError, match=r"ask\(\) would block the event loop.*block=False"):
            ref.ask("x")
        with pytest.raises(BlockingCallError, match=r"stop\(\) would block the event loop.*block=False"):
            ref.stop()
        loop.run()
        assert cls.handled == []
        assert ref.is_alive()

    asyncio.run(main())


def test_a_proxy_attribute_cannot_be_set_on_a_loop_because_that_waits():
    async def main():
        runtime, _ = step_runtime()
        proxy = runtime.spawn(recorder()).proxy()
        with pytest.raises(BlockingCallError):
            proxy.handled = []

    asyncio.run(main())


def test_ask_can_abort_and_is_answered():
    runtime, loop = step_runtime()
    ref = runtime.spawn(recorder())
    ref.tell("left")
    aborted = ref.ask(Abort(), block=False)
    loop.run()
    assert aborted.done()
    assert aborted.exception() is None
    assert not ref.is_alive()


def test_a_closed_loop_refuses_instead_of_swallowing():
    runtime, loop = step_runtime()
    ref = runtime.spawn(recorder())
    loop.closed = True
    for _ in range(3):
        with pytest.raises(ActorDeadError, match="loop it lived on is closed"):
            in_threads(lambda: ref.tell("x"))
        with pytest.raises(RuntimeError, match="closed"):
            ref.tell("on the loop's own thread")
    with as_another_thread(runtime):
        assert ref.stop(block=False).value() is False
        assert isinstance(ref.ask("x", block=False).exception(), ActorDeadError)


def test_a_loop_that_closes_under_messages_on_their_way_refuses_the_next():
    runtime, loop = step_runtime()
    ref = runtime.spawn(recorder())
    with as_another_thread(runtime):
        ref.tell("on its way when the loop closed")
        loop.closed = True
        with pytest.raises(ActorDeadError):
            ref.tell("next")
