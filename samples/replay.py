"""The consumer's side of the cluster sample: asks what the trace prescribes, and takes everything down."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from typing import TYPE_CHECKING, Any, TextIO

from samples.services import PageAsk, SessionAsk, VisitAsk
from samples.trace import AskRecord, Request, asks_of
from zfoo_py import CallError, Node, RemoteError
from zfoo_py.events import MembershipChanged
from zfoo_py.protocol.common import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from zfoo_py import Answer, Ask

__all__ = ["ASK_FIELDS", "Recorder", "Replay"]

# A record of the journal (samples/journal.py) of kind "ask"; kept as a tuple, which takes a third of a dict's memory.
ASK_FIELDS = ("n", "module", "key", "bytes", "served_by", "count", "may_have_run", "outcome", "version")


class Recorder:
    """Writes the journal, and keeps it for the referee: about 300 bytes for each ask.

    Args:
        journal: where to write; None: nowhere.

    Attributes:
        latency_us: of each answer, in order of completion.
        members: module → served_by → ring name, of the present membership.
        on_ask: told each ask's record, as a tuple of `ASK_FIELDS`, and its latency in µs (None if it failed).
    """

    def __init__(self, journal: TextIO | None) -> None:
        self._records: list[dict[str, Any] | tuple[Any, ...]] = []
        self._journal = journal
        self._has_ended = False
        self._changed = asyncio.Event()
        self.latency_us: list[float] = []
        self.members: dict[str, dict[str, str]] = {}
        self.on_ask: Callable[[tuple[Any, ...], float | None], None] | None = None

    def ask(self, record: tuple[Any, ...], latency_us: float | None) -> None:
        """Take down an ask that has ended, and how long its answer took; None: it failed."""
        if latency_us is not None:
            self.latency_us.append(latency_us)
        self.write(record)
        if self.on_ask is not None:
            self.on_ask(record, latency_us)

    def write(self, record: dict[str, Any] | tuple[Any, ...]) -> None:
        """Take down one record; nothing after the end, when the cluster is taken apart."""
        if self._has_ended:
            return
        self._records.append(record)
        if self._journal is not None:
            self._journal.write(json.dumps(_as_dict(record)) + "\n")
        self._has_ended = isinstance(record, dict) and record["kind"] == "end"

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the journal."""
        return map(_as_dict, self._records)

    def membership(self, change: MembershipChanged) -> None:
        """Take down what the consumer routes by from now on."""
        self.members = {
            module: {node_id: ring_name for ring_name, node_id in providers}
            for module, providers in change.modules.items()
        }
        modules = {
            module: [{"ring_name": ring_name, "served_by": node_id} for ring_name, node_id in providers]
            for module, providers in change.modules.items()
        }
        self.write({"kind": "membership", "version": change.membership_version, "modules": modules})
        self._changed.set()

    async def until(self, is_there: Callable[[dict[str, dict[str, str]]], bool]) -> None:
        """Wait for a membership."""
        while not is_there(self.members):
            self._changed.clear()
            await self._changed.wait()


def _as_dict(record: dict[str, Any] | tuple[Any, ...]) -> dict[str, Any]:
    if isinstance(record, dict):
        return record
    return {"kind": "ask", **dict(zip(ASK_FIELDS, record, strict=True))}


