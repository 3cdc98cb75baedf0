"""The soak's providers, in memory: each answers an ask in a few microseconds, so that the consumer is what is loaded.

They come and go as real ones do: with goodbye (they leave discovery, the consumer lets its asks end), and by SIGKILL
(their connections break). A new one has a new name and a new address, so whatever the consumer keeps per provider, and
does not let go, grows.
"""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from zfoo_py import Ask, Packet, PacketTable, ProtocolModule
from zfoo_py.consumer.messages import Announced, Target
from zfoo_py.net.handshake import WIRE_VERSION
from zfoo_py.protocol.attachment import SignalAttachment
from zfoo_py.protocol.common import Hello, Ping, Pong
from zfoo_py.protocol.framing import FrameParser
from zfoo_py.protocol.msgpack_codec import MsgpackCodec
from zfoo_py.protocol.registration import Registration, ServiceName
from zfoo_py.testing import MemoryNetwork

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping
    from random import Random

__all__ = ["ASKS", "BALANCERS", "MODULES", "TABLE", "Place", "Providers", "Served"]

TABLE = PacketTable()
CODEC = MsgpackCodec(TABLE)
MAX_FRAME_BYTES = 64 * 1024
# So many nodes; each offers two types, so that one process is in two rings.
FEWEST, FIRST, MOST = 9, 12, 15

# The four types of promise M1 come first. The others are for promise R1: other policies over the same providers.
BALANCERS = {
    "visits": "cached-consistent-hash",
    "sessions": "cached-consistent-hash",
    "rooms": "cached-consistent-hash",
    "carts": "cached-consistent-hash",
    "prices": "consistent-hash",
    "mails": "random",
    "stock": "consistent-hash",
    "scores": "cached-consistent-hash",
}
MODULES = {name: ProtocolModule(20 + place, name, table=TABLE) for place, name in enumerate(BALANCERS)}


@MODULES["visits"].packet(1000)
class Served(Packet):
    """Who has answered: its ring name, and the module that it was asked as."""

    by: str
    module: str


@MODULES["visits"].packet(1001, idempotent=True)
class VisitAsk(Ask[Served]):
    """Keyed by a number."""


@MODULES["sessions"].packet(1002, idempotent=True)
class SessionAsk(Ask[Served]):
    """Keyed by a text."""


@MODULES["rooms"].packet(1003, idempotent=True)
class RoomAsk(Ask[Served]):
    """Keyed by a pair."""


@MODULES["carts"].packet(1004, idempotent=True)
class CartAsk(Ask[Served]):
    """Keyed by bytes."""


@MODULES["prices"].packet(1005, idempotent=True)
class PriceAsk(Ask[Served]):
    """Keyed by a number."""


@MODULES["mails"].packet(1006, idempotent=True)
class MailAsk(Ask[Served]):
    """Keyed by a number."""


@MODULES["stock"].packet(1007, idempotent=True)
class StockAsk(Ask[Served]):
    """Keyed by a text."""


@MODULES["scores"].packet(1008, idempotent=True)
class ScoreAsk(Ask[Served]):
    """Keyed by a number."""


# module → (its question, number → key). Equal numbers are equal keys of several types.
ASKS: dict[str, tuple[Packet, Callable[[int], Any]]] = {
    "visits": (VisitAsk(), lambda number: number),
    "sessions": (SessionAsk(), lambda number: f"user-{number}"),
    "rooms": (RoomAsk(), lambda number: ("room", number)),
    "carts": (CartAsk(), lambda number: number.to_bytes(8, "big")),
    "prices": (PriceAsk(), lambda number: number),
    "mails": (MailAsk(), lambda number: number),
    "stock": (StockAsk(), lambda number: f"user-{number}"),
    "scores": (ScoreAsk(), lambda number: number),
}


class Place(NamedTuple):
    """A provider that is there."""

    host: str
    registration: Registration

    @property
    def target(self) -> Target:
        """Return what discovery says of it."""
        return Target(self.registration.text, self.registration.address or "")


