"""Facts for applications: what happened to sessions, providers and receivers, as plain values.

Subscribe at ``node.events``; a handler runs on the node's loop, must not block, and may raise without harm.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Literal, TypeVar

import msgspec

from zfoo_py.errors import DeclarationError

__all__ = [
    "Alert",
    "AlertCleared",
    "Event",
    "Events",
    "MembershipChanged",
    "NodeStarted",
    "NodeStopping",
    "ProviderDown",
    "ProviderUp",
    "ReceiverFailed",
    "SessionActive",
    "SessionInactive",
    "SlowTurn",
    "Undelivered",
]


class Event(msgspec.Struct, frozen=True):
    """Base of all events; subscribe to it to hear everything."""


class SessionActive(Event, frozen=True):
    """A session finished its Hello; `peer` is "host:port", `node_id` what the peer calls itself."""

    sid: int
    side: Literal["server", "client"]
    peer: str
    node_id: str


class SessionInactive(Event, frozen=True):
    """A session that was active has ended."""

    sid: int
    side: Literal["server", "client"]
    peer: str
    node_id: str
    reason: str


class ProviderUp(Event, frozen=True):
    """A provider can be reached; `provider` is its ring name, `sid` the session that made it so."""

    membership_version: int
    provider: str
    node_id: str
    address: str
    modules: tuple[str, ...]
    sid: int


class ProviderDown(Event, frozen=True):
    """A way to a provider is gone; `sid` is the session that was lost."""

    membership_version: int
    provider: str
    node_id: str
    address: str
    modules: tuple[str, ...]
    reason: str
    sid: int


class MembershipChanged(Event, frozen=True):
    """The consumer handled a membership version. `modules`: consumed module → (ring name, node id) of each provider."""

    membership_version: int
    modules: dict[str, tuple[tuple[str, str], ...]]


class ReceiverFailed(Event, frozen=True):
    """A receiver raised; the asker got a RemoteError. `error` is the class name, `message` its text."""

    receiver: str
    packet: str
    sid: int
    error: str
    message: str


class SlowTurn(Event, frozen=True):
    """A receiver, callback or turn held the loop too long. `cause`: "name (file:line)"; `at`: where it was found."""

    cause: str
    at: str
    held_ms: float


class Undelivered(Event, frozen=True):
    """Something could not be delivered: `what` is the name of the packet or message, `module` "" for messages."""

    what: str
    reason: str
    module: str = ""


class NodeStarted(Event, frozen=True):
    """The node is ready; `address` is where it listens, or None."""

    id: str
    address: str | None


class NodeStopping(Event, frozen=True):
    """The node has begun to stop."""

    id: str


class Alert(Event, frozen=True):
    """Something a person should look at; `text` says where. `subject`: the module it is about, "" for the node."""

    name: str
    text: str
    subject: str = ""


class AlertCleared(Event, frozen=True):
    """What an Alert of this name and subject was about holds no longer; `text` is the last one."""

    name: str
    text: str
    subject: str = ""


E = TypeVar("E", bound=Event)
OnError = Callable[[Callable[..., object], Event, BaseException], None]


class _Subscription:
    __slots__ = ("event_type", "failures", "handler")

    def __init__(self, event_type: type[Event], handler: Callable[..., object]) -> None:
        self.event_type = event_type
        self.handler = handler
        self.failures = 0


class Events:
    """Who wants to hear of what.

    `subscribe` and the callable it returns may be called on any thread, `publish` on the node's loop only.
    `on_error(handler, event, error)` is told of a handler's first failure; all are counted in `failures`.
    """

    def __init__(self, on_error: OnError | None = None) -> None:
        self.failures = 0
        self._on_error = on_error
        # Appending to and removing from a list is atomic, so that no lock is needed here.
        self._subscriptions: list[_Subscription] = []
        # Per event class, filled on demand, replaced as a whole when the list above changes.
        self._by_type: dict[type[Event], tuple[_Subscription, ...]] = {}

    def subscribe(self, event_type: type[E], handler: Callable[[E], object]) -> Callable[[], None]:
        """Call `handler(event)` for each event of this class or a subclass, in order of subscription.

        Returns a callable that ends the subscription from the next `publish` on; calling it twice is harmless.

        Raises:
            DeclarationError: no event class, or a handler that cannot be called or is ``async def``.
        """
        given: object = event_type  # whatever the annotation says
        if not (isinstance(given, type) and issubclass(given, Event)):
            raise DeclarationError(f"subscribe() takes an event class such as SessionActive, got {given!r}")
        if not callable(handler):
            raise DeclarationError(f"the handler of {event_type.__name__} cannot be called: {handler!r}")
        if inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(getattr(handler, "__call__", None)):  # noqa: B004
            raise DeclarationError(
                f"the handler of {event_type.__name__} is async, and nobody would await it: "
                "use a plain function and start a task in it"
            )
        subscription = _Subscription(event_type, handler)
        self._subscriptions.append(subscription)
        self._by_type = {}

        def unsubscribe() -> None:
            try:
                self._subscriptions.remove(subscription)
            except ValueError:
                return
            self._by_type = {}

        return unsubscribe

    def wants(self, event_type: type[Event]) -> bool:
        """Whether anybody listens; ask before building an event on a busy path. O(1)."""
        return bool(self._subscriptions) and bool(self._subscribers(event_type))

    def publish(self, event: Event) -> None:
        """Tell everybody who subscribed; raises nothing but KeyboardInterrupt and SystemExit."""
        if not self._subscriptions:
            return
        for subscription in self._subscribers(type(event)):
            try:
                subscription.handler(event)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:  # noqa: BLE001  # a handler's CancelledError must not end a core actor's turn
                self._failed(subscription, event, error)

    def _subscribers(self, event_type: type[Event]) -> tuple[_Subscription, ...]:
        by_type = self._by_type  # taken before the list is read: a stale answer then lands in a table already replaced
        found = by_type.get(event_type)
        if found is None:
            found = tuple(one for one in self._subscriptions if issubclass(event_type, one.event_type))
            by_type[event_type] = found
        return found

    def _failed(self, subscription: _Subscription, event: Event, error: BaseException) -> None:
        self.failures += 1
        subscription.failures += 1
        if subscription.failures == 1 and self._on_error is not None:
            try:
                self._on_error(subscription.handler, event, error)
            except Exception:  # noqa: BLE001  # a reporter that fails has nobody left to report to
                self.failures += 1
