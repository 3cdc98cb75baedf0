"""A node's life: hooks, loops, signals, the end in order, the end without order, and what comes back after it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from samples.services import VisitAsk, visits
from tests.support.nodes import (
    HANG_S,
    TABLE,
    Tallies,
    TallyAnswer,
    TallyAsk,
    consumer_of,
    crash,
    eventually,
    hosting,
    pair,
    pending,
    provider_at,
    providers,
    sessions_of,
    tallies,
)
from zfoo_py import CallError, Node, Session, SessionClosedError, ZfooError, packet_receiver
from zfoo_py.events import NodeStarted, NodeStopping, ProviderDown, ProviderUp

ROOT = Path(__file__).resolve().parent.parent


class Load:
    """Asks on and on, from sixteen coroutines; an ask that fails is noted."""

    def __init__(self, node, workers=16):
        self.node = node
        self.answers = []
        self.errors = []
        self.is_over = False
        self.workers = workers

    async def __aenter__(self):
        self.tasks = [asyncio.create_task(self.ask_on(number)) for number in range(self.workers)]
        await self.more()
        return self

    async def __aexit__(self, *_):
        self.is_over = True
        await asyncio.gather(*self.tasks)

    async def ask_on(self, worker):
        while not self.is_over:
            try:
                self.answers.append(await self.node.consumer.async_ask(TallyAsk(f"{worker} {len(self.answers) % 50}")))
            except CallError as error:
                self.errors.append(error)
                await asyncio.sleep(0)

    async def more(self, count=200):
        """Wait for so many more answers."""
        wanted = len(self.answers) + count
        await eventually(lambda: len(self.answers) >= wanted)


# --- the end in order


def test_a_rolling_stop_under_load_loses_no_ask():
    """One provider after another leaves while asks never pause: every one is answered, once."""

    async def main():
        served = [Tallies(f"p{n}") for n in range(4)]
        async with hosting() as d:
            nodes = [await provider_at(d.discovery_address, each).start() for each in served]
            async with consumer_of(d.discovery_address) as c:
                await eventually(lambda: len(providers(c)) == 4)
                async with Load(c) as load:
                    for node in nodes[:3]:
                        await node.stop()
                        await load.more()
                assert load.errors == []
                assert len(load.answers) == sum(sum(each.counts.values()) for each in served)
                assert {answer.served_by for answer in load.answers[-50:]} == {"p3"}
            await nodes[3].stop()

    asyncio.run(main())


def test_a_rolling_restart_under_load_loses_no_ask():
    """Every provider leaves and comes back at the same address: the ring is what it was, and nothing was lost."""

    async def main():
        async with hosting() as d:
            nodes = {name: await provider_at(d.discovery_address, Tallies(name)).start() for name in ("a", "b", "c")}
            async with consumer_of(d.discovery_address) as c:
                await eventually(lambda: providers(c) == ["a", "b", "c"])
                before = {n: (await c.consumer.async_ask(TallyAsk(f"{n}"))).served_by for n in range(60)}
                async with Load(c) as load:
                    for name in ("a", "b", "c"):
                        address = nodes[name].address
                        await nodes[name].stop()
                        nodes[name] = await provider_at(d.discovery_address, Tallies(name), address=address).start()
                        await eventually(lambda: providers(c) == ["a", "b", "c"])
                        await load.more()
                assert load.errors == []
                after = {n: (await c.consumer.async_ask(TallyAsk(f"{n}"))).served_by for n in range(60)}
                assert after == before
            for node in nodes.values():
                await node.stop()

    asyncio.run(main())


def test_a_consumer_that_leaves_gets_the_answers_it_waits_for():
    """Its asks in flight are finished before it ends; new ones are refused typed, and nothing ran for them."""

    async def main():
        async with pair() as (served, _, c):
            answer = c.consumer.async_ask(TallyAsk("a", "wait"))
            await served.started.wait()
            stopping = asyncio.create_task(c.stop())
            await eventually(lambda: sessions_of(c)[0]._state.name == "DRAINING")
            with pytest.raises(CallError) as caught:
                await c.consumer.async_ask(TallyAsk("late"))
            assert not caught.value.may_have_run
            served.go_on.set()
            assert (await answer).count == 1
            await stopping
            assert "late" not in served.counts

    asyncio.run(main())


def test_a_receiver_that_never_ends_is_waited_for_up_to_drain_timeout_s():
    """Then it is cancelled; its asker hears of the end at once, and own work behind it in its lane does, too."""

    async def main():
        async with pair(provider={"drain_timeout_s": 0.05}, ask_timeout_s=HANG_S) as (served, p, c):
            answer = c.consumer.async_ask(TallyAsk("a", "wait"))
            await served.started.wait()
            behind = [p.run_in_lane("a", served.go_on.wait) for _ in range(2)]
            await p.stop()
            with pytest.raises(CallError) as caught:
                await answer
            assert caught.value.may_have_run
            for own in behind:
                with pytest.raises(ZfooError, match="did not run: the node has stopped"):
                    await asyncio.wait_for(own, HANG_S)
            assert pending(c) == 0

    asyncio.run(main())


def test_a_receiver_may_stop_its_node():
    """The stop begins and does not wait for the receiver that asked for it: that one still answers."""

    class Stops:
        @packet_receiver
        async def at(self, session: Session, ask: TallyAsk) -> TallyAnswer:
            await session.node.stop()
            return TallyAnswer("stopping", 1, "p")

    async def main():
        async with pair(provider={"receivers": [Stops()]}) as (_, p, c):
            assert (await c.consumer.async_ask(TallyAsk("a"))).key == "stopping"
            await p.stop()
            assert "stopped" in repr(p)
            assert not p._engine.runtime.actors

    asyncio.run(main())


def test_everybody_who_stops_a_node_waits_for_its_end():
    """Two tasks stop it at the same time; one is cancelled: draining is cut short, and still everything ends."""

    async def main():
        async with pair() as (served, p, c):
            answer = c.consumer.async_ask(TallyAsk("a", "wait"))
            await served.started.wait()
            first, second = (asyncio.create_task(p.stop()) for _ in range(2))
            await eventually(lambda: "stopping" in repr(p))
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            assert "stopped" in repr(p)
            await second
            with pytest.raises(CallError):
                await answer

    asyncio.run(main())


def test_an_on_stop_that_raises_harms_no_ask():
    """What is in work is finished; then stop() raises what the hook raised."""

    def hook(_):
        raise ValueError("my hook")

    async def main():
        served = Tallies("p")
        p = Node(id="p", provides=[tallies], receivers=[served], discovery="static", table=TABLE, on_stop=hook)
        await p.start()
        where = {"kind": "static", "addresses": [p.address]}
        async with Node(id="c", consumes=[tallies], receivers=[], discovery=where, table=TABLE) as c:
            answer = c.consumer.async_ask(TallyAsk("a", "wait"))
            await served.started.wait()
            stopping = asyncio.create_task(p.stop())
            await eventually(lambda: not providers(c))
            served.go_on.set()
            assert (await answer).count == 1
            with pytest.raises(ValueError, match="my hook"):
                await stopping
        assert not p._engine.runtime.actors

    asyncio.run(main())


def test_an_on_start_that_raises_ends_the_node():
    """Nothing listens any more, and the node says what it is."""

    async def hook(_):
        raise ValueError("my hook")

    async def main():
        p = Node(id="p", provides=[tallies], receivers=[Tallies("p")], discovery="static", table=TABLE, on_start=hook)
        with pytest.raises(ValueError, match="my hook"):
            await p.start()
        host, _, port = p.address.rpartition(":")
        with pytest.raises(OSError, match=r"refused|failed"):
            await asyncio.open_connection(host, int(port))
        with pytest.raises(ZfooError, match="the node is stopped"):
            _ = p.consumer
        with pytest.raises(ZfooError, match="starts once"):
            await p.start()

    asyncio.run(main())


def test_a_node_that_never_started_may_be_stopped():
    """And is not started afterwards."""

    async def main():
        node = Node(receivers=[], table=TABLE)
        await node.stop()
        await node.stop()
        with pytest.raises(ZfooError, match="is stopped"):
            await node.start()

    asyncio.run(main())


def test_nodes_tell_when_they_start_and_begin_to_stop():
    """With id and address."""

    async def main():
        heard = []
        p = Node(id="p", provides=[tallies], receivers=[Tallies("p")], discovery="static", table=TABLE)
        p.events.subscribe(NodeStarted, heard.append)
        p.events.subscribe(NodeStopping, heard.append)
        async with p:
            assert heard == [NodeStarted("p", p.address)]
        assert heard[1:] == [NodeStopping("p")]

    asyncio.run(main())


# --- the end without order


def test_a_provider_killed_under_load_fails_what_is_in_flight_at_once():
    """Typed, never by timeout; what was never written is asked elsewhere; the survivors' keys stay."""

    async def main():
        served = {name: Tallies(name) for name in ("a", "b", "c")}
        async with hosting() as d:
            nodes = {name: await provider_at(d.discovery_address, each).start() for name, each in served.items()}
            async with consumer_of(d.discovery_address, ask_timeout_s=HANG_S * 10) as c:
                await eventually(lambda: providers(c) == ["a", "b", "c"])
                before = {n: (await c.consumer.async_ask(TallyAsk(f"{n}"))).served_by for n in range(60)}
                async with Load(c) as load:
                    await crash(nodes["b"])
                    await eventually(lambda: providers(c) == ["a", "c"])
                    await load.more()
                assert {type(error) for error in load.errors} <= {SessionClosedError}
                assert all(error.may_have_run and error.packet == "TallyAsk" for error in load.errors)
                after = {n: (await c.consumer.async_ask(TallyAsk(f"{n}"))).served_by for n in range(60)}
                assert "b" not in after.values()
                assert all(after[n] == name for n, name in before.items() if name != "b")
                assert pending(c) == 0
            await nodes["a"].stop()
            await nodes["c"].stop()

    asyncio.run(main())