class _Connection:
    """A provider's end of the consumer's session: says Hello, answers asks and pings."""

    def __init__(self, registration: Registration) -> None:
        self._hello = Hello(
            wire_version=WIRE_VERSION,
            kind="node",
            node_id=registration.id,
            registration=registration.text,
            max_frame_bytes=MAX_FRAME_BYTES,
        )
        self._answers: dict[str, bytes] = {}
        self._ring_name = registration.ring_name
        self._parser = FrameParser(MAX_FRAME_BYTES)
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        frames = []
        for body in self._parser.feed(data):
            binding, packet, attachment = CODEC.decode(body)
            if isinstance(attachment, SignalAttachment):
                module = binding.module.name
                head = self._answers.get(module)
                if head is None:
                    head = self._answers[module] = CODEC.encode(Served(self._ring_name, module))
                frames.append(CODEC.answer_frame(head, attachment.signal_id))
            elif isinstance(packet, Hello):
                frames.append(CODEC.one_way_frame(CODEC.encode(self._hello), None))
            elif isinstance(packet, Ping):
                frames.append(CODEC.one_way_frame(CODEC.encode(Pong(0)), None))
        if frames:
            self._transport.write(b"".join(frames))

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None

    def pause_writing(self) -> None:
        """Write on: the consumer reads."""

    def resume_writing(self) -> None:
        """Write on."""


class Providers:
    """All providers, the network they live in, and their discovery (`zfoo_py.consumer.discovery.Discovery`).

    Args:
        modules: the service types.
        rng: decides who goes.

    Attributes:
        network: for the consumer's node.
        there: who is there now.
        offers: ring name → modules, of everybody there ever was; the judge needs them.
        changes: how many came and went.
    """

    def __init__(self, modules: list[str], rng: Random) -> None:
        self.network = MemoryNetwork()
        self.there: list[Place] = []
        self.offers: dict[str, frozenset[str]] = {}
        self.changes = 0
        self._modules = modules
        self._rng = rng
        self._numbers = itertools.count(1)
        self._announce: Callable[[Announced], None] | None = None

    async def come(self) -> None:
        """Start a provider."""
        number = next(self._numbers)
        slot = next(n for n in range(MOST + 1) if all(place.host != f"slot-{n}" for place in self.there))
        offered = {self._modules[number % len(self._modules)], self._modules[(number + 1) % len(self._modules)]}
        host = self.network.host(f"slot-{slot}")
        address = f"127.0.0.1:{self.network.free_port()}"
        services = tuple(ServiceName(name, name) for name in sorted(offered))
        place = Place(host.name, Registration(f"app-{number}", address, services))
        connection: Any = lambda: _Connection(place.registration)  # noqa: E731 - stands for a TcpConnection
        await host.listen("127.0.0.1", int(address.rpartition(":")[2]), connection)
        self.there.append(place)
        self.offers[place.registration.ring_name] = frozenset(offered)
        self.changes += 1
        if self._announce is not None:
            self._announce(Announced(joined=(place.target,)))

    def go(self, place: Place, *, killed: bool) -> None:
        """End a provider: with SIGKILL, or with goodbye."""
        self.there.remove(place)
        self.changes += 1
        assert self._announce is not None
        if killed:
            self._announce(Announced(lost=(place.target,)))
            self.network.hosts[place.host].kill()
        else:
            self._announce(Announced(left=(place.target,)))

    async def churn(self) -> None:
        """One change: somebody goes, or a new one comes."""
        has_spare = bool(self._spare())
        if has_spare and (len(self.there) >= MOST or (len(self.there) > FEWEST and self._rng.random() < 0.5)):
            self.go(self._rng.choice(self._spare()), killed=self._rng.random() < 0.5)
        else:
            await self.come()

    def _spare(self) -> list[Place]:
        """Return those whose every module somebody else offers, too."""
        offered = Counter(service.module for place in self.there for service in place.registration.provides)
        return [
            place for place in self.there if all(offered[service.module] > 1 for service in place.registration.provides)
        ]

    # --- Discovery

    async def start(self, announce: Callable[[Announced], None], *, watch: bool) -> None:
        """Begin with those who are there."""
        del watch
        self._announce = announce
        announce(Announced(joined=tuple(place.target for place in self.there), snapshot=True))

    def connected(self, target: Target, *, is_up: bool) -> None:
        """Do nothing."""

    def register(self, text: str, *, weight: int = 1, listeners: Mapping[str, str] | None = None) -> None:
        """Do nothing: the consumer provides nothing."""

    async def leave(self) -> None:
        """Do nothing."""

    async def stop(self) -> None:
        """Do nothing."""

    def trouble(self) -> str:
        """Say that nothing is wrong."""
        return ""
