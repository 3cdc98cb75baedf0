"""What becomes of a call is said here: its answer, its refusal, what its receiver raised. One answer for each ask."""

from __future__ import annotations

import threading
import traceback
from typing import TYPE_CHECKING

from loguru import logger

from zfoo_py.actor import Abort, ActorDeadError
from zfoo_py.errors import AlreadyAnsweredError, InboxFullError, ZfooError
from zfoo_py.events import ReceiverFailed
from zfoo_py.net.messages import Reply
from zfoo_py.router import refusals

if TYPE_CHECKING:
    from zfoo_py.events import Events
    from zfoo_py.net.messages import Finished
    from zfoo_py.net.session import Session
    from zfoo_py.protocol.common import Error
    from zfoo_py.protocol.msgpack_codec import MsgpackCodec
    from zfoo_py.protocol.packet import Packet
    from zfoo_py.router.call import Call

__all__ = ["Replies"]


class Replies:
    """Owned by the router. On the loop's thread, but `claim` and `answer`, which may be called from any.

    Args:
        codec: encodes answers.
        events: gets ReceiverFailed.
        once: held while an answer is claimed: explicit ones come from any thread.
        send_tracebacks: whether an asker gets the traceback of a receiver that raised.

    Attributes:
        receiver_failures: receivers that raised; cut: that were cancelled by the end of the node; unsent: what was for
            sessions that were gone.
    """

    __slots__ = ("_codec", "_events", "_once", "_send_tracebacks", "cut", "receiver_failures", "unsent")

    def __init__(self, codec: MsgpackCodec, events: Events, once: threading.Lock, *, send_tracebacks: bool) -> None:
        self._codec = codec
        self._events = events
        self._once = once
        self._send_tracebacks = send_tracebacks
        self.receiver_failures = 0
        self.cut = 0
        self.unsent = 0

    def tell(self, session: Session, message: Reply | Finished) -> None:
        """Tell a session; one that is gone, or takes nothing any more, is nobody's error."""
        try:
            session.ref.tell(message)
        except ActorDeadError:  # the asker is gone, and nobody waits for it any more
            self.unsent += 1
        except InboxFullError:  # its count of packets in work would never come down again: better no session
            self.unsent += 1
            session.ref.tell(Abort("its inbox is full"))

    def refuse(self, call: Call, error: Error) -> None:
        """Answer a call with an error, if nobody has answered it."""
        if call.outcome is not None:
            call.outcome.settle(error=ZfooError(error.message))
        elif call.signal_id and call.session is not None and self.claim(call):
            self.tell(call.session, Reply(call.signal_id, self._codec.encode(error), finishes=False))

    def failed(self, call: Call, error: BaseException) -> None:
        """Log, count and publish what a receiver raised, and tell who waits for it."""
        self.receiver_failures += 1
        name, kind, said = type(call.packet).__name__, type(error).__name__, refusals.said_by(error)
        logger.opt(exception=error).error("{} raised while handling {}", call.receiver.where, name)
        if call.outcome is not None:
            call.outcome.settle(error=error)
        elif call.signal_id and not call.answered:
            trace = "".join(traceback.format_exception(error)) if self._send_tracebacks else ""
            self.refuse(call, refusals.raised(error, trace))
        if self._events.wants(ReceiverFailed):
            sid = call.session.sid if call.session is not None else 0
            self._events.publish(ReceiverFailed(call.receiver.where, name, sid, kind, said))

    def cut_short(self, call: Call) -> None:
        """Tell who waits for a receiver that was cancelled because the node stops."""
        self.cut += 1
        self.refuse(call, refusals.cut_short(call.receiver.where))

    def answered_twice(self, call: Call) -> None:
        """Report a receiver that answered and returned a packet as well."""
        self.failed(call, ZfooError(f"{call.receiver.where} answered and returned a packet as well"))

    def claim(self, call: Call) -> bool:
        """Take the right to answer a call; False if somebody has."""
        with self._once:
            if call.answered:
                return False
            call.answered = True
            return True

    def answer(self, call: Call, packet: Packet) -> None:
        """Send the explicit answer of a call; used by `Call.answer`.

        Raises:
            AlreadyAnsweredError: it has been answered.
            EncodeError, UnmappedPacketError: the packet cannot be sent; the ask can still be answered.
        """
        signal_id = call.signal_id  # 0 from one moment to the next, if it is cancelled
        if not call.answered:
            if not signal_id or call.session is None:
                return
            head = self._codec.encode(packet)
            if self.claim(call):
                self.tell(call.session, Reply(signal_id, head, finishes=False))
                return
        msg = f"{call.receiver.where} answered {type(call.packet).__name__} twice: an ask has one answer"
        raise AlreadyAnsweredError(msg)
