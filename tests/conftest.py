"""What every test gets: a check that it left nothing behind, and the Hypothesis profile."""

from __future__ import annotations

import asyncio
import asyncio.runners
import gc
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

try:
    import uvloop
except ImportError:  # not on every platform
    pass
else:
    # libuv opens one pipe per process with its first loop and keeps it: let it be there before the first test.
    uvloop.new_event_loop().close()


# No deadline per example: a busy machine is not a bug.
hypothesis.settings.register_profile("zfoo", deadline=None)
hypothesis.settings.load_profile("zfoo")

# How long a thread that was told to end may take to do so; only a test that leaks waits this long.
THREAD_END_TIMEOUT_S = 2.0
FD_DIR = Path("/proc/self/fd")
# Kinds of descriptors that are leaks; plain files and /dev/null are watched by ResourceWarning.
FD_KINDS = ("socket:", "pipe:", "anon_inode:")


def open_descriptors() -> dict[str, str]:
    """Return number → target of the sockets, pipes and pollers that are open, or {} where /proc is missing."""
    found = {}
    for entry in FD_DIR.iterdir() if FD_DIR.is_dir() else ():
        if entry.name in {"0", "1", "2"}:  # pytest's capture swaps them
            continue
        try:
            target = str(entry.readlink())
        except OSError:  # the descriptor of this listing itself
            continue
        if target.startswith(FD_KINDS):
            found[entry.name] = target
    return found


def live_actors() -> dict[str, str]:
    """Return urn → text of the actors in Pykka's registry."""
    pykka = sys.modules.get("pykka")
    return {ref.actor_urn: str(ref) for ref in pykka.ActorRegistry.get_all()} if pykka else {}


class LeakWatch:
    """Remembers what there was, and says what is new.

    Threads, pykka actors, a loop still running here, sockets and pollers (an event loop that was not closed
    shows as those), and tasks that asyncio.run had to cancel because the test, or what it stopped, forgot them.
    """

    def __init__(self) -> None:
        self.threads = set(threading.enumerate())
        self.actors = live_actors()
        self.descriptors = open_descriptors()
        self.cancelled: list[str] = []
        self._cancel_all_tasks = asyncio.runners._cancel_all_tasks

    def cancel_all_tasks(self, loop: asyncio.AbstractEventLoop) -> None:
        """Stand in for asyncio's function of this name, and take down what it cancels."""
        self.cancelled += [f"{task.get_name()} in {task.get_coro()}" for task in asyncio.all_tasks(loop)]
        self._cancel_all_tasks(loop)

    def leaks(self) -> list[str]:
        """Return a line for each thing that is there and was not."""
        lines = [f"task, still pending when asyncio.run ended: {text}" for text in self.cancelled]
        for urn, text in live_actors().items():
            if urn not in self.actors:
                lines.append(f"actor: {text}")
        for thread in threading.enumerate():
            if thread not in self.threads and thread is not threading.current_thread():
                thread.join(0 if lines else THREAD_END_TIMEOUT_S)
                if thread.is_alive():
                    lines.append(f"thread: {thread.name}{' (daemon)' if thread.daemon else ''}")
        if asyncio._get_running_loop() is not None:
            lines.append("event loop: still running in the test's thread")
        return lines + self.open_now()

    def open_now(self) -> list[str]:
        """Return a line for each new descriptor; collects garbage only if there is one."""
        for collect in (True, False):
            new = {n: t for n, t in open_descriptors().items() if self.descriptors.get(n) != t}
            if not new:
                return []
            if collect:
                gc.collect()
        return [f"descriptor {number}: {target}" for number, target in sorted(new.items())]


@pytest.fixture
def leak_watch() -> LeakWatch:
    """Give a test its own watch, to try it."""
    return LeakWatch()


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    """Fail a test that leaves a thread, actor, task, loop, socket or poller behind."""
    watch = LeakWatch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio.runners, "_cancel_all_tasks", watch.cancel_all_tasks)
        yield
    leaks = watch.leaks()
    if leaks:
        pytest.fail("the test left behind:\n  " + "\n  ".join(leaks), pytrace=False)
