"""What receivers and callers do with each other, over real loopback sockets: answers, pushes, callbacks, hooks."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
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
    AlreadyAnsweredError,
    BalancerError,
    EncodeError,
    Node,
    RemoteError,
    Session,
    SessionClosedError,
    packet_receiver,
)
from zfoo_py.consumer.balancer import Balancer
from zfoo_py.events import ProviderDown, ProviderUp, ReceiverFailed, SessionActive, SessionInactive, Undelivered
from zfoo_py.protocol.common import ErrorCode
from zfoo_py.testing import Client

ROOT = Path(__file__).resolve().parent.parent


def serving(*receivers, **more):
    """Return a pair whose provider has these receivers."""
    return pair(provider={"receivers": list(receivers)}, **more)


# --- answers


def test_a_blocking_receiver_answers_in_all_ways():
    """Returned, explicit, later from yet another thread; what it raises reaches the asker; it may ask and wait."""
    later, seconds = [], []

    class Blocking:
        @packet_receiver
        def at(self, session: Session, ask: TallyAsk, call):
            assert threading.current_thread() is not threading.main_thread()
            if ask.how == "explicit":
                call.answer(TallyAnswer("explicit", 0, ""))
                with pytest.raises(AlreadyAnsweredError) as caught:
                    call.answer(TallyAnswer("again", 0, ""))
                seconds.append(str(caught.value))
                return None
            if ask.how == "later":
                later.append(call)
                return None
            if ask.how == "raise":
                raise LookupError("no such key")
            if ask.how == "exit":
                sys.exit(3)
            if ask.how == "ask back":
                back = session.node.router.sync_ask(session, TallyAsk(ask.key, "back"), TallyAnswer)
                return TallyAnswer(f"asked back: {back.key}", 0, "")
            return TallyAnswer(ask.key, 0, session.node.id)

    class Back:
        @packet_receiver
        def at(self, session: Session, ask: TallyAsk) -> TallyAnswer:
            return TallyAnswer(f"{ask.key} at {session.node.id}", 0, "")

    async def main():
        async with serving(Blocking(), receivers=[Back()]) as (_, _, c):
            ask = c.consumer.async_ask
            assert await ask(TallyAsk("a")) == TallyAnswer("a", 0, "p")
            assert (await ask(TallyAsk("a", "explicit"))).key == "explicit"
            assert "Blocking.at" in seconds[0]
            assert "twice" in seconds[0]
            assert (await ask(TallyAsk("a", "ask back"))).key == "asked back: a at c"
            for how, text in (("raise", "LookupError: .*no such key"), ("exit", "SystemExit: 3")):
                with pytest.raises(RemoteError, match=text):
                    await ask(TallyAsk("a", how))
            answer = ask(TallyAsk("a", "later"))
            await eventually(lambda: later)
            assert await ask(TallyAsk("a")) == TallyAnswer("a", 0, "p")  # its lane is free
            await asyncio.to_thread(later[0].answer, TallyAnswer("later", 0, ""))
            assert (await answer).key == "later"
            with pytest.raises(AlreadyAnsweredError, match=r"Blocking\.at"):
                later[0].answer(TallyAnswer("again", 0, ""))

    asyncio.run(main())


def test_in_zfoos_style_the_first_packet_sent_answers():
    """`router.send` in a receiver annotated -> None answers once; the next one is a push."""

    class Zfoo:
        @packet_receiver
        async def at(self, session: Session, ask: TallyAsk) -> None:
            session.node.router.send(session, TallyAnswer("answer", 1, "p"))
            session.node.router.send(session, TallyNote("push"))

    async def main():
        listening = Tallies("c")
        async with serving(Zfoo(), receivers=[listening]) as (_, _, c):
            assert (await c.consumer.async_ask(TallyAsk("a"))).key == "answer"
            await listening.noted.wait()
            assert listening.notes == ["push"]
            assert pending(c) == 0

    asyncio.run(main())


def test_an_answer_that_cannot_be_encoded_leaves_the_ask_open():
    """EncodeError in the receiver, where another answer may follow; returned, it is the asker's RemoteError."""
    errors = []

    class Clumsy:
        @packet_receiver
        async def at(self, session: Session, ask: TallyAsk, call):
            wrong = TallyAnswer(ask.key, "five", "p")
            if ask.how == "return":
                return wrong
            try:
                call.answer(wrong)
            except EncodeError as error:
                errors.append(str(error))
            call.answer(TallyAnswer(ask.key, 5, "p"))
            return None

    async def main():
        async with serving(Clumsy()) as (_, _, c):
            assert (await c.consumer.async_ask(TallyAsk("a"))).count == 5
            assert "TallyAnswer.count" in errors[0]
            with pytest.raises(RemoteError, match=r"TallyAnswer\.count"):
                await c.consumer.async_ask(TallyAsk("a", "return"))

    asyncio.run(main())


