"""Packets to receivers, in lanes, and answers back."""

from __future__ import annotations

import asyncio
import math
import threading
import uuid
from typing import TYPE_CHECKING, Any

from zfoo_py.actor import LoopFuture
from zfoo_py.errors import ZfooError
from zfoo_py.log import rate_limited
from zfoo_py.net.messages import Finished, Reply
from zfoo_py.protocol.attachment import CLIENT_KEYED, NoAnswerAttachment, SignalAttachment
from zfoo_py.protocol.common import Cancel
from zfoo_py.router import refusals
from zfoo_py.router.admission import Admission
from zfoo_py.router.begun import Begun
from zfoo_py.router.call import Call
from zfoo_py.router.cancels import Cancels
from zfoo_py.router.chains import drop_notice, notice_before_s
from zfoo_py.router.cycles import Cycles
from zfoo_py.router.drivers import Drivers
from zfoo_py.router.held_back import HeldBack
from zfoo_py.router.hooks import Hooks
from zfoo_py.router.lanes import Lanes, lane_of_session
from zfoo_py.router.replies import Replies
from zfoo_py.router.shedding import Drainage
from zfoo_py.router.unserved import Unserved
from zfoo_py.router.worker_actor import HeldBackError, TooLateError, WorkQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from zfoo_py.actor import Runtime
    from zfoo_py.events import Events
    from zfoo_py.net.session import Session
    from zfoo_py.protocol.common import Error
    from zfoo_py.protocol.msgpack_codec import MsgpackCodec
    from zfoo_py.protocol.packet import Binding, Packet
    from zfoo_py.router.hooks import Interceptor
    from zfoo_py.router.receivers import Receiver

__all__ = ["Dispatcher"]


# An answer as long is written before the next call starts, not at the end of the batch: a peer that does not read is
# known as soon as its outbox is full, and gets no whole batch (32 calls) beyond that.
LONG_ANSWER_BYTES = 16 * 1024


