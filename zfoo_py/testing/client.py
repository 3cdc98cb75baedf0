"""For tests of applications, and of zfoo_py: nodes without ports, a clock that stands still, an outside client.

::

    async with cluster(provides=[visits], receivers=lambda name: [Visits(name)], providers=3) as c:
        answer = await c.consumer.async_ask(VisitAsk("10.0.0.7", 512))

Everything here belongs to one event loop, the running one.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar

from zfoo_py.errors import ConfigError, RemoteError, SessionClosedError
from zfoo_py.net.handshake import WIRE_VERSION
from zfoo_py.net.tcp_io import TcpConnection
from zfoo_py.node import Node
from zfoo_py.protocol.attachment import CLIENT_KEYED, CLIENT_KEYLESS, SignalAttachment
from zfoo_py.protocol.common import Error, Hello
from zfoo_py.protocol.framing import FrameParser
from zfoo_py.protocol.msgpack_codec import MsgpackCodec
from zfoo_py.protocol.packet import DEFAULT_TABLE, Packet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from zfoo_py.consumer.consumer import Consumer
    from zfoo_py.protocol.packet import PacketTable

__all__ = ["Client", "Cluster", "FakeClock", "MemoryNetwork", "cluster"]

A = TypeVar("A", bound=Packet)

# What a memory transport holds before it says that writing should pause, if nobody sets another bound; asyncio's own.
HIGH_WATER_BYTES = 64 * 1024


# Joining takes a few turns of the loop; a cluster that is not complete by then never will be.
JOIN_LIMIT_S = 10.0


class FakeClock:
    """A `zfoo_py.actor.TimerSource` whose time passes only by `advance`."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self._now_s = now_s
        self._timers: list[tuple[float, int, _Timer]] = []
        self._order = itertools.count()

    def time(self) -> float:
        """Return the time, in seconds."""
        return self._now_s

    def call_later(self, delay: float, callback: Callable[..., object], /, *args: Any) -> _Timer:
        """Call ``callback(*args)`` once ``advance`` has passed ``delay`` seconds."""
        timer = _Timer(callback, args)
        heapq.heappush(self._timers, (self._now_s + max(0.0, delay), next(self._order), timer))
        return timer

    def advance(self, seconds: float) -> None:
        """Let time pass; what falls due runs here, in order of time, then of asking."""
        until_s = self._now_s + seconds
        while self._timers and self._timers[0][0] <= until_s:
            at_s, _, timer = heapq.heappop(self._timers)
            self._now_s = max(self._now_s, at_s)
            timer.run()
        self._now_s = until_s

    def pending(self) -> int:
        """Return how many timers are set and not cancelled."""
        return sum(not timer.is_cancelled for _, _, timer in self._timers)


class _Timer:
    __slots__ = ("_args", "_callback", "is_cancelled")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self._callback = callback
        self._args = args
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True

    def run(self) -> None:
        if not self.is_cancelled:
            self.is_cancelled = True
            self._callback(*self._args)


class MemoryNetwork:
    """A network in memory: implements `zfoo_py.net.seams.Network` for the nodes it is given to.

    Bytes arrive in order, in a later callback of the loop. Port 0 chooses a port.
    """

    def __init__(self) -> None:
        self._listeners: dict[tuple[str, int], MemoryListener] = {}
        self._ports = itertools.count(40_000)

    async def listen(self, host: str, port: int, make: Callable[[], TcpConnection]) -> MemoryListener:
        """Listen in this network.

        Raises:
            ConfigError: somebody listens there.
        """
        port = port or next(self._ports)
        if (host, port) in self._listeners:
            msg = f"cannot listen on {host}:{port}: somebody does"
            raise ConfigError(msg)
        listener = self._listeners[host, port] = MemoryListener(self._listeners, (host, port), make)
        return listener

    async def dial(
        self, host: str, port: int, make: Callable[[], TcpConnection], connect_timeout_s: float
    ) -> TcpConnection:
        """Connect in this network.

        Raises:
            SessionClosedError: nobody listens there.
        """
        del connect_timeout_s
        listener = self._listeners.get((host, port))
        if listener is None:
            msg = f"cannot connect to {host}:{port}: nobody listens there"
            raise SessionClosedError(msg, may_have_run=False)
        ours, theirs = make(), listener.make()
        name = (host, next(self._ports))
        near = MemoryTransport(ours, name, (host, port))
        far = MemoryTransport(theirs, (host, port), name)
        near.other, far.other = far, near
        listener.transports.add(far)
        theirs.connection_made(far)
        ours.connection_made(near)
        return ours

    def cut(self, address: str) -> None:
        """Break every connection to a listener, as a SIGKILL of its process would, and close it."""
        host, _, port = address.rpartition(":")
        listener = self._listeners.pop((host, int(port)))
        for transport in list(listener.transports):
            transport.abort()


