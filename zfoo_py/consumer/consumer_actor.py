"""The consumer actor: which provider gets this packet. Owner of every ring and every key cache of a node."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec
from loguru import logger

from zfoo_py.actor import CoreActor
from zfoo_py.consumer import messages as c
from zfoo_py.consumer.balancer import BalancerStats, Provider, ServiceView
from zfoo_py.consumer.retry_budget import RetryBudget
from zfoo_py.errors import (
    AskTimeoutError,
    BackpressureError,
    BalancerError,
    CallError,
    ConfigError,
    NoProviderError,
    SessionClosedError,
)
from zfoo_py.events import MembershipChanged, ProviderDown, ProviderUp
from zfoo_py.net import messages as m

if TYPE_CHECKING:
    from collections.abc import Callable

    from zfoo_py.actor import CoreRef
    from zfoo_py.consumer.balancer import Balancer
    from zfoo_py.events import Events
    from zfoo_py.router.answer import Answer

__all__ = ["ConsumerActor", "Service"]

# An order that was never written is picked again at most this often: once for the session that has just died,
# and twice for bad luck in a rolling restart.
MAX_TRIES = 3

# A tick of the coarse clock that cache entries are dated with. A second is exact enough for an expiry of ten
# minutes, and lets an access cost no clock reading.
TICK_S = 1.0

# Entries that one turn of the background sweep looks at, over all service types: at about a microsecond each it stays
# under 2 ms.
SWEEP_ENTRIES_PER_TURN = 1000

# An error names this many providers; it is made per failed ask, and the rest is in the figures.
MAX_NAMED_PROVIDERS = 10


class Service(msgspec.Struct, eq=False):
    """One consumed service type: its module, the provider group it calls, its policy and what the policy sees."""

    module: str
    group: str
    balancer_name: str
    balancer: Balancer
    view: ServiceView


class ConsumerActor(CoreActor):
    """Owns the balancers; nobody else touches a ring.

    It forwards an ask to the session of the provider it picked; the answer goes straight to the caller. It is
    the first subscriber of the registry, so its ``version`` is a membership version, and a change is handled
    when its turn has ended.

    Args:
        me: its own address, which survives a restart.
        registry: where it subscribes.
        services: what this node consumes, one per module.
        events: gets ProviderUp, ProviderDown, MembershipChanged.
        undelivered: told (packet, module, reason) of one-way packets that could not be sent.
    """

    def __init__(
        self,
        me: CoreRef,
        registry: CoreRef,
        services: list[Service],
        events: Events,
        undelivered: Callable[[str, str, str], None],
    ) -> None:
        super().__init__()
        self._me = me
        self._registry = registry
        self._events = events
        self._undelivered_send = undelivered
        self._services = {service.module: service for service in services}
        self._providers: dict[str, Provider] = {}
        self._by_sid: dict[int, Provider] = {}
        self.version = 0
        self._is_synchronised = False
        self._early: deque[Any] = deque()
        self._ready_waiters: list[c.WhenReady] = []
        self._is_sweeping = False
        self.asks = 0
        self.retries = 0
        self._retry_budget = RetryBudget(self.runtime.time())
        self._turns: dict[type, Callable[[Any], Any]] = {
            m.AskRecord: self._ask,
            c.SendOrder: self._send,
            m.Undelivered: self._undelivered,
            m.LostInFlight: self._lost_in_flight,
            c.Retry: self._retry,
            m.MembershipChange: self._membership_change,
            m.Snapshot: self._snapshot,
            c.RegistryRestarted: self._subscribe,
            c.WhenReady: self._when_ready,
            c.TakeStats: self._take_stats,
            c.Tick: self._tick,
            c.Sweep: self._sweep,
        }

    def on_start(self) -> None:
        """Subscribe; orders wait until the first snapshot is there."""
        self._subscribe(None)
        self._tick(None)

    def on_stop(self) -> None:
        """End the clock; the successor, if there is one, takes what waits for a snapshot or a provider."""
        self._ticking.cancel()
        for waiting in (*self._early, *self._ready_waiters):
            self._me.tell(waiting)

    def on_failure(self, *_: Any) -> None:
        """As `on_stop`; what is in the inbox waits for the successor."""
        self.on_stop()

    @classmethod
    def on_undelivered(cls, message: Any) -> None:
        """Fail the orders that no consumer actor will handle: the node has stopped, or too many wait."""
        if isinstance(message, m.LostInFlight):
            message.call.answer.settle(error=message.error)
            return
        if isinstance(message, c.Retry):
            message = message.order
        elif isinstance(message, m.Undelivered):
            message = _order_of(message)
        if isinstance(message, (m.AskRecord, c.SendOrder)):
            name = message.binding.packet_class.__name__
            msg = f"{name} was not sent: the node has stopped, or its consumer has more asks than it may hold"
            may_have_run = isinstance(message, m.AskRecord) and message.may_have_run
            _outcome(message).settle(error=SessionClosedError(msg, may_have_run=may_have_run, **_about(message)))

    def on_receive(self, message: Any) -> Any:
        """Dispatch by the message's class."""
        return self._turns[message.__class__](message)

    def on_turn_error(self, message: Any, error: Exception) -> None:
        """Fail the order whose turn raised: a policy, or a key's text."""
        if not self._fail_order_of(message, error):
            super().on_turn_error(message, error)

    def _turn_failed(self, message: Any, error: BaseException) -> None:
        """Let no asker wait for a turn that raised SystemExit or the like, which ends this actor."""
        if not isinstance(error, Exception):
            self._fail_order_of(message, error)
        super()._turn_failed(message, error)

    def _fail_order_of(self, message: Any, error: BaseException) -> bool:
        if isinstance(message, c.Retry):
            message = message.order
        if not isinstance(message, (m.AskRecord, c.SendOrder)):
            return False
        module = message.binding.module.name
        service = self._services.get(module)
        policy = service.balancer_name if service is not None else "?"
        msg = f"the balancer {policy!r} of module {module!r} raised {_text_of(error)}"
        failure = BalancerError(msg, **_about(message))
        failure.__cause__ = error
        self._fail(message, failure)
        return True

    # --- orders

    def _ask(self, record: m.AskRecord) -> None:
        service = self._services.get(record.binding.module.name)
        if service is None or not self._is_synchronised:
            self._cannot_pick(record)
            return
        provider, lane = service.balancer.route(service.view, record.key)
        if provider is None:
            self._no_provider(record, service)
            return
        ref: Any = provider.session
        if ref is None:
            self._no_session(record, provider)
            return
        self.asks += 1
        answer: Answer[Any] = record.answer  # type: ignore[assignment]
        answer.provider = provider.ring_name
        answer.membership_version = self.version
        ref.tell(m.Outbound(record, lane, provider.ring_name))

    def _send(self, order: c.SendOrder) -> None:
        service = self._services.get(order.binding.module.name)
        if service is None or not self._is_synchronised:
            self._cannot_pick(order)
            return
        provider, lane = service.balancer.route(service.view, order.key)
        if provider is None:
            self._no_provider(order, service)
        elif provider.session is None:
            self._no_session(order, provider)
        else:
            binding = order.binding
            ref: Any = provider.session
            ref.tell(
                m.Send(
                    order.head,
                    lane,
                    binding.packet_class.__name__,
                    binding.module.name,
                    self._undelivered_send,
                    order.sent,
                    provider.ring_name,
                    order,
                    self._me,
                )
            )

    def _cannot_pick(self, order: Any) -> None:
        if not self._is_synchronised:
            if len(self._early) < self.actor_inbox.limit:
                self._early.append(order)
                return
            msg = f"{len(self._early)} orders wait until this node knows its providers: ask less, or later"
            self._fail(order, BackpressureError(msg, **_about(order)))
            return
        module = order.binding.module.name
        msg = f"this node does not consume module {module!r}: add it to consumes=[…], or to [[consumer]]"
        self._fail(order, NoProviderError(msg, **_about(order)))

    def _no_provider(self, order: Any, service: Service) -> None:
        known = ", ".join(sorted(self._providers)[:MAX_NAMED_PROVIDERS]) or "none at all"
        more = len(self._providers) - MAX_NAMED_PROVIDERS
        if more > 0:
            known += f" and {more} more"
        msg = f"no provider serves module {service.module!r} as {service.group!r}; providers known: {known}"
        self._fail(order, NoProviderError(msg, **_about(order)))

    def _no_session(self, order: Any, provider: Provider) -> None:
        msg = f"the balancer picked {provider.ring_name}, which has no open session"
        self._again(order, msg)

    def _undelivered(self, back: m.Undelivered) -> None:
        self._again(_order_of(back), back.reason)

    def _again(self, order: Any, reason: str) -> None:
        """Pick again in a turn of its own: by then the registry has spoken of the session that is gone."""
        if order.tries + 1 >= MAX_TRIES:
            msg = f"{order.binding.packet_class.__name__} was not sent in {MAX_TRIES} tries: {reason}"
            self._fail(order, SessionClosedError(msg, may_have_run=False, **_about(order)))
        elif isinstance(order, m.AskRecord):
            again = msgspec.structs.replace(order, tries=order.tries + 1, is_default_timeout=False)
            self.runtime.call_later(0, self._me, c.Retry(again, reason))
        else:
            self.runtime.call_later(0, self._me, c.Retry(msgspec.structs.replace(order, tries=order.tries + 1), reason))

    def _lost_in_flight(self, lost: m.LostInFlight) -> None:
        """Ask an idempotent packet once more, on the key's new owner, within the budget."""
        if not self._retry_budget.take(self.asks, self.runtime.time()):
            lost.call.answer.settle(error=lost.error)
            return
        again = msgspec.structs.replace(lost.call, may_have_run=True, is_default_timeout=False)
        self.runtime.call_later(0, self._me, c.Retry(again, str(lost.error)))

    def _retry(self, retry: c.Retry) -> None:
        order = retry.order
        self.retries += 1
        if not isinstance(order, m.AskRecord):
            self._send(order)
        elif order.deadline_s <= self.runtime.time():
            msg = f"{order.binding.packet_class.__name__} was not sent before its deadline: {retry.reason}"
            self._fail(order, AskTimeoutError(msg, may_have_run=False, **_about(order)))
        else:
            self._ask(order)

    def _fail(self, order: Any, error: Exception) -> None:
        if isinstance(order, m.AskRecord) and order.may_have_run and isinstance(error, CallError):
            error.may_have_run = True
        _outcome(order).settle(error=error)
        if isinstance(order, c.SendOrder):
            about = _about(order)
            self._undelivered_send(about["packet"], about["module"], str(error))

    # --- membership

    def _subscribe(self, _: Any) -> None:
        self._registry.tell(m.Subscribe(self._me))

    def _membership_change(self, message: m.MembershipChange) -> None:
        if message.version != self.version + 1:
            if message.version > self.version:
                self._subscribe(None)
            return
        change = message.change
        if isinstance(change, m.ProviderUp):
            self._session_up(change, message.version)
        else:
            self._session_down(change, message.version)
        self._handled(message.version)

    def _snapshot(self, snapshot: m.Snapshot) -> None:
        present = {up.sid for up in snapshot.providers}
        for sid in [sid for sid in self._by_sid if sid not in present]:
            self._session_down(m.ProviderDown(sid, "it is not in the registry any more"), snapshot.version)
        for up in snapshot.providers:
            if up.sid not in self._by_sid:
                self._session_up(up, snapshot.version)
        if snapshot.version != self.version or not self._is_synchronised:
            self._handled(snapshot.version)
        self._is_synchronised = True
        # Here, not told again: they would go behind what was asked after them.
        while self._early and not self.actor_inbox.closed:
            order = self._early.popleft()
            try:
                self.on_receive(order)
            except BaseException as error:  # noqa: BLE001 - as if it had a turn of its own
                self._turn_failed(order, error)

    def _handled(self, version: int) -> None:
        self.version = version
        for service in self._services.values():
            service.view = msgspec.structs.replace(service.view, applied_version=version)
        if not self._is_sweeping:
            self._is_sweeping = True
            self._me.tell(c.Sweep())
        if self._events.wants(MembershipChanged):
            self._events.publish(MembershipChanged(version, self._membership()))
        self._look_whether_ready()

    def _membership(self) -> dict[str, tuple[tuple[str, str], ...]]:
        return {
            service.module: tuple((provider.ring_name, provider.node_id) for provider in service.view.providers)
            for service in self._services.values()
        }

    def _session_up(self, up: m.ProviderUp, version: int) -> None:
        registration = up.registration
        try:
            ring_name = registration.ring_name
        except ConfigError as error:  # a peer's Hello is not to stop the changes that follow
            logger.warning("session {} is to no provider: {}", up.sid, error)
            return
        provider = self._providers.get(ring_name)
        if provider is None:
            provider = Provider(
                ring_name=ring_name,
                text=registration.text,
                node_id=registration.id,
                address=registration.address or "",
                services=frozenset((service.module, service.name) for service in registration.provides),
            )
            self._providers[ring_name] = provider
        self._by_sid[up.sid] = provider
        if not provider.add_session(up.sid, up.ref):
            return
        for service in self._services.values():
            if (service.module, service.group) in provider.services:
                service.view = service.view.joined(provider, version)
                self._tell_policy(service, service.balancer.on_up, provider)
        if self._events.wants(ProviderUp):
            modules = tuple(sorted(module for module, _ in provider.services))
            self._events.publish(ProviderUp(version, ring_name, provider.node_id, provider.address, modules, up.sid))

    def _session_down(self, down: m.ProviderDown, version: int) -> None:
        provider = self._by_sid.pop(down.sid, None)
        if provider is None:
            return
        if not provider.drop_session(down.sid):
            return
        del self._providers[provider.ring_name]
        for service in self._services.values():
            if (service.module, service.group) in provider.services:
                service.view = service.view.left(provider, version)
                self._tell_policy(service, service.balancer.on_down, provider)
        if self._events.wants(ProviderDown):
            modules = tuple(sorted(module for module, _ in provider.services))
            self._events.publish(
                ProviderDown(
                    version, provider.ring_name, provider.node_id, provider.address, modules, down.reason, down.sid
                )
            )

    def _tell_policy(self, service: Service, hook: Callable[..., Any], *args: Any) -> Any:
        """Call a hook of a policy; one that raises harms no other service type, and None comes back."""
        try:
            return hook(*args)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - a user's policy
            self.failures += 1
            name = service.balancer_name
            logger.opt(exception=error).error("the balancer {!r} of module {!r} raised", name, service.module)
            return None

    # --- the caches

    def _sweep(self, _: c.Sweep) -> None:
        budget = max(1, SWEEP_ENTRIES_PER_TURN // max(1, len(self._services)))
        services = self._services.values()
        # One that raises has None for an answer and is not asked again until the next change.
        is_done = [self._tell_policy(service, service.balancer.sweep, budget) is not False for service in services]
        self._is_sweeping = not all(is_done)
        if self._is_sweeping:
            # The loop serves sockets between two of these turns.
            self.runtime.call_later(0, self._me, c.Sweep())

    def _tick(self, _: c.Tick | None) -> None:
        now_s = int(self.runtime.time())
        for service in self._services.values():
            self._tell_policy(service, service.balancer.tick, now_s)
        self._ticking = self.runtime.call_later(TICK_S, self.actor_ref, c.Tick())

    # --- questions

    def _when_ready(self, order: c.WhenReady) -> None:
        self._ready_waiters.append(order)
        self._look_whether_ready()

    def _look_whether_ready(self) -> None:
        if self._ready_waiters and all(service.view.providers for service in self._services.values()):
            waiters, self._ready_waiters = self._ready_waiters, []
            for waiter in waiters:
                waiter.ready.settle()

    def _take_stats(self, _: c.TakeStats) -> dict[str, Any]:
        return {
            "membership_version": self.version,
            "asks": self.asks,
            "retries": self.retries,
            "failed_turns": self.failures,
            "services": {
                service.module: {
                    "provider": service.group,
                    "balancer": service.balancer_name,
                    "providers": [provider.ring_name for provider in service.view.providers],
                    **msgspec.structs.asdict(
                        self._tell_policy(service, service.balancer.stats) or BalancerStats(),
                    ),
                }
                for service in self._services.values()
            },
        }


def _outcome(order: m.AskRecord | c.SendOrder) -> Any:
    return order.answer if isinstance(order, m.AskRecord) else order.sent


def _order_of(back: m.Undelivered) -> Any:
    return back.order.call if isinstance(back.order, m.Outbound) else back.order.order


def _text_of(error: BaseException) -> str:
    """What a foreign exception says; its own text may raise, too."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - it is foreign
        return type(error).__name__


def _about(order: m.AskRecord | c.SendOrder) -> dict[str, Any]:
    return {"module": order.binding.module.name, "packet": order.binding.packet_class.__name__}
