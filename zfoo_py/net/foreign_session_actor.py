"""A session with a peer of Java zfoo: no Hello, zfoo's signal rules and its heartbeat (zfoo.md sections 3, 4 and 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from zfoo_py.errors import DecodeError, EncodeError, RemoteError
from zfoo_py.net import failures
from zfoo_py.net import messages as m
from zfoo_py.net.handshake import WIRE_VERSION
from zfoo_py.net.session import SessionEvent, advance
from zfoo_py.net.session_actor import _TURNS, ATTACHMENT_BYTES, SessionActor
from zfoo_py.protocol.attachment import (
    CLIENT_ANSWER,
    CLIENT_CODES,
    CLIENT_KEYED,
    CLIENT_OUTSIDE,
    MAX_SIGNAL_ID,
    Attachment,
    GatewayAttachment,
    HttpAttachment,
    NoAnswerAttachment,
    SignalAttachment,
    int32,
)
from zfoo_py.protocol.common import Error, ErrorCode, Hello, Ping, Pong, zfoo_py_module
from zfoo_py.protocol.common import Heartbeat as HeartbeatPacket
from zfoo_py.protocol.raised import MAX_MESSAGE_CHARS, bounded
from zfoo_py.protocol.registration import parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from zfoo_py.protocol.foreign_codec import ForeignCodec
    from zfoo_py.protocol.packet import Packet

__all__ = ["ForeignSessionActor"]

# The longest message that Java zfoo takes.
MAX_MESSAGE_BYTES: Final = 1024 * 1024
# Whoever dialled says that it lives after so long without a frame either way; zfoo's.
IDLE_S: Final = 60.0
# So many idle times in a row, and whoever was dialled closes: zfoo's 180 s.
SILENT_IDLES: Final = 3


class ForeignSessionActor(SessionActor):
    """Owns one connection to a Java peer, as `SessionActor` does to others.

    Its arguments are those, and before them:

    Args:
        foreign: the peer's codec.
    """

    def __init__(self, foreign: ForeignCodec, *args: Any) -> None:
        super().__init__(*args)
        self._foreign = foreign
        self._codec = foreign  # type: ignore[assignment]  # what a session calls of a codec, it has
        self._max_head_bytes = min(self._limits.max_frame_bytes, MAX_MESSAGE_BYTES) - ATTACHMENT_BYTES
        # The peer's asks that are in work here: our id → its attachment, which the answer carries back.
        self._asked: dict[int, Attachment] = {}
        self._last_asked = 0
        self._frames_seen = 0
        self._idles = 0

    def on_start(self) -> None:
        """Begin at once: a Java peer says nothing of itself. What we know of a provider, discovery has told."""
        self._state = advance(self._state, SessionEvent.OPENED)
        text, session = self._announced or "", self.session
        if session.side == "client" and (parse(text) is None):
            self._down(f"nobody has told what {session.peer} provides: Java peers need their registration in discovery")
            return
        self._connection.limit_frames(MAX_MESSAGE_BYTES)
        registration = parse(text)
        kind = "node" if session.side == "client" else "client"
        hello = Hello(WIRE_VERSION, kind, registration.id if registration else "", text)
        session.introduce(hello, self._env.provides)
        self._state = advance(self._state, SessionEvent.WELCOMED)
        session.is_up = True
        up, provider = session.facts(hello, self._connection.local, self.runtime.time())
        self._presence.begin(up, provider)
        if self._watcher is not None:
            self._watcher(up)
        self._timers.beat_in(IDLE_S)

    def on_receive(self, message: Any) -> None:
        """Dispatch by the message's class."""
        _FOREIGN_TURNS[message.__class__](self, message)

    # --- from the peer

    def _frame(self, body: Any) -> None:
        self.frames_in += 1
        try:
            binding, packet, attachment = self._foreign.messages.decode_message(body)
        except DecodeError as error:
            self._cannot_decode(error)
            return
        if binding is None or binding.module is zfoo_py_module:
            self._env.warn(self.session.peer, f"{self.session.peer} sent {type(packet).__name__}, which is not for it")
            return
        if packet.__class__ is HeartbeatPacket:
            return
        if attachment.__class__ is SignalAttachment and attachment.client not in _ASKS:
            self._answered(attachment.signal_id, packet)
            return
        if attachment.__class__ is GatewayAttachment and not attachment.client:
            self._env.warn(self.session.peer, f"{self.session.peer} takes this node for a gateway")
            return
        ours = self._as_ours(attachment)
        if packet.__class__ is Ping:
            self._pong_to(ours)
        elif packet.__class__ is Error and ours is None:
            self._peer_error(packet)
        elif not self.intake.takes:
            self.intake.not_taken(binding, packet, ours)
        elif self._env.receive(self.session, binding, packet, ours):
            self.intake.in_work += 1
            if self.intake.in_work >= self.intake.limit:
                self.intake.pause()

    def _as_ours(self, attachment: Attachment | None) -> Attachment | None:
        """Return what the receivers' side is to see; an ask gets an id of ours, for the peer's is any number."""
        if isinstance(attachment, SignalAttachment):
            return SignalAttachment(attachment.client, self._note(attachment), attachment.task_executor_hash)
        if isinstance(attachment, GatewayAttachment):
            lane = attachment.task_executor_hash or int32(attachment.uid)
            if attachment.signal_attachment is None:
                return NoAnswerAttachment(lane)
            return SignalAttachment(CLIENT_KEYED, self._note(attachment), lane)
        if isinstance(attachment, HttpAttachment):
            return NoAnswerAttachment(attachment.task_executor_hash)
        return attachment if isinstance(attachment, NoAnswerAttachment) else None

    def _note(self, attachment: Attachment) -> int:
        """Keep the attachment of an ask until it is answered. Those never answered (cancelled) make room at last."""
        if len(self._asked) >= 2 * self._limits.max_in_work_per_session:
            del self._asked[next(iter(self._asked))]
        self._last_asked = self._last_asked % MAX_SIGNAL_ID + 1
        self._asked[self._last_asked] = attachment
        return self._last_asked

    def _pong_to(self, ours: Attachment | None) -> None:
        head = self._codec.encode(Pong(0))
        if isinstance(ours, SignalAttachment):
            self._answer(ours.signal_id, head)
        else:
            self.outbox.write(self._foreign.one_way_frame(head, None))

    def _answered(self, signal_id: int, packet: Packet) -> None:
        """An Error's code is the Java application's, whatever number it is."""
        if isinstance(packet, Error) and (outbound := self._pending.take(signal_id)) is not None:
            if outbound.call.expects in {None, Error}:
                outbound.call.answer.settle(packet)
            else:
                about = failures._about(outbound, self.session, may_have_run=True)
                message = bounded(packet.message, MAX_MESSAGE_CHARS)
                failures.fail(outbound.call, RemoteError(packet.code, message, **about))
            self._close_when_idle()
        else:
            super()._answered(signal_id, packet)

    # --- to the peer

    def _outbound(self, outbound: m.Outbound) -> None:
        try:
            size = len(self._foreign.own(outbound.call.head))
        except EncodeError as error:
            failures.fail(outbound.call, error)
            return
        if size > self._max_head_bytes:
            failures.fail(outbound.call, failures.too_large(outbound, self.session, self._max_head_bytes))
            return
        super()._outbound(outbound)

    def _send(self, send: m.Send) -> None:
        try:
            size = len(self._foreign.own(send.head))
        except EncodeError as error:
            failures.fail_send(send, error)
            return
        if size > self._max_head_bytes:
            failures.fail_send(send, failures.send_too_large(send, self.session, self._max_head_bytes))
            return
        super()._send(send)

    def _reply(self, reply: m.Reply) -> None:
        self._answer(reply.signal_id, reply.head)
        if reply.finishes:
            self._finished(None)

    def _overloaded(self, signal_id: int, text: str) -> None:
        self._answer(signal_id, self._codec.encode(Error(ErrorCode.OVERLOADED, text)))

    def _answer(self, signal_id: int, head: bytes) -> None:
        asked = self._asked.pop(signal_id, None)
        if asked is None or not self.session.is_up:
            return
        try:
            size = len(self._foreign.own(head))
            error = "" if size <= self._max_head_bytes else f"the answer has {size} bytes, too many for a Java peer"
        except EncodeError as refused:
            error = str(refused)
        if error:
            head = self._codec.encode(Error(ErrorCode.ANSWER_TOO_LARGE, error))
        self.outbox.write(self._foreign.frame(head, _returned(asked)))

    # --- life

    def _heartbeat_due(self, _: m.HeartbeatDue) -> None:
        if not self.session.is_up:
            return
        frames, is_client = self.frames_in + self.outbox.frames_out, self.session.side == "client"
        self._idles = self._idles + 1 if frames == self._frames_seen else 0
        if self._idles and is_client:
            self._write_packet(HeartbeatPacket())
        elif self._idles >= SILENT_IDLES:
            self._env.warn(self.session.peer, f"{self.session.peer} was silent for {IDLE_S * SILENT_IDLES} s: closed")
            self._down("the peer was silent")
            return
        self._frames_seen = self.frames_in + self.outbox.frames_out
        self._timers.beat_in(IDLE_S)

    def _drain(self, _: m.Drain) -> None:
        self._stop_taking("this node stops")  # a Java peer cannot be told


# The client codes of asks; any other is an answer.
_ASKS: Final = CLIENT_CODES - {CLIENT_ANSWER}


def _returned(asked: Attachment) -> Attachment:
    """Return the attachment of the answer: the ask's, with another client code."""
    if isinstance(asked, GatewayAttachment):
        return msgspec.structs.replace(asked, client=False)
    assert isinstance(asked, SignalAttachment)
    if asked.client == CLIENT_OUTSIDE:
        return asked
    return msgspec.structs.replace(asked, client=CLIENT_ANSWER)


_FOREIGN_TURNS: dict[type, Callable[[Any, Any], None]] = {
    **_TURNS,
    m.Outbound: ForeignSessionActor._outbound,
    m.Send: ForeignSessionActor._send,
    m.Reply: ForeignSessionActor._reply,
    m.HeartbeatDue: ForeignSessionActor._heartbeat_due,
    m.Drain: ForeignSessionActor._drain,
}
