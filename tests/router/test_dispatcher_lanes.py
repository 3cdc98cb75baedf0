"""Lanes as packets see them: keys, sessions, users, own work; on the loop and on workers alike."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.packets import PageAnswer, PageAsk, VisitAnswer, VisitAsk, VisitNote
from tests.support.routers import HANG_S, RouterWorld, spin
from zfoo_py.consumer.hashing import task_hash
from zfoo_py.errors import ZfooError
from zfoo_py.router import drivers as drivers_file
from zfoo_py.router.receivers import packet_receiver


class Gates:
    """Receivers of VisitAsk that wait, each at a gate named by its text; what starts and ends is noted."""

    def __init__(self):
        self.log = []
        self.gates = {}

    def gate(self, text):
        return self.gates.setdefault(text, asyncio.Event())

    @packet_receiver
    async def at_ask(self, session: Any, ask: VisitAsk) -> VisitAnswer:
        self.log.append(f"+{ask.text}")
        await self.gate(ask.text).wait()
        self.log.append(f"-{ask.text}")
        return VisitAnswer(ask.text)

    @packet_receiver(reentrant=True)
    async def at_note(self, session: Any, note: VisitNote) -> None:
        self.log.append(f"+{note.text}")
        await self.gate(note.text).wait()
        self.log.append(f"-{note.text}")

    async def open(self, *texts):
        for text in texts:
            self.gate(text).set()
        await spin()

    def started(self):
        return [line[1:] for line in self.log if line[0] == "+"]


def test_equal_keys_wait_and_other_keys_and_no_key_do_not():
    """Across sessions, in the order in which they came."""

    async def main():
        gates = Gates()
        async with RouterWorld(gates) as world:
            one, two = world.peer(), world.peer()
            one.receive(one.ask_frame(VisitAsk("a"), 1, 5), one.ask_frame(VisitAsk("b"), 2, 5))
            two.receive(two.ask_frame(VisitAsk("c"), 1, 5), two.ask_frame(VisitAsk("other"), 2, 6))
            two.receive(*(two.ask_frame(VisitAsk(f"free{n}"), 3 + n) for n in range(3)))
            await spin()
            assert gates.started() == ["a", "other", "free0", "free1", "free2"]
            await gates.open("c", "b")
            assert gates.started()[5:] == []
            await gates.open("a")
            assert gates.log[5:] == ["-a", "+b", "-b", "+c", "-c"]
            await gates.open("other", "free0", "free1", "free2")
            assert world.router.in_work == len(world.router._lanes) == 0

    asyncio.run(main())


def test_a_lane_is_of_the_node_across_modules():
    """A key is one actor, whatever module its packets belong to."""

    async def main():
        gates = Gates()

        @packet_receiver
        async def page(session: Any, ask: PageAsk) -> PageAnswer:
            gates.log.append("page")
            return PageAnswer("")

        async with RouterWorld(gates, page, provides=("visits", "pages")) as world:
            peer = world.peer()
            peer.receive(peer.ask_frame(VisitAsk("a"), 1, 5), peer.ask_frame(PageAsk("x"), 2, 5))
            await spin()
            assert gates.log == ["+a"]
            await gates.open("a")
            assert gates.log == ["+a", "-a", "page"]

    asyncio.run(main())


def test_sends_with_key_share_the_lane_and_reentrant_ones_do_not_wait():
    """A reentrant receiver passes the closed gate, and holds it for the others meanwhile."""

    async def main():
        gates = Gates()
        async with RouterWorld(gates) as world:
            peer = world.peer()
            peer.receive(peer.ask_frame(VisitAsk("a"), 1, 5), peer.one_way(VisitNote("r"), 5))
            peer.receive(peer.ask_frame(VisitAsk("b"), 2, 5))
            await spin()
            assert gates.log == ["+a", "+r"]
            await gates.open("a")
            assert gates.started() == ["a", "r"], "a reentrant receiver at work holds the gate for the others"
            await gates.open("r", "b")
            assert gates.log == ["+a", "+r", "-a", "-r", "+b", "-b"]
            assert len(world.router._lanes) == 0

    asyncio.run(main())


def test_a_client_s_packets_without_key_are_handled_one_at_a_time_and_another_s_meanwhile():
    """Each session has a lane of its own."""

    async def main():
        gates = Gates()
        async with RouterWorld(gates) as world:
            one, two = world.peer("client"), world.peer("client")
            one.receive(one.ask_frame(VisitAsk("a"), 1), one.ask_frame(VisitAsk("b"), 2))
            two.receive(two.ask_frame(VisitAsk("c"), 1))
            await spin()
            assert gates.started() == ["a", "c"]
            await gates.open("a", "b", "c")
            assert gates.started() == ["a", "c", "b"]

    asyncio.run(main())


def test_after_bind_uid_a_client_shares_the_lane_of_the_key():
    """What nodes ask with ``key=uid`` and what the user sends itself never run at once."""

    async def main():
        gates = Gates()
        uid = 2**40 + 7
        async with RouterWorld(gates) as world:
            client, node = world.peer("client"), world.peer()
            client.session.bind_uid(uid)
            client.receive(client.ask_frame(VisitAsk("mine"), 1))
            node.receive(node.ask_frame(VisitAsk("keyed"), 1, task_hash(uid)))
            await spin()
            assert gates.started() == ["mine"]
            await gates.open("mine")
            assert gates.started() == ["mine", "keyed"]
            await gates.open("keyed")

    asyncio.run(main())


def test_the_new_lane_starts_when_the_old_one_is_empty():
    """Logging in does not let a session's packets overtake each other."""

    async def main():
        gates = Gates()
        async with RouterWorld(gates) as world:
            client = world.peer("client")
            client.receive(client.ask_frame(VisitAsk("login"), 1), client.ask_frame(VisitAsk("old"), 2))
            await spin()
            client.session.bind_uid(7)
            client.receive(client.ask_frame(VisitAsk("new"), 3), client.ask_frame(VisitAsk("newer"), 4))
            await spin()
            assert gates.started() == ["login"]
            await gates.open("new", "newer", "login")
            assert gates.started() == ["login", "old"]
            await gates.open("old")
            assert gates.log == ["+login", "-login", "+old", "-old", "+new", "-new", "+newer", "-newer"]
            assert world.router.in_work == len(world.router._lanes) == 0
            assert client.actor.intake.in_work == 0

    asyncio.run(main())


