"""Asking and sending over a given session, from coroutines and from threads."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tests.support.packets import VisitAnswer, VisitAsk, VisitNote
from tests.support.routers import HANG_S, RouterWorld
from zfoo_py.consumer.hashing import task_hash
from zfoo_py.errors import (
    AskTimeoutError,
    BlockingCallError,
    EncodeError,
    SessionClosedError,
    UnexpectedPacketError,
    UnmappedPacketError,
)
from zfoo_py.net import messages as m
from zfoo_py.protocol.attachment import CLIENT_KEYED, CLIENT_KEYLESS
from zfoo_py.protocol.packet import Packet
from zfoo_py.router import router as router_file


class Stray(Packet):
    """Mapped nowhere."""

    text: str


def test_an_ask_is_sent_with_its_lane_and_answered():
    """Answers find their asks by signal id, in whatever order they come."""

    async def main():
        async with RouterWorld() as world:
            peer = world.peer("client")  # a provider may ask the client it serves
            router = world.router
            keyed = router.async_ask(peer.session, VisitAsk("a"), key="ada")
            keyless = router.async_ask(peer.session, VisitAsk("b"), VisitAnswer, timeout_s=1.0)
            world.runtime.drain()
            (_, first), (_, second) = peer.written()
            assert (first.client, first.task_executor_hash) == (CLIENT_KEYED, task_hash("ada"))
            assert (second.client, second.remaining_ms) == (CLIENT_KEYLESS, 1001)
            peer.receive(peer.answer_frame(second.signal_id), peer.answer_frame(first.signal_id))
            assert await keyed == await keyless == VisitAnswer("!")

    asyncio.run(main())


def test_an_explicit_answer_class_is_the_one_that_is_expected():
    """Another packet fails the ask, typed."""

    async def main():
        async with RouterWorld() as world:
            peer = world.peer()
            right = world.router.async_ask(peer.session, VisitNote("x"), VisitAnswer)
            wrong = world.router.async_ask(peer.session, VisitNote("x"), VisitNote)
            world.runtime.drain()
            peer.receive(*map(peer.answer_frame, peer.signal_ids()))
            assert await right == VisitAnswer("!")
            with pytest.raises(UnexpectedPacketError):
                await wrong

    asyncio.run(main())


@pytest.mark.parametrize(
    ("packet", "answer", "kind", "text"),
    [
        (VisitAsk(3), None, EncodeError, r"VisitAsk\.text"),
        (Stray("x"), VisitAnswer, UnmappedPacketError, "Stray"),
        (VisitNote("x"), None, UnmappedPacketError, r"say which class answers it: class VisitNote\(Ask\[Answer\]\)"),
    ],
)
def test_what_cannot_be_asked_raises_at_the_call_and_nothing_is_sent(packet, answer, kind, text):
    """The fault is the caller's, so the caller's line raises."""

    async def main():
        async with RouterWorld() as world:
            peer = world.peer()
            with pytest.raises(kind, match=text):
                world.router.async_ask(peer.session, packet, answer)
            world.runtime.drain()
            assert peer.written() == []
            assert len(peer.actor._pending) == 0

    asyncio.run(main())


def test_a_key_that_is_none_raises_and_nothing_is_sent():
    """Only what hashes the same everywhere is a key."""

    async def main():
        async with RouterWorld() as world:
            peer = world.peer()
            with pytest.raises(TypeError):
                world.router.async_ask(peer.session, VisitAsk("x"), key=object())
            world.runtime.drain()
            assert peer.written() == []

    asyncio.run(main())


def test_asks_end_by_their_own_timeout_or_the_node_s():
    """Each at its own deadline."""

    async def main():
        async with RouterWorld(ask_timeout_s=3.0) as world:
            peer = world.peer()
            default = world.router.async_ask(peer.session, VisitAsk("a"))
            own = world.router.async_ask(peer.session, VisitAsk("b"), timeout_s=0.5)
            world.runtime.drain()
            world.clock.advance(0.6)
            assert isinstance(own.exception(), AskTimeoutError)
            assert not default.done()
            world.clock.advance(2.5)
            with pytest.raises(AskTimeoutError):
                await default

    asyncio.run(main())


def test_an_ask_of_a_session_that_has_ended_fails_at_once_and_did_not_run():
    """It may safely be asked elsewhere."""

    async def main():
        async with RouterWorld() as world:
            peer = world.peer()
            peer.tell(m.Close("over"))
            answer = world.router.async_ask(peer.session, VisitAsk("x"))
            error = answer.exception()
            assert isinstance(error, SessionClosedError)
            assert not error.may_have_run

    asyncio.run(main())


def test_a_thread_can_ask_and_wait():
    """The loop goes on meanwhile."""

    async def main():
        async with RouterWorld() as world:
            peer, router = world.peer(), world.router
            arrived = asyncio.Event()
            peer.connection.on_write = arrived.set
            asked = asyncio.create_task(asyncio.to_thread(router.sync_ask, peer.session, VisitAsk("x"), key=7))
            async with asyncio.timeout(HANG_S):
                await arrived.wait()
                [(_, attachment)] = peer.written()
                assert attachment.task_executor_hash == 7
                peer.receive(peer.answer_frame(attachment.signal_id))
                assert await asked == VisitAnswer("!")

    asyncio.run(main())


def test_a_blocking_ask_on_a_loop_is_refused_before_anything_is_sent():
    """It would wait for the loop that it blocks."""

    async def main():
        async with RouterWorld() as world:
            peer = world.peer()
            with pytest.raises(BlockingCallError, match="async_ask"):
                world.router.sync_ask(peer.session, VisitAsk("x"))
            world.runtime.drain()
            assert peer.written() == []

    asyncio.run(main())


def test_a_thread_does_not_wait_for_ever_on_a_loop_that_is_dead(monkeypatch):
    """The thread's own limit ends it, with an error that says what is wrong."""
    monkeypatch.setattr(router_file, "SYNC_GRACE_S", 0.0)

    async def main():
        async with RouterWorld() as world:
            peer = world.peer()
            errors = []

            def asks():
                try:
                    world.router.sync_ask(peer.session, VisitAsk("x"), timeout_s=0.0)
                except AskTimeoutError as error:
                    errors.append(error)

            thread = threading.Thread(target=asks)
            thread.start()
            thread.join(HANG_S)  # this blocks the loop, as a broken receiver would
            assert "event loop is blocked or closed" in str(errors[0])
            world.runtime.drain()

    asyncio.run(main())


