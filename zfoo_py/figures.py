"""The figures of a whole node, put together from its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zfoo_py.actor import Runtime
    from zfoo_py.net.session_actor import SessionActor
    from zfoo_py.router.router import Router

__all__ = ["inbox_figures", "router_figures", "session_figures"]

_OF_SESSIONS = (
    "server", "client", "asks_in_flight", "asks_parked", "in_work", "unwritten_bytes", "late_answers", "undecodable",
    "refused_at_limit", "dropped_at_limit", "frames_in", "frames_out", "bytes_in", "bytes_out",
)  # fmt: skip


def session_figures(sessions: Iterable[SessionActor]) -> dict[str, float]:
    """Of all sessions: how many there are, what is in flight and in work, what has crossed. O(sessions)."""
    figures: dict[str, float] = dict.fromkeys(_OF_SESSIONS, 0)
    measured = list(sessions)
    for one in measured:
        figures[one.session.side] += 1
        # Read between two turns, and not kept: a message to each of ten thousand sessions would be the load.
        figures["asks_in_flight"] += len(one._pending)  # noqa: SLF001
        figures["asks_parked"] += len(one.outbox.parked)
        figures["in_work"] += one.intake.in_work
        figures["refused_at_limit"] += one.intake.refused
        figures["dropped_at_limit"] += one.intake.dropped
        figures["unwritten_bytes"] += one.outbox.gathered_bytes
        figures["late_answers"] += one.late_answers
        figures["undecodable"] += one.undecodable
        figures["frames_in"] += one.frames_in
        figures["frames_out"] += one.outbox.frames_out
        figures["bytes_in"] += one.bytes_in
        figures["bytes_out"] += one.outbox.bytes_out
    latencies = [one.heartbeat.latency_s for one in measured if one.heartbeat.latency_s]
    figures["latency_max_ms"] = round(max(latencies, default=0.0) * 1000.0, 3)
    figures["latency_mean_ms"] = round(sum(latencies) / max(1, len(latencies)) * 1000.0, 3)
    return figures


def router_figures(router: Router) -> dict[str, int]:
    """Of the packets that came here."""
    return {
        "received": router.received,
        "in_work": router.in_work,
        "expired": router.expired,
        "cancelled": router.cancelled,
        "refused": router.refused,
        "shed": router.admission.shed,
        "refused_draining": router.admission.drained,
        **router.waiting(),
        "receiver_failures": router.receiver_failures,
        "unsent_answers": router.unsent_answers,
    }


def inbox_figures(runtime: Runtime) -> dict[str, Any]:
    """Of the actors and their inboxes. O(actors)."""
    waiting = {type(actor).__name__: 0 for actor in runtime.actors}
    longest = 0
    for actor in runtime.actors:
        count = len(actor.actor_inbox.normal) + len(actor.actor_inbox.control)
        waiting[type(actor).__name__] += count
        longest = max(longest, count)
    return {
        "actors": len(runtime.actors),
        "waiting": dict(sorted(waiting.items())),
        "longest": longest,
        "undelivered": runtime.undelivered,
        "failed_turns": runtime.turn_failures,
        "slow_turns": runtime.pace.count,
    }