class Dispatcher:
    """Hands packets to receivers, in lanes, and sends their answers.

    Everything belongs to the loop's thread, but `answer` and `chain_within`, which may be called from any.

    Args:
        runtime: of the node.
        codec: encodes answers.
        receivers: by packet class, checked.
        provided: (module, group) of everything this node provides; for texts, the sessions know what they serve.
        limits: ``zfoo_py.config.Limits``.
        events: gets ReceiverFailed.
        lane_of: the 32-bit task hash of a key; hashing belongs to the consumer package, above this one.
        interceptors: hooks; none costs nothing.
        node_id: names this node in the chains of asks.
        send_tracebacks: whether an asker gets the traceback of a receiver that raised.
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
        *,
        node_id: str = "node",
        send_tracebacks: bool = False,
    ) -> None:
        self._runtime = runtime
        self.time = runtime.time
        self._codec = codec
        self._receivers = dict(receivers)
        self._limits = limits
        self._lane_of = lane_of
        self._hooks = Hooks(interceptors)
        self.has_interceptors = bool(interceptors)
        once = threading.Lock()  # explicit answers, and asks in receivers, come from any thread
        self._replies = Replies(codec, events, once, send_tracebacks=send_tracebacks)
        self.answer = self._replies.answer
        # Ids alone do not tell nodes apart: two may have one id by mistake, and a node has it again when it comes back.
        self._cycles = Cycles(f"{node_id}:{uuid.uuid4().hex[:8]}", once)
        self.chain_within = self._cycles.chain_within
        self._lanes: Lanes[Call] = Lanes()
        self._begun = Begun()
        self._drivers = Drivers(
            runtime.loop,
            runtime.pace,
            admit=self._admit,
            suspended=self._suspended,
            ended=self._begun.remove,
            finished=self._call_ended,
            batch_done=self._batch_done,
        )
        self._ready = self._drivers.ready
        self._work = WorkQueue(runtime, limits.workers, limits.max_in_work, self._work_ended, self._batch_done)
        self._held_back = HeldBack(self._lanes, self._ready, self._let_go, self._wake_soon)
        self.flows = self._held_back.flows
        waiting = (self._lanes, self._held_back)
        cancels = Cancels(self._begun, waiting, self._ready, self._work.drop, self._too_late, runtime.at_turn_end)
        self.unserved = Unserved(provided, self._refuse, rate_limited)
        self.install(Cancel, cancels.take)
        self.admission = Admission(limits.max_in_work)
        self._starts = Drainage()
        self._queued = 0
        self._wake_scheduled = False
        self._is_stopped = False
        self.in_work = 0
        self.received = 0
        self.expired = 0
        self.cancelled = 0
        self.refused = 0
        self._idle_waiters: list[LoopFuture[None]] = []

    @property
    def receiver_failures(self) -> int:
        """Receivers that raised."""
        return self._replies.receiver_failures

    @property
    def unsent_answers(self) -> int:
        """Answers for sessions that were gone."""
        return self._replies.unsent

    def threads_at_work(self) -> int:
        """Return how many threads are in a receiver, or on their way to their end."""
        return self._work.at_work()

    def waiting(self) -> dict[str, int]:
        """Return how many packets wait to begin: on the loop, for threads, for the busiest lane. On the loop."""
        ready, for_workers = len(self._ready), len(self._work)
        waiting = {"ready": ready, "waiting_for_workers": for_workers, "longest_lane": self._lanes.longest()}
        return {**waiting, "held_back": len(self._held_back)}

    # --- from the sessions

    def install(self, packet_class: type[Packet], handler: Callable[[Session, Any], None]) -> None:
        """Let the framework itself handle a built-in packet, in the session's turn."""
        self.unserved.handlers[packet_class] = handler

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
                deadline_s = (now_s := self.time()) + attachment.remaining_ms * 0.001
                if attachment.timestamp:
                    deadline_s -= session.transit.waited_s(attachment.timestamp, now_s)
        elif attachment.__class__ is NoAnswerAttachment:
            lane = attachment.task_executor_hash
        receiver = self._receivers.get(packet.__class__)
        if receiver is None or (  # an outside client may call any receiver until a gateway brings roles
            session.side == "server" and session.kind != "client" and binding.module.name not in session.serves
        ):
            self.unserved.take(session, binding, packet, signal_id, unknown=receiver is None)
            return False
        if self.in_work >= self.admission.look_from and (error := self._too_much(receiver, signal_id, deadline_s)):
            self._refuse(session, signal_id, error)
            return False
        session_lane = None
        if lane is None and session.kind == "client":
            session_lane = lane_of_session(session)
            lane = session_lane.lane
        call = Call(session, packet, lane, deadline_s, receiver, signal_id, self, session_lane)
        if signal_id and attachment.chain:
            self._cycles.came_with(call, attachment.chain)
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
            self._wake_soon()

    def _wake_soon(self) -> None:
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
        runtime = self._runtime
        in_turn, runtime.in_turn = runtime.in_turn, False  # receivers that start here are no turn of an actor
        try:
            have_run = self._drivers.wake()
        finally:
            runtime.in_turn = in_turn
        if have_run:
            self._batch_done()

    def _refuse(self, session: Session, signal_id: int, error: Error) -> None:
        self.refused += 1
        if signal_id:
            self._replies.tell(session, Reply(signal_id, self._codec.encode(error), finishes=False))

    # --- lanes

    def _admit(self, call: Call) -> bool:
        """Decide whether a ready call may start on a driver now; called right before."""
        lane, receiver, session = call.lane, call.receiver, call.session
        if session is not None and not session.writable:
            self._held_back.hold(call, session)
            return False
        if (
            lane is not None
            and self._lanes.held
            and not (call.holds_lane or receiver.reentrant)
            and (holders := self._lanes.holders(lane))
        ):
            self._wait_for_lane(call, lane, holders)
            return False
        if call.deadline_s <= self.time():
            self._too_late(call)
            return False
        if self.has_interceptors and session is not None:
            try:
                self._hooks.before_receive(session, call.packet)
            except BaseException as error:  # noqa: BLE001 - a hook of the user's: the ask gets it, whatever it is
                self._replies.failed(call, error)
                self._end(call)
                return False
        if receiver.is_async:
            return True
        self._to_worker(call)
        return False

    def _wait_for_lane(self, call: Call, lane: int, holders: list[Call]) -> None:
        """Let a call wait, unless it would wait for itself; whoever asked in a receiver hears in time who held it."""
        if call.deadline_s <= self.time():  # else what was cancelled when it was ready would wait for the lane
            self._too_late(call)
            return
        waiting = self._lanes.waiting(lane)
        if waiting >= self._limits.max_waiting_per_lane and call.session is not None:  # own work: whoever makes it
            self._refuse_and_end(call, refusals.lane_full(lane, waiting))
            return
        if call.trail is not None:
            cycle = self._cycles.in_lane(call, holders)
            if cycle is not None:
                self._refuse_and_end(call, cycle)
                return
            remaining_s = call.remaining_s
            if remaining_s < math.inf:
                delay_s = remaining_s - notice_before_s(remaining_s)
                call.trail.notice = self._runtime.timers.call_later(delay_s, self._lane_was_held, call)
        self._lanes.wait(lane, call)

    def _lane_was_held(self, call: Call) -> None:
        for late in self._lanes.drop(lambda waiting: waiting is call):
            self.expired += 1
            self._replies.refuse(late, refusals.expired_in_lane(self._lanes.holders(late.lane or 0)))
            self._end(late)

    def _to_worker(self, call: Call) -> None:
        """Hand a call to the workers, unless each of them waits for it."""
        if call.trail is not None and (cycle := self._cycles.in_workers(call, self._work.busy())) is not None:
            self._refuse_and_end(call, cycle)
            return
        self._hold_lane(call)
        self._begun.add(call, None)
        if not self._work.submit(call):
            self._begun.remove(call)
            self._refuse_and_end(call, refusals.stopped() if self._is_stopped else refusals.workers_full())

    def _refuse_and_end(self, call: Call, error: Error) -> None:
        self.refused += 1
        self._replies.refuse(call, error)
        self._end(call)

    def _too_late(self, call: Call) -> None:
        if call.is_cancelled:
            self.cancelled += 1
        else:
            self.expired += 1
            self._replies.refuse(call, refusals.expired())
        self._end(call)

    def _suspended(self, call: Call, task: asyncio.Task[None]) -> None:
        self._hold_lane(call)
        self._begun.add(call, task)

    def _hold_lane(self, call: Call) -> None:
        """Close the gate of a call's lane: it suspends, or goes to a worker."""
        if call.lane is not None and not call.holds_lane:
            call.holds_lane = True
            self._lanes.hold(call.lane, call)

    # --- the end of a call

    def _work_ended(self, call: Call, value: Any, error: BaseException | None) -> None:
        self._begun.remove(call)
        if error.__class__ is TooLateError:
            self._run_after_hooks(call, error)
            self._too_late(call)
            return
        if error.__class__ is HeldBackError and call.session is not None:
            self._run_after_hooks(call, error)
            self._held_back.hold(call, call.session)
            return
        self.cancelled += call.is_cancelled and not isinstance(error, asyncio.CancelledError)  # counted below
        self._call_ended(call, value, error)

    def _run_after_hooks(self, call: Call, error: BaseException | None) -> None:
        if call.session is not None:
            self._hooks.after_receive(call.session, call.packet, error)

    def _call_ended(self, call: Call, value: Any, error: BaseException | None) -> None:
        if self.has_interceptors:
            self._run_after_hooks(call, error)
        if call.outcome is not None:
            if error is not None and not isinstance(error, Exception):  # nobody else's task may end by it
                error = ZfooError(f"{call.receiver.where} raised {error!r}")
            call.outcome.settle(value, error)
        elif error is not None:
            if call.is_cancelled and isinstance(error, asyncio.CancelledError):
                self.cancelled += 1
            elif self._is_stopped and isinstance(error, asyncio.CancelledError):
                self._replies.cut_short(call)
            else:
                self._replies.failed(call, error)
        elif value is not None:
            if call.signal_id and not call.answered:
                self._answer_and_end(call, value)
                return
            if call.answered:
                self._replies.answered_twice(call)
        elif call.signal_id and not call.answered and not call.receiver.wants_call and not call.receiver.declares_none:
            self._replies.refuse(call, refusals.no_answer(call.receiver.where))
        self._end(call)

    def _answer_and_end(self, call: Call, value: Any) -> None:
        try:
            head = self._codec.encode(value)
        except Exception as error:  # noqa: BLE001 - whatever a receiver returned, the asker hears of it
            self._replies.failed(call, error)
            self._end(call)
            return
        if not call.receiver.wants_call:
            call.answered = True
        elif not self._replies.claim(call):  # another thread of its has answered just now
            self._replies.answered_twice(call)
            self._end(call)
            return
        assert call.session is not None
        self._leave(call)
        self._replies.tell(call.session, Reply(call.signal_id, head, finishes=True))
        if len(head) >= LONG_ANSWER_BYTES and not self._runtime.in_turn:
            self._runtime.drain()

    def _end(self, call: Call) -> None:
        self._leave(call)
        if call.session is not None:
            self._replies.tell(call.session, Finished())

    def _leave(self, call: Call) -> None:
        """Take a call out of work and out of its lanes; whoever waited for that is ready now."""
        self.in_work -= 1
        if call.holds_lane and call.lane is not None:
            self._let_go(call, call.lane)
        session_lane = call.session_lane
        if session_lane is not None:
            self._ready.extendleft(session_lane.leave())

    def _let_go(self, call: Call, lane: int) -> None:
        call.holds_lane = False
        following = self._lanes.release(lane, call)
        if following is not None:
            following.holds_lane = True
            drop_notice(following.trail)
            self._ready.appendleft(following)

    def _batch_done(self) -> None:
        """Send what a batch of receivers has answered, in the same callback of the loop."""
        self._starts.note(self._queued - len(self._ready), len(self._ready), self.time())
        if self._ready:
            self._wake()
        if not self._runtime.in_turn:
            self._runtime.drain()
        if self._idle_waiters and not self.in_work:
            waiters, self._idle_waiters = self._idle_waiters, []
            for waiter in waiters:
                waiter.settle()

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
        """Let nothing more begin, cancel the receivers that are suspended, and ask the workers to stop.

        Returns:
            A future that ends when the workers have.
        """
        self._is_stopped = True
        self._drop_all(self._work.take_waiting())
        await self._drivers.stop()
        if cut := self._replies.cut:
            rate_limited("stop", f"{cut} receivers were cancelled, as this node stops; see limits.drain_timeout_s")
        waiting = (*self._lanes.take_waiting(), *self._held_back.take_all(), *self._work.take_waiting())
        self._drop_all([*self._ready, *waiting])
        return self._work.stop()

    def _drop_all(self, calls: list[Call]) -> None:
        for call in calls:
            drop_notice(call.trail)
            self._drop(call)

    def _drop(self, call: Call) -> None:
        """Let nobody wait for what will not run; its receiver has not begun, so an asker may ask elsewhere."""
        if call.outcome is not None:
            call.outcome.settle(error=ZfooError(f"{call.receiver.where} did not run: the node has stopped"))
        else:
            self._replies.refuse(call, refusals.stopped())
