"""Asks that nobody waits for any more, found wherever they are: in a receiver, in a lane, or ready."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from zfoo_py.net.session import Session
    from zfoo_py.protocol.common import Cancel
    from zfoo_py.router.begun import Begun
    from zfoo_py.router.call import Call

__all__ = ["Cancels", "Waiting"]


class Waiting(Protocol):
    """A place where calls wait, as far as this file knows it."""

    def drop(self, is_meant: Callable[[Call], bool]) -> list[Call]:
        """Remove and return those that are meant."""
        ...


class Cancels:
    """Owned by the router, on the loop's thread.

    All that is cancelled in one wake-up is looked for at its end, at once: O(cancelled + calls that wait).

    Args:
        begun: the calls whose receivers have begun.
        waiting: where calls wait, not ready yet.
        ready: the calls that start next; they are skipped there.
        take_back: takes a call back from the workers; False if one of them has it.
        dropped: told of each call that has ended by it.
        at_turn_end: calls a function when this wake-up has handled its messages.
    """

    def __init__(
        self,
        begun: Begun,
        waiting: Iterable[Waiting],
        ready: Iterable[Call],
        take_back: Callable[[Call], bool],
        dropped: Callable[[Call], None],
        at_turn_end: Callable[[Callable[[], object]], None],
    ) -> None:
        self._begun = begun
        self._waiting = waiting
        self._ready = ready
        self._take_back = take_back
        self._dropped = dropped
        self._at_turn_end = at_turn_end
        self._given_up: set[tuple[int, int]] = set()

    def take(self, session: Session, packet: Cancel) -> None:
        """Take a peer's word that it waits no more for these."""
        if not self._given_up:
            self._at_turn_end(self._drop)
        sid = session.sid
        self._given_up.update((sid, signal_id) for signal_id in packet.signal_ids)

    def _drop(self) -> None:
        given_up, self._given_up = self._given_up, set()
        waiting = {key for key in given_up if not self._drop_begun(key)}
        if not waiting:
            return

        def is_meant(call: Call) -> bool:
            return call.session is not None and (call.session.sid, call.signal_id) in waiting

        for place in self._waiting:
            for call in place.drop(is_meant):
                call.give_up()
                self._dropped(call)
        for call in filter(is_meant, self._ready):
            call.give_up()

    def _drop_begun(self, key: tuple[int, int]) -> bool:
        begun = self._begun.take(*key)
        if begun is None:
            return False
        call, task = begun
        call.give_up()
        if task is not None:
            task.cancel()
        elif self._take_back(call):
            self._dropped(call)
        return True
