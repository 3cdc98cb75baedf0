"""TCP under the sessions: bytes in, frames out to the session actor; one write per turn the other way."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Any, cast

from zfoo_py.errors import ConfigError, SessionClosedError
from zfoo_py.fork_io import socket_id
from zfoo_py.net.messages import Lost, Received, WritePaused, WriteResumed
from zfoo_py.protocol.framing import FrameParser

if TYPE_CHECKING:
    from collections.abc import Callable

    from zfoo_py.actor import LoopActorRef, Runtime, TimerHandle

__all__ = ["Listener", "TcpConnection", "dial", "listen"]

# What a closed connection gets to deliver what was written, before it is aborted.
CLOSE_WAIT_S = 5.0

# Linux has it; elsewhere the heartbeat alone finds a peer that takes nothing.
TCP_USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)

# Connections that the kernel keeps for us until they are accepted; larger values are cut by somaxconn.
LISTEN_BACKLOG = 2048


class TcpConnection(asyncio.Protocol):
    """One TCP connection: implements `zfoo_py.net.session_actor.Connection` on an asyncio transport.

    Args:
        runtime: of the node.
        max_frame_bytes: bound of the peer's frames until its Hello says what it is.
        outbox_limit_bytes: the transport says WritePaused above this many unsent bytes.
        opened: called with this connection once it stands; returns the ref of its session actor.
        user_timeout_s: how long written bytes may stay without the peer's acknowledgement before the kernel ends the
            connection (TCP_USER_TIMEOUT, RFC 5482; Linux only); 0.0: as long as the kernel likes, minutes.
    """

    def __init__(
        self,
        runtime: Runtime,
        max_frame_bytes: int,
        outbox_limit_bytes: int,
        opened: Callable[[TcpConnection], LoopActorRef[Any] | None],
        *,
        user_timeout_s: float = 0.0,
    ) -> None:
        self._runtime = runtime
        self._outbox_limit_bytes = outbox_limit_bytes
        self._parser = FrameParser(max_frame_bytes)
        self.received_bytes = 0
        self._counted_bytes = 0  # of them, those that complete frames have brought to the session
        self._user_timeout_s = user_timeout_s
        self._opened = opened
        self._ref: LoopActorRef[Any] | None = None
        self._transport: asyncio.Transport | None = None
        self.peer = ""
        self.local = ""
        self.is_full = False
        self._aborting: TimerHandle | None = None
        self._socket = -1

    # --- asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Make the session."""
        self._transport = cast("asyncio.Transport", transport)
        sock: socket.socket | None = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as zfoo; uvloop does it, asyncio may not
            if self._user_timeout_s and TCP_USER_TIMEOUT is not None:
                sock.setsockopt(socket.IPPROTO_TCP, TCP_USER_TIMEOUT, max(1, round(self._user_timeout_s * 1000.0)))
        self.peer = _address_text(transport.get_extra_info("peername"))
        self.local = _address_text(transport.get_extra_info("sockname"))
        if sock is not None and sock.fileno() >= 0:
            self._socket = sock.fileno()
            self._runtime.sockets[self._socket] = socket_id(self._socket)
        self._transport.set_write_buffer_limits(high=self._outbox_limit_bytes)
        self._ref = self._opened(self)
        if self._ref is None:
            self.close()

    def data_received(self, data: bytes) -> None:
        """Hand the complete frames of one chunk to the session, as one message."""
        parser = self._parser
        bodies = parser.feed(data)
        self.received_bytes += len(data)
        if self._ref is not None and (bodies or parser.error is not None):
            byte_count, self._counted_bytes = self.received_bytes - self._counted_bytes, self.received_bytes
            self._runtime.is_quiet = len(bodies) == 1
            self._runtime.deliver(self._ref, Received(bodies, byte_count, parser.error))

    def eof_received(self) -> bool:
        """Close our side too: there are no half-open sessions."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the session, after every frame received before."""
        self._runtime.sockets.pop(self._socket, None)
        if self._aborting is not None:
            self._aborting.cancel()
        if self._ref is not None:
            self._runtime.deliver(self._ref, Lost(f"connection lost ({exc})" if exc else "the peer closed it"))
            self._ref = None

    def pause_writing(self) -> None:
        """Tell the session that the transport holds more than the outbox limit."""
        self.is_full = True
        if self._ref is not None:
            self._runtime.deliver(self._ref, WritePaused())

    def resume_writing(self) -> None:
        """Tell the session that there is room again."""
        self.is_full = False
        if self._ref is not None:
            self._runtime.deliver(self._ref, WriteResumed())

    # --- Connection

    def write(self, data: bytes) -> None:
        """Hand bytes to the transport; one that has failed takes none, and `connection_lost` says so in a moment."""
        assert self._transport is not None
        if not self._transport.is_closing():  # else asyncio logs a warning about each write from the fifth on
            self._transport.write(data)

    def unsent_bytes(self) -> int:
        """Return how many of the written bytes the transport still holds."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def pause_reading(self) -> None:
        """Stop taking bytes from the peer."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take bytes again."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def limit_frames(self, max_frame_bytes: int) -> None:
        """Bound the peer's frames from now on."""
        self._parser.max_frame_bytes = max_frame_bytes

    def close(self) -> None:
        """Close after what was written; a peer that does not read it is not waited for longer than CLOSE_WAIT_S."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            unsent_bytes = transport.get_write_buffer_size()
            transport.close()
            if unsent_bytes:
                self._aborting = self._runtime.timers.call_later(CLOSE_WAIT_S, transport.abort)

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()


class Listener:
    """A listening socket; ``address`` is the one it really has ("host:port")."""

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server
        self.sockets = {sock.fileno(): socket_id(sock.fileno()) for sock in server.sockets}
        self.address = _address_text(server.sockets[0].getsockname())

    async def close(self) -> None:
        """Accept no more connections; those that stand stay."""
        self.sockets = {}
        self._server.close()


async def listen(host: str, port: int, make: Callable[[], TcpConnection]) -> Listener:
    """Listen on ``host:port`` (port 0: choose one).

    Raises:
        ConfigError: the address cannot be used.
    """
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(make, host, port, backlog=LISTEN_BACKLOG, reuse_address=True)
    except OSError as error:
        msg = f"cannot listen on {host}:{port} ({error.strerror or error}): choose another port, or 0 for any free one"
        raise ConfigError(msg) from error
    return Listener(server)


async def dial(host: str, port: int, make: Callable[[], TcpConnection], connect_timeout_s: float) -> TcpConnection:
    """Connect to ``host:port`` within ``connect_timeout_s`` seconds.

    Raises:
        SessionClosedError: nobody listens there, or nothing answered in time.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(connect_timeout_s):
            _, connection = await loop.create_connection(make, host, port)
    except (OSError, TimeoutError) as error:
        msg = f"cannot connect to {host}:{port} within {connect_timeout_s} s: {_reason(error)}"
        raise SessionClosedError(msg, may_have_run=False) from error
    return connection


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if error.errno is not None and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)  # asyncio's own text is only "Connect call failed"
    return error.strerror or str(error)


def _address_text(name: Any) -> str:
    if not isinstance(name, tuple):
        return str(name or "?")
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
