"""Core actors killed while threads ask, asks are in flight and membership changes, over real loopback sockets."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tests.support.nodes import (
    HANG_S,
    Tallies,
    TallyAsk,
    TallyNote,
    consumer_of,
    crash,
    eventually,
    hosting,
    logged,
    pair,
    pending,
    provider_at,
    providers,
)
from zfoo_py import CallError
from zfoo_py.actor import Abort
from zfoo_py.events import MembershipChanged, SessionActive

CORES = ["consumer_ref", "registry", "connector", "directory"]


class Fatal(BaseException):
    """What no actor survives."""


def kill_by_abort(core):
    core.tell(Abort("fault injection"))


def kill_in_a_turn(core):
    def die(_):
        raise Fatal

    core.actor.on_receive = die
    core.tell("anything")


@pytest.mark.parametrize("core", ["consumer_ref", "registry", "connector"])
def test_threads_that_ask_while_a_core_actor_dies_again_and_again(core):
    """Every ask is answered, once; a provider counts each exactly once."""
    kills, threads, each = 8, 4, 100
    served = Tallies("p")
    with (
        logged("CRITICAL"),
        hosting() as d,
        provider_at(d.discovery_address, served),
        consumer_of(d.discovery_address) as c,
    ):
        answers, errors = [], []

        def ask():
            for n in range(each):
                try:
                    answers.append(c.consumer.sync_ask(TallyAsk(f"{n}"), timeout_s=HANG_S).count)
                except Exception as error:  # noqa: BLE001 - the test tells
                    errors.append(error)

        running = [threading.Thread(target=ask) for _ in range(threads)]
        for thread in running:
            thread.start()
        engine = c._engine
        for n in range(kills):
            dead = getattr(engine, core).actor
            wanted = len(answers) + (threads * each) // (2 * kills)
            while len(answers) < wanted and any(thread.is_alive() for thread in running):
                running[0].join(0.001)
            kill = (kill_by_abort, kill_in_a_turn)[n % 2]
            engine.runtime.loop.call_soon_threadsafe(kill, getattr(engine, core))
            while getattr(engine, core).actor is dead:
                running[0].join(0.001)
        for thread in running:
            thread.join(HANG_S)
        assert errors == []
        assert len(answers) == threads * each
        assert sorted(answers) == sorted(list(range(1, threads + 1)) * each)


def test_what_a_thread_asked_just_before_the_consumer_actor_died_is_asked_by_the_next():
    """Its message is on its way to the loop when the actor dies, and it may still hold the dead one's address."""

    async def main():
        async with pair() as (_, _, c):
            core, found = c._engine.consumer_ref, []
            stale = core.tell

            def told():
                found.append(c.consumer.async_ask(TallyAsk("a")))
                found.append(c.consumer.send(TallyNote("a")))

            def told_too_late():
                c.consumer._actor = type("Stale", (), {"tell": staticmethod(stale)})()
                found.append(c.consumer.async_ask(TallyAsk("a")))
                c.consumer._actor = core

            for function in (told, told_too_late):
                thread = threading.Thread(target=function)  # while the loop stands still
                thread.start()
                thread.join()
                kill_by_abort(core)  # the second time it goes to nobody: the actor is dead already
                c._engine.runtime.drain()
            await found[1]
            assert sorted([(await found[0]).count, (await found[2]).count]) == [1, 2]

    with logged("CRITICAL"):
        asyncio.run(main())


def test_asks_in_flight_do_not_notice_that_core_actors_die():
    """Their answers go straight from the session to the asker."""

    async def main():
        async with pair() as (served, _, c):
            answers = [c.consumer.async_ask(TallyAsk(f"{n}", "wait")) for n in range(20)]
            await eventually(lambda: len(served.counts) == 20)
            for name in ("consumer_ref", "registry", "connector"):
                core = getattr(c._engine, name)
                dead = core.actor
                kill_by_abort(core)
                await eventually(lambda core=core, dead=dead: core.actor is not dead)
            served.go_on.set()
            assert [(await answer).count for answer in answers] == [1] * 20
            assert pending(c) == 0

    with logged("CRITICAL"):
        asyncio.run(main())


