"""The future of an ask: it knows the session that has the ask in flight, and tells it when nobody waits any more."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from zfoo_py.actor import ActorDeadError, CancellableFuture
from zfoo_py.errors import InboxFullError
from zfoo_py.net.messages import CancelAsk

if TYPE_CHECKING:
    from zfoo_py.actor import LoopActorRef

__all__ = ["AskFuture"]

T = TypeVar("T")


class AskFuture(CancellableFuture[T]):
    """What an ask returns, as far as sessions know it.

    Attributes:
        carrier: the session that has, or last had, the ask in flight; None before.
        signal_id: its number there.
    """

    carrier: LoopActorRef[Any] | None = None
    signal_id: int = 0

    def given_up(self) -> None:
        """Tell the session that has it in flight; what is on its way to one is looked at before it is written."""
        if self.carrier is not None:
            with suppress(ActorDeadError, InboxFullError):  # its session is gone, or its deadline will do
                self.carrier.tell(CancelAsk(self, self.signal_id))
