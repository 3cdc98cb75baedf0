"""Nodes over real loopback sockets, a service that does what it is asked, and what a SIGKILL does to one."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from loguru import logger

from zfoo_py import (
    Ask,
    Node,
    Packet,
    PacketTable,
    ProtocolModule,
    disable_logging,
    enable_logging,
    log,
    packet_receiver,
)
from zfoo_py.net.session_actor import SessionActor

__all__ = [
    "HANG_S",
    "TABLE",
    "Tallies",
    "Tally",
    "TallyAnswer",
    "TallyAsk",
    "TallyNote",
    "consumer_of",
    "crash",
    "eventually",
    "hosting",
    "logged",
    "other",
    "pair",
    "pending",
    "provider_at",
    "providers",
    "sessions_of",
    "tallies",
]

# A test that waits longer has found a hang.
HANG_S = 20.0

TABLE = PacketTable()
tallies = ProtocolModule(70, "tallies", table=TABLE)
other = ProtocolModule(71, "other", table=TABLE)


@tallies.packet(7001)
class TallyAnswer(Packet):
    """How often this key was counted here, and by whom."""

    key: str
    count: int
    served_by: str


@tallies.packet(7000, balance_by="key")
class TallyAsk(Ask[TallyAnswer]):
    """Count a key. `how`: "wait" until `Tallies.go_on`, "slow" beyond every deadline, "big" answers."""

    key: str
    how: str = ""


@tallies.packet(7002, balance_by="key")
class TallyNote(Packet):
    """Count a key, one way; pushed back, it is counted at the consumer."""

    key: str
    data: bytes = b""


@other.packet(7100)
class Tally(Packet):
    """A packet of a module that nobody serves."""

    key: str
    data: bytes = b""


class Tallies:
    """Counts keys.

    Attributes:
        started: set when a receiver begins to wait.
        go_on: what it waits for.
        notes: what came one way.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.counts: Counter[str] = Counter()
        self.started = asyncio.Event()
        self.go_on = asyncio.Event()
        self.notes: list[str] = []
        self.noted = asyncio.Event()

    @packet_receiver
    async def at_tally_ask(self, _session: Any, ask: TallyAsk) -> TallyAnswer:
        self.counts[ask.key] += 1
        count = self.counts[ask.key]
        if ask.how == "wait":
            self.started.set()
            await self.go_on.wait()
        return TallyAnswer("x" * 100_000 if ask.how == "big" else ask.key, count, self.name)

    @packet_receiver
    async def at_tally_note(self, _session: Any, note: TallyNote) -> None:
        self.notes.append(note.key)
        self.noted.set()


def hosting(**more: Any) -> Node:
    """Return a node that hosts the embedded discovery on a free port."""
    return Node(id="discovery", receivers=[], discovery={"address": "127.0.0.1:0", "host": True}, table=TABLE, **more)


def provider_at(where: str, served: Tallies, **more: Any) -> Node:
    """Return a provider that registers with the discovery at this address."""
    given = {"provides": [tallies], "reconnect_min_s": 0.01, **more}
    return Node(id=served.name, receivers=[served], discovery={"address": where}, table=TABLE, **given)


def consumer_of(where: str, **more: Any) -> Node:
    """Return a consumer that finds its providers with the discovery at this address."""
    given = {"id": "c", "consumes": [tallies], "receivers": [], "reconnect_min_s": 0.01, **more}
    return Node(discovery={"address": where}, table=TABLE, **given)


@asynccontextmanager
async def pair(
    served: Tallies | None = None, *, provider: dict[str, Any] | None = None, **consumer: Any
) -> AsyncIterator[tuple[Tallies, Node, Node]]:
    """One provider and one consumer that knows its address; whatever waits at the end goes on."""
    tally = served or Tallies("p")
    given = {"provides": [tallies], "receivers": [tally], **(provider or {})}
    async with Node(id="p", discovery="static", table=TABLE, **given) as p:
        where = {"kind": "static", "addresses": [p.address]}
        asked = {"consumes": [tallies], "receivers": [], "id": "c", "reconnect_min_s": 0.01, **consumer}
        async with Node(discovery=where, table=TABLE, **asked) as c:
            try:
                yield tally, p, c
            finally:
                tally.go_on.set()


async def eventually(condition: Callable[[], Any] | Callable[[], Awaitable[Any]]) -> None:
    """Let the loop turn until a condition holds that has no event of its own."""
    async with asyncio.timeout(HANG_S):
        while True:
            holds: Any = condition()
            if asyncio.iscoroutine(holds):
                holds = await holds
            if holds:
                return
            await asyncio.sleep(0)


def sessions_of(node: Node, side: str | None = None) -> list[SessionActor]:
    """Return the living session actors of a node."""
    assert node._engine is not None
    actors = [actor for actor in node._engine.runtime.actors if isinstance(actor, SessionActor)]
    return [actor for actor in actors if side is None or actor.session.side == side]


def providers(node: Node) -> list[str]:
    """Return the ids of the providers that a consumer of one module knows."""
    assert node._engine is not None
    [service] = node._engine._services
    return sorted(provider.node_id for provider in service.view.providers)


def pending(node: Node) -> int:
    """Return how many asks of a node are in flight."""
    return sum(len(actor._pending) + len(actor.outbox.parked) for actor in sessions_of(node))


async def crash(node: Node) -> None:
    """End a node as a SIGKILL would: no goodbye, every connection broken."""
    assert node._engine is not None
    for actor in sessions_of(node):
        actor._connection.abort()
    await node._engine.stop()
    node._state = "stopped"


@contextmanager
def logged(level: str = "WARNING") -> Iterator[list[str]]:
    """Collect what zfoo_py logs; lines are bounded in rate for the whole process, other tests must not count."""
    lines: list[str] = []
    before, log._SHARED = log._SHARED, log.RateLimiter()
    lock = threading.Lock()

    def sink(line: Any) -> None:
        with lock:
            lines.append(str(line))

    number = logger.add(sink, level=level, format="{level} {message}")
    enable_logging()
    try:
        yield lines
    finally:
        disable_logging()
        logger.remove(number)
        log._SHARED = before
