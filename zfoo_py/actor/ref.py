"""The address of a loop actor."""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING, Any, TypeVar

from pykka import ActorDeadError, ActorRef
from pykka._envelope import Envelope

from zfoo_py.actor.future import LoopFuture, refuse_blocking
from zfoo_py.actor.messages import ABORT, CONTROL, SPECIAL, ActorStop
from zfoo_py.errors import InboxFullError

if TYPE_CHECKING:
    from zfoo_py.actor.inbox import LoopInbox
    from zfoo_py.actor.loop_actor import LoopActor

__all__ = ["LoopActorRef"]

A = TypeVar("A", bound="LoopActor")


class LoopActorRef(ActorRef[A]):
    """Address of a loop actor; behaves as Pykka documents `pykka.ActorRef`, from any thread."""

    actor_inbox: LoopInbox

    def tell(self, message: Any) -> None:
        """Send a message without waiting for an answer. One sender's messages of one class stay in order.

        What a thread tells takes a wake-up of the loop to arrive; what the loop tells meanwhile is there first.

        Raises:
            ActorDeadError: the actor has stopped, and this is not called within a turn.
            InboxFullError: the inbox is full, and this is not called within a turn. Within a turn both go
                to the actor class's `on_undelivered` instead.
        """
        inbox = self.actor_inbox
        runtime, normal = inbox.runtime, inbox.normal
        kind = SPECIAL.get(message.__class__)
        if kind is not None:
            self._tell_special(kind, message)
        elif get_ident() == runtime.thread_ident and not inbox.closed and len(normal) < inbox.limit:  # the hot path
            normal.append(message)
            if not inbox.scheduled:
                runtime.make_ready(inbox)
        else:
            inbox.post(message, control=False, unbounded=False)

    def _tell_special(self, kind: int, message: Any) -> None:
        if kind == CONTROL:
            self.actor_inbox.post(message, control=True, unbounded=True)
        elif kind == ABORT:
            self.actor_inbox.post(Envelope(message), control=True, unbounded=True)
        else:
            self.actor_inbox.post(Envelope(message), control=False, unbounded=message.__class__ is ActorStop)

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = None) -> Any:
        """Send a message and wait for the answer, or get a `LoopFuture` of it (``block=False``).

        Args:
            message: the message.
            block: wait in this thread.
            timeout: seconds to wait if blocking, None for ever.

        Raises:
            BlockingCallError: ``block`` where an event loop runs.
            ActorDeadError, InboxFullError: as the future's outcome.
        """
        if block:
            refuse_blocking("ask()", "use ask(..., block=False) and await the future")
        future: LoopFuture[Any] = LoopFuture()
        kind = SPECIAL.get(message.__class__)
        try:
            self.actor_inbox.post(
                Envelope(message, reply_to=future),
                control=kind in {CONTROL, ABORT},
                unbounded=message.__class__ is ActorStop,
            )
        except (ActorDeadError, InboxFullError) as error:
            future.settle(error=error)
        return future.get(timeout=timeout) if block else future

    def stop(self, *, block: bool = True, timeout: float | None = None) -> Any:
        """Ask the actor to stop after all it was told before; True if it was alive.

        ``block`` and ``timeout`` as in `ask`. A stop is never refused.
        """
        if block:
            refuse_blocking("stop()", "use stop(block=False) and await the future")
        asked: LoopFuture[Any] = self.ask(ActorStop(), block=False)
        stopped: LoopFuture[bool] = LoopFuture()

        def convert(done: LoopFuture[Any]) -> None:
            stopped.settle(not isinstance(done.exception(), ActorDeadError))

        asked.add_done_callback(convert)
        return stopped.get(timeout=timeout) if block else stopped
