"""From a packet to its receiver and back: who is refused, what is answered, and in which order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.packets import PageAnswer, PageAsk, VisitAnswer, VisitAsk, VisitNote
from tests.support.routers import RouterWorld, spin
from zfoo_py.events import ReceiverFailed
from zfoo_py.net import messages as m
from zfoo_py.protocol.common import Error, ErrorCode, Message
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


# --- answers and refusals


def test_a_returned_packet_is_the_answer():
    """It carries the ask's signal id, and nothing stays in work."""

    async def main():
        async with RouterWorld(echo) as world:
            peer = world.peer()
            assert await world.answer(peer, VisitAsk("hi"), signal_id=77) == VisitAnswer("hi")
            assert world.router.received == 1
            assert world.router.in_work == peer.actor.intake.in_work == 0

    asyncio.run(main())


def test_answers_of_one_batch_go_out_in_one_write():
    """A system call per answer would cost more than the receivers."""

    async def main():
        async with RouterWorld(echo) as world:
            peer = world.peer()
            peer.receive(*(peer.ask_frame(VisitAsk(str(n)), n + 1) for n in range(3)))
            await world.quiet()
            assert len(peer.connection.writes) == 1
            assert [attachment.signal_id for _, attachment in peer.written()] == [1, 2, 3]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("receivers", "packet", "code", "text"),
    [
        ([echo], PageAsk("x"), ErrorCode.NOT_SERVED, "does not provide module 'pages'"),
        ([echo, page], PageAsk("x"), ErrorCode.NOT_SERVED, "does not provide module 'pages'"),
        ([], VisitAsk("x"), ErrorCode.NO_RECEIVER, "has no receiver of VisitAsk"),
    ],
)
def test_what_this_node_does_not_serve_is_refused(receivers, packet, code, text):
    """A receiver alone makes nobody a provider."""

    async def main():
        async with RouterWorld(*receivers) as world:
            peer = world.peer()
            error = await world.answer(peer, packet)
            assert error.code == code
            assert text in error.message
            peer.receive(peer.one_way(packet))  # one way: nobody is answered, but it is counted
            assert peer.written() == []
            assert world.router.refused == 2
            assert world.router.unserved.misrouted == (2 if code == ErrorCode.NOT_SERVED else 0)
            assert peer.actor.intake.in_work == 0

    asyncio.run(main())


@pytest.mark.parametrize(("consumes", "is_served"), [(["visits-green"], True), (["visits-red"], False), ([], True)])
def test_a_node_is_served_only_in_the_group_that_it_consumes(consumes, is_served):
    """The tripwire costs no lookup of its own: the session knows since its Hello."""

    async def main():
        async with RouterWorld(echo, provides=("visits/blue", "visits/green")) as world:
            peer = world.up("server", consumes=consumes)
            answer = await world.answer(peer, VisitAsk("x"))
            if is_served:
                assert answer == VisitAnswer("x")
            else:
                assert answer.code == ErrorCode.NOT_SERVED
                assert "provides module 'visits' as 'blue' and 'green', not as the group" in answer.message
            assert world.router.unserved.misrouted == (not is_served)

    asyncio.run(main())


def test_an_outside_client_may_call_any_receiver_and_no_more():
    """What is provided to nodes is no matter for clients; a packet without receiver is refused."""

    async def main():
        async with RouterWorld(echo, page) as world:
            client = world.peer("client")
            assert await world.answer(client, PageAsk("p")) == PageAnswer("p")
            error = await world.answer(client, VisitNote("n"))
            assert error.code == ErrorCode.NO_RECEIVER

    asyncio.run(main())


def test_a_push_to_a_consumer_needs_no_provided_module():
    """We dialled that session, so its peer serves and we listen."""

    async def main():
        heard = []

        @packet_receiver
        async def at_note(session: Any, note: VisitNote) -> None:
            heard.append((session, note))

        async with RouterWorld(at_note, provides=()) as world:
            provider = world.up("client")
            provider.receive(provider.one_way(VisitNote("push")))
            await world.quiet()
            assert heard == [(provider.session, VisitNote("push"))]
            assert provider.written() == []

    asyncio.run(main())


def test_over_the_node_s_bound_packets_are_refused_and_the_session_goes_on():
    """OVERLOADED ends the one ask that is too much."""

    async def main():
        gate = asyncio.Event()

        async def waits(session, ask):
            await gate.wait()
            return VisitAnswer(ask.text)

        async with RouterWorld(asking(waits), max_in_work=2) as world:
            peer = world.peer()
            peer.receive(*(peer.ask_frame(VisitAsk(str(n)), n) for n in (1, 2, 3)))
            [(signal_id, error)] = await world.answers(peer)
            assert (signal_id, error.code) == (3, ErrorCode.OVERLOADED)
            gate.set()
            assert {signal for signal, _ in await world.answers(peer, 2)} == {1, 2}
            assert await world.answer(peer, VisitAsk("again"), signal_id=4) == VisitAnswer("again")

    asyncio.run(main())