@pytest.mark.parametrize("how", ["embedded", "static"])
def test_a_provider_that_comes_back_at_its_address_gets_its_keys_back(how):
    """It was killed: down, then up again under the same ring name, without anybody's doing."""

    async def main():
        heard = []
        async with hosting() as d:
            where = {"discovery": "static"} if how == "static" else {"discovery": {"address": d.discovery_address}}
            given = {"id": "p", "provides": [tallies], "table": TABLE, "reconnect_min_s": 0.01, **where}
            p = await Node(receivers=[Tallies("first life")], **given).start()
            if how == "static":
                where = {"discovery": {"kind": "static", "addresses": [p.address]}}
            limits = {"reconnect_min_s": 0.01, "reconnect_max_s": 0.02}
            async with Node(id="c", consumes=[tallies], receivers=[], table=TABLE, **where, **limits) as c:
                c.events.subscribe(ProviderUp, heard.append)
                c.events.subscribe(ProviderDown, heard.append)
                assert (await c.consumer.async_ask(TallyAsk("a"))).served_by == "first life"
                await crash(p)
                await eventually(lambda: len(heard) == 1)
                async with Node(receivers=[Tallies("second life")], address=p.address, **given):
                    await eventually(lambda: len(heard) == 2)
                    assert (await c.consumer.async_ask(TallyAsk("a"))).served_by == "second life"
                    assert [type(event) for event in heard] == [ProviderDown, ProviderUp]
                    assert heard[0].provider == heard[1].provider
                    assert [event.membership_version for event in heard] == [2, 3]

    asyncio.run(main())


