"""The asks whose receivers have begun and not ended: suspended in a driver's Task, or with a worker thread.

Only these are noted. A coroutine receiver that never suspends is over before anybody could cancel it, and what has not
begun is found where it waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from zfoo_py.router.call import Call

__all__ = ["Begun", "Cancellable"]


class Cancellable(Protocol):
    """What an ``asyncio.Task`` is to this file."""

    def cancel(self) -> bool:
        """Throw ``CancelledError`` into the receiver."""
        ...


class Begun:
    """Owned by the router, on the loop's thread; every method is O(1)."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: dict[tuple[int, int], tuple[Call, Cancellable | None]] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call: Call, task: Cancellable | None) -> None:
        """Note a call, if it is an ask; ``task``: where its coroutine is suspended, None: a worker has it, or will."""
        if call.signal_id and call.session is not None:
            self._calls[call.session.sid, call.signal_id] = (call, task)

    def remove(self, call: Call) -> None:
        """Forget a call that has ended; one that was taken is forgotten already."""
        if call.signal_id and call.session is not None:
            self._calls.pop((call.session.sid, call.signal_id), None)

    def take(self, sid: int, signal_id: int) -> tuple[Call, Cancellable | None] | None:
        """Remove and return the call of this ask, and its task; None if it has not begun, or has ended."""
        return self._calls.pop((sid, signal_id), None)
