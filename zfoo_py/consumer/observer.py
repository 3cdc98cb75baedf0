"""What a ConsumerActor notes about its service types beside routing: changes, hot keys, who causes new keys.

All of it is sampled or happens with a membership change, so that a pick pays for one count on its provider only: a
provider counts down to its next sampled pick (`Provider.countdown`), and how often it was picked follows from that.

Which packet class brings the new keys is found by watching whole asks: after a sampled pick the actor lets the next one
go through `Observer.watch`, a few a second, which looks at the policy's figures before and after.

Pure and not thread-safe; the ConsumerActor owns it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from zfoo_py.consumer.balancer import BalancerStats
from zfoo_py.consumer.change_log import ChangeLog
from zfoo_py.consumer.explain import Decision, explanation, printable
from zfoo_py.consumer.figures import HotKey, ServiceFigures
from zfoo_py.consumer.hashing import cache_key, kind_and_text
from zfoo_py.consumer.hot_keys import HotKeys, gaps
from zfoo_py.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zfoo_py.consumer.balancer import Provider
    from zfoo_py.consumer.change_log import ChangeReport
    from zfoo_py.consumer.explain import Explanation
    from zfoo_py.consumer.hashing import CacheKey, Key
    from zfoo_py.consumer.service import Service

__all__ = ["Observer"]

# Shown in figures; an application has few keys that matter by themselves.
HOT_KEYS_SHOWN: Final = 10
# A longer key is a document, and is not kept in a table of figures.
MAX_HOT_KEY_CHARS: Final = 256
SHOWN_KEY_CHARS: Final = 80
# Counts of hot keys halve in this time: what was hot before lunch is not shown at two.
FADE_S: Final = 60
# Watched asks a second: each takes the policy's figures twice, a few µs; at eight a second that is nothing.
WATCHED_PER_S: Final = 8


class _Record:
    """Of one service type."""

    def __init__(self, module: str) -> None:
        self.changes = ChangeLog(module)
        self.hot: HotKeys[CacheKey] = HotKeys()
        self.new_keys_by: HotKeys[str] = HotKeys()
        self.sampled: dict[str, int] = {}  # provider → picks that its samples stand for


class Observer:
    """Of one ConsumerActor.

    Args:
        services: module → service type; the actor's own table.
        guarded: ``guarded(service, hook, *args)`` calls into a policy and gives None if that raises.
    """

    def __init__(self, services: Mapping[str, Service], guarded: Callable[..., Any]) -> None:
        self._services = services
        self._guarded = guarded
        self._records = {module: _Record(module) for module in services}
        self._gaps = gaps()
        self._watches_left = WATCHED_PER_S
        self._fades_at_s = 0.0
        self.counted = 0  # picks up to the last sampled one of each provider, and all of those that are gone
        for service in services.values():
            guarded(service, service.balancer.observe, self._records[service.module].changes.moved)

    # --- picks

    def sample(self, service: Service, provider: Provider, key: Key | None) -> bool:
        """Note a sampled pick and set the provider's next; whether the order after it should be watched. O(1)."""
        gap = provider.gap
        provider.gap = provider.countdown = next(self._gaps)
        provider.picked += gap
        self.counted += gap
        record = self._records[service.module]
        name = provider.ring_name
        record.sampled[name] = record.sampled.get(name, 0) + gap
        if key.__class__ is str:
            if len(key) <= MAX_HOT_KEY_CHARS:
                record.hot.offer(key)
        elif key is not None:
            remembered = cache_key(key)
            if remembered.__class__ is int or len(kind_and_text(remembered)[1]) <= MAX_HOT_KEY_CHARS:
                record.hot.offer(remembered)
        self._watches_left -= 1
        return self._watches_left >= 0

    def watch(self, order: Any, handle: Callable[[Any], object]) -> None:
        """Let an order be handled, and note its packet class if its key was new to the policy."""
        service = self._services.get(order.binding.module.name)
        if service is None:
            handle(order)
            return
        before = self._stats_of(service)
        handle(order)
        after = self._stats_of(service)
        if after.misses > before.misses or after.entries > before.entries:
            self._records[service.module].new_keys_by.offer(order.binding.packet_class.__name__)

    # --- membership and time

    def joined(self, service: Service, provider: Provider, version: int, now_s: float) -> None:
        """Tell the policy of a provider that came, and log it."""
        before = self._stats_of(service)
        self._guarded(service, service.balancer.on_up, provider)
        changes = self._records[service.module].changes
        self._guarded(
            service, lambda: changes.joined(provider.ring_name, version, now_s, service.balancer.ring, before)
        )

    def reweighed(self, service: Service, provider: Provider, version: int, now_s: float) -> None:
        """Tell the policy of another weight, and log which keys it moved."""
        name, stats = provider.ring_name, self._stats_of(service)
        ring = self._guarded(service, lambda: service.balancer.ring)
        before = None if ring is None else ring.segments_of(name)
        self._guarded(service, service.balancer.on_weight, provider)
        changes = self._records[service.module].changes
        self._guarded(service, lambda: changes.reweighed(name, version, now_s, ring, stats, before))

    def left(self, service: Service, provider: Provider, version: int, now_s: float) -> None:
        """Log a provider that goes, and tell the policy."""
        record = self._records[service.module]
        stats = self._stats_of(service)
        self._guarded(
            service, lambda: record.changes.leaves(provider.ring_name, version, now_s, service.balancer.ring, stats)
        )
        record.sampled.pop(provider.ring_name, None)
        self._guarded(service, service.balancer.on_down, provider)

    def gone(self, provider: Provider) -> None:
        """A provider is picked no more: keep its last count."""
        self.counted += provider.gap - provider.countdown

    def settle(self) -> None:
        """Look which changes have been checked to the end; after a sweep, and with every tick."""
        for service in self._services.values():
            changes = self._records[service.module].changes
            if changes.is_open:
                changes.settle(self._stats_of(service))

    def tick(self, now_s: float) -> None:
        """A second has passed."""
        self.settle()
        self._watches_left = WATCHED_PER_S
        if now_s >= self._fades_at_s:
            self._fades_at_s = now_s + FADE_S
            for record in self._records.values():
                record.hot.fade()
                record.new_keys_by.fade()

    # --- questions

    def explain(self, module: str, key: Key | None) -> Explanation:
        """Why a key goes where it goes.

        Raises:
            ConfigError: the node does not consume the module.
            TypeError: for a key that is not allowed.
        """
        service = self._service(module)
        decision = self._guarded(service, service.balancer.explain, service.view, key)
        if not isinstance(decision, Decision):
            decision = Decision(None, ("the policy could not explain itself; the log says why",), is_certain=False)
        version = self._stats_of(service).points_version
        return explanation(service.view, service.group, service.balancer_name, key, decision, version)

    def explain_change(self, version: int | None, now_s: float) -> tuple[ChangeReport, ...]:
        """What a membership version did to each service type it changed; None: the last change of each.

        Raises:
            ConfigError: the version is not in the log.
        """
        found = []
        for service in self._services.values():
            report = self._records[service.module].changes.report(version, now_s, self._stats_of(service))
            if report is not None:
                found.append(report)
        if not found and version is not None:
            known = sorted({known for record in self._records.values() for known in record.changes.versions})
            span = f"it knows {known[0]} to {known[-1]}" if known else "nothing has changed yet"
            raise ConfigError(
                f"membership version {version} is not in the log of changes: it changed no consumed module, or is too "
                f"old ({span})"
            )
        return tuple(found)

    def figures(self, now_s: float, providers: Mapping[str, Provider]) -> dict[str, ServiceFigures]:
        """The figures of every service type. O(providers * log providers)."""
        return {module: self._figures_of(service, now_s, providers) for module, service in self._services.items()}

    def picks(self, providers: Mapping[str, Provider]) -> int:
        """All picks, ever. O(providers)."""
        return self.counted + sum(provider.gap - provider.countdown for provider in providers.values())

    def _figures_of(self, service: Service, now_s: float, providers: Mapping[str, Provider]) -> ServiceFigures:
        record = self._records[service.module]
        names = tuple(provider.ring_name for provider in service.view.providers)
        ring = self._guarded(service, lambda: service.balancer.ring)
        picks: dict[str, int] = {}
        is_estimate = False
        for name in names:
            provider = providers.get(name)
            if provider is not None:
                shares = [other.sampled.get(name, 0) for other in self._records.values()]
                is_estimate = is_estimate or sum(share > 0 for share in shares) > 1
                share = record.sampled.get(name, 0) / (sum(shares) or 1)
                picks[name] = round(provider.picks * share)
        return ServiceFigures(
            module=service.module,
            group=service.group,
            balancer=service.balancer_name,
            providers=names,
            weights={one.ring_name: one.weight for one in service.view.providers if one.weight != 1},
            ring=None if ring is None else ring.providers,
            picks=picks,
            picks_are_estimates=is_estimate,
            hot_keys=tuple(
                HotKey(_shown(one.key), round(one.share, 4), round(one.error, 4))
                for one in record.hot.top(HOT_KEYS_SHOWN)
            ),
            new_keys_by={one.key: round(one.share, 4) for one in record.new_keys_by.top(HOT_KEYS_SHOWN)},
            applied_version=service.view.applied_version,
            last_change=record.changes.versions[-1] if record.changes.versions else 0,
            check_open_s=record.changes.open_for_s(now_s),
            astray=record.changes.astray,
            stats=self._stats_of(service),
        )

    def _service(self, module: str) -> Service:
        service = self._services.get(module)
        if service is None:
            consumed = ", ".join(sorted(self._services)) or "none"
            raise ConfigError(f"this node does not consume module {module!r}; it consumes {consumed}")
        return service

    def _stats_of(self, service: Service) -> BalancerStats:
        stats = self._guarded(service, service.balancer.stats)
        return stats if isinstance(stats, BalancerStats) else BalancerStats()  # a user's may return anything


def _shown(key: CacheKey) -> str:
    text = printable(kind_and_text(key)[1])
    return text if len(text) <= SHOWN_KEY_CHARS else f"{text[:SHOWN_KEY_CHARS]}…"
