"""How the asks of one session end before their answer: cancelled, expired, lost with the session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zfoo_py.net import failures
from zfoo_py.protocol.common import CAN_CANCEL, Cancel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zfoo_py.net.outbox import Outbox
    from zfoo_py.net.pending import Pending
    from zfoo_py.net.session import Session

__all__ = ["MAX_CANCELS", "cancels", "expire", "fail_all"]

# Signal ids in one Cancel: 5 KB, a frame that even an outside client takes.
MAX_CANCELS = 1000


def cancels(session: Session, signal_ids: list[int]) -> Iterator[Cancel]:
    """Yield what tells the peer that nobody waits for these any more; nothing if it does not understand that."""
    if session.is_up and CAN_CANCEL in session.can:
        for first in range(0, len(signal_ids), MAX_CANCELS):
            yield Cancel(signal_ids[first : first + MAX_CANCELS])


def expire(session: Session, pending: Pending, outbox: Outbox, now_s: float) -> list[int]:
    """Fail the asks whose deadline is not after ``now_s``; returns the signal ids of those that were written."""
    expired = outbox.parked.expire(pending, now_s)
    for outbound, written in expired:
        failures.fail(outbound.call, failures.timed_out(outbound, session, written=written))
    return [outbound.call.answer.signal_id for outbound, written in expired if written]


def fail_all(session: Session, pending: Pending, outbox: Outbox, reason: str) -> None:
    """End every ask of a session that is over: what was never written goes back. O(pending)."""
    for outbound in outbox.parked.take_all(pending):
        failures.return_outbound(outbound, reason)
    for outbound in pending.take_all():
        failures.fail_in_flight(outbound, failures.lost_in_flight(outbound, session, reason))
