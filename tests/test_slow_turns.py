"""A receiver, a callback or a turn that holds the loop is named in the log, in an event and in the figures."""

from __future__ import annotations

import asyncio
import inspect
import time

import pytest

from tests.support.nodes import HANG_S, TallyAnswer, TallyAsk, eventually, logged, pair
from zfoo_py import packet_receiver, slow_turns
from zfoo_py.actor import LoopActor
from zfoo_py.events import ProviderDown, SlowTurn

LIMIT_MS = 5.0


def hold(node, times=1):
    """Hold this thread until the watch has seen it."""
    pace = node._engine.runtime.pace
    pace.begin()  # a busy machine may have made this batch slow, and seen, already
    until_s, wanted = time.monotonic() + HANG_S, pace.count + times
    while pace.count < wanted:
        assert time.monotonic() < until_s
        time.sleep(0)


def slow_turns_of(node):
    """Return a list that gets the slow turns of this file's functions; a busy machine has more of them."""
    told = []
    node.events.subscribe(
        SlowTurn, lambda turn: told.append(turn) if turn.at.startswith("test_slow_turns.py") else None
    )
    return told


def line_of(function):
    return inspect.unwrap(function).__code__.co_firstlineno


@packet_receiver
async def at_once(session, ask: TallyAsk) -> TallyAnswer:
    hold(session.node)
    return TallyAnswer(ask.key, 1, "p")


@packet_receiver
async def after_a_wait(session, ask: TallyAsk) -> TallyAnswer:
    await asyncio.sleep(0)
    inner(session.node)
    return TallyAnswer(ask.key, 1, "p")


@packet_receiver
async def after_many_asks(session, ask: TallyAsk) -> TallyAnswer:
    for _ in range(40):
        session.node._engine.runtime.drain_batch()
    inner(session.node)
    return TallyAnswer(ask.key, 1, "p")


def inner(node):
    hold(node)


@pytest.mark.parametrize("receiver", [at_once, after_a_wait, after_many_asks])
def test_a_receiver_is_named_with_file_and_line(receiver):
    async def main():
        given = {"receivers": [receiver], "slow_turn_ms": LIMIT_MS}
        async with pair(provider=given) as (_, p, c):
            told = slow_turns_of(p)
            await c.consumer.async_ask(TallyAsk("a"), timeout_s=HANG_S)
            await eventually(lambda: told)
            [turn] = told
            assert turn.cause == f"{receiver.__name__} (test_slow_turns.py:{line_of(receiver)})"
            assert turn.at.startswith("test_slow_turns.py:")
            assert turn.held_ms >= LIMIT_MS
            assert (await p.stats())["actors"]["slow_turns"] >= 1

    with logged() as lines:
        asyncio.run(main())
    [line] = [line for line in lines if "has held the loop of node p" in line and receiver.__name__ in line]
    assert receiver.__name__ in line
    assert "`def`" in line


def test_a_callback_and_a_subscriber_are_named_too():
    async def main():
        async with pair(slow_turn_ms=LIMIT_MS) as (_, p, c):
            told = slow_turns_of(c)

            def slow_callback(_):
                hold(c)

            def slow_subscriber(_):
                hold(c)

            c.consumer.async_ask(TallyAsk("a")).when_complete(slow_callback)
            await eventually(lambda: told)
            c.events.subscribe(ProviderDown, slow_subscriber)
            await p.stop()
            await eventually(lambda: len(told) == 2)
            assert [turn.cause.split()[0].rpartition(".")[2] for turn in told] == ["slow_callback", "slow_subscriber"]

    asyncio.run(main())


def test_each_cause_is_told_of_once_a_minute_and_counted_always(monkeypatch):
    now_s = [1000.0]
    monkeypatch.setattr(slow_turns, "perf_counter", lambda: now_s[0])

    async def main():
        given = {"receivers": [at_once], "slow_turn_ms": LIMIT_MS}
        async with pair(provider=given) as (_, p, c):
            told = slow_turns_of(p)
            for expected in (1, 1, 2):
                await c.consumer.async_ask(TallyAsk("a"), timeout_s=HANG_S)
                await eventually(lambda: len(told) >= expected)  # noqa: B023
                assert len(told) == expected
                now_s[0] += 40.0
            assert p._engine.runtime.pace.count >= 3

    with logged() as lines:
        asyncio.run(main())
    assert sum("at_once" in line for line in lines) == 2


def test_many_causes_are_forgotten_at_once(monkeypatch):
    monkeypatch.setattr(slow_turns, "MAX_CAUSES", 2)

    async def main():
        async with pair() as (_, _, c):
            of = c._engine._slow_turns
            from zfoo_py.actor import Held  # noqa: PLC0415

            assert [of._seen(Held(name, "", 0.0, 0.1)) for name in ("a", "b", "a", "c", "a")] == [
                True,
                True,
                False,
                True,
                True,
            ]
            assert len(of._told_s) == 2

    asyncio.run(main())


def test_an_actors_turn_is_named_too():
    """An application's actor by its class, one of ours by the function that held it."""

    class Slow(LoopActor):
        def on_receive(self, node):
            hold(node)

    async def main():
        async with pair(slow_turn_ms=LIMIT_MS) as (_, _, c):
            told = slow_turns_of(c)
            runtime = c._engine.runtime
            runtime.spawn(Slow).tell(c)
            await eventually(lambda: told)
            registry = c._engine.registry.actor
            registry._turns[str] = lambda _: hold(c)
            c._engine.registry.tell("slow")
            await eventually(lambda: len(told) == 2)
            assert [turn.cause.split()[0].rpartition(".<locals>.")[2] for turn in told] == [
                "Slow.on_receive",
                "<lambda>",
            ]
            assert (await c.stats())["actors"]["slow_turns"] >= 2
            registry._turns.pop(str)

    asyncio.run(main())
