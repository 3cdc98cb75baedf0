"""The consumer's face: keys, answer classes, call-site errors, one-way sends, threads."""

from __future__ import annotations

import asyncio
import enum
import uuid

import pytest

from samples.services import Counts, PageAsk, VisitAnswer, VisitAsk, visits
from zfoo_py import (
    BackpressureError,
    BlockingCallError,
    MissingKeyError,
    NoProviderError,
    Packet,
    PacketError,
    PacketTable,
    ProtocolModule,
    SessionClosedError,
    UnmappedPacketError,
)
from zfoo_py.consumer.hashing import task_hash
from zfoo_py.errors import InboxFullError
from zfoo_py.testing import cluster

table = PacketTable()
plain = ProtocolModule(70, "plain", table=table)


@plain.packet(7000)
class Note(Packet):
    text: str


class Colour(enum.Enum):
    RED = 1


def run(scenario, **how):
    """Run a scenario of a cluster with one provider of visits."""

    async def main():
        async with cluster(provides=[visits], receivers=lambda name: [Counts(name)], providers=2, **how) as c:
            await scenario(c)

    asyncio.run(main())


@pytest.mark.parametrize(
    "key", [1, -(2**70), "ключ", True, 1.5, b"\x00\xff", uuid.UUID(int=7), Colour.RED, ("room", 7), None]
)
def test_every_allowed_key_reaches_one_provider(key):
    """The same key twice: the same provider counts on; None: any of them."""

    async def scenario(c):
        first = c.consumer.async_ask(VisitAsk("ada", 1), key=key)
        second = c.consumer.async_ask(VisitAsk("ada", 1), key=key)
        assert (await first).client == (await second).client == "ada"
        if key is not None:
            assert first.provider == second.provider != ""
            assert (await second).count == 2
        assert first.membership_version == second.membership_version >= 2

    run(scenario)


def test_a_key_is_taken_from_the_field_unless_it_is_given():
    """balance_by names the field; key= wins over it."""

    async def scenario(c):
        by_field = c.consumer.async_ask(VisitAsk("ada", 1))
        by_hand = c.consumer.async_ask(VisitAsk("bob", 1), key="ada")
        await by_field
        await by_hand
        assert by_field.provider == by_hand.provider

    run(scenario)


def test_call_site_errors_send_nothing():
    """No key, a key of a wrong type, no answer class, no id: each at once, with what to write instead."""

    async def scenario(c):
        ask = c.consumer.async_ask
        with pytest.raises(TypeError, match="list"):
            ask(VisitAsk("a", 1), key=["a"])
        with pytest.raises(TypeError):
            ask(VisitAsk("a", 1), key=("a", object()))
        with pytest.raises(MissingKeyError, match='balance_by="<field>"'):
            c.consumer.send(VisitAnswer("a", 1, "x"))
        with pytest.raises(PacketError, match=r"which class answers VisitAnswer\?"):
            ask(VisitAnswer("a", 1, "x"), key=1)
        with pytest.raises(UnmappedPacketError):
            ask(Note("x"), Note, key=1)
        with pytest.raises(NoProviderError, match="consumes"):
            await ask(PageAsk("/"))
        assert (await c.consumer.stats())["asks"] == 0

    run(scenario)


def test_the_random_policy_needs_no_key():
    """A key that is omitted scatters nothing that was not meant to be."""

    async def scenario(c):
        with pytest.raises(Exception, match="receiver"):
            await c.consumer.async_ask(VisitAnswer("a", 1, "x"), VisitAnswer)

    run(scenario, consumes=[(visits, "visits", "random")])


def test_a_send_ends_when_it_is_in_the_outbox():
    """Awaiting it is optional; what was sent counts at the provider."""

    async def scenario(c):
        assert await c.consumer.send(VisitAsk("ada", 1)) is None
        c.consumer.send(VisitAsk("ada", 1))
        assert (await c.consumer.async_ask(VisitAsk("ada", 1))).count == 3

    run(scenario)


def test_threads_ask_and_send_too_but_a_loop_is_never_blocked():
    """sync_ask from a thread; BlockingCallError where a loop runs."""

    async def scenario(c):
        assert (await asyncio.to_thread(c.consumer.sync_ask, VisitAsk("ada", 1))).count == 1
        await asyncio.to_thread(lambda: c.consumer.send(VisitAsk("ada", 1)).get(timeout=5))
        assert (await asyncio.to_thread(c.consumer.sync_ask, VisitAsk("ada", 1), VisitAnswer, key="ada")).count == 3
        with pytest.raises(BlockingCallError, match="async_ask"):
            c.consumer.sync_ask(VisitAsk("ada", 1))

    run(scenario)


def test_a_full_or_stopped_consumer_fails_the_ask_typed():
    """BackpressureError and SessionClosedError, and nothing can have run."""

    async def scenario(c):
        core = c.node._engine.consumer_ref
        tell, consumer = core.tell, c.consumer

        def full(_):
            raise InboxFullError("ConsumerActor", 3)

        core.tell = full
        with pytest.raises(BackpressureError, match="3 orders wait"):
            await consumer.async_ask(VisitAsk("a", 1))
        with pytest.raises(BackpressureError):
            await consumer.send(VisitAsk("a", 1))
        core.tell = tell
        await c.node.stop()
        for future in (consumer.async_ask(VisitAsk("a", 1)), consumer.send(VisitAsk("a", 1))):
            with pytest.raises(SessionClosedError, match="stopped") as caught:
                await future
            assert not caught.value.may_have_run

    run(scenario)


def test_ten_thousand_asks_at_once_all_end():
    """More than any batch: every answer belongs to its ask."""

    async def scenario(c):
        answers = [c.consumer.async_ask(VisitAsk(f"{n % 100}", n)) for n in range(10_000)]
        for n, answer in enumerate(answers):
            assert (await answer).client == f"{n % 100}"
        last = [await answer for answer in answers[-100:]]
        assert {answer.count for answer in last} == {100}

    run(scenario)


def test_the_lane_of_an_ask_is_the_task_hash_of_its_key():
    """What travels beside the packet is zfoo's hash, so that equal keys queue together across modules."""

    async def scenario(c):
        lanes = []
        for node in c.providers.values():
            dispatcher = node._engine.router
            queue = dispatcher._queue
            dispatcher._queue = lambda call, queue=queue: (lanes.append(call.lane), queue(call))[1]
        for key in ("ada", 7, 1.5, True, ("a", 1), None):
            await c.consumer.async_ask(VisitAsk("x", 1), key=key)
        assert lanes == [task_hash("ada"), 7, 1, 1231, task_hash(("a", 1)), None]

    run(scenario)
