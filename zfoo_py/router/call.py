"""What a receiver may be given beside session and packet: the call it serves."""

from __future__ import annotations

import math
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    from zfoo_py.actor import LoopFuture
    from zfoo_py.net.session import Session
    from zfoo_py.protocol.packet import Packet
    from zfoo_py.router.answer import Answer
    from zfoo_py.router.chains import Trail
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

    def chain_within(self, call: Call) -> str:
        """Return the chain of an ask made in this call's receiver."""
        ...


class Call(msgspec.Struct, eq=False):
    """One packet on its way through a receiver.

    Attributes:
        session: where it came from; None for own work (`Node.run_in_lane`).
        packet: the packet.
        lane: its lane, or None: it runs at once.
        deadline_s: the asker's deadline on this node's monotonic clock; infinite if it told none, and minus
            infinite from when it is cancelled.
        trail: what asks made in its receiver carry on; None until there is one.
        waits_for: what its receiver, on a worker thread, waits for; cancelled with the call.
        is_untold: it was cancelled while its receiver waited for nothing, and has not seen it: its next wait tells it.
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
    trail: Trail | None = None
    waits_for: Answer[Any] | None = None
    is_untold: bool = False

    @property
    def wants_answer(self) -> bool:
        """Whether the sender waits for an answer (it asked; it did not send, and has not cancelled)."""
        return self.signal_id != 0

    @property
    def remaining_s(self) -> float:
        """Seconds until the asker gives up; negative afterwards, infinite if it told no deadline."""
        return self.deadline_s - self.owner.time()

    @property
    def is_cancelled(self) -> bool:
        """Whether nobody waits for the answer any more: a blocking receiver had better end. Any thread."""
        self.is_untold = False
        return self.deadline_s == -math.inf

    def give_up(self) -> None:
        """Take note that nobody waits for the answer; it is like a packet sent one way now. On the loop.

        An answer that a blocking receiver waits for is given up with it, there and on; or else the one that it waits
        for next, as a Task that is cancelled while it runs hears of it at its next await.
        """
        self.deadline_s = -math.inf
        self.signal_id = 0
        self.is_untold = True
        while (answer := self.waits_for) is not None:
            self.is_untold = False  # first, since the receiver runs as soon as its wait is cancelled
            if answer.cancel() or answer.cancelled():
                return
            self.is_untold = True  # it had just ended by itself
            if self.waits_for is answer:
                return

    def lends(self, timeout_s: float) -> tuple[float, str]:
        """Return the time and the chain of an ask that is made in this call's receiver. Any thread.

        As long as the asker waits, it has no more time than is left of the asker's; a receiver that has answered, or
        was cancelled, tidies up in its own time.

        Args:
            timeout_s: what it would have elsewhere.
        """
        if self.signal_id and not self.answered:
            timeout_s = min(timeout_s, self.remaining_s)
        return timeout_s, self.owner.chain_within(self)

    def answer(self, packet: Packet) -> None:
        """Answer the ask, now or later; from any thread. A packet sent one way takes no answer: no effect.

        Raises:
            AlreadyAnsweredError: it has been answered; names the receiver.
            EncodeError, UnmappedPacketError: the packet cannot be sent; the ask can still be answered.
        """
        self.owner.answer(self, packet)


current_call: ContextVar[Call | None] = ContextVar("zfoo_py_current_call", default=None)
"""The call whose receiver runs in this context; also in the tasks it starts and in its worker thread."""