class Replay:
    """Asks what the trace prescribes, many requests at once, until it ends or time is over.

    Args:
        node: the consumer.
        recorder: takes everything down.
        requests: the trace.
        total: how many requests that is; 0: without end.
        seconds: stop after so long; 0: at the trace's end.
        rate: begin so many requests a second; 0: as many as can be answered.

    Attributes:
        requests_begun: how many requests were begun.
        asks_begun: how many asks were made.
        stopped_early: whether the end came before the trace's.
    """

    def __init__(
        self,
        node: Node,
        recorder: Recorder,
        requests: Iterator[Request],
        *,
        total: int = 0,
        seconds: float = 0.0,
        rate: float = 0.0,
    ) -> None:
        self._ask = node.consumer.async_ask
        self._recorder = recorder
        self._requests = requests
        self._total = total
        self._seconds = seconds
        self._rate = rate
        self._next_at = 0.0
        self._is_stopped = False
        self._numbers = itertools.count()
        self._begun_at = 0.0
        self.requests_begun = 0
        self._milestones: list[tuple[float, asyncio.Event]] = []
        self._hold: tuple[float, asyncio.Event] | None = None
        self.asks_begun = 0
        self.stopped_early = False

    def _progress(self) -> float:
        """Return the share of the run that is over, 0 … 1."""
        by_count = self.requests_begun / self._total if self._total else 0.0
        by_time = (time.perf_counter() - self._begun_at) / self._seconds if self._seconds else 0.0
        return min(1.0, max(by_count, by_time))

    async def reached(self, share: float) -> None:
        """Wait until this share of the run is over."""
        milestone = asyncio.Event()
        self._milestones.append((share, milestone))
        await milestone.wait()

    def hold_at(self, share: float) -> None:
        """Begin no request beyond this share of the run before `release`."""
        self._hold = share, asyncio.Event()

    def release(self) -> None:
        """Go on; the time spent waiting does not count."""
        if self._hold is None:
            return
        (share, event), self._hold = self._hold, None
        if self._seconds:
            self._begun_at += max(0.0, time.perf_counter() - self._begun_at - share * self._seconds)
        event.set()

    def stop(self) -> None:
        """Begin no more requests."""
        self._is_stopped = True

    async def run(self, concurrency: int) -> float:
        """Replay with that many requests in flight; return the seconds it took."""
        self._begun_at = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(self._worker())
        return time.perf_counter() - self._begun_at

    async def _worker(self) -> None:
        while True:
            if self._rate:
                await self._my_turn()
            if self._hold is not None and self._progress() >= self._hold[0]:
                await self._hold[1].wait()
            if self._is_stopped or (self._seconds and time.perf_counter() - self._begun_at >= self._seconds):
                self.stopped_early = True
                return
            # Nothing is awaited from here to the asks, so they are made in the trace's order.
            request = next(self._requests, None)
            if request is None:
                return
            if self._milestones:
                self._pass_milestones()
            self.requests_begun += 1
            questions: tuple[Ask[Any], ...] = (
                VisitAsk(request.client, request.bytes_sent),
                SessionAsk(request.client, request.bytes_sent),
                PageAsk(request.path),
            )
            # The numbers are taken together, and the asks made one after another: `n` is the order of asking.
            numbered = [(next(self._numbers), prescribed) for prescribed in asks_of(request)]
            self.asks_begun += len(numbered)
            answers = [(time.perf_counter(), self._ask(question)) for question in questions]
            for (n, prescribed), (asked_at, answer) in zip(numbered, answers, strict=True):
                await self._take(n, prescribed, asked_at, answer)

    async def _my_turn(self) -> None:
        """Wait for the next place in time; what could not be begun in time is not made up for."""
        now = time.perf_counter()
        begin_at = max(self._next_at, now)
        self._next_at = begin_at + 1 / self._rate
        if begin_at > now:
            await asyncio.sleep(begin_at - now)

    def _pass_milestones(self) -> None:
        progress = self._progress()
        for share, milestone in self._milestones:
            if progress >= share:
                milestone.set()
        self._milestones = [one for one in self._milestones if not one[1].is_set()]

    async def _take(self, n: int, prescribed: AskRecord, asked_at: float, answer: Answer[Any]) -> None:
        count: int | None = None
        may_have_run: bool | None = None
        latency_us: float | None = None
        try:
            packet = await answer
        except CallError as error:
            refused = isinstance(error, RemoteError) and error.code == ErrorCode.NOT_SERVED
            outcome = "NotServed" if refused else type(error).__name__
            may_have_run = error.may_have_run
            served_by = answer.provider.partition(" | ")[0] or None
        else:
            latency_us = (time.perf_counter() - asked_at) * 1e6
            outcome, served_by, count = "ok", packet.served_by, packet.count
        version = answer.membership_version or None
        self._recorder.ask((n, *prescribed, served_by, count, may_have_run, outcome, version), latency_us)
