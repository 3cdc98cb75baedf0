"""Every message of the session layer: facts and orders, frozen.

Read this first: who says what to whom.

    tcp_io      → SessionActor    Received, WritePaused, WriteResumed, Lost
    connector   → SessionActor    Retire, Abort
    consumer    → SessionActor    Outbound, Send
    router      → SessionActor    Reply, Finished, Outbound, Send, Close, BindUid
    Answer      → SessionActor    CancelAsk
    engine      → SessionActor    Drain, Retire, Abort
    SessionActor→ RegistryActor   SessionUp, SessionDown, ProviderUp, ProviderDown, BindUid, CountersReport,
                                  SessionReport (the answer to ReportYourself)
    SessionActor→ whoever asked   Undelivered (an Outbound or Send that was never written), LostInFlight,
                                  Refused
    connector   → RegistryActor   Reweighed
    whoever     → RegistryActor   Subscribe, ListSessions, AskVersion
    RegistryActor→ subscribers    Snapshot, MembershipChange; VersionIs (the answer to AskVersion)
    RegistryActor→ SessionActor   ReportYourself (after a restart of the registry)
    timers      → their owners    Expire, HeartbeatDue, HelloLate, CountersDue, PausedLong, LookAgain

Those that inherit `Control` overtake all others (see `zfoo_py.actor`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from zfoo_py.actor import Control, CoreRef, LoopActorRef, LoopFuture

if TYPE_CHECKING:
    from collections.abc import Callable

    from zfoo_py.errors import FrameError
    from zfoo_py.net.ask_future import AskFuture
    from zfoo_py.protocol.packet import Binding, Packet
    from zfoo_py.protocol.registration import Registration

__all__ = [
    "AskRecord",
    "AskVersion",
    "BindUid",
    "CancelAsk",
    "Close",
    "CountersDue",
    "CountersReport",
    "Drain",
    "Expire",
    "Finished",
    "HeartbeatDue",
    "HelloLate",
    "ListSessions",
    "LookAgain",
    "Lost",
    "LostInFlight",
    "MembershipChange",
    "Outbound",
    "PausedLong",
    "ProviderDown",
    "ProviderUp",
    "Received",
    "Refused",
    "Reply",
    "ReportYourself",
    "Retire",
    "Reweighed",
    "Send",
    "SessionDown",
    "SessionReport",
    "SessionUp",
    "Snapshot",
    "Subscribe",
    "Undelivered",
    "VersionIs",
    "WritePaused",
    "WriteResumed",
]


class AskRecord(msgspec.Struct, frozen=True):
    """One ask, from the call site to its outcome.

    Attributes:
        binding: of the asked packet.
        head: the packet, encoded in the caller's context.
        key: the balancing key; None if there is none.
        deadline_s: on the node's monotonic clock.
        expects: class of the answer, or None for any.
        answer: what the caller waits for.
        returns_to: who picks again if it was never written; None: the ask fails.
        is_default_timeout: its timeout is the node's default, so deadlines come in order of asking.
        tries: how often it was picked before.
        may_have_run: it was written before, to a session that was lost: whatever comes of it now, its receiver
            may have run.
        refused_by: ring name of a provider that has refused it, so that another one is picked.
        was_overloaded: it was refused as too much once; a second time is the end.
        timeout_s: what it was given when it was made, ``timeout_s`` before its deadline.
        chain: the asks in whose receivers it was made (`zfoo_py.router.chains`); "" outside of receivers.
    """

    binding: Binding
    head: bytes
    key: Any
    deadline_s: float
    expects: type[Packet] | None
    answer: AskFuture[Any]
    returns_to: CoreRef | None
    is_default_timeout: bool
    tries: int = 0
    may_have_run: bool = False
    refused_by: str = ""
    was_overloaded: bool = False
    timeout_s: float = 0.0
    chain: str = ""


class CancelAsk(msgspec.Struct, frozen=True):
    """Order: nobody waits for this ask any more; forget it, and tell the peer. ``answer`` makes sure it is that one."""

    answer: Any
    signal_id: int


class Outbound(msgspec.Struct, frozen=True):
    """Order: send this ask. Its lane is the 32-bit task hash of the key, None without key."""

    call: AskRecord
    lane: int | None
    provider: str


class Send(msgspec.Struct, frozen=True):
    """Order: send this packet one way.

    Attributes:
        head: the packet, encoded in the caller's context.
        lane: where it is to be handled, None without key.
        packet, module, provider: names, for errors.
        undelivered: told (packet, module, reason) if it cannot be sent.
        sent: settled when it is in the outbox, or cannot be.
        order: the consumer's order it came from, given back to ``returns_to`` if it was never written.
    """

    head: bytes
    lane: int | None
    packet: str
    module: str
    undelivered: Callable[[str, str, str], None]
    sent: LoopFuture[None] | None = None
    provider: str = ""
    order: Any = None
    returns_to: CoreRef | None = None


class Reply(msgspec.Struct, frozen=True):
    """Order: answer the peer's ask with this encoded packet; ``finishes``: its receiver is out of work too."""

    signal_id: int
    head: bytes
    finishes: bool


