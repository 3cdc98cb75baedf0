"""What a session is: its states, its record, and the handle that receivers get.

Theory of operation. A session is one TCP connection between two nodes, or between a client and a node. It
begins when the connection stands (``CONNECTING``), exchanges one Hello each way (``HELLO``), carries packets
(``UP``), may be told by either side to finish what it has and take nothing new (``DRAINING``), and ends
(``DOWN``). Every change of state is a line of `TRANSITIONS`; an event that has no line in a state is a bug
and raises `IllegalTransitionError`. An event that may come late and means nothing then has a line that stays.
"""

from __future__ import annotations

from contextlib import suppress
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from zfoo_py.actor import ActorDeadError
from zfoo_py.errors import BackpressureError, IllegalTransitionError, InboxFullError, SessionClosedError
from zfoo_py.net.handshake import known_capabilities, served_modules
from zfoo_py.net.messages import BindUid, Close, ProviderUp, Send, SessionUp
from zfoo_py.net.transit import Transit
from zfoo_py.protocol.registration import parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from zfoo_py.actor import LoopActorRef
    from zfoo_py.node import Node
    from zfoo_py.protocol.common import Hello
    from zfoo_py.protocol.msgpack_codec import MsgpackCodec
    from zfoo_py.protocol.packet import Packet

__all__ = ["TRANSITIONS", "Session", "SessionEvent", "SessionRecord", "SessionState", "advance"]


class SessionState(Enum):
    """Where a session is in its life."""

    CONNECTING = auto()
    HELLO = auto()
    UP = auto()
    DRAINING = auto()
    DOWN = auto()


class SessionEvent(Enum):
    """What can happen to a session."""

    OPENED = auto()  # the connection stands
    WELCOMED = auto()  # the peer's Hello was right
    DRAIN = auto()  # either side stops taking new work
    LOST = auto()  # the connection ended, for whatever reason, or we end it


_S, _E = SessionState, SessionEvent

TRANSITIONS: Final[dict[tuple[SessionState, SessionEvent], SessionState]] = {
    (_S.CONNECTING, _E.OPENED): _S.HELLO,
    (_S.CONNECTING, _E.LOST): _S.DOWN,
    (_S.HELLO, _E.WELCOMED): _S.UP,
    (_S.HELLO, _E.LOST): _S.DOWN,
    (_S.UP, _E.DRAIN): _S.DRAINING,
    (_S.UP, _E.LOST): _S.DOWN,
    (_S.DRAINING, _E.DRAIN): _S.DRAINING,  # both sides may say it
    (_S.DRAINING, _E.LOST): _S.DOWN,
    (_S.DOWN, _E.LOST): _S.DOWN,  # our close is followed by the transport's
    (_S.DOWN, _E.DRAIN): _S.DOWN,
}


