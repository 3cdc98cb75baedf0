"""What an application sees of a core actor killed from inside: answers that wait, counts that go on, no news."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.nodes import (
    HANG_S,
    Tallies,
    TallyAsk,
    consumer_of,
    eventually,
    hosting,
    logged,
    pair,
    provider_at,
    providers,
    tallies,
)
from tests.test_engine_restarts import kill_by_abort, kill_in_a_turn
from zfoo_py import ZfooError
from zfoo_py.events import Alert, Event, MembershipChanged, ProviderDown, ProviderUp

CORE_OF = {
    "consumer.stats": "consumer_ref",
    "explain": "consumer_ref",
    "explain_change": "consumer_ref",
    "sessions": "registry",
    "stats": "alerts",
}
QUESTIONS = {
    "consumer.stats": lambda c: c.consumer.stats(),
    "explain": lambda c: c.consumer.explain(tallies, "a"),
    "explain_change": lambda c: c.consumer.explain_change(),
    "sessions": lambda c: c.sessions(),
    "stats": lambda c: c.stats(),
}


async def killed(core, kill=kill_by_abort):
    """Kill a core actor and wait until the next one is there."""
    dead = core.actor
    kill(core)
    await eventually(lambda: core.actor is not dead)


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("kill", [kill_by_abort, kill_in_a_turn])
def test_a_question_asked_while_its_actor_is_dead_is_answered_by_the_next(question, kill):
    """Before the turn that kills, after it, and while nobody is there."""

    async def main():
        async with pair() as (_, _, c):
            await c.consumer.async_ask(TallyAsk("a"))
            core = getattr(c._engine, CORE_OF[question])
            kill(core)
            before = QUESTIONS[question](c)
            c._engine.runtime.drain()
            assert core.actor.actor_inbox.closed
            during = QUESTIONS[question](c)
            for answer in (before, during):
                assert await asyncio.wait_for(answer, HANG_S) is not None

    with logged("CRITICAL"):
        asyncio.run(main())


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_that_the_end_of_the_node_overtakes_ends_with_an_error_of_ours(question):
    async def main():
        async with pair() as (_, _, c):
            if question in {"sessions", "stats"}:
                answer = QUESTIONS[question](c)
                await c.abort()
            else:
                consumer = c.consumer
                await c.abort()
                answer = {
                    "consumer.stats": consumer.stats,
                    "explain": lambda: consumer.explain(tallies, "a"),
                    "explain_change": consumer.explain_change,
                }[question]()
            [end] = await asyncio.wait_for(asyncio.gather(answer, return_exceptions=True), HANG_S)
            assert not isinstance(end, Exception) or (isinstance(end, ZfooError) and "stopped" in str(end))

    asyncio.run(main())


def test_an_actor_that_dies_over_a_question_says_so():
    async def main():
        async with pair() as (_, _, c):
            core = c._engine.consumer_ref

            def die(_):
                raise SystemExit

            core.actor.on_receive = die
            with pytest.raises(ZfooError, match="died over this question"):
                await c.consumer.stats()
            assert (await c.consumer.stats())["membership_version"] == 1

    with logged("CRITICAL"):
        asyncio.run(main())


@pytest.mark.parametrize("kill", [kill_by_abort, kill_in_a_turn])
def test_counts_and_the_retry_budget_go_on(kill):
    async def main():
        async with pair() as (_, _, c):
            for number in range(7):
                await c.consumer.async_ask(TallyAsk(f"{number}"))
            core = c._engine.consumer_ref
            core.actor.retries, core.actor.misroutes = 5, 2
            while core.actor._retries.budget.take(7, c._engine.runtime.time()):
                pass
            await killed(core, kill)
            figures = await c.consumer.stats()
            assert {name: figures[name] for name in ("asks", "retries", "misroutes")} == {
                "asks": 7,
                "retries": 5,
                "misroutes": 2,
            }
            assert not core.actor._retries.budget.take(7, c._engine.runtime.time()), "no new budget by dying"
            for number in range(3):
                await c.consumer.async_ask(TallyAsk(f"{number}"))
            await killed(core, kill)
            assert (await c.consumer.stats())["asks"] == 10

    with logged("CRITICAL"):
        asyncio.run(main())


@pytest.mark.parametrize("name", ["consumer_ref", "registry", "connector", "alerts"])
def test_a_restart_is_no_news_of_providers(name):
    async def main():
        async with (
            hosting() as d,
            provider_at(d.discovery_address, Tallies("a")) as a,
            consumer_of(d.discovery_address) as c,
        ):
            told = []
            c.events.subscribe(Event, told.append)
            await killed(getattr(c._engine, name))
            await c.consumer.async_ask(TallyAsk("x"))
            # A registry that is started anew gives what it finds a version of its own.
            wanted = (ProviderUp, ProviderDown, *((MembershipChanged,) if name != "registry" else ()))
            assert [one for one in told if isinstance(one, wanted)] == []
            async with provider_at(d.discovery_address, Tallies("b")):
                await eventually(lambda: providers(c) == ["a", "b"])
                assert [one.node_id for one in told if isinstance(one, ProviderUp)] == ["b"]
            await a.stop()
            await eventually(lambda: providers(c) == [])
            assert sorted(one.node_id for one in told if isinstance(one, ProviderDown)) == ["a", "b"]

    with logged("CRITICAL"):
        asyncio.run(main())


def test_a_provider_that_goes_while_the_consumer_is_dead_is_told_of_by_the_next():
    async def main():
        async with hosting() as d:
            a = await provider_at(d.discovery_address, Tallies("a")).start()
            async with provider_at(d.discovery_address, Tallies("b")), consumer_of(d.discovery_address) as c:
                await eventually(lambda: providers(c) == ["a", "b"])
                told = []
                c.events.subscribe(ProviderDown, told.append)
                core = c._engine.consumer_ref
                respawn = c._engine._supervisor._respawn
                held = []
                c._engine._supervisor._respawn = lambda *args: held.append(args)
                kill_by_abort(core)
                await a.stop()
                await eventually(lambda: held)
                c._engine._supervisor._respawn = respawn
                respawn(*held[0])
                await eventually(lambda: told)
                assert [one.node_id for one in told] == ["a"]

    with logged("CRITICAL"):
        asyncio.run(main())


def test_alerts_and_their_counts_go_on():
    async def main():
        async with pair() as (_, _, c):
            c.events.publish(Alert("misroute", "somebody went astray"))
            await killed(c._engine.alerts)
            c.events.publish(Alert("misroute", "again"))
            assert (await c.stats())["alerts"]["raised"] == {"misroute": 2}

    with logged("CRITICAL"):
        asyncio.run(main())
