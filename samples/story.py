"""The story of `make cluster`: forty seconds on a terminal in which one sees what the cluster does, and can disturb it.

A provider is killed, another one joins, and the balancer of 2024 gets the same requests as the new one. Every figure
is measured in this run. What a person kills or adds goes into the journal as well, so the verdict holds for it too.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from samples import story_plot, story_words
from samples.check_cluster import Report, check
from samples.memory import Sample, resident_bytes, take_sample
from samples.replay import Recorder, Replay
from samples.running import Cluster, running
from samples.services import MODULES
from samples.story_beside import Beside, beside
from samples.story_meter import Meter, Rate, provider_rows, service_rows
from samples.story_orders import Orders
from samples.story_plot import Moment
from samples.story_screen import LineScreen, LiveScreen, Screen, View, has_rich
from samples.story_terminal import ended_by_signals, is_in_front_of_a_person, keyboard
from samples.story_trace import StoryTrace
from samples.story_words import BESIDE, JOIN, KILL, PARTS, STEADY, VERDICT, Line
from zfoo_py.consumer.policies.cached_consistent_hash import CachedConsistentHashBalancer
from zfoo_py.consumer.policies.catalog import BALANCERS

if TYPE_CHECKING:
    import argparse

    from zfoo_py.consumer.balancer import Balancer, BalancerOptions

__all__ = ["SECONDS", "tell"]

SECONDS = 40.0
# A third of what the two cores of a small machine can do, so that latencies are those of an idle cluster.
REQUESTS_PER_SECOND = 1000.0
# Small, so that the bound is seen to hold within seconds; the default is 100,000.
MAX_KEYS = 1000
# Four pictures a second: the eye sees a change at once, and they take 1 % of a core.
REFRESH_S = 0.25
# Every fourth picture has new sizes of processes.
MEMORY_TURNS = 4
# The verdict stays for so much of the whole at least, however long the referee took.
READING_SHARE = 0.08
# Python's own 5 ms would be seen in every p99.
SWITCH_S = 0.0005
BALANCER = "cached-consistent-hash"
KEYS = {"k": "kill", "a": "add", "e": "explain", "q": "quit"}


async def tell(options: argparse.Namespace) -> int:
    """Tell the story; return the exit code: 0 if the new balancer was right, 1 if not.

    Raises:
        EndedBySignal: SIGTERM or SIGHUP came; all providers were stopped.
        CannotRunError, ZfooError, OSError, ExceptionGroup: as of samples/cluster.py.
    """
    recorder = Recorder(None)
    caches: list[CachedConsistentHashBalancer] = []

    def remembered(given: BalancerOptions) -> Balancer:
        """Make the usual balancer, and keep it: its cache is looked at, on the same loop, never touched."""
        balancer = BALANCERS[BALANCER](given)
        assert isinstance(balancer, CachedConsistentHashBalancer)
        caches.append(balancer)
        return balancer

    # Threads draw, judge and look for moved keys meanwhile; the loop is to have its turn again within this.
    sys.setswitchinterval(SWITCH_S)
    with ended_by_signals() as gone:
        story = Story(options, recorder, caches)
        with story.shown(gone):
            story.say(Line("heading", STEADY), *story_words.about_steady(options.providers + 3, MAX_KEYS))
            limits = {"max_cache_entries": MAX_KEYS}
            balancers = dict.fromkeys(MODULES, BALANCER)
            async with running(options, recorder, balancers, {BALANCER: remembered}, **limits) as cluster:
                report = await story.play(cluster)
    if options.plot:
        for path in story.draw(options.plot):
            print(f"drawn: {path}")
    return 0 if report.ok else 1


class Story:
    """Plays the parts, and keeps what is shown.

    Args:
        options: of the command line.
        recorder: of the consumer.
        caches: the consumer's balancers, in the order of the modules; the last of each is in use.
    """

    def __init__(
        self, options: argparse.Namespace, recorder: Recorder, caches: list[CachedConsistentHashBalancer]
    ) -> None:
        self._options = options
        self._recorder = recorder
        self._caches = caches
        self._begun_s = time.perf_counter()
        self._meter = Meter(self._begun_s)
        self._trace = StoryTrace(options.seed)
        self._lines: list[Line] = []
        self._screen: Screen = LineScreen()
        self._quit = asyncio.Event()
        self._is_over = False
        self._orders: Orders | None = None
        self._old: Beside | None = None
        self._judge_old: Callable[[int], Report] | None = None
        self._asks_before_old = 0
        self._curve: list[Sample] = []
        self._moments: list[Moment] = []
        self._rates: dict[str, Rate] = {}
        self._memory: dict[str, int] = {}
        self._services: dict[str, Any] = {}
        self._refused = 0

    # --- what is shown

    @contextmanager
    def shown(self, gone: Callable[[], None]) -> Iterator[None]:
        """Take the terminal if there is one that can be drawn on, and give it back in the end."""
        loop = asyncio.get_running_loop()
        if is_in_front_of_a_person() and has_rich():
            with keyboard(KEYS, self._typed, gone):
                self._screen = LiveScreen(lambda: loop.call_soon_threadsafe(gone))
                try:
                    yield
                finally:
                    self._screen.close(self._view())
            return
        if is_in_front_of_a_person():
            print("Without rich there is no live table: `pip install rich`, or start with `make cluster`.")
        try:
            yield
        finally:
            self._screen.close(self._view())

    def _typed(self, order: str) -> None:
        if order == "quit":
            self._quit.set()
        elif self._orders is not None:
            self._orders.typed(order)

    def say(self, *lines: Line) -> None:
        """Add to the story."""
        self._lines += lines
        self._screen.show(self._view())

    def _view(self) -> View:
        passed = min(time.perf_counter() - self._begun_s, self._options.seconds)
        rate = None if self._is_over else self._rates.get("")
        orders = self._orders
        return View(
            clock=f"{passed:.0f} of {self._options.seconds:.0f} s"
            + (f"   {rate.asks_per_second:,.0f} asks/s" if rate else ""),
            lines=tuple(self._lines),
            live=self._two_lines(),
            providers=()
            if orders is None
            else provider_rows(orders.offers, orders.dead, self._keys_by_provider(), self._rates, self._memory),
            services=service_rows(self._services),
        )

    def _two_lines(self) -> tuple[Line, ...]:
        """Return the old balancer's line and the new one's, of the requests that both got."""
        old = self._old
        if old is None:
            return ()
        entries = size = 0
        for balancer in self._balancers().values():
            entries += len(balancer.cache)
            size += balancer.cache.estimated_bytes
        asks = self._meter.asks - self._asks_before_old
        return (
            story_words.old(old.entries, old.bytes, old.growth, old.misroutes, old.asks),
            story_words.new(entries, size, MAX_KEYS * len(MODULES), self._refused, asks),
        )

    def _balancers(self) -> dict[str, CachedConsistentHashBalancer]:
        return dict(zip(MODULES, self._caches[-len(MODULES) :], strict=False))

    def _keys_by_provider(self) -> Counter[str]:
        keys: Counter[str] = Counter()
        for balancer in self._balancers().values():
            keys.update(entry.provider.node_id for entry in balancer.cache.entries.values())
        return keys

    def draw(self, folder: str) -> list[str]:
        """Draw the rings and the curve; return the files."""
        rings = [] if self._orders is None else self._orders.rings
        moments = [] if self._orders is None else self._orders.moments
        return story_plot.draw(folder, rings, self._curve, [*moments, *self._moments])

    async def _refresh(self, cluster: Cluster) -> None:
        """Look at everything and show it, until this is cancelled."""
        turn = 0
        while True:
            now_s = time.perf_counter()
            if not self._is_over:  # the table keeps the last figures under load
                self._rates = self._meter.roll(now_s)
            stats = await cluster.node.consumer.stats()
            self._services = stats["services"]
            self._refused = stats["misroutes"]  # also those that a second pick healed
            if turn % MEMORY_TURNS == 0:
                pids = {**cluster.providers.pids(), "": os.getpid()}
                found = await resident_bytes(pids.values())
                self._memory = {name: found[pid] for name, pid in pids.items() if pid in found}
            old = self._old
            if old is not None:
                old.look(now_s)
            old_figures = (0, 0) if old is None else (old.entries, old.bytes)
            if not self._is_over:
                self._curve.append(take_sample(self._services, *old_figures, self._memory.get("", 0)))
            self._screen.show(self._view())
            turn += 1
            await asyncio.sleep(REFRESH_S)

    # --- the parts

    async def play(self, cluster: Cluster) -> Report:
        """Play all parts, or up to the one in which a person quits, and the verdict; return the referee's report."""
        recorder = self._recorder
        self._begun_s = time.perf_counter()
        self._meter = meter = Meter(self._begun_s)
        visits = self._balancers
        self._orders = orders = Orders(cluster, lambda: visits()["visits"].cache, meter.failed, self.say)

        def took(record: tuple[Any, ...], latency_us: float | None) -> None:
            meter.took(record[4], record[7], latency_us)
            if latency_us is not None:
                orders.took(record)

        recorder.on_ask = took
        work = Replay(cluster.node, recorder, self._trace, rate=REQUESTS_PER_SECOND)
        async with asyncio.TaskGroup() as group:
            refreshing = group.create_task(self._refresh(cluster))
            obeying = group.create_task(orders.obey())
            asking = group.create_task(work.run(self._options.concurrency))
            await self._steady(PARTS[STEADY] * self._options.seconds)
            for name, part in {KILL: self._kill, JOIN: self._join}.items():
                if not self._quit.is_set():
                    self.say(Line("heading", name))
                    await part(orders, PARTS[name] * self._options.seconds)
                    self._screen.still(self._view())
            if not self._quit.is_set():
                self.say(Line("heading", BESIDE))
                await self._beside(cluster, PARTS[BESIDE] * self._options.seconds)
                self._screen.still(self._view())
            self._is_over = True
            await orders.finish()
            obeying.cancel()
            work.stop()
            await asking
            report = await self._verdict(cluster, work)
            refreshing.cancel()
        return report

    async def _pause(self, seconds: float) -> None:
        """Let time pass, unless a person quits."""
        try:
            await asyncio.wait_for(self._quit.wait(), max(0.0, seconds))
        except TimeoutError:
            return

    async def _steady(self, seconds: float) -> None:
        await self._pause(seconds * 0.6)
        rate = self._meter.roll(time.perf_counter())[""]
        keys = sum(len(balancer.cache) for balancer in self._balancers().values())
        failed = self._meter.failed.total()
        self.say(story_words.steady(self._meter.answered, failed, keys, rate.p50_us, rate.p99_us))
        await self._pause(seconds * 0.4)
        self._screen.still(self._view())

    async def _kill(self, orders: Orders, seconds: float) -> None:
        end_s = time.perf_counter() + seconds
        name = "visits-2" if "visits-2" not in orders.dead else "the newest provider"
        self.say(story_words.about_kill(name))
        await self._pause(seconds * 0.2)
        await orders.kill(name)
        await self._pause(seconds * 0.25)
        if not self._quit.is_set():
            await orders.explain_last()
        await self._pause(end_s - time.perf_counter())

    async def _join(self, orders: Orders, seconds: float) -> None:
        end_s = time.perf_counter() + seconds
        self.say(story_words.about_join(orders.next_name()))
        await self._pause(seconds * 0.2)
        await orders.add()
        await self._pause(end_s - time.perf_counter())

    async def _beside(self, cluster: Cluster, seconds: float) -> None:
        end_s = time.perf_counter() + seconds
        self.say(story_words.about_beside(MAX_KEYS))
        async with beside(
            cluster, self._trace, self._options.seed, REQUESTS_PER_SECOND, self._options.concurrency
        ) as old:
            self._old, self._asks_before_old = old, self._meter.asks
            self._moments.append(Moment(time.perf_counter(), "the old one beside"))
            await self._pause(end_s - time.perf_counter())
            lines = self._two_lines()
        self._old = None
        self._judge_old = old.judged
        self.say(*lines)

    async def _verdict(self, cluster: Cluster, work: Replay) -> Report:
        self.say(Line("heading", VERDICT), story_words.about_verdict(work.asks_begun))
        services = (await cluster.node.consumer.stats())["services"]
        entries = {module: figures["entries"] for module, figures in services.items()}
        self._recorder.write({"kind": "end", "asks": work.asks_begun, "stopped_early": True, "cache_entries": entries})
        crawl_from = self._trace.crawl_from
        trace = StoryTrace(self._options.seed, crawl_from)
        report = await asyncio.to_thread(check, self._recorder.records(), trace)
        self.say(*story_words.verdict(report))
        if self._judge_old is not None and crawl_from is not None:
            self.say(story_words.verdict_of_old(await asyncio.to_thread(self._judge_old, crawl_from)))
        self.say(story_words.last_word(report))
        if isinstance(self._screen, LiveScreen):
            rest_s = self._begun_s + self._options.seconds - time.perf_counter()
            await self._pause(max(rest_s, READING_SHARE * self._options.seconds))
        return report
