"""An ask that nobody waits for any more, between real nodes: who is told, what stops, and that nothing stays behind."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from tests.support.nodes import HANG_S, TABLE, TallyAnswer, TallyAsk, eventually, pair, sessions_of, tallies
from zfoo_py import AskTimeoutError, Call, Node, Session, packet_receiver

# What promise O10 gives the provider to hear of it, and a machine with much else to do some more.
TOLD_S = 0.05


class Waits:
    """Waits in a coroutine, and writes down how that ended."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.began = asyncio.Event()
        self.ended = asyncio.Event()
        self.go_on = asyncio.Event()
        self.calls: list[Call] = []

    @packet_receiver
    async def at(self, _session: Session, ask: TallyAsk, call: Call) -> TallyAnswer:
        self.log.append(f"began {ask.how}")
        self.calls.append(call)
        self.began.set()
        try:
            if ask.how == "wait":
                await self.go_on.wait()
        except asyncio.CancelledError:
            self.log.append("cancelled")
            raise
        finally:
            self.log.append(f"ended {ask.how}")
            self.ended.set()
        return TallyAnswer(ask.key, 1, "p")


def left(*nodes: Node) -> list[int]:
    """Return what is pending or in work at nodes: nothing, if all are zeros."""
    counts = []
    for node in nodes:
        engine = node._engine
        assert engine is not None
        counts += [engine.router.in_work, len(engine.router._begun), len(engine.router._lanes)]
        counts += [len(actor._pending) for actor in engine.runtime.actors if hasattr(actor, "_pending")]
    return counts


def scenario(body: Any, **provider: Any) -> None:
    """Run ``body(waits, provider, consumer)`` with two nodes; in the end nothing is left at either."""

    async def main() -> None:
        waits = Waits()
        async with pair(provider={"receivers": [waits], **provider}) as (_, p, c):
            async with asyncio.timeout(HANG_S):
                await body(waits, p, c)
                await eventually(lambda: not any(left(p, c)))

    asyncio.run(main())


async def by_task(c: Node, ask: TallyAsk) -> None:
    task = asyncio.create_task(awaiting(c, ask))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def by_timeout(c: Node, ask: TallyAsk) -> None:
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0.02):
            await c.consumer.async_ask(ask)
    assert type(caught.value) is TimeoutError  # asyncio's own, not that of the ask


async def by_wait_for(c: Node, ask: TallyAsk) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(c.consumer.async_ask(ask), 0.02)


async def by_group(c: Node, ask: TallyAsk) -> None:
    with pytest.raises(ExceptionGroup):  # noqa: PT012 - the group is what raises
        async with asyncio.TaskGroup() as group:
            group.create_task(awaiting(c, ask))
            await asyncio.sleep(0.01)
            raise ValueError("the others are cancelled")


async def by_itself(c: Node, ask: TallyAsk) -> None:
    answer = c.consumer.async_ask(ask)
    await asyncio.sleep(0.01)
    assert answer.cancel()
    assert answer.cancelled()
    assert not answer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answer


async def by_deadline(c: Node, ask: TallyAsk) -> None:
    with pytest.raises(AskTimeoutError):
        await c.consumer.async_ask(ask, timeout_s=0.02)


def at(node: Node) -> dict[str, Any]:
    """Return a discovery that knows this node."""
    return {"kind": "static", "addresses": [node.address]}


async def awaiting(c: Node, ask: TallyAsk) -> TallyAnswer:
    return await c.consumer.async_ask(ask)


WAYS = [by_task, by_timeout, by_wait_for, by_group, by_itself, by_deadline]


@pytest.mark.parametrize("way", WAYS)
def test_a_coroutine_receiver_is_cancelled(way):
    """Its ``finally`` runs, its lane is free, and the next ask of the key is answered."""

    async def body(waits, p, c):
        loop = asyncio.get_running_loop()
        await way(c, TallyAsk("a", "wait"))
        since = loop.time()
        await waits.ended.wait()
        assert loop.time() - since < TOLD_S
        assert waits.log == ["began wait", "cancelled", "ended wait"]
        call = waits.calls[0]
        assert (call.is_cancelled, call.wants_answer) == (True, False)
        call.answer(TallyAnswer("nobody", 0, "hears it"))
        assert (await c.consumer.async_ask(TallyAsk("a"))).key == "a"
        router = p._engine.router
        assert (router.cancelled, router.receiver_failures, router.expired) == (1, 0, 0)
        assert sessions_of(c)[0].late_answers == 0

    scenario(body)


