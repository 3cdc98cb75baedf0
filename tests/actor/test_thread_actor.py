"""Actors with a thread of their own: bounded, and hard to kill."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterator

import pykka
import pytest

from tests.support.actors import HANG_S, Died, fail, recorder
from zfoo_py.actor import ThreadActor
from zfoo_py.errors import BlockingCallError, InboxFullError

RAISED = [ValueError("told"), Died("told"), SystemExit(1), KeyboardInterrupt()]


@pytest.fixture
def start() -> Iterator:
    """Start actors, and stop them at the end."""
    refs = []

    def start(cls):
        refs.append(cls.start())
        return refs[-1]

    yield start
    for ref in refs:
        ref.stop(timeout=HANG_S)


def holding(ref) -> threading.Event:
    """Hold the actor's thread until the event is set; returns once it is held."""
    gate, held = threading.Event(), threading.Event()
    ref.tell(lambda _: (held.set(), gate.wait(HANG_S)))
    assert held.wait(HANG_S)
    return gate


def test_it_is_a_threading_actor_on_a_daemon_thread(start):
    ref = start(recorder(ThreadActor))
    thread = ref.ask(lambda _: threading.current_thread(), timeout=HANG_S)
    assert issubclass(ThreadActor, pykka.ThreadingActor)
    assert thread.daemon
    assert thread is not threading.current_thread()


def test_a_full_inbox_refuses_and_a_stop_passes(start):
    cls = recorder(ThreadActor, inbox_limit_messages=3)
    ref = start(cls)
    gate = holding(ref)
    for number in range(3):
        ref.tell(number)
    with pytest.raises(InboxFullError, match=r"Recorder is full \(3 messages\)") as caught:
        ref.tell(3)
    with pytest.raises(InboxFullError):
        ref.ask(3, timeout=HANG_S)
    assert caught.value.limit_messages == 3
    stopped = ref.stop(block=False)
    gate.set()
    assert stopped.get(timeout=HANG_S) is True
    assert cls.handled == [0, 1, 2]


def test_the_default_bound_is_the_class_attribute():
    assert ThreadActor.inbox_limit_messages == 1024


@pytest.mark.parametrize("error", RAISED)
def test_a_told_message_that_raises_goes_to_on_turn_error_and_the_actor_lives_on(start, error):
    got = queue.SimpleQueue()
    cls = recorder(ThreadActor, on_turn_error=lambda _, message, raised: got.put((message, raised)))
    ref, bystander = start(cls), start(recorder(pykka.ThreadingActor))
    message = fail(error)
    ref.tell(message)
    assert got.get(timeout=HANG_S) == (message, error)
    assert ref.ask("next", timeout=HANG_S) == "next"
    assert bystander.ask("ping", timeout=HANG_S) == "ping"


@pytest.mark.parametrize("error", RAISED)
def test_an_asked_message_that_raises_is_the_askers(start, error):
    ref, bystander = start(recorder(ThreadActor)), start(recorder(pykka.ThreadingActor))
    expected = type(error) if isinstance(error, Exception) else pykka.ActorDeadError
    with pytest.raises(expected) as caught:
        ref.ask(fail(error), timeout=HANG_S)
    assert error in (caught.value, caught.value.__cause__)
    assert ref.ask("next", timeout=HANG_S) == "next"
    assert bystander.is_alive()


@pytest.mark.parametrize("error", RAISED)
def test_a_guard_that_raises_itself_is_survived(start, error):
    def on_turn_error(self, message, first):
        raise error

    ref, bystander = start(recorder(ThreadActor, on_turn_error=on_turn_error)), start(recorder(pykka.ThreadingActor))
    ref.tell(fail(ValueError()))
    assert ref.ask("next", timeout=HANG_S) == "next"
    assert bystander.is_alive()


@pytest.mark.parametrize("error", RAISED)
def test_an_on_stop_that_raises_ends_its_actor_and_no_other(start, error):
    ref, bystander = (
        start(recorder(ThreadActor, on_stop=lambda _: fail(error)(None))),
        start(recorder(pykka.ThreadingActor)),
    )
    assert ref.stop(timeout=HANG_S) is True
    assert bystander.ask("ping", timeout=HANG_S) == "ping"


def test_its_answers_and_its_end_can_be_awaited_and_block_no_loop(start):
    ref = start(recorder(ThreadActor))

    async def main():
        gate = threading.Event()
        answer = ref.ask(lambda _: gate.wait(HANG_S), block=False)
        waiting = asyncio.create_task(wait(answer))
        await asyncio.sleep(0)
        for blocking in (answer.get, lambda: ref.ask("x")):
            with pytest.raises(BlockingCallError):
                blocking()
        gate.set()
        assert await waiting is True
        return await ref.stop(block=False)

    async def wait(future):
        return await future

    assert asyncio.run(main()) is True


def test_the_default_guard_logs_and_lives_on(start):
    ref = start(recorder(ThreadActor))
    ref.tell(fail(Died()))
    assert ref.ask("next", timeout=HANG_S) == "next"


def test_what_is_asked_behind_a_stop_is_answered_with_actor_dead(start):
    cls = recorder(ThreadActor)
    ref = start(cls)
    gate = holding(ref)
    ref.stop(block=False)
    asked = ref.ask("late", block=False)
    gate.set()
    with pytest.raises(pykka.ActorDeadError):
        asked.get(timeout=HANG_S)
