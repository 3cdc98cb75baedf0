"""What a receiver may be given beside session and packet: the call it serves."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from zfoo_py.errors import AlreadyAnsweredError

if TYPE_CHECKING:
    from zfoo_py.actor import LoopFuture
    from zfoo_py.net.session import Session
    from zfoo_py.protocol.packet import Packet
    from zfoo_py.router.lanes import SessionLane
    from zfoo_py.router.receivers import Receiver

__all__ = ["Call", "current_call"]


class CallOwner(Protocol):
    """What a call needs of its router."""

    def time(self) -> float:
        """Return the node's monotonic clock, in seconds."""
        ...

    def answer(self, call: Call, packet: Packet) -> None:
        """Encode and send the answer."""
        ...


class Call(msgspec.Struct, eq=False):
    """One packet on its way through a receiver.

    Attributes:
        session: where it came from; None for own work (`Node.run_in_lane`).
        packet: the packet.
        lane: its lane, or None: it runs at once.
        deadline_s: the asker's deadline on this node's monotonic clock; infinite if it told none.
    """

    session: Session | None
    packet: Any
    lane: int | None
    deadline_s: float
    receiver: Receiver
    signal_id: int
    owner: CallOwner
    session_lane: SessionLane | None = None
    outcome: LoopFuture[Any] | None = None
    answered: bool = False
    holds_lane: bool = False

    @property
    def wants_answer(self) -> bool:
        """Whether the sender waits for an answer (it asked; it did not send)."""
        return self.signal_id != 0

    @property
    def remaining_s(self) -> float:
        """Seconds until the asker gives up; negative afterwards, infinite if it told no deadline."""
        return self.deadline_s - self.owner.time()

    def answer(self, packet: Packet) -> None:
        """Answer the ask, now or later; from any thread. A packet sent one way takes no answer: no effect.

        Raises:
            AlreadyAnsweredError: it has been answered; names the receiver.
            EncodeError, UnmappedPacketError: the packet cannot be sent; the ask can still be answered.
        """
        if self.answered:
            msg = f"{self.receiver.where} answered {type(self.packet).__name__} twice: an ask has one answer"
            raise AlreadyAnsweredError(msg)
        self.owner.answer(self, packet)


current_call: ContextVar[Call | None] = ContextVar("zfoo_py_current_call", default=None)
"""The call whose receiver runs in this context; also in the tasks it starts and in its worker thread."""
