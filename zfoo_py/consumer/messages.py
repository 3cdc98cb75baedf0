"""The messages of the consumer: who provides what, what discovery says, what is asked one way.

Consumer (facade)  → ConsumerActor    AskRecord (zfoo_py.net.messages), SendOrder, Retry
RegistryActor      → ConsumerActor    Snapshot, MembershipChange (zfoo_py.net.messages)
AlertActor         → ConsumerActor    TakeFigures
anyone             → ConsumerActor    WhenReady, TakeStats, Explain, ExplainChange (questions), RegistryRestarted
timers             → ConsumerActor    Tick, Sweep
timers             → AlertActor       LookAround
ConsumerActor      → AlertActor       ConsumerFigures (zfoo_py.consumer.figures)
anyone             → AlertActor       TakeAlerts (question)
Discovery          → ConnectorActor   Announced, DiscoverySilent
Engine             → ConnectorActor   WhenTried
SessionActor       → ConnectorActor   TargetUp, TargetDown
dialling           → ConnectorActor   DialFailed; its own timers: Redial, DialRoom, GraceOver
sessions           → DirectoryActor   Registered, Unregistered, Watching, SessionDown
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from zfoo_py.actor import Control, CoreRef, LoopActorRef, LoopFuture

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zfoo_py.net.session import Session
    from zfoo_py.protocol.packet import Binding

__all__ = [
    "JAVA",
    "MSGPACK",
    "Announced",
    "DialFailed",
    "DialRoom",
    "DiscoverySilent",
    "Explain",
    "ExplainChange",
    "GraceOver",
    "LookAround",
    "Redial",
    "Registered",
    "RegistryRestarted",
    "Retry",
    "SendOrder",
    "Sweep",
    "TakeAlerts",
    "TakeFigures",
    "TakeStats",
    "Target",
    "TargetDown",
    "TargetUp",
    "Tick",
    "Unregistered",
    "Watching",
    "WhenReady",
    "WhenTried",
]


# The codecs that a provider may speak, as discovery names them.
MSGPACK = "msgpack"
JAVA = "zfoo-java"
JSON = "zfoo-json"


class SendOrder(msgspec.Struct, frozen=True):
    """Order: send this packet one way to the provider of its key; ``sent`` ends when it is in an outbox."""

    binding: Binding
    head: bytes
    key: Any
    sent: LoopFuture[None]
    tries: int = 0


class Retry(msgspec.Struct, frozen=True):
    """Order: pick again for what came back unwritten (an AskRecord or a SendOrder)."""

    order: Any
    reason: str


class Tick(Control, frozen=True):
    """Fact: a tick of the coarse clock that cache entries are dated with has passed; lost, it would be the last."""


class Sweep(Control, frozen=True):
    """Order: go on with the background sweep of the caches, for one bounded turn; lost, it would be the last."""


class RegistryRestarted(Control, frozen=True):
    """Fact: the registry is a new one; subscribe again."""


class WhenReady(msgspec.Struct, frozen=True):
    """Order: settle ``ready`` once every consumed module has a provider."""

    ready: LoopFuture[None]


class WhenTried(msgspec.Struct, frozen=True):
    """Order: settle ``tried`` once each target of the first snapshot has a session, or has failed once."""

    tried: LoopFuture[None]


class TakeStats(msgspec.Struct, frozen=True):
    """Question: the consumer's figures, as `zfoo_py.consumer.figures.ConsumerFigures.as_dict` gives them."""


class TakeAlerts(msgspec.Struct, frozen=True):
    """Question: which alerts were raised, and which hold now."""


class LookAround(Control, frozen=True):
    """Fact: it is time to look for alerts; lost, it would be the last."""


class TakeFigures(msgspec.Struct, frozen=True):
    """Order: tell ``to`` the consumer's figures, as `zfoo_py.consumer.figures.ConsumerFigures`."""

    to: CoreRef


class Explain(msgspec.Struct, frozen=True):
    """Question: why a key of a module goes where it goes, as `zfoo_py.consumer.explain.Explanation`."""

    module: str
    key: Any


class ExplainChange(msgspec.Struct, frozen=True):
    """Question: what a membership version did, a `ChangeReport` per service type; None: the last change of each."""

    version: int | None


class Target(msgspec.Struct, frozen=True):
    """A provider to connect to.

    Attributes:
        text: its registration as announced, or "" where only the address is known (static).
        address: "host:port".
        codec: what it speaks there.
    """

    text: str
    address: str
    codec: str = MSGPACK


class Announced(msgspec.Struct, frozen=True):
    """Fact: what discovery says.

    Attributes:
        joined: providers that are there.
        left: providers that said goodbye: finish what is in flight with them, then close.
        lost: providers whose registration ended without goodbye: do not dial them any more, but silence alone
            closes nothing.
        snapshot: ``joined`` is all there is; whoever is missing is treated as lost, for ever.
        weights: of those that joined, where it is not 1.
        grace_s: those lost that are not back after so many seconds are drained; None: never.
    """

    joined: tuple[Target, ...] = ()
    left: tuple[Target, ...] = ()
    lost: tuple[Target, ...] = ()
    snapshot: bool = False
    weights: Mapping[Target, int] = {}
    grace_s: float | None = None


class DiscoverySilent(msgspec.Struct, frozen=True):
    """Fact: discovery cannot be heard now, so what it said last of those lost may be wrong: drain nobody for it."""


class TargetUp(msgspec.Struct, frozen=True):
    """Fact: a session to the target carries packets."""

    target: Target
    ref: LoopActorRef[Any]
    session: Session


class TargetDown(msgspec.Struct, frozen=True):
    """Fact: the session to the target has ended; ``is_proven``: whoever is there had shown that it speaks its codec."""

    target: Target
    reason: str
    is_proven: bool = True


class DialFailed(msgspec.Struct, frozen=True):
    """Fact: no session to the target could be opened."""

    target: Target
    reason: str


class Redial(msgspec.Struct, frozen=True):
    """Fact: the backoff of a target is over."""

    target: Target


class DialRoom(msgspec.Struct, frozen=True):
    """Fact: one more target may be dialled now."""


class GraceOver(msgspec.Struct, frozen=True):
    """Fact: a target that was lost has not come back in time."""

    target: Target


class Registered(msgspec.Struct, frozen=True):
    """Order of a session: this registration lives as long as I do."""

    session: Session
    text: str
    weight: int = 1


class Unregistered(msgspec.Struct, frozen=True):
    """Order of a session: this registration says goodbye."""

    session: Session
    text: str


class Watching(msgspec.Struct, frozen=True):
    """Order of a session: send me what is registered now and every change."""

    session: Session
