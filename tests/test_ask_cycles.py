"""Asks that wait for each other, over real nodes: refused at once with the path, or ended by their deadline."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.nodes import HANG_S, TABLE, TallyAnswer, TallyAsk, eventually, hosting, logged, tallies
from zfoo_py import AskCycleError, AskTimeoutError, Node, RemoteError, Session, packet_receiver
from zfoo_py.consumer.balancer import Balancer

# What promise O8 allows from the ask to its refusal.
AT_ONCE_S = 0.1


class Relay:
    """Answers, or first asks on: the keys of ``how``, one after the other, each of the node of its first letter."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.errors: list[Exception] = []
        self.both = asyncio.Barrier(2)
        self.go_on = threading.Event()


class Coroutines(Relay):
    @packet_receiver
    async def at(self, session: Session, ask: TallyAsk) -> TallyAnswer:
        return await onward(self, session, ask)


class Reentrant(Relay):
    @packet_receiver(reentrant=True)
    async def at(self, session: Session, ask: TallyAsk) -> TallyAnswer:
        return await onward(self, session, ask)


async def onward(relay: Relay, session: Session, ask: TallyAsk) -> TallyAnswer:
    key, _, rest = ask.how.partition(" ")
    if not key:
        return TallyAnswer(ask.key, 1, relay.name)
    if key == "meet":
        await relay.both.wait()
        key, _, rest = rest.partition(" ")
    try:
        answer = await session.node.consumer.async_ask(TallyAsk(key, rest))
    except Exception as error:
        relay.errors.append(error)
        raise
    return TallyAnswer(f"{ask.key} {answer.key}", 1, relay.name)


class Threads(Relay):
    @packet_receiver
    def at(self, session: Session, ask: TallyAsk) -> TallyAnswer:
        key, _, rest = ask.how.partition(" ")
        if key == "hang":
            self.go_on.wait(HANG_S)
        elif key:
            try:
                answer = session.node.consumer.sync_ask(TallyAsk(key, rest))
            except Exception as error:
                self.errors.append(error)
                raise
            return TallyAnswer(f"{ask.key} {answer.key}", 1, self.name)
        return TallyAnswer(ask.key, 1, self.name)


class ByName(Balancer):
    """Key "a…" goes to node "a"."""

    needs_key = True

    def pick(self, view: Any, key: Any) -> Any:
        return next((one for one in view.providers if one.ring_name.startswith(key[0])), None)


@contextlib.asynccontextmanager
async def nodes(kind: type[Relay], names: str = "ab", **more: Any) -> AsyncIterator[tuple[dict[str, Any], Node]]:
    """Nodes that provide and consume tallies, and a consumer that knows them all; yields (relays, consumer)."""
    async with asyncio.timeout(HANG_S), contextlib.AsyncExitStack() as stack:
        host = await stack.enter_async_context(hosting())
        relays, made = {}, []
        for name in (*names, "consumer"):
            given: dict[str, Any] = {"receivers": []}
            if name != "consumer":
                relays[name] = kind(name)
                given = {"provides": [tallies], "receivers": [relays[name]], **more}
            node = Node(
                id=name,
                discovery={"address": host.discovery_address},
                consumes=[(tallies, "tallies", "by-name")],
                balancers={"by-name": lambda _: ByName()},
                table=TABLE,
                **given,
            )
            made.append(await stack.enter_async_context(node))
        for node in made:
            await eventually(lambda of=node: knows(of, len(names)))
        yield relays, made[-1]
        for relay in relays.values():
            relay.go_on.set()
        await eventually(lambda: not any(node._engine.router.in_work for node in made))
        assert not any(len(node._engine.router._lanes) for node in made)


async def knows(node: Node, providers: int) -> bool:
    return len((await node.consumer.stats())["services"]["tallies"]["providers"]) == providers


