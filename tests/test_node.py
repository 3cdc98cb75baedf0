"""The node: what it is told, how it starts and stops, and what applications do with it. Over real loopback sockets."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from samples.services import Counts, PageAsk, SessionAsk, VisitAnswer, VisitAsk, pages, sessions, visits
from zfoo_py import (
    Ask,
    ConfigError,
    Node,
    NotReadyError,
    Packet,
    PacketTable,
    ProtocolModule,
    ReceiverError,
    Session,
    ZfooError,
    packet_receiver,
)
from zfoo_py.events import (
    MembershipChanged,
    NodeStarted,
    NodeStopping,
    ProviderDown,
    ProviderUp,
    ReceiverFailed,
    SessionActive,
    SessionInactive,
    Undelivered,
)

ROOT = Path(__file__).resolve().parent.parent
HOSTING = {"address": "127.0.0.1:0", "host": True}

table = PacketTable()
rooms = ProtocolModule(60, "rooms", table=table)


@rooms.packet(6001)
class RoomAnswer(Packet):
    text: str


@rooms.packet(6000, balance_by="room")
class RoomAsk(Ask[RoomAnswer]):
    room: str
    what: str = ""


@rooms.packet(6002)
class RoomPush(Packet):
    text: str


class Rooms:
    """A provider that knows all ways of answering."""

    def __init__(self):
        self.later = []
        self.second = None

    @packet_receiver
    async def at_room_ask(self, session: Session, ask: RoomAsk, call):
        if ask.what == "later":
            self.later.append(call)
            return None
        if ask.what == "explicit":
            call.answer(RoomAnswer("explicit"))
            try:
                call.answer(RoomAnswer("again"))
            except ZfooError as error:
                self.second = error
            return None
        if ask.what == "push":
            session.send(RoomPush(f"pushed to {ask.room}"))
        if ask.what == "ask back":
            answer = await session.node.router.async_ask(session, RoomAsk("x", "who"))
            return RoomAnswer(f"asked back: {answer.text}")
        return RoomAnswer(f"{session.node.id} {ask.room}")


def provider(name, discovery, *modules, **more):
    return Node(
        id=name,
        provides=list(modules) or [visits],
        receivers=[Counts(name)],
        discovery={"address": discovery.discovery_address},
        **more,
    )


def consumer(discovery, *modules, **more):
    wanted = {"consumes": list(modules) or [visits], "receivers": [], "id": "c", **more}
    return Node(discovery={"address": discovery.discovery_address}, **wanted)


def hosting():
    return Node(id="discovery", receivers=[], discovery=HOSTING)


def test_a_cluster_of_nodes_on_one_loop():
    """Discovery, a provider of two types, a consumer with a policy for each: everything by name and port 0."""

    async def main():
        async with hosting() as d, provider("both", d, sessions, pages) as p, provider("v", d) as v:
            assert p.address.startswith("127.0.0.1:")
            assert p.address != v.address
            async with consumer(d, visits, (sessions, "sessions", "random"), (pages, "pages", "consistent-hash")) as c:
                for _ in range(3):
                    assert (await c.consumer.async_ask(VisitAsk("a", 1))).served_by == "v"
                    assert (await c.consumer.async_ask(SessionAsk("a", 1))).served_by == "both"
                    assert (await c.consumer.async_ask(PageAsk("/a"))).served_by == "both"
                services = (await c.consumer.stats())["services"]
                assert {name: figures["balancer"] for name, figures in services.items()} == {
                    "visits": "cached-consistent-hash",
                    "sessions": "random",
                    "pages": "consistent-hash",
                }

    asyncio.run(main())


def test_a_consumer_calls_only_the_group_it_names():
    """Two provider groups of one module: the other one is not even dialled."""

    async def main():
        async with (
            hosting() as d,
            provider("day", d, (visits, "day")),
            provider("night", d, (visits, "night")),
            consumer(d, (visits, "night")) as c,
        ):
            served = {(await c.consumer.async_ask(VisitAsk(f"{n}", 1))).served_by for n in range(30)}
            assert served == {"night"}

    asyncio.run(main())


def test_programs_without_a_loop_use_a_loop_thread():
    """`with Node`: sync_ask from many threads at once; no thread is left afterwards."""
    with hosting() as d, provider("v", d), consumer(d) as c:
        results = []

        def work(n):
            results.extend(c.consumer.sync_ask(VisitAsk(f"{n}", 1)).count for _ in range(20))

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == sorted(list(range(1, 21)) * 8)
        with pytest.raises(ZfooError, match="starts once"):
            asyncio.run(c.start())


def test_a_consumer_without_providers_says_what_is_missing_and_what_to_do():
    """NotReadyError is a TimeoutError; it names the module, the discovery's address and the command."""

    async def main():
        with pytest.raises(NotReadyError, match=r"'visits'.*zfoo-py discovery") as caught:
            await Node(
                consumes=[visits], receivers=[], ready_timeout_s=0.1, discovery={"address": "127.0.0.1:1"}
            ).start()
        assert caught.value.missing == ("visits",)
        assert isinstance(caught.value, TimeoutError)
        async with hosting() as d:
            with pytest.raises(NotReadyError, match="registered with the same discovery"):
                await consumer(d, ready_timeout_s=0.1).start()

    asyncio.run(main())


