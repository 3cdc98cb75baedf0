"""Whatever takes a provider away, from the turn that handles it on no pick names it; between real nodes."""

from __future__ import annotations

import asyncio

import pytest

from samples.services import Counts, VisitAsk, visits
from tests.support.consumers import owner
from tests.support.nodes import HANG_S, eventually
from zfoo_py.events import ProviderDown, ProviderUp
from zfoo_py.testing import cluster

KEYS = [f"key-{number}" for number in range(40)]
GONE = "provider-2"


async def killed(c):
    c.kill(GONE)


async def drains(c):
    await c.providers[GONE].stop()


async def left_discovery(c):
    """Taken out by hand, while the process lives and serves."""
    await c.providers[GONE]._engine._discovery.leave()


async def hangs(c):
    """A stopped process: the connection stands, nothing comes over it any more, and no other one is accepted."""
    c.stop(GONE)
    await c.advance(12.0)


SOURCES = {
    killed: ("",),
    drains: ("the provider drains", "it left discovery"),  # it says both, to others; which is heard first is open
    left_discovery: ("it left discovery",),
    hangs: ("no reply to the heartbeat",),
}


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
def test_a_provider_that_is_gone_for_whatever_reason_gets_no_more_asks(source):
    async def main():
        async with asyncio.timeout(HANG_S), cluster(provides=[visits], receivers=lambda name: [Counts(name)]) as c:
            downs, wrong = [], []
            consumer = c.node

            async def ask_all():
                names = {up.provider for up in there}
                for key in KEYS:
                    answer = consumer.consumer.async_ask(VisitAsk(key, 1))
                    served_by = (await answer).served_by
                    if answer.provider != owner(names, key) or not answer.provider.startswith(served_by):
                        wrong.append((key, served_by))

            view = consumer._engine.consumer_ref.actor._services["visits"]
            there = [ProviderUp(0, one.ring_name, one.node_id, one.address, (), 0) for one in view.view.providers]
            consumer.events.subscribe(ProviderDown, downs.append)
            await ask_all()
            await source(c)
            await eventually(lambda: downs)
            there[:] = [up for up in there if up.node_id != GONE]
            await ask_all()
            assert [down.node_id for down in downs] == [GONE]
            assert any(reason in downs[0].reason for reason in SOURCES[source])
            assert wrong == []
            actor = consumer._engine.consumer_ref.actor
            assert actor.version == consumer._engine.registry.actor.version

    asyncio.run(main())
