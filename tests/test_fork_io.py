"""A forked child: its parent's nodes are dead there, at once and with a sentence, and the parent notices nothing."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import warnings

import pytest

from tests.support.nodes import HANG_S, TABLE, Tallies, TallyAsk, TallyNote, hosting, pair, sessions_of, tallies
from zfoo_py import ForkedError, Node, fork_io

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

REMEDY = "make a Node of the child's own"


def in_child(function):
    """Fork, run a function in the child, and return what it returned or raised there, as text; hangs end by a kill."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: a fork with threads
        child = os.fork()
    if not child:
        try:
            text = repr(function())
        except BaseException as error:  # noqa: BLE001 - the parent reads it
            text = f"{type(error).__name__}: {error}"
        os.write(writing, text.encode())
        os._exit(0)
    os.close(writing)
    killer = threading.Timer(HANG_S, os.kill, (child, signal.SIGKILL))
    killer.start()
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    killer.cancel()
    killer.join()
    return text


def with_pair(check, **consumer):
    """Run ``check(served, provider, consumer)`` with both of them on this thread's loop."""

    async def main():
        async with asyncio.timeout(HANG_S), pair(**consumer) as (served, p, c):
            assert (await c.consumer.async_ask(TallyAsk("before"))).count == 1
            await check(served, p, c)
            assert (await c.consumer.async_ask(TallyAsk("before"))).count == 2, "the parent goes on"

    asyncio.run(main())


CALLS = {
    "async_ask": lambda c: c.consumer.async_ask(TallyAsk("a")),
    "sync_ask": lambda c: c.consumer.sync_ask(TallyAsk("a")),
    "send": lambda c: c.consumer.send(TallyNote("a")),
    "stats": lambda c: c.stats(),
    "consumer.stats": lambda c: c.consumer.stats(),
    "explain": lambda c: c.consumer.explain(tallies, "a"),
    "sessions": lambda c: c.sessions(),
    "run_in_lane": lambda c: c.run_in_lane("a", int),
}


@pytest.mark.parametrize("call", CALLS)
def test_each_call_in_the_child_raises_and_names_the_remedy(call):
    async def check(_served, _p, c):
        text = in_child(lambda: CALLS[call](c))
        assert text.startswith("ForkedError: node 'c' runs in this process's parent")
        assert REMEDY in text

    with_pair(check)


def test_what_was_taken_from_the_node_before_the_fork_raises_too():
    """An application keeps `node.consumer`, a session, a router: none of them looks at the process id."""

    async def check(_served, p, c):
        consumer, router = c.consumer, c.router
        session = sessions_of(c)[0].session
        for call in (
            lambda: consumer.async_ask(TallyAsk("a")),
            lambda: router.async_ask(session, TallyAsk("a")),
            lambda: router.send(session, TallyNote("a")),
        ):
            assert in_child(call).startswith("ForkedError")

    with_pair(check)


def test_what_the_parent_waits_for_ends_in_the_child():
    async def check(served, _p, c):
        answer = c.consumer.async_ask(TallyAsk("a", "wait"))
        await served.started.wait()
        assert in_child(answer.get).startswith("ForkedError")

        async def wait():
            await answer

        assert in_child(lambda: asyncio.run(wait())).startswith("ForkedError")
        served.go_on.set()
        assert (await answer).count == 1

    with_pair(check)


def test_a_thread_that_forks_while_the_loop_runs():
    """Locks may be held by threads that are not in the child: nothing there may wait for one."""
    with hosting() as d:
        where = {"address": d.discovery_address}
        with (
            Node(id="p", provides=[tallies], receivers=[Tallies("p")], discovery=where, table=TABLE),
            Node(id="c", consumes=[tallies], receivers=[], discovery=where, table=TABLE) as c,
        ):
            busy = True

            def ask():
                while busy:
                    c.consumer.sync_ask(TallyAsk("a"))

            asking = threading.Thread(target=ask)
            asking.start()
            try:
                for _ in range(20):
                    assert in_child(lambda: c.consumer.sync_ask(TallyAsk("a"))).startswith("ForkedError")
            finally:
                busy = False
                asking.join()


