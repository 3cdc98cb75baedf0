"""The base of actors that have a thread of their own."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import pykka
from loguru import logger

from zfoo_py.actor.messages import ActorStop
from zfoo_py.errors import InboxFullError

if TYPE_CHECKING:
    from types import TracebackType

    from pykka._envelope import Envelope

__all__ = ["BoundedInbox", "ThreadActor"]

T = TypeVar("T")


class BoundedInbox(Generic[T]):
    """The inbox of a thread actor: `put` refuses when full, a stop order always passes."""

    def __init__(self, limit_messages: int) -> None:
        self._queue: queue.SimpleQueue[Envelope[T]] = queue.SimpleQueue()
        self._limit = limit_messages

    def put(self, envelope: Envelope[T], /) -> None:
        """Add an envelope.

        Raises:
            InboxFullError: ``limit_messages`` are waiting.
        """
        if self._queue.qsize() >= self._limit and type(envelope.message) is not ActorStop:
            raise InboxFullError("a thread actor", self._limit)
        self._queue.put(envelope)

    def get(self) -> Envelope[T]:
        """Wait for the next envelope. The actor's own thread."""
        return self._queue.get()

    def empty(self) -> bool:
        """Return whether nothing waits."""
        return self._queue.empty()


class ThreadActor(pykka.ThreadingActor):
    """A Pykka actor with a thread of its own, for work that blocks.

    Its inbox is bounded and refuses; a message that raises, whatever it raises, goes to `on_turn_error` and
    the actor lives on; its thread is a daemon, so that one that hangs can be abandoned.
    """

    use_daemon_thread = True
    # A worker is handed work only while it is idle, so a handful is plenty.
    inbox_limit_messages: ClassVar[int] = 1024

    @staticmethod
    def _create_actor_inbox() -> BoundedInbox[Any]:
        return BoundedInbox(ThreadActor.inbox_limit_messages)

    def _handle_receive(self, message: Any) -> Any:
        if type(message) is ActorStop:
            return self._stop()
        try:
            return super()._handle_receive(message)
        except BaseException as error:  # noqa: BLE001 - Pykka would stop every actor of the process
            return self.on_turn_error(message, error)

    def on_turn_error(self, message: Any, error: BaseException) -> Any:
        """Report a message that raised; the default logs it. In the actor's thread."""
        logger.opt(exception=error).error("{} survived a failed turn ({})", self, type(message).__name__)

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing to do: `_handle_receive` lets no exception through."""
