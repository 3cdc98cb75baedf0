"""The node: what it is told, checked; how it is started and stopped. The composition root."""

from __future__ import annotations

import asyncio
import inspect
import os
import random
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Self

from loguru import logger

from zfoo_py.actor import LoopFuture, refuse_blocking
from zfoo_py.config import Consume, NodeConfig, Provide
from zfoo_py.consumer.hashing import check_key, task_hash
from zfoo_py.consumer.policies.catalog import BALANCERS, check_options
from zfoo_py.engine import Engine, Parts
from zfoo_py.errors import ConfigError, ForkedError, ZfooError, nearest_name
from zfoo_py.events import Events, NodeStarted, NodeStopping
from zfoo_py.fork_io import forked, release_signals, watch
from zfoo_py.listen_config import MSGPACK
from zfoo_py.loop_thread import LoopThread
from zfoo_py.net import tcp_io
from zfoo_py.net.messages import ListSessions
from zfoo_py.program import import_module, load, main_modules, main_name, read_file
from zfoo_py.protocol.packet import DEFAULT_TABLE
from zfoo_py.router.answer import Answer, asked
from zfoo_py.router.call import current_call
from zfoo_py.router.receivers import check_provided, collect_receivers
from zfoo_py.signals import until_signal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from pathlib import Path
    from types import TracebackType

    from zfoo_py.actor import TimerSource
    from zfoo_py.consumer.balancer import Balancer, BalancerOptions
    from zfoo_py.consumer.consumer import Consumer
    from zfoo_py.consumer.discovery import Discovery
    from zfoo_py.consumer.hashing import Key
    from zfoo_py.events import Event
    from zfoo_py.net.seams import Network
    from zfoo_py.net.session import SessionRecord
    from zfoo_py.protocol.packet import PacketTable, ProtocolModule
    from zfoo_py.router.router import Interceptor, Router

    Hook = Callable[["Node"], Awaitable[None] | None]

__all__ = ["Node"]


