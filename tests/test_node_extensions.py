"""What applications hook into a node: interceptors, policies, events, pushes. Over real sockets."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.nodes import (
    HANG_S,
    TABLE,
    Tallies,
    TallyAnswer,
    TallyAsk,
    TallyNote,
    eventually,
    hosting,
    logged,
    pair,
    pending,
    provider_at,
    tallies,
)
from zfoo_py import (
    BalancerError,
    Node,
    RemoteError,
    Session,
    SessionClosedError,
    packet_receiver,
)
from zfoo_py.consumer.balancer import Balancer
from zfoo_py.events import ProviderDown, ProviderUp, SessionActive, SessionInactive, Undelivered
from zfoo_py.protocol.common import ErrorCode
from zfoo_py.testing import Client

ROOT = Path(__file__).resolve().parent.parent


def serving(*receivers, **more):
    """Return a pair whose provider has these receivers."""
    return pair(provider={"receivers": list(receivers)}, **more)


# --- answers


class Hooks:
    """An interceptor that notes what it is told, and raises where it is asked to."""

    def __init__(self, name, notes):
        self.name = name
        self.notes = notes
        self.raises = ""

    def _note(self, what, *more):
        self.notes.append((self.name, what, *more))
        if self.raises == what:
            raise ValueError(f"{what} of {self.name}")

    def before_ask(self, packet, key):
        self._note("before_ask", packet.key, key)

    def after_ask(self, packet, answer, error):
        self._note("after_ask", answer and answer.served_by, type(error).__name__)

    def before_receive(self, session, packet):
        self._note("before_receive", packet.key)

    def after_receive(self, session, packet, error):
        self._note("after_receive", type(error).__name__)


def test_interceptors_see_every_ask_and_every_receive():
    """In order, with key and outcome; one that raises before fails its ask only, one that raises after nobody's."""

    async def main():
        notes = []
        asking, receiving = Hooks("asking", notes), Hooks("receiving", notes)
        async with pair(provider={"interceptors": [receiving]}, interceptors=[asking]) as (served, _, c):
            ask = c.consumer.async_ask
            assert (await ask(TallyAsk("a"))).count == 1
            assert notes == [
                ("asking", "before_ask", "a", "a"),
                ("receiving", "before_receive", "a"),
                ("receiving", "after_receive", "NoneType"),
                ("asking", "after_ask", "p", "NoneType"),
            ]
            asking.raises = "before_ask"
            with pytest.raises(ValueError, match="before_ask of asking"):
                ask(TallyAsk("a"))
            asking.raises, receiving.raises = "after_ask", "after_receive"
            assert (await ask(TallyAsk("a"))).count == 2
            asking.raises, receiving.raises = "", "before_receive"
            with pytest.raises(RemoteError, match="before_receive of receiving"):
                await ask(TallyAsk("a"))
            assert served.counts["a"] == 2
            receiving.raises = ""
            assert (await ask(TallyAsk("a"))).count == 3
            assert pending(c) == 0

    asyncio.run(main())


# --- policies of one's own


class Mine(Balancer):
    """The first provider; raises, or picks nobody, where the test says so."""

    needs_key = False
    fault = ""

    def __init__(self, options):
        self.known = []

    def pick(self, view, key):
        if self.fault == "pick":
            raise ZeroDivisionError("my policy")
        if self.fault == "exit":
            raise SystemExit(4)
        if self.fault == "gone":
            return self.known[0]
        return view.providers[0] if view.providers else None

    def on_up(self, provider):
        self.known.append(provider)
        if self.fault == "on_up":
            raise ValueError("on_up")

    def on_down(self, provider):
        if self.fault == "on_down":
            raise ValueError("on_down")


@pytest.fixture
def mine():
    Mine.fault = ""
    yield Mine
    Mine.fault = ""


def test_a_policy_of_ones_own_may_raise_without_harm(mine):
    """The ask gets a BalancerError that names policy and fault; everything else goes on."""

    async def main():
        policy = {"consumes": [(tallies, "tallies", "mine")], "balancers": {"mine": mine}}
        async with pair(**policy) as (_, _, c):
            assert (await c.consumer.async_ask(TallyAsk("a"))).count == 1
            for fault, text in (("pick", "ZeroDivisionError: my policy"), ("exit", "SystemExit: 4")):
                mine.fault = fault
                with (
                    logged(),
                    pytest.raises(BalancerError, match=f"'mine' of module 'tallies' raised {text}") as caught,
                ):
                    await c.consumer.async_ask(TallyAsk("a"))
                assert not caught.value.may_have_run
                mine.fault = ""
                assert (await c.consumer.async_ask(TallyAsk("a"))).count > 1

    asyncio.run(main())


