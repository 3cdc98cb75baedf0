"""How a node ends: what it has is finished, what comes goes elsewhere, nobody waits for a silent peer."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.nodes import (
    HANG_S,
    TABLE,
    Tallies,
    TallyAsk,
    consumer_of,
    eventually,
    hosting,
    logged,
    pair,
    provider_at,
    sessions_of,
    tallies,
)
from zfoo_py import CallError, Node, ZfooError
from zfoo_py.protocol.common import ErrorCode


def run(main):
    with logged("CRITICAL"):
        asyncio.run(asyncio.wait_for(main(), HANG_S))


def now_s():
    return asyncio.get_running_loop().time()


def test_a_draining_provider_finishes_refuses_and_loses_nothing():
    """What was asked before is answered there; what comes afterwards, by whatever session, is answered elsewhere."""

    async def main():
        async with hosting() as host:
            one, two = Tallies("one"), Tallies("two")
            by_chance = [(tallies.name, tallies.name, "random")]
            p1, p2 = provider_at(host.discovery_address, one), provider_at(host.discovery_address, two)
            async with p1, p2, consumer_of(host.discovery_address, consumes=by_chance) as c:
                await eventually(lambda: len(c._engine.service("tallies").view.providers) == 2)
                held = []
                while not one.started.is_set():
                    held.append(c.consumer.async_ask(TallyAsk(f"held {len(held)}", "wait")))
                    await asyncio.sleep(0.005)
                stopping = asyncio.create_task(p1.stop())
                await eventually(lambda: p1._engine.router.admission.is_draining)
                answers = await asyncio.gather(*[c.consumer.async_ask(TallyAsk(f"{n}")) for n in range(200)])
                assert {answer.served_by for answer in answers} == {"two"}
                assert not stopping.done()
                one.go_on.set()
                two.go_on.set()
                assert {answer.served_by for answer in await asyncio.gather(*held)} >= {"one"}
                await stopping

    run(main)


def test_what_reaches_a_draining_provider_all_the_same_is_refused_and_asked_elsewhere():
    """The consumer has not read yet that it drains: DRAINING proves that nothing ran."""

    async def main():
        async with hosting() as host:
            one, two = Tallies("one"), Tallies("two")
            p1, p2 = provider_at(host.discovery_address, one), provider_at(host.discovery_address, two)
            async with p1, p2, consumer_of(host.discovery_address) as c:
                await eventually(lambda: len(c._engine.service("tallies").view.providers) == 2)
                p1._engine.router.admission.drain()
                answers = await asyncio.gather(*[c.consumer.async_ask(TallyAsk(f"{n}")) for n in range(20)])
                assert {answer.served_by for answer in answers} == {"two"}
                refused = (await p1.stats())["router"]["refused_draining"]
                assert refused > 0
                assert (await c.consumer.stats())["retries"] == refused
                assert not one.counts
                p2._engine.router.admission.drain()
                ends = await asyncio.gather(
                    *[c.consumer.async_ask(TallyAsk(f"{n}")) for n in range(2)], return_exceptions=True
                )
                assert {(end.code, end.may_have_run) for end in ends} == {(ErrorCode.DRAINING, False)}

    run(main)


def test_a_node_with_nothing_to_do_does_not_wait_for_a_peer_that_is_silent():
    async def main():
        async with pair() as (_, p, c):
            for session in sessions_of(c):
                session._connection.pause_reading()  # as a process that is stopped
            begun_s = now_s()
            await p.stop()
            assert now_s() - begun_s < 2.0

    run(main)


def test_work_beyond_the_drain_limit_ends_typed_and_within_two_seconds():
    async def main():
        async with pair(provider={"drain_timeout_s": 0.3}) as (served, p, c):
            answer = c.consumer.async_ask(TallyAsk("a", "wait"), timeout_s=HANG_S)
            await served.started.wait()
            begun_s = now_s()
            await p.stop()
            assert 0.3 <= now_s() - begun_s < 2.3
            with pytest.raises(CallError) as caught:  # its receiver was cancelled, or its session was lost before
                await answer
            assert caught.value.may_have_run

    run(main)


def test_what_has_not_begun_when_the_time_is_over_is_answered_elsewhere():
    """Its asker is told before the session ends that its receiver did not run, and asks the key's new owner."""

    async def main():
        async with hosting() as host:
            one, two = Tallies("one"), Tallies("two")
            p1 = provider_at(host.discovery_address, one, drain_timeout_s=0.05)
            p2 = provider_at(host.discovery_address, two)
            async with p1, p2, consumer_of(host.discovery_address) as c:
                service = c._engine.service("tallies")
                await eventually(lambda: len(service.view.providers) == 2)
                keys = [f"{n}" for n in range(100)]
                owners = [await c.consumer.explain("tallies", key) for key in keys]
                key = next(key for key, owner in zip(keys, owners, strict=True) if p1.address in str(owner.owner))
                first = c.consumer.async_ask(TallyAsk(key, "wait"))
                await one.started.wait()
                behind = [c.consumer.async_ask(TallyAsk(key)) for _ in range(10)]
                await eventually(lambda: p1._engine.router.in_work == 11)
                await p1.stop()
                with pytest.raises(CallError) as caught:
                    await first
                assert caught.value.may_have_run
                assert {answer.served_by for answer in await asyncio.gather(*behind)} == {"two"}

    run(main)


def test_a_consumer_waits_for_its_answers():
    async def main():
        async with pair() as (served, p, c):
            answer = c.consumer.async_ask(TallyAsk("a", "wait"))
            await served.started.wait()
            stopping = asyncio.create_task(c.stop())
            await asyncio.sleep(0.05)
            assert not stopping.done()
            served.go_on.set()
            assert (await answer).count == 1
            await stopping
            await eventually(lambda: not sessions_of(p, "server"))

    run(main)


@pytest.mark.parametrize("end", ["stop", "abort"])
def test_a_node_that_starts_can_be_stopped(end):
    async def main():
        async with hosting() as host:
            c = consumer_of(host.discovery_address, ready_timeout_s=HANG_S)
            starting = asyncio.create_task(c.start())
            await eventually(lambda: c._state == "starting" and sessions_of(c))
            await getattr(c, end)()
            with pytest.raises(ZfooError, match="stopped while it started"):
                await starting
            assert not c.is_running
            assert not c._engine.runtime.actors
            await c.stop()

    run(main)


@pytest.mark.parametrize("end", ["stop", "abort"])
def test_our_own_end_is_no_loss_of_the_discovery(end):
    async def main():
        async with hosting() as host:
            node = Node(
                id="p", provides=[tallies], receivers=[Tallies("p")], discovery={"address": host.discovery_address},
                table=TABLE,
            )  # fmt: skip
            await node.start()
            await eventually(lambda: sessions_of(node))
            await getattr(node, end)()

    with logged() as lines:
        asyncio.run(asyncio.wait_for(main(), HANG_S))
    assert not [line for line in lines if "lost discovery" in line]
