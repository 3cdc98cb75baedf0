"""The asks in flight of one session, and their expiry as a function of now.

Almost every ask has the node's default timeout, so in a dict, which keeps the order of insertion, their
deadlines stand in order: the first one is the next to expire. Asks with a timeout of their own go to a second
dict with a heap beside it. The parity of the signal id tells which of the two has an ask, so taking one is a
single dict operation, and nothing is left behind when it is answered.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zfoo_py.net.messages import Outbound

__all__ = ["Pending"]

# Signal ids are positive 32-bit integers on the wire (zfoo: int); after the last comes the first again.
MAX_SIGNAL_ID = 0x7FFF_FFFF


class Pending:
    """Asks by signal id. Owned by one session actor; pure: the clock is an argument.

    Args:
        limit: how many asks may be in flight.
    """

    __slots__ = ("_even", "_heap", "_last_even", "_last_odd", "_odd", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._even: dict[int, Outbound] = {}  # default timeout: in order of deadline
        self._odd: dict[int, Outbound] = {}  # their own timeouts: deadlines are in the heap
        self._heap: list[tuple[float, int]] = []
        self._last_even = 0
        self._last_odd = -1

    def __len__(self) -> int:
        return len(self._even) + len(self._odd)

    def add(self, outbound: Outbound) -> int:
        """Keep an ask and return its new signal id; 0 if the limit is reached."""
        if len(self._even) + len(self._odd) >= self.limit:
            return 0
        call = outbound.call
        if call.is_default_timeout:
            signal_id = self._last_even + 2
            while signal_id > MAX_SIGNAL_ID or signal_id in self._even:
                signal_id = 2 if signal_id > MAX_SIGNAL_ID else signal_id + 2
            self._last_even = signal_id
            self._even[signal_id] = outbound
            return signal_id
        signal_id = self._last_odd + 2
        while signal_id > MAX_SIGNAL_ID or signal_id in self._odd:
            signal_id = 1 if signal_id > MAX_SIGNAL_ID else signal_id + 2
        self._last_odd = signal_id
        self._odd[signal_id] = outbound
        heappush(self._heap, (call.deadline_s, signal_id))
        if len(self._heap) > 2 * len(self._odd) + 64:  # mostly answered ones: keep memory with what is alive
            self._heap = [(kept.call.deadline_s, sid) for sid, kept in self._odd.items()]
            heapify(self._heap)
        return signal_id

    def take(self, signal_id: int) -> Outbound | None:
        """Remove and return an ask; None if there is none (answered, expired, or never ours)."""
        return (self._odd if signal_id & 1 else self._even).pop(signal_id, None)

    def drop(self, signal_id: int, answer: object) -> bool:
        """Remove the ask that this answer belongs to; False if it has ended and the id is free, or another ask's."""
        asks = self._odd if signal_id & 1 else self._even
        outbound = asks.get(signal_id)
        if outbound is None or outbound.call.answer is not answer:
            return False
        del asks[signal_id]
        return True

    def holds(self, signal_id: int) -> bool:
        """Return whether an ask is still in flight."""
        return signal_id in (self._odd if signal_id & 1 else self._even)

    def next_deadline_s(self) -> float | None:
        """Return the earliest deadline, or None if nothing is in flight. Amortised O(1)."""
        first = next(iter(self._even.values())).call.deadline_s if self._even else None
        heap, odd = self._heap, self._odd
        while heap and (heap[0][1] not in odd or odd[heap[0][1]].call.deadline_s != heap[0][0]):
            heappop(heap)
        if not heap:
            return first
        return heap[0][0] if first is None or heap[0][0] < first else first

    def expire(self, now_s: float) -> list[Outbound]:
        """Remove and return the asks whose deadline is not after ``now_s``. O(expired)."""
        even = self._even
        # One walk, then the removal: the first entry of a dict whose head was popped costs O(popped) to find.
        late = 0
        for outbound in even.values():
            if outbound.call.deadline_s > now_s:
                break
            late += 1
        expired = [even.pop(signal_id) for signal_id in list(islice(even, late))]
        heap, odd = self._heap, self._odd
        while heap and heap[0][0] <= now_s:
            deadline_s, signal_id = heappop(heap)
            kept = odd.get(signal_id)
            if kept is not None and kept.call.deadline_s == deadline_s:
                expired.append(odd.pop(signal_id))
        return expired

    def take_all(self) -> list[Outbound]:
        """Remove and return everything. O(n)."""
        everything = [*self._even.values(), *self._odd.values()]
        self._even.clear()
        self._odd.clear()
        self._heap.clear()
        return everything
