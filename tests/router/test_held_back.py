"""Calls whose peers do not read wait, in order, and in nobody's way."""

from __future__ import annotations

import asyncio
import threading

from tests.support.packets import VisitAnswer, VisitAsk, VisitNote
from tests.support.routers import RouterWorld
from zfoo_py import Session, packet_receiver
from zfoo_py.net import messages as m
from zfoo_py.protocol.common import CAN_CANCEL, Cancel


class Visits:
    """Receivers that note what they get; those of "wait" texts suspend until `go`."""

    def __init__(self):
        self.seen = []
        self.go = asyncio.Event()

    @packet_receiver
    async def ask(self, _session: Session, packet: VisitAsk) -> VisitAnswer:
        self.seen.append(packet.text)
        if packet.text.startswith("wait"):
            await self.go.wait()
        return VisitAnswer(packet.text)

    @packet_receiver
    async def note(self, _session: Session, packet: VisitNote) -> None:
        self.seen.append(packet.text)


def held_back(world):
    return world.router.waiting()["held_back"]


async def quiet():
    """Let everything that is ready run."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_nothing_starts_for_a_peer_that_does_not_read_and_everything_in_order_when_it_does():
    async def main():
        visits = Visits()
        async with RouterWorld(visits) as world:
            deaf, other = world.peer(), world.peer()
            deaf.receive(*(deaf.ask_frame(VisitAsk(str(n)), n, lane=n % 2) for n in range(1, 5)))
            deaf.receive(deaf.one_way(VisitNote("note"), 1))
            deaf.pause()
            await quiet()
            assert visits.seen == []
            assert held_back(world) == world.router.in_work == 5
            assert await world.answer(other, VisitAsk("other"), lane=1) == VisitAnswer("other")
            deaf.resume()
            await quiet()
            assert visits.seen == ["other", "1", "2", "3", "4", "note"]
            assert (held_back(world), world.router.in_work) == (0, 0)
            assert [packet.text for packet in deaf.packets()] == ["1", "2", "3", "4"]

    asyncio.run(main())


def test_who_waits_for_a_lane_gives_it_to_others_and_stays_in_order():
    async def main():
        visits = Visits()
        async with RouterWorld(visits) as world:
            deaf, other = world.peer(), world.peer()
            deaf.receive(*(deaf.ask_frame(VisitAsk(text), n, lane=5) for n, text in enumerate(("wait", "a", "b"), 1)))
            other.receive(other.ask_frame(VisitAsk("wait too"), 1, lane=5))
            await quiet()
            deaf.receive(deaf.ask_frame(VisitAsk("c"), 4, lane=6), deaf.ask_frame(VisitAsk("d"), 5, lane=5))
            deaf.pause()
            visits.go.set()
            await quiet()
            assert visits.seen == ["wait", "wait too"]
            assert held_back(world) == world.router.in_work == 4
            assert other.packets() == [VisitAnswer("wait too")]
            deaf.resume()
            await quiet()
            assert [text for text in visits.seen[2:] if text != "c"] == ["a", "b", "d"]
            assert "c" in visits.seen
            assert world.router.in_work == 0
            assert not world.router._lanes

    asyncio.run(main())


def test_at_the_end_of_the_session_its_asks_are_dropped_and_its_notes_are_not():
    async def main():
        visits = Visits()
        async with RouterWorld(visits) as world:
            deaf = world.peer()
            deaf.receive(deaf.ask_frame(VisitAsk("ask"), 1), deaf.one_way(VisitNote("note")))
            deaf.pause()
            await quiet()
            assert visits.seen == []
            deaf.tell(m.Lost("gone"))
            await quiet()
            assert visits.seen == ["note"]
            assert (held_back(world), world.router.in_work, world.router.cancelled) == (0, 0, 1)

    asyncio.run(main())


def test_what_is_cancelled_leaves_and_the_rest_stays():
    async def main():
        visits = Visits()
        async with RouterWorld(visits) as world:
            deaf = world.up("server", registration="", capabilities=[CAN_CANCEL])
            deaf.ask()  # an ask of ours: so it is read all the same
            deaf.pause()
            deaf.receive(*(deaf.ask_frame(VisitAsk(str(n)), n) for n in (1, 2, 3)))
            await quiet()
            deaf.receive(deaf.one_way(Cancel([2])))
            await quiet()
            assert (held_back(world), world.router.in_work, world.router.cancelled) == (2, 2, 1)
            deaf.resume()
            await quiet()
            assert visits.seen == ["1", "3"]

    asyncio.run(main())


def test_a_call_that_waits_for_a_worker_is_held_back_too():
    seen, go = [], threading.Event()

    @packet_receiver
    def blocking(_session: Session, packet: VisitAsk) -> VisitAnswer:
        seen.append(packet.text)
        if packet.text == "first":
            go.wait(10.0)
        return VisitAnswer(packet.text)

    async def main():
        async with RouterWorld(blocking, workers=1) as world:
            deaf, other = world.peer(), world.peer()
            other.receive(other.ask_frame(VisitAsk("first"), 1))
            deaf.receive(deaf.ask_frame(VisitAsk("mine"), 1, lane=7), deaf.ask_frame(VisitAsk("mine too"), 2, lane=7))
            other.receive(other.ask_frame(VisitAsk("last"), 2))
            await quiet()
            deaf.pause()
            go.set()
            answers = await world.answers(other, 2)
            assert [packet.text for _, packet in answers] == ["first", "last"]
            assert seen == ["first", "last"]
            assert held_back(world) == world.router.in_work == 2
            deaf.resume()
            answers = await world.answers(deaf, 2)
            assert [packet.text for _, packet in answers] == ["mine", "mine too"]

    asyncio.run(main())


def test_a_node_that_stops_refuses_what_it_holds_back():
    async def main():
        visits = Visits()
        async with RouterWorld(visits) as world:
            deaf = world.peer()
            deaf.receive(deaf.ask_frame(VisitAsk("ask"), 1))
            deaf.pause()
            await quiet()
            assert held_back(world) == 1
            await world.router.stop()
            assert held_back(world) == 0
            world.runtime.drain()
            assert len(deaf.packets()) == 1
        assert visits.seen == []

    asyncio.run(main())


def test_a_long_answer_fills_the_transport_before_the_next_call_starts():
    """Else a whole batch of them would lie in memory."""
    started = []

    @packet_receiver
    async def long(_session: Session, packet: VisitAsk) -> VisitAnswer:
        started.append(packet.text)
        return VisitAnswer("x" * 64_000)

    async def main():
        async with RouterWorld(long) as world:
            deaf = world.peer()
            deaf.connection.on_write = deaf.pause
            deaf.receive(*(deaf.ask_frame(VisitAsk(str(n)), n) for n in range(1, 20)))
            await quiet()
            assert started == ["1"]

    asyncio.run(main())
