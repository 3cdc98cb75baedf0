"""Calls that do not start because their peer does not read: each answer more would only lie in our memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zfoo_py.router.chains import drop_notice

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from zfoo_py.net.session import Session
    from zfoo_py.router.call import Call
    from zfoo_py.router.lanes import Lanes

__all__ = ["HeldBack", "is_held_back"]


def is_held_back(call: Call) -> bool:
    """Return whether a call must not start now. Any thread; advice there, for `Session.writable` is."""
    return call.session is not None and not call.session.writable


def _is_ask(call: Call) -> bool:
    return call.signal_id != 0


class HeldBack:
    """Calls by session, in the order in which they are to start. Owned by the router, on the loop's thread.

    Each of them is in work, so the bound of a session's packets in work bounds these.

    Args:
        lanes: of the router.
        ready: the calls that start next.
        let_go: gives the lane that a call holds to the next one: (call, lane).
        wake: sees to it that what is ready starts.
    """

    __slots__ = ("_calls", "_lanes", "_let_go", "_ready", "_wake")

    def __init__(
        self,
        lanes: Lanes[Call],
        ready: deque[Call],
        let_go: Callable[[Call, int], None],
        wake: Callable[[], None],
    ) -> None:
        self._lanes = lanes
        self._ready = ready
        self._let_go = let_go
        self._wake = wake
        self._calls: dict[int, list[Call]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._calls.values()))

    def hold(self, call: Call, session: Session) -> None:
        """Let a call wait until its peer reads. O(1), for the first one of a session O(all that waits for lanes).

        Whoever holds a lane is the oldest of its session there, and gives the lane to others; what waits for lanes is
        older than whatever comes to start later.
        """
        calls = self._calls.get(session.sid)
        if calls is None:
            calls = self._calls[session.sid] = self._lanes.drop(lambda waiting: waiting.session is session)
            for each in calls:
                drop_notice(each.trail)
        if call.lane is not None and call.holds_lane:
            calls.insert(0, call)
            self._let_go(call, call.lane)
        else:
            calls.append(call)
        if session.writable:  # since a worker's thread looked
            self.flows(session)

    def flows(self, session: Session) -> None:
        """Let the calls of a session start: its peer reads again. If it is over, its asks are dropped instead."""
        calls = self._calls.pop(session.sid, None)
        if calls:
            if not session.is_up:
                for call in filter(_is_ask, calls):
                    call.give_up()
            self._ready.extendleft(reversed(calls))
            self._wake()

    def drop(self, is_meant: Callable[[Call], bool]) -> list[Call]:
        """Remove and return those that are meant. O(all)."""
        dropped: list[Call] = []
        for sid, calls in self._calls.items():
            if any(map(is_meant, calls)):
                dropped += filter(is_meant, calls)
                self._calls[sid] = [call for call in calls if not is_meant(call)]
        return dropped

    def take_all(self) -> list[Call]:
        """Remove and return everything, for the end of the node. O(n)."""
        calls = [call for of_session in self._calls.values() for call in of_session]
        self._calls.clear()
        return calls