@pytest.mark.parametrize("way", WAYS)
def test_what_waits_in_a_lane_is_dropped(way):
    """It never runs; the one that holds the lane goes on."""

    async def body(waits, p, c):
        first = c.consumer.async_ask(TallyAsk("a", "wait"))
        await waits.began.wait()
        await way(c, TallyAsk("a", "never"))
        router = p._engine.router
        await eventually(lambda: router.in_work == 1)
        waits.go_on.set()
        await first
        assert waits.log == ["began wait", "ended wait"]
        assert router.cancelled == 1

    scenario(body)


def test_cancelled_in_the_turn_it_was_asked_in_nothing_stays():
    """On a quiet loop it has been written by then (`tests/net/test_ask_future.py` has the asks that were not)."""

    async def body(waits, p, c):
        await c.consumer.async_ask(TallyAsk("a"))
        answers = [c.consumer.async_ask(TallyAsk("a", "wait")) for _ in range(100)]
        assert all(answer.cancel() for answer in answers)
        task = asyncio.create_task(awaiting(c, TallyAsk("a", "wait")))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await c.consumer.async_ask(TallyAsk("a"))).key == "a"
        assert waits.log.count("began wait") == waits.log.count("cancelled")

    scenario(body)


def test_only_the_last_awaiter_that_goes_cancels():
    """A second task, a callback and a shield keep it going."""

    async def body(waits, p, c):
        answer = c.consumer.async_ask(TallyAsk("a", "wait"))

        async def await_it():
            return await answer

        tasks = [asyncio.create_task(await_it()) for _ in range(3)]
        await waits.began.wait()
        for task in tasks[:2]:
            task.cancel()
        await asyncio.wait(tasks[:2])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.shield(answer)
        waits.go_on.set()
        assert (await tasks[2]).key == "a"

        waits.go_on.clear()
        waits.began.clear()
        called = []
        answer = c.consumer.async_ask(TallyAsk("a", "wait")).when_complete(called.append)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await answer
        await waits.began.wait()
        waits.go_on.set()
        await eventually(lambda: called)
        assert answer.result().key == "a"
        assert p._engine.router.cancelled == 0

    scenario(body)


def test_a_receiver_s_own_asks_are_cancelled_with_it():
    """The chain unwinds: the middle one's receiver is cancelled, and its ask at the last one too."""

    async def main():
        last = Waits()

        class Middle:
            @packet_receiver
            async def at(self, session: Session, ask: TallyAsk) -> TallyAnswer:
                return await session.node.consumer.async_ask(TallyAsk("b", "wait"))

        async with (
            asyncio.timeout(HANG_S),
            Node(id="z", discovery="static", provides=[tallies], receivers=[last], table=TABLE) as z,
            Node(
                id="p", discovery=at(z), provides=[tallies], consumes=[tallies], receivers=[Middle()], table=TABLE
            ) as p,
            Node(id="c", discovery=at(p), consumes=[tallies], receivers=[], table=TABLE) as c,
        ):
            task = asyncio.create_task(awaiting(c, TallyAsk("a")))
            await last.began.wait()
            task.cancel()
            await last.ended.wait()
            assert last.log[-2:] == ["cancelled", "ended wait"]
            await eventually(lambda: not any(left(z, p, c)))

    asyncio.run(main())