def test_a_receiver_that_answers_and_returns_too_is_reported():
    """The asker has its answer; the fault is an event that names the receiver."""

    class Twice:
        @packet_receiver
        async def at(self, session: Session, ask: TallyAsk, call):
            call.answer(TallyAnswer("first", 1, "p"))
            return TallyAnswer("second", 2, "p")

    async def main():
        async with serving(Twice()) as (_, p, c):
            failed = []
            p.events.subscribe(ReceiverFailed, failed.append)
            assert (await c.consumer.async_ask(TallyAsk("a"))).key == "first"
            await eventually(lambda: failed)
            assert "Twice.at" in failed[0].receiver
            assert "answered and returned" in failed[0].message

    asyncio.run(main())


def test_one_keys_asks_run_in_order_others_beside_them():
    """A lane is one gate for async and blocking receivers, across a suspension; another key does not wait."""
    order = []

    class Mixed:
        @packet_receiver
        async def at_ask(self, session: Session, ask: TallyAsk) -> TallyAnswer:
            order.append(f"{ask.key} ask begins")
            if ask.how == "wait":
                await served.go_on.wait()
            order.append(f"{ask.key} ask ends")
            return TallyAnswer(ask.key, 0, "")

        @packet_receiver
        def at_note(self, session: Session, note: TallyNote) -> None:
            order.append(f"{note.key} note")

    served = Tallies("p")

    async def main():
        async with pair(served, provider={"receivers": [Mixed()]}) as (_, p, c):
            first = c.consumer.async_ask(TallyAsk("a", "wait"))
            await c.consumer.send(TallyNote("a"))
            last = c.consumer.async_ask(TallyAsk("a"))
            await c.consumer.async_ask(TallyAsk("b"))
            await eventually(lambda: p._engine.router.in_work == 3)
            served.go_on.set()
            await asyncio.gather(first, last)
            assert [line for line in order if line.startswith("a")] == [
                "a ask begins",
                "a ask ends",
                "a note",
                "a ask begins",
                "a ask ends",
            ]
            assert order.index("b ask ends") < order.index("a ask ends")

    served.go_on = asyncio.Event()
    asyncio.run(main())


# --- callbacks


def test_callbacks_run_where_they_were_asked_for():
    """On the asker's loop; in a receiver on its lane, where its state needs no lock; from a thread on the node's."""
    seen = {}
    variable = contextvars.ContextVar("variable", default="outside")

    class Asks:
        """A node in the middle: its receivers ask on and let themselves be called."""

        def __init__(self):
            self.state = []

        @packet_receiver
        async def at(self, session: Session, ask: TallyAsk, call):
            variable.set("inside")
            answer = session.node.router.async_ask(session, TallyAsk(ask.key), TallyAnswer)

            def on_lane(done):
                self.state.append("callback")
                seen["lane"] = (done.result().served_by, threading.get_ident())
                call.answer(TallyAnswer("answered in the callback", 0, ""))

            answer.when_complete(on_lane)
            await asyncio.sleep(0)
            self.state.append("receiver ended")

    middle = Asks()

    async def main():
        async with pair(Tallies("c"), provider={"receivers": [middle]}, receivers=[Tallies("c")]) as (_, _, c):
            loop = asyncio.get_running_loop()
            on_loop = loop.create_future()
            c.consumer.async_ask(TallyAsk("a")).when_complete(lambda done: on_loop.set_result(done.result().key))
            assert await on_loop == "answered in the callback"
            assert middle.state == ["receiver ended", "callback"]  # one at a time
            assert seen["lane"] == ("c", threading.get_ident())

            in_thread = []

            def ask():
                c.consumer.async_ask(TallyAsk("b")).when_complete(
                    lambda done: in_thread.append((done.exception(), threading.get_ident()))
                )

            await asyncio.to_thread(ask)
            await eventually(lambda: in_thread)
            assert in_thread == [(None, threading.get_ident())]

            failed = loop.create_future()
            c.consumer.async_ask(TallyAsk("c"), timeout_s=1e-9).when_complete(
                lambda done: failed.set_result(type(done.exception()).__name__)
            )
            assert await failed == "AskTimeoutError"

    asyncio.run(main())


def test_a_callback_on_a_loop_of_its_own():
    """Asked on another loop than the node's, the callback runs on that one."""
    with (
        hosting() as d,
        provider_at(d.discovery_address, Tallies("p")),
        Node(id="c", consumes=[tallies], receivers=[], table=TABLE, discovery={"address": d.discovery_address}) as c,
    ):

        async def main():
            called = asyncio.get_running_loop().create_future()
            c.consumer.async_ask(TallyAsk("a")).when_complete(
                lambda done: called.set_result((done.result().count, threading.get_ident()))
            )
            assert await called == (1, threading.get_ident())

        asyncio.run(main())


# --- hooks


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
    """Three tries, then SessionClosedError: the provider has no session."""

    async def main():
        policy = {"consumes": [(tallies, "tallies", "mine")], "balancers": {"mine": mine}}
        async with pair(**policy) as (_, p, c):
            assert (await c.consumer.async_ask(TallyAsk("a"))).count == 1
            mine.fault = "gone"
            await p.stop()
            with pytest.raises(SessionClosedError, match=r"not sent in 3 tries.*no open session") as caught:
                await c.consumer.async_ask(TallyAsk("a"))
            assert not caught.value.may_have_run
            assert (await c.consumer.stats())["retries"] == 2

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
