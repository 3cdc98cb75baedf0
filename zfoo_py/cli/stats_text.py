"""The figures of a node as text for a terminal: one screen, a table per service type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["stats_text"]

MIB: Final = 1024 * 1024
# A service type of a thousand providers is shown by those that are picked most.
MOST_PROVIDERS: Final = 12
MOST_HOT_KEYS: Final = 5


def stats_text(stats: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> str:
    """Return the text; with the figures of an earlier moment also what happens a second."""
    elapsed_s = stats["uptime_s"] - before["uptime_s"] if before is not None else 0.0
    if before is not None and elapsed_s <= 0:  # another node has the place now
        before = None
    consumer, sessions, router, actors = (stats[name] for name in ("consumer", "sessions", "router", "actors"))

    def rate(*path: str) -> str:
        """What a counter rises by a second."""
        return "" if before is None else f" ({(_at(stats, path) - _at(before, path)) / elapsed_s:.0f}/s)"

    up = f"up {_duration(stats['uptime_s'])}"
    address = f" at {stats['address']}" if stats["address"] else ""
    lines = [f"{stats['id']}{address}   {up}   {stats['memory_bytes'] / MIB:.1f} MiB"]
    lines += [f"ALERT {one['name']}: {one['text']}" for one in stats["alerts"].get("active", [])]
    raised = ", ".join(f"{name} {count}" for name, count in stats["alerts"].get("raised", {}).items())
    if raised:
        lines.append(f"alerts so far: {raised}")
    lines += [
        "",
        (
            f"sessions   {sessions['server']} accepted, {sessions['client']} dialled; "
            f"{sessions['asks_in_flight']} asks in flight, {sessions['asks_parked']} parked"
        ),
        (
            f"asked      {consumer['asks']}{rate('consumer', 'asks')}, one way {consumer['sends']}"
            f"{rate('consumer', 'sends')}; {consumer['retries']} picked again, {consumer['misroutes']} misrouted"
        ),
        (
            f"received   {router['received']}{rate('router', 'received')}; {router['in_work']} in work, "
            f"{router['expired']} expired, {router['refused']} refused, {router['receiver_failures']} receivers raised"
        ),
        (
            f"actors     {actors['actors']}; longest inbox {actors['longest']}; {actors['failed_turns']} turns failed, "
            f"{actors['undelivered']} messages undelivered"
        ),
    ]
    if trouble := stats["discovery"]["trouble"]:
        lines.append(f"discovery  {trouble}")
    for module, service in consumer["services"].items():
        earlier = before["consumer"]["services"].get(module) if before is not None else None
        lines += ["", *_service(service, earlier, elapsed_s)]
    return "\n".join(lines)


def _service(service: Mapping[str, Any], before: Mapping[str, Any] | None, elapsed_s: float) -> list[str]:
    group = "" if service["group"] == service["module"] else f" as {service['group']}"
    versions = f"membership {service['applied_version']}"
    if service["ring"] is not None:
        versions += f", ring {service['points_version']} ({service['ring_points']} points)"
    lines = [f"{service['module']}{group}, {service['balancer']}: {len(service['providers'])} providers, {versions}"]
    hits, keyed = service["hits"], service["hits"] + service["misses"]
    if before is not None and before["hits"] + before["misses"] <= keyed:
        hits, keyed = hits - before["hits"], keyed - before["hits"] - before["misses"]
    if service["hits"] or service["misses"] or service["entries"]:
        bound = f" of {service['max_entries']}" if service["max_entries"] else ""
        ratio = f"{100 * hits / keyed:.1f} % hits" if keyed else "no picks"
        lines.append(
            f"  cache    {service['entries']}{bound} entries, {service['estimated_bytes'] / MIB:.1f} MiB, {ratio}"
        )
        evicted = ", ".join(f"{cause} {count}" for cause, count in service["evictions"].items() if count)
        sweep = f"; {service['unswept']} to sweep" if service["unswept"] else ""
        lines.append(f"  evicted  {evicted or 'nothing'}{sweep}")
    if service["new_keys_by"]:
        lines.append(f"  new keys {', '.join(f'{name} {100 * n:.0f} %' for name, n in service['new_keys_by'].items())}")
    if service["hot_keys"]:
        hot = [f"{one['key']} {100 * one['share']:.1f} %" for one in service["hot_keys"][:MOST_HOT_KEYS]]
        lines.append(f"  hot keys {', '.join(hot)}")
    return lines + _picks(service, before, elapsed_s)


def _picks(service: Mapping[str, Any], before: Mapping[str, Any] | None, elapsed_s: float) -> list[str]:
    picks: Mapping[str, int] = service["picks"]
    total = sum(picks.values()) or 1
    ranked = sorted(picks, key=lambda name: (-picks[name], name))
    about = "~" if service["picks_are_estimates"] else ""
    rows = []
    for name in ranked[:MOST_PROVIDERS]:
        row = [name, f"{about}{picks[name]}", f"{100 * picks[name] / total:.1f} %"]
        if before is not None:
            row.append(f"{max(0, picks[name] - before['picks'].get(name, 0)) / elapsed_s:.0f}/s")
        rows.append(row)
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  picks    "
        + "  ".join(
            text.rjust(width) if column else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    if len(ranked) > MOST_PROVIDERS:
        lines.append(f"           and {len(ranked) - MOST_PROVIDERS} more")
    return [lines[0], *(" " * 11 + line[11:] for line in lines[1:])]


def _at(stats: Mapping[str, Any], path: tuple[str, ...]) -> float:
    value: Any = stats
    for step in path:
        value = value[step]
    number: float = value
    return number


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
