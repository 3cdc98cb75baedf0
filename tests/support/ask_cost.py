"""What an ask costs, in counts no machine changes: bytecode instructions and calls of zfoo_py, both sides.

    python -m tests.support.ask_cost                   # what they are now
    python -m tests.support.ask_cost --write           # and put them into tests/data/ask_cost.json
    python -m tests.support.ask_cost --by-function     # instructions of each function, per ask

A provider and a consumer in one process, over memory, under a fake clock. Only frames of zfoo_py count (not those of
zfoo_py.testing, of asyncio and of the receiver), so the figures are the same on every machine and in every run.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import zfoo_py
from zfoo_py import Ask, Packet, PacketTable, ProtocolModule, Session, packet_receiver
from zfoo_py.testing import cluster

ROOT = Path(zfoo_py.__file__).parent
FIGURES = Path(__file__).resolve().parents[1] / "data" / "ask_cost.json"
VERSION = "{}.{}".format(*sys.version_info)
WARM_UP, COUNTED = 64, 256

TABLE = PacketTable()
costs = ProtocolModule(90, "costs", table=TABLE)


@costs.packet(9001)
class CostAnswer(Packet):
    id: int
    name: str
    payload: bytes
    tags: list[str]


@costs.packet(9000)
class CostAsk(Ask[CostAnswer]):
    id: int
    name: str
    payload: bytes
    tags: list[str]


@packet_receiver
async def at_cost_ask(_session: Session, ask: CostAsk) -> CostAnswer:
    return CostAnswer(ask.id, ask.name, ask.payload, ask.tags)


class Counter:
    """Counts what this thread runs of zfoo_py."""

    def __init__(self) -> None:
        self.by_function: dict[CodeType, int] = defaultdict(int)
        self.calls = 0
        self._counts: dict[CodeType, bool] = {}

    def _is_ours(self, code: CodeType) -> bool:
        known = self._counts.get(code)
        if known is None:
            path = Path(code.co_filename)
            known = path.is_relative_to(ROOT) and not path.is_relative_to(ROOT / "testing")
            known = known or code.co_filename == "<string>"  # what plan.py compiles per packet class
            self._counts[code] = known
        return known

    def instruction(self, frame: FrameType, event: str, _: Any) -> Any:
        """Count as a trace function."""
        if event == "opcode":
            self.by_function[frame.f_code] += 1
        elif event == "call":
            if not self._is_ours(frame.f_code):
                return None
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
        return self.instruction

    def call(self, frame: FrameType, event: str, _: Any) -> None:
        """Count as a profile function: calls of our functions, and of C functions by them."""
        if event in {"call", "c_call"} and self._is_ours(frame.f_code):
            self.calls += 1


async def _one_by_one(ask: Callable[[int], Awaitable[Any]], count: int) -> None:
    for number in range(count):
        await ask(number)


async def _at_once(ask: Callable[[int], Awaitable[Any]], count: int) -> None:
    await asyncio.gather(*(ask(number) for number in range(count)))


WORKS = {"one by one": _one_by_one, "256 outstanding": _at_once}


def _name(code: CodeType) -> str:
    if code.co_filename == "<string>":
        return f"compiled by protocol/plan.py: {'flatten' if code.co_varnames[0] == 'packet' else 'build'}"
    return f"{Path(code.co_filename).relative_to(ROOT).as_posix()}:{code.co_firstlineno} {code.co_qualname}"


async def _measure(by_function: dict[str, dict[str, float]] | None) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    async with cluster(costs, receivers=[at_cost_ask], providers=1) as c:
        async_ask = c.consumer.async_ask

        async def ask(number: int) -> CostAnswer:
            question = CostAsk(number, "provider-00000-a", b"x" * 32, ["red", "green", "blue"])
            return await async_ask(question, key=number % 16)

        for name, work in WORKS.items():
            await work(ask, WARM_UP)
            counter = Counter()
            sys._getframe().f_trace_opcodes = True  # else Python 3.12 counts none
            sys.settrace(counter.instruction)
            try:
                await work(ask, COUNTED)
            finally:
                sys.settrace(None)
            sys.setprofile(counter.call)
            try:
                await work(ask, COUNTED)
            finally:
                sys.setprofile(None)
            if by_function is not None:
                rows = by_function[name] = defaultdict(float)
                for code, count in counter.by_function.items():
                    rows[_name(code)] += count / COUNTED
            found[name] = {
                "instructions": round(sum(counter.by_function.values()) / COUNTED, 1),
                "calls": round(counter.calls / COUNTED, 1),
            }
    return found


def measure(by_function: dict[str, dict[str, float]] | None = None) -> dict[str, dict[str, float]]:
    """Return work → counts per ask; ``by_function`` gets work → function → instructions per ask."""
    return asyncio.run(_measure(by_function))


def committed() -> dict[str, dict[str, dict[str, float]]]:
    """Return Python version → work → counts per ask, as committed."""
    found: dict[str, dict[str, dict[str, float]]] = json.loads(FIGURES.read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    functions: dict[str, dict[str, float]] = {}
    counts = measure(functions)
    sys.stdout.write(json.dumps({VERSION: counts}, indent=1) + "\n")
    if "--by-function" in sys.argv:
        for work, rows in functions.items():
            sys.stdout.write(f"{work}\n")
            for function, count in sorted(rows.items(), key=lambda row: -row[1]):
                sys.stdout.write(f"{count:8.1f}  {function}\n")
    if "--write" in sys.argv:
        FIGURES.write_text(
            json.dumps({**committed(), VERSION: counts}, indent=1, sort_keys=True) + "\n", encoding="utf-8"
        )
