"""The rows of the error table that are about pressure, time and the end, over real loopback sockets.

Nothing hangs and nothing is silent: after each, no ask is pending.
"""

from __future__ import annotations

import asyncio
import threading

import msgpack
import pytest

from tests.support.nodes import (
    HANG_S,
    TABLE,
    Tallies,
    Tally,
    TallyAnswer,
    TallyAsk,
    TallyNote,
    eventually,
    logged,
    other,
    pair,
    pending,
    sessions_of,
    tallies,
)
from zfoo_py import (
    AskTimeoutError,
    BackpressureError,
    BlockingCallError,
    Node,
    NoProviderError,
    RemoteError,
    Session,
    SessionClosedError,
    UnexpectedPacketError,
    ZfooError,
    packet_receiver,
)
from zfoo_py.actor import running_loop
from zfoo_py.events import Undelivered
from zfoo_py.protocol.common import ErrorCode
from zfoo_py.protocol.framing import frame


def session_of(node):
    [session] = sessions_of(node)
    return session


async def fill(c, key="a"):
    """Send one way until the outbox is full; return how many packets were taken."""
    count = 0
    while not session_of(c)._connection.is_full:
        await c.consumer.send(TallyNote(key, bytes(60_000)))
        count += 1
    return count


# --- pressure


def test_a_full_outbox_refuses_what_is_sent_and_lets_asks_wait_for_room():
    """send: BackpressureError and an event; async and sync asks are written when there is room, and answered."""

    async def main():
        async with pair(outbox_limit_bytes=50_000) as (served, p, c):
            lost = []
            c.events.subscribe(Undelivered, lost.append)
            session_of(p)._connection.pause_reading()
            count = await fill(c)
            with pytest.raises(BackpressureError, match="is full; TallyNote was not sent") as caught:
                await c.consumer.send(TallyNote("refused"))
            assert not caught.value.may_have_run
            assert (caught.value.module, caught.value.packet) == ("tallies", "TallyNote")
            assert [event.what for event in lost] == ["TallyNote"]
            with pytest.raises(BackpressureError, match="is full"):
                session_of(c).session.send(TallyNote("refused"))
            waits = c.consumer.async_ask(TallyAsk("async"))
            blocks = asyncio.create_task(asyncio.to_thread(c.consumer.sync_ask, TallyAsk("sync"), timeout_s=HANG_S))
            await eventually(lambda: len(session_of(c).outbox.parked) == 2)
            assert not waits.done()
            session_of(p)._connection.resume_reading()
            assert (await waits).key == "async"
            assert (await blocks).key == "sync"
            assert served.notes == ["a"] * count
            assert pending(c) == 0

    asyncio.run(main())


def test_an_ask_that_found_no_room_before_its_deadline_has_not_run():
    """AskTimeoutError without may_have_run, async and sync; one that was written may have run."""

    async def main():
        async with pair(outbox_limit_bytes=50_000, drain_timeout_s=0.01) as (served, p, c):
            session_of(p)._connection.pause_reading()
            written = c.consumer.async_ask(TallyAsk("written"), timeout_s=0.1)
            await fill(c)
            parked = c.consumer.async_ask(TallyAsk("parked"), timeout_s=0.1)
            blocked = asyncio.to_thread(c.consumer.sync_ask, TallyAsk("parked"), timeout_s=0.1)
            for ask in (parked, blocked):
                with pytest.raises(AskTimeoutError, match="was not written before its deadline") as caught:
                    await ask
                assert not caught.value.may_have_run
            with pytest.raises(AskTimeoutError, match="had no answer from p ") as caught:
                await written
            assert caught.value.may_have_run
            assert pending(c) == 0
            session_of(p)._connection.resume_reading()
            await eventually(lambda: session_of(c).late_answers == 1)
            assert (await c.consumer.async_ask(TallyAsk("now"), timeout_s=HANG_S)).count == 1
            assert "parked" not in served.counts

    asyncio.run(main())