class Finished(msgspec.Struct, frozen=True):
    """Fact: a packet of this session's is out of work."""


class Close(msgspec.Struct, frozen=True):
    """Order: close the session after everything sent before."""

    reason: str


class Retire(msgspec.Struct, frozen=True):
    """Order: take no new asks, finish those in flight, then close."""

    reason: str


class Drain(msgspec.Struct, frozen=True):
    """Order: tell the peer that this node stops; the peer closes when it has its answers."""


class BindUid(msgspec.Struct, frozen=True):
    """Order: this user is logged in on this session."""

    sid: int
    uid: int


class Received(msgspec.Struct, frozen=True):
    """Fact: one chunk held these complete frames, and perhaps a fault after them."""

    bodies: list[Any]
    byte_count: int
    error: FrameError | None


class WritePaused(Control, frozen=True):
    """Fact: the transport holds more than the outbox limit; overtakes the orders that would make it hold more."""


class WriteResumed(Control, frozen=True):
    """Fact: the transport has room again."""


class Lost(msgspec.Struct, frozen=True):
    """Fact: the connection has ended; handled after every frame received before."""

    reason: str


class Undelivered(msgspec.Struct, frozen=True):
    """Fact: this order was never written; picking again is safe."""

    order: Any
    reason: str


class LostInFlight(msgspec.Struct, frozen=True):
    """Fact: this ask of an idempotent packet was written to a session that was lost; ``error`` if nobody repeats it."""

    call: AskRecord
    error: Exception


class Refused(msgspec.Struct, frozen=True):
    """Fact: a provider has refused this ask before its receiver began; ``error`` if nobody else takes it."""

    call: AskRecord
    provider: str
    code: int
    error: Exception


class Expire(msgspec.Struct, frozen=True):
    """Fact: the earliest deadline of the pending asks has come."""


class CountersDue(msgspec.Struct, frozen=True):
    """Fact: it is time to report the counters to the registry."""


class HelloLate(msgspec.Struct, frozen=True):
    """Fact: ``hello_timeout_s`` has passed since the connection stood."""


class HeartbeatDue(Control, frozen=True):
    """Fact: the heartbeat interval or wait has passed."""


class PausedLong(Control, frozen=True):
    """Fact: nothing has been read from the peer for as long as slow receivers may cause that."""


class SessionUp(Control, frozen=True):
    """Fact: a session carries packets; ``record`` is a `zfoo_py.net.session.SessionRecord`."""

    record: Any
    ref: LoopActorRef[Any]
    session: Any


class SessionDown(Control, frozen=True):
    """Fact: a session has ended; ``is_proven``: the peer had shown before that it speaks the session's codec."""

    sid: int
    reason: str
    is_proven: bool = True


class ProviderUp(Control, frozen=True):
    """Fact: a session to this provider takes asks; again, with another weight: its weight has changed."""

    sid: int
    registration: Registration
    ref: LoopActorRef[Any]
    weight: int = 1


class ProviderDown(Control, frozen=True):
    """Fact: this session takes no more asks."""

    sid: int
    reason: str


class Reweighed(Control, frozen=True):
    """Fact: discovery says that the provider of this session has another weight now."""

    sid: int
    weight: int


class CountersReport(Control, frozen=True):
    """Fact: a session's counters, once a second while they change."""

    sid: int
    frames_in: int
    frames_out: int
    bytes_in: int
    bytes_out: int
    latency_ms: float = 0.0


class Subscribe(Control, frozen=True):
    """Order: send me a Snapshot now and every MembershipChange after it."""

    subscriber: CoreRef


class Snapshot(Control, frozen=True):
    """Fact: the providers as of a membership version."""

    version: int
    providers: tuple[ProviderUp, ...]


class MembershipChange(Control, frozen=True):
    """Fact: change number ``version``; the one before had ``version - 1``."""

    version: int
    change: ProviderUp | ProviderDown


class AskVersion(Control, frozen=True):
    """Question: which is the last change? `VersionIs` follows, in order with the changes."""

    subscriber: CoreRef


class VersionIs(Control, frozen=True):
    """Fact: whoever has had every MembershipChange is at this version now."""

    version: int


class LookAgain(msgspec.Struct, frozen=True):
    """Fact: it is time to look whether every session has reported, or ended."""


class ListSessions(msgspec.Struct, frozen=True):
    """Question: the records of all sessions, or of those of one uid, or of one provided module."""

    uid: int | None = None
    module: str | None = None


class ReportYourself(Control, frozen=True):
    """Order: tell the (new) registry who you are."""

    registry_life: int


class SessionReport(Control, frozen=True):
    """Fact: what a session is, for a registry that starts anew; None where it is not up."""

    registry_life: int
    urn: str
    up: SessionUp | None
    provider: ProviderUp | None
