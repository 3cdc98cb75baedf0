"""The router: what receivers and applications use to send and ask over a given session."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar, overload

from zfoo_py.actor import ActorDeadError, Timeout, refuse_blocking
from zfoo_py.errors import (
    AskTimeoutError,
    BackpressureError,
    InboxFullError,
    SessionClosedError,
    UnmappedPacketError,
)
from zfoo_py.net.failures import fail
from zfoo_py.net.messages import AskRecord, Outbound
from zfoo_py.protocol.packet import Ask, Packet
from zfoo_py.router.answer import Answer, check_timeout
from zfoo_py.router.call import Call, current_call
from zfoo_py.router.dispatcher import Dispatcher
from zfoo_py.router.hooks import Interceptor
from zfoo_py.router.receivers import Receiver

if TYPE_CHECKING:
    from collections.abc import Callable

    from zfoo_py.net.session import Session

__all__ = ["Interceptor", "Router"]

A = TypeVar("A", bound=Packet)
T = TypeVar("T")

# How much longer than its ask a thread waits: the loop ends every ask at its deadline, so only a loop that is
# dead or blocked for a second lets this run out.
SYNC_GRACE_S = 1.0


class Router(Dispatcher):
    """The dispatcher of a node, with the means to send and ask over its sessions; from any thread."""

    def send(self, session: Session, packet: Packet) -> None:
        """Send a packet to a session.

        In a receiver annotated ``-> None`` it answers the ask being handled, once (zfoo's style); otherwise it
        is a push, as `Session.send`.

        Raises:
            EncodeError, UnmappedPacketError, SessionClosedError, BackpressureError: as `Session.send`.
        """
        call = current_call.get()
        if (
            call is not None
            and call.session is session
            and call.signal_id
            and call.receiver.declares_none
            and not call.answered
        ):
            self.answer(call, packet)
        else:
            session.send(packet)

    @overload
    def async_ask(
        self,
        session: Session,
        packet: Ask[A],
        answer: None = None,
        *,
        key: object = None,
        timeout_s: float | None = None,
    ) -> Answer[A]: ...

    @overload
    def async_ask(
        self, session: Session, packet: Packet, answer: type[A], *, key: object = None, timeout_s: float | None = None
    ) -> Answer[A]: ...

    def async_ask(
        self,
        session: Session,
        packet: Packet,
        answer: type[Any] | None = None,
        *,
        key: object = None,
        timeout_s: float | None = None,
    ) -> Answer[Any]:
        """Ask the peer of a session; sent at once, from any thread.

        Args:
            session: an open session.
            packet: the question.
            answer: class of the answer; None takes it from ``Ask[Answer]``.
            key: decides the lane at the peer; None: no lane.
            timeout_s: seconds until `AskTimeoutError`; None: the node's ``ask_timeout_s``.

        Raises:
            EncodeError, UnmappedPacketError, TypeError, ValueError: at once; nothing was sent.
        """
        binding = self._codec.table.binding(packet.__class__)
        expects = answer if answer is not None else binding.answer_class
        if expects is None:
            name = packet.__class__.__name__
            msg = f"async_ask({name}): say which class answers it: class {name}(Ask[Answer]), or async_ask(…, Answer)"
            raise UnmappedPacketError(msg)
        head = self._codec.encode(packet)
        default_s = self._limits.ask_timeout_s
        given_s = default_s if timeout_s is None else check_timeout(timeout_s)
        chain = ""
        within = current_call.get()
        if within is not None:
            given_s, chain = within.lends(given_s)
        future: Answer[Any] = Answer(self._runtime)
        record = AskRecord(
            binding=binding,
            head=head,
            key=key,
            deadline_s=self.time() + given_s,
            expects=expects,
            answer=future,
            returns_to=None,
            is_default_timeout=timeout_s is None and given_s == default_s,
            timeout_s=given_s,
            chain=chain,
        )
        if self.has_interceptors:
            self.intercept_ask(packet, key, future)
        lane = self._lane_of(key) if key is not None else None
        try:
            session.ref.tell(Outbound(record, lane, session.node_id))
        except InboxFullError as error:
            msg = f"{packet.__class__.__name__} was not sent: {error}"
            fail(record, BackpressureError(msg, sid=session.sid, provider=session.node_id))
        except ActorDeadError as error:
            msg = f"{packet.__class__.__name__} was not sent: the session to {session.peer} is closed ({error})"
            fail(record, SessionClosedError(msg, may_have_run=False, sid=session.sid, provider=session.node_id))
        return future

    @overload
    def sync_ask(
        self,
        session: Session,
        packet: Ask[A],
        answer: None = None,
        *,
        key: object = None,
        timeout_s: float | None = None,
    ) -> A: ...

    @overload
    def sync_ask(
        self, session: Session, packet: Packet, answer: type[A], *, key: object = None, timeout_s: float | None = None
    ) -> A: ...

    def sync_ask(
        self,
        session: Session,
        packet: Any,
        answer: Any = None,
        *,
        key: object = None,
        timeout_s: float | None = None,
    ) -> Any:
        """Ask the peer of a session and wait for the answer in this thread; see `async_ask`.

        Raises:
            BlockingCallError: an event loop runs in this thread.
            CallError: the ask failed.
        """
        refuse_blocking("sync_ask()", "await async_ask()")
        return self.wait(self.async_ask(session, packet, answer, key=key, timeout_s=timeout_s), packet, timeout_s)

    def wait(self, answer: Answer[T], packet: Packet, timeout_s: float | None) -> T:
        """Block this thread until an answer is there; a dead loop ends it a second after the deadline.

        An interrupt (Ctrl-C) cancels the ask.
        """
        given_s = max(0.0, self._limits.ask_timeout_s if timeout_s is None else timeout_s)
        limit_s = given_s + SYNC_GRACE_S
        try:
            return answer.get(timeout=limit_s)
        except Timeout as error:
            answer.cancel()
            name, module = type(packet).__name__, self._codec.table.binding(type(packet)).module.name
            msg = (
                f"{name} had no answer and no error within {limit_s} s: the node's event loop is blocked or closed; "
                f"look for a receiver or callback that blocks it"
            )
            late = AskTimeoutError(msg, module=module, packet=name, provider=answer.provider)
            late.elapsed_s, late.timeout_s = limit_s, given_s
            raise late from error
        except KeyboardInterrupt:
            answer.cancel()
            raise

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

    def intercept_ask(self, packet: Packet, key: object, future: Answer[Any]) -> None:
        """Run the hooks around an ask."""
        self._hooks.before_ask(packet, key, future)
