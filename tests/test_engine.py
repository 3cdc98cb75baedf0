"""The engine: core actors that die are started anew, and routing is as before."""

from __future__ import annotations

import asyncio

import pytest

from samples.services import Counts, VisitAsk, visits
from zfoo_py.actor import Abort
from zfoo_py.consumer.connector_actor import ConnectorActor
from zfoo_py.consumer.consumer_actor import ConsumerActor
from zfoo_py.net.registry_actor import RegistryActor
from zfoo_py.testing import cluster


class Fatal(BaseException):
    """What no actor survives."""


async def owners(c, keys=40):
    return [(await c.consumer.async_ask(VisitAsk(f"{n}", 1))).served_by for n in range(keys)]


def abort(core):
    core.tell(Abort("fault injection"))


def raise_in_a_turn(core):
    def die(_):
        raise Fatal

    core.actor.on_receive = die
    core.tell("anything")


@pytest.mark.parametrize("kill", [abort, raise_in_a_turn])
@pytest.mark.parametrize(
    ("name", "kind"),
    [("consumer_ref", ConsumerActor), ("registry", RegistryActor), ("connector", ConnectorActor)],
)
def test_a_core_actor_that_dies_is_replaced_and_routing_is_as_before(name, kind, kill):
    """Killed from inside, with asks on their way: none that was never written is lost; the version continues."""

    async def main():
        async with cluster(provides=[visits], receivers=lambda n: [Counts(n)], providers=3) as c:
            before = await owners(c)
            engine = c.node._engine
            core = getattr(engine, name)
            dead, version = core.actor, engine.registry.actor.version
            kill(core)
            on_their_way = [c.consumer.async_ask(VisitAsk(f"{n}", 1)) for n in range(40)]
            assert [(await answer).served_by for answer in on_their_way] == before
            assert core.actor is not dead
            assert isinstance(core.actor, kind)
            assert await owners(c) == before
            assert engine.registry.actor.version >= version
            # membership goes on from there
            c.kill("provider-1")
            while "provider-1" in str((await c.consumer.stats())["services"]["visits"]["providers"]):
                await asyncio.sleep(0)
            after = await owners(c)
            assert "provider-1" not in after
            assert [new for new, old in zip(after, before, strict=True) if old != "provider-1"] == [
                old for old in before if old != "provider-1"
            ]
            assert engine.registry.actor.version == engine.consumer_ref.actor.version > version

    asyncio.run(main())


def test_the_directory_that_dies_remembers_its_registrations():
    """Providers need not register again, and watchers hear of the next change."""

    async def main():
        async with cluster(provides=[visits], receivers=lambda n: [Counts(n)], providers=2) as c:
            directory = c.discovery._engine.directory
            abort(directory)
            while directory.actor.registered == {} or directory.ref.actor_stopped.is_set():
                await asyncio.sleep(0)
            assert len(directory.actor.registered) == 2
            assert len(set(await owners(c))) == 2
            await c.providers["provider-1"].stop()
            while c.node._engine.missing() or len(directory.actor.registered) == 2:
                await asyncio.sleep(0)
            assert set(await owners(c)) == {"provider-2"}

    asyncio.run(main())


def test_a_fault_that_comes_back_at_once_does_not_spin_the_loop(monkeypatch):
    """Ten restarts in a second, then one a second."""

    async def main():
        async with cluster(provides=[visits], receivers=lambda n: [Counts(n)], providers=1) as c:
            core = c.node._engine.connector
            starts = []
            monkeypatch.setattr(ConnectorActor, "on_start", lambda actor: starts.append(actor) or _die(actor))
            abort(core)
            for _ in range(200):
                await asyncio.sleep(0)
            assert 1 <= len(starts) <= 11
            monkeypatch.undo()

    asyncio.run(main())


def _die(actor):
    actor.actor_ref.tell(Abort("again"))
