"""What the dispatcher refuses, at once."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.packets import PageAnswer, PageAsk, VisitAnswer, VisitAsk
from tests.support.routers import RouterWorld
from zfoo_py import Call, Session
from zfoo_py.protocol.common import ErrorCode
from zfoo_py.router.receivers import packet_receiver


@packet_receiver
async def echo(session: Any, ask: VisitAsk) -> VisitAnswer:
    return VisitAnswer(ask.text)


@packet_receiver
async def page(session: Any, ask: PageAsk) -> PageAnswer:
    return PageAnswer(ask.text)


def asking(body):
    """Return a receiver of VisitAsk that awaits ``body(session, ask)``."""

    @packet_receiver
    async def receiver(session: Any, ask: VisitAsk) -> VisitAnswer:
        return await body(session, ask)

    return receiver


def test_a_lane_that_is_full_refuses_and_its_order_stands():
    """OVERLOADED at once; one-way packets are refused too, and counted."""

    async def main():
        gate = asyncio.Event()
        seen = []

        async def waits(session, ask):
            seen.append(ask.text)
            await gate.wait()
            return VisitAnswer(ask.text)

        async with RouterWorld(asking(waits), max_waiting_per_lane=2) as world:
            peer = world.peer()
            peer.receive(*(peer.ask_frame(VisitAsk(str(n)), n, lane=7) for n in range(1, 5)))
            peer.receive(peer.ask_frame(VisitAsk("free"), 5, lane=8))
            [(signal_id, error)] = await world.answers(peer)
            assert (signal_id, error.code) == (4, ErrorCode.OVERLOADED)
            assert "lane 7" in error.message
            assert world.router.waiting()["longest_lane"] == 2
            gate.set()
            assert {signal for signal, _ in await world.answers(peer, 4)} == {1, 2, 3, 5}
            assert [text for text in seen if text != "free"] == ["1", "2", "3"]
            assert world.router.in_work == peer.actor.intake.in_work == 0

    asyncio.run(main())


def test_what_would_begin_too_late_is_refused_and_one_way_packets_are_taken():
    """Of 200 packets in work, none has begun for a second each."""

    async def main():
        gate = asyncio.Event()

        async def waits(session, ask):
            await gate.wait()
            return VisitAnswer(ask.text)

        async with RouterWorld(asking(waits)) as world:
            router = world.router
            peer = world.peer()
            router.admission.look_from = 0
            router._starts.each_s = 10.0
            peer.receive(*(peer.ask_frame(VisitAsk(str(n)), n, lane=n) for n in (1, 2)))
            [(signal_id, error)] = await world.answers(peer)
            assert (signal_id, error.code) == (2, ErrorCode.OVERLOADED)  # one is ahead of it: 10 s
            assert router.admission.shed == 1
            gate.set()
            assert [signal for signal, _ in await world.answers(peer)] == [1]

    asyncio.run(main())


def test_what_an_ask_waited_on_its_way_is_no_time_it_has_left():
    seen = []

    @packet_receiver
    async def visit(_session: Session, packet: VisitAsk, call: Call) -> VisitAnswer:
        seen.append((packet.text, round(call.remaining_s, 3)))
        return VisitAnswer(packet.text)

    async def main():
        async with RouterWorld(visit) as world:
            peer = world.peer()
            peer.receive(peer.ask_frame(VisitAsk("line"), 1, remaining_ms=1000, timestamp=5000))
            world.clock.advance(0.5)
            peer.receive(peer.ask_frame(VisitAsk("in time"), 2, remaining_ms=1000, timestamp=5500))
            peer.receive(peer.ask_frame(VisitAsk("waited"), 3, remaining_ms=1000, timestamp=5100))
            peer.receive(peer.ask_frame(VisitAsk("says none"), 4, remaining_ms=1000))
            peer.receive(peer.ask_frame(VisitAsk("too late"), 5, remaining_ms=300, timestamp=5100))
            answers = dict(await world.answers(peer, 5))
            assert seen == [("line", 0.5), ("in time", 1.0), ("waited", 0.6), ("says none", 1.0)]
            assert answers[5].code == ErrorCode.EXPIRED
            assert world.router.expired == 1

    asyncio.run(main())