class Blocks:
    """Waits in a worker thread until it sees that it was cancelled, or may go on."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.go_on = threading.Event()
        self.saw: list[bool] = []

    @packet_receiver
    def at(self, _session: Session, ask: TallyAsk, call: Call) -> TallyAnswer:
        self.began.set()
        while ask.how == "wait" and not call.is_cancelled and not self.go_on.wait(0.002):
            pass
        self.saw.append(call.is_cancelled)
        return TallyAnswer(ask.key, 1, "p")


@pytest.mark.parametrize("way", WAYS)
def test_a_blocking_receiver_can_see_it_and_those_behind_it_are_dropped(way):
    """One thread; what it returns goes nowhere, and what waits for it never runs."""

    async def main():
        blocks = Blocks()
        async with pair(provider={"receivers": [blocks], "workers": 1}) as (_, p, c):
            try:
                async with asyncio.timeout(HANG_S):
                    await c.consumer.async_ask(TallyAsk("warm"))
                    first = c.consumer.async_ask(TallyAsk("a", "wait"))
                    await eventually(lambda: p._engine.router.threads_at_work() == 1)
                    await way(c, TallyAsk("b", "never"))  # waits for the thread
                    await eventually(lambda: p._engine.router.in_work == 1)
                    blocks.go_on.set()
                    await first
                    blocks.go_on.clear()
                    await way(c, TallyAsk("a", "wait"))
                    await eventually(lambda: len(blocks.saw) == 3)
                    assert blocks.saw == [False, False, True]
                    await eventually(lambda: not any(left(p, c)))
                    assert p._engine.router.cancelled == 2
                    assert sessions_of(c)[0].late_answers == 0
            finally:
                blocks.go_on.set()

    asyncio.run(main())


@pytest.mark.parametrize("how", ["sync_ask", "get"])
def test_a_blocking_receiver_that_waits_for_an_ask_is_released(how):
    """Its thread is free at once, not at its deadline, and the provider of what it waited for hears of it, too."""

    async def main():
        last = Waits()

        class Middle:
            ended: BaseException | None = None
            tidied_up: TallyAnswer | None = None

            @packet_receiver
            def at(self, session: Session, ask: TallyAsk) -> TallyAnswer:
                consumer = session.node.consumer
                try:
                    if how == "get":
                        return consumer.async_ask(TallyAsk("b", "wait")).get()
                    return consumer.sync_ask(TallyAsk("b", "wait"))
                except BaseException as error:
                    self.ended = error
                    self.tidied_up = consumer.sync_ask(TallyAsk("c"))
                    raise

        middle = Middle()
        async with (
            asyncio.timeout(HANG_S),
            Node(id="z", discovery="static", provides=[tallies], receivers=[last], table=TABLE) as z,
            Node(id="p", discovery=at(z), provides=[tallies], consumes=[tallies], receivers=[middle], table=TABLE) as p,
            Node(id="c", discovery=at(p), consumes=[tallies], receivers=[], table=TABLE) as c,
        ):
            task = asyncio.create_task(awaiting(c, TallyAsk("a")))
            await last.began.wait()
            task.cancel()
            await last.ended.wait()
            await eventually(lambda: not any(left(z, p, c)))
            assert last.log[1:3] == ["cancelled", "ended wait"]
            assert isinstance(middle.ended, asyncio.CancelledError)
            assert middle.tidied_up is not None, "in its own time"
            assert (p._engine.router.cancelled, p._engine.router.receiver_failures) == (1, 0)

    asyncio.run(main())


@pytest.mark.parametrize("has_seen_it", [False, True])
def test_a_blocking_receiver_that_is_cancelled_before_it_waits_hears_of_it_once(has_seen_it):
    """By its next wait, unless it has looked; then its waits are its own."""

    async def main():
        heard = []

        class Middle:
            def __init__(self) -> None:
                self.began, self.go_on = threading.Event(), threading.Event()

            @packet_receiver
            def at(self, session: Session, ask: TallyAsk, call: Call) -> TallyAnswer:
                if ask.how != "first":
                    return TallyAnswer(ask.key, 1, "p")
                self.began.set()
                assert self.go_on.wait(HANG_S)
                if has_seen_it:
                    heard.append(call.is_cancelled)
                for _ in range(2):
                    try:
                        heard.append(type(session.node.consumer.sync_ask(TallyAsk("b"))))
                    except asyncio.CancelledError as error:
                        heard.append(type(error))
                return TallyAnswer(ask.key, 1, "p")

        middle = Middle()
        async with (
            asyncio.timeout(HANG_S),
            Node(id="z", discovery="static", provides=[tallies], receivers=[Waits()], table=TABLE) as z,
            Node(id="p", discovery=at(z), provides=[tallies], consumes=[tallies], receivers=[middle], table=TABLE) as p,
            Node(id="c", discovery=at(p), consumes=[tallies], receivers=[], table=TABLE) as c,
        ):
            try:
                answer = c.consumer.async_ask(TallyAsk("a", "first"))
                await eventually(middle.began.is_set)
                assert answer.cancel()
                await eventually(lambda: len(p._engine.router._begun) == 0)
            finally:
                middle.go_on.set()
            await eventually(lambda: len(heard) == 2 + has_seen_it)
            assert heard == ([True, TallyAnswer, TallyAnswer] if has_seen_it else [asyncio.CancelledError, TallyAnswer])
            await eventually(lambda: not any(left(z, p, c)))

    asyncio.run(main())


def test_a_peer_that_does_not_know_cancel_is_not_told():
    """An older node, or one of Java's, says no such capability in its Hello."""

    async def body(waits, p, c):
        sessions_of(c)[0].session.can = frozenset()
        answer = c.consumer.async_ask(TallyAsk("a", "wait"), timeout_s=0.5)
        await waits.began.wait()
        with pytest.raises(AskTimeoutError):
            await answer
        assert p._engine.router.in_work == 1
        waits.go_on.set()
        await eventually(lambda: sessions_of(c)[0].late_answers == 1)

    scenario(body)
