"""Asks that wait for each other: what an ask made in a receiver carries, and how a provider knows its own in it.

Such an ask carries a chain: a line for each ask whose receiver waits for it, the first one first, each named by the
node that serves it. So whoever gets an ask knows at once whether it can begin at all: not if its lane, or every worker
thread, is held by asks of its own chain. Asks that wait for each other *crosswise*, without an ask in common, are not
found so; they end at their deadline, with an error that names the ask that holds the lane.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MAX_CHAIN", "Trail", "drop_notice", "extended", "lane_cycle", "line_of", "notice_before_s", "workers_cycle"]

# Asks that a chain holds; of a longer one the oldest are forgotten. Deeper nesting would take a second of round trips
# for one ask, and 32 lines of 128 characters are 4 KB, the size of a batch of frames.
MAX_CHAIN: Final = 32

# A line longer than this is cut, the same way wherever it is written.
MAX_LINE_CHARS: Final = 128

# An asker in a receiver is told so long before its deadline who holds the lane: the way through a local network and
# one busy loop. Of a short ask a tenth, so that most of its time is left to it.
NOTICE_S: Final = 0.02
NOTICE_SHARE: Final = 0.1


class Trail:
    """What one call's receiver hands on.

    Attributes:
        chain: as it came with the ask; "" if it was made outside of receivers.
        line: the name of the ask itself.
        notice: the timer that says who held the lane; None if it never waited for one.
    """

    __slots__ = ("chain", "line", "notice")

    def __init__(self, chain: str, line: str) -> None:
        self.chain = chain
        self.line = line
        self.notice: Any = None


def drop_notice(trail: Trail | None) -> None:
    """Forget the timer: the call begins, or never will."""
    if trail is not None and trail.notice is not None:
        trail.notice.cancel()


def line_of(node: str, number: int, packet: str) -> str:
    """Return the name of an ask: ``node`` tells nodes and their lives apart, ``number`` their asks."""
    return f"{node}.{number} {packet}".replace("\n", " ")[:MAX_LINE_CHARS]


def extended(trail: Trail) -> str:
    """Return the chain of an ask that is made in the receiver of this one. O(length)."""
    if not trail.chain:
        return trail.line
    lines = trail.chain.split("\n", MAX_CHAIN)
    if len(lines) < MAX_CHAIN:
        return f"{trail.chain}\n{trail.line}"
    return "\n".join((*trail.chain.split("\n")[1 - MAX_CHAIN :], trail.line))


def lane_cycle(chain: str, holders: Iterable[Trail | None]) -> tuple[str, ...]:
    """Return the asks from the one that holds the lane on, if it is in the chain; else nothing."""
    lines = chain.split("\n")
    for holder in holders:
        if holder is not None and holder.line in lines:
            return tuple(lines[lines.index(holder.line) :])
    return ()


def workers_cycle(chain: str, busy: Iterable[Trail | None]) -> tuple[str, ...]:
    """Return the whole chain, if every busy worker is held by an ask of it; else nothing."""
    lines = chain.split("\n")
    held = [trail.line if trail is not None else "" for trail in busy]
    return tuple(lines) if held and all(line in lines for line in held) else ()


def notice_before_s(remaining_s: float) -> float:
    """Return how long before its deadline the asker is told who holds the lane."""
    return min(NOTICE_S, remaining_s * NOTICE_SHARE)
