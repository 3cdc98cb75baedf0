"""The leak check sees each kind of leak, says what to do, and sees nothing where there is none."""

import asyncio
import socket
import threading
from pathlib import Path

import pykka
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samples.services import Counts, visits
from tests.support.nodes import HANG_S, TallyAsk, pair
from zfoo_py import Node
from zfoo_py.actor import LoopActor
from zfoo_py.router.answer import Answer
from zfoo_py.testing import Alive, leaks, ledger
from zfoo_py.testing.ledger import ADVICE, LeakWatch, watching

needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="descriptors are counted in /proc")


@pytest.fixture
def leak_watch(monkeypatch):
    """A watch of the test's own, within which the one around every test sees nothing."""
    monkeypatch.setattr(ledger, "THREAD_END_TIMEOUT_S", 0.2)
    with watching() as watch:
        yield watch


def test_nothing_is_reported_for_a_test_that_cleans_up(leak_watch):
    thread = threading.Thread(target=int)
    thread.start()
    ref = pykka.ThreadingActor.start()
    ref.stop()
    with socket.socket(), Node(id="n", discovery="static", receivers=[]):
        asyncio.run(asyncio.sleep(0))
    assert leak_watch.leaks() == []
    assert leak_watch.report() == ""


def test_a_thread_is_reported(leak_watch):
    end = threading.Event()
    thread = threading.Thread(target=end.wait, name="forgotten", daemon=True)
    thread.start()
    [alive] = leak_watch.leaks()
    assert alive[:3] == ("thread", "forgotten (daemon)", "")
    assert "test_ledger.py:" in alive.made_at
    assert alive.made_at.endswith(" in test_a_thread_is_reported")
    end.set()
    thread.join()


def test_an_actor_is_reported(leak_watch):
    ref = pykka.ThreadingActor.start()
    assert any(str(one).startswith("actor: ThreadingActor") for one in leak_watch.leaks())
    ref.stop()


def test_a_node_that_was_not_stopped_is_reported(leak_watch):
    """Its actors are in nobody's list and its loop is gone: only the node itself tells."""

    async def forget():
        return await Node(id="lonely", discovery="static", receivers=[]).start()

    node = asyncio.run(forget())
    [first, *others] = leak_watch.leaks()
    assert first[:3] == ("node", "lonely, still running", "")
    assert first.made_at.endswith(".forget")
    assert {one.kind for one in others if one.owner == "lonely"} >= {"actor", "timer"}
    assert "RegistryActor" not in leak_watch.report(), "what is the node's ends with it"
    asyncio.run(node.abort())
    assert not any(one.kind == "node" for one in leak_watch.leaks())


@needs_proc
def test_a_socket_is_reported(leak_watch):
    with socket.socket():
        (one,) = leak_watch.leaks()
    assert "socket:" in one.what
    assert one.made_at.endswith(" in test_a_socket_is_reported")


@needs_proc
def test_an_event_loop_that_was_not_closed_is_reported(leak_watch):
    loop = asyncio.new_event_loop()
    assert any("anon_inode" in one.what for one in leak_watch.leaks())
    loop.close()


def test_a_running_event_loop_is_reported(leak_watch):
    async def look():
        return leak_watch.leaks()

    assert "event loop: still running in the test's thread" in map(str, asyncio.run(look()))


def test_a_task_that_asyncio_run_had_to_cancel_is_reported(leak_watch, monkeypatch):
    # The watch around this very test must not see it.
    monkeypatch.setattr(leak_watch, "_cancel_all_tasks", lambda loop: [t.cancel() for t in asyncio.all_tasks(loop)])
    kept = []

    async def forget():
        kept.append(asyncio.create_task(asyncio.Event().wait(), name="lonely"))

    asyncio.run(forget())
    (one,) = leak_watch.leaks()
    assert one[:2] == ("task", "lonely, still pending when asyncio.run ended")
    assert one.made_at.endswith(" in forget")
    report = leak_watch.report()
    assert report.startswith("the test left behind:\n  task")
    assert report.endswith(f"what to do:\n  task: {ADVICE['task']}"), "advice on what was found, and on nothing else"


def test_each_kind_has_its_advice(leak_watch):
    kinds = {"node", "session", "ask", "timer", "actor", "thread", "task", "event loop", "descriptor"}
    assert set(ADVICE) == kinds
    for kind in kinds:
        leak_watch.cancelled[:] = [Alive(kind, "something")]
        assert leak_watch.report().endswith(f"what to do:\n  {kind}: {ADVICE[kind]}")


