"""What a test left behind: nodes, sessions, asks, timers, actors, threads, tasks, loops and sockets."""

from __future__ import annotations

import asyncio
import asyncio.runners
import functools
import gc
import socket
import sys
import threading
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from zfoo_py import fork_io
from zfoo_py.actor import Runtime
from zfoo_py.consumer.consumer import Consumer
from zfoo_py.node import Node, new_loop
from zfoo_py.router.router import Router
from zfoo_py.testing.alive import Alive, Place, live_actors, of_runtime, open_descriptors, pending_tasks, where

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["LeakWatch", "leaks", "watching"]

# How long a thread that was told to end may take to do so; only a test that leaks waits this long.
THREAD_END_TIMEOUT_S = 2.0

# Of a coroutine so many frames are kept: enough to come out of asyncio's and ours.
ORIGIN_FRAMES = 8

# What to do about each kind of leak; the kind is the first word of its line.
ADVICE = {
    "node": "leave its `async with Node(…)` or `with Node(…)`, or call stop(), before the test ends",
    "session": "it outlived its node's stop(): a fault of zfoo_py, please report it",
    "ask": "it outlived its node's stop() unanswered: a fault of zfoo_py, please report it",
    "timer": "it outlived its node's stop(): cancel it in on_stop() of the actor that set it",
    "actor": "stop it: ref.stop()",
    "thread": "let it end and join() it in the test, or in the fixture that started it",
    "task": "await it, or cancel() it and await it, before the test ends",
    "event loop": "stop and close it; asyncio.run() does both",
    "descriptor": "close it: a socket, a pipe, or the poller of an event loop that was not closed",
}


def leaks() -> list[Alive]:
    """Return what is alive now: nodes, sessions, pending asks, timers, tasks, threads, actors, descriptors.

    In a test that the pytest plugin checks, or inside `watching`: what was not there when that began, and where it
    was made. Elsewhere: everything but asks and timers, and without places. O(what there is). From any thread.
    """
    return (_WATCHES[-1] if _WATCHES else LeakWatch(everything=True)).alive()


