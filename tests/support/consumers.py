"""A consumer actor on a loop that is stepped by hand; its registry and its sessions are played by the test."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from tests.support.actors import step_runtime
from tests.support.packets import TABLE, PageAsk, VisitAsk, VisitNote
from tests.support.sessions import Recorder
from zfoo_py.actor import CoreRef
from zfoo_py.consumer import messages as c
from zfoo_py.consumer.balancer import Balancer, BalancerOptions, Provider, ServiceView
from zfoo_py.consumer.consumer_actor import ConsumerActor
from zfoo_py.consumer.policies.catalog import BALANCERS
from zfoo_py.consumer.ring import HashRing
from zfoo_py.consumer.service import Service
from zfoo_py.events import Event, Events
from zfoo_py.net import messages as m
from zfoo_py.protocol.packet import Packet
from zfoo_py.protocol.registration import Registration, ServiceName
from zfoo_py.router.answer import Answer

__all__ = [
    "POLICY_NAMES",
    "ConsumerWorld",
    "FakeSessionRef",
    "first_of",
    "owner",
    "policy_of",
    "registration",
    "service",
]


def registration(
    number: int, *provides: str, node_id: str = "app", address: str | None = "10.0.0.{}:1"
) -> Registration:
    """Return the registration of a node; "visits" stands for module and group, "visits/blue" names the group."""
    names = [name.partition("/") for name in provides or ("visits",)]
    services = tuple(ServiceName(module, group or module) for module, _, group in names)
    return Registration(f"{node_id}-{number}", address and address.format(number), services)


def service(module: str, balancer: str | Balancer = "cached-consistent-hash", group: str = "") -> Service:
    """Return a consumed service type, balanced by a policy of this name or by this one."""
    policy = balancer
    if isinstance(policy, str):
        policy = BALANCERS[policy](BalancerOptions(rng=random.Random(1)))
    name = balancer if isinstance(balancer, str) else type(balancer).__name__
    return Service(module, group or module, name, policy, ServiceView(module))


POLICY_NAMES = tuple(f"app | 10.0.0.{number}:12400 | provider:[visits-visits]" for number in range(6))


def policy_of(
    name: str, ring_names: Iterable[str] = POLICY_NAMES[:3], *, weights: Sequence[int] = (), **options: Any
) -> tuple[Any, ServiceView]:
    """Return a policy that has seen some providers come, and the view it gets."""
    balancer = BALANCERS[name](BalancerOptions(rng=random.Random(7), **options))
    view = ServiceView("visits")
    for version, ring_name in enumerate(ring_names, 1):
        provider = Provider(ring_name, weight=weights[version - 1] if weights else 1)
        view = view.joined(provider, version)
        balancer.on_up(provider)
    return balancer, view


def owner(ring_names: Any, key: Any) -> str | None:
    """Return whom a consumer that starts now would pick."""
    return _ring(frozenset(ring_names)).owner(key)


@lru_cache(maxsize=512)
def _ring(ring_names: frozenset[str]) -> HashRing:
    ring = HashRing()
    for ring_name in sorted(ring_names):
        ring.add(ring_name)
    return ring


def first_of(view: ServiceView) -> Provider | None:
    """Return the first provider of a view: the simplest right policy."""
    return view.providers[0] if view.providers else None


class FakeSessionRef(Recorder):
    """Stands for a session actor: keeps what it is told, and gives it back if the test says so."""

    def give_back(self, reason: str = "the session is down") -> None:
        """Say of everything it was told that it was never written."""
        told, self.told = self.told, []
        for order in told:
            back = order.call.returns_to if isinstance(order, m.Outbound) else order.returns_to
            back.tell(m.Undelivered(order, reason))

    def texts(self) -> list[str]:
        """Return the texts of the packets it was told to send, in order."""
        heads = [order.call.head if isinstance(order, m.Outbound) else order.head for order in self.told]
        return [head.decode() for head in heads]


class ConsumerWorld:
    """A consumer actor, and what the test tells it as its registry.

    Attributes:
        registry: keeps what it is told (Subscribe).
        version: of the registry; `up` and `down` make the next one.
        providers: sid → ProviderUp of what the registry knows.
        refs: sid → the session's ref.
        heard: every event, in order.
    """

    def __init__(self, *services: Service, snapshot: bool = True, limit_messages: int = 1000) -> None:
        self.runtime, self.loop = step_runtime(inbox_limit_messages=limit_messages)
        self.registry: Any = Recorder()
        self.version = 0
        self.providers: dict[int, m.ProviderUp] = {}
        self.refs: dict[int, FakeSessionRef] = {}
        self.events = Events()
        self.heard: list[Any] = []
        self.events.subscribe(Event, self.heard.append)
        self.undelivered: list[tuple[str, ...]] = []
        self.deaths = 0
        self.me = CoreRef(limit_messages, self._died)
        self.spawn(*services)
        self.run()
        if snapshot:
            self.snapshot()

    def spawn(self, *services: Service) -> None:
        """Start a consumer actor behind the address."""
        spawn = self.runtime.spawn
        self.me.attach(
            spawn(
                ConsumerActor,
                self.me,
                self.registry,
                list(services),
                self.events,
                self._undelivered,
                jitter=lambda: 0.5,
            )
        )

    def _undelivered(self, *names: str) -> None:
        self.undelivered.append(names)

    def _died(self, _: CoreRef) -> None:
        self.deaths += 1

    @property
    def actor(self) -> Any:
        """The consumer actor."""
        return self.me.actor

    def run(self) -> None:
        """Handle everything that is there now; timers stand still."""
        self.loop.run()

    def later(self, seconds: float = 0.0) -> None:
        """Handle everything that is there, let time pass, and handle what it brings."""
        self.run()
        self.loop.clock.advance(seconds)
        self.run()

    # --- the registry

    def snapshot(self) -> None:
        """Tell the consumer what there is."""
        self.me.tell(m.Snapshot(self.version, tuple(self.providers.values())))
        self.run()

    def up(self, sid: int, of: Registration | None = None, *, run: bool = True) -> FakeSessionRef:
        """A session to a provider is ready."""
        ref: Any = FakeSessionRef()
        self.refs[sid] = ref
        self.providers[sid] = m.ProviderUp(sid, of or registration(sid), ref)
        self._change(self.providers[sid], run=run)
        return ref

    def down(self, sid: int, reason: str = "lost", *, run: bool = True) -> None:
        """A session to a provider is lost."""
        del self.providers[sid]
        self._change(m.ProviderDown(sid, reason), run=run)

    def _change(self, change: Any, *, run: bool) -> None:
        self.version += 1
        self.me.tell(m.MembershipChange(self.version, change))
        if run:
            self.run()

    def ring_names(self, module: str = "visits") -> list[str]:
        """Return the ring names of a module's providers, as the consumer sees them."""
        return [provider.ring_name for provider in self.actor._services[module].view.providers]

    # --- the caller

    def make_ask(self, key: Any = "k", packet: Packet | None = None, *, in_s: float = 3.0, **more: Any) -> m.AskRecord:
        """Make an ask; the head is its text."""
        packet = packet or VisitAsk("?")
        binding = TABLE.binding(type(packet))
        deadline_s = self.loop.clock.time() + in_s
        answer = Answer(self.runtime)
        head = packet.text.encode()  # type: ignore[attr-defined]
        return m.AskRecord(binding, head, key, deadline_s, binding.answer_class, answer, self.me, True, **more)

    def ask(self, key: Any = "k", packet: Packet | None = None, *, run: bool = True, **how: Any) -> Answer[Any]:
        """Ask."""
        record = self.make_ask(key, packet, **how)
        self.me.tell(record)
        if run:
            self.run()
        return record.answer  # type: ignore[return-value]

    def ask_page(self, key: Any = "k", text: str = "?") -> Answer[Any]:
        """Ask for a page: another service type."""
        return self.ask(key, PageAsk(text))

    def send(self, key: Any = "k", text: str = "note", *, run: bool = True) -> Answer[None]:
        """Send one way."""
        sent: Answer[None] = Answer(self.runtime)
        self.me.tell(c.SendOrder(TABLE.binding(VisitNote), text.encode(), key, sent))
        if run:
            self.run()
        return sent

    def stats(self) -> dict[str, Any]:
        """Ask for the figures."""
        future = self.actor.actor_ref.ask(c.TakeStats(), block=False)
        self.run()
        found: dict[str, Any] = future.get(timeout=0)
        return found

    def of(self, *kinds: type) -> list[Any]:
        """Return the events of these classes."""
        return [event for event in self.heard if isinstance(event, kinds)]