def test_a_receiver_that_returns_none_to_an_ask_is_an_error_that_names_it():
    """Its asker hears at once, instead of at its deadline."""

    async def main():
        async def nothing(session, ask):
            return None

        async with RouterWorld(asking(nothing)) as world:
            error = await world.answer(world.peer(), VisitAsk("x"))
            assert error.code == ErrorCode.NO_ANSWER
            assert "test_dispatcher.py" in error.message
            assert "returned None instead of an answer" in error.message

    asyncio.run(main())


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError])
@pytest.mark.parametrize("is_async", [True, False])
def test_a_receiver_that_raises_is_a_typed_error_an_event_and_no_harm(kind, is_async):
    """Also what is no Exception, on the loop and in a thread; the next calls are answered."""

    async def main():
        @packet_receiver
        async def raises(session: Any, ask: VisitAsk) -> VisitAnswer:
            raise kind("the text")

        @packet_receiver
        def raises_in_thread(session: Any, ask: VisitAsk) -> VisitAnswer:
            raise kind("the text")

        async with RouterWorld(raises if is_async else raises_in_thread, page, provides=("visits", "pages")) as world:
            peer = world.peer()
            error = await world.answer(peer, VisitAsk("x"))
            assert error == Error(ErrorCode.RECEIVER_RAISED, f"{kind.__name__}: the text")
            assert await world.answer(peer, PageAsk("fine")) == PageAnswer("fine")
            assert await world.answer(peer, VisitAsk("x")) == error
            assert world.router.receiver_failures == 2
            first = world.failures[0]
            assert isinstance(first, ReceiverFailed)
            assert (first.packet, first.sid, first.error, first.message) == ("VisitAsk", 1, kind.__name__, "the text")
            assert peer.ref.is_alive()
            assert world.router.in_work == 0

    asyncio.run(main())


class MuteError(Exception):
    """Cannot even say what it is."""

    def __str__(self):
        raise LookupError


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: OSError("no file caf\udce9"), "OSError: no file caf\\udce9"),
        (MuteError, "MuteError"),
        (OSError, "OSError"),
    ],
)
@pytest.mark.parametrize("is_async", [True, False])
def test_an_error_whose_text_cannot_be_sent_or_made_ends_its_call_all_the_same(make, text, is_async):
    """Names of files may hold lone surrogates, and ``__str__`` may raise: the asker is answered, the lane let go."""

    async def main():
        @packet_receiver
        async def raises(session: Any, ask: VisitAsk) -> VisitAnswer:
            await asyncio.sleep(0)
            raise make()

        @packet_receiver
        def raises_in_thread(session: Any, ask: VisitAsk) -> VisitAnswer:
            raise make()

        async with RouterWorld(raises if is_async else raises_in_thread) as world:
            peer = world.peer()
            assert await world.answer(peer, VisitAsk("x"), lane=5) == Error(ErrorCode.RECEIVER_RAISED, text)
            peer.receive(peer.one_way(VisitAsk("x"), 5))
            await world.quiet()
            assert len(world.failures) == 2
            assert world.router.in_work == len(world.router._lanes) == peer.actor.intake.in_work == 0

    asyncio.run(main())


def test_a_returned_packet_that_cannot_be_encoded_or_is_no_packet_is_an_error():
    """Whatever a receiver returns, the asker hears of it."""

    async def main():
        wrong = iter([VisitAnswer(3), "a text", VisitAnswer])

        async def returns(session, ask):
            return next(wrong)

        async with RouterWorld(asking(returns)) as world:
            peer = world.peer()
            for _ in range(3):
                error = await world.answer(peer, VisitAsk("x"))
                assert error.code == ErrorCode.RECEIVER_RAISED

    asyncio.run(main())


def test_a_call_that_is_too_late_is_skipped_and_counted():
    """Its asker has given up: nothing is answered."""

    async def main():
        started = []

        async def notes(session, ask):
            started.append(ask.text)
            return VisitAnswer(ask.text)

        async with RouterWorld(asking(notes)) as world:
            peer = world.peer()
            late, in_time = (
                peer.ask_frame(VisitAsk("late"), 1, remaining_ms=100),
                peer.ask_frame(VisitAsk("in time"), 2),
            )
            no_deadline = peer.ask_frame(VisitAsk("no deadline"), 3)[:-4] + bytes(4)  # as a plain zfoo node asks
            peer.receive(late, in_time, no_deadline)
            world.clock.advance(0.2)
            await world.quiet()
            assert started == ["in time", "no deadline"]
            assert world.router.expired == 1
            [(error, attachment), *answers] = peer.written()
            assert (error.code, attachment.signal_id) == (ErrorCode.EXPIRED, 1)
            assert [attachment.signal_id for _, attachment in answers] == [2, 3]
            assert peer.actor.intake.in_work == 0

    asyncio.run(main())