def test_what_is_declared_wrongly_is_refused_before_anything_starts():
    """Unknown modules and policies name the nearest; a provided module without receiver is an error."""
    with pytest.raises(ConfigError, match=r"no protocol module 'visit'.*'visits'"):
        Node(consumes=["visit"], receivers=[])
    with pytest.raises(ConfigError, match=r"no balancer 'randon'.*'random'"):
        Node(consumes=[(visits, "visits", "randon")], receivers=[])
    with pytest.raises(ReceiverError, match="provides module 'visits' but has no receiver"):
        Node(provides=[visits], receivers=[])
    with pytest.raises(ConfigError, match="a config is complete"):
        Node(Node(receivers=[]).config, address="127.0.0.1:0")
    node = Node(receivers=[])
    with pytest.raises(ZfooError, match="the node is new"):
        _ = node.consumer
    with pytest.raises(ZfooError, match="the node is new"):
        _ = node.router


def test_a_taken_port_is_a_configuration_error_that_names_the_key():
    """Of the server and of the hosted discovery."""

    async def main():
        async with hosting() as d:
            with pytest.raises(ConfigError, match=r"discovery\.address.*cannot listen"):
                await Node(receivers=[], discovery={"address": d.discovery_address, "host": True}).start()
            with pytest.raises(ConfigError, match=r"server\.address.*another port"):
                await provider("v", d, address=d.discovery_address).start()

    asyncio.run(main())


def test_hooks_run_when_the_node_is_ready_and_before_it_drains():
    """Plain or coroutine functions; the node can ask in both."""
    ran = []

    async def main():
        async with hosting() as d, provider("v", d, on_start=lambda node: ran.append(("start", node.id))):

            async def on_stop(node):
                ran.append(("stop", (await node.consumer.async_ask(VisitAsk("a", 1))).count))

            async with consumer(d, on_stop=on_stop):
                pass

    asyncio.run(main())
    assert ran == [("start", "v"), ("stop", 1)]


def test_events_tell_the_life_of_nodes_sessions_and_providers():
    """Plain values, on each side, in order."""

    async def main():
        heard = {"provider": [], "consumer": []}
        async with hosting() as d:
            p, c = provider("v", d), consumer(d)
            for node, name in ((p, "provider"), (c, "consumer")):
                for event in (SessionActive, SessionInactive, ProviderUp, ProviderDown, NodeStarted, NodeStopping):
                    node.events.subscribe(event, heard[name].append)
            c.events.subscribe(MembershipChanged, heard["consumer"].append)
            async with p, c:
                await c.consumer.async_ask(VisitAsk("a", 1))
        kinds = {name: [type(event).__name__ for event in events] for name, events in heard.items()}
        # a session to the discovery, one with each other
        assert kinds["consumer"].count("SessionActive") == kinds["consumer"].count("SessionInactive") == 2
        assert kinds["provider"].count("SessionActive") == kinds["provider"].count("SessionInactive") == 2
        order = [kind for kind in kinds["consumer"] if not kind.startswith("Session")]
        assert order == [
            "MembershipChanged",  # the first snapshot, of nobody
            "ProviderUp",
            "MembershipChanged",
            "NodeStarted",
            "NodeStopping",
            "ProviderDown",
            "MembershipChanged",
        ]
        up = next(event for event in heard["consumer"] if isinstance(event, ProviderUp))
        assert (up.node_id, up.modules, up.membership_version) == ("v", ("visits",), 1)

    asyncio.run(main())


def rooms_pair(served, main, **more):
    """Run a scenario of (provider node, consumer node) on the table of this file."""

    async def run():
        async with Node(id="p", provides=[rooms], receivers=[served], discovery="static", table=table) as p:
            where = {"kind": "static", "addresses": [p.address]}
            given = {"receivers": [], **more}
            async with Node(id="c", consumes=[rooms], discovery=where, table=table, **given) as c:
                await main(p, c)

    asyncio.run(run())


