"""What an ask's error carries, the same for whoever awaits it, waits for it in a thread, or is called back."""

from __future__ import annotations

import asyncio
import re
import threading
from typing import Any

import pytest

from tests.support.nodes import (
    HANG_S,
    Tally,
    TallyAnswer,
    TallyAsk,
    TallyNote,
    eventually,
    logged,
    other,
    pair,
    sessions_of,
    tallies,
)
from zfoo_py import (
    AskTimeoutError,
    BackpressureError,
    CallError,
    NoProviderError,
    RemoteError,
    Session,
    SessionClosedError,
    UnexpectedPacketError,
    packet_receiver,
)
from zfoo_py.protocol.raised import MAX_MESSAGE_CHARS


class MineError(Exception):
    """An application's own."""


class Faulty:
    """Fails in the way it is asked to."""

    def __init__(self) -> None:
        self.began = asyncio.Event()

    @packet_receiver
    async def at(self, session: Session, ask: TallyAsk) -> TallyAnswer:
        self.began.set()
        if ask.how == "raise":
            raise MineError("no such key")
        if ask.how == "long":
            raise MineError("x" * 1_000_000)
        if ask.how == "none":
            return None  # type: ignore[return-value]
        if ask.how == "note":
            return TallyNote("not the answer")  # type: ignore[return-value]
        if ask.how in {"hang", "lose"}:
            await asyncio.Event().wait()
        return TallyAnswer(ask.key, 1, "p")


async def awaited(c: Any, packet: Any, **how: Any) -> CallError:
    with pytest.raises(CallError) as caught:
        await c.consumer.async_ask(packet, TallyAnswer, key="k", **how)
    return caught.value


async def in_a_thread(c: Any, packet: Any, **how: Any) -> CallError:
    def ask() -> CallError:
        with pytest.raises(CallError) as caught:
            c.consumer.sync_ask(packet, TallyAnswer, key="k", **how)
        return caught.value

    return await asyncio.to_thread(ask)


async def called_back(c: Any, packet: Any, **how: Any) -> CallError:
    ended = asyncio.Event()
    answer = c.consumer.async_ask(packet, TallyAnswer, key="k", **how).when_complete(lambda _: ended.set())
    await ended.wait()
    with pytest.raises(CallError) as caught:
        answer.result()
    assert answer.exception() is caught.value
    return caught.value


# how → class, may_have_run, whether a provider was picked, what the text says
ROWS = {
    "raise": (RemoteError, True, True, r"error 1: MineError: no such key; look there: its log .* \(p \| "),
    "none": (RemoteError, True, True, "error 8: .*returned None.*; return a packet there"),
    "note": (UnexpectedPacketError, True, True, "answered with TallyNote, not with TallyAnswer: look at"),
    "hang": (AskTimeoutError, True, True, r"no answer from p \| .* before its deadline, 0.05 s after .*timeout_s="),
    "lose": (SessionClosedError, True, True, "in flight: .*ask again only if twice does no harm"),
    "unserved": (NoProviderError, False, False, "does not consume module 'other': add it to consumes"),
    "overloaded": (RemoteError, False, True, "error 5: .*; ask less, or later"),
    "pending": (BackpressureError, False, True, "1 asks are in flight .*: ask less, or later"),
}


@pytest.mark.parametrize("ask", [awaited, in_a_thread, called_back])
@pytest.mark.parametrize("how", ROWS)
def test_every_error_carries_the_same_facts(how, ask):
    kind, may_have_run, is_picked, text = ROWS[how]

    async def main():
        faulty = Faulty()
        provider = {"receivers": [faulty], "drain_timeout_s": 0.01, "max_in_work": 1 if how == "overloaded" else 10}
        limits = {"max_pending_asks": 1} if how == "pending" else {}
        async with pair(provider=provider, **limits) as (_, p, c), asyncio.timeout(HANG_S):
            packet = Tally("k") if how == "unserved" else TallyAsk("k", how)
            timeout_s = 0.05 if how == "hang" else HANG_S
            if how in {"overloaded", "pending"}:
                first = c.consumer.async_ask(TallyAsk("a", "hang"))
                await faulty.began.wait()
            asking = asyncio.create_task(ask(c, packet, timeout_s=timeout_s))
            if how == "lose":
                await faulty.began.wait()
                [session] = sessions_of(p)
                session._connection.abort()
            error = await asking
            assert type(error) is kind
            assert isinstance(error, TimeoutError) == (kind is AskTimeoutError)
            assert isinstance(error, ConnectionError) == (kind is SessionClosedError)
            assert error.may_have_run is may_have_run
            module = other if how == "unserved" else tallies
            assert (error.module, error.packet) == (module.name, type(packet).__name__)
            assert error.provider.startswith("p | ") == (error.sid == 1) == is_picked
            assert error.timeout_s == timeout_s
            assert (0.05 if how == "hang" else 0.0) <= error.elapsed_s + 0.002 < HANG_S
            assert re.search(text, str(error)), str(error)
            if how in {"overloaded", "pending"}:
                first.cancel()
            if how != "lose":  # a receiver whose asker's session was lost goes on
                await eventually(lambda: not p._engine.router.in_work)

    with logged("CRITICAL"):
        asyncio.run(main())


@pytest.mark.parametrize("ask", [awaited, in_a_thread, called_back])
def test_a_remote_error_has_type_and_text_and_the_traceback_only_if_the_provider_sends_it(ask):
    async def main():
        for allowed in (False, True):
            provider = {"receivers": [Faulty()], "send_tracebacks": allowed}
            async with pair(provider=provider) as (_, _p, c), asyncio.timeout(HANG_S):
                error = await ask(c, TallyAsk("k", "raise"))
                assert (error.remote_type, error.remote_message, error.code) == ("MineError", "no such key", 1)
                assert ("test_error_facts.py" in error.remote_traceback) == allowed
                assert "Traceback" not in str(error)
                assert error.remote_traceback.startswith("Traceback (most recent call last):\n") == allowed
                error = await ask(c, TallyAsk("k", "long"))
                assert (error.remote_type, len(error.remote_message)) == ("MineError", MAX_MESSAGE_CHARS)
                assert len(str(error)) < MAX_MESSAGE_CHARS + 300

    with logged("CRITICAL"):
        asyncio.run(main())


def test_a_thread_that_waits_on_a_dead_loop_hears_of_it_with_all_facts():
    """Nobody but the thread itself can end its ask then."""

    async def main():
        async with pair(provider={"receivers": [Faulty()]}) as (_, _p, c):
            errors = []

            def ask():
                try:
                    c.consumer.sync_ask(TallyAsk("k", "hang"), timeout_s=0.01)
                except AskTimeoutError as error:
                    errors.append(error)

            thread = threading.Thread(target=ask)
            thread.start()
            thread.join(HANG_S)  # the loop is blocked as long as this waits
            [error] = errors
            assert (error.module, error.packet, error.timeout_s) == ("tallies", "TallyAsk", 0.01)
            assert error.elapsed_s >= 1.0

    asyncio.run(main())
