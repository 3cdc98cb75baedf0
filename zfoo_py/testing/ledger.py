"""What a test left behind: nodes, actors, threads, tasks, loops and sockets."""

from __future__ import annotations

import asyncio
import asyncio.runners
import functools
import gc
import sys
import threading
import weakref
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zfoo_py.node import Node, new_loop

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LeakWatch", "watching"]

# How long a thread that was told to end may take to do so; only a test that leaks waits this long.
THREAD_END_TIMEOUT_S = 2.0

FD_DIR = Path("/proc/self/fd")

# Kinds of descriptors that are leaks; plain files and /dev/null are watched by ResourceWarning.
FD_KINDS = ("socket:", "pipe:", "anon_inode:")

# What to do about each kind of leak; a line of `LeakWatch.leaks` begins with the kind.
ADVICE = {
    "node": "leave its `async with Node(…)` or `with Node(…)`, or call stop(), before the test ends",
    "actor": "stop it: ref.stop()",
    "thread": "let it end and join() it in the test, or in the fixture that started it",
    "task": "await it, or cancel() it and await it, before the test ends",
    "event loop": "stop and close it; asyncio.run() does both",
    "descriptor": "close it: a socket, a pipe, or the poller of an event loop that was not closed",
}


class LeakWatch:
    """Remembers what there was, and says what is new. Made by `watching`.

    Nodes that run, Pykka's actors, threads, a loop still running here, sockets and pollers (an event loop that was not
    closed shows as those), and tasks that asyncio.run had to cancel because the test, or what it stopped, forgot them.

    Args:
        loops: whether tasks and sockets are looked at.
    """

    def __init__(self, *, loops: bool = True) -> None:
        self._loops = loops
        self.threads = set(threading.enumerate())
        self.actors = live_actors()
        self.descriptors = open_descriptors()
        self.nodes: weakref.WeakSet[Node] = weakref.WeakSet()
        self.cancelled: list[str] = []
        self._cancel_all_tasks: Any = asyncio.runners._cancel_all_tasks  # type: ignore[attr-defined]  # noqa: SLF001

    def cancel_all_tasks(self, loop: asyncio.AbstractEventLoop) -> None:
        """Stand in for asyncio's function of this name, and take down what it cancels."""
        self.cancelled += [f"{task.get_name()} in {task.get_coro()}" for task in asyncio.all_tasks(loop)]
        self._cancel_all_tasks(loop)

    def leaks(self) -> list[str]:
        """Return a line for each thing that is there and was not; waits for threads that are about to end."""
        tasks = self.cancelled if self._loops else ()
        lines = [f"task, still pending when asyncio.run ended: {text}" for text in tasks]
        lines += [f"node, still running: {node.id}" for node in self.nodes if node.is_running]
        lines += [f"actor: {text}" for urn, text in live_actors().items() if urn not in self.actors]
        for thread in threading.enumerate():
            if thread not in self.threads and thread is not threading.current_thread():
                thread.join(0 if lines else THREAD_END_TIMEOUT_S)
                if thread.is_alive():
                    lines.append(f"thread: {thread.name}{' (daemon)' if thread.daemon else ''}")
        if asyncio._get_running_loop() is not None:  # noqa: SLF001 - get_running_loop raises instead
            lines.append("event loop: still running in the test's thread")
        return lines + (self._descriptors_now() if self._loops else [])

    def report(self) -> str:
        """Return what was left and what to do about it, or "" if nothing was."""
        leaks = self.leaks()
        if not leaks:
            return ""
        advice = [f"{kind}: {what}" for kind, what in ADVICE.items() if any(line.startswith(kind) for line in leaks)]
        return "the test left behind:\n  " + "\n  ".join(leaks) + "\nwhat to do:\n  " + "\n  ".join(advice)

    def _descriptors_now(self) -> list[str]:
        """Return a line for each new descriptor; collects garbage only if there is one."""
        for collect in (True, False):
            new = {n: t for n, t in open_descriptors().items() if self.descriptors.get(n) != t}
            if not new:
                return []
            if collect:
                gc.collect()
        return [f"descriptor {number}: {target}" for number, target in sorted(new.items())]


@contextmanager
def watching(*, loops: bool = True) -> Iterator[LeakWatch]:
    """Watch what is begun inside, also by asyncio.run and by nodes; ask the watch for its `report` afterwards.

    Args:
        loops: as of `LeakWatch`.
    """
    _open_what_stays()
    watch = LeakWatch(loops=loops)
    runners: Any = asyncio.runners
    cancel_all_tasks, start = runners._cancel_all_tasks, Node.start  # noqa: SLF001 - a test pins the name

    async def noted_start(node: Node) -> Node:
        watch.nodes.add(node)
        return await start(node)

    runners._cancel_all_tasks = watch.cancel_all_tasks  # noqa: SLF001
    Node.start = noted_start  # type: ignore[method-assign, assignment]
    try:
        yield watch
    finally:
        runners._cancel_all_tasks = cancel_all_tasks  # noqa: SLF001
        Node.start = start  # type: ignore[method-assign]


@functools.cache
def _open_what_stays() -> None:
    """Libuv opens one pipe per process with its first loop and keeps it: that is nobody's leak."""
    new_loop().close()


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
    """Return urn → text of the actors in Pykka's registry; a node's own actors are not in it."""
    pykka: Any = sys.modules.get("pykka")
    return {ref.actor_urn: str(ref) for ref in pykka.ActorRegistry.get_all()} if pykka else {}
