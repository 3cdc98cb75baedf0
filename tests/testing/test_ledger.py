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
from zfoo_py import Node
from zfoo_py.testing import ledger
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
    assert leak_watch.leaks() == ["thread: forgotten (daemon)"]
    end.set()
    thread.join()


def test_an_actor_is_reported(leak_watch):
    ref = pykka.ThreadingActor.start()
    assert any(line.startswith("actor: ThreadingActor") for line in leak_watch.leaks())
    ref.stop()


def test_a_node_that_was_not_stopped_is_reported(leak_watch):
    """Its actors are in nobody's list and its loop is gone: only the node itself tells."""

    async def forget():
        return await Node(id="lonely", discovery="static", receivers=[]).start()

    node = asyncio.run(forget())
    assert "node, still running: lonely" in leak_watch.leaks()
    asyncio.run(node.abort())
    assert not any(line.startswith("node") for line in leak_watch.leaks())


@needs_proc
def test_a_socket_is_reported(leak_watch):
    with socket.socket():
        (line,) = leak_watch.leaks()
    assert "socket:" in line


@needs_proc
def test_an_event_loop_that_was_not_closed_is_reported(leak_watch):
    loop = asyncio.new_event_loop()
    assert any("anon_inode" in line for line in leak_watch.leaks())
    loop.close()


def test_a_running_event_loop_is_reported(leak_watch):
    async def look():
        return leak_watch.leaks()

    assert "event loop: still running in the test's thread" in asyncio.run(look())


def test_a_task_that_asyncio_run_had_to_cancel_is_reported(leak_watch, monkeypatch):
    # The watch around this very test must not see it.
    monkeypatch.setattr(leak_watch, "_cancel_all_tasks", lambda loop: [t.cancel() for t in asyncio.all_tasks(loop)])
    kept = []

    async def forget():
        kept.append(asyncio.create_task(asyncio.Event().wait(), name="lonely"))

    asyncio.run(forget())
    (line,) = leak_watch.leaks()
    assert line.startswith("task, still pending when asyncio.run ended: lonely in <coroutine")
    report = leak_watch.report()
    assert report.startswith("the test left behind:\n  task")
    assert report.endswith(f"what to do:\n  task: {ADVICE['task']}"), "advice on what was found, and on nothing else"


def test_each_kind_has_its_advice(leak_watch):
    """Every line begins with a kind, and so does the advice."""
    leak_watch.cancelled.append("a")
    assert all(any(line.startswith(kind) for kind in ADVICE) for line in leak_watch.leaks())
    assert set(ADVICE) == {"node", "actor", "thread", "task", "event loop", "descriptor"}


def test_a_watch_that_leaves_loops_alone_sees_the_rest():
    """For tests on a loop that another plugin opens, and closes later."""
    with watching(loops=False) as watch:
        loop = asyncio.new_event_loop()
        watch.cancelled.append("a task")
        assert watch.leaks() == []
        ref = pykka.ThreadingActor.start()
        assert any(line.startswith("actor") for line in watch.leaks())
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
