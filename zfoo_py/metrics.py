"""The figures of a node as Prometheus text. The only file that imports prometheus_client, when it is asked to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from zfoo_py.extras import need

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["metrics_text"]

# Of a service type, by module: name, figure, kind, help.
_OF_SERVICE: Final = (
    ("cache_entries", "entries", "gauge", "Keys remembered."),
    ("cache_max_entries", "max_entries", "gauge", "Keys remembered at most; 0: the policy names no bound."),
    ("cache_bytes", "estimated_bytes", "gauge", "Estimated memory of the key cache."),
    ("cache_unswept_entries", "unswept", "gauge", "Entries to be looked at since the ring changed."),
    ("cache_gone_entries", "gone_entries", "gauge", "Entries of providers that are gone, overdue for the sweep."),
    ("cache_idle_entries", "idle_entries", "gauge", "Entries that nobody asks for, overdue for expiry."),
    ("cache_hits", "hits", "counter", "Picks of a remembered key."),
    ("cache_misses", "misses", "counter", "Picks of a key that was not remembered, or had moved."),
    ("cache_moved_keys", "moved_keys", "counter", "Remembered keys whose owner changed."),
    ("ring_points", "ring_points", "gauge", "Points of the ring."),
    ("ring_version", "points_version", "gauge", "Changes with the ring's points."),
    ("applied_version", "applied_version", "gauge", "The last membership version handled."),
    ("keys_astray", "astray", "counter", "Keys that moved without reason; see the alert keys-astray."),
)
# Of the node: name, path in the figures, kind, help.
_OF_NODE: Final = (
    ("uptime_seconds", ("uptime_s",), "gauge", "Since the node was started."),
    ("memory_bytes", ("memory_bytes",), "gauge", "Resident memory of the process."),
    ("membership_version", ("consumer", "membership_version"), "gauge", "The last membership version handled."),
    ("asks", ("consumer", "asks"), "counter", "Asks that were forwarded to a session."),
    ("sends", ("consumer", "sends"), "counter", "Packets sent one way to a session."),
    ("retries", ("consumer", "retries"), "counter", "Asks that were picked again."),
    ("misroutes", ("consumer", "misroutes"), "counter", "Asks refused by a provider that does not serve them."),
    ("failed_turns", ("actors", "failed_turns"), "counter", "Turns of actors that raised."),
    ("slow_turns", ("actors", "slow_turns"), "counter", "Turns that held the loop too long."),
    ("inbox_longest", ("actors", "longest"), "gauge", "Messages in the longest inbox."),
    ("asks_in_flight", ("sessions", "asks_in_flight"), "gauge", "Asks that wait for their answers."),
    ("asks_parked", ("sessions", "asks_parked"), "gauge", "Asks that wait for room in an outbox."),
    ("latency_max_ms", ("sessions", "latency_max_ms"), "gauge", "The slowest session's last heartbeat, to its reply."),
    ("latency_mean_ms", ("sessions", "latency_mean_ms"), "gauge", "The mean of all sessions' last heartbeats."),
    ("received", ("router", "received"), "counter", "Packets received for receivers."),
    ("in_work", ("router", "in_work"), "gauge", "Packets in work."),
    ("expired", ("router", "expired"), "counter", "Packets whose time was over before their receiver started."),
    ("refused", ("router", "refused"), "counter", "Packets refused."),
    ("shed", ("router", "shed"), "counter", "Asks refused because they would have begun too late."),
    ("refused_draining", ("router", "refused_draining"), "counter", "Asks refused because this node stops."),
    ("ready", ("router", "ready"), "gauge", "Packets that wait for their coroutine to begin."),
    ("longest_lane", ("router", "longest_lane"), "gauge", "Packets that wait for the busiest lane."),
    ("held_back", ("router", "held_back"), "gauge", "Packets that wait until their peers read."),
    ("waiting_for_workers", ("router", "waiting_for_workers"), "gauge", "Packets that wait for a worker thread."),
    ("receiver_failures", ("router", "receiver_failures"), "counter", "Receivers that raised."),
    ("undelivered", ("undelivered",), "counter", "Packets sent one way that could not be delivered."),
    ("discovery_ok", ("discovery", "ok"), "gauge", "1 while discovery answers, 0 in trouble."),
    ("refused_connections", ("refused_connections",), "counter", "Connections turned away at max_connections."),
    ("bytes_in", ("sessions", "bytes_in"), "counter", "Bytes received on the sessions that are open."),
    ("bytes_out", ("sessions", "bytes_out"), "counter", "Bytes written on the sessions that are open."),
)


def metrics_text(stats: Mapping[str, Any]) -> str:
    """Return figures, as `Node.stats` gives them, as Prometheus text (exposition format 0.0.4).

    Raises:
        ConfigError: prometheus-client is not installed.
    """
    core = need("prometheus_client.core", "metrics")
    exposition = need("prometheus_client.exposition", "metrics")
    registry = need("prometheus_client.registry", "metrics").CollectorRegistry(auto_describe=False)
    registry.register(_Collector(core, stats))
    text: bytes = exposition.generate_latest(registry)
    return text.decode()


class _Collector:
    """What prometheus_client asks for its families; it checks names and writes the text."""

    def __init__(self, core: Any, stats: Mapping[str, Any]) -> None:
        self._core = core
        self._stats = stats

    def collect(self) -> Iterator[Any]:
        node = str(self._stats["id"])
        for name, path, kind, text in _OF_NODE:
            value: Any = self._stats
            for step in path:
                value = value[step]
            yield self._family(name, kind, text, (), [((), value)], node)
        sides = [((side,), self._stats["sessions"][side]) for side in ("server", "client")]
        yield self._family("sessions", "gauge", "Open sessions.", ("side",), sides, node)
        raised = [((name,), count) for name, count in self._stats["alerts"]["raised"].items()]
        yield self._family("alerts_raised", "counter", "Alerts raised.", ("name",), raised, node)
        active = [((one["name"], one["subject"]), 1) for one in self._stats["alerts"]["active"]]
        yield self._family("alert_active", "gauge", "1 while an alert holds.", ("name", "subject"), active, node)
        services = self._stats["consumer"]["services"]
        for name, figure, kind, text in _OF_SERVICE:
            rows = [((module,), service[figure]) for module, service in services.items()]
            yield self._family(name, kind, text, ("module",), rows, node)
        yield self._family(
            "cache_evictions", "counter", "Entries dropped or moved, by cause.", ("module", "cause"),
            [((module, cause), n) for module, one in services.items() for cause, n in one["evictions"].items()], node,
        )  # fmt: skip
        yield self._family(
            "picks", "counter", "Picks by provider, since it came.", ("module", "provider"),
            [((module, name), n) for module, one in services.items() for name, n in one["picks"].items()], node,
        )  # fmt: skip
        yield self._family(
            "providers", "gauge", "Providers that can be picked.", ("module",),
            [((module,), len(one["providers"])) for module, one in services.items()], node,
        )  # fmt: skip

    def _family(
        self,
        name: str,
        kind: str,
        text: str,
        labels: tuple[str, ...],
        rows: Iterable[tuple[tuple[str, ...], float]],
        node: str,
    ) -> Any:
        make = self._core.CounterMetricFamily if kind == "counter" else self._core.GaugeMetricFamily
        family = make(f"zfoo_{name}", text, labels=("node", *labels))
        for values, number in rows:
            family.add_metric((node, *values), number)
        return family
