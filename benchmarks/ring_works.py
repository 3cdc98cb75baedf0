"""What benchmarks/ring.py measures: a real node's ConsumerActor, whose sessions are played by objects that do nothing.

The node, its registry and its consumer are the product's own; only discovery and the sessions are not there. So a
pick costs what it costs in an ask, and a change takes the way that it takes in a cluster: registry, MembershipChange,
ring, sweep.
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter, thread_time
from typing import TYPE_CHECKING, Any

from zfoo_py import Ask, Node, Packet, PacketTable, ProtocolModule
from zfoo_py.consumer.messages import Announced
from zfoo_py.consumer.ring import HashRing
from zfoo_py.net.messages import AskRecord, ProviderDown, ProviderUp, SessionUp
from zfoo_py.net.session import SessionRecord
from zfoo_py.protocol.registration import Registration, ServiceName
from zfoo_py.router.answer import Answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

TABLE = PacketTable()
CACHED = ProtocolModule(10, "cached", table=TABLE)
PLAIN = ProtocolModule(11, "plain", table=TABLE)
MODULES = {"cached": CACHED, "plain": PLAIN}
BALANCERS = {"cached": "cached-consistent-hash", "plain": "consistent-hash"}
# A sweep of 100,000 keys takes a tenth of this; a longer one is a hang.
SETTLE_LIMIT_S = 30.0
# Keys compared with a fresh consumer after every turn of a sweep.
COMPARED_PER_TURN = 50


@CACHED.packet(1001)
class Found(Packet):
    """The answer nobody gives."""


@CACHED.packet(1000)
class Find(Ask[Found]):
    """A question."""


class QuietSession:
    """Stands for a session: takes every order and does nothing."""

    def __init__(self, sid: int) -> None:
        self.actor_urn = str(sid)

    def tell(self, _: Any) -> None:
        """Take an order."""


class NoDiscovery:
    """Knows nobody: the benchmark tells the registry itself, first of all when the node starts."""

    def __init__(self, at_start: Callable[[], None]) -> None:
        self._at_start = at_start

    async def start(self, announce: Callable[[Announced], None], *, watch: bool) -> None:
        """Say that there is nothing, and let the benchmark fill the registry."""
        del watch
        announce(Announced(snapshot=True))
        self._at_start()

    def register(self, text: str, *, weight: int = 1) -> None:
        """Do nothing."""

    async def leave(self) -> None:
        """Do nothing."""

    async def stop(self) -> None:
        """Do nothing."""

    def trouble(self) -> str:
        """Say that nothing is wrong."""
        return ""


@dataclass
class World:
    """A node that consumes two modules, cached and not, and the providers of both.

    Attributes:
        actor: its ConsumerActor.
        turns: (class of the message, seconds) of every turn since `watch`.
    """

    node: Any = None
    actor: Any = None
    sids: dict[int, int] = field(default_factory=dict)
    turns: list[tuple[str, float]] = field(default_factory=list)
    next_sid: int = 1
    modules: tuple[str, ...] = ()

    @property
    def registry(self) -> Any:
        """The address of its RegistryActor."""
        return self.node._engine.registry  # noqa: SLF001 - no public way leads there

    def service(self, module: str) -> Any:
        """Return a service type as the ConsumerActor has it."""
        return self.actor._services[module]  # noqa: SLF001

    def join(self, number: int) -> None:
        """Let a provider come."""
        sid, self.next_sid = self.next_sid, self.next_sid + 1
        self.sids[number] = sid
        of, ref = registration(number, *self.modules), QuietSession(sid)
        record = SessionRecord(sid, "client", "node", of.address or "", "local", of.id, of.text, 0.0)
        self.registry.tell(SessionUp(record, ref, None))  # type: ignore[arg-type]
        self.registry.tell(ProviderUp(sid, of, ref))  # type: ignore[arg-type]

    def leave(self, number: int) -> None:
        """Let a provider go."""
        self.registry.tell(ProviderDown(self.sids.pop(number), "it leaves"))

    async def settled(self) -> None:
        """Wait until the ConsumerActor has handled every change and swept its caches."""
        expected = {registration(number, *self.modules).ring_name for number in self.sids}
        cache = self.service("cached").balancer.cache
        async with asyncio.timeout(SETTLE_LIMIT_S):
            # What is measured tells nobody that it is done.
            while len(self.service("cached").view.providers) != len(expected) or cache.unswept:  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert {provider.ring_name for provider in self.service("cached").view.providers} == expected

    def watch(self, after_turn: Callable[[], None] | None = None) -> None:
        """Note every turn of the ConsumerActor from now on; ``after_turn`` is called between two of them."""
        on_receive, note = type(self.actor).on_receive.__get__(self.actor), self.turns.append

        def timed(message: Any) -> Any:
            start = thread_time()
            result = on_receive(message)
            note((type(message).__name__, thread_time() - start))
            if after_turn is not None:
                after_turn()
            return result

        self.turns.clear()
        self.actor.on_receive = timed

    def records(self, keys: Iterable[Any]) -> list[AskRecord]:
        """Return the asks of some keys, as the ConsumerActor gets them."""
        runtime, binding = self.node._engine.runtime, TABLE.binding(Find)  # noqa: SLF001
        deadline_s = runtime.time() + 1e6
        return [AskRecord(binding, b"", key, deadline_s, Found, Answer(runtime), None, True) for key in keys]


def registration(number: int, *modules: str) -> Registration:
    """Return the registration of the number-th provider; it offers these modules, or both."""
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}:7000"
    provides = tuple(ServiceName(name, name) for name in modules or ("cached", "plain"))
    return Registration(f"app-{number}", address, provides)


@asynccontextmanager
async def world(
    providers: int, max_entries: int = 100_000, modules: tuple[str, ...] = ("cached", "plain")
) -> AsyncIterator[World]:
    """Run a node that consumes these modules and knows so many providers of them all."""
    new = World(modules=modules)

    def fill() -> None:
        for number in range(providers):
            new.join(number)

    new.node = Node(
        id="bench",
        consumes=[(MODULES[name], name, BALANCERS[name]) for name in modules],
        receivers=[],
        table=TABLE,
        discovery=NoDiscovery(fill),
        max_cache_entries=max_entries,
        drain_timeout_s=0.1,
    )
    async with new.node:
        new.actor = new.node._engine.consumer_ref.actor  # noqa: SLF001
        await new.settled()
        yield new


def keys_of(kind: str, numbers: Iterable[int]) -> list[Any]:
    """Return keys as applications have them: ids, addresses, pairs."""
    if kind == "int":
        return list(numbers)
    if kind == "str":
        return [f"user-{number}" for number in numbers]
    return [("room", number) for number in numbers]


def rate(call: Callable[[Any], Any], arguments: Sequence[Any]) -> float:
    """Return calls per second of CPU time over all arguments, the loop included."""
    gc.collect()
    start = thread_time()
    for argument in arguments:
        call(argument)
    return len(arguments) / (thread_time() - start)


def fresh_ring(numbers: Iterable[int], *modules: str) -> HashRing:
    """Return the ring of a consumer that starts now."""
    ring = HashRing()
    for number in numbers:
        ring.add(registration(number, *modules).ring_name)
    return ring


async def change(at: World, number: int, keys: list[Any], *, join: bool, compare: bool) -> dict[str, Any]:
    """Let one provider come or go while so many keys are remembered; see what the turns cost.

    Args:
        at: the node.
        number: the provider.
        keys: all remembered.
        join: whether it comes.
        compare: compare picks with a fresh consumer's after every turn, and all of them at the end. Then the times mean
            nothing.
    """
    service = at.service("cached")
    for key in keys:
        service.balancer.pick(service.view, key)
    await at.settled()
    wrong = compared = 0
    after = {*at.sids, number} if join else {*at.sids} - {number}
    old, new = fresh_ring(at.sids, *at.modules), fresh_ring(after, *at.modules)
    place = 0

    def look() -> None:
        nonlocal wrong, compared, place
        truth = new if len(service.view.providers) == len(new.providers) else old
        for key in keys[place : place + COMPARED_PER_TURN]:
            compared += 1
            wrong += service.balancer.pick(service.view, key).ring_name != truth.owner(key)
        place = (place + 7 * COMPARED_PER_TURN) % len(keys)

    gc.collect()
    moved = service.balancer.stats().moved_keys
    at.watch(look if compare else None)
    start = perf_counter()
    (at.join if join else at.leave)(number)
    await at.settled()
    seconds = perf_counter() - start
    del at.actor.on_receive
    if compare:
        compared += len(keys)
        wrong += sum(service.balancer.pick(service.view, key).ring_name != new.owner(key) for key in keys)
    longest: Counter[str] = Counter()
    for name, took_s in at.turns:
        longest[name] = max(longest[name], took_s)  # type: ignore[assignment]  # seconds
    return {
        "swept_ms": seconds * 1e3,
        "longest_turn_ms": max(longest.values()) * 1e3,
        "change_turn_ms": longest["MembershipChange"] * 1e3,
        "turns": len(at.turns),
        "moved_keys": service.balancer.stats().moved_keys - moved,
        "compared": compared,
        "wrong": wrong,
    }
