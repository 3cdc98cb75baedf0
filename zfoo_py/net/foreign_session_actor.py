"""A session with a peer of Java zfoo: no Hello, zfoo's signal rules and its heartbeat (zfoo.md sections 3, 4 and 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from zfoo_py.errors import DecodeError, EncodeError
from zfoo_py.net import failures
from zfoo_py.net import messages as m
from zfoo_py.net.handshake import WIRE_VERSION
from zfoo_py.net.session import SessionEvent, SessionState, advance
from zfoo_py.net.session_actor import _TURNS, ATTACHMENT_BYTES, SessionActor
from zfoo_py.protocol.attachment import (
    CLIENT_ANSWER,
    CLIENT_CODES,
    CLIENT_KEYED,
    CLIENT_KEYLESS,
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
from zfoo_py.protocol.packet import Ask
from zfoo_py.protocol.raised import Raised
from zfoo_py.protocol.registration import parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from zfoo_py.protocol.foreign_codec import ForeignCodec
    from zfoo_py.protocol.packet import Binding, Packet

__all__ = ["ForeignSessionActor"]

# The longest message that Java zfoo takes.
MAX_MESSAGE_BYTES: Final = 1024 * 1024
# Whoever dialled says that it lives after so long without a frame either way; zfoo's.
IDLE_S: Final = 60.0
# A Java peer says nothing when it is dialled. So a heartbeat is written, which Java ignores, and for which any other
# listener closes the connection; who has not done so after this time takes asks. zfoo waits 100 ms after each connect
# too; twice that is a round trip across an ocean.
QUIET_S: Final = 0.2
# Whoever was dialled closes after so long; zfoo's.
SILENT_S: Final = 180.0
# How often both are looked at: our heartbeat is so much early at most, our closing so much late.
LOOK_S: Final = 5.0


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
        # The peer's asks that are in work here: our id → its attachment, which the answer carries back;
        # None: it had none.
        self._asked: dict[int, Attachment | None] = {}
        self._last_asked = 0
        self._signs_bytes = 0
        self._looked_at_s = self._idle_since_s = self._began_s

    def on_start(self) -> None:
        """Begin: at once if they dialled; else as soon as it is likely that a Java peer is there."""
        self._state = advance(self._state, SessionEvent.OPENED)
        session = self.session
        registration = parse(self._announced or "")
        if session.side == "client" and (registration is None or not registration.provides):
            self._down(f"nobody has told what {session.peer} provides: Java peers need their registration in discovery")
            return
        self._connection.limit_frames(MAX_MESSAGE_BYTES)
        if session.side == "client":
            self._write_packet(HeartbeatPacket())
            self._timers.hello_within(QUIET_S)
        else:
            self._begin()

    def _hello_late(self, _: m.HelloLate) -> None:
        if self._state is SessionState.HELLO:
            self._begin()

    def _begin(self) -> None:
        """Be up. A Java peer says nothing of itself: what we know of a provider, discovery has told."""
        text, session = self._announced or "", self.session
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
        self._timers.beat_in(LOOK_S)

    def on_receive(self, message: Any) -> None:
        """Dispatch by the message's class."""
        _FOREIGN_TURNS[message.__class__](self, message)

    # --- from the peer

    def _frame(self, body: Any) -> None:
        self.frames_in += 1
        read = self._read(body)
        if read is None:
            return
        binding, packet, attachment = read
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
        ours = self._as_ours(attachment, packet)
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

    def _read(self, body: Any) -> tuple[Binding | None, Packet, Attachment | None] | None:
        try:
            read = self._foreign.messages.decode_message(body)
        except DecodeError as error:
            if self._is_proven:
                self._cannot_decode(error)
            else:
                self._speaks_otherwise(body, error)
            return None
        self._is_proven = True
        if self._state is SessionState.HELLO:
            self._begin()
        return read

    def _speaks_otherwise(self, body: Any, error: DecodeError) -> None:
        """Close: the peer's first frame is none of this codec, so it is a node of another one, or no node at all."""
        self.undecodable += 1
        try:
            packet = self._env.codec.decode(body)[1]
        except DecodeError:
            fault = f"its first frame is no message of Java zfoo ({error})"
        else:
            fault = f"its first frame is a {type(packet).__name__} in msgpack, and Java zfoo is spoken here"
        if self.session.side == "server":  # of whom we dialled, the connector says what to look at
            self._env.warn(self.session.peer, f"closed the session with {self.session.peer}: {fault}")
        self._down(fault)

    def _as_ours(self, attachment: Attachment | None, packet: Packet) -> Attachment | None:
        """Return what the receivers' side is to see; an ask gets an id of ours, for the peer's is any number.

        Java clients that wait for a packet, and not for an answer, send their asks without SignalAttachment.
        """
        if isinstance(attachment, SignalAttachment):
            return SignalAttachment(attachment.client, self._note(attachment), attachment.task_executor_hash)
        if isinstance(attachment, GatewayAttachment):
            lane = attachment.task_executor_hash or int32(attachment.uid)
            if attachment.signal_attachment is None and not isinstance(packet, Ask):
                return NoAnswerAttachment(lane)
            return SignalAttachment(CLIENT_KEYED, self._note(attachment), lane)
        if attachment is None and isinstance(packet, Ask) and self.session.side == "server":
            return SignalAttachment(CLIENT_KEYLESS, self._note(None), -1)
        if isinstance(attachment, HttpAttachment):
            return NoAnswerAttachment(attachment.task_executor_hash)
        return attachment if isinstance(attachment, NoAnswerAttachment) else None

    def _note(self, attachment: Attachment | None) -> int:
        """Keep the attachment of an ask until it is answered. Those never answered (cancelled) make room at last.

        As many as may be in work, and all that wait behind them in the same chunk, are not among those.
        """
        if len(self._asked) >= 2 * self._limits.max_in_work_per_session + len(self.intake.held):
            del self._asked[next(iter(self._asked))]
        self._last_asked = self._last_asked % MAX_SIGNAL_ID + 1
        self._asked[self._last_asked] = attachment
        return self._last_asked

    def _pong_to(self, ours: Attachment | None) -> None:
        head = self._codec.encode(Pong(self._env.clock_ms()))
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
                failures.fail(outbound.call, failures.java_error(outbound, packet, self.session))
            self._close_when_idle()
        else:
            super()._answered(signal_id, packet)

    # --- to the peer

    def _outbound(self, outbound: m.Outbound) -> None:
        error = self._cannot_take(outbound.call.binding.packet_class.__name__, outbound.call.head)
        if error is not None:
            failures.fail(outbound.call, failures.cannot_encode(outbound, error, self.session))
            return
        super()._outbound(outbound)

    def _send(self, send: m.Send) -> None:
        error = self._cannot_take(send.packet, send.head)
        if error is not None:
            failures.fail_send(send, failures.send_cannot_encode(send, error, self.session))
            return
        super()._send(send)

    def _cannot_take(self, packet: str, head: bytes) -> EncodeError | None:
        """Return why a Java peer cannot be sent a packet of that name, if it cannot."""
        try:
            size = len(self._foreign.own(head))
        except EncodeError as error:
            return error
        if size <= self._max_head_bytes:
            return None
        return EncodeError(
            f"{packet} has {size} bytes, more than the {self._max_head_bytes} allowed: send less at once"
        )

    def _reply(self, reply: m.Reply) -> None:
        self._answer(reply.signal_id, reply.head)
        if reply.finishes:
            self._finished(None)

    def _overloaded(self, signal_id: int, text: str) -> None:
        self._answer(signal_id, self._codec.encode(Error(ErrorCode.OVERLOADED, text)))

    def _answer(self, signal_id: int, head: bytes) -> None:
        if signal_id not in self._asked:
            return
        asked = self._asked.pop(signal_id)
        if not self.session.is_up:
            return
        if refusal := self._refusal(head):
            self._env.warn(self.session.peer, f"an answer to {self.session.peer} was not sent: {refusal.message}")
            head = self._codec.encode(refusal)
        self.outbox.write(self._foreign.frame(head, _returned(asked)))

    def _refusal(self, head: bytes) -> Error | None:
        """Return what the peer is told instead of an answer that cannot be sent to it."""
        try:
            size = len(self._foreign.own(head))
        except EncodeError as error:
            return Error(ErrorCode.RECEIVER_RAISED, Raised(type(error).__name__, str(error)).text())
        if size <= self._max_head_bytes:
            return None
        text = f"the answer has {size} bytes, and a Java peer takes at most {self._max_head_bytes}"
        return Error(ErrorCode.ANSWER_TOO_LARGE, text)

    # --- life

    def _heartbeat_due(self, _: m.HeartbeatDue) -> None:
        if not self.session.is_up:
            return
        connection, now_s, is_client = self._connection, self.runtime.time(), self.session.side == "client"
        if now_s - self._began_s >= IDLE_S:
            self._is_proven = True  # no node of another codec keeps a stranger for so long
        signs_bytes = connection.received_bytes + self.outbox.bytes_out - connection.unsent_bytes()
        if signs_bytes != self._signs_bytes:
            self._signs_bytes = signs_bytes
            self._idle_since_s = self._looked_at_s if is_client else now_s
        self._looked_at_s = now_s
        idle_s = now_s - self._idle_since_s
        if is_client and idle_s >= IDLE_S:
            self._idle_since_s = now_s
            self._write_packet(HeartbeatPacket())
        elif not is_client and idle_s >= SILENT_S:
            fault = f"nothing was read or written for {SILENT_S:g} s"
            self._env.warn(self.session.peer, f"closed the session with {self.session.peer}: {fault}")
            self._down(fault)
            return
        self._timers.beat_in(LOOK_S)

    def _drain(self, _: m.Drain) -> None:
        self._stop_taking("this node stops")  # a Java peer cannot be told


# The client codes of asks; any other is an answer.
_ASKS: Final = CLIENT_CODES - {CLIENT_ANSWER}


def _returned(asked: Attachment | None) -> Attachment | None:
    """Return the attachment of the answer: the ask's, with another client code."""
    if asked is None:
        return None
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
    m.HelloLate: ForeignSessionActor._hello_late,
    m.HeartbeatDue: ForeignSessionActor._heartbeat_due,
    m.Drain: ForeignSessionActor._drain,
}