class Node:
    """One member of a cluster: provides modules, consumes modules, or both.

    ::

        Node(provides=[visits]).run()                        # a process of its own

        async with Node(consumes=[visits]) as node:          # on the running loop
            answer = await node.consumer.async_ask(VisitAsk("10.0.0.7", 512))

        with Node(consumes=[visits]) as node:                # on a loop thread of its own
            answer = node.consumer.sync_ask(VisitAsk("10.0.0.7", 512))

    Args:
        config: everything at once, from `NodeConfig.from_toml` or `NodeConfig.build`; None: the environment
            (``ZFOO_…``) and the arguments below.
        receivers: modules, functions and objects with ``@packet_receiver``; None: the modules of
            ``[app] imports``, and the program's main module. Importing a module never makes a node a provider.
        discovery: an object that implements `zfoo_py.consumer.discovery.Discovery`, or as in `NodeConfig.build`.
        table: mapping of packets to ids and modules.
        balancers: more policies by name; a factory is called with `BalancerOptions`. A name ``module:Class`` needs no
            entry here. What a policy must be: `zfoo_py.consumer.policies.user_policy`.
        interceptors: hooks around asks and receives; none costs nothing.
        network: where it listens and dials; tests give a `zfoo_py.testing.MemoryNetwork`.
        clock: None: the loop's; tests give a `zfoo_py.testing.FakeClock`.
        rng: spreads reconnections and picks random providers; None: seeded by the system.
        on_start, on_stop: called with the node when it is ready, and before it drains; may be coroutine functions.
        arguments: ``id``, ``address``, ``provides``, ``consumes``, ``imports``, ``modules`` and any limit by its
            name, as in `NodeConfig.build`; they win over the environment.

    Raises:
        ConfigError, ReceiverError, PacketError: something declared is wrong; says where and what to do.

    Attributes:
        id: name of the node; its identity is id + address.
        config: its configuration.
        events: where it publishes; may be subscribed to before the start.
        receivers: what it handles, by packet class.
    """

    def __init__(
        self,
        config: NodeConfig | None = None,
        *,
        receivers: Iterable[object] | None = None,
        discovery: Discovery | str | Mapping[str, Any] | None = None,
        table: PacketTable = DEFAULT_TABLE,
        balancers: Mapping[str, Callable[[BalancerOptions], Balancer]] | None = None,
        interceptors: Iterable[Interceptor] = (),
        network: Network = tcp_io,
        clock: TimerSource | None = None,
        rng: random.Random | None = None,
        on_start: Hook | None = None,
        on_stop: Hook | None = None,
        **arguments: Any,
    ) -> None:
        own_discovery: Any = discovery if hasattr(discovery, "register") else None
        if own_discovery is not None:
            discovery = None
        if config is None:
            main = main_name()
            config = NodeConfig.build({}, os.environ, default_id=main, discovery=discovery, **arguments)
        elif discovery is not None or arguments:
            given = ", ".join([*arguments, *(["discovery"] if discovery is not None else [])])
            msg = f"give {given} to NodeConfig.build or NodeConfig.from_toml: a config is complete"
            raise ConfigError(msg)
        self.config = config
        self.id = config.id
        self.events = Events(on_error=_log_subscriber)
        self._table = table
        self._balancers = {**BALANCERS, **(balancers or {})}
        self._on_start = on_start
        self._on_stop = on_stop
        self._state = "new"
        self._engine: Engine | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: LoopThread | None = None
        self._starting: asyncio.Task[None] | None = None
        self._start_failed: LoopFuture[None] = LoopFuture()
        self._stopping: asyncio.Task[None] | None = None
        self._has_signals = False
        imported = [import_module(name, f"app.imports[{index}]") for index, name in enumerate(config.imports)]
        if config.modules:
            table.declare(config.modules)
        if config.protocol_xml:
            from zfoo_py.protocol.protocol_xml import declare_xml, packets_of, read_protocol_xml  # noqa: PLC0415 - XML

            xml = read_file(config.protocol_xml, "app.protocol_xml")
            declare_xml(table, read_protocol_xml(xml, config.protocol_xml), packets_of([*imported, *main_modules()]))
        table.resolve()
        sources: list[Any] = list(receivers) if receivers is not None else [*imported, *main_modules()]
        self.receivers = collect_receivers(sources, table)
        self._check()
        self._parts = Parts(
            node=self,
            config=config,
            table=table,
            receivers=self.receivers,
            events=self.events,
            balancers=self._balancers,
            interceptors=tuple(interceptors),
            discovery=own_discovery,
            network=network,
            clock=clock,
            rng=rng or random.Random(),
        )

    @classmethod
    def from_toml(cls, path: str | Path, *, receivers: Iterable[object] | None = None, **arguments: Any) -> Self:
        """Make a node from a TOML file; the environment wins over the file, ``arguments`` over both.

        Args:
            path: the file.
            receivers: as in the constructor.
            arguments: of the constructor, and of `NodeConfig.build`.

        Raises:
            ConfigError: as the constructor, or the file cannot be read.
        """
        own = {name: arguments.pop(name) for name in _CONSTRUCTOR_ONLY if name in arguments}
        return cls(NodeConfig.from_toml(path, **arguments), receivers=receivers, **own)

    def __repr__(self) -> str:
        return f"<Node {self.id} {self.address or 'without address'} {self._state}>"

    def _check(self) -> None:
        config, known = self.config, self._table.modules
        provided: list[ProtocolModule] = []
        wishes: tuple[Provide | Consume, ...] = (*config.provides, *config.consumes)
        for index, wanted in enumerate(wishes):
            is_provided = index < len(config.provides)
            path = f"provider[{index}]" if is_provided else f"consumer[{index - len(config.provides)}]"
            module = known.get(wanted.module)
            if module is None:
                msg = f"there is no protocol module {wanted.module!r}: import the Python module that declares it"
                raise ConfigError(msg, path=f"{path}.module", nearest=nearest_name(wanted.module, known))
            if is_provided:
                provided.append(module)
        check_provided(self.receivers, provided)
        for index, consumed in enumerate(config.consumes):
            if ":" in consumed.balancer and consumed.balancer not in self._balancers:
                self._balancers[consumed.balancer] = load(consumed.balancer, f"consumer[{index}].balancer")
            if consumed.balancer not in self._balancers:
                msg = f"there is no balancer {consumed.balancer!r}; there are {', '.join(sorted(self._balancers))}"
                nearest = nearest_name(consumed.balancer, self._balancers)
                raise ConfigError(msg, path=f"consumer[{index}].balancer", nearest=nearest)
            if self._balancers[consumed.balancer] is BALANCERS.get(consumed.balancer):
                check_options(consumed.balancer, consumed.options, f"consumer[{index}].options")

    # --- what applications use

    @property
    def consumer(self) -> Consumer:
        """Asks the providers of the consumed modules.

        Raises:
            ZfooError: the node does not run.
        """
        return self._running().consumer

    @property
    def router(self) -> Router:
        """Asks and sends over given sessions.

        Raises:
            ZfooError: the node does not run.
        """
        return self._running().router

    @property
    def table(self) -> PacketTable:
        """The mapping of packets to ids and modules."""
        return self._table

    @property
    def address(self) -> str:
        """Where the node really listens ("host:port"), "" if it does not (yet)."""
        return self._engine.address if self._engine is not None else ""

    @property
    def listeners(self) -> dict[str, str]:
        """Where the node really listens, by codec: {"msgpack": "host:port", "zfoo-java": …}; {} before the start."""
        return dict(self._engine.listeners) if self._engine is not None else {}

    @property
    def discovery_address(self) -> str:
        """Where the embedded discovery is that this node uses or hosts, "" for other kinds or before the start."""
        return self._engine.discovery_address if self._engine is not None else ""

    @property
    def is_running(self) -> bool:
        """Whether it has started and not ended."""
        return self._engine is not None and self._state in {"starting", "up", "stopping"}

    def run_in_lane(self, key: Key, function: Callable[..., Any], *args: Any) -> Answer[Any]:
        """Run own work on a key's lane: in order with its packets, one at a time, so the lane's state needs no lock.

        Args:
            key: the key, as of an ask.
            function: a coroutine function runs on the loop, any other on a worker thread.
            args: its arguments.

        Returns:
            An awaitable of what it returns. From any thread. It has no deadline: do not wait for it in work of the
            same lane, which would wait for itself until it is cancelled.
        """
        check_key(key)
        is_async = inspect.iscoroutinefunction(function)
        return self.router.run_in_lane(task_hash(key), function, args, is_async=is_async)

    def sessions(self, *, uid: int | None = None, module: str | None = None) -> Answer[tuple[SessionRecord, ...]]:
        """Ask the registry for the records of all sessions, or of one user's, or of one provided module's."""
        engine = self._running()
        return asked(engine.runtime, engine.registry, ListSessions(uid, module))

    def stats(self) -> Answer[dict[str, Any]]:
        """Ask for the figures of the whole node, as plain JSON values.

        Per service type the cache, the ring, picks and hot keys; alerts, sessions, the router, actors and inboxes.

        Returns:
            Awaitable, and ``get(timeout=…)`` in threads. O(sessions + providers).

        Raises:
            ZfooError: the node does not run.
        """
        engine = self._running()
        answer: Answer[dict[str, Any]] = Answer(engine.runtime)
        engine.runtime.call_from_outside(engine.admin.answer_stats, answer)
        return answer

    async def metrics_text(self) -> str:
        """Return the figures of `stats` as Prometheus text, to be served by whatever serves HTTP here.

        Raises:
            ConfigError: prometheus-client is not installed (the extra ``metrics``).
            ZfooError: the node does not run.
        """
        from zfoo_py.metrics import metrics_text  # noqa: PLC0415 - nobody else needs it, nor the extra

        return metrics_text(await self.stats())

    def after_fork(self) -> None:
        """Be dead: this process is a forked child. Called by `zfoo_py.fork_io`; `stop` and the like do nothing then."""
        if self._engine is not None and self.is_running:
            self._state = "forked"
            self._stopping = None
            self._engine.after_fork()
            if self._has_signals:
                release_signals()

    def _running(self) -> Engine:
        if self._state == "forked":
            raise ForkedError(forked(self.id))
        if self._engine is None or not self.is_running:
            msg = f"the node is {self._state}: use `async with Node(…)`, `with Node(…)` or Node(…).run()"
            raise ZfooError(msg)
        return self._engine

    # --- life, on the running loop

    async def start(self) -> Self:
        """Start on the running loop: listen, register, connect, and wait for every consumed module.

        Raises:
            ConfigError: an address cannot be used.
            NotReadyError: no provider of a consumed module within ``ready_timeout_s``; says what is missing.
            ZfooError: it was started before.
        """
        if self._state != "new":
            msg = f"this node is {self._state}: a node starts once; make another one"
            raise ZfooError(msg)
        self._state = "starting"
        self._loop = asyncio.get_running_loop()
        self._engine = Engine(self._parts, self._loop)
        watch(self)
        self._starting = self._loop.create_task(self._engine.start(), name=f"zfoo_py start of {self.id}")
        try:
            await self._starting
            self._state = "up"
            await _call_hook(self._on_start, self)
        except BaseException as error:
            was_told_to = self._state == "stopping" and isinstance(error, asyncio.CancelledError)
            self._state = "stopping"
            await self._engine.stop()
            self._state = "stopped"
            self._start_failed.settle()
            task = asyncio.current_task()
            if was_told_to and task is not None and not task.cancelling():
                msg = f"node {self.id} was stopped while it started"
                raise ZfooError(msg) from None
            raise
        self.events.publish(NodeStarted(self.id, self.address or None))
        where = [at if codec == MSGPACK else f"{at} in {codec}" for codec, at in self.listeners.items()]
        at = f" at {' and '.join(where)}" if where else ""
        logger.info("node {} is up{} (process {})", self.id, at, os.getpid())
        return self

    async def stop(self) -> None:
        """Leave discovery, finish what is in work up to ``drain_timeout_s``, and end everything. Idempotent.

        In a receiver it begins and does not wait: the node waits for its receivers. One that is
        starting starts no further; whoever waits for its start gets a ZfooError.

        Raises:
            Exception: what ``on_stop`` raised, once everything has ended.
        """
        if self._state == "new":
            self._state = "stopped"
        elif self._state == "starting":
            await self._stop_starting()
        elif self._state == "up":
            self._state = "stopping"
            context = copy_context()
            context.run(current_call.set, None)  # the end of the node belongs to no receiver
            self._stopping = asyncio.create_task(self._stop(), name=f"zfoo_py stop of {self.id}", context=context)
        stopping = self._stopping
        if stopping is None or stopping.done() or current_call.get() is not None:
            return
        task = asyncio.current_task()
        assert task is not None
        try:
            await asyncio.shield(stopping)
        except asyncio.CancelledError:
            if not task.cancelling():  # another one who waits was cancelled, and has cut the draining short
                return
            stopping.cancel()
            await asyncio.wait({stopping})
            raise

    async def _stop_starting(self) -> None:
        """Cancel a start that is under way; whoever waits for it gets a ZfooError."""
        assert self._starting is not None
        self._state = "stopping"
        self._starting.cancel()
        await self._start_failed

    async def abort(self) -> None:
        """End everything at once, without goodbye, draining or ``on_stop``. Idempotent."""
        if self._state == "starting":
            await self._stop_starting()
        if self._stopping is not None:
            self._stopping.cancel()  # it cuts the draining short, and ends the engine
            await asyncio.wait({self._stopping})
        if self._state in {"up", "stopping"}:
            self._state = "stopping"
            assert self._engine is not None
            await self._engine.abort()
        self._state = "stopped"

    async def _stop(self) -> None:
        assert self._engine is not None
        failure: Exception | None = None
        self.events.publish(NodeStopping(self.id))
        try:
            try:
                await _call_hook(self._on_stop, self)
            except Exception as error:  # noqa: BLE001 - the peers' asks are not to suffer for it
                failure = error
            await self._engine.drain()
        finally:
            await self._engine.stop()
            self._state = "stopped"
        logger.info("node {} has stopped", self.id)
        if failure is not None:
            raise failure

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    # --- life, in a process or a thread of its own

    def run(self) -> None:
        """Run until SIGTERM or Ctrl-C, then stop in order; a second signal ends the process at once.

        Raises:
            BlockingCallError: an event loop runs in this thread.
            ConfigError, NotReadyError: as `start`.
        """
        refuse_blocking("Node.run()", "use `async with Node(…)`")
        with asyncio.Runner(loop_factory=new_loop) as runner:
            self._has_signals = True
            runner.run(until_signal(self.start, self.stop))

    def __enter__(self) -> Self:
        refuse_blocking("`with Node(…)`", "use `async with Node(…)`")
        self._thread = LoopThread(self.id, new_loop())
        try:
            self._thread.call(self.start())
        except BaseException:
            self._thread.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._thread is not None
        if self._state == "forked":  # the thread is the parent's
            return
        try:
            self._thread.call(self.stop())
        finally:
            self._thread.end()


# Arguments of the constructor that NodeConfig does not know.
_CONSTRUCTOR_ONLY = ("table", "balancers", "interceptors", "network", "clock", "rng", "on_start", "on_stop")


def new_loop() -> asyncio.AbstractEventLoop:
    """Return a uvloop, or asyncio's where there is none."""
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def _call_hook(hook: Hook | None, node: Node) -> None:
    if hook is not None:
        result = hook(node)
        if inspect.isawaitable(result):
            await result


def _log_subscriber(handler: Callable[..., object], event: Event, error: BaseException) -> None:
    logger.opt(exception=error).error("subscriber {!r} raised at {!r}", handler, event)
