"""Every row of the error table: what went wrong, and what the caller sees. Over real loopback sockets."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager

import pytest

from zfoo_py import (
    Ask,
    AskTimeoutError,
    BackpressureError,
    BlockingCallError,
    EncodeError,
    MissingKeyError,
    Node,
    NoProviderError,
    Packet,
    PacketTable,
    ProtocolModule,
    RemoteError,
    SessionClosedError,
    UnexpectedPacketError,
    UnmappedPacketError,
    packet_receiver,
)
from zfoo_py.protocol.common import ErrorCode

table = PacketTable()
jobs = ProtocolModule(50, "jobs", table=table)
others = ProtocolModule(51, "others", table=table)


@jobs.packet(5001)
class JobAnswer(Packet):
    text: str


@jobs.packet(5000, balance_by="key")
class JobAsk(Ask[JobAnswer]):
    key: str
    what: str
    data: bytes = b""


@jobs.packet(5003)
class KeylessAsk(Ask[JobAnswer]):
    what: str


@jobs.packet(5005, balance_by="key", idempotent=True)
class LookAsk(Ask[JobAnswer]):
    key: str


@others.packet(5101)
class OtherAnswer(Packet):
    n: int


class Unmapped(Packet):
    n: int


class Jobs:
    """Does what it is asked to do."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.started = asyncio.Event()
        self.go_on = asyncio.Event()
        self.gate = threading.Event()
        self.runs = 0

    @packet_receiver
    async def at_job_ask(self, session, ask: JobAsk) -> JobAnswer:
        self.runs += 1
        if ask.what == "raise":
            raise ValueError("no such job")
        if ask.what == "exit":
            raise SystemExit(3)
        if ask.what == "none":
            return None
        if ask.what == "other":
            return OtherAnswer(1)
        if ask.what == "unmapped":
            return Unmapped(1)
        if ask.what == "wait":
            self.started.set()
            await self.go_on.wait()
        return JobAnswer(f"{self.name} {ask.what} {len(ask.data)}")

    @packet_receiver
    async def at_look_ask(self, session, ask: LookAsk) -> JobAnswer:
        self.runs += 1
        if self.runs == 1 and self.name == "slow":
            self.started.set()
            await self.go_on.wait()
        return JobAnswer(self.name)


@asynccontextmanager
async def pair(*, provider_limits=None, receivers=None, **consumer_limits):
    """One provider and one consumer that knows its address."""
    served = Jobs("p") if receivers is None else receivers
    limits = provider_limits or {}
    provider = Node(id="p", provides=[jobs], receivers=[served], discovery="static", table=table, **limits)
    async with provider:
        where = {"kind": "static", "addresses": [provider.address]}
        given = {"ask_timeout_s": 2.0, "drain_timeout_s": 0.5, **consumer_limits}
        async with Node(id="c", consumes=[jobs], receivers=[], discovery=where, table=table, **given) as consumer:
            try:
                yield served, provider, consumer
            finally:
                served.go_on.set()


def run(scenario):
    """Run a scenario of (receivers, provider, consumer) on a pair."""

    async def main():
        async with pair() as (served, provider, consumer):
            await scenario(served, provider, consumer)

    asyncio.run(main())


def test_a_receiver_that_raises_is_a_remote_error_at_once():
    """Code, text and may_have_run; also for SystemExit, which ends nobody."""

    async def scenario(served, provider, consumer):
        for what, text in (("raise", "ValueError: no such job"), ("exit", "SystemExit: 3")):
            with pytest.raises(RemoteError, match=text) as caught:
                await consumer.consumer.async_ask(JobAsk("k", what))
            assert caught.value.code == ErrorCode.RECEIVER_RAISED
            assert caught.value.may_have_run
            assert (caught.value.module, caught.value.packet) == ("jobs", "JobAsk")
        assert (await consumer.consumer.async_ask(JobAsk("k", "ok"))).text == "p ok 0"

    run(scenario)


def test_an_answer_that_is_none_wrong_or_unmapped_is_typed():
    """None: NO_ANSWER; another class: UnexpectedPacketError; one without id: the receiver's fault."""

    async def scenario(served, provider, consumer):
        with pytest.raises(RemoteError) as caught:
            await consumer.consumer.async_ask(JobAsk("k", "none"))
        assert caught.value.code == ErrorCode.NO_ANSWER
        with pytest.raises(UnexpectedPacketError, match="OtherAnswer") as caught:
            await consumer.consumer.async_ask(JobAsk("k", "other"))
        assert caught.value.may_have_run
        with pytest.raises(RemoteError, match="Unmapped"):
            await consumer.consumer.async_ask(JobAsk("k", "unmapped"))

    run(scenario)