# --- interceptors


class Hooks:
    """Writes down what is asked."""

    def __init__(self, raises=()):
        self.log = []
        self.raises = raises

    def before_ask(self, packet, key):
        self.log.append(("before", packet, key))
        if "before" in self.raises:
            raise LookupError

    def after_ask(self, packet, answer, error):
        self.log.append(("after", packet, answer, type(error)))
        if "after" in self.raises:
            raise LookupError


def test_hooks_run_around_an_ask():
    """The one after hears of the answer or the error."""

    async def main():
        hooks = Hooks()
        async with RouterWorld(interceptors=[hooks]) as world:
            assert world.router.has_interceptors
            peer, packet = world.peer(), VisitAsk("x")
            answered = world.router.async_ask(peer.session, packet, key=5)
            expired = world.router.async_ask(peer.session, packet, timeout_s=0.1)
            world.runtime.drain()
            peer.receive(peer.answer_frame(peer.signal_ids()[0]))
            world.clock.advance(1.0)
            assert answered.done()
            assert expired.done()
            assert hooks.log == [
                ("before", packet, 5),
                ("before", packet, None),
                ("after", packet, VisitAnswer("!"), type(None)),
                ("after", packet, None, AskTimeoutError),
            ]

    asyncio.run(main())


def test_a_hook_that_raises_before_fails_the_call_and_after_changes_nothing():
    """A hook may refuse an ask, and cannot undo one."""

    async def main():
        async with RouterWorld(interceptors=[Hooks(raises=("before",))]) as world:
            peer = world.peer()
            with pytest.raises(LookupError):
                world.router.async_ask(peer.session, VisitAsk("x"))
            world.runtime.drain()
            assert peer.written() == []
        async with RouterWorld(interceptors=[Hooks(raises=("after",))]) as world:
            peer = world.peer()
            answer = world.router.async_ask(peer.session, VisitAsk("x"))
            world.runtime.drain()
            peer.receive(peer.answer_frame(peer.signal_ids()[0]))
            assert await answer == VisitAnswer("!")
            assert peer.ref.is_alive()

    asyncio.run(main())


def test_without_hooks_there_is_nothing_to_pay():
    """No callback is registered."""

    async def main():
        async with RouterWorld() as world:
            assert not world.router.has_interceptors
            peer = world.peer()
            answer = world.router.async_ask(peer.session, VisitAsk("x"))
            assert list(answer._waiters or ()) == []
            answer.settle(VisitAnswer("x"))

    asyncio.run(main())
