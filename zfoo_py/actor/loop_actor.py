"""The base of actors that live on a runtime's loop."""

from __future__ import annotations

from typing import Any, ClassVar, Self, cast

import pykka
from loguru import logger
from pykka import ActorDeadError
from pykka._envelope import Envelope

from zfoo_py.actor.future import LoopFuture
from zfoo_py.actor.inbox import LoopInbox
from zfoo_py.actor.messages import Abort, ActorStop
from zfoo_py.actor.ref import LoopActorRef
from zfoo_py.actor.runtime import Runtime

__all__ = ["LoopActor"]


class LoopActor(pykka.Actor):
    """A Pykka actor that lives on a runtime's loop; start it with `Runtime.spawn`.

    All hooks (`on_start`, `on_receive`, `on_stop`, `on_failure`) run on the loop's thread and must not wait.
    """

    # Overrides the runtime's default for one class of actors; messages.
    inbox_limit_messages: ClassVar[int | None] = None

    runtime: Runtime
    actor_inbox: LoopInbox

    @staticmethod
    def _create_actor_inbox() -> LoopInbox:
        return LoopInbox(Runtime.spawning())

    @staticmethod
    def _create_future() -> LoopFuture[Any]:
        return LoopFuture()

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        super().__init__()
        inbox = self.actor_inbox
        self.runtime = inbox.runtime
        inbox.actor_class = type(self)
        if self.inbox_limit_messages is not None:
            inbox.limit = self.inbox_limit_messages
        self._actor_ref = LoopActorRef(self)

    @property
    def actor_ref(self) -> LoopActorRef[Self]:
        """The actor's address."""
        return cast("LoopActorRef[Self]", self._actor_ref)

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> LoopActorRef[Self]:
        """Start an actor on the runtime of the turn this is called in.

        Raises:
            RuntimeError: not called within a turn; use `Runtime.spawn`.
        """
        return Runtime.spawning().spawn(cls, *args, **kwargs)

    def _start_actor_loop(self) -> None:
        self.actor_inbox.actor = self
        try:
            self.on_start()
        except BaseException as error:  # noqa: BLE001 - as in Pykka: log, and the actor ends
            self._end(error)

    @classmethod
    def on_undelivered(cls, message: Any) -> None:
        """Take a message that no actor of this class will handle. On the loop's thread.

        The runtime has counted it. Override to send it back where it came from.
        """

    # --- turns; called by LoopInbox.run only

    def _turn_enveloped(self, envelope: Envelope[Any]) -> None:
        reply = cast("LoopFuture[Any] | None", envelope.reply_to)
        message = envelope.message
        try:
            value = self._handle_receive(message)
        except BaseException as error:  # noqa: BLE001 - the asker gets it; only a BaseException ends us
            if reply is None:
                self._turn_failed(message, error)
                return
            if isinstance(error, Exception):
                self._ask_failed(error)
                reply.settle(error=error)
                return
            dead = ActorDeadError(f"{self} died: {error!r}")
            dead.__cause__ = error
            reply.settle(error=dead)
            self._turn_failed(message, error)
            return
        if reply is not None:
            reply.settle(value)

    def _ask_failed(self, error: Exception) -> None:
        """Live on, as Pykka does when an asked message raises: the asker gets the exception."""
        del error

    def _turn_failed(self, message: Any, error: BaseException) -> None:
        """End the actor, as Pykka does when a told message raises."""
        del message
        self._end(error)

    def _handle_receive(self, message: Any) -> Any:
        if type(message) is Abort:
            return self._stop()
        return super()._handle_receive(message)

    def _stop(self) -> None:
        self._end(None)

    def _end(self, error: BaseException | None) -> None:
        """Leave the runtime, call the last hook, and give back what is left in the inbox."""
        inbox = self.actor_inbox
        if inbox.closed:
            return
        self.actor_stopped.set()
        left = inbox.close()
        self.runtime.forget(self)
        try:
            if error is None:
                self.on_stop()
            else:
                logger.opt(exception=error).error("{} ended by an unhandled exception", self)
                self.on_failure(type(error), error, error.__traceback__)
        except BaseException as hook_error:  # noqa: BLE001 - a hook of the user's; there is nobody left to tell
            logger.opt(exception=hook_error).error("the last hook of {} raised", self)
        try:
            self.give_back(left)
        except BaseException as repair_error:  # noqa: BLE001 - of whoever restarts it; the next turns are innocent
            logger.opt(exception=repair_error).error("{} could not be repaired", self)

    def give_back(self, left: list[Any]) -> None:
        """Answer or give back what nobody will handle. On the loop's thread; called by the runtime only."""
        for item in left:
            if type(item) is not Envelope:
                self.runtime.give_back(type(self), item)
            elif item.reply_to is None:
                self.runtime.give_back(type(self), item.message)
            else:
                reply = cast("LoopFuture[Any]", item.reply_to)
                is_stop = type(item.message) is ActorStop
                dead = None if is_stop else ActorDeadError(f"{self.actor_ref} stopped before handling the message")
                reply.settle(error=dead)