def test_a_session_that_goes_back_to_a_lane_it_had_is_not_stuck():
    """Changes of lane chain, and come one after another."""

    async def main():
        gates = Gates()
        async with RouterWorld(gates) as world:
            client = world.peer("client")
            for number, uid in enumerate((1, 2, 1, 2), 1):
                client.session.bind_uid(uid)
                client.receive(
                    client.ask_frame(VisitAsk(f"{number}a"), number), client.ask_frame(VisitAsk(f"{number}b"), number)
                )
                await spin()
            assert gates.started() == ["1a"]
            names = [f"{number}{letter}" for number in (1, 2, 3, 4) for letter in "ab"]
            await gates.open(*names)
            await spin(100)
            assert gates.started() == names
            assert world.router.in_work == len(world.router._lanes) == 0

    asyncio.run(main())


def test_two_sessions_that_change_lanes_crosswise_do_not_wait_for_each_other():
    """Parked packets hold no lane, so there is no circle to wait in."""

    async def main():
        gates = Gates()
        async with RouterWorld(gates) as world:
            one, two = world.peer("client"), world.peer("client")
            for client, uid in ((one, 1), (two, 2)):
                client.session.bind_uid(uid)
                client.receive(*(client.ask_frame(VisitAsk(f"{uid}{letter}"), 1) for letter in "ab"))
            await spin()
            for client, uid in ((one, 2), (two, 1)):
                client.session.bind_uid(uid)
                client.receive(client.ask_frame(VisitAsk(f"then {uid}"), 2))
            await gates.open("1a", "1b", "2a", "2b", "then 1", "then 2")
            await spin(100)
            assert sorted(gates.started()) == ["1a", "1b", "2a", "2b", "then 1", "then 2"]
            assert world.router.in_work == len(world.router._lanes) == 0

    asyncio.run(main())