def test_all_ways_to_answer():
    """Returned, explicit (once: the second names the receiver), later, and from another thread."""
    served = Rooms()

    async def main(p, c):
        assert (await c.consumer.async_ask(RoomAsk("r"))).text == "p r"
        assert (await c.consumer.async_ask(RoomAsk("r", "explicit"))).text == "explicit"
        assert "at_room_ask" in str(served.second)
        waiting = c.consumer.async_ask(RoomAsk("r", "later"))
        while not served.later:
            await asyncio.sleep(0)
        await asyncio.to_thread(served.later[0].answer, RoomAnswer("from a thread"))
        assert (await waiting).text == "from a thread"

    rooms_pair(served, main)


def test_pushes_and_asks_go_the_other_way_too():
    """session.send reaches the consumer's receiver; router.async_ask asks the consumer."""
    pushed = []

    class Consumer:
        @packet_receiver
        async def at_push(self, session: Session, push: RoomPush) -> None:
            pushed.append(push.text)

        @packet_receiver
        def at_ask(self, session: Session, ask: RoomAsk) -> None:
            session.node.router.send(session, RoomAnswer(f"{session.node.id} on a worker"))

    async def main(p, c):
        await c.consumer.async_ask(RoomAsk("r", "push"))
        while not pushed:
            await asyncio.sleep(0)
        assert pushed == ["pushed to r"]
        assert (await c.consumer.async_ask(RoomAsk("r", "ask back"))).text == "asked back: c on a worker"

    rooms_pair(Rooms(), main, receivers=[Consumer()])


def test_failures_and_undelivered_packets_are_events():
    """A receiver that raises one way, and a packet that nobody takes."""

    class Fails:
        @packet_receiver
        async def at_push(self, session: Session, push: RoomPush) -> None:
            raise ValueError(push.text)

    async def main(p, c):
        failed, lost = asyncio.get_running_loop().create_future(), []
        p.events.subscribe(ReceiverFailed, failed.set_result)
        c.events.subscribe(Undelivered, lost.append)
        await c.consumer.send(RoomPush("oops"), key=1)
        event = await failed
        assert (event.error, event.message, event.packet) == ("ValueError", "oops", "RoomPush")
        [record] = await c.sessions(module="rooms")
        assert record.node_id == "p"
        await p.stop()
        with pytest.raises(ZfooError):
            await c.consumer.send(RoomPush("nobody"), key=1)
        assert [event.what for event in lost] == ["RoomPush"]

    rooms_pair(Fails(), main)


def test_own_work_runs_in_a_keys_lane():
    """In order with the key's packets; coroutine functions on the loop, others on a worker; errors come back."""
    order = []

    async def main(p, c):
        gate = asyncio.Event()

        async def first():
            await gate.wait()
            order.append("first")

        one = p.run_in_lane("r", first)
        two = p.run_in_lane("r", order.append, "second")
        other = p.run_in_lane("other", lambda: threading.current_thread() is not threading.main_thread())
        assert await other
        gate.set()
        await one
        await two
        assert order == ["first", "second"]
        with pytest.raises(ZeroDivisionError):
            await p.run_in_lane("r", lambda: 1 / 0)
        with pytest.raises(TypeError):
            p.run_in_lane(["no key"], first)

    rooms_pair(Rooms(), main)


def test_a_node_from_a_toml_file(tmp_path):
    """The file, the arguments over it, and the file's name as id."""
    path = tmp_path / "my-visits.toml"
    path.write_text('[[provider]]\nmodule = "visits"\n[discovery]\nkind = "static"\n[limits]\nask_timeout_s = 7\n')
    node = Node.from_toml(path, receivers=[Counts("x")], ask_timeout_s=8.0)
    assert node.id == "my-visits"
    assert node.config.limits.ask_timeout_s == 8.0
    assert [provided.module for provided in node.config.provides] == ["visits"]


PROGRAM = """
import sys
from samples.services import Counts, visits
from zfoo_py import Node
Node(id="v", provides=[visits], receivers=[Counts("v")], discovery="static",
     on_start=lambda node: print(node.address, flush=True)).run()
print("stopped in order", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_stops_in_order_on_a_signal(number):
    """A process of its own: it serves, and on SIGTERM or Ctrl-C it ends by itself with exit code 0."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        address = process.stdout.readline().strip()

        async def main():
            where = {"kind": "static", "addresses": [address]}
            async with Node(consumes=[visits], receivers=[], discovery=where) as c:
                assert await c.consumer.async_ask(VisitAsk("a", 1)) == VisitAnswer("a", 1, "v")

        asyncio.run(main())
        process.send_signal(number)
        assert process.stdout.read().strip() == "stopped in order"
        assert process.wait(10) == 0
