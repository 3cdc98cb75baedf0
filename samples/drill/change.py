"""D: providers leave in order, under load, with work in hand and without."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

from samples.drill.card import Figure, row
from samples.drill.load import Load
from samples.drill.packets import WorkAsk
from samples.drill.stage import Members, Stage, until
from zfoo_py import AskTimeoutError, CallError

__all__: list[str] = []

EXIT_LIMIT_S = 2.0


@row(
    "D1",
    "SIGTERM and restart of each of 3 providers in turn, under 500 asks/s; receivers take up to {work_s} s",
    "0 failed asks",
)
async def rolling(stage: Stage) -> Figure:
    """D1."""
    running = {one.name: one for one in await stage.members("p1", "p2", "p3")}
    node = await stage.consume("work", ask_timeout_s=stage.scale.work_s + 5.0)
    members = Members(node)
    await until(lambda: len(members.now) == 3)
    codes = []
    async with Load(node, how="sleep", seconds=stage.scale.work_s) as load:
        await asyncio.sleep(0.5)
        for name, member in running.items():
            member.term()
            codes.append(await member.exit_code(stage.scale.drain_s + 15.0))
            await stage.member(name, "work")
            await until(lambda: len(members.now) == 3)
            await asyncio.sleep(stage.scale.load_s / 3)
    kinds = Counter(type(told.error).__name__ for told in load.failed())
    return Figure(
        f"{len(load.failed())} of {len(load.told)} asks failed ({dict(kinds)}); exit codes {codes}",
        not load.failed() and codes == [0, 0, 0],
    )


@row(
    "D2",
    "SIGTERM with work in hand that takes 60 s; drain limit {drain_s} s",
    "ends ≤ limit + 2 s; each ask ends typed, at the latest then",
)
async def over_the_limit(stage: Stage) -> Figure:
    """D2."""
    member = await stage.member("p1", "work", drain_timeout_s=stage.scale.drain_s)
    node = await stage.consume("work", ask_timeout_s=90.0)
    answers = [node.consumer.async_ask(WorkAsk(f"k{number}", "sleep", 60.0)) for number in range(50)]
    await until(lambda: len(member.begun()) == 50)
    asked_s = time.monotonic()
    member.term()
    limit_s = stage.scale.drain_s + EXIT_LIMIT_S
    try:
        code = await member.exit_code(limit_s + 5.0)
        took_s = time.monotonic() - asked_s
        ends = await asyncio.wait_for(asyncio.gather(*answers, return_exceptions=True), 2.0)
    except TimeoutError:
        return Figure(f"not ended {limit_s + 5.0:.0f} s after SIGTERM", passed=False)
    kinds = Counter(type(end).__name__ for end in ends)
    typed = all(isinstance(end, CallError) and not isinstance(end, AskTimeoutError) for end in ends)
    return Figure(f"ended after {took_s:.2f} s with {code}; the asks: {dict(kinds)}", took_s <= limit_s and typed)


@row("D8", "SIGTERM with live sessions and no work in hand, 5 times", "exit code 0 within 2 s, every time")
async def at_rest(stage: Stage) -> Figure:
    """D8."""
    took_s, codes = [], []
    for number in range(5):
        member = await stage.member(f"p{number}", "work")
        node = await stage.consume("work")
        await node.consumer.async_ask(WorkAsk("k"))
        asked_s = time.monotonic()
        member.term()
        try:
            codes.append(await member.exit_code(EXIT_LIMIT_S + 3.0))
        except TimeoutError:
            return Figure(f"not ended {EXIT_LIMIT_S + 3.0:.0f} s after SIGTERM", passed=False)
        took_s.append(time.monotonic() - asked_s)
    return Figure(
        f"the slowest after {max(took_s):.2f} s; codes {codes}", max(took_s) <= EXIT_LIMIT_S and not any(codes)
    )
