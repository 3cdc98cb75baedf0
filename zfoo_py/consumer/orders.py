"""What an order for a provider (an ask, or a packet one way) is about, and the errors of one that finds none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from zfoo_py.consumer.messages import Retry, SendOrder
from zfoo_py.errors import BackpressureError, NoProviderError
from zfoo_py.net import messages as m

if TYPE_CHECKING:
    from collections.abc import Collection

    Order: TypeAlias = m.AskRecord | SendOrder

__all__ = ["about", "misrouted", "no_provider", "not_consumed", "order_in", "outcome", "text_of", "too_early"]

# An error names this many providers; it is made per failed ask, and the rest is in the figures.
MAX_NAMED_PROVIDERS = 10


def outcome(order: Order) -> Any:
    """What its caller waits for."""
    return order.answer if isinstance(order, m.AskRecord) else order.sent


def order_in(message: Any) -> Any:
    """The AskRecord or SendOrder that a message of the consumer carries or is; None if it is about none."""
    if isinstance(message, m.Undelivered):
        return message.order.call if isinstance(message.order, m.Outbound) else message.order.order
    if isinstance(message, (m.LostInFlight, m.Misrouted)):
        return message.call
    if isinstance(message, Retry):
        return message.order
    return message if isinstance(message, (m.AskRecord, SendOrder)) else None


def about(order: Order) -> dict[str, Any]:
    """Module and packet, as every `CallError` takes them."""
    return {"module": order.binding.module.name, "packet": order.binding.packet_class.__name__}


def text_of(error: BaseException) -> str:
    """What a foreign exception says; its own text may raise, too."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - it is foreign
        return type(error).__name__


def misrouted(back: m.Misrouted, group: str) -> str:
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
