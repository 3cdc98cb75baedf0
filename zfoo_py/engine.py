"""A started node's inside: its runtime, its core actors and their restarts, its sessions, its end.

`zfoo_py.node` decides what a node is and checks it; this file makes it run. Everything here belongs to the
loop's thread.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
from loguru import logger

from zfoo_py.actor import Abort, LoopFuture, Runtime
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
from zfoo_py.doors import Doors, warn_peer
from zfoo_py.errors import NotReadyError
from zfoo_py.events import Events, Undelivered
from zfoo_py.fork_io import close_descriptors, forked
from zfoo_py.listen_config import CODECS
from zfoo_py.net import messages as m
from zfoo_py.net.handshake import WIRE_VERSION
from zfoo_py.net.registry_actor import RegistryActor
from zfoo_py.net.seams import Network, SessionEnv
from zfoo_py.net.session_actor import SessionActor
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

    from zfoo_py.actor import LoopActor, TimerSource
    from zfoo_py.config import Consume, NodeConfig
    from zfoo_py.protocol.packet import Packet, PacketTable
    from zfoo_py.router.receivers import Receiver

__all__ = ["Engine", "Parts"]


# What worker threads get to finish their receivers after draining, before they are abandoned (daemons). With the
# second that suspended receivers get to end after their cancellation, a node ends within 2 s after draining.
WORKER_STOP_S = 0.5

# What peers that have all their answers get to close their sessions to a node that stops: a thousand round trips in a
# data centre. One that is stopped, or has nothing to say, does not hold up the end.
GOODBYE_S = 1.0

# How often it is seen whether those that are not told so take their answers; a stop with large ones is so much longer.
TAKEN_LOOK_S = 0.05


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
        self._registration_text = ""
        self.address = ""
        self.listeners: dict[str, str] = {}  # codec → where it is spoken
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
            node_id=config.id,
            send_tracebacks=config.send_tracebacks,
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
            flows=self.router.flows,
            hello=self._hello,
            limits=limits,
            warn=warn_peer,
            clock_ms=lambda: time.time_ns() // 1_000_000,
            undelivered=self._undelivered,
            provides=provides,
        )
        self.doors = Doors(self.runtime, self._env, parts.network, limits, self._cores)
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
            lambda: {
                "address": self.address,
                "undelivered": self.undelivered,
                "refused_connections": self.doors.refused,
                "discovery": self._discovery_figures(),
            },
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
            jitter=self._random.random,
        )

    def _spawn_connector(self) -> None:
        self._supervisor.attach(
            self.connector,
            ConnectorActor,
            frozenset((consumed.module, consumed.provider) for consumed in self._config.consumes),
            lambda target: self.doors.open_session(target, self.connector.tell),
            reconnect_min_s=self._limits.reconnect_min_s,
            reconnect_max_s=self._limits.reconnect_max_s,
            jitter=self._random.random,
            reweighed=lambda sid, weight: self.registry.tell(m.Reweighed(sid, weight)),
            connected=lambda target, is_up: self._discovery.connected(target, is_up=is_up),
            warn=warn_peer,
            codecs=self._config.codecs,
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

    def open_session(self, target: c.Target, report: Callable[[Any], None]) -> None:
        """Open a client session in a task of its own; ``report`` gets TargetUp, TargetDown or DialFailed."""
        self.doors.open_session(target, report)

    def _session_down(self, sid: int) -> None:
        if self._config.discovery.host:
            self.directory.tell(m.SessionDown(sid, "the session ended"))

    def _discovery_figures(self) -> dict[str, Any]:
        trouble = self._discovery.trouble() if hasattr(self, "_discovery") else "this node has not started"
        return {"ok": int(not trouble), "trouble": trouble}

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
        self.runtime.open()
        self._slow_turns.start()
        await self._listen()
        config = self._config
        registration = Registration(
            id=config.id,
            address=self._dialled_by_others() or None,
            provides=tuple(ServiceName(provided.module, provided.name) for provided in config.provides),
            consumes=tuple(Subscription(consumed.balancer, consumed.provider) for consumed in config.consumes),
        )
        self._registration_text = registration.text
        self._discovery = self._make_discovery(registration)
        if config.provides or config.consumes:
            await self._discovery.start(self.connector.tell, watch=bool(config.consumes))
        if config.provides:
            self._discovery.register(self._registration_text, weight=config.weight, listeners=self.listeners)
        if config.consumes:
            await self._wait_ready()

    async def _listen(self) -> None:
        if self._config.address is not None:
            listening = await self.doors.listen(self._config.address, "server.address")
            option = self._config.announce_address
            self.address = await announced_address(listening, option, servers_of(self._config))
            self.listeners[c.MSGPACK] = self.address
        for index, row in enumerate(self._config.listen):
            listening = await self.doors.listen(row.address, f"listen[{index}].address", row.codec)
            option = self._config.announce_address.partition(":")[0]
            self.listeners[row.codec] = await announced_address(listening, option, servers_of(self._config))
        if self._config.admin_path:
            self.doors.listeners.append(await self.admin.listen(self._env, self.doors.welcome))
        if self._config.discovery.host:
            self.discovery_address = await self.doors.listen(self._config.discovery.address, "discovery.address")

    def _dialled_by_others(self) -> str:
        """Return the address to register. In ZooKeeper Java peers dial what is registered there, whatever else is."""
        codecs = (c.JAVA, c.MSGPACK) if self._config.discovery.kind == "zookeeper" else CODECS
        return next((self.listeners[codec] for codec in codecs if codec in self.listeners), "")

    def _make_discovery(self, registration: Registration) -> Discovery:
        if self._parts.discovery is not None:
            return self._parts.discovery
        jitter = self._random.random
        around = Surroundings(
            self._config, registration, self.runtime, self.router, self.open_session, jitter, warn_peer
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
        """Leave discovery, refuse new asks, finish what is in work and in flight, up to ``drain_timeout_s``."""
        await self._discovery.leave()
        await self.doors.close()
        for _ in range(3):  # who has just been accepted is read: a socket closed over unread bytes resets its peer
            await asyncio.sleep(0)
        served = self._sessions("server")
        for actor in served:
            self.runtime.deliver(actor.actor_ref, m.Drain())
        self.router.admission.drain()  # now, so that who is refused has read that this node drains
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.drain_timeout_s):
                await self.router.drained()
                await self._retire()  # not before: what is in work may ask
                # An outside client, or a Java peer, does not know that it should go.
                await _goodbyes([actor for actor in served if actor.session.kind != "client"])
                await _taken([actor for actor in served if actor.session.kind == "client"])

    async def _retire(self) -> None:
        """Take no new asks here either, and wait for the answers to those in flight."""
        self.connector.detach()
        if self.connector.ref is not None:
            await self.connector.ref.stop(block=False)
        asking = self._sessions("client")
        for actor in asking:
            self.runtime.deliver(actor.actor_ref, m.Retire("this node stops"))
        for actor in asking:
            await actor.ended

    def _sessions(self, side: str) -> list[SessionActor]:
        sessions = [actor for actor in self.runtime.actors if isinstance(actor, SessionActor)]
        return [actor for actor in sessions if actor.session.side == side]

    async def abort(self) -> None:
        """End every session, before receivers that are cancelled could answer; then everything."""
        if hasattr(self, "_discovery"):
            await self._discovery.stop()  # that its session ends is our own doing, and no news
        for actor in [actor for actor in self.runtime.actors if isinstance(actor, SessionActor)]:
            self.runtime.deliver(actor.actor_ref, Abort("this node is aborted"))
        await self.stop()

    def after_fork(self) -> None:
        """Be dead, in a forked child: close its copies of the sockets, and let nothing reach the actors."""
        self.runtime.after_fork(forked(self._config.id), self._cores)
        close_descriptors(self.runtime.sockets, *(listener.sockets for listener in self.doors.listeners))

    async def stop(self) -> None:
        """End every dial, session, actor, driver and worker."""
        self._slow_turns.stop()
        self._supervisor.stop()
        for core in self._cores:
            core.detach()
        await self.doors.stop()
        if hasattr(self, "_discovery"):
            await self._discovery.stop()
        await self.admin.stop()
        workers = await self.router.stop()
        self.runtime.drain()  # before its session ends, who asked what has not begun here is told, and asks elsewhere
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
        self.runtime.close()


async def _taken(served: list[SessionActor]) -> None:
    """Wait as long as peers take what is written for them: when the process ends, the rest is lost."""
    waited_s = 0.0
    while waited_s < GOODBYE_S and (unsent_bytes := sum(actor.unsent_bytes() for actor in served)):
        await asyncio.sleep(TAKEN_LOOK_S)
        is_taken = sum(actor.unsent_bytes() for actor in served) < unsent_bytes
        waited_s = 0.0 if is_taken else waited_s + TAKEN_LOOK_S


async def _goodbyes(served: list[SessionActor]) -> None:
    """Wait for the peers to close: they know when they have their answers. Who has all of them and stays is closed."""
    with suppress(TimeoutError):
        async with asyncio.timeout(GOODBYE_S):
            for actor in served:
                await actor.ended
    for actor in served:
        if actor.unsent_bytes():
            await actor.ended
