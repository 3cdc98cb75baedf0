"""What a session needs from outside: a transport, and what all sessions of a node share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from zfoo_py.actor import CoreRef
    from zfoo_py.net.session import Session
    from zfoo_py.net.tcp_io import TcpConnection
    from zfoo_py.protocol.common import Hello
    from zfoo_py.protocol.msgpack_codec import MsgpackCodec
    from zfoo_py.protocol.packet import Binding, Packet

__all__ = ["Connection", "Listening", "Network", "SessionEnv"]


class Connection(Protocol):
    """The transport under a session, as the actor sees it. All calls on the loop's thread."""

    peer: str
    local: str
    received_bytes: int  # those of frames that are not complete, too
    is_full: bool  # it holds more than the outbox limit; true from within the `write` that made it so

    def write(self, data: bytes) -> None:
        """Hand bytes to the transport; never blocks. Says WritePaused when it holds too many."""

    def unsent_bytes(self) -> int:
        """Return how many of the written bytes it still holds."""

    def pause_reading(self) -> None:
        """Stop taking bytes from the peer; idempotent."""

    def resume_reading(self) -> None:
        """Take bytes again; idempotent."""

    def limit_frames(self, max_frame_bytes: int) -> None:
        """Bound the frames of the peer from now on."""

    def close(self) -> None:
        """Close after what was written."""

    def abort(self) -> None:
        """Close at once."""


class Listening(Protocol):
    """A listening address.

    Attributes:
        address: where it really is.
        sockets: number → inode of what it has open; `zfoo_py.fork_io`.
    """

    address: str
    sockets: dict[int, int]

    async def close(self) -> None:
        """Accept no more connections; those that stand stay."""


class Network(Protocol):
    """Where nodes listen and dial: `zfoo_py.net.tcp_io`, or `zfoo_py.testing.MemoryNetwork`."""

    async def listen(self, host: str, port: int, make: Callable[[], TcpConnection], /) -> Listening:
        """Listen; port 0 chooses one. Raises ConfigError if the address cannot be used."""

    async def dial(
        self, host: str, port: int, make: Callable[[], TcpConnection], connect_timeout_s: float, /
    ) -> TcpConnection:
        """Connect within that many seconds. Raises SessionClosedError if that fails."""


class SessionEnv(msgspec.Struct, frozen=True):
    """What the sessions of one node share; made by ``node.py``.

    Attributes:
        registry: address of the RegistryActor.
        codec: encodes and decodes.
        node: for `Session.node`.
        receive: called in the session's turn with (session, actor's ref, binding, packet, attachment).
        flows: told, in the session's turn, that its peer reads again, or that it is over: (session).
        hello: makes our Hello.
        limits: ``zfoo_py.config.Limits``.
        warn: writes one log line about a peer, bounded in rate: (peer, text).
        provides: (module, group) of everything the node provides.
        clock_ms: ms since 1970, for Java peers that send Ping.
        undelivered: takes what was sent one way and never written: (packet, module, reason).
    """

    registry: CoreRef
    codec: MsgpackCodec
    node: Any
    receive: Callable[[Session, Binding, Packet, Any], bool]
    flows: Callable[[Session], None]
    hello: Callable[[], Hello]
    limits: Any
    warn: Callable[[str, str], None]
    clock_ms: Callable[[], int]
    undelivered: Callable[[str, str, str], None]
    provides: frozenset[tuple[str, str]] = frozenset()
