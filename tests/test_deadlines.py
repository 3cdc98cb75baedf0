"""Deadlines between real nodes: they travel, they are inherited, what has expired never runs, and nothing stays."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

import pytest

from tests.support.nodes import HANG_S, TABLE, TallyAnswer, TallyAsk, eventually, pair, sessions_of, tallies
from zfoo_py import AskTimeoutError, Call, Node, Session, packet_receiver


class Sleeps:
    """Sleeps, or answers late, twice, or not at all; counts what began."""

    def __init__(self) -> None:
        self.began = 0
        self.go_on = asyncio.Event()

    @packet_receiver
    async def at(self, _session: Session, ask: TallyAsk) -> TallyAnswer:
        self.began += 1
        if ask.how:
            await self.go_on.wait()
        return TallyAnswer(ask.key, 1, "p")


def left(*nodes: Node) -> int:
    """Return how much is pending or in work."""
    routers = [node._engine.router for node in nodes if node._engine is not None]
    held = sum(router.in_work + len(router._begun) + len(router._lanes) for router in routers)
    return held + sum(len(session._pending) for node in nodes for session in sessions_of(node))


# --- inheritance


class Asks:
    """Asks the last node on in its receiver, in each of the ways there are."""

    def __init__(self) -> None:
        self.remaining_s: list[float] = []
        self.errors: list[AskTimeoutError] = []
        self.later: list[asyncio.Task[Any]] = []

    @packet_receiver
    async def at(self, session: Session, ask: TallyAsk, call: Call) -> TallyAnswer:
        self.remaining_s.append(call.remaining_s)
        consumer = session.node.consumer
        try:
            if ask.how == "later":
                self.later.append(asyncio.create_task(self.after_the_end(consumer)))
                return TallyAnswer("answered", 1, "p")
            if ask.how == "thread":
                await asyncio.to_thread(consumer.sync_ask, TallyAsk("z", "wait"))
            elif ask.how == "less":
                await consumer.async_ask(TallyAsk("z", "wait"), timeout_s=0.05)
            else:
                await consumer.async_ask(TallyAsk("z", "wait"), timeout_s=HANG_S)
        except AskTimeoutError as error:
            self.errors.append(error)
            raise
        raise AssertionError("it was answered")

    async def after_the_end(self, consumer: Any) -> TallyAnswer:
        await asyncio.sleep(0.02)
        return await consumer.async_ask(TallyAsk("z"))


class Counts:
    """Never answers; notes what time it was left."""

    def __init__(self) -> None:
        self.remaining_s: list[float] = []

    @packet_receiver
    async def at(self, _session: Session, ask: TallyAsk, call: Call) -> TallyAnswer:
        self.remaining_s.append(call.remaining_s)
        if ask.how:
            await asyncio.Event().wait()
        return TallyAnswer(ask.key, 1, "z")


@pytest.mark.parametrize(("how", "own_s"), [("", 0.2), ("thread", 0.2), ("less", 0.05)])
def test_an_ask_made_in_a_receiver_has_at_most_what_is_left(how, own_s):
    """Also in a thread that it starts; less if it says so. The error says where the time came from."""

    async def main():
        asks, last = Asks(), Counts()
        async with asyncio.timeout(HANG_S), three(asks, last) as (z, p, c):
            with pytest.raises((AskTimeoutError, Exception)):  # its own, or what the receiver raised of its own ask
                await c.consumer.async_ask(TallyAsk("a", how), timeout_s=0.2)
            await eventually(lambda: asks.errors or how != "less")
            [given_s] = last.remaining_s
            a_ms = 0.001  # what travels is rounded up to one
            assert 0.0 < given_s <= own_s + a_ms
            assert given_s <= asks.remaining_s[0] + a_ms <= 0.2 + 2 * a_ms
            for error in asks.errors:
                assert error.timeout_s <= own_s
                assert "made in a receiver" in str(error)
            await eventually(lambda: not left(z, p, c))

    asyncio.run(main())


def test_after_the_answer_it_has_time_of_its_own():
    """What a receiver starts and leaves behind is not under the deadline of an ask that was answered."""

    async def main():
        asks, last = Asks(), Counts()
        async with asyncio.timeout(HANG_S), three(asks, last) as (z, p, c):
            assert (await c.consumer.async_ask(TallyAsk("a", "later"), timeout_s=0.01)).key == "answered"
            assert (await asks.later[0]).served_by == "z"
            assert last.remaining_s[0] > 2.0
            await eventually(lambda: not left(z, p, c))

    asyncio.run(main())


def three(middle: Any, last: Any) -> Any:
    """A consumer of a node that is a consumer of a last one."""

    @contextlib.asynccontextmanager
    async def run():
        common = {"table": TABLE, "drain_timeout_s": 0.01}
        async with Node(id="z", discovery="static", provides=[tallies], receivers=[last], **common) as z:
            at_z = {"kind": "static", "addresses": [z.address]}
            given = {"provides": [tallies], "consumes": [tallies], "receivers": [middle], **common}
            async with Node(id="p", discovery=at_z, **given) as p:
                at_p = {"kind": "static", "addresses": [p.address]}
                async with Node(id="c", discovery=at_p, consumes=[tallies], receivers=[], **common) as c:
                    yield z, p, c

    return run()


# --- many


def test_of_ten_thousand_expired_none_runs_and_each_ends():
    """Promise O9: one lane is held, and all behind it expire. How late they end is measured by `make drill`."""

    async def main():
        sleeps = Sleeps()
        limits = {"max_in_work_per_session": 20_000}
        async with pair(provider={"receivers": [sleeps], **limits}) as (_, p, c), asyncio.timeout(HANG_S):
            first = c.consumer.async_ask(TallyAsk("k", "wait"), timeout_s=HANG_S)
            await eventually(lambda: sleeps.began == 1)

            async def ask():
                with pytest.raises(AskTimeoutError):
                    await c.consumer.async_ask(TallyAsk("k", "wait"), timeout_s=0.1)

            await asyncio.gather(*(ask() for _ in range(10_000)))
            await eventually(lambda: p._engine.router.in_work == 1)
            assert sleeps.began == 1
            sleeps.go_on.set()
            await first
            assert sleeps.began == 1
            router = p._engine.router
            ended = router.cancelled + router.expired + router.admission.shed  # these came when their time was over
            assert ended > 9_000  # the others' was over before they were written
            await eventually(lambda: not left(p, c))

    asyncio.run(main())


def test_of_asks_that_all_time_out_nothing_stays():
    """Promise M2, a tenth of it: the drill asks 100,000."""

    async def main():
        sleeps = Sleeps()
        limits = {"max_in_work_per_session": 20_000}
        async with pair(provider={"receivers": [sleeps], **limits}) as (_, p, c), asyncio.timeout(HANG_S):
            asks = [c.consumer.async_ask(TallyAsk(str(n), "wait"), timeout_s=0.3) for n in range(10_000)]
            ends = await asyncio.gather(*asks, return_exceptions=True)
            assert {type(end) for end in ends} == {AskTimeoutError}
            await eventually(lambda: not left(p, c))
            assert (await c.consumer.async_ask(TallyAsk("k"))).key == "k"
            [session] = sessions_of(c)
            assert not session._pending._heap

    asyncio.run(main())


class Erratic:
    """Answers after a while, sometimes twice on the wire, sometimes never."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    @packet_receiver
    async def at(self, session: Session, ask: TallyAsk, call: Call) -> TallyAnswer:
        fate = self.rng.random()
        signal_id = call.signal_id
        if fate < 0.5:
            await asyncio.sleep(self.rng.random() * 0.02)
        if fate < 0.2:  # a second answer of the same number, as a peer with a fault would send it
            codec, connection = session.node._engine.codec, sessions_of(session.node)[0]._connection
            connection.write(codec.answer_frame(codec.encode(TallyAnswer(ask.key, 2, "p")), signal_id))
        return TallyAnswer(ask.key, 1, "p")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_answer_reaches_another_ask(seed):
    """Promise O11 in small: delays, time-outs, cancels, late and doubled answers, and numbers that wrap on the way."""

    async def main():
        rng = random.Random(seed)
        async with pair(provider={"receivers": [Erratic(rng)]}) as (_, p, c), asyncio.timeout(HANG_S):
            await c.consumer.async_ask(TallyAsk("0"))
            [session] = sessions_of(c)
            ended = {"right": 0, "late": 0, "cancelled": 0}

            async def ask(number):
                timeout_s = rng.choice([None, None, 0.005, 0.01, 0.02])
                answer = c.consumer.async_ask(TallyAsk(str(number)), timeout_s=timeout_s)
                if rng.random() < 0.1:
                    asyncio.get_running_loop().call_later(rng.random() * 0.01, answer.cancel)
                try:
                    assert (await answer).key == str(number)
                    ended["right"] += 1
                except AskTimeoutError:
                    ended["late"] += 1
                except asyncio.CancelledError:
                    ended["cancelled"] += 1

            session._pending._last_even, session._pending._last_odd = 0x7FFF_FFFE - 1000, 0x7FFF_FFFF - 1000
            for first in range(0, 3000, 100):
                await asyncio.gather(*(ask(number) for number in range(first, first + 100)))
            assert sum(ended.values()) == 3000
            assert min(ended.values()) > 0
            assert max(session._pending._last_even, session._pending._last_odd) < 10_000  # both have wrapped
            await eventually(lambda: not left(p, c))

    asyncio.run(main())
