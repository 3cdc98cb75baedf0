"""`make cluster ARGS=--workers`: what a second worker process brings, in asks per second.

Starts ``zfoo-py run samples.workers --workers N`` with 1 and then 2 processes, and asks both kinds of receiver: one
that answers at once, which costs the asking process as much as the answering one, and one that computes for a while.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from zfoo_py import Ask, Node, Packet, ProtocolModule, Session, packet_receiver
from zfoo_py.events import MembershipChanged
from zfoo_py.node import new_loop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).resolve().parent.parent
# Processes are up within a second; on a loaded machine it may take longer.
LIMIT_S = 30.0
OUTSTANDING = 128
# About 0.2 ms of Python, which one process can do 5,000 times a second.
STEPS = 3000

sums = ProtocolModule(20, "sums")


@sums.packet(2001)
class SumAnswer(Packet):
    """The sum, and who made it."""

    total: int
    served_by: str


@sums.packet(2000, balance_by="key")
class SumAsk(Ask[SumAnswer]):
    """Sum up the numbers below ``steps``."""

    key: int
    steps: int


@packet_receiver
async def at_sum_ask(session: Session, ask: SumAsk) -> SumAnswer:
    """Compute, on the loop: more processes are what such receivers need."""
    total = 0
    for number in range(ask.steps):
        total += number
    return SumAnswer(total, session.node.id)


@asynccontextmanager
async def providers(count: int, discovery: str) -> AsyncIterator[Process]:
    """Run worker processes; they end with this one, however it ends."""
    words = ("-m", "zfoo_py", "run", "samples.workers", "--id", "sums", "--provide", "sums", "--workers", str(count))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, "--discovery", discovery, "--log-level", "ERROR", cwd=ROOT, stdin=DEVNULL
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), LIMIT_S)


async def asks_per_second(node: Node, steps: int, seconds: float) -> float:
    """Ask for so long; return how many were answered per second."""
    numbers = iter(range(sys.maxsize))
    expected = steps * (steps - 1) // 2
    end = perf_counter() + seconds

    async def ask() -> int:
        count = 0
        while perf_counter() < end:
            answer = await node.consumer.async_ask(SumAsk(next(numbers), steps))
            assert answer.total == expected
            count += 1
        return count

    began = perf_counter()
    counts = await asyncio.gather(*(ask() for _ in range(OUTSTANDING)))
    return sum(counts) / (perf_counter() - began)


async def measure(count: int, seconds: float) -> dict[str, float]:
    """Return the asks per second of both kinds with so many worker processes."""
    async with Node(id="discovery", receivers=[], discovery={"address": "127.0.0.1:0", "host": True}) as discovery:
        where = discovery.discovery_address
        node = Node(id="asker", consumes=[sums], receivers=[], discovery={"address": where}, ready_timeout_s=LIMIT_S)
        members = 0
        changed = asyncio.Event()

        def joined(event: MembershipChanged) -> None:
            nonlocal members
            members = len(event.modules["sums"])
            changed.set()

        node.events.subscribe(MembershipChanged, joined)
        async with providers(count, where), node, asyncio.timeout(LIMIT_S + 3 * seconds):
            while members < count:
                changed.clear()
                await changed.wait()
            await asks_per_second(node, 0, seconds / 4)  # to warm up
            return {
                "at_once": round(await asks_per_second(node, 0, seconds)),
                "computing": round(await asks_per_second(node, STEPS, seconds)),
            }


def tell(seconds: float, *, as_json: bool) -> int:
    """Measure with 1 and 2 worker processes, within so many seconds, and print; return the exit code."""
    figures: dict[str, dict[str, float]] = {}
    for count in (1, 2):
        with asyncio.Runner(loop_factory=new_loop) as runner:
            figures[str(count)] = runner.run(measure(count, seconds / 5))
    if as_json:
        print(json.dumps({"cores": os.cpu_count(), "asks_per_second": figures}))
        return 0
    one, two = figures["1"], figures["2"]
    for kind, text in (("at_once", "a receiver that answers at once"), ("computing", "one that computes")):
        ratio = two[kind] / one[kind]
        print(f"{text}: {one[kind]:,.0f} asks/s with 1 worker process, {two[kind]:,.0f} with 2 ({ratio:.2f} times)")
    print(f"this machine has {os.cpu_count()} cores, and the asking process needs one of them")
    return 0
