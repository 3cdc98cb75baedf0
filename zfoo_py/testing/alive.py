"""What is alive in this process, with its owner and where it was made: nodes, sessions, asks, timers and so on."""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from zfoo_py.net.session_actor import SessionActor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import CodeType, FrameType

    from zfoo_py.actor import Runtime

__all__ = ["Alive", "Place", "live_actors", "of_runtime", "open_descriptors", "pending_tasks", "place_of", "where"]

FD_DIR = Path("/proc/self/fd")

# Kinds of descriptors that are leaks; plain files and /dev/null are watched by ResourceWarning.
FD_KINDS = ("socket:", "pipe:", "anon_inode:")

# Below these a stack says how something was made, not by whom.
PACKAGE = str(Path(__file__).parent.parent)
OURS = str(Path(__file__).parent)
HIDDEN = (PACKAGE, str(Path(asyncio.__file__).parent), threading.__file__, "<frozen")


class Place(NamedTuple):
    """A line of code that was at work; text only when asked for."""

    code: CodeType
    line: int

    def __str__(self) -> str:
        """Return "file:line in function"."""
        return f"{self.code.co_filename}:{self.line} in {self.code.co_qualname}"


class Alive(NamedTuple):
    """Something that is there.

    Attributes:
        kind: "node", "session", "ask", "timer", "task", "thread", "actor", "event loop" or "descriptor".
        what: what it is.
        owner: whose it is: a node's id, a thread's or a loop's name; "" if nobody's.
        made_at: "file:line in function" of the application or the test, or of zfoo_py if nothing else was at work;
            "" if it was not seen being made.
    """

    kind: str
    what: str
    owner: str = ""
    made_at: str = ""

    def __str__(self) -> str:
        """Return one line that begins with the kind."""
        owner = f" of {self.owner}" if self.owner else ""
        return f"{self.kind}: {self.what}{owner}{f', made at {self.made_at}' if self.made_at else ''}"


def where() -> Place:
    """Return the innermost line outside of zfoo_py and asyncio that is at work, else the innermost one. About 1 µs."""
    current: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented way to learn the line
    innermost: FrameType | None = None
    while current is not None:
        file = current.f_code.co_filename
        if not file.startswith(HIDDEN):
            return Place(current.f_code, current.f_lineno)
        if innermost is None and not file.startswith(OURS):
            innermost = current
        current = current.f_back
    assert innermost is not None
    return Place(innermost.f_code, innermost.f_lineno)


def place_of(coroutine: Any) -> str:
    """Return where a coroutine was made, if its thread keeps that in mind, else where its function is."""
    origin: tuple[tuple[str, int, str], ...] = getattr(coroutine, "cr_origin", None) or ()
    for file, line, name in origin:
        if not file.startswith(HIDDEN):
            return f"{file}:{line} in {name}"
    code: CodeType | None = getattr(coroutine, "cr_code", None)
    return f"{code.co_filename}:{code.co_firstlineno} in {code.co_qualname}" if code is not None else ""


def of_runtime(runtime: Runtime, owner: str, place: Callable[[Any], str]) -> Iterator[Alive]:
    """Yield the sessions and other actors of a runtime. From any thread; what comes or goes meanwhile may be missed."""
    for actor in list(runtime.actors):
        if isinstance(actor, SessionActor):
            session = actor.session
            yield Alive("session", f"{session.sid} with {session.node_id or session.peer}", owner, place(actor))
        else:
            yield Alive("actor", type(actor).__name__, owner, place(actor))


def pending_tasks(loop: asyncio.AbstractEventLoop, owner: str) -> Iterator[Alive]:
    """Yield the tasks of a loop but the one that asks."""
    asking = asyncio.current_task() if asyncio._get_running_loop() is loop else None  # noqa: SLF001
    for task in asyncio.all_tasks(loop):
        if task is not asking:
            yield Alive("task", task.get_name(), owner, place_of(task.get_coro()))


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


def live_actors() -> Mapping[str, Any]:
    """Return urn → ref of the actors in Pykka's registry; a node's own loop actors are not in it."""
    pykka: Any = sys.modules.get("pykka")
    return {ref.actor_urn: ref for ref in pykka.ActorRegistry.get_all()} if pykka else {}