def advance(state: SessionState, event: SessionEvent) -> SessionState:
    """Return the state after ``event``.

    Raises:
        IllegalTransitionError: the table has no such line.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        msg = f"a session in state {state.name} cannot take {event.name}"
        raise IllegalTransitionError(msg) from None


class SessionRecord(msgspec.Struct, frozen=True):
    """What the registry knows of one session; plain values.

    Attributes:
        sid: id of the session, unique in the node, from 1 (zfoo: one counter for both sides).
        side: "server" (they dialled us) or "client" (we dialled them).
        kind: the peer's kind, "node" or "client".
        peer, local: "host:port".
        node_id: the peer's id, "" for an outside client.
        registration: the peer's registration text as announced, "" if it has none.
        opened_at_s: the node's monotonic clock when the session came up.
        uid: id of the user logged in on it, 0 for none.
        frames_in, frames_out, bytes_in, bytes_out: counters as of the last report.
        latency_ms: from the last heartbeat to its reply, as of the last report; 0.0 before the first.
    """

    sid: int
    side: Literal["server", "client"]
    kind: str
    peer: str
    local: str
    node_id: str
    registration: str
    opened_at_s: float
    uid: int = 0
    frames_in: int = 0
    frames_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    latency_ms: float = 0.0


class Session:
    """A receiver's handle of the session its packet came by; usable on any thread.

    Attributes:
        sid, side, kind, peer, node_id: as in `SessionRecord`; they never change.
        serves: the modules that the peer may ask this node for; see `zfoo_py.net.handshake.served_modules`.
        can: capabilities that the peer's Hello names.
        uid: id of the user bound to it by `bind_uid`, 0 for none.
        is_up: True while packets can be sent: from the Hello until the session is lost.
        node: the node it belongs to, with ``consumer``, ``router`` and ``events``.
    """

    __slots__ = (
        "_codec",
        "_node",
        "_undelivered",
        "can",
        "is_up",
        "kind",
        "lane",
        "node_id",
        "peer",
        "ref",
        "serves",
        "sid",
        "side",
        "transit",
        "uid",
        "writable",
    )

    def __init__(
        self,
        *,
        sid: int,
        side: Literal["server", "client"],
        peer: str,
        codec: MsgpackCodec,
        ref: LoopActorRef[Any],
        node: Any,
        undelivered: Callable[[str, str, str], None],
    ) -> None:
        self.sid = sid
        self.side = side
        self.peer = peer
        self.kind = ""
        self.node_id = ""
        self.uid = 0
        self.is_up = False
        # Advice for senders on any thread; the SessionActor, which owns the buffer, is the one that refuses.
        self.writable = True
        self.ref = ref
        self.serves: frozenset[str] = frozenset()
        self.can: frozenset[str] = frozenset()
        self.transit = Transit()  # of the peer's asks
        self.lane: Any = None  # the router's note of this session's lane
        self._codec = codec
        self._node = node
        self._undelivered = undelivered

    def __repr__(self) -> str:
        return f"<Session {self.sid} {self.side} {self.node_id or self.kind or '?'} {self.peer}>"

    @property
    def node(self) -> Node:
        """The node this session belongs to."""
        node: Node = self._node
        return node

    def introduce(self, hello: Hello, provides: frozenset[tuple[str, str]]) -> None:
        """Take what the peer's Hello says of it; ``provides``: (module, group) of everything this node provides."""
        self.kind = hello.kind
        self.node_id = hello.node_id
        self.can = known_capabilities(tuple(hello.capabilities))
        self.serves = served_modules(provides, tuple(hello.consumes))

    def facts(self, hello: Hello, local: str, now_s: float) -> tuple[SessionUp, ProviderUp | None]:
        """Return what the registry is to hear when the session comes up: of it, and of the provider we dialled."""
        record = SessionRecord(
            sid=self.sid,
            side=self.side,
            kind=self.kind,
            peer=self.peer,
            local=local,
            node_id=self.node_id,
            registration=hello.registration,
            opened_at_s=now_s,
            uid=self.uid,
        )
        registration = parse(hello.registration) if self.side == "client" and hello.registration else None
        provider = None
        if registration is not None and registration.provides:
            provider = ProviderUp(self.sid, registration, self.ref, hello.weight)
        return SessionUp(record, self.ref, self), provider

    def send(self, packet: Packet) -> None:
        """Push a packet to the peer: never an answer, never answered.

        Raises:
            EncodeError, UnmappedPacketError: at once; nothing was sent.
            SessionClosedError: the session is not up.
            BackpressureError: the peer reads too slowly and the outbox is full.
        """
        head = self._codec.encode(packet)
        name = type(packet).__name__
        module = self._codec.table.binding(type(packet)).module.name
        if not self.writable:
            msg = f"the outbox of session {self.sid} to {self.peer} is full; {name} was not sent: send less, or later"
            raise BackpressureError(msg, module=module, packet=name, sid=self.sid)
        self._tell(Send(head, None, name, module, self._undelivered), f"{name} was not sent")

    def _tell(self, order: Send | BindUid, consequence: str) -> None:
        try:
            if self.is_up:
                self.ref.tell(order)
                return
        except (ActorDeadError, InboxFullError) as error:
            msg = f"session {self.sid} to {self.peer} takes nothing any more ({error}); {consequence}"
            raise SessionClosedError(msg, may_have_run=False, sid=self.sid) from error
        msg = f"session {self.sid} to {self.peer} is closed; {consequence}"
        raise SessionClosedError(msg, may_have_run=False, sid=self.sid)

    def bind_uid(self, uid: int) -> None:
        """Log a user in on this session: from now on its packets without key share the lane of key=uid.

        Args:
            uid: a positive integer below 2**63, as in zfoo.

        Raises:
            ValueError: it is none.
            SessionClosedError: the session is not up.
        """
        if type(uid) is not int or not 0 < uid < 1 << 63:
            msg = f"a uid is an int from 1 to 2**63-1, not {uid!r}"
            raise ValueError(msg)
        self._tell(BindUid(self.sid, uid), f"uid {uid} was not bound")
        self.uid = uid

    def close(self) -> None:
        """Close the session after everything sent before; harmless if it is closed."""
        with suppress(ActorDeadError, InboxFullError):
            self.ref.tell(Close("closed by the application"))