def test_calls_that_wait_for_a_lane_are_skipped_too_when_they_are_late():
    """The lane goes on to the next one that is in time."""

    async def main():
        gate, started = asyncio.Event(), []

        async def waits(session, ask):
            started.append(ask.text)
            await gate.wait()
            return VisitAnswer(ask.text)

        async with RouterWorld(asking(waits)) as world:
            peer = world.peer()
            for text, remaining_ms in (("a", 3000), ("b", 100), ("c", 3000)):
                peer.receive(peer.ask_frame(VisitAsk(text), 1, 9, remaining_ms))
            await spin()
            assert started == ["a"]
            world.clock.advance(0.2)
            gate.set()
            await world.quiet()
            assert started == ["a", "c"]
            assert (world.router.expired, world.router.in_work, len(world.router._lanes)) == (1, 0, 0)

    asyncio.run(main())


def test_an_asker_that_is_gone_harms_nobody():
    """Its session closes while its receivers run, on the loop and in a thread; the others are answered."""

    async def main():
        gate, loop = asyncio.Event(), asyncio.get_running_loop()

        async def waits(session, ask):
            await gate.wait()
            return VisitAnswer(ask.text)

        @packet_receiver
        def in_thread(session: Any, ask: PageAsk) -> PageAnswer:
            asyncio.run_coroutine_threadsafe(gate.wait(), loop).result()
            return PageAnswer(ask.text)

        async with RouterWorld(asking(waits), in_thread, provides=("visits", "pages")) as world:
            gone, stays = world.peer(), world.peer()
            for peer in (gone, stays):
                peer.receive(peer.ask_frame(VisitAsk("v"), 1), peer.ask_frame(PageAsk("p"), 2))
            await spin()
            gone.tell(m.Lost("cable"))
            gate.set()
            assert {signal for signal, _ in await world.answers(stays, 2)} == {1, 2}
            await world.quiet()
            assert world.router.in_work == 0
            assert world.router.unsent_answers == 2
            assert await world.answer(stays, VisitAsk("still"), signal_id=3) == VisitAnswer("still")

    asyncio.run(main())


def test_built_in_packets_go_to_the_framework_s_own_handler():
    """And are ignored where none is installed."""

    async def main():
        heard = []
        async with RouterWorld(echo) as world:
            peer = world.peer()
            peer.receive(peer.one_way(Message(0, "before")))
            world.router.install(Message, lambda session, packet: heard.append((session, packet)))
            peer.receive(peer.one_way(Message(1, "hi")))
            assert heard == [(peer.session, Message(1, "hi"))]
            assert peer.actor.intake.in_work == 0

    asyncio.run(main())


# --- interceptors


class Hooks:
    """Writes down, and raises where it is told to."""

    def __init__(self, log, name="", raises=()):
        self.log, self.name, self.raises = log, name, raises

    def note(self, hook, *what):
        self.log.append((self.name + hook, *what))
        if hook in self.raises:
            raise LookupError(f"the hook {hook}")

    def before_receive(self, session, packet):
        self.note("before", packet)

    def after_receive(self, session, packet, error):
        self.note("after", packet, type(error))


def test_hooks_run_before_and_after_a_receiver():
    """In the order given; the one after hears of the receiver's error."""

    async def main():
        log = []
        hooks = [Hooks(log, "1 "), Hooks(log, "2 ")]

        async def notes(session, ask):
            log.append("receiver")
            if ask.text == "bad":
                raise ValueError
            return VisitAnswer(ask.text)

        async with RouterWorld(asking(notes), interceptors=hooks) as world:
            peer, good, bad = world.peer(), VisitAsk("good"), VisitAsk("bad")
            await world.answer(peer, good)
            none = type(None)
            assert log == [
                ("1 before", good),
                ("2 before", good),
                "receiver",
                ("1 after", good, none),
                ("2 after", good, none),
            ]
            log.clear()
            await world.answer(peer, bad)
            assert log[-1] == ("2 after", bad, ValueError)

    asyncio.run(main())


def test_a_hook_that_raises_before_answers_with_an_error_and_nothing_runs():
    """A hook may so refuse a packet."""

    async def main():
        log = []
        async with RouterWorld(echo, interceptors=[Hooks(log, raises=("before",))]) as world:
            error = await world.answer(world.peer(), VisitAsk("x"))
            assert error == Error(ErrorCode.RECEIVER_RAISED, "LookupError: the hook before")
            assert log == [("before", VisitAsk("x"))]
            assert world.router.in_work == 0

    asyncio.run(main())


def test_a_hook_that_raises_afterwards_changes_no_answer():
    """The receiver has run, so its answer goes out."""

    async def main():
        async with RouterWorld(echo, interceptors=[Hooks([], raises=("after",))]) as world:
            assert await world.answer(world.peer(), VisitAsk("x")) == VisitAnswer("x")

    asyncio.run(main())


# --- the end


def test_drained_waits_for_what_is_in_work():
    """It is settled after the last answer was sent, at once if there is none."""

    async def main():
        gate = asyncio.Event()

        async def waits(session, ask):
            await gate.wait()
            return VisitAnswer(ask.text)

        async with RouterWorld(asking(waits)) as world:
            assert world.router.drained().done()
            peer = world.peer()
            peer.receive(peer.ask_frame(VisitAsk("x")))
            drained = world.router.drained()
            await spin()
            assert not drained.done()
            gate.set()
            async with asyncio.timeout(20):
                await drained
            assert len(peer.packets()) == 1

    asyncio.run(main())
