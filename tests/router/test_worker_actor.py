"""Worker threads: nobody waits for a slow call but its own lane, and nothing that is raised ends a worker."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pykka
import pytest

from tests.support.packets import PageAnswer, PageAsk, VisitAnswer, VisitAsk
from tests.support.routers import HANG_S, RouterWorld
from zfoo_py.protocol.common import ErrorCode
from zfoo_py.router.call import current_call
from zfoo_py.router.receivers import packet_receiver
from zfoo_py.router.worker_actor import WorkerActor


class Blocking:
    """A receiver that blocks at a gate named by its text; a text that begins with "quick" does not."""

    def __init__(self):
        self.log = []
        self.threads = set()
        self.gates = {}
        self.lock = threading.Lock()
        self.has_started = threading.Event()

    def gate(self, text):
        with self.lock:
            return self.gates.setdefault(text, threading.Event())

    @packet_receiver
    def at_ask(self, session: Any, ask: VisitAsk) -> VisitAnswer:
        with self.lock:
            self.log.append(f"+{ask.text}")
            self.threads.add(threading.get_ident())
        self.has_started.set()
        if not ask.text.startswith("quick") and not self.gate(ask.text).wait(HANG_S):
            raise TimeoutError
        with self.lock:
            self.log.append(f"-{ask.text}")
        return VisitAnswer(ask.text)


def ask_all(peer, *texts, lane=None):
    peer.receive(*(peer.ask_frame(VisitAsk(text), number, lane) for number, text in enumerate(texts, 1)))


def test_a_batch_of_short_calls_wakes_one_worker(monkeypatch):
    """It takes call after call until none is left; the gate keeps it from being faster than the loop."""

    async def main():
        blocking = Blocking()
        async with RouterWorld(blocking, workers=1) as world:
            woken = 0
            on_receive = WorkerActor.on_receive

            def counted(self, message):
                nonlocal woken
                woken += 1
                on_receive(self, message)

            monkeypatch.setattr(WorkerActor, "on_receive", counted)
            peer = world.peer()
            texts = ["first", *(f"quick {n}" for n in range(100))]
            ask_all(peer, *texts)
            blocking.gate("first").set()
            answers = await world.answers(peer, 101)
            assert [packet.text for _, packet in answers] == texts
            assert len(blocking.threads) == 1
            assert threading.get_ident() not in blocking.threads
            assert woken == 1

    asyncio.run(main())


def test_workers_start_with_the_first_call_and_at_most_so_many():
    """A node without blocking receivers has no threads."""

    async def main():
        blocking = Blocking()
        before = len(pykka.ActorRegistry.get_by_class(WorkerActor))
        async with RouterWorld(blocking, workers=3) as world:
            assert len(pykka.ActorRegistry.get_by_class(WorkerActor)) == before
            peer = world.peer()
            names = [f"slow {n}" for n in range(10)]
            ask_all(peer, *names)
            peer.receive(peer.ask_frame(VisitAsk("slow 0"), 99))
            for name in names:
                blocking.gate(name).set()
            await world.answers(peer, 11)
            assert len(pykka.ActorRegistry.get_by_class(WorkerActor)) <= before + 3
            assert 1 <= len(blocking.threads) <= 3
        assert len(pykka.ActorRegistry.get_by_class(WorkerActor)) == before

    asyncio.run(main())


def test_a_slow_call_does_not_hold_up_the_others():
    """Any free worker takes the next call."""

    async def main():
        blocking = Blocking()
        async with RouterWorld(blocking, workers=2) as world:
            peer = world.peer()
            ask_all(peer, "slow", *(f"quick {n}" for n in range(50)))
            answers = await world.answers(peer, 50)
            assert "slow" not in [packet.text for _, packet in answers]
            blocking.gate("slow").set()
            assert (await world.answers(peer))[0] == (1, VisitAnswer("slow"))

    asyncio.run(main())


def test_equal_lanes_are_in_order_across_workers_and_coroutines():
    """One gate for both kinds: the coroutine waits for the thread, and the thread for the coroutine."""

    async def main():
        blocking, opened = Blocking(), asyncio.Event()

        @packet_receiver
        async def page(session: Any, ask: PageAsk) -> PageAnswer:
            blocking.log.append(f"+{ask.text}")
            await opened.wait()
            blocking.log.append(f"-{ask.text}")
            return PageAnswer(ask.text)

        async with RouterWorld(blocking, page, provides=("visits", "pages"), workers=4) as world:
            peer = world.peer()
            for number, packet in enumerate([VisitAsk("a"), PageAsk("b"), VisitAsk("c"), VisitAsk("quick d")], 1):
                peer.receive(peer.ask_frame(packet, number, 5))
            peer.receive(peer.ask_frame(VisitAsk("quick other"), 9, 6))
            await world.answers(peer)
            assert "-quick other" in blocking.log
            assert set(blocking.log) <= {"+a", "+quick other", "-quick other"}
            opened.set()
            blocking.gate("c").set()
            blocking.gate("a").set()
            answers = await world.answers(peer, 4)
            assert [signal for signal, _ in answers] == [1, 2, 3, 4]
            lane = [line for line in blocking.log if "other" not in line]
            assert lane == ["+a", "-a", "+b", "-b", "+c", "-c", "+quick d", "-quick d"]
            assert len(world.router._lanes) == 0

    asyncio.run(main())


def test_a_reentrant_receiver_opens_the_gate_of_a_blocked_lane():
    """Its lane is held by a thread, and it runs all the same."""

    async def main():
        blocking = Blocking()

        @packet_receiver(reentrant=True)
        def page(session: Any, ask: PageAsk) -> PageAnswer:
            return PageAnswer(ask.text)

        async with RouterWorld(blocking, page, provides=("visits", "pages"), workers=2) as world:
            peer = world.peer()
            peer.receive(peer.ask_frame(VisitAsk("a"), 1, 5), peer.ask_frame(PageAsk("b"), 2, 5))
            assert await world.answers(peer) == [(2, PageAnswer("b"))]
            blocking.gate("a").set()
            assert await world.answers(peer) == [(1, VisitAnswer("a"))]

    asyncio.run(main())


def test_a_full_queue_refuses_and_the_rest_is_done():
    """The bound of waiting calls is that of the node; it is made small here, as the node's would refuse first."""

    async def main():
        blocking = Blocking()
        async with RouterWorld(blocking, workers=1) as world:
            world.router._work._limit = 2
            peer = world.peer()
            ask_all(peer, "a")
            await asyncio.to_thread(blocking.has_started.wait, HANG_S)
            peer.receive(peer.ask_frame(VisitAsk("quick"), 10, 7))
            peer.receive(*(peer.ask_frame(VisitAsk(f"quick {n}"), 20 + n) for n in range(3)))
            refused = await world.answers(peer, 2)
            assert {error.code for _, error in refused} == {ErrorCode.OVERLOADED}
            assert "worker threads is full" in refused[0][1].message
            blocking.gate("a").set()
            assert len(await world.answers(peer, 3)) == 3
            await world.quiet()
            assert world.router.in_work == len(world.router._lanes) == peer.actor.intake.in_work == 0

    asyncio.run(main())


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, RuntimeError])
def test_a_worker_survives_whatever_its_receiver_raises(kind):
    """Also SystemExit, and in the same thread."""

    async def main():
        threads = []

        @packet_receiver
        def raises(session: Any, ask: VisitAsk) -> VisitAnswer:
            threads.append(threading.get_ident())
            raise kind("boom")

        async with RouterWorld(raises, workers=1) as world:
            peer = world.peer()
            for _ in range(3):
                error = await world.answer(peer, VisitAsk("x"))
                assert (error.code, error.message) == (ErrorCode.RECEIVER_RAISED, f"{kind.__name__}: boom")
            assert len(set(threads)) == 1

    asyncio.run(main())