def test_a_watch_that_leaves_loops_alone_sees_the_rest():
    """For tests on a loop that another plugin opens, and closes later."""
    with watching(loops=False) as watch:
        loop = asyncio.new_event_loop()
        watch.cancelled.append(Alive("task", "a"))
        assert watch.leaks() == []
        ref = pykka.ThreadingActor.start()
        assert [one.kind for one in watch.leaks()] == ["actor", "thread"]
        ref.stop()
        loop.close()


def test_a_watch_gives_back_what_it_replaced():
    before = (asyncio.runners._cancel_all_tasks, Node.start)
    with watching() as watch:
        assert asyncio.runners._cancel_all_tasks == watch.cancel_all_tasks
        assert Node.start is not before[1]
    assert (asyncio.runners._cancel_all_tasks, Node.start) == before


def test_a_node_under_a_watch_starts_as_ever(leak_watch):
    async def main():
        async with Node(id="p", provides=[visits], discovery="static", receivers=[Counts("p")]) as node:
            assert node.is_running
            assert set(leak_watch.nodes) == {node}
        assert not node.is_running

    asyncio.run(main())
    assert isinstance(leak_watch, LeakWatch)


@given(st.integers())
def test_hypothesis_runs_under_the_check(number):
    assert number == int(str(number))


# --- the list of a moment


def test_leaks_lists_what_is_alive_now_with_its_owner_and_where_it_was_made():
    """What pytest's plugin watches around every test is what a test may look at."""

    async def main():
        async with pair() as (served, _, c):
            asking = asyncio.create_task(ask(c), name="asking")
            await served.started.wait()
            found = leaks()
            served.go_on.set()
            await asking
            return found

    async def ask(c):
        await c.consumer.async_ask(TallyAsk("a", "wait"), timeout_s=HANG_S)

    found = asyncio.run(main())
    by_kind = {kind: [one for one in found if one.kind == kind] for kind in ADVICE}
    nodes = {one.what.removesuffix(", still running") for one in by_kind["node"]}
    assert nodes == {"p", "c"}
    [asked] = by_kind["ask"]
    assert asked[:3] == ("ask", "TallyAsk", "c")
    assert asked.made_at.endswith(".ask")
    [task] = [one for one in by_kind["task"] if one.what == "asking"]
    assert task.made_at.endswith(" in main")
    assert {one.owner for one in by_kind["session"]} == nodes
    assert {one.owner for one in by_kind["timer"]} >= {"p", "c"}
    assert {one.what for one in by_kind["actor"] if one.owner == "c"} >= {"ConsumerActor", "RegistryActor"}
    assert {one.owner for one in by_kind["descriptor"]} >= nodes
    assert all(one.made_at for one in found if one.kind not in {"descriptor", "thread"})
    assert leaks() == []


def test_leaks_without_a_watch_lists_everything_that_can_be_seen(monkeypatch):
    monkeypatch.setattr(ledger, "_WATCHES", [])

    async def main():
        async with Node(id="n", discovery="static", receivers=[]):
            return leaks()

    found = asyncio.run(main())
    assert ("node", "n, still running", "", "") in found
    assert ("actor", "RegistryActor", "n", "") in found


def test_a_timer_an_ask_or_an_actor_that_outlives_its_node_is_reported(leak_watch):
    class Lingering(LoopActor):
        def on_receive(self, message):
            pass

    async def main():
        async with Node(id="n", discovery="static", receivers=[]) as node:
            runtime = node._engine.runtime
            ref = runtime.spawn(Lingering)
            runtime.call_later(HANG_S, ref, "late")
            answer = Answer(runtime)
            leak_watch.asked(answer, TallyAsk("a"))
        return answer, runtime, runtime.spawn(Lingering).actor_inbox.actor

    answer, runtime, lingering = asyncio.run(main())
    assert {(one.kind, one.what, one.owner) for one in leak_watch.leaks()} == {
        ("timer", "str", "n"),
        ("ask", "TallyAsk", "n"),
        ("actor", "Lingering", "n"),
    }
    answer.settle(None)
    runtime.forget(lingering)
    for timer in list(leak_watch.timers):
        timer.cancel()


def test_a_timer_that_has_gone_off_or_was_cancelled_is_gone(leak_watch):
    class Waiting(LoopActor):
        def on_receive(self, message):
            came.set()

    came = asyncio.Event()

    async def main():
        async with Node(id="n", discovery="static", receivers=[]) as node:
            runtime = node._engine.runtime
            ref = runtime.spawn(Waiting)
            runtime.call_later(0.0, ref, 1)
            cancelled = runtime.call_later(HANG_S, ref, 1.0)
            assert {one.what for one in leaks()} >= {"int", "float"}
            cancelled.cancel()
            await came.wait()
            assert not {one.what for one in leaks()} & {"int", "float"}

    asyncio.run(main())
