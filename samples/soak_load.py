"""The soak's load: keys without end, churn, samples of memory, and a referee for every answer."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections import Counter
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING, Any

from samples.memory import resident_bytes
from samples.soak_providers import ASKS, BALANCERS, Providers
from zfoo_py.consumer.ring import HashRing
from zfoo_py.errors import CallError
from zfoo_py.events import Alert, MembershipChanged

if TYPE_CHECKING:
    from zfoo_py import Node

__all__ = ["Load"]

# Asks in flight: enough to fill the batches of the hot path.
CONCURRENCY = 256
# Once the caches are full, this share of all asks is for one of the first keys, which come again and again.
HOT_SHARE, HOT_KEYS = 0.3, 1_000
# One in so many answers is compared with the owner that an independent ring gives its key.
JUDGED_EVERY = 64
# Calls between two changes of membership, and seconds between two samples.
CHURN_EVERY = 40_000
SAMPLE_S = 0.5
# Of so many membership versions it is known who was there; an answer takes milliseconds.
KEPT_VERSIONS = 50
MIB = 1024 * 1024


class Load:
    """Asks, changes who is there, and keeps the figures.

    Args:
        node: the consumer.
        providers: whom it asks.
        modules: the service types.
        rng: the seed of everything.

    Attributes:
        samples: what there was to see, every half second.
        alerts: (seconds since the beginning, name, text).
        errors: class name → count, of asks that did not end with an answer.
        misroutes: answers of a provider that does not offer the module.
        wrong_owners: answers of another provider than the key's owner.
    """

    def __init__(self, node: Node, providers: Providers, modules: list[str], rng: Random) -> None:
        self._node = node
        self._providers = providers
        self._modules = modules
        self._rng = rng
        self._names: dict[tuple[int, str], tuple[str, ...]] = {}
        self._next = dict.fromkeys(modules, 0)
        self.is_full = False  # only then keys come again
        self._hashed = {module for module in modules if BALANCERS[module] != "random"}
        self.begun_s = time.monotonic()
        self.calls = 0
        self.judged = 0
        self.samples: list[dict[str, Any]] = []
        self.alerts: list[tuple[float, str, str]] = []
        self.errors: Counter[str] = Counter()
        self.misroutes = 0
        self.wrong_owners = 0
        self.new_share = 1 - HOT_SHARE
        self.is_over = False
        node.events.subscribe(Alert, self._alert)
        node.events.subscribe(MembershipChanged, self._membership)

    def _alert(self, alert: Alert) -> None:
        self.alerts.append((time.monotonic() - self.begun_s, alert.name, alert.text))

    def _membership(self, change: MembershipChanged) -> None:
        """Keep who was there at the last versions: an answer may be on its way while that changes."""
        version = change.membership_version
        for module, providers in change.modules.items():
            self._names[version, module] = tuple(sorted(ring_name for ring_name, _ in providers))
            self._names.pop((version - KEPT_VERSIONS, module), None)

    # --- asking

    async def run(self, calls: int, until_s: float) -> None:
        """Ask until so many calls were made in all, or that moment of `time.monotonic` has come."""
        async with asyncio.TaskGroup() as group:
            for _ in range(CONCURRENCY):
                group.create_task(self._asker(calls, until_s))

    async def _asker(self, calls: int, until_s: float) -> None:
        modules, count = self._modules, len(self._modules)
        ask: Any = self._node.consumer.async_ask
        while self.calls < calls and not self.is_over:
            number = self.calls
            self.calls = number + 1
            if number % CHURN_EVERY == 0:
                await self._providers.churn()
            if number % 1000 == 0 and time.monotonic() > until_s:
                self.is_over = True
            module = modules[number % count]
            packet, key_of = ASKS[module]
            key = key_of(self._number(module))
            answer = ask(packet, key=key)
            try:
                served: Any = await answer
            except CallError as error:
                self.errors[type(error).__name__] += 1
                continue
            if module not in self._providers.offers[served.by] or served.module != module:
                self.misroutes += 1
            if number % JUDGED_EVERY == 0:
                self._judge(module, key, answer.membership_version, served.by)

    def _number(self, module: str) -> int:
        if self.is_full and self._rng.random() < HOT_SHARE:
            return self._rng.randrange(HOT_KEYS)
        number = self._next[module]
        self._next[module] = number + 1
        return number

    def _judge(self, module: str, key: Any, version: int, served_by: str) -> None:
        names = self._names.get((version, module))
        if module in self._hashed and names is not None:
            self.judged += 1
            self.wrong_owners += _ring(names).owner(key) != served_by

    # --- looking

    async def sample(self) -> None:
        """Look every half second, until this is cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(SAMPLE_S)

    async def look(self) -> dict[str, Any]:
        """Note what there is to see."""
        services = (await self._node.consumer.stats())["services"]
        own = os.getpid()
        evictions: Counter[str] = Counter()
        for figures in services.values():
            evictions.update(figures["evictions"])
        seen = {
            "seconds": round(time.monotonic() - self.begun_s, 3),
            "calls": self.calls,
            "rss_mib": round((await resident_bytes([own])).get(own, 0) / MIB, 3),
            "entries": {module: figures["entries"] for module, figures in services.items()},
            "estimated_mib": round(sum(figures["estimated_bytes"] for figures in services.values()) / MIB, 3),
            "hits": sum(figures["hits"] for figures in services.values()),
            "misses": sum(figures["misses"] for figures in services.values()),
            "evictions": dict(evictions),
            "providers": len(self._providers.there),
            "changes": self._providers.changes,
        }
        self.samples.append(seen)
        return seen

    async def look_after_collecting(self) -> dict[str, Any]:
        """As `look`, without what waits for the garbage collector."""
        gc.collect()
        return await self.look()


# Few: a ring takes a third of a MiB, and what the referee keeps is in the figures.
@lru_cache(maxsize=16)
def _ring(names: tuple[str, ...]) -> HashRing:
    """Return the ring of a consumer that starts now."""
    ring = HashRing()
    for name in names:
        ring.add(name)
    return ring
