"""How an ask or a send ends when it does not end well: one sentence and one typed error for each way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zfoo_py.errors import (
    AskTimeoutError,
    BackpressureError,
    EncodeError,
    RemoteError,
    SessionClosedError,
    UnexpectedPacketError,
)
from zfoo_py.net.messages import LostInFlight, Misrouted, Undelivered
from zfoo_py.protocol.common import MAY_NOT_HAVE_RUN, ErrorCode

if TYPE_CHECKING:
    from zfoo_py.errors import DecodeError
    from zfoo_py.net.messages import Outbound, Send
    from zfoo_py.net.session import Session
    from zfoo_py.protocol.common import Error
    from zfoo_py.protocol.packet import Packet

__all__ = [
    "fail_in_flight",
    "fail_send",
    "lost_in_flight",
    "outbox_full",
    "refuse",
    "refused",
    "return_outbound",
    "return_send",
    "send_too_large",
    "timed_out",
    "too_large",
    "too_many_pending",
    "undecodable",
    "unexpected",
]


def refuse(outbound: Outbound, error: Error, session: Session) -> None:
    """End an ask that was answered with an Error packet, or let whoever picked its provider pick another one."""
    call = outbound.call
    failure = refused(outbound, error, session)
    if error.code == ErrorCode.NOT_SERVED and call.returns_to is not None:
        call.returns_to.tell(Misrouted(call, outbound.provider, failure))
    else:
        call.answer.settle(error=failure)


def refused(outbound: Outbound, error: Error, session: Session) -> RemoteError:
    """Return the error of an ask that the provider answered with an Error packet."""
    about = _about(outbound, session, may_have_run=error.code not in MAY_NOT_HAVE_RUN)
    return RemoteError(error.code, error.message, **about)


def unexpected(outbound: Outbound, packet: Packet, session: Session) -> UnexpectedPacketError:
    """Return the error of an ask that was answered with another class than it was asked for."""
    call = outbound.call
    wanted = call.expects.__name__ if call.expects is not None else "a packet"
    msg = (
        f"{call.binding.packet_class.__name__} was answered with {type(packet).__name__}, not with {wanted}: "
        f"look at what its receiver returns, or at the answer class asked for"
    )
    return UnexpectedPacketError(msg, **_about(outbound, session, may_have_run=True))


def undecodable(outbound: Outbound, error: DecodeError, session: Session) -> UnexpectedPacketError:
    """Return the error of an ask whose answer cannot be decoded."""
    name = outbound.call.binding.packet_class.__name__
    msg = f"the answer to {name} cannot be decoded ({error}): do both nodes declare its class alike?"
    return UnexpectedPacketError(msg, **_about(outbound, session, may_have_run=True))


def timed_out(outbound: Outbound, session: Session, *, written: bool) -> AskTimeoutError:
    """Return the error of an ask whose deadline has come."""
    name = outbound.call.binding.packet_class.__name__
    if written:
        whom = outbound.provider or session.peer
        msg = (
            f"{name} had no answer from {whom} before its deadline: its receiver is slow, waits for something, "
            f"or never answers; look there, or give the ask more time with timeout_s="
        )
    else:
        msg = (
            f"{name} was not written before its deadline: give it more time with timeout_s=, or ask less: "
            f"this node has too much, or the peer reads slowly"
        )
    return AskTimeoutError(msg, **_about(outbound, session, may_have_run=written))


def lost_in_flight(outbound: Outbound, session: Session, reason: str) -> SessionClosedError:
    """Return the error of an ask that was written to a session that has ended."""
    name = outbound.call.binding.packet_class.__name__
    msg = (
        f"the session to {session.peer} ended with {name} in flight: {reason}; its receiver may have run, so ask again "
        f"only if twice does no harm (a packet declared idempotent=True is asked again by itself)"
    )
    return SessionClosedError(msg, **_about(outbound, session, may_have_run=True))


def fail_in_flight(outbound: Outbound, error: SessionClosedError) -> None:
    """Fail an ask that was written, or let whoever can repeat it, once, if its packet is idempotent."""
    call = outbound.call
    if call.binding.idempotent and not call.may_have_run and call.returns_to is not None:
        call.returns_to.tell(LostInFlight(call, error))
    else:
        call.answer.settle(error=error)


def too_many_pending(outbound: Outbound, session: Session, limit: int) -> BackpressureError:
    """Return the error of an ask beyond the bound of asks in flight."""
    msg = f"{limit} asks are in flight on the session to {session.peer}: ask less, or later"
    return BackpressureError(msg, **_about(outbound, session, may_have_run=False))


def too_large(outbound: Outbound, session: Session, limit_bytes: int) -> EncodeError:
    """Return the error of an ask that the peer would close the session for."""
    call = outbound.call
    msg = _too_large(call.binding.packet_class.__name__, len(call.head), session, limit_bytes)
    return EncodeError(msg, **_about(outbound, session, may_have_run=False))


def send_too_large(send: Send, session: Session, limit_bytes: int) -> EncodeError:
    """Return the error of a one-way packet that the peer would close the session for."""
    msg = _too_large(send.packet, len(send.head), session, limit_bytes)
    return EncodeError(msg, module=send.module, packet=send.packet, provider=send.provider, sid=session.sid)


def _too_large(name: str, size_bytes: int, session: Session, limit_bytes: int) -> str:
    return (
        f"{name} has {size_bytes} bytes, and {session.peer} takes at most {limit_bytes}: "
        f"send less at once, or raise max_frame_bytes there"
    )


def outbox_full(send: Send, session: Session) -> BackpressureError:
    """Return the error of a one-way packet for which the outbox has no room."""
    where = f"the outbox of session {session.sid} to {session.peer} is full"
    msg = f"{where}; {send.packet} was not sent: send less, or later"
    return BackpressureError(msg, module=send.module, packet=send.packet, provider=send.provider, sid=session.sid)


def return_outbound(outbound: Outbound, reason: str) -> None:
    """Give an ask that was never written to whoever can pick again, or fail it."""
    call = outbound.call
    if call.returns_to is not None:
        call.returns_to.tell(Undelivered(outbound, reason))
        return
    name = call.binding.packet_class.__name__
    msg = f"{name} was not sent: {reason}; asking again is safe"
    module = call.binding.module.name
    call.answer.settle(error=SessionClosedError(msg, may_have_run=call.may_have_run, module=module, packet=name))


def return_send(send: Send, reason: str) -> None:
    """Give a one-way packet that was never written to whoever can pick again, or fail it."""
    if send.returns_to is not None:
        send.returns_to.tell(Undelivered(send, reason))
        return
    msg = f"{send.packet} was not sent: {reason}"
    error = SessionClosedError(msg, may_have_run=False, module=send.module, packet=send.packet)
    fail_send(send, error)


def fail_send(send: Send, error: Exception) -> None:
    """Tell whoever waits, or else the node, that a one-way packet was not sent."""
    if send.sent is not None:
        send.sent.settle(error=error)
    send.undelivered(send.packet, send.module, str(error))


def _about(outbound: Outbound, session: Session, *, may_have_run: bool) -> dict[str, Any]:
    binding = outbound.call.binding
    return {
        "module": binding.module.name,
        "packet": binding.packet_class.__name__,
        "provider": outbound.provider,
        "sid": session.sid,
        "may_have_run": may_have_run or outbound.call.may_have_run,
    }
