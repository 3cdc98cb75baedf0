"""A node's life: hooks, loops, signals, the end in order, the end without order, and what comes back after it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
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
    logged,
    other,
    pair,
    pending,
    provider_at,
    providers,
    sessions_of,
    tallies,
)
from zfoo_py import CallError, ConfigError, Node, NotReadyError, Session, SessionClosedError, ZfooError, packet_receiver
from zfoo_py.events import MembershipChanged, NodeStarted, NodeStopping, ProviderDown, ProviderUp

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


def test_a_lost_discovery_removes_nobody_and_joins_wait():
    """Asks go on while it is away; when it is back everybody registers again, and a new provider joins."""

    async def main():
        d = await hosting().start()
        address = d.discovery_address
        limits = {"reconnect_max_s": 0.02}
        async with (
            provider_at(address, Tallies("a"), **limits) as a,
            consumer_of(address, **limits) as c,
            provider_at(address, Tallies("b"), **limits),
        ):
            await eventually(lambda: providers(c) == ["a", "b"])
            changes = []
            c.events.subscribe(MembershipChanged, changes.append)
            await crash(d)
            served = {(await c.consumer.async_ask(TallyAsk(f"{n}"))).served_by for n in range(60)}
            assert served == {"a", "b"}
            async with provider_at(address, Tallies("new"), **limits) as new:
                for _ in range(100):
                    await asyncio.sleep(0)
                assert changes == []
                back = Node(id="d", receivers=[], discovery={"address": address, "host": True}, table=TABLE)
                async with back:
                    await eventually(lambda: providers(c) == ["a", "b", "new"])
                    assert [len(change.modules["tallies"]) for change in changes] == [3]
                    await a.stop()
                    await new.stop()
                    await eventually(lambda: providers(c) == ["b"])

    asyncio.run(main())


def test_nodes_may_be_there_before_their_discovery():
    """They try again until it answers; a provider says so once, in the log, and names the command."""

    async def main():
        probe = await hosting().start()
        address = probe.discovery_address
        await probe.stop()
        with logged() as lines:
            async with provider_at(address, Tallies("p"), reconnect_max_s=0.02):
                consumer = consumer_of(address, reconnect_max_s=0.02)
                starting = asyncio.create_task(consumer.start())
                await eventually(lambda: len(lines) == 2)
                late = Node(id="d", receivers=[], discovery={"address": address, "host": True}, table=TABLE)
                async with late:
                    await starting
                    assert (await consumer.consumer.async_ask(TallyAsk("a"))).served_by == "p"
                    await consumer.stop()
                    assert all(address in line and "zfoo-py discovery" in line for line in lines[:2]), lines
                    assert ["is back" in line for line in lines[2:]] == [True, True]

    asyncio.run(main())


def test_what_is_missing_is_named_whatever_the_discovery():
    """All missing modules, and for a static discovery its addresses."""

    async def main():
        async with Node(id="p", provides=[tallies], receivers=[Tallies("p")], discovery="static", table=TABLE) as p:
            where = {"kind": "static", "addresses": [p.address]}
            node = Node(
                id="c", consumes=[tallies, other], receivers=[], discovery=where, table=TABLE, ready_timeout_s=0.1
            )
            with pytest.raises(NotReadyError, match=f"module 'other' .*listening at {p.address}") as caught:
                await node.start()
            assert caught.value.missing == ("other",)

    asyncio.run(main())


# --- loops, threads and several nodes


def test_a_node_may_consume_what_it_provides():
    """Over a real session to itself; it leaves in order, too."""

    async def main():
        served = Tallies("both")
        async with hosting() as d:
            async with Node(
                id="both",
                provides=[tallies],
                consumes=[tallies],
                receivers=[served],
                discovery={"address": d.discovery_address},
                table=TABLE,
            ) as node:
                assert (await node.consumer.async_ask(TallyAsk("a"))).served_by == "both"
                answer = node.consumer.async_ask(TallyAsk("a", "wait"))
                await served.started.wait()
                asyncio.get_running_loop().call_soon(served.go_on.set)
            assert (await answer).count == 2

    asyncio.run(main())


def test_one_node_that_hosts_discovery_provides_and_consumes():
    """The smallest cluster there is."""

    async def main():
        async with Node(
            id="all",
            provides=[tallies],
            consumes=[tallies],
            receivers=[Tallies("all")],
            discovery={"address": "127.0.0.1:0", "host": True},
            table=TABLE,
        ) as node:
            assert (await node.consumer.async_ask(TallyAsk("a"))).served_by == "all"

    asyncio.run(main())


def test_nodes_on_several_loops_of_one_process():
    """Each has a loop of its own; an answer may be awaited on another loop than the node's, and waited for anywhere."""
    with hosting() as d, provider_at(d.discovery_address, Tallies("p")), consumer_of(d.discovery_address) as c:

        async def elsewhere():
            answers = [c.consumer.async_ask(TallyAsk(f"{n}")) for n in range(50)]
            return [(await answer).count for answer in answers]

        assert asyncio.run(elsewhere()) == [1] * 50
        results = []

        def in_a_thread():
            results.append(asyncio.run(elsewhere()))

        threads = [threading.Thread(target=in_a_thread) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(HANG_S)
        assert sum(map(sum, results)) == 50 * (2 + 3)
        assert c.consumer.sync_ask(TallyAsk("0")).count == 4
        assert c.consumer.stats().get(timeout=HANG_S)["asks"] == 151


def test_a_loop_thread_ends_with_what_was_started_on_it():
    """Tasks that hooks or receivers started are cancelled, as asyncio.run does; the body's exception comes out."""
    ended = []

    async def for_ever():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async def on_start(node):
        node.background = asyncio.create_task(for_ever())

    node = Node(id="n", receivers=[], table=TABLE, on_start=on_start)
    with pytest.raises(KeyError), node:
        raise KeyError
    assert ended == [True]


def test_with_node_says_what_went_wrong_in_its_thread():
    """NotReadyError and ConfigError reach the thread that entered; nothing of the loop is left."""
    where = {"kind": "static", "addresses": ["127.0.0.1:1"]}
    with pytest.raises(NotReadyError):
        Node(consumes=[tallies], receivers=[], discovery=where, table=TABLE, ready_timeout_s=0.05).__enter__()
    with hosting() as d, pytest.raises(ConfigError):
        provider_at(d.discovery_address, Tallies("p"), address=d.discovery_address).__enter__()

    async def on_a_loop():
        with pytest.raises(ZfooError, match="async with"):
            Node(receivers=[], table=TABLE).__enter__()
        with pytest.raises(ZfooError, match="async with"):
            Node(receivers=[], table=TABLE).run()

    asyncio.run(on_a_loop())


# --- signals

HANGS = """
import asyncio
from samples.services import VisitAnswer, VisitAsk, visits
from zfoo_py import Node, Session, packet_receiver
from zfoo_py.events import NodeStopping

@packet_receiver
async def hangs(session: Session, ask: VisitAsk) -> VisitAnswer:
    print("hangs", flush=True)
    await asyncio.Event().wait()

node = Node(id="v", provides=[visits], receivers=[hangs], discovery="static", drain_timeout_s=60.0,
            on_start=lambda node: print(node.address, flush=True))
node.events.subscribe(NodeStopping, lambda _: print("stopping", flush=True))
node.run()
print("never printed")
"""

WAITS = """
from samples.services import visits
from zfoo_py import Node
from zfoo_py.consumer.balancer import BALANCERS

def mine(options):
    print("starting", flush=True)
    return BALANCERS["random"](options)

Node(id="c", consumes=[(visits, "visits", "mine")], receivers=[], balancers={"mine": mine}, ready_timeout_s=60.0,
     discovery={"kind": "static", "addresses": ["127.0.0.1:1"]}).run()
print("stopped in order", flush=True)
"""


def test_a_second_signal_ends_the_process_at_once():
    """The first one waits for a receiver that hangs; the second does not."""
    with process("-c", HANGS) as running:
        address = running.stdout.readline().strip()

        async def main():
            where = {"kind": "static", "addresses": [address]}
            async with Node(consumes=[visits], receivers=[], discovery=where, ask_timeout_s=HANG_S) as c:
                answer = c.consumer.async_ask(VisitAsk("a", 1))
                read = asyncio.to_thread(running.stdout.readline)
                assert (await read).strip() == "hangs"
                running.send_signal(signal.SIGTERM)
                assert (await asyncio.to_thread(running.stdout.readline)).strip() == "stopping"
                running.send_signal(signal.SIGTERM)
                with pytest.raises(SessionClosedError):
                    await answer

        asyncio.run(main())
        assert running.wait(HANG_S) == 128 + signal.SIGTERM
        assert "never printed" not in running.stdout.read()


def test_a_signal_while_starting_ends_the_start():
    """A consumer that waits for its providers stops at once, in order."""
    with process("-c", WAITS) as running:
        assert running.stdout.readline().strip() == "starting"
        running.send_signal(signal.SIGINT)
        assert running.stdout.read().strip() == "stopped in order"
        assert running.wait(HANG_S) == 0