def test_asks_that_wait_for_room_when_the_session_is_lost_are_not_lost():
    """Never written: they are asked again, over the next session; written ones end typed."""

    async def main():
        async with pair(outbox_limit_bytes=50_000, ask_timeout_s=HANG_S, reconnect_max_s=0.02) as (_, p, c):
            session_of(p)._connection.pause_reading()
            await fill(c)
            parked = [c.consumer.async_ask(TallyAsk(f"{n}")) for n in range(5)]
            await eventually(lambda: len(session_of(c).outbox.parked) == 5)
            session_of(p)._connection.abort()
            for answer in parked:  # nobody serves it until the connector has dialled again
                with pytest.raises(NoProviderError) as caught:
                    await answer
                assert not caught.value.may_have_run
            await eventually(lambda: sessions_of(c) and session_of(c).session.is_up)
            await eventually(lambda: not c._engine.missing())
            assert (await c.consumer.async_ask(TallyAsk("0"))).count == 1

    asyncio.run(main())


def test_too_many_packets_in_work_pause_reading_and_lose_nothing():
    """TCP carries the pressure back; when half is done, reading goes on and everything is answered."""

    async def main():
        limits = {"max_in_work_per_session": 4}
        async with pair(provider=limits, ask_timeout_s=HANG_S) as (served, p, c):
            first = [c.consumer.async_ask(TallyAsk(f"{n}", "wait")) for n in range(4)]
            await eventually(lambda: p._engine.router.in_work == 4)
            assert not session_of(p).intake.is_reading
            more = [c.consumer.async_ask(TallyAsk(f"more {n}")) for n in range(50)]
            frames = session_of(p).frames_in
            await eventually(lambda: session_of(c).outbox.frames_out >= 50)
            for _ in range(50):
                await asyncio.sleep(0)
            assert session_of(p).frames_in == frames  # they stay in the socket
            served.go_on.set()
            for answer in (*first, *more):
                assert (await answer).count == 1
            assert session_of(p).intake.is_reading
            assert pending(c) == 0

    asyncio.run(main())


def test_orders_beyond_the_consumers_inbox_are_refused_typed():
    """A thread that asks faster than the loop takes gets BackpressureError; what was taken is answered."""

    async def main():
        async with pair(inbox_limit_messages=10) as (_, _, c):
            answers = []

            def flood():
                answers.extend(c.consumer.async_ask(TallyAsk(f"{n}")) for n in range(15))

            thread = threading.Thread(target=flood)  # while the loop stands still
            thread.start()
            thread.join()
            ends = await asyncio.gather(*answers, return_exceptions=True)
            assert [isinstance(end, TallyAnswer) for end in ends] == [True] * 10 + [False] * 5
            for error in ends[10:]:
                assert isinstance(error, BackpressureError)
                assert not error.may_have_run
                assert "10 orders wait" in str(error)
            assert pending(c) == 0

    asyncio.run(main())


def test_an_answer_longer_than_the_asker_takes_is_an_error_not_the_end_of_the_session():
    """ANSWER_TOO_LARGE says both sizes; the receiver has run; the next ask is served."""

    async def main():
        async with pair(max_frame_bytes=50_000) as (_, _, c):
            with pytest.raises(RemoteError, match=r"has 1000\d\d bytes, and this peer takes at most") as caught:
                await c.consumer.async_ask(TallyAsk("a", "big"))
            assert caught.value.code == ErrorCode.ANSWER_TOO_LARGE
            assert caught.value.may_have_run
            assert (await c.consumer.async_ask(TallyAsk("a"))).count == 2
            assert pending(c) == 0

    asyncio.run(main())