class MemoryListener:
    """A listening address of a `MemoryNetwork`."""

    def __init__(
        self,
        listeners: dict[tuple[str, int], MemoryListener],
        address: tuple[str, int],
        make: Callable[[], TcpConnection],
    ) -> None:
        self._listeners = listeners
        self._address = address
        self.make = make
        self.transports: set[MemoryTransport] = set()
        self.address = f"{address[0]}:{address[1]}"

    async def close(self) -> None:
        """Accept no more connections; those that stand stay."""
        self._listeners.pop(self._address, None)


class MemoryTransport(asyncio.Transport):
    """One end of a connection in memory."""

    other: MemoryTransport

    def __init__(self, protocol: TcpConnection, local: tuple[str, int], peer: tuple[str, int]) -> None:
        super().__init__({"sockname": local, "peername": peer})
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol
        self._outgoing = bytearray()
        self._is_closing = False
        self._is_lost = False
        self._is_reading = True
        self._is_paused = False
        self._high = HIGH_WATER_BYTES
        self._pump_scheduled = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes; they reach the other end in a later callback."""
        if self._is_closing:
            return
        self._outgoing += data
        self._schedule()
        if len(self._outgoing) > self._high and not self._is_paused:
            self._is_paused = True
            self._protocol.pause_writing()

    def _schedule(self) -> None:
        if not self._pump_scheduled:
            self._pump_scheduled = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_scheduled = False
        other = self.other
        if self._outgoing and other._is_reading and not other._is_lost:  # noqa: SLF001 - the same class
            data = bytes(self._outgoing)
            self._outgoing.clear()
            other._protocol.data_received(data)  # noqa: SLF001
        if self._is_paused and not self._outgoing:
            self._is_paused = False
            self._protocol.resume_writing()
        if self._is_closing and not self._outgoing:
            self._lose()

    def _lose(self) -> None:
        for end in (self, self.other):
            if not end._is_lost:  # noqa: SLF001
                end._is_lost = end._is_closing = True  # noqa: SLF001
                end._loop.call_soon(end._protocol.connection_lost, None)  # noqa: SLF001

    def close(self) -> None:
        """Close after what was written."""
        if not self._is_closing:
            self._is_closing = True
            self._schedule()

    def abort(self) -> None:
        """Close at once; what was written and not delivered is lost."""
        self._is_closing = True
        self._outgoing.clear()
        self._lose()

    def is_closing(self) -> bool:
        """Return whether it is closing or closed."""
        return self._is_closing

    def pause_reading(self) -> None:
        """Let bytes stay with the sender."""
        self._is_reading = False

    def resume_reading(self) -> None:
        """Take bytes again."""
        self._is_reading = True
        self.other._schedule()  # noqa: SLF001 - the same class

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Bound what is held before writing should pause."""
        del low
        self._high = HIGH_WATER_BYTES if high is None else high

    def get_write_buffer_size(self) -> int:
        """Return how many bytes have not reached the other end."""
        return len(self._outgoing)


class Cluster:
    """Nodes of one process over one memory network; made by `cluster`.

    Attributes:
        network: the network.
        discovery: the node that hosts the embedded discovery.
        providers: by name.
        node: the consumer's node.
    """

    def __init__(self, network: MemoryNetwork, discovery: Node, providers: dict[str, Node], node: Node) -> None:
        self.network = network
        self.discovery = discovery
        self.providers = providers
        self.node = node

    @property
    def consumer(self) -> Consumer:
        """The consumer."""
        return self.node.consumer

    def kill(self, name: str) -> None:
        """Break every connection of a provider at once, as a SIGKILL would."""
        self.network.cut(self.providers[name].address)


