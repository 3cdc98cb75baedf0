"""The consumer actor: which provider gets this packet. Owner of every ring and every key cache of a node."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec
from loguru import logger

from zfoo_py.actor import CoreActor
from zfoo_py.consumer import messages as c
from zfoo_py.consumer.balancer import Provider
from zfoo_py.consumer.figures import ConsumerFigures
from zfoo_py.consumer.in_flight import let_go
from zfoo_py.consumer.membership import Joined, Left, Membership, Refused
from zfoo_py.consumer.news import News
from zfoo_py.consumer.observer import Observer
from zfoo_py.consumer.orders import (
    about,
    end,
    misrouted,
    no_provider,
    not_consumed,
    order_in,
    outcome,
    policy_failed,
    send_of,
    stopped,
    too_early,
)
from zfoo_py.consumer.retries import Again, Retries
from zfoo_py.consumer.service import Service
from zfoo_py.consumer.sweeper import Next, Sweeper
from zfoo_py.consumer.watchdog import Watchdog
from zfoo_py.errors import AskTimeoutError, ConfigError, SessionClosedError
from zfoo_py.events import Alert
from zfoo_py.log import rate_limited
from zfoo_py.net import messages as m
from zfoo_py.net.failures import fail
from zfoo_py.protocol.common import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from zfoo_py.actor import CoreRef
    from zfoo_py.consumer.membership import Change
    from zfoo_py.events import Events
    from zfoo_py.router.answer import Answer

__all__ = ["ConsumerActor"]

# A tick of the coarse clock that cache entries are dated with. A second is exact enough for an expiry of ten
# minutes, and lets an access cost no clock reading.
TICK_S = 1.0


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
        ring_identity: "registration" or "node-id"; see `zfoo_py.consumer.membership`.
        jitter: returns a random number in [0, 1).
    """

    def __init__(
        self,
        me: CoreRef,
        registry: CoreRef,
        services: list[Service],
        events: Events,
        undelivered: Callable[[str, str, str], None],
        ring_identity: str = "registration",
        *,
        jitter: Callable[[], float],
    ) -> None:
        super().__init__()
        self._me = me
        self._registry = registry
        self._events = events
        self._undelivered_send = undelivered
        self._services = {service.module: service for service in services}
        self._members = Membership(ring_identity)
        self._news = News(events)
        self.version = 0
        self._is_synchronised = False
        self._early: deque[Any] = deque()
        self._ready_waiters: list[c.WhenReady] = []
        self._sweeper: Sweeper[Service] = Sweeper()
        self._observer = Observer(self._services, self._tell_policy)
        self.sends = 0
        self.retries = 0
        self.misroutes = 0
        self._alerted: set[tuple[str, str]] = set()
        self._retries = Retries(self.runtime.time(), jitter)
        self._watchdog = Watchdog()
        self._turns: dict[type, Callable[[Any], Any]] = {
            m.AskRecord: self._ask,
            c.SendOrder: self._send,
            m.Undelivered: self._undelivered,
            m.LostInFlight: self._lost_in_flight,
            m.Refused: self._refused,
            c.Retry: self._retry,
            m.MembershipChange: self._membership_change,
            m.Snapshot: self._snapshot,
            m.VersionIs: self._version_is,
            c.RegistryRestarted: self._subscribe,
            c.WhenReady: self._when_ready,
            c.TakeStats: lambda _: self._figures().as_dict(),
            c.TakeFigures: lambda order: order.to.tell(self._figures()),
            c.Explain: lambda question: self._observer.explain(question.module, question.key),
            c.ExplainChange: lambda question: self._observer.explain_change(question.version, self.runtime.time()),
            c.Tick: self._tick,
            c.Sweep: self._sweep,
        }

    def on_start(self) -> None:
        """Subscribe; orders wait until the first snapshot is there."""
        self._subscribe(None)
        self._tick(None)

    def take_over(self, previous: ConsumerActor) -> None:
        """Go on with the counts of an actor that has died, its budget, and what it has told; before the snapshot."""
        self.sends, self.retries, self.misroutes = previous.sends, previous.retries, previous.misroutes
        self.failures = previous.failures
        self._observer.counted = previous.asks + previous.sends
        self._retries = previous._retries
        self._alerted = previous._alerted
        self._news.take_over(previous._news)

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
        if isinstance(message, (m.LostInFlight, m.Refused)):
            fail(message.call, message.error)
            return
        message = order_in(message)
        if message is not None:
            end(message, stopped(message))

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
        message = order_in(message)
        if message is None:
            return False
        service = self._services.get(message.binding.module.name)
        self._fail(message, policy_failed(message, service.balancer_name if service is not None else "?", error))
        return True

    # --- orders

    def _ask(self, record: m.AskRecord) -> None:
        service = self._services.get(record.binding.module.name)
        if service is None or not self._is_synchronised:
            self._cannot_pick(record)
            return
        if record.refused_by:
            provider, lane = service.balancer.route_around(service.view, record.key, record.refused_by)
        else:
            provider, lane = service.balancer.route(service.view, record.key)
        if provider is None:
            self._no_provider(record, service)
            return
        ref: Any = provider.session
        if ref is None:
            self._no_session(record, provider)
            return
        left = provider.countdown = provider.countdown - 1
        if not left and self._observer.sample(service, provider, record.key):
            self._watch_next()
        answer: Answer[Any] = record.answer  # type: ignore[assignment]
        answer.provider = provider.ring_name
        answer.membership_version = self.version
        if service.balancer.counts_in_flight:
            service.balancer.in_flight.hold(answer, provider)
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
            self.sends += 1
            provider.countdown -= 1
            if not provider.countdown and self._observer.sample(service, provider, order.key):
                self._watch_next()
            ref: Any = provider.session
            ref.tell(send_of(order, lane, provider.ring_name, self._undelivered_send, self._me))

    def _watch_next(self) -> None:
        self._turns[m.AskRecord] = self._turns[c.SendOrder] = self._watched

    def _watched(self, order: Any) -> None:
        """Handle the first order after a sampled one; the turns are as before then."""
        self._turns[m.AskRecord], self._turns[c.SendOrder] = self._ask, self._send
        self._observer.watch(order, self._ask if isinstance(order, m.AskRecord) else self._send)

    def _cannot_pick(self, order: Any) -> None:
        if self._is_synchronised:
            self._fail(order, not_consumed(order))
        elif len(self._early) < self.actor_inbox.limit:
            self._early.append(order)
        else:
            self._fail(order, too_early(order, len(self._early)))

    def _no_provider(self, order: Any, service: Service) -> None:
        self._fail(order, no_provider(order, service.group, self._members.providers))

    def _no_session(self, order: Any, provider: Provider) -> None:
        msg = f"the balancer picked {provider.ring_name}, which has no open session"
        self._again(order, msg)

    def _undelivered(self, back: m.Undelivered) -> None:
        self._again(order_in(back), back.reason)

    def _again(self, order: Any, reason: str) -> None:
        """Pick again in a turn of its own: by then the registry has spoken of the session that is gone."""
        let_go(outcome(order))
        again = self._retries.unwritten(order, self._observer.counted, self.runtime.time())
        if isinstance(again, Again):
            self._retry_later(again, reason)
        else:
            msg = f"{order.binding.packet_class.__name__} was not sent {again}: {reason}"
            self._fail(order, SessionClosedError(msg, may_have_run=False, **about(order)))

    def _retry_later(self, again: Again, reason: str) -> None:
        self.runtime.call_later(again.wait_s, self._me, c.Retry(again.order, reason))

    def _lost_in_flight(self, lost: m.LostInFlight) -> None:
        """Ask an idempotent packet once more, on the key's new owner, within the budget."""
        let_go(lost.call.answer)
        again = self._retries.lost(lost.call, self._observer.counted, self.runtime.time())
        if again is None:
            fail(lost.call, lost.error)
        else:
            self._retry_later(again, str(lost.error))

    def _refused(self, back: m.Refused) -> None:
        """Pick again what a provider has refused: it did not run."""
        call = back.call
        let_go(call.answer)
        service = self._services.get(call.binding.module.name)
        if back.code == ErrorCode.NOT_SERVED:
            self._misrouted(back, service)
        again = None
        if service is not None:
            again = self._retries.refused(
                back,
                self._observer.counted,
                self.runtime.time(),
                is_alone=not service.view.has_other_than(back.provider),
                keeps_key=service.balancer.keeps_keys and call.key is not None,
            )
        if again is None:
            fail(call, back.error)
        else:
            self._retry_later(again, str(back.error))

    def _misrouted(self, back: m.Refused, service: Service | None) -> None:
        """The tripwire: a provider says that it does not serve what was routed to it."""
        self.misroutes += 1
        alert = (back.provider, back.call.binding.module.name)
        if alert not in self._alerted:  # until it leaves, so they are no more than the providers
            self._alerted.add(alert)
            self._alert("misroute", misrouted(back, service.group if service is not None else "?"))

    def _retry(self, retry: c.Retry) -> None:
        order = retry.order
        self.retries += 1
        if not isinstance(order, m.AskRecord):
            self._send(order)
        elif order.deadline_s <= self.runtime.time():
            msg = f"{order.binding.packet_class.__name__} was not sent before its deadline: {retry.reason}"
            self._fail(order, AskTimeoutError(msg, may_have_run=False, **about(order)))
        else:
            self._ask(order)

    def _fail(self, order: Any, error: Exception) -> None:
        end(order, error)
        if isinstance(order, c.SendOrder):
            facts = about(order)
            self._undelivered_send(facts["packet"], facts["module"], str(error))

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
        for sid in self._members.missing_from(up.sid for up in snapshot.providers):
            self._session_down(m.ProviderDown(sid, "it is not in the registry any more"), snapshot.version)
        for up in snapshot.providers:
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

    def _version_is(self, answer: m.VersionIs) -> None:
        """The watchdog: by now every change up to this version has been handled, by every ring."""
        if not self._is_synchronised:
            return
        fault = ""
        if self.version != answer.version:
            fault = f"the rings are at membership version {self.version}, and the registry is at {answer.version}"
            self._subscribe(None)
        for one in self._services.values():
            if not fault and not self._tell_policy(one, one.balancer.follows, one.view):
                fault = f"the ring of module {one.module!r} has not the providers of its membership"
        alarm = self._watchdog.look(fault, self.runtime.time())
        if alarm:
            self._alert("ring-is-not-membership", alarm)

    def _handled(self, version: int) -> None:
        self.version = version
        for service in self._services.values():
            service.view = msgspec.structs.replace(service.view, applied_version=version)
        self._begin_sweep()
        self._news.membership(version, self._services.values())
        self._look_whether_ready()

    def _session_up(self, up: m.ProviderUp, version: int) -> None:
        try:
            changes = self._members.up(up)
        except ConfigError as error:  # a peer's Hello is not to stop the changes that follow
            logger.warning("session {} is to no provider: {}", up.sid, error)
            return
        self._apply(changes, version)

    def _session_down(self, down: m.ProviderDown, version: int) -> None:
        self._apply(self._members.down(down.sid, down.reason), version)

    def _apply(self, changes: list[Change], version: int) -> None:
        for change in changes:
            if isinstance(change, Joined):
                self._joined(change, version)
            elif isinstance(change, Left):
                self._left(change, version)
            elif isinstance(change, Refused):
                self._alert("equal-node-id", change.fault)
            else:
                for service in self._services_of(change.provider):
                    service.view = service.view.joined(change.provider, version)
                    self._observer.reweighed(service, change.provider, version, self.runtime.time())

    def _joined(self, change: Joined, version: int) -> None:
        provider = change.provider
        for service in self._services_of(provider):
            service.view = service.view.joined(provider, version)
            self._observer.joined(service, provider, version, self.runtime.time())
        self._news.joined(change, version)

    def _left(self, change: Left, version: int) -> None:
        provider = change.provider
        self._alerted = {alert for alert in self._alerted if alert[0] != provider.ring_name}
        for service in self._services_of(provider):
            service.view = service.view.left(provider, version)
            self._observer.left(service, provider, version, self.runtime.time())
        self._observer.gone(provider)
        self._news.left(change, version)

    def _services_of(self, provider: Provider) -> list[Service]:
        return [service for service in self._services.values() if service.is_served_by(provider)]

    def _alert(self, name: str, text: str) -> None:
        rate_limited(f"alert {name}", f"ALERT {name}: {text}")
        self._events.publish(Alert(name, text))

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

    def _begin_sweep(self) -> None:
        if self._sweeper.begin(self._services.values()):
            self._me.tell(c.Sweep())

    def _sweep(self, _: c.Sweep) -> None:
        after = self._sweeper.turn(lambda of, budget: self._tell_policy(of, of.balancer.sweep, budget))
        if after is Next.BEHIND:
            self._me.tell(c.Sweep())
        elif after is Next.NEXT_ROUND:
            self.runtime.call_later(0, self._me, c.Sweep())
        else:
            self._observer.settle()

    def _tick(self, tick: c.Tick | None) -> None:
        now_s = int(self.runtime.time())
        for service in self._services.values():
            self._tell_policy(service, service.balancer.tick, now_s)
        self._observer.tick(now_s)
        self._begin_sweep()
        if tick is not None:  # at the start the snapshot is on its way
            self._registry.tell(m.AskVersion(self._me))
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

    @property
    def asks(self) -> int:
        """Asks forwarded to a session so far. O(providers)."""
        return self._observer.picks(self._members.providers) - self.sends

    def _figures(self) -> ConsumerFigures:
        return ConsumerFigures(
            membership_version=self.version,
            asks=self.asks,
            sends=self.sends,
            retries=self.retries,
            misroutes=self.misroutes,
            failed_turns=self.failures,
            services=self._observer.figures(self.runtime.time(), self._members.providers),
        )