# --- answers that are none


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ([7001, [1, "x", 3]], r"TallyAnswer\.key: expected str"),
        ([7001, ["a"]], "missing"),
        ([29_999, []], "unknown protocol id 29999"),
        ("no list", ""),
    ],
)
def test_an_answer_that_cannot_be_decoded_ends_its_ask_at_once(body, text):
    """UnexpectedPacketError tells field and fault, instead of a timeout that blames the receiver."""

    async def main():
        async with pair(ask_timeout_s=HANG_S) as (served, p, c):
            answer = c.consumer.async_ask(TallyAsk("a", "wait"))
            await served.started.wait()
            [signal_id] = session_of(c)._pending._even
            if not isinstance(body, list):  # then it cannot be told that it is an answer
                session_of(p)._connection.write(frame(msgpack.packb(body)))
                served.go_on.set()
                assert (await answer).count == 1
                assert session_of(c).undecodable == 1
                return
            session_of(p)._connection.write(frame(msgpack.packb([*body, 0, [0, signal_id]])))
            with pytest.raises(UnexpectedPacketError, match=f"cannot be decoded.*{text}") as caught:
                await answer
            assert caught.value.may_have_run
            assert (caught.value.packet, caught.value.sid) == ("TallyAsk", session_of(c).session.sid)
            assert pending(c) == 0
            served.go_on.set()
            await eventually(lambda: session_of(c).late_answers == 1)
            assert (await c.consumer.async_ask(TallyAsk("a"))).count == 2

    with logged("ERROR"):
        asyncio.run(main())


def test_late_doubled_and_foreign_answers_are_counted_and_dropped():
    """They settle nothing, and nothing stays in memory."""

    async def main():
        async with pair() as (_, p, c):
            with pytest.raises(AskTimeoutError):
                await c.consumer.async_ask(TallyAsk("a", "wait"), timeout_s=0.02)
            assert pending(c) == 0
            await eventually(lambda: p._engine.router.in_work == 0)  # its receiver was cancelled, and answers nobody
            codec, connection = p._engine.codec, session_of(p)._connection
            head = codec.encode(TallyAnswer("forged", 9, "nobody"))
            for signal_id in (1, 99, 100, 2**31 - 1):
                connection.write(codec.answer_frame(head, signal_id))
            assert (await c.consumer.async_ask(TallyAsk("a"))).count == 2
            assert session_of(c).late_answers == 4
            assert pending(c) == 0

    asyncio.run(main())


# --- threads


class Faulty:
    """Fails in the way it is asked to."""

    @packet_receiver
    async def at(self, session: Session, ask: TallyAsk) -> TallyAnswer:
        if ask.how == "block":
            session.node.router.sync_ask(session, TallyAsk("x"))
        if ask.how == "raise":
            raise ValueError("mine")
        if ask.how == "hang":
            await asyncio.Event().wait()
        if ask.how == "note":
            return TallyNote("not the answer")  # type: ignore[return-value]
        return TallyAnswer(ask.key, 1, "p")


def test_threads_see_the_same_errors():
    """`sync_ask` raises what awaiting would; a blocking call in a coroutine receiver is refused there, too."""

    async def main():
        async with pair(provider={"receivers": [Faulty()], "drain_timeout_s": 0.01}) as (_, p, c):

            def ask(how, timeout_s=HANG_S, packet=TallyAsk):
                assert running_loop() is None
                return c.consumer.sync_ask(packet("a", how), timeout_s=timeout_s)

            for how, kind, text in (
                ("raise", RemoteError, "ValueError: mine"),
                ("block", RemoteError, "BlockingCallError: .*await async_ask"),
                ("note", UnexpectedPacketError, "answered with TallyNote, not with TallyAnswer"),
            ):
                with pytest.raises(kind, match=text):
                    await asyncio.to_thread(ask, how)
            with pytest.raises(AskTimeoutError):
                await asyncio.to_thread(ask, "hang", 0.02)
            with pytest.raises(NoProviderError, match="does not consume module 'other'"):
                await asyncio.to_thread(c.consumer.sync_ask, Tally("a"), TallyAnswer, key=1)
            lost = asyncio.create_task(asyncio.to_thread(ask, "hang"))
            await eventually(lambda: p._engine.router.in_work == 1)
            session_of(p)._connection.abort()
            with pytest.raises(SessionClosedError, match="in flight"):
                await lost
            with pytest.raises(BlockingCallError, match=r"await async_ask\(\)"):
                c.consumer.sync_ask(TallyAsk("a"))
            assert pending(c) == 0

    with logged("CRITICAL"):
        asyncio.run(main())


