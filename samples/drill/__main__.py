"""`make drill`: the failure card, played against a real cluster of processes on this machine; no root.

    python -m samples.drill                         # the whole card, default time-outs: about ten minutes
    python -m samples.drill --short --json          # configured time-outs: at most three minutes; one JSON list
    python -m samples.drill --only F1,F2 --short
    python -m samples.drill --only F2 --sabotage F2 # with that protection switched off the row must turn red

A row that is red is played once more, and its figure says so.

Exit code 0: every row passed; 1: one did not; 2: it could not run.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from samples.drill import change, failure, hostile, memory, overload
from samples.drill.card import FULL, ROWS, SHORT, Figure, Result, Row, Scale, as_json, as_table, result_of
from samples.drill.sabotage import OURS, SABOTAGES, Patches, sabotage
from samples.drill.stage import Stage
from zfoo_py.config import Limits
from zfoo_py.node import new_loop

if TYPE_CHECKING:
    from collections.abc import Sequence

# A row that hangs is red; the longest of the full card waits for default time-outs several times.
ROW_LIMIT_S = {"short": 45.0, "full": 240.0}
__all__ = ["CHAPTERS", "Limits", "ids", "limits_of", "main", "parser", "play", "run"]

# In the order of the card; importing them has put their rows on it.
CHAPTERS = {"F": failure, "O": overload, "H": hostile, "M": memory, "D": change}


def ids() -> list[str]:
    """Return the ids of all rows, in the order of the card."""
    return sorted(ROWS, key=lambda id: (list(CHAPTERS).index(id[0]), int(id[1:])))


def limits_of(scale: Scale) -> dict[str, float]:
    """Return what a scale configures, by the names of `Limits`."""
    return {
        "heartbeat_interval_s": scale.heartbeat_s,
        "heartbeat_timeout_s": scale.heartbeat_s,
        "hello_timeout_s": scale.hello_s,
        "ask_timeout_s": scale.ask_timeout_s,
        "drain_timeout_s": scale.drain_s,
    }


async def play(one: Row, scale: Scale, sabotaged: str) -> Result:
    """Play one row on a stage of its own; whatever happens, it has a result."""
    patches = Patches()
    ours = sabotaged if sabotaged == one.id else ""
    sabotage(ours if ours in OURS else "", patches)
    limit = asyncio.timeout(ROW_LIMIT_S[scale.name])
    try:
        with tempfile.TemporaryDirectory() as folder:
            async with limit, Stage(scale, Path(folder), ours) as stage:
                figure = await one.play(stage)
    except Exception as error:  # noqa: BLE001 - the other rows are to be played all the same
        figure = Figure(f"could not be measured: {type(error).__name__}: {error}", passed=False)
        if limit.expired():
            figure = Figure(f"not over within {ROW_LIMIT_S[scale.name]:.0f} s", passed=False)
    finally:
        patches.undo()
    return result_of(one, scale, figure)


async def main(options: argparse.Namespace) -> int:
    """Play the card and print it."""
    scale = SHORT if options.short else FULL
    results = []
    for id in options.only or ids():
        started_s = time.monotonic()
        result = await play(ROWS[id], scale, options.sabotage)
        if not result.passed and not options.sabotage:  # bars of milliseconds, on a machine that others use as well
            again = await play(ROWS[id], scale, "")
            result = msgspec.structs.replace(again, figure=f"{again.figure} (second try; the first: {result.figure})")
        results.append(result)
        state = "passed" if result.passed else "FAILED"
        print(f"{id:4} {state}  {time.monotonic() - started_s:5.1f} s  {result.figure}", file=sys.stderr, flush=True)
    print(as_json(results) if options.json else as_table(results))
    return 0 if all(result.passed for result in results) else 1


def _ids(text: str) -> list[str]:
    wanted = [id.strip().upper() for id in text.split(",") if id.strip()]
    for id in wanted:
        if id not in ROWS:
            raise argparse.ArgumentTypeError(f"there is no row {id!r}; there are {', '.join(ids())}")
    return wanted


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    arguments = argparse.ArgumentParser(prog="make drill", description="Play the failure card against real processes.")
    arguments.add_argument("--short", action="store_true", help="configured time-outs, smaller numbers: ≤ 3 minutes")
    arguments.add_argument("--json", action="store_true", help="print one JSON list instead of a table")
    arguments.add_argument("--only", type=_ids, metavar="ID,ID", help=f"of {', '.join(ids())}")
    arguments.add_argument(
        "--sabotage", default="", type=str.upper, choices=["", *SABOTAGES], help="switch off one row's protection"
    )
    return arguments


def run(argv: Sequence[str]) -> int:
    """Parse the command line and play; return the exit code."""
    options = parser().parse_args(argv)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(main(options))


if __name__ == "__main__":
    try:
        sys.exit(run(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
