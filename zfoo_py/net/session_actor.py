"""The actor of one session: it owns the buffers, the asks in flight, the heartbeat and the state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from zfoo_py.actor import Abort, LoopActor, LoopFuture
from zfoo_py.errors import DecodeError
from zfoo_py.net import ends, failures
from zfoo_py.net import messages as m
from zfoo_py.net.handshake import fault_of
from zfoo_py.net.heartbeat import SIGN_BYTES, Heartbeat, Verdict
from zfoo_py.net.intake import Intake
from zfoo_py.net.outbox import Outbox
from zfoo_py.net.pending import Pending
from zfoo_py.net.presence import Presence
from zfoo_py.net.seams import Connection, SessionEnv
from zfoo_py.net.session import Session, SessionEvent, SessionState, advance
from zfoo_py.net.timers import SessionTimers
from zfoo_py.net.transit import timestamp_ms
from zfoo_py.protocol.attachment import CLIENT_ANSWER, CLIENT_KEYED, CLIENT_KEYLESS, SignalAttachment
from zfoo_py.protocol.common import CAN_CHAIN, Draining, Error, ErrorCode, Hello, Ping, Pong
from zfoo_py.protocol.common import Heartbeat as HeartbeatPacket

if TYPE_CHECKING:
    from collections.abc import Callable

    from zfoo_py.protocol.packet import Packet

__all__ = ["SessionActor"]

# What an attachment and its id may add to a packet's own bytes in a frame; the longest has 26.
ATTACHMENT_BYTES = 64

# A lane of an ask without key, as zfoo writes it.
NO_LANE = -1


class SessionActor(LoopActor):
    """Owns one connection.

    A turn that raises closes this session and no other. Its messages are in `zfoo_py.net.messages`.

    Args:
        env: what the node's sessions share.
        sid: the session's id.
        side: "server" (they dialled) or "client" (we dialled).
        connection: the transport; it stands.
        announced: client side: the registration text that discovery announced, which the Hello must repeat
            byte for byte; None if only the address was known.
        watcher: client side: gets SessionUp and SessionDown beside the registry (the connector).
    """

    def __init__(
        self,
        env: SessionEnv,
        sid: int,
        side: Literal["server", "client"],
        connection: Connection,
        announced: str | None = None,
        watcher: Callable[[m.SessionUp | m.SessionDown], None] | None = None,
    ) -> None:
        super().__init__()
        self._env = env
        self._codec = env.codec
        self._connection = connection
        self._announced = announced
        self._watcher = watcher
        self._limits = env.limits
        self.session = Session(
            sid=sid,
            side=side,
            peer=connection.peer,
            codec=env.codec,
            ref=self.actor_ref,
            node=env.node,
            undelivered=env.undelivered,
        )
        self._state = SessionState.CONNECTING
        self._pending = Pending(env.limits.max_pending_asks)
        self.outbox = Outbox(connection, self.runtime, env.limits.outbox_limit_bytes)
        self._max_head_bytes = env.limits.max_frame_bytes - ATTACHMENT_BYTES
        self.heartbeat = Heartbeat(env.limits.heartbeat_interval_s, env.limits.heartbeat_timeout_s)
        self._timers = SessionTimers(self.runtime, self.actor_ref)
        self.intake = Intake(env, self.session, connection, self._timers, self._pending, self._overloaded)
        self._presence = Presence(env.registry, sid)
        self._retiring = ""
        self._is_proven = False  # that the peer speaks this codec
        self._began_s = self.runtime.time()
        self.frames_in = self.bytes_in = 0
        self.ended: LoopFuture[None] = LoopFuture()
        self.late_answers = self.undecodable = 0

    # --- Pykka's hooks

    def on_start(self) -> None:
        """Say Hello, if we dialled: the other side answers once it has seen ours. On the loop."""
        self._state = advance(self._state, SessionEvent.OPENED)
        if self.session.side == "client":
            self._write_packet(self._env.hello())
        self._timers.hello_within(self._limits.hello_timeout_s)

    def on_receive(self, message: Any) -> None:
        """Dispatch by the message's class."""
        _TURNS[message.__class__](self, message)

    def on_stop(self) -> None:
        """End the session if nothing has ended it before (Abort, or the node stops)."""
        self._down("closed by this node", stop=False)

    def on_failure(self, *failure: Any) -> None:
        """Close this session; nobody else notices."""
        self._down(f"a turn of its session actor raised {failure[0].__name__}", stop=False)

    @classmethod
    def on_undelivered(cls, message: Any) -> None:
        """Send asks and sends back where they came from: they were never written."""
        if message.__class__ is m.Outbound:
            failures.return_outbound(message, "the session is closed")
        elif message.__class__ is m.Send:
            failures.return_send(message, "the session is closed")

    # --- from the peer

    def _received(self, chunk: m.Received) -> None:
        self.bytes_in += chunk.byte_count
        self._timers.count_soon()
        for body in chunk.bodies:
            if self._state is SessionState.DOWN:
                return
            self._frame(body)
        if chunk.error is not None and self._state is not SessionState.DOWN:
            self._env.warn(self.session.peer, f"closed the session with {self.session.peer}: {chunk.error}")
            self._down(str(chunk.error))

    def _frame(self, body: Any) -> None:
        self.frames_in += 1
        try:
            binding, packet, attachment = self._codec.decode(body)
        except DecodeError as error:
            self._cannot_decode(error)
            return
        if attachment.__class__ is SignalAttachment and attachment.client == CLIENT_ANSWER:
            self._answered(attachment.signal_id, packet)
        elif self._state is SessionState.HELLO:
            self._hello(packet)
        else:
            handler = _BUILT_IN.get(packet.__class__)
            if handler is not None:
                handler(self, packet)
            elif not self.intake.takes:
                self.intake.not_taken(binding, packet, attachment)
            elif self._env.receive(self.session, binding, packet, attachment):
                intake = self.intake
                intake.in_work += 1
                if intake.in_work >= intake.limit:
                    intake.pause()

    def _answered(self, signal_id: int, packet: Packet) -> None:
        outbound = self._pending.take(signal_id)
        if outbound is None:
            self.late_answers += 1
            return
        call = outbound.call
        if packet.__class__ is call.expects or (call.expects is None and packet.__class__ is not Error):
            call.answer.settle(packet)
        elif isinstance(packet, Error):
            failures.refuse(outbound, packet, self.session)
        else:
            failures.fail(call, failures.unexpected(outbound, packet, self.session))
        if self._state is SessionState.DRAINING:
            self._close_when_idle()

    def _cannot_decode(self, error: DecodeError) -> None:
        self.undecodable += 1
        if self._state is SessionState.HELLO:
            hint = "msgpack is spoken here, and a Java peer needs a [[listen]] with its codec"
            peer = self.session.peer
            self._env.warn(peer, f"closed the session with {peer}: its first frame is no Hello ({error}): {hint}")
            self._down("the first frame is no Hello")
            return
        self._env.warn(self.session.peer, f"a packet of {self.session.peer} cannot be decoded: {error}")
        if error.signal_id is not None:
            self._reply_error(error.signal_id, ErrorCode.BAD_PACKET, str(error))
        elif error.answers is not None and (outbound := self._pending.take(error.answers)) is not None:
            failures.fail(outbound.call, failures.undecodable(outbound, error, self.session))
            self._close_when_idle()

    # --- the Hello

    def _hello(self, packet: Packet) -> None:
        if isinstance(packet, Error):
            self._peer_error(packet)
            self._down(f"the peer refused our Hello: {packet.message}")
            return
        if not isinstance(packet, Hello):
            self._refuse_hello(f"the first packet must be a Hello, not {type(packet).__name__}")
            return
        session = self.session
        fault = fault_of(packet, self._announced, session.peer)
        if fault:
            self._refuse_hello(fault)
            return
        session.introduce(packet, self._env.provides)
        if packet.kind == "node":
            self._connection.limit_frames(self._limits.max_frame_bytes)
        if packet.max_frame_bytes > ATTACHMENT_BYTES:
            self._max_head_bytes = packet.max_frame_bytes - ATTACHMENT_BYTES
        if session.side == "server":  # only now, so that no long frame can come before its limit is set
            self._write_packet(self._env.hello())
        self._state = advance(self._state, SessionEvent.WELCOMED)
        self._is_proven = session.is_up = True
        up, provider = session.facts(packet, self._connection.local, self.runtime.time())
        self._presence.begin(up, provider)
        if self._watcher is not None:
            self._watcher(up)
        self._timers.beat_in(self.heartbeat.look_s)

    def _refuse_hello(self, fault: str) -> None:
        self._env.warn(self.session.peer, f"refused the Hello of {self.session.peer}: {fault}")
        self._write_packet(Error(ErrorCode.BAD_HELLO, fault))
        self._down(fault)

    def _hello_late(self, _: m.HelloLate) -> None:
        if self._state is SessionState.HELLO:
            fault = f"no Hello within {self._limits.hello_timeout_s} s"
            self._env.warn(self.session.peer, f"closed the session with {self.session.peer}: {fault}")
            self._down(fault)

    # --- built-in packets

    def _ping(self, _: Ping) -> None:
        self._write_packet(Pong(0))

    def _pong(self, _: Pong) -> None:
        self.heartbeat.ponged(self.runtime.time())

    def _draining(self, _: Draining) -> None:
        self._stop_taking("the provider drains")
        self._close_when_idle()

    def _peer_error(self, error: Error) -> None:
        self._env.warn(self.session.peer, f"{self.session.peer} reports error {error.code}: {error.message!r}")

    def _ignore(self, _: Packet) -> None:
        """A heartbeat: that it came is all it says."""

    # --- asks and sends

    def _outbound(self, outbound: m.Outbound) -> None:
        call = outbound.call
        if self._state is not SessionState.UP:
            failures.return_outbound(outbound, f"the session is {self._state.name.lower()}")
            return
        now_s = self.runtime.time()
        remaining_s = call.deadline_s - now_s
        if remaining_s <= 0.0:
            failures.fail(call, failures.timed_out(outbound, self.session, written=False))
            return
        if len(call.head) > self._max_head_bytes:
            failures.fail(call, failures.too_large(outbound, self.session, self._max_head_bytes))
            return
        pending = self._pending
        signal_id = pending.add(outbound)
        if not signal_id:
            failures.fail(call, failures.too_many_pending(outbound, self.session, pending.limit))
            return
        client, lane = (CLIENT_KEYLESS, NO_LANE) if outbound.lane is None else (CLIENT_KEYED, outbound.lane)
        answer = call.answer
        answer.carrier, answer.signal_id = self.session.ref, signal_id
        if answer.is_settled:  # cancelled; by another thread, perhaps just now
            pending.take(signal_id)
            return
        remaining_ms, sent_ms = int(remaining_s * 1000.0) + 1, timestamp_ms(now_s - self._began_s)
        if call.chain and CAN_CHAIN in self.session.can:
            frame = self._codec.chained_ask_frame(call.head, signal_id, client, lane, remaining_ms, call.chain, sent_ms)
        else:
            frame = self._codec.ask_frame(call.head, signal_id, client, lane, remaining_ms, sent_ms)
        if call.deadline_s < self._timers.expires_at_s:
            self._timers.expire_at(call.deadline_s)
        if self.outbox.has_room():
            self.outbox.write(frame)
        else:
            self.outbox.parked.add(signal_id, frame, outbound)

    def _send(self, send: m.Send) -> None:
        if not self.session.is_up:
            failures.return_send(send, f"the session is {self._state.name.lower()}")
            return
        if len(send.head) > self._max_head_bytes:
            failures.fail_send(send, failures.send_too_large(send, self.session, self._max_head_bytes))
            return
        if not self.outbox.has_room():
            failures.fail_send(send, failures.outbox_full(send, self.session))
            return
        self.outbox.write(self._codec.one_way_frame(send.head, send.lane))
        if send.sent is not None:
            send.sent.settle(None)

    def _reply(self, reply: m.Reply) -> None:
        if self.session.is_up:
            if len(reply.head) > self._max_head_bytes:
                text = f"the answer has {len(reply.head)} bytes, and this peer takes at most {self._max_head_bytes}"
                self._reply_error(reply.signal_id, ErrorCode.ANSWER_TOO_LARGE, text)
            else:
                self.outbox.write(self._codec.answer_frame(reply.head, reply.signal_id))
        if reply.finishes:
            self._finished(None)

    def _reply_error(self, signal_id: int, code: ErrorCode, text: str) -> None:
        self.outbox.write(self._codec.answer_frame(self._codec.encode(Error(code, text)), signal_id))

    def _overloaded(self, signal_id: int, text: str) -> None:
        self._reply_error(signal_id, ErrorCode.OVERLOADED, text)

    def _finished(self, _: m.Finished | None) -> None:
        intake = self.intake
        intake.in_work -= 1
        if not intake.takes:
            intake.read_again()

    def _paused_long(self, _: m.PausedLong) -> None:
        self.intake.paused_long()

    # --- deadlines, and asks that nobody waits for any more

    def _cancel_ask(self, cancel: m.CancelAsk) -> None:
        if self._pending.drop(cancel.signal_id, cancel.answer):
            self._tell_cancelled([cancel.signal_id])
            self._close_when_idle()

    def _tell_cancelled(self, signal_ids: list[int]) -> None:
        for cancel in ends.cancels(self.session, signal_ids):
            self._write_packet(cancel)

    def _expire(self, _: m.Expire) -> None:
        self._timers.expired()
        # A timer may fire a hair early; a millisecond keeps it from being armed again for nothing.
        now_s = self.runtime.time() + 0.001
        self._tell_cancelled(ends.expire(self.session, self._pending, self.outbox, now_s))
        next_s = self._pending.next_deadline_s()
        if next_s is not None:
            self._timers.expire_at(next_s)
        if self._state is SessionState.DRAINING:
            self._close_when_idle()

    # --- writing

    def _write_packet(self, packet: Packet) -> None:
        self.outbox.write(self._codec.one_way_frame(self._codec.encode(packet), None))

    def unsent_bytes(self) -> int:
        """Return how many bytes wait to be taken by the peer's side of the connection."""
        return self.outbox.gathered_bytes + self._connection.unsent_bytes()

    def _write_paused(self, _: m.WritePaused) -> None:
        self.session.writable = False
        if self.intake.is_deaf():
            self.intake.pause()

    def _flows(self) -> None:
        if not self.session.writable:
            self.session.writable = True
            self._env.flows(self.session)

    def _write_resumed(self, _: m.WriteResumed) -> None:
        if not self._connection.is_full:
            self._flows()
        if not self.intake.takes:
            self.intake.read_again()
        self.outbox.write_parked(self._pending)

    # --- heartbeat: any frame is a sign of life; silence is asked about once

    def _heartbeat_due(self, _: m.HeartbeatDue) -> None:
        if not self.session.is_up:
            return
        heartbeat, connection, now_s = self.heartbeat, self._connection, self.runtime.time()
        taken_bytes = self.outbox.bytes_out - connection.unsent_bytes()
        signs_in = self.frames_in + connection.received_bytes // SIGN_BYTES
        if heartbeat.is_stalled(taken_bytes, signs_in, now_s, is_full=connection.is_full):
            self._give_up("has read nothing", "the peer reads nothing")
            return
        verdict, next_s = heartbeat.due(signs_in, now_s, is_reading=self.intake.is_reading)
        if verdict is Verdict.DEAD:
            self._give_up("has been silent", "no reply to the heartbeat")
            return
        if verdict is Verdict.ASK:
            self._write_packet(Ping())
        elif verdict is Verdict.TELL:
            self._write_packet(HeartbeatPacket())
        self._timers.beat_in(next_s)

    def _give_up(self, what: str, reason: str) -> None:
        peer, lasted_s = self.session.peer, self.heartbeat.interval_s + self.heartbeat.wait_s
        self._env.warn(peer, f"{peer} {what} for {lasted_s} s: session closed")
        self._connection.abort()
        self._down(reason)

    def _counters_due(self, _: m.CountersDue) -> None:
        self._timers.counted()
        out = self.outbox
        latency_ms = self.heartbeat.latency_s * 1000.0
        counters = m.CountersReport(
            self.session.sid, self.frames_in, out.frames_out, self.bytes_in, out.bytes_out, latency_ms
        )
        self._env.registry.tell(counters)

    # --- the end

    def _bind_uid(self, bind: m.BindUid) -> None:
        self._env.registry.tell(bind)

    def _drain(self, _: m.Drain) -> None:
        if self._state is SessionState.UP:
            self._write_packet(Draining())
        self._stop_taking("this node stops")

    def _retire(self, retire: m.Retire) -> None:
        self._stop_taking(retire.reason)
        self._close_when_idle()

    def _stop_taking(self, reason: str) -> None:
        if self._state is SessionState.HELLO:  # nothing to finish: it never carried a packet
            self._down(reason)
            return
        self._retiring = reason
        self._state = advance(self._state, SessionEvent.DRAIN)
        self._presence.withdraw(reason)

    def _close_when_idle(self) -> None:
        # The side that asks closes: it alone knows that all its answers are there.
        if self._state is SessionState.DRAINING and self.session.side == "client" and not len(self._pending):
            self._down(self._retiring)

    def _close(self, end: m.Close | m.Lost) -> None:
        self._down(end.reason)

    def _down(self, reason: str, *, stop: bool = True) -> None:
        """Leave every state for DOWN: fail what is in flight, tell the registry, close, stop."""
        if self._state is SessionState.DOWN:
            return
        self._state = advance(self._state, SessionEvent.LOST)
        self.session.is_up = False
        self._flows()
        self.outbox.flush()
        self._connection.close()
        self._timers.cancel()
        self._fail_pending(reason)
        down = m.SessionDown(self.session.sid, reason, self._is_proven)
        self._presence.end(down)
        if self._watcher is not None:
            self._watcher(down)
        self.ended.settle()
        if stop:
            self.actor_ref.tell(Abort(reason))

    def _fail_pending(self, reason: str) -> None:
        ends.fail_all(self.session, self._pending, self.outbox, reason)

    def _report_yourself(self, order: m.ReportYourself) -> None:
        self._presence.report(order, self.actor_urn, self.session.uid)