def test_a_session_lost_while_the_registry_is_dead_is_not_in_the_next_ones_snapshot():
    """The new registry hears of the living sessions only; the version goes on; nobody is announced twice."""

    async def main():
        async with hosting() as d:
            nodes = {name: await provider_at(d.discovery_address, Tallies(name)).start() for name in ("a", "b")}
            async with consumer_of(d.discovery_address) as c:
                await eventually(lambda: providers(c) == ["a", "b"])
                core = c._engine.registry
                version, changes, active = core.actor.version, [], []
                c.events.subscribe(MembershipChanged, changes.append)
                kill_in_a_turn(core)
                for actor in list(nodes["b"]._engine.runtime.actors):
                    if hasattr(actor, "_connection"):
                        actor._connection.abort()
                await nodes["b"]._engine.stop()
                nodes["b"]._state = "stopped"
                c.events.subscribe(SessionActive, active.append)
                await eventually(lambda: providers(c) == ["a"])
                assert {(await c.consumer.async_ask(TallyAsk(f"{n}"))).served_by for n in range(30)} == {"a"}
                assert c._engine.registry.actor.version > version
                assert changes[-1].membership_version == c._engine.registry.actor.version
                assert sorted(change.membership_version for change in changes) == [
                    change.membership_version for change in changes
                ]
                assert {record.node_id for record in await c.sessions()} == {"discovery", "a"}
            await nodes["a"].stop()

    with logged("CRITICAL"):
        asyncio.run(main())


@pytest.mark.parametrize("kill", [kill_by_abort, kill_in_a_turn])
def test_a_connector_that_dies_goes_on_with_every_target(kill):
    """Those connected stay as they are, those it was dialling are dialled, and what left meanwhile is let go."""

    async def main():
        async with hosting() as d, provider_at(d.discovery_address, Tallies("stays")):
            goes = await provider_at(d.discovery_address, Tallies("goes")).start()
            lost = await provider_at(d.discovery_address, Tallies("lost")).start()
            async with consumer_of(d.discovery_address, reconnect_max_s=0.02) as c:
                await eventually(lambda: providers(c) == ["goes", "lost", "stays"])
                sids = {record.node_id: record.sid for record in await c.sessions()}
                core = c._engine.connector
                dead = core.actor
                kill(core)
                stopping = asyncio.create_task(goes.stop())
                await crash(lost)
                await eventually(lambda: core.actor is not dead)
                await stopping
                await eventually(lambda: providers(c) == ["stays"])
                async with provider_at(d.discovery_address, Tallies("new")):
                    await eventually(lambda: providers(c) == ["new", "stays"])
                    now = {record.node_id: record.sid for record in await c.sessions()}
                    assert now["stays"] == sids["stays"]
                    assert set(now) == {"discovery", "stays", "new"}

    with logged("CRITICAL"):
        asyncio.run(main())


@pytest.mark.parametrize("kill", [kill_by_abort, kill_in_a_turn])
def test_a_directory_that_dies_loses_neither_registrations_nor_watchers(kill):
    """Whoever comes, leaves or is killed while it is dead is told of afterwards."""

    async def main():
        async with (
            hosting() as d,
            provider_at(d.discovery_address, Tallies("a")) as a,
            provider_at(d.discovery_address, Tallies("b")) as b,
            consumer_of(d.discovery_address) as c,
        ):
            await eventually(lambda: providers(c) == ["a", "b"])
            core = d._engine.directory
            dead = core.actor
            kill(core)
            stopping = asyncio.create_task(a.stop())
            async with provider_at(d.discovery_address, Tallies("new")):
                await stopping
                await crash(b)
                await eventually(lambda: providers(c) == ["new"])
                assert core.actor is not dead
                await eventually(lambda: [text.split()[0] for text in core.actor.registered] == ["new"])

    with logged("CRITICAL"):
        asyncio.run(main())


def test_all_core_actors_at_once_while_a_node_starts():
    """A start that is waiting for its first provider survives it."""

    async def main():
        async with hosting() as d:
            c = consumer_of(d.discovery_address)
            starting = asyncio.create_task(c.start())
            await eventually(lambda: d._engine.directory.actor.watching)
            for name in ("registry", "connector", "consumer_ref"):
                kill_in_a_turn(getattr(c._engine, name))
            async with provider_at(d.discovery_address, Tallies("p")):
                await starting
                assert (await c.consumer.async_ask(TallyAsk("a"))).count == 1
                await c.stop()

    with logged("CRITICAL"):
        asyncio.run(main())


def test_a_stop_meets_core_actors_that_have_just_died():
    """The node ends, whatever is being started anew."""

    async def main():
        for name in ("registry", "connector", "consumer_ref"):
            async with pair() as (_, _, c):
                kill_by_abort(getattr(c._engine, name))
                answer = c.consumer.async_ask(TallyAsk("a"))
                await asyncio.wait_for(c.stop(), HANG_S)
                assert not c._engine.runtime.actors
                [end] = await asyncio.wait_for(asyncio.gather(answer, return_exceptions=True), HANG_S)
                assert getattr(end, "count", 0) == 1 or (isinstance(end, CallError) and not end.may_have_run)

    with logged("CRITICAL"):
        asyncio.run(main())
