"""A future that can be cancelled, and is when the last task that awaits it goes away."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from zfoo_py.actor.future import LoopFuture

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["CancellableFuture"]

T = TypeVar("T")


class CancellableFuture(LoopFuture[T]):
    """As `LoopFuture`; whoever gave it out learns by `given_up` that nobody wants the outcome any more."""

    is_kept: bool = False
    """Something besides tasks waits for it: a callback or a thread, which do not go away."""

    def given_up(self) -> None:
        """Called once when it was cancelled, after it was settled. Any thread."""

    def cancel(self) -> bool:
        """End it with ``asyncio.CancelledError``. Any thread.

        Returns:
            False if it had ended before (nothing changed).
        """
        if not self.settle(error=asyncio.CancelledError()):
            return False
        self.given_up()
        return True

    def cancelled(self) -> bool:
        """Return whether it was cancelled. Any thread."""
        return isinstance(self._error, asyncio.CancelledError)

    def __await__(self) -> Generator[None, None, T]:
        """Suspend the awaiting task until the outcome is there; cancelling the last such task cancels the future."""
        try:
            return (yield from LoopFuture.__await__(self))  # what super() would find, at a tenth of an ask's await
        except asyncio.CancelledError:
            if not self.is_settled:
                self._awaiter_left()
            raise

    def _awaiter_left(self) -> None:
        if self.is_kept:
            return
        for waiter in tuple(self._waiters):  # callbacks of the framework's own are no reason to go on
            if isinstance(waiter, asyncio.Future) and not waiter.done():
                return
        self.cancel()

    def get(self, *, timeout: float | None = None) -> T:
        """Block this thread until the outcome is there; as `LoopFuture.get`."""
        self.is_kept = True
        return super().get(timeout=timeout)
