"""What receivers and callers do with each other, over real loopback sockets: answers, pushes, callbacks, hooks."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading

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
    EncodeError,
    Node,
    RemoteError,
    Session,
    packet_receiver,
)
from zfoo_py.events import ReceiverFailed


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


def test_asks_from_several_loops_and_threads_at_once():
    """Two loops in two threads, two blocking threads and the node's own loop share one node; each gets its answers."""
    each, ends = 200, {}
    with logged() as lines, hosting() as d, provider_at(d.discovery_address, Tallies("p")):
        where = {"address": d.discovery_address}
        with Node(id="c", consumes=[tallies], receivers=[], table=TABLE, discovery=where) as c:

            async def ask(name):
                asked = [c.consumer.async_ask(TallyAsk(f"{name}-{n}")) for n in range(each)]
                ends[name] = [answer.key for answer in await asyncio.gather(*asked)]

            def block(name):
                ends[name] = [c.consumer.sync_ask(TallyAsk(f"{name}-{n}")).key for n in range(each)]

            threads = [threading.Thread(target=lambda n=n: asyncio.run(ask(f"loop{n}"))) for n in range(2)]
            threads += [threading.Thread(target=block, args=(f"thread{n}",)) for n in range(2)]
            for thread in threads:
                thread.start()
            asyncio.run_coroutine_threadsafe(ask("own"), c._engine.runtime.loop).result(HANG_S)
            for thread in threads:
                thread.join(HANG_S)
    assert ends == {name: [f"{name}-{n}" for n in range(each)] for name in ends}
    assert sorted(ends) == ["loop0", "loop1", "own", "thread0", "thread1"]
    assert lines == []


# --- hooks