# A class's table instead of an instance's: sixteen bound methods would cost every session 2 KiB.
_TURNS: dict[type, Callable[[SessionActor, Any], None]] = {
    m.Received: SessionActor._received,
    m.Outbound: SessionActor._outbound,
    m.CancelAsk: SessionActor._cancel_ask,
    m.Reply: SessionActor._reply,
    m.Finished: SessionActor._finished,
    m.Send: SessionActor._send,
    m.Expire: SessionActor._expire,
    m.WritePaused: SessionActor._write_paused,
    m.WriteResumed: SessionActor._write_resumed,
    m.HeartbeatDue: SessionActor._heartbeat_due,
    m.HelloLate: SessionActor._hello_late,
    m.CountersDue: SessionActor._counters_due,
    m.PausedLong: SessionActor._paused_long,
    m.BindUid: SessionActor._bind_uid,
    m.Drain: SessionActor._drain,
    m.Retire: SessionActor._retire,
    m.Close: SessionActor._close,
    m.Lost: SessionActor._close,
    m.ReportYourself: SessionActor._report_yourself,
}

_BUILT_IN: dict[type, Callable[[SessionActor, Any], None]] = {
    Ping: SessionActor._ping,
    Pong: SessionActor._pong,
    HeartbeatPacket: SessionActor._ignore,
    Hello: SessionActor._ignore,
    Draining: SessionActor._draining,
    Error: SessionActor._peer_error,
}
