"""When is somebody to be called? Decided here from figures, as a function of what was seen so far.

====================  ===========================================================================================
alert                 it holds while
====================  ===========================================================================================
cache-unbounded       a cache has more entries than its bound, or entries that nobody asked for in twice the expiry
cache-gone-entries    entries of providers that are gone are not swept within ``gone_entries_s``
cache-low-hits        a cache is full, and fewer than ``min_hit_ratio`` of its picks find their key, for ``low_hits_s``
keys-astray           a key moved although its segment of the ring did not change; see `change_log`
memory-growth         the process grew by over ``memory_growth_mib`` in ``memory_window_s``, load and caches apart
====================  ===========================================================================================

(The ConsumerActor raises others: a ring that is not what membership says, a misroute, two nodes of one identity.)

A policy of one's own is judged by the same rules: it reports `BalancerStats`. Each text names what to look at: module,
policy, the packet class that brings the keys, and the cause. Pure; the AlertActor owns a `Judge` and an `AlertBook`.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zfoo_py.alert_limits import AlertLimits
    from zfoo_py.consumer.figures import ConsumerFigures, ServiceFigures

__all__ = ["AlertBook", "Finding", "Judge", "Look"]

MIB: Final = 1024 * 1024
# Below so many picks between two looks a ratio says nothing.
MIN_PICKS: Final = 1000
# Kept of a process's memory: the window has at most so many looks, however often it is looked.
MAX_SAMPLES: Final = 240
# Alerts are one per name and module; a node that had more of them at a time would be told of these.
MAX_ACTIVE: Final = 256


class Look(msgspec.Struct, frozen=True):
    """What there is to see at one moment.

    Attributes:
        now_s: the node's clock.
        figures: of the consumer.
        memory_bytes: resident memory of the process; 0: unknown.
        packets: received, asked and sent so far.
        sessions: open now.
    """

    now_s: float
    figures: ConsumerFigures
    memory_bytes: int
    packets: int
    sessions: int


class Finding(msgspec.Struct, frozen=True):
    """Something that holds now and that a person should look at. `subject`: the module, "" for the node."""

    name: str
    subject: str
    text: str


class Judge:
    """Looks at figures again and again, and says what holds.

    Args:
        limits: thresholds.
        max_entries: the bound of a cache whose policy names none.
    """

    def __init__(self, limits: AlertLimits, max_entries: int) -> None:
        self._limits = limits
        self._max_entries = max_entries
        self._since: dict[tuple[str, str], float] = {}
        self._before: Look | None = None
        self._memory = MemoryWatch(limits)

    def look(self, look: Look) -> list[Finding]:
        """What holds at this look; findings of the same name and subject are the same one, going on."""
        found = []
        before = self._before.figures.services if self._before is not None else {}
        elapsed_s = look.now_s - self._before.now_s if self._before is not None else 0.0
        for module, service in look.figures.services.items():
            earlier = before.get(module)
            # A restarted consumer counts anew.
            if earlier is not None and earlier.stats.hits + earlier.stats.misses > _keyed(service):
                earlier = None
            found += self._cache(service, earlier, look.now_s, elapsed_s)
        cached_bytes = sum(service.stats.estimated_bytes for service in look.figures.services.values())
        growth = self._memory.look(look, cached_bytes)
        if growth is not None:
            found.append(Finding("memory-growth", "", growth))
        self._before = look
        return found

    def _holds(self, name: str, module: str, now_s: float, *, condition: bool, for_s: float) -> bool:
        if not condition:
            self._since.pop((name, module), None)
            return False
        return now_s - self._since.setdefault((name, module), now_s) >= for_s

    def _cache(
        self, service: ServiceFigures, earlier: ServiceFigures | None, now_s: float, elapsed_s: float
    ) -> list[Finding]:
        found: list[Finding] = []
        stats, module, limits = service.stats, service.module, self._limits
        bound = stats.max_entries or self._max_entries
        beyond = max(0, stats.entries - bound)
        what = f"the key cache of module {module!r} (balancer {service.balancer})"

        is_gone = stats.gone_entries > 0 or service.check_open_s > limits.gone_entries_s
        for_s = limits.gone_entries_s if stats.gone_entries else 0.0
        if self._holds("cache-gone-entries", module, now_s, condition=is_gone, for_s=for_s):
            count = f"{stats.gone_entries} of its" if stats.gone_entries else f"{stats.unswept} not yet swept of its"
            text = (
                f"{what} keeps {count} {stats.entries} entries for providers that have left, longer than "
                f"{limits.gone_entries_s:g} s: {_source(service)}; cause: provider_down is not swept. "
                f"Look at on_down and sweep of the policy, and at errors of it in the log"
            )
            found.append(Finding("cache-gone-entries", module, text))

        # At two looks in a row: a policy may drop what is too much in its next sweep.
        if self._holds("cache-unbounded", module, now_s, condition=bool(beyond or stats.idle_entries), for_s=1e-9):
            rate = (stats.entries - earlier.stats.entries) / elapsed_s if earlier is not None and elapsed_s > 0 else 0.0
            growing = f", growing by {rate:.0f} a second" if rate > 0 else ""
            causes = []
            if beyond:
                causes.append(f"nothing evicts at its bound of {bound} (capacity)")
            if stats.idle_entries:
                causes.append(f"{stats.idle_entries} entries that nobody asks for are kept (expired)")
            if stats.gone_entries:
                causes.append(f"{stats.gone_entries} entries of providers that have left are kept (provider_down)")
            text = (
                f"{what} grows without bound: {stats.entries} entries, {beyond} beyond {bound}{growing}: "
                f"{_source(service)}; cause: {'; '.join(causes)}. Give the policy a bound and an expiry, or use "
                f"cached-consistent-hash"
            )
            found.append(Finding("cache-unbounded", module, text))

        hits = stats.hits - earlier.stats.hits if earlier is not None else 0
        picks = _keyed(service) - _keyed(earlier) if earlier is not None else 0
        is_full = not beyond and stats.entries >= bound
        if picks < MIN_PICKS and is_full and ("cache-low-hits", module) in self._since:
            is_low = True  # a quiet moment does not end it
        else:
            is_low = is_full and picks >= MIN_PICKS and hits < limits.min_hit_ratio * picks
        if self._holds("cache-low-hits", module, now_s, condition=is_low, for_s=limits.low_hits_s):
            each = stats.estimated_bytes // max(1, stats.entries)
            text = (
                f"{what} is full ({bound} entries) and knows only {100 * hits / max(1, picks):.1f} % of the keys asked "
                f"for: {_source(service)}; cause: more keys are in use than fit (capacity). Raise max_cache_entries "
                f"({each} bytes an entry), or look whether these packets need a key that changes with every ask"
            )
            found.append(Finding("cache-low-hits", module, text))

        if service.astray:
            text = (
                f"{service.astray} keys of module {module!r} moved although their segment of the ring did not change: "
                f"that is a fault of the ring or of the policy {service.balancer}. Please report it, with the output "
                f"of `zfoo-py stats --json`"
            )
            found.append(Finding("keys-astray", module, text))
        return found


def _keyed(service: ServiceFigures) -> int:
    return service.stats.hits + service.stats.misses


def _source(service: ServiceFigures) -> str:
    if not service.new_keys_by:
        return "no packet class was sampled with new keys yet"
    packet, share = next(iter(service.new_keys_by.items()))
    return f"its new keys come from {packet} ({100 * share:.0f} % of those sampled)"


class MemoryWatch:
    """Whether the process grows while its work does not.

    It grows if the straight line through a window's samples, caches taken away, rises by more than the threshold, and
    the last quarter lies above every earlier one, so that a step (a library loaded, a burst that left its arenas) is
    none. As much time as a window is, the beginning does not count.
    """

    def __init__(self, limits: AlertLimits) -> None:
        self._limits = limits
        self._samples: deque[tuple[float, float, int, int]] = deque()  # time, bytes, packets, sessions
        self._begins_s: float | None = None
        self._every_s = limits.memory_window_s / MAX_SAMPLES

    def look(self, look: Look, cached_bytes: int) -> str | None:
        """The text of the alert if it holds."""
        window_s = self._limits.memory_window_s
        if not look.memory_bytes:
            return None
        if self._begins_s is None:
            self._begins_s = look.now_s
        samples = self._samples
        if look.now_s - self._begins_s < window_s:
            return None
        if not samples or look.now_s - samples[-1][0] >= self._every_s:
            samples.append((look.now_s, look.memory_bytes - cached_bytes, look.packets, look.sessions))
        while samples[-1][0] - samples[0][0] > window_s:
            samples.popleft()
        if len(samples) < 8 or samples[-1][0] - samples[0][0] < 0.9 * window_s:
            return None
        growth_mib = _slope(samples) * window_s / MIB
        if growth_mib <= self._limits.memory_growth_mib or not self._rises() or not self._is_flat():
            return None
        return (
            f"the process has grown by {growth_mib:.0f} MiB in {window_s:g} s, to {look.memory_bytes // MIB} MiB, and "
            f"its load was flat; key caches hold {cached_bytes // MIB} MiB and are not counted. Look at what receivers "
            f"and policies of your own keep (tracemalloc), and at sessions and asks in flight in `zfoo-py stats`"
        )

    def _rises(self) -> bool:
        """Whether each quarter's mean is above the one before."""
        size = len(self._samples) / 4
        all_bytes = [sample[1] for sample in self._samples]
        parts = [all_bytes[round(n * size) : round((n + 1) * size)] for n in range(4)]
        means = [sum(part) / len(part) for part in parts]
        least = self._limits.memory_growth_mib * MIB / 8
        return all(later - sooner > least for sooner, later in pairwise(means))

    def _is_flat(self) -> bool:
        samples = list(self._samples)
        first, middle, last = samples[0], samples[len(samples) // 2], samples[-1]
        sooner = (middle[2] - first[2]) / (middle[0] - first[0])
        later = (last[2] - middle[2]) / (last[0] - middle[0])
        most = 1 + self._limits.flat_load
        return later <= max(1.0, sooner) * most and last[3] <= max(10, first[3]) * most


def _slope(samples: Iterable[tuple[float, float, int, int]]) -> float:
    """Bytes a second: the least squares line."""
    points = [(at_s, held) for at_s, held, _, _ in samples]
    mean_s = sum(at_s for at_s, _ in points) / len(points)
    mean = sum(held for _, held in points) / len(points)
    spread = sum((at_s - mean_s) ** 2 for at_s, _ in points)
    return sum((at_s - mean_s) * (held - mean) for at_s, held in points) / spread


class AlertBook:
    """Which alerts are active, and who has to be told now.

    Args:
        repeat_s: an alert that goes on, or comes back, is told at most this often.
    """

    def __init__(self, repeat_s: float) -> None:
        self._repeat_s = repeat_s
        self._active: dict[tuple[str, str], Finding] = {}
        self._told_s: dict[tuple[str, str], float] = {}

    @property
    def active(self) -> tuple[Finding, ...]:
        """What holds now."""
        return tuple(self._active.values())

    def update(self, findings: Iterable[Finding], now_s: float) -> tuple[list[Finding], list[Finding]]:
        """Take what holds now; return what is to be told, and what was told and has ended. O(alerts)."""
        held = {(one.name, one.subject): one for one in list(findings)[:MAX_ACTIVE]}
        tell = [
            one for key, one in held.items() if key not in self._told_s or now_s - self._told_s[key] >= self._repeat_s
        ]
        ended = [one for key, one in self._active.items() if key not in held]
        self._active = held
        self._told_s = {
            key: at_s for key, at_s in self._told_s.items() if key in held or now_s - at_s < self._repeat_s
        } | {(one.name, one.subject): now_s for one in tell}
        return tell, ended