class LeakWatch:
    """Remembers what there was, and says what is new. Made by `watching`.

    Args:
        loops: whether tasks and sockets are looked at.
        everything: as if nothing had been there.
    """

    def __init__(self, *, loops: bool = True, everything: bool = False) -> None:
        self._loops = loops
        self.threads = {threading.main_thread()} if everything else set(threading.enumerate())
        self.actors = {} if everything else live_actors()
        self.descriptors = {} if everything else open_descriptors()
        self.nodes: weakref.WeakSet[Node] = weakref.WeakSet()
        if everything:
            self.nodes.update(one for one in list(fork_io._WATCHED) if isinstance(one, Node))  # noqa: SLF001
        # A node may be gone when its test ends; what it has left on its runtime is to be seen nevertheless.
        self.runtimes: dict[Runtime, str] = {}
        self.asks: weakref.WeakKeyDictionary[Any, tuple[str, Place]] = weakref.WeakKeyDictionary()
        self.timers: dict[_Timer, Runtime] = {}
        self.cancelled: list[Alive] = []
        self._places: weakref.WeakKeyDictionary[Any, Place] = weakref.WeakKeyDictionary()
        self._sockets: dict[int, Place] = {}
        self._cancel_all_tasks: Any = asyncio.runners._cancel_all_tasks  # type: ignore[attr-defined]  # noqa: SLF001

    # --- taken down while it watches

    def cancel_all_tasks(self, loop: asyncio.AbstractEventLoop) -> None:
        """Stand in for asyncio's function of this name, and take down what it cancels."""
        self.cancelled += [
            one._replace(what=f"{one.what}, still pending when asyncio.run ended") for one in pending_tasks(loop, "")
        ]
        self._cancel_all_tasks(loop)

    def made(self, one: Any) -> None:
        """Take down where something was made; None: it has come to its end already."""
        if one is not None:
            self._places[one] = where()

    def asked(self, answer: Any, packet: Any) -> None:
        """Take down an ask."""
        self.asks[answer] = (type(packet).__name__, where())

    def opened(self, one: socket.socket) -> None:
        """Take down a socket."""
        self._sockets[one.fileno()] = where()

    def started(self, node: Node) -> None:
        """Take down a node and its runtime."""
        if node._engine is not None:  # noqa: SLF001 - else its start has failed before there was anything
            self.runtimes[node._engine.runtime] = node.id  # noqa: SLF001

    # --- what there is

    def alive(self) -> list[Alive]:
        """Return what is there now and was not."""
        running = {node._engine.runtime: node for node in self.nodes if node.is_running and node._engine}  # noqa: SLF001
        found = [Alive("node", f"{node.id}, still running", "", self._place(node)) for node in running.values()]
        for runtime, owner in {**self.runtimes, **{runtime: node.id for runtime, node in running.items()}}.items():
            found += of_runtime(runtime, owner, self._place)
            found += [
                Alive("ask", name, owner, str(place))
                for answer, (name, place) in list(self.asks.items())
                if not answer.done() and answer._home is runtime  # noqa: SLF001
            ]
            found += [
                Alive("timer", timer.what, owner, str(timer.place))
                for timer, its in list(self.timers.items())
                if its is runtime
            ]
        found += [
            Alive("actor", str(ref), "Pykka's registry", self._place(getattr(ref, "_actor", None)))
            for urn, ref in live_actors().items()
            if urn not in self.actors
        ]
        here = asyncio._get_running_loop()  # noqa: SLF001 - get_running_loop raises instead
        found += [self._thread(one) for one in threading.enumerate() if self._is_new(one)]
        if self._loops:
            owners = {runtime.loop: node.id for runtime, node in running.items() if not runtime.loop.is_closed()}
            for loop in {*owners, *([here] if here is not None else [])}:
                found += pending_tasks(loop, owners.get(loop, ""))
            found += self._descriptors_now(running)
        return found

    def leaks(self) -> list[Alive]:
        """Return what is there, and what asyncio.run had to cancel; waits for threads that are about to end."""
        left = [one for one in self.alive() if one.kind not in {"thread", "task"}]
        for thread in threading.enumerate():
            if self._is_new(thread):
                thread.join(0 if left or self.cancelled else THREAD_END_TIMEOUT_S)
        loop = [Alive("event loop", "still running in the test's thread")] if _runs_here() else []
        return [*(self.cancelled if self._loops else ()), *self.alive(), *loop]

    def report(self) -> str:
        """Return what was left and what to do about it, or "" if nothing was."""
        found = self.leaks()
        if not found:
            return ""
        # What belongs to a node that still runs ends with it.
        nodes = {node.id for node in self.nodes if node.is_running}
        found = [one for one in found if one.owner not in nodes]
        advice = [f"{kind}: {what}" for kind, what in ADVICE.items() if any(one.kind == kind for one in found)]
        lines = [str(one) for one in found]
        return "the test left behind:\n  " + "\n  ".join(lines) + "\nwhat to do:\n  " + "\n  ".join(advice)

    def _is_new(self, thread: threading.Thread) -> bool:
        return thread not in self.threads and thread is not threading.current_thread() and thread.is_alive()

    def _thread(self, thread: threading.Thread) -> Alive:
        return Alive("thread", f"{thread.name}{' (daemon)' if thread.daemon else ''}", "", self._place(thread))

    def _place(self, one: Any) -> str:
        place = self._places.get(one) if one is not None else None
        return str(place) if place is not None else ""

    def _descriptors_now(self, running: dict[Runtime, Node]) -> list[Alive]:
        """Return each new descriptor; collects garbage only if there is one that belongs to no running node."""
        owners = {str(number): node.id for runtime, node in running.items() for number in runtime.sockets}
        for collect in (True, False):
            new = {n: t for n, t in open_descriptors().items() if self.descriptors.get(n) != t}
            if not new:
                return []
            if collect and not new.keys() <= owners.keys():
                gc.collect()
        return [
            Alive("descriptor", f"{number}, {target}", owners.get(number, ""), str(self._sockets.get(int(number), "")))
            for number, target in sorted(new.items())
        ]


