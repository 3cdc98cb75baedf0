"""Session actors on a loop that does not run, with a clock that stands still: every message is handled at once."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

from tests.support.connection import RecordingConnection
from tests.support.packets import TABLE, VisitAnswer, VisitAsk
from zfoo_py.actor import Runtime
from zfoo_py.config import Limits
from zfoo_py.net import messages as m
from zfoo_py.net.handshake import WIRE_VERSION
from zfoo_py.net.seams import SessionEnv
from zfoo_py.net.session_actor import SessionActor
from zfoo_py.protocol.attachment import CLIENT_KEYED, CLIENT_KEYLESS
from zfoo_py.protocol.common import Hello
from zfoo_py.protocol.msgpack_codec import MsgpackCodec
from zfoo_py.protocol.packet import Packet
from zfoo_py.router.answer import Answer
from zfoo_py.testing import FakeClock

__all__ = ["PROVIDER", "Recorder", "SessionUnderTest", "World"]

PROVIDER = "provider-1 | 10.0.0.1:1111 | provider:[visits-visits]"


class Recorder:
    """Stands for a core actor: keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def tell(self, message: Any) -> None:
        self.told.append(message)

    def of(self, *kinds: type) -> list[Any]:
        """Return what it was told of these classes."""
        return [message for message in self.told if isinstance(message, kinds)]


