"""D: providers leave in order, under load, with work in hand and without."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

from samples.drill.card import Figure, row
from samples.drill.load import Load
from samples.drill.packets import CrowdAsk, ForkAsk, RelayAsk, WorkAsk
from samples.drill.stage import Members, Stage, until
from samples.drill.watched import Watched, settled
from zfoo_py import AskTimeoutError, CallError

__all__: list[str] = []

EXIT_LIMIT_S = 2.0
D7_HELD_MS = 50.0


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


@row(
    "D3",
    "SIGTERM to a consumer with 50 asks in flight that take {work_s} s; drain limit {drain_s} s",
    "ends ≤ limit + 2 s with 0; its asks are answered; the provider has as many sessions as before it came",
)
async def consumer_leaves(stage: Stage) -> Figure:
    """D3: the relay leaves; this process asked through it."""
    provider = await stage.member("p1", "work", "orders")
    look = await stage.consume("orders", addresses=(provider.address,))
    before = await Watched.look(provider, look)
    drain_s = max(stage.scale.drain_s, stage.scale.work_s + 1.0)
    relay = await stage.member("relay", "orders", consumes=("work",), drain_timeout_s=drain_s)
    node = await stage.consume("orders", addresses=(relay.address,), ask_timeout_s=drain_s + 5.0)
    asks = [node.consumer.async_ask(RelayAsk(f"k{n}", "sleep", stage.scale.work_s)) for n in range(50)]
    await until(lambda: len(provider.begun()) == 50)
    asked_s = time.monotonic()
    relay.term()
    try:
        code = await relay.exit_code(drain_s + EXIT_LIMIT_S + 5.0)
    except TimeoutError:
        return Figure("it has not ended", passed=False)
    took_s = time.monotonic() - asked_s
    ends = Counter(
        type(end).__name__ if isinstance(end, BaseException) else end.served_by or end.text
        for end in await asyncio.gather(*asks, return_exceptions=True)
    )
    after = await settled(provider, look, before)
    return Figure(
        f"ended after {took_s:.2f} s with {code}; its asks: {dict(ends)}; the provider: {after.more_than(before)}",
        code == 0 and took_s <= drain_s + EXIT_LIMIT_S and ends == {"p1": 50} and after.is_no_more_than(before),
    )


@row(
    "D6",
    "a member with open sessions forks {forks} times, under 500 asks/s; each child asks with its parent's node",
    "each child gets ForkedError at once; 0 hangs; 0 asks of the parent fail",
)
async def forks(stage: Stage) -> Figure:
    """D6: the children's exit codes say what they got."""
    member = await stage.member("p1", "work", "orders")
    await stage.member("p2", "work")
    relay = await stage.member("relay", "orders", consumes=("work",))
    node = await stage.consume("work", "orders", addresses=(member.address,))
    through = await stage.consume("orders", addresses=(relay.address,))
    async with Load(node) as load:
        ends = [
            (await one.consumer.async_ask(ForkAsk(stage.scale.forks), key=None, timeout_s=30.0)).text
            for one in (through, through)
        ]
        after = await asyncio.gather(*(through.consumer.async_ask(RelayAsk(f"k{n}")) for n in range(100)))
    wrong = sum(not answer.served_by for answer in after)
    wanted = repr({"ForkedError": stage.scale.forks})
    return Figure(
        f"children: {' and '.join(ends)}; {load.failures()}; {wrong} of 100 asks of the parent afterwards",
        ends == [wanted, wanted] and not load.failed() and not wrong,
    )


@row(
    "D7",
    "one node asked from two event loops in threads of their own and two blocking threads at once, for {load_s} s",
    "0 failed or crossed; no loop held > 50 ms; 0 errors in its log",
)
async def crowd(stage: Stage) -> Figure:
    """D7."""
    await stage.members("p1", "p2")
    member = await stage.member("crowd", "orders", consumes=("work",), log=True)
    node = await stage.consume("orders")
    order = CrowdAsk(stage.scale.load_s)
    text = (await node.consumer.async_ask(order, key=None, timeout_s=stage.scale.load_s + 20.0)).text
    held_ms, _, ends = text.partition(" ")
    wrong = [line for _, line in member.log if "ERROR" in line or "Traceback" in line or "WARNING" in line]
    return Figure(
        f"{ends}; a loop was held {held_ms} ms at most; {len(wrong)} lines of trouble in its log",
        ends.startswith("{'answered': ") and "," not in ends and float(held_ms) <= D7_HELD_MS and not wrong,
    )


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