def test_a_long_lane_takes_steps_in_proportion_to_its_length(monkeypatch):
    """Each end may look at the next one that waits only, not at all of them."""

    async def main():
        @packet_receiver
        async def waits(session: Any, ask: VisitAsk) -> VisitAnswer:
            await asyncio.sleep(0)
            return VisitAnswer("")

        async with RouterWorld(waits, max_in_work_per_session=100_000) as world:
            admitted = 0
            admit = world.router._drivers._admit

            def counted(call):
                nonlocal admitted
                admitted += 1
                return admit(call)

            world.router._drivers._admit = counted
            peer = world.peer()
            peer.receive(*(peer.ask_frame(VisitAsk(""), 1, 5) for _ in range(1000)))
            await world.quiet()
            assert admitted <= 3000

    asyncio.run(main())


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from("asnqr"), st.booleans()), min_size=1, max_size=25))
def test_equal_lanes_in_order_one_at_a_time_whatever_the_receivers_do(calls):
    """a: suspends, s: does not, n: raises after a suspension, q: raises at once, r: reentrant; or on a worker."""

    async def main():
        log = []
        patch.setattr(drivers_file, "BATCH_CALLS", 2)

        async def work(text):
            number, _, kind = text.partition(" ")
            log.append(("+", int(number)))
            if kind in "anr":
                await asyncio.sleep(0)
            log.append(("-", int(number)))
            if kind in "nq":
                raise LookupError

        class Receivers:
            @packet_receiver
            async def at_ask(self, session: Any, ask: VisitAsk) -> None:
                await work(ask.text)

            @packet_receiver(reentrant=True)
            async def at_note(self, session: Any, note: VisitNote) -> None:
                await work(note.text)

            @packet_receiver
            def at_page(self, session: Any, ask: PageAsk) -> None:
                log.append(("+", int(ask.text)))
                log.append(("-", int(ask.text)))

        async with RouterWorld(Receivers(), provides=("visits", "pages")) as world:
            peer = world.peer()
            for number, (lane, kind, in_thread) in enumerate(calls):
                if in_thread:
                    packet = PageAsk(str(number))
                else:
                    packet = (VisitNote if kind == "r" else VisitAsk)(f"{number} {kind}")
                peer.receive(peer.ask_frame(packet, number + 1, lane))
                if number % 5 == 0:
                    await asyncio.sleep(0)
            await world.quiet()
            assert world.router.in_work == len(world.router._lanes) == peer.actor.intake.in_work == 0
        assert len(log) == 2 * len(calls)
        for lane in (1, 2, 3):
            gated = [n for n, (at, kind, in_thread) in enumerate(calls) if at == lane and (in_thread or kind != "r")]
            assert [line for line in log if line[1] in gated] == [(what, n) for n in gated for what in "+-"]

    with pytest.MonkeyPatch.context() as patch:
        asyncio.run(main())


def test_a_worker_gets_no_call_of_a_lane_whose_coroutine_is_about_to_start():
    """Between two batches answers are sent, and new calls come; the coroutine admitted before has not held its lane."""

    async def main():
        held = []

        @packet_receiver
        async def visit(session: Any, ask: VisitAsk) -> VisitAnswer:
            held.append(len(world.router._lanes))
            return VisitAnswer("")

        @packet_receiver
        def page(session: Any, ask: PageAsk) -> PageAnswer:
            return PageAnswer("")

        async with RouterWorld(visit, page, provides=("visits", "pages")) as world:
            peer, count = world.peer(), drivers_file.BATCH_CALLS
            asks = [peer.ask_frame(VisitAsk(""), number, 5) for number in range(1, count + 1)]
            peer.receive(*asks, peer.ask_frame(PageAsk(""), count + 1, 5))
            answers = await world.answers(peer, count + 1)
            assert held == [0] * count
            assert [signal for signal, _ in answers] == list(range(1, count + 2))

    asyncio.run(main())


# --- own work