def test_no_answer_in_time_is_a_timeout_and_the_late_answer_is_dropped():
    """AskTimeoutError is a TimeoutError that may have run; afterwards nothing is pending and asks go on."""

    async def scenario(served, provider, consumer):
        with pytest.raises(AskTimeoutError, match="no answer") as caught:
            await consumer.consumer.async_ask(JobAsk("k", "wait"), timeout_s=0.05)
        assert isinstance(caught.value, TimeoutError)
        assert caught.value.may_have_run
        served.go_on.set()
        assert (await consumer.consumer.async_ask(JobAsk("k", "ok"))).text == "p ok 0"

    run(scenario)


def test_a_lost_session_fails_the_asks_in_flight_at_once():
    """SessionClosedError is a ConnectionError that may have run; afterwards nobody serves the module."""

    async def scenario(served, provider, consumer):
        answer = consumer.consumer.async_ask(JobAsk("k", "wait"))
        await served.started.wait()
        for record in await provider.sessions():
            assert record.side == "server"
        [session] = [actor for actor in provider._engine.runtime.actors if hasattr(actor, "session")]
        session._connection.abort()
        with pytest.raises(SessionClosedError, match="in flight") as caught:
            await answer
        assert isinstance(caught.value, ConnectionError)
        assert caught.value.may_have_run
        served.go_on.set()

    run(scenario)


def test_an_idempotent_ask_is_made_once_more_on_the_new_owner():
    """Two providers; the one at work is lost; the other one answers."""

    async def main():
        slow, quick = Jobs("slow"), Jobs("quick")
        async with (
            Node(id="a", provides=[jobs], receivers=[slow], discovery="static", table=table) as first,
            Node(id="b", provides=[jobs], receivers=[quick], discovery="static", table=table) as second,
        ):
            where = {"kind": "static", "addresses": [first.address, second.address]}
            async with Node(id="c", consumes=[jobs], receivers=[], discovery=where, table=table) as consumer:
                while len((await consumer.consumer.stats())["services"]["jobs"]["providers"]) < 2:
                    await asyncio.sleep(0)
                for n in range(100):
                    answer = consumer.consumer.async_ask(LookAsk(f"key {n}"))
                    while not answer.done() and not slow.started.is_set():
                        await asyncio.sleep(0)
                    if slow.started.is_set():
                        break
                [session] = [actor for actor in first._engine.runtime.actors if hasattr(actor, "session")]
                session._connection.abort()
                assert (await answer).text == "quick"
                slow.go_on.set()

    asyncio.run(main())


def test_nobody_serves_the_module():
    """NoProviderError is a LookupError at once; it names the module and what to do."""

    async def scenario(served, provider, consumer):
        with pytest.raises(NoProviderError, match="does not consume module 'others'") as caught:
            await consumer.consumer.async_ask(OtherAnswer(1), JobAnswer, key=None)
        assert isinstance(caught.value, LookupError)
        assert not caught.value.may_have_run

    run(scenario)


def test_what_cannot_be_encoded_or_has_no_key_fails_at_the_call_site():
    """EncodeError names class and field; MissingKeyError and TypeError say what to write; nothing was sent."""

    async def scenario(served, provider, consumer):
        ask = consumer.consumer.async_ask
        with pytest.raises(EncodeError, match=r"JobAsk.*what") as caught:
            ask(JobAsk("k", 5))
        assert not caught.value.may_have_run
        with pytest.raises(UnmappedPacketError, match="Unmapped"):
            ask(Unmapped(1), JobAnswer, key=1)
        with pytest.raises(MissingKeyError, match="key=None"):
            ask(KeylessAsk("x"))
        with pytest.raises(TypeError, match="list"):
            ask(KeylessAsk("x"), key=[1])
        assert served.runs == 0

    run(scenario)


def test_a_blocking_ask_on_a_loop_is_refused():
    """BlockingCallError names async_ask; from a plain thread the same call works."""

    async def scenario(served, provider, consumer):
        with pytest.raises(BlockingCallError, match="async_ask"):
            consumer.consumer.sync_ask(JobAsk("k", "ok"))
        answer = await asyncio.to_thread(consumer.consumer.sync_ask, JobAsk("k", "ok"))
        assert answer.text == "p ok 0"

    run(scenario)


