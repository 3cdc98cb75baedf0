"""Where the sessions of a node come from: those it accepts, and those it dials."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

from zfoo_py.addresses import parse_address
from zfoo_py.consumer import messages as c
from zfoo_py.errors import ConfigError, SessionClosedError
from zfoo_py.log import rate_limited
from zfoo_py.net import messages as m
from zfoo_py.net.foreign_session_actor import ForeignSessionActor
from zfoo_py.net.session_actor import SessionActor
from zfoo_py.net.tcp_io import TcpConnection
from zfoo_py.protocol.common import Error, ErrorCode
from zfoo_py.protocol.foreign_codec import ForeignCodec, foreign_codec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from zfoo_py.actor import CoreRef, LoopActorRef, Runtime
    from zfoo_py.config import Limits
    from zfoo_py.net.seams import Listening, Network, SessionEnv

__all__ = ["Doors", "warn_peer"]


class Doors:
    """Listens and dials for one node. On the loop's thread.

    Args:
        runtime: spawns the sessions.
        env: what they share.
        network: TCP, or a test's.
        limits: of the node.
        cores: of the runtime's actors, those that are no sessions.

    Attributes:
        listeners: what is open; each says which sockets it has.
        refused: connections turned away because ``max_connections`` sessions were open.
    """

    def __init__(
        self,
        runtime: Runtime,
        env: SessionEnv,
        network: Network,
        limits: Limits,
        cores: Sequence[CoreRef],
    ) -> None:
        self._runtime = runtime
        self._env = env
        self._network = network
        self._limits = limits
        self._cores = cores
        self._foreign: dict[str, ForeignCodec] = {}
        self._sids = itertools.count(1)  # zfoo: one counter for both sides, from 1
        self._dials: set[asyncio.Task[None]] = set()
        self._is_stopped = False
        self.listeners: list[Listening] = []
        self.refused = 0

    # --- those that come

    async def listen(self, text: str, path: str, codec: str = c.MSGPACK) -> str:
        """Listen at an address of the configuration, ``path`` its key; return where it really is.

        Args:
            text: the address.
            path: for errors.
            codec: what is spoken there.

        Raises:
            ConfigError: it cannot be used.
        """
        address = parse_address(text, path=path)
        try:
            listener = await self._network.listen(address.host, address.port, lambda: self._make_accepted(codec))
        except ConfigError as error:
            raise ConfigError(str(error), path=path) from error
        self.listeners.append(listener)
        return listener.address

    def welcome(self, env: SessionEnv, connection: TcpConnection) -> LoopActorRef[Any]:
        """Make the session of an accepted connection."""
        return self._runtime.spawn(SessionActor, env, next(self._sids), "server", connection)

    def _make_accepted(self, codec: str) -> TcpConnection:
        accepted = lambda connection: self._accepted(connection, codec)  # noqa: E731
        return self._connection(self._limits.max_client_frame_bytes, accepted)

    def _accepted(self, connection: TcpConnection, codec: str) -> LoopActorRef[Any] | None:
        count = len(self._runtime.actors) - sum(1 for core in self._cores if core.ref is not None)
        if count >= self._limits.max_connections:
            self.refused += 1
            text = f"{count} sessions are open here: that is max_connections"
            warn_peer("listener", f"refused {connection.peer}: {text}")
            spoken = self._foreign_codec(codec) or self._env.codec
            connection.write(spoken.one_way_frame(spoken.encode(Error(ErrorCode.OVERLOADED, text)), None))
            return None
        foreign = self._foreign_codec(codec)
        if foreign is None:
            return self.welcome(self._env, connection)
        return self._runtime.spawn(ForeignSessionActor, foreign, self._env, next(self._sids), "server", connection)

    def _foreign_codec(self, name: str) -> ForeignCodec | None:
        """Return the codec of Java peers by its name, made at first use; None for the default codec."""
        if name == c.MSGPACK:
            return None
        if name not in self._foreign:
            self._foreign[name] = foreign_codec(name, self._env.codec)
        return self._foreign[name]

    def _connection(
        self, max_frame_bytes: int, opened: Callable[[TcpConnection], LoopActorRef[Any] | None]
    ) -> TcpConnection:
        limits = self._limits
        outbox, wait_s = limits.outbox_limit_bytes, limits.heartbeat_timeout_s
        return TcpConnection(self._runtime, max_frame_bytes, outbox, opened, user_timeout_s=wait_s)

    # --- those that are dialled

    def open_session(self, target: c.Target, report: Callable[[Any], None]) -> None:
        """Open a client session in a task of its own; ``report`` gets TargetUp, TargetDown or DialFailed."""
        if self._is_stopped:
            return
        task = self._runtime.loop.create_task(self._dial(target, report), name=f"zfoo_py dial {target.address}")
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

    async def _dial(self, target: c.Target, report: Callable[[Any], None]) -> None:
        limits = self._limits

        def opened(connection: TcpConnection) -> LoopActorRef[Any]:
            def watch(fact: m.SessionUp | m.SessionDown) -> None:
                if isinstance(fact, m.SessionUp):
                    report(c.TargetUp(target, fact.ref, fact.session))
                else:
                    report(c.TargetDown(target, fact.reason, fact.is_proven))

            announced = target.text or None
            sid = next(self._sids)
            foreign = self._foreign_codec(target.codec)
            if foreign is not None:
                common = (self._env, sid, "client", connection, announced, watch)
                return self._runtime.spawn(ForeignSessionActor, foreign, *common)
            return self._runtime.spawn(SessionActor, self._env, sid, "client", connection, announced, watch)

        try:
            address = parse_address(target.address)
            await self._network.dial(
                address.host,
                address.port,
                lambda: self._connection(limits.max_frame_bytes, opened),
                limits.connect_timeout_s,
            )
        except (SessionClosedError, ConfigError) as error:
            report(c.DialFailed(target, str(error)))

    # --- the end

    async def close(self) -> None:
        """Accept no more; idempotent. Sessions that stand stay."""
        for listener in self.listeners:
            await listener.close()

    async def stop(self) -> None:
        """Accept and dial no more."""
        self._is_stopped = True
        await self.close()
        for task in list(self._dials):
            task.cancel()
        if self._dials:
            await asyncio.wait(self._dials)


def warn_peer(peer: str, text: str) -> None:
    """Write one log line about a peer, bounded in rate."""
    # By host: a peer that comes back again and again comes from another port each time.
    rate_limited(f"peer {peer.rpartition(':')[0] or peer}", text)
