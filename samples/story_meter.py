"""What the story's table shows, from every ask that ends: rates and latencies by provider, and rows of text. Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from samples.story_words import mib, time_of

__all__ = ["PROVIDER_HEADER", "SERVICE_HEADER", "Meter", "Rate", "percentiles", "provider_rows", "service_rows"]

# Rates and latencies are of the last two seconds: steady enough to read, and a kill shows at once.
WINDOW_S = 2.0
PROVIDER_HEADER = ("provider", "offers", "keys", "asks/s", "p50", "p99", "memory")
SERVICE_HEADER = ("cache of", "keys", "hits", "hit %", "evicted: down", "join", "full", "expired", "memory")


class Rate(NamedTuple):
    """One provider's figures of the last seconds."""

    asks_per_second: float
    p50_us: float
    p99_us: float


class Meter:
    """Counts asks that have ended. One owner; times are given.

    Attributes:
        answered: how many asks were answered.
        failed: error name → how many.
    """

    def __init__(self, now_s: float) -> None:
        self.answered = 0
        self.failed: Counter[str] = Counter()
        self._now: dict[str, list[float]] = {}
        self._begun_s = now_s
        # (begin, latencies by provider), of the window; each reaches to the next one's begin
        self._past: deque[tuple[float, dict[str, list[float]]]] = deque()

    @property
    def asks(self) -> int:
        """How many asks have ended."""
        return self.answered + self.failed.total()

    def took(self, served_by: str | None, outcome: str, latency_us: float | None) -> None:
        """Take down an ask. O(1)."""
        if latency_us is None or served_by is None:
            self.failed[outcome] += 1
            return
        self.answered += 1
        latencies = self._now.get(served_by)
        if latencies is None:
            latencies = self._now[served_by] = []
        latencies.append(latency_us)

    def roll(self, now_s: float) -> dict[str, Rate]:
        """Begin the next piece of the window; return each provider's figures of the window, "" for all together."""
        self._past.append((self._begun_s, self._now))
        self._now, self._begun_s = {}, now_s
        while len(self._past) > 1 and self._past[1][0] <= now_s - WINDOW_S:
            self._past.popleft()
        seconds = max(now_s - self._past[0][0], 1e-9)
        by_provider: dict[str, list[float]] = {"": []}
        for _, latencies in self._past:
            for provider, some in latencies.items():
                by_provider.setdefault(provider, []).extend(some)
                by_provider[""].extend(some)
        return {name: Rate(len(all_) / seconds, *percentiles(all_)) for name, all_ in by_provider.items()}


def percentiles(latencies: Iterable[float]) -> tuple[float, float]:
    """Return p50 and p99; 0 of nothing."""
    ordered = sorted(latencies) or [0.0]
    return ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]


def provider_rows(
    modules: Mapping[str, Sequence[str]],
    dead: Sequence[str],
    keys: Mapping[str, int],
    rates: Mapping[str, Rate],
    memory: Mapping[str, int],
) -> list[tuple[str, ...]]:
    """Return a row for each provider that lives, and for the one killed last, as `PROVIDER_HEADER` says.

    Args:
        modules: provider → what it offers.
        dead: who was killed, in this order.
        keys: provider → how many remembered keys it owns.
        rates: of `Meter.roll`.
        memory: provider → resident bytes of its process.
    """
    gone = set(dead)
    last = dead[-1] if dead else ""
    rows: list[tuple[str, ...]] = []
    for provider, offered in modules.items():
        about = (provider, ", ".join(offered))
        if provider in gone:
            if provider == last:
                rows.append((f"{provider} killed", about[1], "-", "-", "-", "-", "-"))
            continue
        rate = rates.get(provider)
        figures = ("0", "-", "-")
        if rate is not None and rate.asks_per_second > 0:
            figures = (f"{rate.asks_per_second:,.0f}", time_of(rate.p50_us / 1e6), time_of(rate.p99_us / 1e6))
        size = memory.get(provider)
        rows.append((*about, f"{keys.get(provider, 0):,}", *figures, "-" if size is None else mib(size)))
    return rows


def service_rows(services: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return a row for each service type's cache, as `SERVICE_HEADER` says.

    Args:
        services: as of `Consumer.stats`.
    """
    rows = []
    for module, figures in services.items():
        picks = figures["hits"] + figures["misses"]
        evictions = figures["evictions"]
        rows.append(
            (
                module,
                f"{figures['entries']:,}",
                f"{figures['hits']:,}",
                f"{figures['hits'] / picks:.0%}" if picks else "-",
                *(f"{evictions.get(cause, 0):,}" for cause in ("provider_down", "provider_up", "capacity", "expired")),
                mib(figures["estimated_bytes"]),
            )
        )
    return rows