def test_a_receiver_in_a_thread_has_a_context_of_its_own():
    """It sees its own call, and leaves nothing to the next one."""

    async def main():
        seen = []

        @packet_receiver
        def looks(session: Any, ask: VisitAsk) -> VisitAnswer:
            seen.append(current_call.get().packet)
            return VisitAnswer("")

        async with RouterWorld(looks, workers=1) as world:
            peer = world.peer()
            for text in "ab":
                await world.answer(peer, VisitAsk(text))
            assert seen == [VisitAsk("a"), VisitAsk("b")]
            assert current_call.get() is None

    asyncio.run(main())


def test_stopping_waits_for_the_call_at_work_and_drops_what_waits():
    """And takes nothing new."""

    async def main():
        blocking = Blocking()
        async with RouterWorld(blocking, workers=1) as world:
            peer = world.peer()
            assert world.router.threads_at_work() == 0
            ask_all(peer, "a", "quick never")
            await asyncio.to_thread(blocking.has_started.wait, HANG_S)
            assert world.router.threads_at_work() == 1
            stopped = await world.router.stop()
            assert not stopped.done()
            blocking.gate("a").set()
            async with asyncio.timeout(HANG_S):
                await stopped
            assert world.router.threads_at_work() == 0
            assert blocking.log == ["+a", "-a"]
            peer.receive(peer.ask_frame(VisitAsk("quick late"), 3))
            assert blocking.log == ["+a", "-a"]

    asyncio.run(main())


def test_a_worker_that_hangs_is_a_daemon_that_can_be_abandoned_and_harms_nobody_when_it_wakes():
    """Python cannot end a thread; the process can end without it."""
    blocking = Blocking()
    workers = []

    async def main():
        async with RouterWorld(blocking, workers=1) as world:
            peer = world.peer()
            ask_all(peer, "hangs")
            await asyncio.to_thread(blocking.has_started.wait, HANG_S)
            workers.extend(thread for thread in threading.enumerate() if thread.name.startswith("WorkerActor"))
            stopped = await world.router.stop()
            assert not stopped.done()
            stopped.settle()  # as the engine does when its patience is over: it waits no longer

    asyncio.run(main())
    assert workers
    assert all(thread.daemon for thread in workers)
    assert [thread for thread in workers if thread.is_alive()]
    blocking.gate("hangs").set()  # its loop is closed by now
    for thread in workers:
        thread.join(HANG_S)
        assert not thread.is_alive()
    assert blocking.log == ["+hangs", "-hangs"]
