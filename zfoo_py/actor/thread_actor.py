"""The base of actors that have a thread of their own."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import pykka
from loguru import logger
from pykka import ActorDeadError

from zfoo_py.actor.future import LoopFuture
from zfoo_py.actor.messages import ActorStop
from zfoo_py.errors import InboxFullError

if TYPE_CHECKING:
    from types import TracebackType

    from pykka._envelope import Envelope

__all__ = ["BoundedInbox", "ThreadActor"]

T = TypeVar("T")


class BoundedInbox(Generic[T]):
    """The inbox of a thread actor: `put` refuses when full, a stop order always passes.

    Threads that put at the same moment may pass the bound by one message each.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Envelope[T]] = queue.SimpleQueue()
        self.name = ""
        self.limit = 0
        self.is_asked = False  # whether somebody waits for the message taken last

    def put(self, envelope: Envelope[T], /) -> None:
        """Add an envelope.

        Raises:
            InboxFullError: ``limit_messages`` are waiting.
        """
        if self._queue.qsize() >= self.limit and type(envelope.message) is not ActorStop:
            raise InboxFullError(self.name, self.limit)
        self._queue.put(envelope)

    def get(self) -> Envelope[T]:
        """Wait for the next envelope. The actor's own thread."""
        envelope = self._queue.get()
        self.is_asked = envelope.reply_to is not None
        return envelope

    def empty(self) -> bool:
        """Return whether nothing waits."""
        return self._queue.empty()


class ThreadActor(pykka.ThreadingActor):
    """A Pykka actor with a thread of its own, for work that blocks.

    Its inbox is bounded and refuses. The actor survives a message that raises, whatever it raises: the error
    goes to the asker if the message was asked (as `pykka.ActorDeadError` unless it is an ``Exception``), else
    to `on_turn_error`. Its thread is a daemon, so that one that hangs can be abandoned. What it is asked gives
    a `LoopFuture`, since awaiting one of Pykka's own blocks the loop.
    """

    use_daemon_thread = True
    # A worker is handed work only while it is idle, so a handful is plenty.
    inbox_limit_messages: ClassVar[int] = 1024

    actor_inbox: BoundedInbox[Any]

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        super().__init__()
        self.actor_inbox.name = type(self).__name__
        self.actor_inbox.limit = self.inbox_limit_messages

    @staticmethod
    def _create_actor_inbox() -> BoundedInbox[Any]:
        return BoundedInbox()

    @staticmethod
    def _create_future() -> LoopFuture[Any]:
        return LoopFuture()

    def _handle_receive(self, message: Any) -> Any:
        try:
            return super()._handle_receive(message)
        except BaseException as error:
            if self.actor_inbox.is_asked and type(message) is not ActorStop:
                if isinstance(error, Exception):
                    raise
                msg = f"{self} was asked and raised {error!r}"
                raise ActorDeadError(msg) from error
            try:
                self.on_turn_error(message, error)
            except BaseException as second:  # noqa: BLE001 - the guard itself must not fall
                logger.opt(exception=second).error("{} could not report a failed turn", self)
        return None

    def on_turn_error(self, message: Any, error: BaseException) -> None:
        """Report a message that raised; the default logs it. In the actor's thread."""
        logger.opt(exception=error).error("{} survived a failed turn ({})", self, type(message).__name__)

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing to do: `_handle_receive` lets no exception through."""