def test_a_provider_without_receiver_refuses_and_says_that_nothing_ran():
    """NO_RECEIVER proves that the receiver did not run."""

    async def scenario(served, provider, consumer):
        with pytest.raises(RemoteError, match="no receiver of KeylessAsk") as caught:
            await consumer.consumer.async_ask(KeylessAsk("x"), key=None)
        assert caught.value.code == ErrorCode.NO_RECEIVER
        assert not caught.value.may_have_run

    run(scenario)


def test_an_overloaded_provider_refuses_at_once():
    """max_in_work packets are in work: OVERLOADED, and the receiver did not run."""

    async def main():
        async with pair(provider_limits={"max_in_work": 1}) as (served, _, consumer):
            first = consumer.consumer.async_ask(JobAsk("k", "wait"))
            await served.started.wait()
            with pytest.raises(RemoteError) as caught:
                await consumer.consumer.async_ask(JobAsk("other", "ok"))
            assert caught.value.code == ErrorCode.OVERLOADED
            assert not caught.value.may_have_run
            served.go_on.set()
            assert (await first).text == "p wait 0"

    asyncio.run(main())


def test_too_many_asks_in_flight_are_refused_typed():
    """max_pending_asks: BackpressureError at once, nothing was sent."""

    async def main():
        async with pair(max_pending_asks=1) as (served, _, consumer):
            first = consumer.consumer.async_ask(JobAsk("k", "wait"))
            await served.started.wait()
            with pytest.raises(BackpressureError) as caught:
                await consumer.consumer.async_ask(JobAsk("k", "ok"))
            assert not caught.value.may_have_run
            served.go_on.set()
            assert (await first).text == "p wait 0"

    asyncio.run(main())


def test_a_packet_that_the_peer_would_refuse_is_not_sent():
    """Longer than the peer's max_frame_bytes: EncodeError; the session lives on."""

    async def main():
        async with pair(provider_limits={"max_frame_bytes": 10_000}) as (_, _, consumer):
            with pytest.raises(EncodeError, match="max_frame_bytes"):
                await consumer.consumer.async_ask(JobAsk("k", "ok", bytes(20_000)))
            assert (await consumer.consumer.async_ask(JobAsk("k", "ok", bytes(5_000)))).text == "p ok 5000"

    asyncio.run(main())


def test_a_deadline_that_passed_before_the_start_skips_the_receiver():
    """The second ask waits behind the first in its lane until it has expired: it is counted, and never runs."""

    async def scenario(served, provider, consumer):
        first = consumer.consumer.async_ask(JobAsk("k", "wait"))
        await served.started.wait()
        with pytest.raises(AskTimeoutError):
            await consumer.consumer.async_ask(JobAsk("k", "late"), timeout_s=0.05)
        served.go_on.set()
        assert (await first).text == "p wait 0"
        assert (await consumer.consumer.async_ask(JobAsk("k", "ok"))).text == "p ok 0"
        assert served.runs == 2
        assert (provider.router.expired, provider.router.cancelled) == (0, 1)  # its asker told

    run(scenario)


def test_a_provider_that_stops_finishes_what_it_has():
    """Leaving in order loses no ask: the one in work is answered, later ones see that nobody is there."""

    async def main():
        served = Jobs("p")
        provider = await Node(id="p", provides=[jobs], receivers=[served], discovery="static", table=table).start()
        where = {"kind": "static", "addresses": [provider.address]}
        async with Node(id="c", consumes=[jobs], receivers=[], discovery=where, table=table) as consumer:
            answer = consumer.consumer.async_ask(JobAsk("k", "wait"))
            await served.started.wait()
            stopping = asyncio.create_task(provider.stop())
            while provider._engine.router.in_work and not consumer._engine.missing():
                await asyncio.sleep(0)
            with pytest.raises(NoProviderError, match="no provider serves module 'jobs'"):
                await consumer.consumer.async_ask(JobAsk("k", "ok"))
            served.go_on.set()
            assert (await answer).text == "p wait 0"
            await stopping

    asyncio.run(main())


def test_a_silent_peer_is_found_by_the_heartbeat():
    """A peer that stops answering without closing: ProviderDown, and its asks end typed."""

    async def main():
        async with pair(heartbeat_interval_s=0.05, heartbeat_timeout_s=0.05) as (served, provider, consumer):
            answer = consumer.consumer.async_ask(JobAsk("k", "wait"))
            await served.started.wait()
            [session] = [actor for actor in provider._engine.runtime.actors if hasattr(actor, "session")]
            session._connection.pause_reading()  # as a stopped process: the connection stands, nothing is read
            with pytest.raises(SessionClosedError, match="heartbeat") as caught:
                await answer
            assert caught.value.may_have_run

    asyncio.run(main())
