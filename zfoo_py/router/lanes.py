"""Lanes: what has one lane is handled in order, one at a time; an idle lane costs nothing (zfoo's actor rule).

A lane is known here only while it is held, by a receiver that is suspended or on a worker. What comes meanwhile
waits; when the last holder lets go, the first that waits gets the lane, held for it, and the rest goes on waiting.
A session whose lane has changed keeps the packets of its new lane to itself until those of the old one are done:
they hold no lane meanwhile, so that sessions which change lanes crosswise cannot wait for each other.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from zfoo_py.net.session import Session

__all__ = ["Lanes", "SessionLane", "lane_of_session", "lane_of_sid", "lane_of_uid"]

W = TypeVar("W")


def lane_of_uid(uid: int) -> int:
    """Return the lane of a user, the same as of ``key=uid``: the low 32 bits, signed (zfoo: taskExecutorHash)."""
    return ((uid & 0xFFFF_FFFF) ^ 0x8000_0000) - 0x8000_0000


def lane_of_sid(sid: int) -> int:
    """Return the lane of a session nobody is logged in on: below every 32-bit hash, so a space of its own."""
    return -(1 << 32) - sid


class SessionLane:
    """The lane of one session's packets without key, and how many of them are not done.

    Attributes:
        lane: where they queue.
        outstanding: packets that took this lane and are not done.
        next: the session's lane after this one, which begins when they are; or None.
        parked: the packets that wait until the lane before is empty; None once it is.
    """

    __slots__ = ("lane", "next", "outstanding", "parked")

    def __init__(self, lane: int) -> None:
        self.lane = lane
        self.outstanding = 0
        self.next: SessionLane | None = None
        self.parked: list[Any] | None = None

    def leave(self) -> Iterable[Any]:
        """Count a packet out that is done; returns what may begin by that, the last one first."""
        self.outstanding -= 1
        if self.outstanding or self.next is None:
            return ()
        begins, self.next = self.next, None
        parked, begins.parked = begins.parked or (), None
        return reversed(parked)


def lane_of_session(session: Session) -> SessionLane:
    """Return the lane of a client session's packet without key, and count the packet in."""
    current: SessionLane | None = session.lane
    lane = lane_of_uid(session.uid) if session.uid else lane_of_sid(session.sid)
    if current is None:
        current = session.lane = SessionLane(lane)
    elif current.lane != lane:
        old = current
        current = session.lane = SessionLane(lane)
        if old.outstanding:  # the new lane starts when the old one is empty
            old.next = current
            current.parked = []
    current.outstanding += 1
    return current


class _Held(Generic[W]):
    __slots__ = ("holders", "waiting")

    def __init__(self, holder: W) -> None:
        self.holders = [holder]
        self.waiting: deque[W] = deque()


class Lanes(Generic[W]):
    """The held lanes of one node. Owned by the router, on the loop's thread.

    Every method is O(1), `release` O(holders) (one, unless receivers are reentrant), unless it says otherwise.
    """

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held: dict[int, _Held[W]] = {}  # no one else changes it; most of the time it is empty

    def __len__(self) -> int:
        return len(self.held)

    def holders(self, lane: int) -> list[W]:
        """Return those that hold a lane; empty if it is free."""
        held = self.held.get(lane)
        return held.holders if held is not None else []

    def wait(self, lane: int, work: W) -> None:
        """Queue the work behind a held lane."""
        self.held[lane].waiting.append(work)

    def hold(self, lane: int, work: W) -> None:
        """Close the lane's gate until `release`; a second holder keeps it closed longer."""
        held = self.held.get(lane)
        if held is None:
            self.held[lane] = _Held(work)
        else:
            held.holders.append(work)

    def release(self, lane: int, work: W) -> W | None:
        """Let go of a lane; returns what waited longest, if nobody else holds it: the lane is held for that now."""
        held = self.held[lane]
        held.holders.remove(work)
        if held.holders:
            return None
        if held.waiting:
            following = held.waiting.popleft()
            held.holders.append(following)
            return following
        del self.held[lane]
        return None

    def drop(self, is_meant: Callable[[W], bool]) -> list[W]:
        """Remove and return what waits and is meant. O(all that waits)."""
        dropped: list[W] = []
        for held in self.held.values():
            if any(map(is_meant, held.waiting)):
                dropped += filter(is_meant, held.waiting)
                held.waiting = deque(work for work in held.waiting if not is_meant(work))
        return dropped

    def waiting(self, lane: int) -> int:
        """Return how many wait behind a lane."""
        held = self.held.get(lane)
        return len(held.waiting) if held is not None else 0

    def longest(self) -> int:
        """Return how many wait behind the lane with the most. O(held lanes)."""
        return max((len(held.waiting) for held in self.held.values()), default=0)

    def take_waiting(self) -> list[W]:
        """Remove and return all that waits, for the end of the node. O(n)."""
        waiting = [work for held in self.held.values() for work in held.waiting]
        for held in self.held.values():
            held.waiting.clear()
        return waiting
