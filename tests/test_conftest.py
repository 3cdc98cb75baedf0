"""The leak check of conftest.py sees each kind of leak, and nothing where there is none."""

import asyncio
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pykka
import pytest
from hypothesis import given
from hypothesis import strategies as st

needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="descriptors are counted in /proc")


def test_nothing_is_reported_for_a_test_that_cleans_up(leak_watch):
    thread = threading.Thread(target=int)
    thread.start()
    ref = pykka.ThreadingActor.start()
    ref.stop()
    with socket.socket():
        asyncio.run(asyncio.sleep(0))
    assert leak_watch.leaks() == []


def test_a_thread_is_reported(leak_watch, monkeypatch):
    monkeypatch.setitem(type(leak_watch).leaks.__globals__, "THREAD_END_TIMEOUT_S", 0)
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
    monkeypatch.setattr(asyncio.runners, "_cancel_all_tasks", leak_watch.cancel_all_tasks)
    kept = []

    async def forget():
        kept.append(asyncio.create_task(asyncio.Event().wait(), name="lonely"))

    asyncio.run(forget())
    (line,) = leak_watch.leaks()
    assert line.startswith("task, still pending when asyncio.run ended: lonely in <coroutine")


@given(st.integers())
def test_hypothesis_runs_under_the_check(number):
    assert number == int(str(number))


@needs_proc
def test_the_check_fails_a_test_that_leaks(tmp_path):
    """A leaking test under the real conftest, in a pytest process of its own."""
    (tmp_path / "conftest.py").write_text((Path(__file__).parent / "conftest.py").read_text())
    (tmp_path / "test_leak.py").write_text(
        "import asyncio\nkept = []\ndef test_leak():\n    kept.append(asyncio.new_event_loop())\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:asyncio", "-q", "--rootdir", "."]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "the test left behind:" in done.stdout
    assert "anon_inode:[eventpoll]" in done.stdout
    assert "1 passed, 1 error" in done.stdout
