"""What an order for a provider (an ask, or a packet one way) is about, and the errors of one that finds none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from zfoo_py.consumer.messages import Retry, SendOrder
from zfoo_py.errors import BackpressureError, BalancerError, NoProviderError, SessionClosedError
from zfoo_py.net import messages as m
from zfoo_py.net.failures import fail

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from zfoo_py.actor import CoreRef

    Order: TypeAlias = m.AskRecord | SendOrder

__all__ = [
    "about", "end", "misrouted", "no_provider", "not_consumed", "order_in", "outcome", "policy_failed", "send_of",
    "stopped", "text_of", "too_early",
]  # fmt: skip

# An error names this many providers; it is made per failed ask, and the rest is in the figures.
MAX_NAMED_PROVIDERS = 10


def outcome(order: Order) -> Any:
    """What its caller waits for."""
    return order.answer if isinstance(order, m.AskRecord) else order.sent


def end(order: Order, error: Exception) -> None:
    """End an order with an error."""
    if isinstance(order, m.AskRecord):
        fail(order, error)
    else:
        order.sent.settle(error=error)


def order_in(message: Any) -> Any:
    """The AskRecord or SendOrder that a message of the consumer carries or is; None if it is about none."""
    if isinstance(message, m.Undelivered):
        return message.order.call if isinstance(message.order, m.Outbound) else message.order.order
    if isinstance(message, (m.LostInFlight, m.Refused)):
        return message.call
    if isinstance(message, Retry):
        return message.order
    return message if isinstance(message, (m.AskRecord, SendOrder)) else None


def send_of(
    order: SendOrder, lane: int | None, provider: str, undelivered: Callable[[str, str, str], None], me: CoreRef
) -> m.Send:
    """What its session is told of a packet one way."""
    binding = order.binding
    packet, module = binding.packet_class.__name__, binding.module.name
    return m.Send(order.head, lane, packet, module, undelivered, order.sent, provider, order, me)


def about(order: Order) -> dict[str, Any]:
    """Module and packet, as every `CallError` takes them."""
    return {"module": order.binding.module.name, "packet": order.binding.packet_class.__name__}


def text_of(error: BaseException) -> str:
    """What a foreign exception says; its own text may raise, too."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - it is foreign
        return type(error).__name__


def policy_failed(order: Order, policy: str, error: BaseException) -> BalancerError:
    """The policy raised, or picked what it was not offered; ``error`` is the cause."""
    said = str(error) if isinstance(error, BalancerError) else f"raised {text_of(error)}"
    msg = f"the balancer {policy!r} of module {order.binding.module.name!r} {said}"
    failure = BalancerError(msg, **about(order))
    failure.__cause__ = error
    return failure


def stopped(order: Order) -> SessionClosedError:
    """No consumer will handle it."""
    name = order.binding.packet_class.__name__
    msg = f"{name} was not sent: the node has stopped, or its consumer has more asks than it may hold"
    may_have_run = isinstance(order, m.AskRecord) and order.may_have_run
    return SessionClosedError(msg, may_have_run=may_have_run, **about(order))


def misrouted(back: m.Refused, group: str) -> str:
    """What to look at when a provider says that it does not serve what it got."""
    return (
        f"{back.provider} refused a packet of module {back.call.binding.module.name!r} as {group!r}, which it should "
        f"serve: compare what it announces with its [[provider]] tables; it says: {back.error}"
    )


def too_early(order: Order, waiting: int) -> BackpressureError:
    """Too many orders wait for the first snapshot."""
    msg = f"{waiting} orders wait until this node knows its providers: ask less, or later"
    return BackpressureError(msg, **about(order))


def not_consumed(order: Order) -> NoProviderError:
    """The node was not told to consume the packet's module."""
    module = order.binding.module.name
    msg = f"this node does not consume module {module!r}: add it to consumes=[…], or to [[consumer]]"
    return NoProviderError(msg, **about(order))


def no_provider(order: Order, group: str, known: Collection[str]) -> NoProviderError:
    """Nobody serves the module; ``known`` are the ring names of all providers, whatever they serve."""
    named = ", ".join(sorted(known)[:MAX_NAMED_PROVIDERS]) or "none at all"
    more = len(known) - MAX_NAMED_PROVIDERS
    if more > 0:
        named += f" and {more} more"
    msg = f"no provider serves module {order.binding.module.name!r} as {group!r}; providers known: {named}"
    return NoProviderError(msg, **about(order))
