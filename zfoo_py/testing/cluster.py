"""A cluster in one process: discovery, providers and consumers over a memory network, under a fake clock."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

from zfoo_py.errors import ConfigError, nearest_name
from zfoo_py.node import Node
from zfoo_py.protocol.packet import Ask, Packet, ProtocolModule
from zfoo_py.protocol.places import caller
from zfoo_py.testing.clock import FakeClock
from zfoo_py.testing.loop_time import LoopTime, fake_time
from zfoo_py.testing.network import ANY, MemoryHost, MemoryNetwork, pass_time
from zfoo_py.testing.sources import Service, module_of, service_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from contextlib import AbstractAsyncContextManager
    from types import ModuleType
    from typing import Literal

    from zfoo_py.consumer.consumer import Consumer
    from zfoo_py.consumer.hashing import Key
    from zfoo_py.protocol.packet import PacketTable
    from zfoo_py.router.answer import Answer

    Direction = Literal["both", "in", "out"]
    Names = int | Iterable[str] | Mapping[str, Mapping[str, Any]]

__all__ = ["Cluster", "cluster"]

A = TypeVar("A", bound=Packet)

# A test that lets more fake time pass in its waits (not by `advance`) waits for what never comes.
LONGEST_WAIT_S = 600.0

DISCOVERY = "discovery"


def cluster(
    *sources: Any,
    provides: Iterable[Any] | None = None,
    receivers: Any = None,
    providers: Names = 3,
    consumers: Names = 1,
    consumes: Iterable[Any] | None = None,
    table: PacketTable | None = None,
    clock: FakeClock | None = None,
    here: ModuleType | None = None,
    **arguments: Any,
) -> AbstractAsyncContextManager[Cluster]:
    """Run discovery, providers and consumers in this process: no port, no sleep, and a clock that a test moves.

    ::

        async with cluster(greetings, providers=3) as c:
            first = await c.ask(HelloAsk("ada"))
            c.kill(first.provider)
            second = await c.ask(HelloAsk("ada"))

    Everything belongs to the running loop, which must be asyncio's own. While the cluster runs, ``loop.time``,
    `asyncio.sleep` and `asyncio.timeout` follow its clock; when everything waits, the clock jumps to what is due next.

    Args:
        sources: protocol modules, and Python modules, functions or objects with receivers. Of a protocol module the
            receivers are those where its packets are declared; with nothing named, those of the calling module.
        provides: what each provider provides, as of `Node`; None: the protocol modules among the sources, else those
            of the receivers' packets.
        receivers: as of `Node`, or a function from a provider's name to that, for objects that need arguments.
        providers: how many ("provider-1" and so on), their names, or name → arguments of that `Node`.
        consumers: the same for consumers ("consumer-1" and so on).
        consumes: what each consumer consumes; None: what is provided.
        table: mapping of the packets; None: that of the first protocol module.
        clock: None: a new one.
        here: the module to look in when nothing is named; None: the calling one.
        arguments: of every node: any limit by its name (``heartbeat_interval_s=1.0``), ``balancers``, ``interceptors``.

    Raises:
        ReceiverError: no receivers are found; says where they were looked for.
        ConfigError: as `Node`; or the running loop is not asyncio's own.
        NotReadyError: a consumed module has no provider.
        TimeoutError: on leaving: the test waited for ten minutes of fake time, so it waits for what never comes.
    """
    place = here if here is not None else module_of(caller())
    service = service_of(sources, provides, receivers, table, place)
    wanted = service.provides if consumes is None else tuple(consumes)
    specs = {
        **{name: Spec("provider", own) for name, own in _named(providers, "provider").items()},
        **{name: Spec("consumer", {"consumes": wanted, **own}) for name, own in _named(consumers, "consumer").items()},
    }
    return _run(service, specs, arguments, clock or FakeClock())


@asynccontextmanager
async def _run(
    service: Service, specs: dict[str, Spec], arguments: Mapping[str, Any], clock: FakeClock
) -> AsyncIterator[Cluster]:
    with fake_time(clock) as times:
        running = Cluster(service, arguments, times)
        try:
            await running.start(specs)
            async with asyncio.timeout(LONGEST_WAIT_S) as limit:
                running.limit = limit
                yield running
        except TimeoutError as error:
            if not running.limit.expired():
                raise
            msg = (
                f"the test has waited for {LONGEST_WAIT_S:.0f} s of the fake clock, so it awaits what never comes: see "
                f"the last line of the test in this traceback (`await c.advance(seconds)` may pass more)"
            )
            raise TimeoutError(msg) from error
        finally:
            await running.stop_all()


class Spec(NamedTuple):
    """What a node of a cluster is told: its role ("provider", "consumer", "discovery") and its own arguments."""

    role: str
    arguments: Mapping[str, Any]


class Cluster:
    """The nodes of one process over one memory network; made by `cluster`. All of it belongs to the running loop.

    Faults are made by a node's name: a provider's, a consumer's, or "discovery". They are there when the call returns;
    what follows from them happens while the test awaits something.

    Attributes:
        clock: the fake clock.
        network: the network.
        nodes: by name, those that run: neither killed nor ended.
    """

    def __init__(self, service: Service, arguments: Mapping[str, Any], times: LoopTime) -> None:
        self.clock = times.clock
        self.network = MemoryNetwork(times.clock)
        self.nodes: dict[str, Node] = {}
        self.limit = asyncio.timeout(None)
        self._service = service
        self._arguments = dict(arguments)
        self._times = times
        self._specs: dict[str, Spec] = {}
        self._addresses: dict[str, str] = {}  # where each has listened: whoever comes back, comes back there
        self._aborts: set[asyncio.Task[None]] = set()

    # --- what there is

    @property
    def providers(self) -> dict[str, Node]:
        """The providers that run, by name."""
        return self._of_role("provider")

    @property
    def consumers(self) -> dict[str, Node]:
        """The consumers that run, by name."""
        return self._of_role("consumer")

    @property
    def node(self) -> Node:
        """The first consumer's node."""
        return next(iter(self.consumers.values()))

    @property
    def consumer(self) -> Consumer:
        """The first consumer."""
        return self.node.consumer

    @property
    def discovery(self) -> Node:
        """The node that hosts the embedded discovery."""
        return self._node(DISCOVERY)

    def serving(self, module: ProtocolModule | str, key: Key) -> str:
        """Return the name of the provider to which the first consumer would give a key now.

        Raises:
            ConfigError: the module is not consumed, has no provider, or no provider owns its keys.
        """
        name = module if isinstance(module, str) else module.name
        engine = self.node._engine  # noqa: SLF001 - an application has no use for it
        service = engine.service(name) if engine is not None else None
        if service is None or not service.view.providers:
            msg = f"no provider of module {name!r} is known to {self.node.id}"
            raise ConfigError(msg)
        if not service.balancer.needs_key:
            msg = f"module {name!r} is balanced by {service.balancer_name!r}, so no provider owns a key of it"
            raise ConfigError(msg)
        owner = service.balancer.pick(service.view, key)
        assert owner is not None
        return owner.node_id

    # --- asking, with the first consumer

    @overload
    def ask(
        self, packet: Ask[A], answer: None = None, *, key: Key | None = ..., timeout_s: float | None = None
    ) -> Answer[A]: ...

    @overload
    def ask(
        self, packet: Packet, answer: type[A], *, key: Key | None = ..., timeout_s: float | None = None
    ) -> Answer[A]: ...

    def ask(self, packet: Any, answer: Any = None, **how: Any) -> Answer[Any]:
        """Ask as `Consumer.async_ask` does, with the first consumer."""
        return self.consumer.async_ask(packet, answer, **how)

    # --- time

    async def settle(self) -> None:
        """Let the loop turn until nothing more happens at this time of the fake clock; receivers' threads too."""
        await self._times.settle()

    async def advance(self, seconds: float) -> None:
        """Let fake time pass, timer by timer: between two of them everything happens that the first one causes."""
        when_s = self.limit.when()
        if when_s is not None:
            self.limit.reschedule(when_s + seconds)
        await pass_time(self.clock, seconds)
        await self.settle()

    # --- faults

    def kill(self, name: str) -> None:
        """End a node as SIGKILL does: its connections break, it says no goodbye, its receivers are cancelled."""
        node = self._node(name)
        self.network.hosts[name].kill()
        del self.nodes[name]
        task = asyncio.create_task(node.abort(), name=f"zfoo_py abort of {name}")
        self._aborts.add(task)
        task.add_done_callback(self._aborts.discard)

    def stop(self, name: str) -> None:
        """Stop a node as SIGSTOP does: it reads nothing, says nothing, and its timers wait; until `cont` or `heal`.

        A receiver that is at work in it goes on, but nobody hears of that.
        """
        self._node(name)
        self.network.hosts[name].stop()

    def cont(self, name: str) -> None:
        """Let a node go on, as SIGCONT does, with what has come and fallen due meanwhile."""
        self._node(name)
        self.network.hosts[name].cont()

    def drop(self, name: str, other: str | None = None, *, direction: Direction = "both") -> None:
        """Let what a node sends ("out"), or gets ("in"), or both, vanish, while its connections stay; until `heal`.

        What was sent into such a black hole is lost, also after `heal`. (TCP would send it again.)

        Args:
            name: the node.
            other: only between it and this one; None: between it and everybody.
            direction: as seen from the node.
        """
        for source, target in self._ways(name, other, direction):
            self.network.drop(source, target)

    def delay(self, name: str, seconds: float, other: str | None = None, *, direction: Direction = "both") -> None:
        """Let what a node sends, or gets, or both, take so long on its way; until `heal`. Arguments as of `drop`."""
        for source, target in self._ways(name, other, direction):
            self.network.delay(source, target, seconds)

    def reset(self, name: str, other: str | None = None) -> None:
        """Break a node's connections, or those to one other node; it lives, and they connect again."""
        self._known(name)
        self.network.reset(name, ANY if other is None else self._known(other))

    def slow_reader(self, name: str, other: str | None = None) -> None:
        """Let a node read nothing, or nothing of one other node, while it sends and lives; until `heal`."""
        self._known(name)
        self.network.slow_reader(name, ANY if other is None else self._known(other))

    def flood(self, name: str, packets: Iterable[Ask[A]]) -> list[Answer[A]]:
        """Ask with a consumer, by its name, all of these at once, without waiting for anything; O(packets)."""
        consumer = self._node(name).consumer
        return [consumer.async_ask(packet) for packet in packets]

    def heal(self, name: str | None = None) -> None:
        """End the stops, delays, drops and slow readers of a node, or of all."""
        self.network.heal(ANY if name is None else self._known(name))
        for each in self.nodes if name is None else (name,):
            self.network.hosts[each].cont()

    # --- coming and going

    async def add(self, name: str = "", **arguments: Any) -> Node:
        """Start another provider, with arguments of its own, and wait until its joining has settled.

        Args:
            name: its name; "": the next free one of "provider-1" and so on.
            arguments: of its `Node`.
        """
        taken = self._specs.keys()
        name = name or next(free for n in range(1, len(taken) + 2) if (free := f"provider-{n}") not in taken)
        if name in self.nodes:
            msg = f"{name} runs already: choose another name"
            raise ConfigError(msg)
        self._specs[name] = Spec("provider", arguments)
        await self._start([name])
        return self.nodes[name]

    async def term(self, name: str) -> None:
        """End a node as SIGTERM does: it leaves discovery, finishes what is in work, and ends."""
        await self._node(name).stop()
        self.nodes.pop(name, None)  # it may have been killed meanwhile
        await self.settle()

    async def restart(self, name: str) -> Node:
        """Start a node again at the same address, after `kill` or `term`; one that runs is ended first."""
        self._known(name)
        if name in self.nodes:
            await self.term(name)
        await self._end_aborts()
        await self._start([name])
        return self.nodes[name]

    # --- inside

    async def start(self, specs: Mapping[str, Spec]) -> None:
        """Start discovery, then all others; for `cluster`."""
        self._times.threads_at_work.append(self._threads_at_work)
        self._specs[DISCOVERY] = Spec(DISCOVERY, {})
        await self._start([DISCOVERY])
        self._specs.update(specs)
        await self._start(specs)

    async def stop_all(self) -> None:
        """End every node; for `cluster`."""
        self.heal()
        for name in sorted(self.nodes, key=lambda name: _ROLES.index(self._specs[name].role)):
            await self.nodes[name].stop()
        await self._end_aborts()
        self._times.threads_at_work.remove(self._threads_at_work)

    async def _start(self, names: Iterable[str]) -> None:
        starting = []
        for name in names:
            self.nodes[name] = node = self._make(name)
            starting.append(node.start())
        for outcome in await asyncio.gather(*starting, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
        for name in names:
            self._addresses[name] = self.nodes[name].address or self.nodes[name].discovery_address
        await self.settle()

    def _make(self, name: str) -> Node:
        host: MemoryHost = self.network.host(name)
        spec = self._specs[name]
        told: dict[str, Any] = {
            "id": name,
            "table": self._service.table,
            "rng": random.Random(name),
        }  # the same each time
        told |= {"network": host, "clock": host.timers, "receivers": [], **self._arguments}
        if spec.role == DISCOVERY:
            return Node(discovery={"address": self._addresses.get(name, "127.0.0.1:0"), "host": True}, **told)
        told["discovery"] = {"address": self._addresses[DISCOVERY]}
        if spec.role == "provider":
            told |= {"provides": self._service.provides, "receivers": self._service.receivers(name)}
            told["address"] = self._addresses.get(name, "127.0.0.1:0")
        return Node(**{**told, **spec.arguments})

    async def _end_aborts(self) -> None:
        if self._aborts:
            await asyncio.wait(self._aborts)

    def _threads_at_work(self) -> int:
        return sum(node.router.threads_at_work() for node in self.nodes.values() if node.is_running)

    def _of_role(self, role: str) -> dict[str, Node]:
        return {name: node for name, node in self.nodes.items() if self._specs[name].role == role}

    def _ways(self, name: str, other: str | None, direction: Direction) -> list[tuple[str, str]]:
        self._known(name)
        there = ANY if other is None else self._known(other)
        ways = {"out": [(name, there)], "in": [(there, name)], "both": [(name, there), (there, name)]}
        if direction not in ways:
            msg = f'direction is "both", "in" or "out", not {direction!r}'
            raise ConfigError(msg)
        return ways[direction]

    def _known(self, name: str) -> str:
        if name not in self._specs:
            msg = f"no node of this cluster is called {name!r}; there are {', '.join(self._specs)}"
            raise ConfigError(msg, nearest=nearest_name(name, self._specs))
        return name

    def _node(self, name: str) -> Node:
        if self._known(name) not in self.nodes:
            msg = f"{name} does not run: it was killed, or has ended; `await c.restart({name!r})` brings it back"
            raise ConfigError(msg)
        return self.nodes[name]


# The order in which nodes end.
_ROLES = ("consumer", "provider", DISCOVERY)


def _named(wanted: Names, role: str) -> dict[str, Mapping[str, Any]]:
    if isinstance(wanted, int):
        wanted = [f"{role}-{number}" for number in range(1, wanted + 1)]
    return dict(wanted) if isinstance(wanted, Mapping) else {name: {} for name in wanted}
