"""The asks of one node by name, and which of them could only begin when an ask ends that waits for them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from zfoo_py.router import refusals
from zfoo_py.router.chains import Trail, extended, lane_cycle, line_of, workers_cycle

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

    from zfoo_py.protocol.common import Error
    from zfoo_py.router.call import Call

__all__ = ["Cycles"]


class Cycles:
    """Names asks, and judges them. On the loop's thread, but `chain_within`, which is for any.

    Args:
        life: of this node, told from every other one's, also from its own before a restart.
        lock: a call is named once, on whichever thread its receiver asks first.
    """

    def __init__(self, life: str, lock: AbstractContextManager[Any]) -> None:
        self._life = life
        self._lock = lock
        self._numbers = itertools.count(1)

    def came_with(self, call: Call, chain: str) -> None:
        """Take the chain that an ask came with."""
        call.trail = Trail(chain, self._line(call))

    def chain_within(self, call: Call) -> str:
        """Return the chain of an ask made in this call's receiver."""
        if call.trail is None:
            with self._lock:
                if call.trail is None:
                    call.trail = Trail("", self._line(call))
        return extended(call.trail)

    def in_lane(self, call: Call, holders: Iterable[Call]) -> Error | None:
        """Refuse a call whose lane is held by an ask of its own chain."""
        if call.trail is None or not call.signal_id:
            return None
        path = lane_cycle(call.trail.chain, (holder.trail for holder in holders))
        return refusals.lane_is_held((*path, self._refused(call))) if path else None

    def in_workers(self, call: Call, busy: list[Call]) -> Error | None:
        """Refuse a call if every worker is held by asks of its own chain; ``busy``: if all are, what they are at."""
        if call.trail is None or not call.signal_id:
            return None
        path = workers_cycle(call.trail.chain, (at_work.trail for at_work in busy))
        return refusals.workers_are_held((*path, self._refused(call)), len(busy)) if path else None

    def _line(self, call: Call) -> str:
        what = type(call.packet).__name__ if call.session is not None else call.receiver.where
        return line_of(self._life, next(self._numbers), what)

    def _refused(self, call: Call) -> str:
        return f"{self._life} {type(call.packet).__name__}"