@contextmanager
def process(*command):
    """Run a Python program in the project's folder; kill it at the end."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def test_a_process_killed_with_its_asks_in_flight():
    """A real SIGKILL of a real process: the asks end typed, the next provider takes over."""

    async def main():
        discovery = Node(id="d", receivers=[], discovery={"address": "127.0.0.1:0", "host": True})
        async with discovery as d:
            command = ("-m", "samples.services", "--provides", "visits", "--discovery", d.discovery_address, "--id")
            with process(*command, "one") as one, process(*command, "two"):
                where = {"address": d.discovery_address}
                async with Node(id="c", consumes=[visits], receivers=[], discovery=where, ask_timeout_s=HANG_S) as c:
                    await eventually(lambda: providers(c) == ["one", "two"])
                    asks = [c.consumer.async_ask(VisitAsk(f"{n}", 1)) for n in range(200)]
                    os.kill(one.pid, signal.SIGKILL)
                    ends = await asyncio.gather(*asks, return_exceptions=True)
                    errors = [end for end in ends if isinstance(end, Exception)]
                    assert {type(error) for error in errors} <= {SessionClosedError}
                    await eventually(lambda: providers(c) == ["two"])
                    answers = [await c.consumer.async_ask(VisitAsk(f"{n}", 1)) for n in range(200)]
                    assert {answer.served_by for answer in answers} == {"two"}

    asyncio.run(main())


# --- discovery comes and goes


def test_an_aborted_node_ends_at_once_and_says_no_goodbye():
    """Its receivers are cancelled, ``on_stop`` is not called; before the start and a second time it does nothing."""

    async def main():
        called = []
        tally = Tallies("p")
        node = Node(
            id="p",
            provides=[tallies],
            receivers=[tally],
            discovery="static",
            table=TABLE,
            on_stop=lambda _: called.append("on_stop"),
        )
        unused = Node(id="unused", receivers=[], discovery="static", table=TABLE)
        await unused.abort()
        with pytest.raises(ZfooError, match="stopped"):
            await unused.start()
        await node.start()
        where = {"kind": "static", "addresses": [node.address]}
        async with Node(id="c", consumes=[tallies], receivers=[], discovery=where, table=TABLE) as c:
            asked = c.consumer.async_ask(TallyAsk("a", "wait"))
            await asyncio.wait_for(tally.started.wait(), HANG_S)
            assert node.is_running
            await node.abort()
            await node.abort()
            assert not node.is_running
            with pytest.raises(SessionClosedError) as lost:
                await asked
            assert lost.value.may_have_run
        assert called == []

    asyncio.run(main())
