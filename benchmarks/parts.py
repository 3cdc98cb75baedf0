"""What growth.py, sessions.py and kinds.py share: the packets, a server process, and an asker that measures itself."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

import psutil
from limits import raise_descriptors

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from zfoo_py import Ask, Node, Packet, ProtocolModule  # noqa: E402 - found only now, also where it is not installed
from zfoo_py.node import new_loop  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator

START_LIMIT_S = 60.0
DESCRIPTORS = 12_000
CAN_PIN = hasattr(os, "sched_setaffinity")

parts = ProtocolModule(101, "parts")


@parts.packet(1101)
class PartAnswer(Packet):
    id: int
    body: bytes = b""


@parts.packet(1100)
class PartAsk(Ask[PartAnswer]):
    """Answered at once."""

    id: int
    body: bytes = b""


@parts.packet(1103)
class FiguresAnswer(Packet):
    sessions: int
    rss_kib: int
    descriptors: int


@parts.packet(1102)
class FiguresAsk(Ask[FiguresAnswer]):
    """How many sessions the server has, and its memory."""


def pin(core: int) -> None:
    """Let this process run on one of its cores; nothing happens where that cannot be."""
    if CAN_PIN:
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {allowed[core % len(allowed)]})


@contextmanager
def served(program: str, *words: str) -> Iterator[dict[str, Any]]:
    """Run ``program serve WORDS``, which prints one JSON object when it serves; end it in the end."""
    command = [sys.executable, str(HERE / program), "serve", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise SystemExit(f"{program} serve {' '.join(words)} did not start")
            yield {**json.loads(line), "pid": process.pid}
        finally:
            process.kill()


def say(figures: dict[str, Any]) -> None:
    """Print one JSON object: what `served` waits for."""
    print(json.dumps(figures), flush=True)


def consumer(addresses: list[str], **limits: Any) -> Node:
    """Return a node that asks providers at these addresses."""
    where = {"kind": "static", "addresses": addresses}
    return Node(id="asker", consumes=[parts], receivers=[], discovery=where, ready_timeout_s=START_LIMIT_S, **limits)


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(coroutine)


class Row(dict[str, float]):
    """Figures of one measurement."""


def cpu_s(pid: int) -> float:
    """Return the processor time of this process, and of the server's if there is a number."""
    spent = process_time()
    if pid:
        times = psutil.Process(pid).cpu_times()
        spent += times.user + times.system
    return spent


async def measure(ask: Callable[[int], Awaitable[Any]], outstanding: int, seconds: float, server: int = 0) -> Row:
    """Keep so many asks outstanding for so long; return rate, latency, and processor time per ask.

    Of this process, and of the server's if its number is given: a busy machine changes that less than the rate.
    """
    latencies: list[float] = []
    numbers = iter(range(sys.maxsize))
    until = perf_counter() + seconds

    async def one() -> None:
        while True:
            begun = perf_counter()
            if begun >= until:
                return
            await ask(next(numbers))
            latencies.append(perf_counter() - begun)

    begun, cpu = perf_counter(), cpu_s(server)
    await asyncio.gather(*(one() for _ in range(outstanding)))
    wall, cpu = perf_counter() - begun, cpu_s(server) - cpu
    latencies.sort()
    count = len(latencies)
    return Row(
        asks_per_s=count / wall,
        us=wall / count * 1e6,
        cpu_us=cpu / count * 1e6,
        p50_us=latencies[count // 2] * 1e6,
        p99_us=latencies[count * 99 // 100] * 1e6,
    )


def over_rounds(rows: list[Row], key: str) -> Row:
    """Return median, least and greatest of one figure."""
    values = [row[key] for row in rows]
    return Row(median=median(values), least=min(values), greatest=max(values))


def text_of(row: Row, digits: int = 1) -> str:
    return f"{row['median']:,.{digits}f} ({row['least']:,.{digits}f}-{row['greatest']:,.{digits}f})"


def descriptors() -> str:
    """Raise the limit; return what was got in words."""
    got = raise_descriptors(DESCRIPTORS)
    enough = "" if got >= DESCRIPTORS else f" of the {DESCRIPTORS:,} asked for: what needs more is left out"
    return f"descriptors: {got:,}{enough}"
