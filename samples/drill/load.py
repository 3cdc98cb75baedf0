"""Asks at a steady rate, each with what became of it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Self

import msgspec

from samples.drill.packets import Answered, WorkAsk
from zfoo_py import AskTimeoutError, ZfooError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from zfoo_py import Node

__all__ = ["Load", "Told", "percentile"]

ASKS_PER_S = 500
STEP_S = 0.01
WINDOW_S = 0.25


class Told(msgspec.Struct):
    """One ask: when it was made and when it ended, by the monotonic clock, and how."""

    key: str
    asked_at_s: float
    ended_at_s: float = 0.0
    by: str = ""
    error: Exception | None = None


class Load:
    """Asks `WorkAsk` with new keys, 500 a second, while its ``async with`` lasts; then all have ended.

    Args:
        node: who asks.
        more: of each packet.
    """

    def __init__(self, node: Node, **more: Any) -> None:
        self._node = node
        self._more = more
        self.told: list[Told] = []
        self._asking: asyncio.Task[None] | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._asking = asyncio.create_task(self._run(), name="load")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._asking is not None
        self._asking.cancel()
        await asyncio.gather(self._asking, *self._open, return_exceptions=True)

    async def _run(self) -> None:
        start_s = time.monotonic()
        numbers = itertools.count()
        made = 0
        while True:
            due = int((time.monotonic() - start_s) * ASKS_PER_S)
            for _ in range(made, due):
                told = Told(f"k{next(numbers)}", time.monotonic())
                self.told.append(told)
                task = asyncio.create_task(self._ask(told))
                self._open.add(task)
                task.add_done_callback(self._open.discard)
            made = due
            await asyncio.sleep(STEP_S)

    async def _ask(self, told: Told) -> None:
        try:
            answer: Answered = await self._node.consumer.async_ask(WorkAsk(told.key, **self._more))
            told.by = answer.served_by
        except ZfooError as error:
            told.error = error
        told.ended_at_s = time.monotonic()

    # --- what became of them; ask when all have ended

    def failed(self) -> list[Told]:
        """Those that ended with an error."""
        return [told for told in self.told if told.error is not None]

    def failures(self) -> str:
        """Say how many failed, and how."""
        kinds = Counter(type(told.error).__name__ for told in self.failed())
        return f"{len(self.failed())} of {len(self.told)} good asks failed{f' {dict(kinds)}' if kinds else ''}"

    def timed_out(self) -> list[Told]:
        """Those that ended with a time-out."""
        return [told for told in self.told if isinstance(told.error, AskTimeoutError)]

    def p99_ms(self) -> float:
        """How long 99 % of those that were answered took at the most: of each quarter of a second, the median.

        So that another program that takes the processor for a moment is not taken for the fault.
        """
        windows: defaultdict[int, list[float]] = defaultdict(list)
        for told in self.told:
            if told.error is None:
                windows[int(told.asked_at_s / WINDOW_S)].append((told.ended_at_s - told.asked_at_s) * 1000)
        return percentile([percentile(took_ms, 0.99) for took_ms in windows.values()], 0.5)

    def in_flight_at(self, moment_s: float) -> int:
        """How many were on their way at a moment."""
        return sum(told.asked_at_s <= moment_s < told.ended_at_s for told in self.told)


def percentile(values: Iterable[float], share: float) -> float:
    """Return the value below which this share of the values is; 0.0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
