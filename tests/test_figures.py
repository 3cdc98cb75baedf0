"""The figures of sessions, router and inboxes add up."""

from __future__ import annotations

import asyncio

from tests.support.nodes import TallyAsk, eventually, pair, sessions_of
from zfoo_py.figures import inbox_figures, router_figures, session_figures


def test_what_is_in_flight_here_is_in_work_there():
    async def main():
        async with pair() as (service, provider, consumer):
            asks = [consumer.consumer.async_ask(TallyAsk(f"k{n}", "wait")) for n in range(3)]
            await service.started.wait()
            await eventually(lambda: provider.router.in_work == 3)
            here, there = session_figures(sessions_of(consumer)), session_figures(sessions_of(provider))
            assert (here["asks_in_flight"], here["asks_parked"], here["server"]) == (3, 0, 0)
            assert (there["in_work"], there["server"]) == (3, 1)
            assert router_figures(provider.router)["in_work"] == 3
            service.go_on.set()
            for ask in asks:
                await ask
            figures = inbox_figures(consumer._engine.runtime)
            assert figures["actors"] == len(consumer._engine.runtime.actors)
            assert figures["waiting"]["ConsumerActor"] == 0
            assert (figures["longest"], figures["failed_turns"]) == (0, 0)

    asyncio.run(main())


def test_no_session_is_all_zero():
    assert set(session_figures([]).values()) == {0}