@asynccontextmanager
async def cluster(
    *,
    provides: Iterable[Any],
    receivers: Callable[[str], Iterable[object]],
    providers: int = 3,
    consumes: Iterable[Any] | None = None,
    **consumer_arguments: Any,
) -> AsyncIterator[Cluster]:
    """Run providers, their discovery and a consumer in this process, over a memory network.

    Args:
        provides: what each provider provides, as of `Node`.
        receivers: called with a provider's name; returns its receivers.
        providers: how many; their names are "provider-1" and so on.
        consumes: what the consumer consumes; default: what is provided.
        consumer_arguments: more arguments of the consumer's `Node`.
    """
    network = MemoryNetwork()
    provided = list(provides)
    async with AsyncExitStack() as stack:
        hosting = {"address": "127.0.0.1:0", "host": True}
        discovery = await stack.enter_async_context(
            Node(id="discovery", receivers=[], discovery=hosting, network=network)
        )
        where = {"address": discovery.discovery_address}
        started: dict[str, Node] = {}
        for number in range(1, providers + 1):
            name = f"provider-{number}"
            started[name] = await stack.enter_async_context(
                Node(id=name, provides=provided, receivers=receivers(name), discovery=where, network=network)
            )
        given = {"id": "consumer", "receivers": [], **consumer_arguments}
        wanted = provided if consumes is None else consumes
        node = await stack.enter_async_context(Node(consumes=wanted, discovery=where, network=network, **given))
        async with asyncio.timeout(JOIN_LIMIT_S):
            while True:  # the node is ready with the first provider; a test begins with all of them
                services = (await node.consumer.stats())["services"].values()
                if all(len(service["providers"]) == providers for service in services):
                    break
                await asyncio.sleep(0)
        yield Cluster(network, discovery, started, node)


class Client:
    """An outside client (kind "client") over real TCP, as small as it can be: what a game client would do.

    Use it as ``async with await Client.connect(address) as client``.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, codec: MsgpackCodec) -> None:
        self._reader = reader
        self._writer = writer
        self._codec = codec
        self._parser = FrameParser(2**31 - 1)
        self._bodies: list[Any] = []
        self._signals = itertools.count(1)
        self.pushes: list[Packet] = []

    @classmethod
    async def connect(cls, address: str, *, table: PacketTable = DEFAULT_TABLE, name: str = "client") -> Self:
        """Connect to "host:port" and exchange Hellos.

        Raises:
            OSError: nobody listens there.
            SessionClosedError: the Hello was refused.
        """
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        self = cls(reader, writer, MsgpackCodec(table))
        self.send(Hello(WIRE_VERSION, "client", name))
        packet, _ = await self.receive()
        if not isinstance(packet, Hello):
            await self.close()
            msg = f"the Hello was answered with {packet!r}"
            raise SessionClosedError(msg, may_have_run=False)
        return self

    def send(self, packet: Packet) -> None:
        """Send one way."""
        self._writer.write(self._codec.one_way_frame(self._codec.encode(packet), None))

    async def ask(self, packet: Packet, answer: type[A], *, lane: int | None = None, timeout_s: float = 3.0) -> A:
        """Ask, one at a time; what is pushed meanwhile gathers in ``pushes``.

        Raises:
            RemoteError: the answer is an Error.
            TimeoutError: none came in time.
            SessionClosedError: the connection ended.
        """
        signal_id = next(self._signals)
        head = self._codec.encode(packet)
        client = CLIENT_KEYLESS if lane is None else CLIENT_KEYED
        frame = self._codec.ask_frame(head, signal_id, client, -1 if lane is None else lane, int(timeout_s * 1000))
        self._writer.write(frame)
        async with asyncio.timeout(timeout_s):
            while True:
                received, attachment = await self.receive()
                if not isinstance(attachment, SignalAttachment) or attachment.signal_id != signal_id:
                    self.pushes.append(received)
                elif isinstance(received, Error):
                    raise RemoteError(received.code, received.message)
                elif isinstance(received, answer):
                    return received

    async def receive(self) -> tuple[Packet, Any]:
        """Return the next packet and its attachment.

        Raises:
            SessionClosedError: the connection ended.
        """
        while not self._bodies:
            data = await self._reader.read(65536)
            if not data:
                msg = "the node closed the connection"
                raise SessionClosedError(msg)
            self._bodies += self._parser.feed(data)
        _, packet, attachment = self._codec.decode(self._bodies.pop(0))
        return packet, attachment

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        await self._writer.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
