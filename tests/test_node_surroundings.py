"""Nodes and what is around them: discovery, loops, threads, signals. Over real sockets and processes."""

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
    TallyAsk,
    consumer_of,
    crash,
    eventually,
    hosting,
    logged,
    other,
    provider_at,
    providers,
    tallies,
)
from zfoo_py import ConfigError, Node, NotReadyError, SessionClosedError, ZfooError
from zfoo_py.events import MembershipChanged

ROOT = Path(__file__).resolve().parent.parent


# --- the end in order


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
from zfoo_py.consumer.policies.catalog import BALANCERS

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
