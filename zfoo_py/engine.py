"""A started node's inside: its runtime, its core actors and their restarts, its sessions, its end.

`zfoo_py.node` decides what a node is and checks it; this file makes it run. Everything here belongs to the
loop's thread.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
from loguru import logger

from zfoo_py.actor import Abort, LoopFuture, Runtime
from zfoo_py.addresses import parse_address
from zfoo_py.admin import Admin
from zfoo_py.consumer import messages as c
from zfoo_py.consumer.alert_actor import AlertActor
from zfoo_py.consumer.announce_io import announced_address
from zfoo_py.consumer.balancer import Balancer, BalancerOptions, ServiceView
from zfoo_py.consumer.connector_actor import ConnectorActor
from zfoo_py.consumer.consumer import Consumer
from zfoo_py.consumer.consumer_actor import ConsumerActor
from zfoo_py.consumer.directory_actor import DirectoryActor
from zfoo_py.consumer.discoveries import Surroundings, make_discovery, servers_of
from zfoo_py.consumer.discovery import Discovery
from zfoo_py.consumer.hashing import task_hash
from zfoo_py.consumer.memory_io import resident_bytes
from zfoo_py.consumer.policies.user_policy import made
from zfoo_py.consumer.service import Service
from zfoo_py.errors import ConfigError, NotReadyError, SessionClosedError
from zfoo_py.events import Events, Undelivered
from zfoo_py.fork_io import close_descriptors, forked
from zfoo_py.log import rate_limited
from zfoo_py.net import messages as m
from zfoo_py.net.handshake import WIRE_VERSION
from zfoo_py.net.registry_actor import RegistryActor
from zfoo_py.net.seams import Listening, Network, SessionEnv
from zfoo_py.net.session_actor import SessionActor
from zfoo_py.net.tcp_io import TcpConnection
from zfoo_py.protocol.common import (
    CAPABILITIES,
    DirectoryRegister,
    DirectoryUnregister,
    DirectoryWatch,
    Hello,
)
from zfoo_py.protocol.msgpack_codec import MsgpackCodec
from zfoo_py.protocol.registration import Registration, ServiceName, Subscription
from zfoo_py.router.router import Interceptor, Router
from zfoo_py.slow_turns import SlowTurns
from zfoo_py.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zfoo_py.actor import LoopActor, LoopActorRef, TimerSource
    from zfoo_py.config import Consume, NodeConfig
    from zfoo_py.protocol.packet import Packet, PacketTable
    from zfoo_py.router.receivers import Receiver

__all__ = ["Engine", "Parts"]


# What worker threads get to finish their receivers after draining, before they are abandoned (daemons).
WORKER_STOP_S = 1.0


class Parts(msgspec.Struct, frozen=True):
    """What a node was declared with, checked.

    Attributes:
        node: for ``session.node``.
        id: name of the node.
        config: its configuration.
        table: mapping of packets.
        receivers: by packet class.
        events: where it publishes.
        balancers: factories by name.
        interceptors: hooks.
        discovery: the application's own, or None: as configured.
        network: TCP, or a test's.
        clock: a test's, or None: the loop's.
        rng: source of all randomness.
    """

    node: Any
    config: NodeConfig
    table: PacketTable
    receivers: Mapping[type[Packet], Receiver]
    events: Events
    balancers: Mapping[str, Callable[[BalancerOptions], Balancer]]
    interceptors: tuple[Interceptor, ...]
    discovery: Discovery | None
    network: Network
    clock: TimerSource | None
    rng: random.Random


class Engine:
    """Runs a node on the loop it is made on.

    Args:
        parts: what the node is.
        loop: the running loop.
    """

    def __init__(self, parts: Parts, loop: asyncio.AbstractEventLoop) -> None:
        self._parts = parts
        self._config = config = parts.config
        self._limits = limits = config.limits
        self._events = parts.events
        self._random = parts.rng
        self._sids = itertools.count(1)  # zfoo: one counter for both sides, from 1
        self._is_stopped = False
        self._registration_text = ""
        self._dials: set[asyncio.Task[None]] = set()
        self._listeners: list[Listening] = []
        self.address = ""
        self.discovery_address = config.discovery.address if config.discovery.kind == "embedded" else ""
        self.undelivered = 0
        self.runtime = Runtime(loop, timers=parts.clock, inbox_limit_messages=limits.inbox_limit_messages)
        self.codec = MsgpackCodec(parts.table)
        provides = frozenset((provided.module, provided.name) for provided in config.provides)
        self.router = Router(
            self.runtime,
            self.codec,
            parts.receivers,
            provides,
            limits,
            parts.events,
            task_hash,
            parts.interceptors,
        )
        self._slow_turns = SlowTurns(config.id, self.runtime, parts.events, limits.slow_turn_ms)
        self._supervisor = Supervisor(self.runtime)
        self.registry = self._supervisor.core(self._spawn_registry)
        self.consumer_ref = self._supervisor.core(self._spawn_consumer)
        self.connector = self._supervisor.core(self._spawn_connector)
        self.directory = self._supervisor.core(self._spawn_directory)
        self.alerts = self._supervisor.core(self._spawn_alerts)
        self._cores = (self.registry, self.consumer_ref, self.connector, self.alerts, self.directory)
        self._env = SessionEnv(
            registry=self.registry,
            codec=self.codec,
            node=parts.node,
            receive=self.router.receive,
            hello=self._hello,
            limits=limits,
            warn=_warn_peer,
            undelivered=self._undelivered,
            provides=provides,
        )
        self._spawn_registry()
        self._spawn_consumer()
        self._spawn_connector()
        self._spawn_alerts()
        if config.discovery.host:
            self._spawn_directory()
        self.consumer = Consumer(
            self.runtime,
            self.codec,
            self.consumer_ref,
            self.router,
            ask_timeout_s=limits.ask_timeout_s,
            needs_key={service.module: service.balancer.needs_key for service in self._services},
        )
        self.admin = Admin(
            config,
            self.runtime,
            self.codec,
            self.router,
            self.consumer,
            self.alerts,
            lambda: {"address": self.address, "undelivered": self.undelivered},
        )

    # --- core actors: each is spawned at the start, and again whenever it dies

    def _spawn_registry(self) -> None:
        previous = self.registry.actor
        if not isinstance(previous, RegistryActor):
            self._supervisor.attach(self.registry, RegistryActor, self._events, on_session_down=self._session_down)
            return
        sessions = [actor.actor_ref for actor in self.runtime.actors if isinstance(actor, SessionActor)]
        self._supervisor.attach(
            self.registry,
            RegistryActor,
            self._events,
            first_version=previous.version,
            life=previous.life + 1,
            sessions=sessions,
            on_session_down=self._session_down,
        )
        self.consumer_ref.tell(c.RegistryRestarted())

    def _spawn_consumer(self) -> None:
        # Also after a restart with fresh balancers: the registry's snapshot fills them.
        self._services = [self._service(consumed) for consumed in self._config.consumes]
        self._supervisor.attach(
            self.consumer_ref,
            ConsumerActor,
            self.consumer_ref,
            self.registry,
            self._services,
            self._events,
            self._undelivered,
            self._config.ring_identity,
        )

    def _spawn_connector(self) -> None:
        self._supervisor.attach(
            self.connector,
            ConnectorActor,
            frozenset((consumed.module, consumed.provider) for consumed in self._config.consumes),
            self._dial_target,
            reconnect_min_s=self._limits.reconnect_min_s,
            reconnect_max_s=self._limits.reconnect_max_s,
            jitter=self._random.random,
            reweighed=lambda sid, weight: self.registry.tell(m.Reweighed(sid, weight)),
            connected=lambda target, is_up: self._discovery.connected(target, is_up=is_up),
        )

    def _spawn_alerts(self) -> None:
        self._supervisor.attach(
            self.alerts,
            AlertActor,
            self.alerts,
            self.consumer_ref,
            self._config.alerts,
            self._limits.max_cache_entries,
            self._events,
            resident_bytes,
            lambda: (self.router.received, len(self.runtime.actors)),
        )

    def _spawn_directory(self) -> None:
        previous = self.directory.actor
        if isinstance(previous, DirectoryActor):
            known = (previous.registered.items(), previous.watching.values(), previous.weights)
            self._supervisor.attach(self.directory, DirectoryActor, *known)
            return
        self._supervisor.attach(self.directory, DirectoryActor)
        install, tell = self.router.install, self.directory
        install(DirectoryRegister, lambda session, packet: tell.tell(c.Registered(session, packet.text, packet.weight)))
        install(DirectoryUnregister, lambda session, packet: tell.tell(c.Unregistered(session, packet.text)))
        install(DirectoryWatch, lambda session, _: tell.tell(c.Watching(session)))

    def _service(self, consumed: Consume) -> Service:
        options = BalancerOptions(
            rng=random.Random(self._random.random()),
            max_entries=self._limits.max_cache_entries,
            expire_after_access_s=self._limits.expire_after_access_s,
            named=consumed.options,
        )
        make = self._parts.balancers[consumed.balancer]
        balancer = made(consumed.balancer, make, options, clock=time.perf_counter, warn=logger.warning)
        return Service(consumed.module, consumed.provider, consumed.balancer, balancer, ServiceView(consumed.module))

    # --- sessions

    def _hello(self) -> Hello:
        return Hello(
            wire_version=WIRE_VERSION,
            kind="node",
            node_id=self._config.id,
            registration=self._registration_text,
            max_frame_bytes=self._limits.max_frame_bytes,
            capabilities=list(CAPABILITIES),
            weight=self._config.weight,
            consumes=[f"{consumed.module}-{consumed.provider}" for consumed in self._config.consumes],
        )

    def _accepted(self, connection: TcpConnection) -> LoopActorRef[Any] | None:
        if len(self.runtime.actors) >= self._limits.max_connections:
            _warn_peer("listener", f"refused {connection.peer}: {len(self.runtime.actors)} sessions are open")
            return None
        return self.runtime.spawn(SessionActor, self._env, next(self._sids), "server", connection)

    def _make_accepted(self) -> TcpConnection:
        limits = self._limits
        return TcpConnection(self.runtime, limits.max_client_frame_bytes, limits.outbox_limit_bytes, self._accepted)

    def _dial_target(self, target: c.Target) -> None:
        self.open_session(target, self.connector.tell)

    def open_session(self, target: c.Target, report: Callable[[Any], None]) -> None:
        """Open a client session in a task of its own; ``report`` gets TargetUp, TargetDown or DialFailed."""
        if self._is_stopped:
            return
        task = self.runtime.loop.create_task(self._dial(target, report), name=f"zfoo_py dial {target.address}")
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

    async def _dial(self, target: c.Target, report: Callable[[Any], None]) -> None:
        limits = self._limits

        def opened(connection: TcpConnection) -> LoopActorRef[Any]:
            def watch(fact: m.SessionUp | m.SessionDown) -> None:
                if isinstance(fact, m.SessionUp):
                    report(c.TargetUp(target, fact.ref, fact.session))
                else:
                    report(c.TargetDown(target, fact.reason))

            announced = target.text or None
            return self.runtime.spawn(SessionActor, self._env, next(self._sids), "client", connection, announced, watch)

        def make() -> TcpConnection:
            return TcpConnection(self.runtime, limits.max_frame_bytes, limits.outbox_limit_bytes, opened)

        try:
            address = parse_address(target.address)
            await self._parts.network.dial(address.host, address.port, make, limits.connect_timeout_s)
        except (SessionClosedError, ConfigError) as error:
            report(c.DialFailed(target, str(error)))

    def _session_down(self, sid: int) -> None:
        if self._config.discovery.host:
            self.directory.tell(m.SessionDown(sid, "the session ended"))

    def _undelivered(self, packet: str, module: str, reason: str) -> None:
        self.undelivered += 1
        if self._events.wants(Undelivered):
            self._events.publish(Undelivered(packet, reason, module))

    # --- starting

    async def start(self) -> None:
        """Listen, register, connect, and wait for the consumed modules.

        Raises:
            ConfigError: an address cannot be used.
            NotReadyError: no provider of a consumed module in time.
        """
        self._slow_turns.start()
        await self._listen()
        config = self._config
        registration = Registration(
            id=config.id,
            address=self.address or None,
            provides=tuple(ServiceName(provided.module, provided.name) for provided in config.provides),
            consumes=tuple(Subscription(consumed.balancer, consumed.provider) for consumed in config.consumes),
        )
        self._registration_text = registration.text
        self._discovery = self._make_discovery(registration)
        if config.provides or config.consumes:
            await self._discovery.start(self.connector.tell, watch=bool(config.consumes))
        if config.provides:
            self._discovery.register(self._registration_text, weight=config.weight)
        if config.consumes:
            await self._wait_ready()

    async def _listen(self) -> None:
        if self._config.address is not None:
            listening = await self._listen_at(self._config.address, "server.address")
            option = self._config.announce_address
            self.address = await announced_address(listening, option, servers_of(self._config))
        if self._config.admin_path:
            self._listeners.append(await self.admin.listen(self._env, self._spawn_admin_session))
        if self._config.discovery.host:
            self.discovery_address = await self._listen_at(self._config.discovery.address, "discovery.address")

    async def _listen_at(self, text: str, path: str) -> str:
        address = parse_address(text, path=path)
        try:
            listener = await self._parts.network.listen(address.host, address.port, self._make_accepted)
        except ConfigError as error:
            raise ConfigError(str(error), path=path) from error
        self._listeners.append(listener)
        return listener.address

    def _spawn_admin_session(self, env: SessionEnv, connection: TcpConnection) -> LoopActorRef[Any]:
        return self.runtime.spawn(SessionActor, env, next(self._sids), "server", connection)

    def _make_discovery(self, registration: Registration) -> Discovery:
        if self._parts.discovery is not None:
            return self._parts.discovery
        jitter = self._random.random
        around = Surroundings(
            self._config, registration, self.runtime, self.router, self.open_session, jitter, _warn_peer
        )
        return make_discovery(around, self.discovery_address)

    async def _wait_ready(self) -> None:
        # A consumer that began with one of three providers would send every key to it, where a moment later only a
        # third of them belongs; so each provider that discovery knows now is tried before anything is asked.
        tried: LoopFuture[None] = LoopFuture()
        ready: LoopFuture[None] = LoopFuture()
        self.connector.tell(c.WhenTried(tried))
        try:
            async with asyncio.timeout(self._limits.ready_timeout_s):
                await tried
                self.consumer_ref.tell(c.WhenReady(ready))
                await ready
        except TimeoutError as error:
            missing = self.missing()
            if not missing:
                return
            trouble = self._discovery.trouble()
            where = ", ".join(self._config.discovery.addresses)
            hint = f"listening at {where}" if where else "registered with the same discovery"
            why = f"; {trouble}" if trouble else f": is one running, and {hint}?"
            groups = {consumed.module: consumed.provider for consumed in self._config.consumes}
            names = ", ".join(
                repr(name) if groups[name] == name else f"{name!r} as {groups[name]!r}" for name in missing
            )
            msg = f"no provider of module {names} within {self._limits.ready_timeout_s} s{why}"
            raise NotReadyError(msg, missing=missing) from error

    def service(self, module: str) -> Service | None:
        """Return a consumed module's policy and view, to look at on the loop; None if it is not consumed."""
        return next((service for service in self._services if service.module == module), None)

    def missing(self) -> tuple[str, ...]:
        """Return the consumed modules that have no provider now."""
        return tuple(service.module for service in self._services if not service.view.providers)

    # --- stopping

    async def drain(self) -> None:
        """Leave discovery, take nothing new, finish what is in work and in flight, up to ``drain_timeout_s``."""
        await self._discovery.leave()
        for listener in self._listeners:
            await listener.close()
        self.connector.detach()
        if self.connector.ref is not None:
            await self.connector.ref.stop(block=False)
        sessions = [actor for actor in self.runtime.actors if isinstance(actor, SessionActor)]
        for actor in sessions:
            order = m.Retire("this node stops") if actor.session.side == "client" else m.Drain()
            self.runtime.deliver(actor.actor_ref, order)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.drain_timeout_s):
                await self.router.drained()
                for actor in sessions:
                    if actor.session.kind != "client":  # an outside client does not know that it should go
                        await actor.ended

    async def abort(self) -> None:
        """End every session, before receivers that are cancelled could answer; then everything."""
        for actor in [actor for actor in self.runtime.actors if isinstance(actor, SessionActor)]:
            self.runtime.deliver(actor.actor_ref, Abort("this node is aborted"))
        await self.stop()

    def after_fork(self) -> None:
        """Be dead, in a forked child: close its copies of the sockets, and let nothing reach the actors."""
        self.runtime.after_fork(forked(self._config.id), self._cores)
        close_descriptors(self.runtime.sockets, *(listener.sockets for listener in self._listeners))

    async def stop(self) -> None:
        """End every dial, session, actor, driver and worker."""
        self._is_stopped = True
        self._slow_turns.stop()
        self._supervisor.stop()
        for core in self._cores:
            core.detach()
        for listener in self._listeners:
            await listener.close()
        for task in list(self._dials):
            task.cancel()
        if self._dials:
            await asyncio.wait(self._dials)
        if hasattr(self, "_discovery"):
            await self._discovery.stop()
        await self.admin.stop()
        workers = await self.router.stop()
        actors: list[LoopActor] = sorted(self.runtime.actors, key=lambda actor: not isinstance(actor, SessionActor))
        for actor in actors:  # sessions first: their last words are for the core actors
            self.runtime.deliver(actor.actor_ref, Abort("this node stops"))
        try:
            async with asyncio.timeout(WORKER_STOP_S):
                await workers
        except TimeoutError:
            logger.warning("a worker thread is still in a receiver after {} s; it is abandoned", WORKER_STOP_S)
        await asyncio.sleep(0)  # the transports that were closed say so
        await asyncio.sleep(0)


def _warn_peer(peer: str, text: str) -> None:
    # By host: a peer that comes back again and again comes from another port each time.
    rate_limited(f"peer {peer.rpartition(':')[0] or peer}", text)