def test_a_policy_that_picks_who_is_gone_ends_typed(mine):
    """It is sent to nobody, and the text says what to mend."""

    async def main():
        policy = {"consumes": [(tallies, "tallies", "mine")], "balancers": {"mine": mine}}
        async with pair(**policy) as (_, p, c):
            assert (await c.consumer.async_ask(TallyAsk("a"))).count == 1
            mine.fault = "gone"
            await p.stop()
            with pytest.raises(BalancerError, match=r"does not serve the module now: forget a provider") as caught:
                await c.consumer.async_ask(TallyAsk("a"))
            assert not caught.value.may_have_run

    asyncio.run(main())


@pytest.mark.parametrize("fault", ["on_up", "on_down"])
def test_a_policy_that_raises_on_changes_misses_no_later_one(mine, fault):
    """The membership goes on."""

    async def main():
        async with hosting() as d:
            where = {"address": d.discovery_address}
            policy = {"consumes": [(tallies, "tallies", "mine")], "balancers": {"mine": mine}}
            async with (
                provider_at(d.discovery_address, Tallies("a")) as a,
                Node(id="c", receivers=[], table=TABLE, discovery=where, **policy) as c,
            ):
                heard = []
                c.events.subscribe(ProviderUp, lambda event: heard.append(f"+{event.node_id}"))
                c.events.subscribe(ProviderDown, lambda event: heard.append(f"-{event.node_id}"))
                mine.fault = fault
                async with provider_at(d.discovery_address, Tallies("b")):
                    await eventually(lambda: heard == ["+b"])
                await eventually(lambda: heard == ["+b", "-b"])
                await a.stop()
                await eventually(lambda: heard == ["+b", "-b", "-a"])
                assert (await c.consumer.stats())["membership_version"] == 4

    asyncio.run(main())


# --- sessions and events


def test_sessions_can_be_listed_by_user_and_by_module():
    """A client that logs in is found by its uid until it goes; providers by what they provide."""

    class Login:
        @packet_receiver
        async def at(self, session: Session, ask: TallyAsk) -> TallyAnswer:
            session.bind_uid(int(ask.key))
            return TallyAnswer(ask.key, session.uid, session.kind)

    async def main():
        async with serving(Login()) as (_, p, c):
            heard = []
            p.events.subscribe(SessionActive, heard.append)
            p.events.subscribe(SessionInactive, heard.append)
            async with await Client.connect(p.address, table=TABLE, name="player") as client:
                assert await client.ask(TallyAsk("7"), TallyAnswer) == TallyAnswer("7", 7, "client")
                [record] = await p.sessions(uid=7)
                assert (record.node_id, record.kind, record.side) == ("player", "client", "server")
                assert await p.sessions(uid=8) == ()
                assert {each.node_id for each in await p.sessions()} == {"player", "c"}
                assert [each.node_id for each in await c.sessions(module="tallies")] == ["p"]
            await eventually(lambda: len(heard) == 2)
            assert [(type(event), event.node_id, event.side) for event in heard] == [
                (SessionActive, "player", "server"),
                (SessionInactive, "player", "server"),
            ]
            assert heard[0].sid == heard[1].sid == record.sid
            assert await p.sessions(uid=7) == ()

    asyncio.run(main())


def test_what_is_sent_one_way_and_nobody_takes_is_an_event_for_who_does_not_await():
    """A receiver that raises one way is an event at the provider, a packet without provider one at the consumer."""

    async def main():
        async with pair() as (served, p, c):
            await c.consumer.send(TallyNote("taken"))
            await served.noted.wait()
            lost = []
            c.events.subscribe(Undelivered, lost.append)
            await p.stop()
            c.consumer.send(TallyNote("lost"))
            await eventually(lambda: lost)
            assert (lost[0].what, lost[0].module) == ("TallyNote", "tallies")
            assert "no provider serves module 'tallies'" in lost[0].reason

    asyncio.run(main())


