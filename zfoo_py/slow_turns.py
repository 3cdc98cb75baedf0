"""Turns of a node that hold its loop too long: one log line and one event a minute for each cause, and a count."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Final

from loguru import logger

from zfoo_py.actor import WATCH
from zfoo_py.events import SlowTurn

if TYPE_CHECKING:
    from zfoo_py.actor import Held, Runtime
    from zfoo_py.events import Events

__all__ = ["SlowTurns"]

REPEAT_S: Final = 60.0
# Causes remembered for so long; a program has fewer receivers, and then all are forgotten.
MAX_CAUSES: Final = 1000


class SlowTurns:
    """Of one node.

    Args:
        node_id: for texts.
        runtime: whose turns are watched between `start` and `stop`.
        events: gets `SlowTurn`.
        slow_turn_ms: what is too long.
    """

    def __init__(self, node_id: str, runtime: Runtime, events: Events, slow_turn_ms: float) -> None:
        self._node_id = node_id
        self._pace = runtime.pace
        self._events = events
        self._told_s: dict[str, float] = {}
        self._pace.limit_s = slow_turn_ms / 1000.0
        self._pace.seen = self._seen
        self._pace.told = self._told

    def start(self) -> None:
        """Begin to watch."""
        WATCH.add(self._pace)

    def stop(self) -> None:
        """Watch no more. Idempotent."""
        WATCH.remove(self._pace)

    def _seen(self, held: Held) -> bool:
        """Say at once what holds the loop, for it may never end. In the watch's thread."""
        now_s = perf_counter()
        if now_s - self._told_s.get(held.cause, -REPEAT_S) < REPEAT_S:
            return False
        if len(self._told_s) >= MAX_CAUSES:
            self._told_s.clear()
        self._told_s[held.cause] = now_s
        logger.warning(
            "{} has held the loop of node {} for {:.0f} ms, at {}: meanwhile it answers nobody, heartbeats included; "
            "await what waits, or make the receiver a plain `def`, which runs on a worker thread",
            *(held.cause, self._node_id, held.seen_s * 1000, held.at),
        )
        return True

    def _told(self, held: Held, held_s: float) -> None:
        self._events.publish(SlowTurn(held.cause, held.at, round(held_s * 1000, 1)))
