"""How an ask or a send ends when it does not end well: one sentence and one typed error for each way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zfoo_py.errors import (
    AskCycleError,
    AskTimeoutError,
    BackpressureError,
    CallError,
    EncodeError,
    RemoteError,
    SessionClosedError,
    UnexpectedPacketError,
)
from zfoo_py.net.messages import LostInFlight, Refused, Undelivered
from zfoo_py.protocol.common import MAY_BE_PICKED_AGAIN, MAY_NOT_HAVE_RUN, ErrorCode
from zfoo_py.protocol.raised import MAX_MESSAGE_CHARS, Raised, bounded, read_raised

if TYPE_CHECKING:
    from zfoo_py.errors import DecodeError
    from zfoo_py.net.messages import AskRecord, Outbound, Send
    from zfoo_py.net.session import Session
    from zfoo_py.protocol.common import Error
    from zfoo_py.protocol.packet import Packet

__all__ = [
    "cannot_encode",
    "fail",
    "fail_in_flight",
    "fail_send",
    "java_error",
    "lost_in_flight",
    "outbox_full",
    "refuse",
    "refused",
    "return_outbound",
    "return_send",
    "send_cannot_encode",
    "send_too_large",
    "timed_out",
    "too_large",
    "too_many_pending",
    "undecodable",
    "unexpected",
]


# A reason and the longest chain that a provider sends.
MAX_CYCLE_CHARS = 6 * MAX_MESSAGE_CHARS

# What to do about each refusal.
_ADVICE: dict[int, str] = {
    ErrorCode.RECEIVER_RAISED: "look there: its log has the traceback",
    ErrorCode.BAD_PACKET: "declare the packet alike on both nodes",
    ErrorCode.NOT_SERVED: "compare [[provider]] there with [[consumer]] here",
    ErrorCode.NO_RECEIVER: "give that node a receiver of it",
    ErrorCode.OVERLOADED: "ask less, or later, or start another provider",
    ErrorCode.DRAINING: "ask again: another provider gets it",
    ErrorCode.NO_ANSWER: "return a packet there, or annotate the receiver -> None and answer with call.answer()",
    ErrorCode.ANSWER_TOO_LARGE: "answer with less, or raise max_frame_bytes here",
}


def fail(call: AskRecord, error: Exception) -> None:
    """End an ask with an error; a `CallError` gets what every one of them carries."""
    if isinstance(error, CallError):
        error.module = error.module or call.binding.module.name
        error.packet = error.packet or call.binding.packet_class.__name__
        error.may_have_run = error.may_have_run or call.may_have_run
        error.timeout_s = call.timeout_s
        now_s = call.answer.now_s()
        if now_s is not None:
            error.elapsed_s = max(0.0, now_s - call.deadline_s + call.timeout_s)
    call.answer.settle(error=error)


def refuse(outbound: Outbound, error: Error, session: Session) -> None:
    """End an ask that was answered with an Error packet, or let whoever picked its provider pick another one."""
    call = outbound.call
    failure = refused(outbound, error, session)
    if error.code in MAY_BE_PICKED_AGAIN and call.returns_to is not None:
        call.returns_to.tell(Refused(call, outbound.provider, error.code, failure))
    else:
        fail(call, failure)


def refused(outbound: Outbound, error: Error, session: Session) -> CallError:
    """Return the error of an ask that the provider answered with an Error packet."""
    about = _about(outbound, session, may_have_run=error.code not in MAY_NOT_HAVE_RUN)
    if error.code == ErrorCode.ASK_CYCLE:
        return _cycle(error.message, about)
    if error.code == ErrorCode.EXPIRED:
        msg = f"{about['packet']} had not begun at {_peer(outbound, session)} when its time was over: {error.message}"
        return AskTimeoutError(bounded(msg, 2 * MAX_MESSAGE_CHARS), **about)
    raised = Raised("", bounded(error.message, MAX_MESSAGE_CHARS))
    if error.code == ErrorCode.RECEIVER_RAISED:
        raised = read_raised(error.message)
    advice = _ADVICE.get(error.code, "")
    return RemoteError(
        error.code,
        raised.message,
        remote_type=raised.type,
        remote_traceback=raised.traceback,
        advice=f"{advice} ({_peer(outbound, session)})" if advice else "",
        **about,
    )


def _cycle(text: str, about: dict[str, Any]) -> AskCycleError:
    holds, _, chain = bounded(text, MAX_CYCLE_CHARS).partition("\n")
    path = tuple(chain.split("\n")) if chain else ()
    msg = f"{about['packet']} waits for an ask that waits for it: {' → '.join(path)}: {holds}"
    return AskCycleError(msg, path=path, **about)


def java_error(outbound: Outbound, error: Error, session: Session) -> RemoteError:
    """Return the error of an ask that a Java peer answered with an Error packet; its code is the application's."""
    message = bounded(error.message, MAX_MESSAGE_CHARS)
    return RemoteError(error.code, message, **_about(outbound, session, may_have_run=True))


def _peer(outbound: Outbound, session: Session) -> str:
    return outbound.provider or session.peer


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
    call = outbound.call
    name = call.binding.packet_class.__name__
    time = f"before its deadline, {max(0.0, call.timeout_s):.3g} s after it was asked"
    if call.chain:
        time += " (it was made in a receiver, and has at most what is left of that receiver's own asker's time)"
    if written:
        msg = (
            f"{name} had no answer from {_peer(outbound, session)} {time}: its receiver is slow, waits for something, "
            f"or never answers; look there, or give the ask more time with timeout_s="
        )
    else:
        msg = (
            f"{name} was not written {time}: give it more time with timeout_s=, or ask less: "
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
        fail(call, error)


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


def cannot_encode(outbound: Outbound, error: EncodeError, session: Session) -> EncodeError:
    """Return the error of an ask that the codec of a Java peer cannot carry."""
    return EncodeError(_not_for_java(error, session), **_about(outbound, session, may_have_run=False))


def send_cannot_encode(send: Send, error: EncodeError, session: Session) -> EncodeError:
    """Return the error of a one-way packet that the codec of a Java peer cannot carry."""
    msg = _not_for_java(error, session)
    return EncodeError(msg, module=send.module, packet=send.packet, provider=send.provider, sid=session.sid)


def _not_for_java(error: EncodeError, session: Session) -> str:
    return f"{error} ({session.peer} is a Java peer; nothing was sent)"


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
    fail(call, SessionClosedError(msg, may_have_run=False, provider=outbound.provider))


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