def test_a_subscriber_that_raises_harms_nobody():
    """Neither the session nor the actor in whose turn it is told; its first failure is logged."""

    def bad(_):
        raise asyncio.CancelledError

    async def main():
        with logged("ERROR") as lines:
            async with hosting() as d:
                p = provider_at(d.discovery_address, Tallies("p"))
                c = Node(
                    id="c", consumes=[tallies], receivers=[], table=TABLE, discovery={"address": d.discovery_address}
                )
                for node in (p, c):
                    for event in (SessionActive, SessionInactive, ProviderUp, ProviderDown):
                        node.events.subscribe(event, bad)
                async with p, c:
                    assert (await c.consumer.async_ask(TallyAsk("a"))).count == 1
                assert c.events.failures == 6
        assert sum("raised at" in line for line in lines) == 6, lines  # four at c, two at p

    asyncio.run(main())


def test_a_push_to_a_session_that_has_ended_is_refused_typed():
    """SessionClosedError, and nothing else happens."""

    class Keeps:
        sessions = []  # noqa: RUF012

        @packet_receiver
        async def at(self, session: Session, ask: TallyAsk) -> TallyAnswer:
            self.sessions.append(session)
            return TallyAnswer("", 0, "")

    async def main():
        async with serving(Keeps()) as (_, p, c):
            await c.consumer.async_ask(TallyAsk("a"))
            [session] = Keeps.sessions
            await c.stop()
            await eventually(lambda: not session.is_up)
            for way in (session.send, lambda packet: p.router.send(session, packet)):
                with pytest.raises(SessionClosedError, match="is closed"):
                    way(TallyNote("late"))
            with pytest.raises(SessionClosedError) as caught:
                await p.router.async_ask(session, TallyAsk("late"))
            assert not caught.value.may_have_run
            session.close()  # harmless

    asyncio.run(main())


def test_a_node_without_a_receiver_for_a_push_drops_it_and_lives():
    """A consumer that listens to nothing: the session stays."""

    class Pushes:
        @packet_receiver
        async def at(self, session: Session, ask: TallyAsk) -> TallyAnswer:
            session.send(TallyNote("nobody listens"))
            with pytest.raises(RemoteError, match="no receiver of TallyAsk") as caught:
                await session.node.router.async_ask(session, TallyAsk("you?"))
            assert caught.value.code == ErrorCode.NO_RECEIVER
            assert not caught.value.may_have_run
            return TallyAnswer("", 1, "")

    async def main():
        async with serving(Pushes()) as (_, _, c):
            for _ in range(2):
                assert (await c.consumer.async_ask(TallyAsk("a"))).count == 1

    asyncio.run(main())


# --- a program's own receivers

PROGRAM = """
from zfoo_py import Ask, Node, Packet, ProtocolModule, Session, packet_receiver

visits = ProtocolModule(10, "visits")

@visits.packet(1101)
class VisitAnswer(Packet):
    client: str
    count: int
    served_by: str

@visits.packet(1100, balance_by="client")
class VisitAsk(Ask[VisitAnswer]):
    client: str
    bytes_sent: int

@packet_receiver
async def at_visit_ask(session: Session, ask: VisitAsk) -> VisitAnswer:
    return VisitAnswer(ask.client, 1, session.node.id)

async def main(node):
    answer = await node.consumer.async_ask(VisitAsk("a", 1))
    print(answer, flush=True)
    await node.stop()
"""


def test_a_program_needs_to_name_its_receivers_only_if_they_are_elsewhere(tmp_path):
    """By default they are in the main module, and in the modules of [app] imports; the id is the file's name."""
    ends = """
if __name__ == "__main__":
    import asyncio
    async def run():
        async with Node.from_toml("both.toml") as node:
            await main(node)
    asyncio.run(run())
"""
    settings = """
[[provider]]
module = "visits"
[[consumer]]
module = "visits"
[discovery]
host = true
address = "127.0.0.1:0"
"""
    (tmp_path / "program.py").write_text(PROGRAM + ends)
    (tmp_path / "both.toml").write_text(settings)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "service.py").write_text(PROGRAM)
    (tmp_path / "parts" / "both.toml").write_text(settings + '[app]\nimports = ["service"]\n')
    (tmp_path / "parts" / "program.py").write_text("from zfoo_py import Node\nfrom service import main" + ends)
    for folder in (tmp_path, tmp_path / "parts"):
        done = subprocess.run(
            [sys.executable, "program.py"],
            cwd=folder,
            env={"PYTHONPATH": f"{ROOT}:{folder}"},
            capture_output=True,
            text=True,
            timeout=HANG_S,
            check=False,
        )
        assert done.stdout.strip() == "VisitAnswer(client='a', count=1, served_by='both')", done.stderr
        assert done.stderr == ""
