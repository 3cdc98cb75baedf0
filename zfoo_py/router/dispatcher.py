"""Packets to receivers, in lanes, and answers back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from loguru import logger

from zfoo_py.actor import Abort, ActorDeadError, LoopFuture
from zfoo_py.errors import InboxFullError, ZfooError
from zfoo_py.events import ReceiverFailed
from zfoo_py.log import rate_limited
from zfoo_py.net.messages import Finished, Reply
from zfoo_py.protocol.attachment import CLIENT_KEYED, NoAnswerAttachment, SignalAttachment
from zfoo_py.protocol.common import Error, ErrorCode
from zfoo_py.protocol.packet import Packet
from zfoo_py.router.admission import Admission
from zfoo_py.router.answer import Answer
from zfoo_py.router.call import Call
from zfoo_py.router.drivers import Drivers
from zfoo_py.router.lanes import Lanes, SessionLane, lane_of_sid, lane_of_uid
from zfoo_py.router.receivers import Receiver
from zfoo_py.router.shedding import Drainage
from zfoo_py.router.worker_actor import WorkQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from zfoo_py.actor import Runtime
    from zfoo_py.events import Events
    from zfoo_py.net.session import Session
    from zfoo_py.protocol.msgpack_codec import MsgpackCodec
    from zfoo_py.protocol.packet import Binding

__all__ = ["Dispatcher", "Interceptor"]

A = TypeVar("A", bound=Packet)
T = TypeVar("T")


class Interceptor(Protocol):
    """zfoo's before/after hooks around asks and receives. Called on the loop or the asking thread; must not wait.

    A hook that raises in ``before_…`` fails the ask, or answers it with an error; in ``after_…`` it is logged.
    """

    def before_ask(self, packet: Packet, key: object) -> None:
        """Run before a packet is asked."""

    def after_ask(self, packet: Packet, answer: Packet | None, error: BaseException | None) -> None:
        """Run when an ask has ended."""

    def before_receive(self, session: Session, packet: Packet) -> None:
        """Run before a packet goes to its receiver."""

    def after_receive(self, session: Session, packet: Packet, error: BaseException | None) -> None:
        """Run when the receiver has ended."""


class Dispatcher:
    """Hands packets to receivers, in lanes, and sends their answers.

    Everything belongs to the loop's thread, but `run_in_lane` and `answer`, which may be called from any.

    Args:
        runtime: of the node.
        codec: encodes answers.
        receivers: by packet class, checked.
        provided: (module, group) of everything this node provides; for texts, the sessions know what they serve.
        limits: ``zfoo_py.config.Limits``.
        events: gets ReceiverFailed.
        lane_of: the 32-bit task hash of a key; hashing belongs to the consumer package, above this one.
        interceptors: hooks; none costs nothing.
    """

    def __init__(
        self,
        runtime: Runtime,
        codec: MsgpackCodec,
        receivers: Mapping[type[Packet], Receiver],
        provided: frozenset[tuple[str, str]],
        limits: Any,
        events: Events,
        lane_of: Callable[[Any], int],
        interceptors: Sequence[Interceptor] = (),
    ) -> None:
        self._runtime = runtime
        self.time = runtime.time
        self._codec = codec
        self._receivers = dict(receivers)
        self._provided = provided
        self._limits = limits
        self._events = events
        self._lane_of = lane_of
        self._interceptors = tuple(interceptors)
        self._system: dict[type[Packet], Callable[[Session, Any], None]] = {}
        self._lanes: Lanes[Call] = Lanes()
        self._drivers = Drivers(
            runtime.loop,
            runtime.pace,
            admit=self._admit,
            suspended=self._hold_lane,
            finished=self._call_ended,
            batch_done=self._batch_done,
        )
        self._ready = self._drivers.ready
        self._work = WorkQueue(runtime, limits.workers, limits.max_in_work, self._call_ended, self._batch_done)
        self.admission = Admission(limits.max_in_work)
        self._starts = Drainage()
        self._queued = 0
        self._wake_scheduled = False
        self._is_stopped = False
        self.in_work = 0
        self.received = 0
        self.expired = 0
        self.refused = 0
        self.misrouted = 0
        self.receiver_failures = 0
        self.unsent_answers = 0
        self._idle_waiters: list[LoopFuture[None]] = []

    def threads_at_work(self) -> int:
        """Return how many threads are in a receiver, or on their way to their end."""
        return self._work.at_work()

    def waiting(self) -> dict[str, int]:
        """Return how many packets wait to begin: on the loop, and for worker threads. On the loop's thread."""
        return {"ready": len(self._ready), "waiting_for_workers": len(self._work)}

    # --- from the sessions

    def install(self, packet_class: type[Packet], handler: Callable[[Session, Any], None]) -> None:
        """Let the framework itself handle a built-in packet, in the session's turn."""
        self._system[packet_class] = handler

    def receive(self, session: Session, binding: Binding, packet: Packet, attachment: Any) -> bool:
        """Take a packet of a session; called in the session's turn.

        Returns:
            True if it is in work now: the session hears of its end by `Finished` or ``Reply.finishes``.
        """
        self.received += 1
        signal_id = 0
        lane: int | None = None
        deadline_s = math.inf
        if attachment.__class__ is SignalAttachment:
            signal_id = attachment.signal_id
            if attachment.client == CLIENT_KEYED:
                lane = attachment.task_executor_hash
            if attachment.remaining_ms > 0:
                deadline_s = self.time() + attachment.remaining_ms * 0.001
        elif attachment.__class__ is NoAnswerAttachment:
            lane = attachment.task_executor_hash
        receiver = self._receivers.get(packet.__class__)
        if receiver is None or (session.side == "server" and binding.module.name not in session.serves):
            if session.kind == "client" and receiver is not None:
                pass  # an outside client may call any receiver until a gateway brings roles
            else:
                self._cannot_serve(session, binding, packet, signal_id, unknown=receiver is None)
                return False
        if self.in_work >= self.admission.look_from and (error := self._too_much(receiver, signal_id, deadline_s)):
            self._refuse(session, signal_id, ErrorCode(error.code), error.message)
            return False
        session_lane = None
        if lane is None and session.kind == "client":
            session_lane = self._session_lane(session)
            lane = session_lane.lane
        call = Call(session, packet, lane, deadline_s, receiver, signal_id, self, session_lane)
        if session_lane is not None and session_lane.parked is not None:
            self.in_work += 1
            session_lane.parked.append(call)
        else:
            self._queue(call)
        return True

    def _too_much(self, receiver: Receiver, signal_id: int, deadline_s: float) -> Error | None:
        queue, drainage = (self._ready, self._starts) if receiver.is_async else (self._work, self._work.drainage)
        wait_s, remaining_s = drainage.wait_s(len(queue)), deadline_s - self.time()
        return self.admission.refusal(self.in_work, is_ask=signal_id != 0, remaining_s=remaining_s, wait_s=wait_s)

    def _queue(self, call: Call) -> None:
        if self._is_stopped:
            self._drop(call)
            return
        self.in_work += 1
        self._queued += 1
        self._ready.append(call)
        if not self._wake_scheduled:
            self._wake_scheduled = True
            self._runtime.at_turn_end(self._wake)

    def _wake(self) -> None:
        self._wake_scheduled = False
        ready = self._ready
        if self._drivers.is_active():  # a call it has admitted may be about to start, in a lane not held yet
            return
        # Blocking receivers at the head need no driver: they go to the workers from here, in one batch.
        while ready and not ready[0].receiver.is_async:
            self._admit(ready.popleft())
        self._drivers.wake()

    def _cannot_serve(
        self, session: Session, binding: Binding, packet: Packet, signal_id: int, *, unknown: bool
    ) -> None:
        handler = self._system.get(packet.__class__)
        if handler is not None:
            handler(session, packet)
            return
        name, module = packet.__class__.__name__, binding.module.name
        if session.side == "server" and module not in session.serves and session.kind != "client":
            self._misrouted(session, signal_id, name, module)
        elif unknown:
            self._refuse(session, signal_id, ErrorCode.NO_RECEIVER, f"this node has no receiver of {name}")

    def _misrouted(self, session: Session, signal_id: int, name: str, module: str) -> None:
        """The tripwire: what arrives is meant for another service type than those this node provides."""
        self.misrouted += 1
        groups = " and ".join(sorted(repr(group) for provided, group in self._provided if provided == module))
        text = f"this node does not provide module {module!r}"
        if groups:
            text = f"this node provides module {module!r} as {groups}, not as the group that its asker consumes"
        rate_limited(f"misroute {session.node_id}", f"{name} of {session.node_id or session.peer} is misrouted: {text}")
        self._refuse(session, signal_id, ErrorCode.NOT_SERVED, text)

    def _refuse(self, session: Session, signal_id: int, code: ErrorCode, text: str) -> None:
        self.refused += 1
        if signal_id:
            self._tell(session, Reply(signal_id, self._codec.encode(Error(code, text)), finishes=False))

    # --- lanes

    def _session_lane(self, session: Session) -> SessionLane:
        """Return the lane of a client session's packet without key, and count the packet in."""
        current: SessionLane | None = session.lane
        lane = lane_of_uid(session.uid) if session.uid else lane_of_sid(session.sid)
        if current is None:
            current = session.lane = SessionLane(lane)
        elif current.lane != lane:
            old = current
            current = session.lane = SessionLane(lane)
            if old.outstanding:  # the new lane starts when the old one is empty
                old.next = current
                current.parked = []
        current.outstanding += 1
        return current

    def _admit(self, call: Call) -> bool:
        """Decide whether a ready call may start on a driver now; called right before."""
        lane, receiver = call.lane, call.receiver
        if (
            lane is not None
            and self._lanes
            and not (call.holds_lane or receiver.reentrant)
            and self._lanes.wait_if_held(lane, call)
        ):
            return False
        if call.deadline_s <= self.time():
            self.expired += 1
            self._end(call)
            return False
        if self._interceptors and call.session is not None:
            try:
                for interceptor in self._interceptors:
                    interceptor.before_receive(call.session, call.packet)
            except Exception as error:  # noqa: BLE001 - a hook of the user's: the ask gets it
                self._receiver_failed(call, error)
                self._end(call)
                return False
        if receiver.is_async:
            return True
        self._hold_lane(call)
        if not self._work.submit(call):
            self._refuse_call(call, ErrorCode.OVERLOADED, "the queue of this node's worker threads is full")
            self._end(call)
        return False

    def _hold_lane(self, call: Call) -> None:
        """Close the gate of a call's lane: it suspends, or goes to a worker."""
        if call.lane is not None and not call.holds_lane:
            call.holds_lane = True
            self._lanes.hold(call.lane)

    # --- the end of a call

    def _call_ended(self, call: Call, value: Any, error: BaseException | None) -> None:
        if self._interceptors and call.session is not None:
            self._after_receive(call, error)
        if call.outcome is not None:
            if error is not None and not isinstance(error, Exception):  # nobody else's task may end by it
                error = ZfooError(f"{call.receiver.where} raised {error!r}")
            call.outcome.settle(value, error)
        elif error is not None:
            self._receiver_failed(call, error)
        elif value is not None:
            if call.signal_id and not call.answered:
                self._answer_and_end(call, value)
                return
            if call.answered:
                self._receiver_failed(call, ZfooError(f"{call.receiver.where} answered and returned a packet as well"))
        elif call.signal_id and not call.answered and not call.receiver.wants_call and not call.receiver.declares_none:
            self._refuse_call(call, ErrorCode.NO_ANSWER, f"{call.receiver.where} returned None instead of an answer")
        self._end(call)

    def _answer_and_end(self, call: Call, value: Any) -> None:
        call.answered = True
        try:
            head = self._codec.encode(value)
        except Exception as error:  # noqa: BLE001 - whatever a receiver returned, the asker hears of it
            call.answered = False
            self._receiver_failed(call, error)
            self._end(call)
            return
        assert call.session is not None
        self._leave(call)
        self._tell(call.session, Reply(call.signal_id, head, finishes=True))

    def _end(self, call: Call) -> None:
        self._leave(call)
        if call.session is not None:
            self._tell(call.session, Finished())

    def _tell(self, session: Session, message: Reply | Finished) -> None:
        try:
            session.ref.tell(message)
        except ActorDeadError:  # the asker is gone, and nobody waits for it any more
            self.unsent_answers += 1
        except InboxFullError:  # its count of packets in work would never come down again: better no session
            self.unsent_answers += 1
            session.ref.tell(Abort("its inbox is full"))

    def _leave(self, call: Call) -> None:
        """Take a call out of work and out of its lanes; whoever waited for that is ready now."""
        self.in_work -= 1
        if call.holds_lane and call.lane is not None:
            following = self._lanes.release(call.lane)
            if following is not None:
                following.holds_lane = True
                self._ready.appendleft(following)
        session_lane = call.session_lane
        if session_lane is not None:
            session_lane.outstanding -= 1
            if not session_lane.outstanding and session_lane.next is not None:
                begins, session_lane.next = session_lane.next, None
                self._ready.extendleft(reversed(begins.parked or ()))
                begins.parked = None

    def _batch_done(self) -> None:
        """Send what a batch of receivers has answered, in the same callback of the loop."""
        waiting = len(self._ready)
        self._starts.note(self._queued - waiting, waiting, self.time())
        if waiting:
            self._wake()
        if not self._runtime.in_turn:
            self._runtime.drain()
        if self._idle_waiters and not self.in_work:
            waiters, self._idle_waiters = self._idle_waiters, []
            for waiter in waiters:
                waiter.settle()

    def _receiver_failed(self, call: Call, error: BaseException) -> None:
        self.receiver_failures += 1
        name, kind, said = type(call.packet).__name__, type(error).__name__, _said(error)
        logger.opt(exception=error).error("{} raised while handling {}", call.receiver.where, name)
        if call.outcome is not None:
            call.outcome.settle(error=error)
        elif call.signal_id and not call.answered:
            self._refuse_call(call, ErrorCode.RECEIVER_RAISED, f"{kind}: {said}" if said else kind)
        if self._events.wants(ReceiverFailed):
            sid = call.session.sid if call.session is not None else 0
            self._events.publish(ReceiverFailed(call.receiver.where, name, sid, kind, said))

    def _refuse_call(self, call: Call, code: ErrorCode, text: str) -> None:
        if call.outcome is not None:
            call.outcome.settle(error=ZfooError(text))
        elif call.signal_id and not call.answered and call.session is not None:
            call.answered = True
            self._tell(call.session, Reply(call.signal_id, self._codec.encode(Error(code, text)), finishes=False))

    def _after_receive(self, call: Call, error: BaseException | None) -> None:
        assert call.session is not None
        for interceptor in self._interceptors:
            try:
                interceptor.after_receive(call.session, call.packet, error)
            except Exception as hook_error:  # noqa: BLE001 - the receiver has run; its answer must go out
                logger.opt(exception=hook_error).error("after_receive of {!r} raised", interceptor)

    def answer(self, call: Call, packet: Packet) -> None:
        """Send the explicit answer of a call; used by `Call.answer`, from any thread."""
        if not call.signal_id or call.session is None:
            return
        head = self._codec.encode(packet)
        call.answered = True
        self._tell(call.session, Reply(call.signal_id, head, finishes=False))

    # --- own work in a lane

    def run_in_lane(
        self, lane: int, function: Callable[..., Any], args: tuple[Any, ...], *, is_async: bool
    ) -> Answer[Any]:
        """Run own work in a lane, in its turn: on the loop (``is_async``) or on a worker. From any thread."""
        outcome: Answer[Any] = Answer(self._runtime)
        receiver = Receiver(
            function=lambda _session, _packet: function(*args),
            packet_class=Packet,
            is_async=is_async,
            wants_call=False,
            declares_none=True,
            reentrant=False,
            where=getattr(function, "__qualname__", repr(function)),
        )
        call = Call(None, None, lane, math.inf, receiver, 0, self, None, outcome)
        self._runtime.call_from_outside(self._queue, call)
        return outcome

    def callback_in_lane(self, lane: int, callback: Callable[[Any], object], done: Any, *, is_async: bool) -> None:
        """Run an answer's callback in the lane of the receiver that asked."""
        if not is_async:
            self.run_in_lane(lane, callback, (done,), is_async=False)
            return

        async def call_back() -> None:
            callback(done)

        self.run_in_lane(lane, call_back, (), is_async=True)

    # --- the end

    def drained(self) -> LoopFuture[None]:
        """Return a future that is settled when nothing is in work. On the loop."""
        waiter: LoopFuture[None] = LoopFuture()
        if not self.in_work:
            waiter.settle()
        else:
            self._idle_waiters.append(waiter)
        return waiter

    async def stop(self) -> LoopFuture[None]:
        """Cancel the receivers that are still suspended, and ask the workers to stop; ends when they have."""
        await self._drivers.stop()
        self._is_stopped = True
        for call in (*self._ready, *self._lanes.take_waiting(), *self._work.take_waiting()):
            self._drop(call)
        return self._work.stop()

    def _drop(self, call: Call) -> None:
        """Let nobody wait for own work that will not run; peers hear of the end of their sessions."""
        if call.outcome is not None:
            call.outcome.settle(error=ZfooError(f"{call.receiver.where} did not run: the node has stopped"))


def _said(error: BaseException) -> str:
    """Return what a foreign exception says, as text that can be sent: file names in it may hold lone surrogates."""
    try:
        return str(error).encode("utf-8", "backslashreplace").decode()
    except Exception:  # noqa: BLE001 - its own text may raise, too; its call must end nevertheless
        return ""
