"""`make drill-zookeeper`: the registry card, against a real ZooKeeper and real processes on this machine; no root.

    python -m samples.registry                  # sessions of 10 s, outages of 60 s: about five minutes
    python -m samples.registry --short --json   # sessions of 3 s, outages of 4 s: two minutes; one JSON list
    python -m samples.registry --only Y1,Y4

Exit code 0: every row passed; 1: one did not; 2: there is no ZooKeeper here.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from samples.drill.card import SHORT as SHORT_SCALE
from samples.drill.card import Figure, Result, as_json, as_table
from samples.registry.rows import ROWS
from samples.registry.stage import RegistryStage, Times
from zfoo_py.node import new_loop
from zfoo_py.testing.zookeeper import why_missing

__all__ = ["FULL", "SHORT", "play"]

SHORT = Times(session_s=3.0, down_s=4.0, load_s=1.0)
FULL = Times(session_s=10.0, down_s=60.0, load_s=5.0)
ROW_LIMIT_S = 240.0


async def play(id: str, times: Times) -> Result:
    """Play one row on a stage of its own; whatever happens, it has a result."""
    what, bar, scene = ROWS[id]
    try:
        with tempfile.TemporaryDirectory() as folder:
            async with asyncio.timeout(ROW_LIMIT_S), RegistryStage(SHORT_SCALE, times, Path(folder)) as stage:
                figure = await scene(stage)
    except Exception as error:  # noqa: BLE001 - the other rows are to be played all the same
        figure = Figure(f"could not be measured: {type(error).__name__}: {error}", passed=False)
    return Result(id, what.format(**msgspec.structs.asdict(times)), bar, figure.text, figure.passed)


async def _main(options: argparse.Namespace) -> int:
    results = []
    for id in options.only.upper().split(",") if options.only else ROWS:
        started_s = time.monotonic()
        result = await play(id, SHORT if options.short else FULL)
        results.append(result)
        state = "passed" if result.passed else "FAILED"
        print(f"{id:4} {state}  {time.monotonic() - started_s:5.1f} s  {result.figure}", file=sys.stderr, flush=True)
    print(as_json(results) if options.json else as_table(results))
    return 0 if all(result.passed for result in results) else 1


def _run() -> int:
    arguments = argparse.ArgumentParser(prog="make drill-zookeeper", description="Play the registry card.")
    arguments.add_argument("--short", action="store_true", help="short sessions and outages: two minutes")
    arguments.add_argument("--json", action="store_true", help="print one JSON list instead of a table")
    arguments.add_argument("--only", metavar="ID,ID", help=f"of {', '.join(ROWS)}")
    options = arguments.parse_args()
    if why := why_missing():
        print(why, file=sys.stderr)
        return 2
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(_main(options))


if __name__ == "__main__":
    try:
        sys.exit(_run())
    except KeyboardInterrupt:
        sys.exit(130)