# --- the end


def test_asks_with_a_consumer_whose_node_has_stopped_end_at_once():
    """On the loop, in a thread, and when the loop is closed: SessionClosedError, and nothing has run."""
    kept = []

    async def main():
        async with pair() as (_, _, c):
            kept.append(c.consumer)
            await c.stop()
            with pytest.raises(SessionClosedError, match="the node has stopped") as caught:
                await kept[0].async_ask(TallyAsk("a"))
            assert not caught.value.may_have_run
            with pytest.raises(SessionClosedError, match="the node has stopped"):
                await kept[0].send(TallyNote("a"))
            with pytest.raises(SessionClosedError):
                await asyncio.to_thread(kept[0].sync_ask, TallyAsk("a"), timeout_s=HANG_S)
            with pytest.raises(ZfooError, match="the node is stopped"):
                _ = c.consumer
            await asyncio.wait_for(asyncio.gather(kept[0].stats(), return_exceptions=True), HANG_S)

    asyncio.run(main())
    with pytest.raises(SessionClosedError) as caught:
        kept[0].sync_ask(TallyAsk("a"), timeout_s=HANG_S)
    assert not caught.value.may_have_run


def test_asks_while_a_node_stops_end_typed():
    """Whatever the moment: answered, or refused with an error that says that nothing ran."""

    async def main():
        async with pair() as (served, _, c):
            consumer, answers = c.consumer, []
            stopping = asyncio.create_task(c.stop())
            while not stopping.done():
                answers.append(consumer.async_ask(TallyAsk(f"{len(answers)}")))
                await asyncio.sleep(0)
            ends = await asyncio.wait_for(asyncio.gather(*answers, return_exceptions=True), HANG_S)
            ran = [end for end in ends if isinstance(end, TallyAnswer)]
            assert len(ran) == sum(served.counts.values())
            assert not any(end.may_have_run for end in ends if not isinstance(end, TallyAnswer))

    asyncio.run(main())


def test_nobody_serves_the_module_names_who_is_known():
    """NoProviderError at once; the group that was wanted, and the providers that there are."""

    class Others:
        @packet_receiver
        async def at(self, session: Session, packet: Tally) -> TallyAnswer:
            return TallyAnswer(packet.key, 1, "other")

    async def main():
        async with Node(id="o", provides=[other], receivers=[Others()], discovery="static", table=TABLE) as o:
            p = await Node(
                id="p", provides=[tallies], receivers=[Tallies("p")], discovery="static", table=TABLE
            ).start()
            where = {"kind": "static", "addresses": [p.address, o.address]}
            async with Node(consumes=[tallies, other], receivers=[], discovery=where, table=TABLE) as c:
                assert (await c.consumer.async_ask(Tally("a"), TallyAnswer, key="a")).served_by == "other"
                await p.stop()
                text = rf"no provider serves module 'tallies' as 'tallies'; providers known: o \| {o.address} \|"
                with pytest.raises(NoProviderError, match=text) as caught:
                    await c.consumer.async_ask(TallyAsk("a"))
                assert (caught.value.module, caught.value.may_have_run) == ("tallies", False)
                await o.stop()
                with pytest.raises(NoProviderError, match="providers known: none at all"):
                    await c.consumer.async_ask(TallyAsk("a"))
                assert pending(c) == 0

    asyncio.run(main())
