"""The rows of the failure card: what is done, what must hold, what was measured. Pure but for the rows themselves."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:
    from samples.drill.stage import Stage

__all__ = ["ROWS", "Figure", "Result", "Row", "Scale", "as_json", "as_table", "row"]


class Scale(msgspec.Struct, frozen=True, kw_only=True):
    """How long a drill may take: the time-outs that are configured, and how much is done.

    Attributes:
        name: for texts.
        heartbeat_s: interval, and wait for the reply.
        hello_s: time-out of the Hello.
        ask_timeout_s: of every ask that says no other.
        work_s: the longest a receiver works in a rolling restart.
        drain_s: limit of draining.
        load_s: how long a fault is under load.
        streams: random byte streams.
        cycles: connections opened, used and closed.
        slow_peers: connections that say one byte now and then.
        drip_s: how often.
        slow_gone_s: when the last of them must be closed: 1.5 times the longer of Hello's and heartbeat's time-outs.
        asks: how many time out at once.
        flood_timeout_s: of asks that are to time out.
        late_s: how late their answers come.
        stopped_s: how long a consumer stands still.
        forks: children of one member.
    """

    name: str
    heartbeat_s: float
    hello_s: float
    ask_timeout_s: float
    work_s: float
    drain_s: float
    load_s: float
    streams: int
    cycles: int
    slow_peers: int
    drip_s: float
    slow_gone_s: float
    asks: int
    flood_timeout_s: float
    late_s: float
    stopped_s: float
    forks: int


SHORT = Scale(
    name="short",
    heartbeat_s=0.5,
    hello_s=1.0,
    ask_timeout_s=3.0,
    work_s=0.3,
    drain_s=1.0,
    load_s=1.5,
    streams=2_000,
    cycles=3_000,
    slow_peers=300,
    drip_s=0.3,
    slow_gone_s=3.0,
    asks=100_000,
    flood_timeout_s=1.0,
    late_s=2.0,
    stopped_s=4.0,
    forks=50,
)
FULL = Scale(
    name="full",
    heartbeat_s=5.0,
    hello_s=5.0,
    ask_timeout_s=3.0,
    work_s=2.0,
    drain_s=10.0,
    load_s=10.0,
    streams=10_000,
    cycles=10_000,
    slow_peers=1_000,
    drip_s=5.0,
    slow_gone_s=15.0,
    asks=100_000,
    flood_timeout_s=3.0,
    late_s=4.0,
    stopped_s=60.0,
    forks=1_000,
)


class Figure(NamedTuple):
    """What a row came to."""

    text: str
    passed: bool


Play = Callable[["Stage"], Awaitable[Figure]]


class Row(NamedTuple):
    """One fault: ``what`` and ``bar`` may name fields of `Scale` in braces."""

    id: str
    what: str
    bar: str
    play: Play


class Result(msgspec.Struct, frozen=True):
    """A row that was played."""

    id: str
    what: str
    bar: str
    figure: str
    passed: bool


ROWS: dict[str, Row] = {}


def row(id: str, what: str, bar: str) -> Callable[[Play], Play]:
    """Put a function on the card; it gets a `Stage` of its own and says what it measured."""

    def enter(play: Play) -> Play:
        ROWS[id] = Row(id, what, bar, play)
        return play

    return enter


def result_of(one: Row, scale: Scale, figure: Figure) -> Result:
    """Return a row with its figure; the texts say what was configured."""
    fields: dict[str, Any] = msgspec.structs.asdict(scale)
    return Result(one.id, one.what.format(**fields), one.bar.format(**fields), figure.text, figure.passed)


def as_json(results: Sequence[Result]) -> str:
    """Return one JSON list."""
    return json.dumps([msgspec.structs.asdict(one) for one in results], indent=1, ensure_ascii=False)


def as_table(results: Sequence[Result], width: int = 150) -> str:
    """Return the card as plain text, cells folded to the width."""
    heads = ("id", "what was done", "bar", "figure", "passed")
    rows = [heads, *((one.id, one.what, one.bar, one.figure, "yes" if one.passed else "NO") for one in results)]
    wide = max(20, (width - 4 - 6 - 8) // 3)
    widths = (4, wide, wide, wide, 6)
    lines = []
    for number, cells in enumerate(rows):
        folded = [_folded(cell, size) for cell, size in zip(cells, widths, strict=True)]
        for index in range(max(map(len, folded))):
            parts = [
                (cell[index] if index < len(cell) else "").ljust(n) for cell, n in zip(folded, widths, strict=True)
            ]
            lines.append("  ".join(parts).rstrip())
        if not number:
            lines.append("  ".join("-" * size for size in widths))
    return "\n".join(lines)


def _folded(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