def test_leaving_the_nodes_block_in_the_child_does_not_wait_for_the_parents_thread():
    with Node(id="lonely", discovery="static", receivers=[], table=TABLE) as node:

        def leave():
            node.__exit__(None, None, None)
            return node.is_running

        assert in_child(leave) == "False"


def test_stop_in_the_child_does_nothing():
    async def check(_served, _p, c):
        assert in_child(lambda: asyncio.run(c.stop())) == "None"
        assert in_child(lambda: asyncio.run(c.abort())) == "None"

    with_pair(check)


def test_the_peer_sees_the_parents_close_while_the_child_lives():
    async def check(_served, p, c):
        child = os.fork()
        if not child:
            signal.pause()
            os._exit(0)
        try:
            address = p.address
            [session] = sessions_of(c, "client")
            await p.stop()
            async with asyncio.timeout(HANG_S):
                await session.ended
            host, _, port = address.rpartition(":")
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(host, int(port))
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)  # noqa: ASYNC222 - it is dead

    async def main():
        async with asyncio.timeout(HANG_S), pair() as (served, p, c):
            await check(served, p, c)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        asyncio.run(main())


def test_a_child_may_have_nodes_of_its_own():
    async def ask():
        async with pair() as (_, _, c):
            return (await c.consumer.async_ask(TallyAsk("child"))).served_by

    async def check(_served, _p, _c):
        assert in_child(lambda: asyncio.run(ask())) == "'p'"

    with_pair(check)


def test_a_fork_of_multiprocessing_says_so_too():
    async def check(_served, _p, c):
        context = multiprocessing.get_context("fork")
        reading, writing = context.Pipe(duplex=False)

        def work():
            try:
                c.consumer.async_ask(TallyAsk("a"))
            except ForkedError as error:
                writing.send(str(error))

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            process = context.Process(target=work)
            process.start()
        assert reading.poll(HANG_S)
        assert REMEDY in reading.recv()
        process.join(HANG_S)
        reading.close()
        writing.close()
        process.close()

    with_pair(check)


def test_a_signal_to_the_child_of_a_running_node_stays_the_childs(tmp_path):
    """An event loop's wake-up descriptor is shared by parent and child: a SIGTERM there must not stop the parent."""
    program = tmp_path / "parent.py"
    program.write_text(
        "import os, signal, sys, time\n"
        "from zfoo_py import Node\n"
        "def up(node):\n"
        "    there, here = os.pipe()\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        os.write(here, b'x')\n"
        "        time.sleep(30)\n"
        "        os._exit(0)\n"
        "    os.read(there, 1)\n"
        "    os.kill(child, signal.SIGTERM)\n"
        "    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)\n"
        "Node(id='n', discovery='static', receivers=[], on_start=up).run()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", str(program)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == str(-signal.SIGTERM)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.3)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(HANG_S) == 0


def test_only_the_very_socket_is_closed():
    """A number that was closed and taken by another file since is left alone; closing twice harms nobody."""
    one, other = socket.socketpair()
    wrong = {one.fileno(): fork_io.socket_id(other.fileno()), 10_000: 1}
    fork_io.close_descriptors(wrong)
    one.send(b"x")
    assert other.recv(1) == b"x"
    fork_io.close_descriptors({one.fileno(): fork_io.socket_id(one.fileno())}, {})
    assert other.recv(1) == b""
    one.close()
    other.close()


def test_what_is_watched_hears_of_a_fork_once_and_is_not_kept_alive():
    class Forkable:
        heard = 0

        def after_fork(self):
            self.heard += 1

    kept, gone = Forkable(), Forkable()
    for one in (kept, gone):
        fork_io.watch(one)
    del one, gone

    def grandchild():
        return in_child(lambda: (kept.heard, kept in fork_io._WATCHED))

    assert in_child(lambda: (kept.heard, grandchild())) == "(1, '(1, False)')"
    assert kept.heard == 0