class World:
    """One node's worth of what sessions need; use it in a ``with``."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None, **limits: Any) -> None:
        self.loop = asyncio.new_event_loop() if loop is None else loop
        self.clock = FakeClock()
        self.runtime = Runtime(self.loop, timers=self.clock)
        self.codec = MsgpackCodec(TABLE)
        self.registry = Recorder()
        self.consumer = Recorder()
        self.limits = Limits(**limits)
        self.takes = True
        self.flowing: list[Any] = []  # sessions whose peers read again, or that are over
        self.received: list[tuple[Any, Any, Any]] = []  # session, packet, attachment
        self.warnings: list[str] = []
        self.undelivered: list[tuple[str, str, str]] = []
        self.sids = 0
        self.env = SessionEnv(
            registry=self.registry,
            codec=self.codec,
            node="the node",
            receive=self._receive,
            flows=self.flowing.append,
            hello=lambda: Hello(WIRE_VERSION, "node", "us", "", self.limits.max_frame_bytes),
            limits=self.limits,
            warn=lambda _peer, text: self.warnings.append(text),
            clock_ms=lambda: 1_700_000_000_000,
            undelivered=lambda *names: self.undelivered.append(names),
        )

    def _receive(self, session: Any, _binding: Any, packet: Packet, attachment: Any) -> bool:
        self.received.append((session, packet, attachment))
        return self.takes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.loop.close()

    def session(self, side: str = "client", announced: str | None = None, watcher: Any = None) -> SessionUnderTest:
        """Open a session; it has said Hello and heard none."""
        return SessionUnderTest(self, side, announced, watcher)

    def up(self, side: str = "client", **hello: Any) -> SessionUnderTest:
        """Open a session and let the peer say a right Hello; what was written and told so far is forgotten."""
        session = self.session(side)
        session.hello(**hello)
        session.connection.writes.clear()
        self.registry.told.clear()
        return session

    def call(self, packet: Packet | None = None, *, in_s: float | None = None, back: bool = False) -> m.AskRecord:
        """Make an ask; ``in_s`` is a timeout of its own, ``back``: the consumer picks again."""
        packet = VisitAsk("?") if packet is None else packet
        binding = TABLE.binding(type(packet))
        timeout_s = self.limits.ask_timeout_s if in_s is None else in_s
        return m.AskRecord(
            binding=binding,
            head=self.codec.encode(packet),
            key=None,
            deadline_s=self.clock.time() + timeout_s,
            expects=binding.answer_class,
            answer=Answer(self.runtime),
            returns_to=self.consumer if back else None,
            is_default_timeout=in_s is None,
        )


class SessionUnderTest:
    """A session actor, its recording connection, and its peer's side of the wire."""

    def __init__(self, world: World, side: str, announced: str | None, watcher: Any) -> None:
        world.sids += 1
        self.world = world
        self.connection = RecordingConnection()
        runtime = world.runtime
        self.ref = self.spawn(world.env, world.sids, side, self.connection, announced, watcher)
        self.actor: SessionActor = self.ref.actor_inbox.actor
        self.session = self.actor.session
        runtime.drain()

    def spawn(self, *arguments: Any) -> Any:
        """Start the actor."""
        return self.world.runtime.spawn(SessionActor, *arguments)

    # --- what the node tells it

    def tell(self, *messages: Any) -> None:
        """Put messages into its inbox, then run everything."""
        for message in messages:
            self.ref.tell(message)
        run(self.world.runtime)

    def pause(self) -> None:
        """Let the transport say that it is full."""
        self.connection.is_full = True
        self.world.runtime.deliver(self.ref, m.WritePaused())

    def resume(self) -> None:
        """Let the transport say that it has room."""
        self.connection.is_full = False
        self.world.runtime.deliver(self.ref, m.WriteResumed())

    def ask(self, packet: Packet | None = None, *, lane: int | None = None, **how: Any) -> m.AskRecord:
        """Order an ask."""
        call = self.world.call(packet, **how)
        self.tell(m.Outbound(call, lane, PROVIDER))
        return call

    def send(self, packet: Packet) -> m.Send:
        """Order a packet one way."""
        order = self.make_send(packet)
        self.tell(order)
        return order

    def make_send(self, packet: Packet) -> m.Send:
        """Make the order for a packet one way."""
        world = self.world
        module = TABLE.binding(type(packet)).module.name
        undelivered, sent = world.env.undelivered, Answer(world.runtime)
        return m.Send(world.codec.encode(packet), None, type(packet).__name__, module, undelivered, sent)

    # --- what the peer does

    def receive(self, *frames: bytes) -> None:
        """Let frames come in one chunk."""
        self.connection.received_bytes += sum(map(len, frames))
        self.world.runtime.deliver(self.ref, chunk(*frames))

    def hello(self, **fields: Any) -> None:
        """Let the peer say Hello."""
        given = {"wire_version": WIRE_VERSION, "kind": "node", "node_id": "them", "registration": PROVIDER, **fields}
        self.receive(self.one_way(Hello(**given)))

    def one_way(self, packet: Packet, lane: int | None = None) -> bytes:
        """Return the peer's frame of a packet one way."""
        return self.world.codec.one_way_frame(self.world.codec.encode(packet), lane)

    def ask_frame(
        self, packet: Packet, signal_id: int = 1, lane: int | None = None, remaining_ms: int = 3000, timestamp: int = 0
    ) -> bytes:
        """Return the peer's frame of an ask."""
        client = CLIENT_KEYLESS if lane is None else CLIENT_KEYED
        head = self.world.codec.encode(packet)
        return self.world.codec.ask_frame(
            head, signal_id, client, -1 if lane is None else lane, remaining_ms, timestamp
        )

    def answer_frame(self, signal_id: int, packet: Packet | None = None) -> bytes:
        """Return the peer's frame of an answer."""
        return self.world.codec.answer_frame(self.world.codec.encode(packet or VisitAnswer("!")), signal_id)

    # --- what the peer sees

    def written(self) -> list[tuple[Packet, Any]]:
        """Return packets and attachments of all that was written, and forget it."""
        decoded = [self.world.codec.decode(body)[1:] for body in self.connection.bodies()]
        self.connection.writes.clear()
        return decoded

    def packets(self) -> list[Packet]:
        """Return the packets of all that was written, and forget it."""
        return [packet for packet, _ in self.written()]

    def signal_ids(self) -> list[int]:
        """Return the signal ids of all asks that were written, and forget it."""
        return [attachment.signal_id for _, attachment in self.written()]

    @property
    def is_closed(self) -> bool:
        """Whether the connection is closed and the actor gone."""
        return "close" in self.connection.calls and not self.ref.is_alive()


def run(runtime: Runtime) -> None:
    """Run turns until none is left, as a loop would."""
    runtime.drain()
    while runtime._ready:
        runtime.drain()


def chunk(*frames: bytes, error: Any = None) -> m.Received:
    """Return what a connection tells of one chunk."""
    return m.Received([frame[4:] for frame in frames], sum(map(len, frames)), error)