class _Timer:
    """A timer of a runtime that has been set, and has neither gone off nor been cancelled."""

    __slots__ = ("_timers", "handle", "place", "what")

    def __init__(self, timers: dict[_Timer, Runtime], runtime: Runtime, what: str, place: Place) -> None:
        self._timers = timers
        self.what = what
        self.place = place
        self.handle: Any = None
        timers[self] = runtime

    def cancel(self) -> None:
        """Forget the callback."""
        self._timers.pop(self, None)
        self.handle.cancel()

    def gone_off(self) -> None:
        """Take note that it has."""
        self._timers.pop(self, None)


_WATCHES: list[LeakWatch] = []


@contextmanager
def watching(*, loops: bool = True) -> Iterator[LeakWatch]:
    """Watch what is begun inside, also by asyncio.run and by nodes; ask the watch for its `report` afterwards.

    Args:
        loops: as of `LeakWatch`.
    """
    _open_what_stays()
    watch = LeakWatch(loops=loops)
    depth = sys.get_coroutine_origin_tracking_depth()
    undo = _noting(watch)
    _WATCHES.append(watch)
    sys.set_coroutine_origin_tracking_depth(max(depth, ORIGIN_FRAMES))
    try:
        yield watch
    finally:
        sys.set_coroutine_origin_tracking_depth(depth)
        _WATCHES.remove(watch)
        for owner, name, before in reversed(undo):
            setattr(owner, name, before)


def _noting(watch: LeakWatch) -> list[tuple[Any, str, Any]]:
    """Put functions that take note in the place of those that make something; return how to undo that."""
    runners: Any = asyncio.runners
    start, call_later = Node.start, Runtime.call_later
    undo: list[tuple[Any, str, Any]] = []

    def put(owner: Any, name: str, value: Any) -> None:
        undo.append((owner, name, owner.__dict__[name]))
        setattr(owner, name, value)

    def after(owner: Any, name: str, note: Callable[..., object]) -> None:
        function = owner.__dict__[name]

        @functools.wraps(function)
        def noted(self: Any, *args: Any, **more: Any) -> Any:
            made = function(self, *args, **more)
            note(self, made, *args)
            return made

        put(owner, name, noted)

    @functools.wraps(start)
    async def noted_start(node: Node) -> Node:
        watch.nodes.add(node)
        try:
            return await start(node)
        finally:
            watch.started(node)

    @functools.wraps(call_later)
    def noted_call_later(runtime: Runtime, delay_s: float, ref: Any, message: Any) -> Any:
        timer = _Timer(watch.timers, runtime, type(message).__name__, where())

        def deliver(*args: Any) -> None:
            timer.gone_off()
            runtime.deliver(*args)

        timer.handle = runtime.timers.call_later(delay_s, deliver, ref, message)
        return timer

    put(runners, "_cancel_all_tasks", watch.cancel_all_tasks)
    put(Node, "start", noted_start)
    put(Runtime, "call_later", noted_call_later)
    after(Node, "__init__", lambda node, *_: watch.made(node))
    after(Runtime, "spawn", lambda _, ref, *__: watch.made(ref.actor_inbox.actor))
    after(threading.Thread, "start", lambda thread, *_: watch.made(thread))
    after(socket.socket, "__init__", lambda one, *_: watch.opened(one))
    after(Consumer, "async_ask", lambda _, answer, packet, *__: watch.asked(answer, packet))
    after(Router, "async_ask", lambda _, answer, __, packet, *___: watch.asked(answer, packet))
    return undo


def _runs_here() -> bool:
    return asyncio._get_running_loop() is not None  # noqa: SLF001 - get_running_loop raises instead


@functools.cache
def _open_what_stays() -> None:
    """Libuv opens one pipe per process with its first loop and keeps it: that is nobody's leak."""
    new_loop().close()