@pytest.mark.parametrize(
    ("kind", "names", "how", "path", "more"),
    [
        (Coroutines, "ab", "b a", "a b a", {}),
        (Coroutines, "abc", "b c a", "a b c a", {}),
        (Coroutines, "a", "a", "a a", {}),
        (Coroutines, "ab", "b b", "b b", {}),
        (Threads, "ab", "b a", "a b a", {}),
        (Threads, "a", "a", "a a", {}),
        (Threads, "ab", "b a2", "a b a", {"workers": 1}),
        (Threads, "ab", "b a2 b2 a3", "a b a b a", {"workers": 2}),
    ],
)
def test_a_cycle_is_refused_at_once_with_its_path(kind, names, how, path, more):
    """The one that closes it gets AskCycleError; its receiver's asker hears that it raised; other traffic goes on."""

    async def main():
        async with nodes(kind, names, **more) as (relays, consumer):
            with pytest.raises(RemoteError) as caught:
                await consumer.consumer.async_ask(TallyAsk("a", how))
            assert "AskCycleError" in str(caught.value)
            closing = relays[path.split()[-2]].errors[0]
            assert type(closing) is AskCycleError
            assert [line[0] for line in closing.path] == path.split()
            assert (closing.may_have_run, closing.module, closing.packet) == (False, "tallies", "TallyAsk")
            assert closing.elapsed_s < AT_ONCE_S
            assert " → ".join(closing.path) in str(closing)
            assert ("reentrant=True" in str(closing)) == ("worker" not in str(closing)) == ("workers" not in more)
            assert (await consumer.consumer.async_ask(TallyAsk("a"))).key == "a"

    with logged("CRITICAL"):
        asyncio.run(main())


def test_with_reentrant_receivers_there_is_none():
    """The remedy that the text names."""

    async def main():
        async with nodes(Reentrant) as (_, consumer):
            assert (await consumer.consumer.async_ask(TallyAsk("a", "b a"))).key == "a b a"
            assert (await consumer.consumer.async_ask(TallyAsk("a", "a a a"))).key == "a a a a"

    asyncio.run(main())


def test_going_through_a_node_twice_is_no_cycle():
    """Other lanes of the same node, and more workers than the chain holds."""

    async def main():
        for kind in (Coroutines, Threads):
            async with nodes(kind, workers=3) as (_, consumer):
                assert (await consumer.consumer.async_ask(TallyAsk("a", "b a2 b2 a3"))).key == "a b a2 b2 a3"

    asyncio.run(main())


def test_where_another_ask_holds_a_worker_it_waits_for_that():
    """It is no cycle: the other one may end, and does."""

    async def main():
        async with nodes(Threads, workers=2) as (relays, consumer):
            other = consumer.consumer.async_ask(TallyAsk("a9", "hang"))
            waiting = consumer.consumer.async_ask(TallyAsk("a", "b a2"))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(waiting), 0.1)
            relays["a"].go_on.set()
            assert (await waiting).key == "a b a2"
            await other

    asyncio.run(main())


def test_crossing_asks_end_at_the_deadline_and_name_the_holder():
    """Two chains without an ask in common: nobody can know; both end in time, and say where to look."""

    async def main():
        async with nodes(Coroutines) as (relays, consumer):
            relays["b"].both = relays["a"].both
            asks = [
                consumer.consumer.async_ask(TallyAsk("a", "meet b"), timeout_s=0.3),
                consumer.consumer.async_ask(TallyAsk("b", "meet a"), timeout_s=0.3),
            ]
            ends = await asyncio.gather(*asks, return_exceptions=True)
            assert all(isinstance(end, AskTimeoutError | RemoteError) for end in ends)
            first, second = relays["a"].errors[0], relays["b"].errors[0]
            for error, holder in ((first, "b:"), (second, "a:")):
                assert type(error) is AskTimeoutError
                assert not error.may_have_run
                assert f"its lane is held by {holder}" in str(error)
                assert "reentrant=True" in str(error)
                assert 0.2 < error.elapsed_s < error.timeout_s <= 0.3

    with logged("CRITICAL"):
        asyncio.run(main())
