"""The asks of one session that wait for room in its outbox: encoded, in order, their deadlines running."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zfoo_py.net.messages import Outbound
    from zfoo_py.net.pending import Pending

__all__ = ["Parked"]


class _Ask(NamedTuple):
    signal_id: int
    frame: bytes
    outbound: Outbound


class Parked:
    """Owned by one session actor. Each parked ask is pending too, so the bound of pending asks bounds these."""

    __slots__ = ("_asks",)

    def __init__(self) -> None:
        self._asks: deque[_Ask] | tuple[()] = ()  # an empty deque takes 760 bytes, in every session

    def __len__(self) -> int:
        return len(self._asks)

    def add(self, signal_id: int, frame: bytes, outbound: Outbound) -> None:
        """Let an ask wait. O(1)."""
        if not isinstance(self._asks, deque):
            self._asks = deque()
        self._asks.append(_Ask(signal_id, frame, outbound))

    def next_frame(self, pending: Pending) -> bytes | None:
        """Take the first ask that is still pending and return its frame; None if none is left."""
        while self._asks:
            ask = self._asks.popleft()
            if pending.holds(ask.signal_id):
                return ask.frame
        return None

    def expire(self, pending: Pending, now_s: float) -> list[tuple[Outbound, bool]]:
        """Take what is late out of ``pending``, parked or not; says of each whether it was written. O(expired + n)."""
        parked = {id(ask.outbound) for ask in self._asks}
        expired = [(outbound, id(outbound) not in parked) for outbound in pending.expire(now_s)]
        if parked:
            self._asks = deque(ask for ask in self._asks if pending.holds(ask.signal_id))
        return expired

    def take_all(self, pending: Pending) -> Iterator[Outbound]:
        """Take everything that is still pending, out of ``pending`` too: it was never written. O(n)."""
        asks, self._asks = self._asks, ()
        for ask in asks:
            if pending.take(ask.signal_id) is not None:
                yield ask.outbound
