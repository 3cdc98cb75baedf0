"""The old balancer beside the new one: a second consumer with the same requests and providers, and its own journal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from samples.check_cluster import Report, check
from samples.replay import Recorder, Replay
from samples.running import OLD_BALANCER
from samples.story_trace import StoryTrace, marked

if TYPE_CHECKING:
    from samples.running import Cluster

__all__ = ["Beside", "beside"]

# Behind each key of the old consumer, so that the providers count it apart.
MARK = "(old)"
REFUSED = "NotServed"
# Growth is told over so many looks at the memo: two seconds.
LOOKS = 8


class Beside:
    """What is known of the old balancer while it runs, and after.

    Attributes:
        asks: how many asks have ended.
        misroutes: how many of them reached a provider that does not offer their service type.
    """

    def __init__(self, cluster: Cluster, recorder: Recorder, work: Replay, seed: int) -> None:
        self.asks = 0
        self.misroutes = 0
        self._memo = cluster.memo
        self._recorder = recorder
        self._work = work
        self._seed = seed
        self._looks: list[tuple[float, dict[str, int]]] = []
        recorder.on_ask = self._took

    def _took(self, record: tuple[Any, ...], _latency_us: float | None) -> None:
        self.asks += 1
        self.misroutes += record[7] == REFUSED

    def look(self, now_s: float) -> None:
        """Look at the memo; the referee judges from this whether it only grows. O(entries)."""
        figures = {"n": self._work.asks_begun, "entries": self.entries, "gone": self._memo.gone()}
        self._looks.append((now_s, figures))

    @property
    def entries(self) -> int:
        """How many keys are remembered."""
        return len(self._memo.providers)

    @property
    def bytes(self) -> int:
        """Their memory. O(entries)."""
        return self._memo.estimated_bytes()

    @property
    def growth(self) -> float:
        """Keys more each second, of late."""
        if len(self._looks) < 2:
            return 0.0
        (begin_s, first), (end_s, last) = self._looks[-LOOKS:][0], self._looks[-1]
        return (last["entries"] - first["entries"]) / max(end_s - begin_s, 1e-9)

    def ended(self) -> None:
        """End the journal."""
        memo = [figures for _, figures in self._looks]
        end = {"kind": "end", "asks": self._work.asks_begun, "stopped_early": True, "cache_entries": {}}
        self._recorder.write(end | {"memo": memo or None})

    def judged(self, crawl_from: int) -> Report:
        """Return what the referee says. O(asks)."""
        return check(self._recorder.records(), requests_of_old(self._seed, crawl_from))


def requests_of_old(seed: int, crawl_from: int) -> Any:
    """Return the requests from the crawler's first on, with marked keys. O(crawl_from)."""
    return marked(islice(StoryTrace(seed, crawl_from), crawl_from, None), MARK)


@asynccontextmanager
async def beside(
    cluster: Cluster, trace: StoryTrace, seed: int, rate: float, concurrency: int
) -> AsyncIterator[Beside]:
    """Start the crawler, and a consumer with the old balancer that gets the same requests from here on.

    Args:
        cluster: runs, with a consumer that asks what the trace gives.
        trace: from now on with the crawler.
        seed: of the trace.
        rate: requests a second.
        concurrency: requests in flight.
    """
    recorder = Recorder(None)
    async with cluster.second_consumer(OLD_BALANCER, recorder, seed) as node:
        crawl_from = trace.crawl_from = trace.begun
        requests = requests_of_old(seed, crawl_from)
        first = await asyncio.to_thread(next, requests)  # it skips all that came before
        work = Replay(node, recorder, _from(first, requests), rate=rate)
        old = Beside(cluster, recorder, work, seed)
        asking = asyncio.create_task(work.run(concurrency))
        try:
            yield old
        finally:
            work.stop()
            await asking
        old.ended()


def _from(first: Any, rest: Any) -> Any:
    yield first
    yield from rest