def test_own_work_takes_its_turn_in_the_lane_on_the_loop_and_on_workers():
    """It waits for the packet that holds its lane, and other lanes do not wait for it."""

    async def main():
        gates, order = Gates(), []

        async def on_loop(*what):
            order.append((what, threading.current_thread() is threading.main_thread()))
            return "loop"

        def on_worker(*what):
            order.append((what, threading.current_thread() is threading.main_thread()))
            return "worker"

        async with RouterWorld(gates) as world:
            peer = world.peer()
            peer.receive(peer.ask_frame(VisitAsk("a"), 1, 5))
            await spin()
            first = world.router.run_in_lane(5, on_loop, (1, 2), is_async=True)
            second = world.router.run_in_lane(5, on_worker, (3,), is_async=False)
            other = world.router.run_in_lane(6, on_loop, ("free",), is_async=True)
            async with asyncio.timeout(HANG_S):
                assert await other == "loop"
                assert order == [(("free",), True)]
                await gates.open("a")
                assert (await first, await second) == ("loop", "worker")
            assert order[1:] == [((1, 2), True), ((3,), False)]
            await world.quiet()
            assert world.router.in_work == 0

    asyncio.run(main())


@pytest.mark.parametrize("is_async", [True, False])
def test_own_work_that_raises_fails_its_future_only(is_async):
    """The lane is free afterwards."""

    async def main():
        async def fails():
            raise LookupError("own")

        def fails_in_thread():
            raise LookupError("own")

        async with RouterWorld() as world:
            function = fails if is_async else fails_in_thread
            with pytest.raises(LookupError, match="own"):
                async with asyncio.timeout(HANG_S):
                    await world.router.run_in_lane(5, function, (), is_async=is_async)
            assert len(world.router._lanes) == 0

    asyncio.run(main())


def test_own_work_can_be_ordered_from_a_thread():
    """It runs on the loop nevertheless."""

    async def main():
        async def work():
            return threading.current_thread() is threading.main_thread()

        async with RouterWorld() as world, asyncio.timeout(HANG_S):
            answer = await asyncio.to_thread(lambda: world.router.run_in_lane(5, work, (), is_async=True))
            assert await answer is True

    asyncio.run(main())


@pytest.mark.parametrize("is_async", [True, False])
def test_own_work_that_raises_what_ends_tasks_fails_with_an_error_of_ours(is_async):
    """Who awaits it must not be cancelled, or its process ended, by somebody else's SystemExit."""

    async def main():
        async def exits():
            raise SystemExit(3)

        def exits_in_thread():
            raise SystemExit(3)

        async with RouterWorld() as world, asyncio.timeout(HANG_S):
            with pytest.raises(ZfooError, match=r"exits.* raised SystemExit\(3\)"):
                await world.router.run_in_lane(5, exits if is_async else exits_in_thread, (), is_async=is_async)

    asyncio.run(main())


def test_own_work_that_finds_the_queue_of_the_workers_full_is_refused():
    """Its future ends at once, and the lane is free again."""

    async def main():
        async with RouterWorld() as world:
            world.router._work._limit = 0
            with pytest.raises(ZfooError, match="worker threads is full"):
                async with asyncio.timeout(HANG_S):
                    await world.router.run_in_lane(5, print, (), is_async=False)
            assert world.router.in_work == len(world.router._lanes) == 0

    asyncio.run(main())


@pytest.mark.parametrize("is_async", [True, False])
def test_own_work_that_waits_or_comes_when_the_router_stops_is_told_that_it_did_not_run(is_async):
    """Nobody waits for ever: neither what waits behind a lane nor what is ordered afterwards."""

    async def main():
        ran = []

        async def on_loop():
            ran.append("loop")

        work = on_loop if is_async else lambda: ran.append("worker")
        gates = Gates()
        async with RouterWorld(gates) as world:
            peer = world.peer()
            peer.receive(peer.ask_frame(VisitAsk("a"), 1, 5))
            await spin()
            waits = world.router.run_in_lane(5, work, (), is_async=is_async)
            await spin()
            world.router._drivers._stopping = True  # nothing starts any more, as in a stop
            await world.router.stop()
            late = world.router.run_in_lane(6, work, (), is_async=is_async)
            for answer in (waits, late):
                with pytest.raises(ZfooError, match="did not run: the node has stopped"):
                    async with asyncio.timeout(HANG_S):
                        await answer
            assert ran == []

    asyncio.run(main())
