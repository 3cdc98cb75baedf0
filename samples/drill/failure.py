"""F: processes that die, stand still, come back; receivers that raise; core actors that are killed."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from typing import Any

from samples.drill.card import Figure, row
from samples.drill.load import Load
from samples.drill.packets import ClockAsk, KillAsk, LookAsk, RelayAsk, WorkAsk
from samples.drill.stage import Members, Stage, TooLateError, until
from zfoo_py import CallError, RemoteError, ZfooError

__all__: list[str] = []

F1_LAST_ERROR_MS = 200.0
F2_SLACK_S = 0.5
F3_BACK_S = 5.0
F7_BACK_S = 3.0
F8_BACK_S = 5.0
F7_CONSUMERS = 50
F10_ANSWER_MS = 50.0
F11_RESTORED_S = 1.0


@row(
    "F1",
    "kill -9 of one of 3 providers under 500 asks/s",
    "last error ≤ 200 ms after the kill; 0 time-outs; 0 later asks to the dead; no more errors than asks on their way",
)
async def killed(stage: Stage) -> Figure:
    """F1."""
    victim, *_ = await stage.members("p1", "p2", "p3")
    node = await stage.consume("work")
    members = Members(node)
    await until(lambda: len(members.now) == 3)
    async with Load(node, how="sleep", seconds=0.02) as load:
        await asyncio.sleep(stage.scale.load_s / 2)
        killed_s = time.monotonic()
        victim.kill()
        await asyncio.sleep(stage.scale.load_s)
    failed = load.failed()
    last_ms = max((told.ended_at_s - killed_s for told in failed), default=0.0) * 1000
    late = [told for told in load.told if told.asked_at_s > killed_s + 0.2 and (told.by == "p1" or told.error)]
    on_their_way = load.in_flight_at(killed_s) + sum(
        killed_s < told.asked_at_s < killed_s + F1_LAST_ERROR_MS / 1000 for told in failed
    )
    ok = last_ms <= F1_LAST_ERROR_MS and not load.timed_out() and not late and len(failed) <= on_their_way
    kinds = Counter(type(told.error).__name__ for told in failed)
    return Figure(
        f"last error after {last_ms:.0f} ms; {len(failed)} errors ({_named(kinds)}), {on_their_way} were on their way; "
        f"{len(load.timed_out())} time-outs; {len(late)} later ones; {len(load.told)} asks",
        ok and len(load.told) > 100,
    )


@row(
    "F2",
    "SIGSTOP of one of 3 providers under 500 asks/s; heartbeat {heartbeat_s} s, wait {heartbeat_s} s",
    "noticed ≤ hb + ht + 0.5 s; its asks end typed; 0 later asks to it",
)
async def stopped(stage: Stage) -> Figure:
    """F2."""
    beat_s = stage.scale.heartbeat_s
    victim, *_ = await stage.members("p1", "p2", "p3")
    node = await stage.consume(
        "work", heartbeat_interval_s=beat_s, heartbeat_timeout_s=beat_s, ask_timeout_s=4 * beat_s + 5
    )
    members = Members(node)
    await until(lambda: len(members.now) == 3)
    async with Load(node) as load:
        await asyncio.sleep(stage.scale.load_s / 2)
        stopped_s = time.monotonic()
        victim.stop()
        try:
            noticed_s = await until(lambda: "p1" not in members.now, 2 * beat_s + 3.0) - stopped_s
        except TooLateError:
            noticed_s = float("inf")
        await asyncio.sleep(0.5)
    ended_s = max((told.ended_at_s - stopped_s for told in load.failed()), default=0.0)
    late = [told for told in load.failed() if told.asked_at_s > stopped_s + noticed_s + 0.1]
    kinds = Counter(type(told.error).__name__ for told in load.failed())
    limit_s = 2 * beat_s + F2_SLACK_S
    return Figure(
        f"noticed after {noticed_s:.2f} s, last error after {ended_s:.2f} s ({_named(kinds)}); {len(late)} later ones",
        noticed_s <= limit_s and ended_s <= limit_s + 0.1 and not late,
    )


@row(
    "F3",
    "SIGCONT after F2, under 500 asks/s; heartbeat {heartbeat_s} s, wait {heartbeat_s} s",
    "0 stale deliveries; back in the ring ≤ 5 s; then 0 errors",
)
async def continued(stage: Stage) -> Figure:
    """F3."""
    beat_s = stage.scale.heartbeat_s
    victim, *_ = await stage.members("p1", "p2", "p3")
    node = await stage.consume("work", heartbeat_interval_s=beat_s, heartbeat_timeout_s=beat_s)
    members = Members(node)
    await until(lambda: len(members.now) == 3)
    async with Load(node):
        victim.stop()
        await until(lambda: "p1" not in members.now)
        await asyncio.sleep(0.5)
        victim.cont()
        continued_s = time.monotonic()
        back_s = await until(lambda: "p1" in members.now) - continued_s
    async with Load(node) as load:
        await asyncio.sleep(stage.scale.load_s)
    stale = [told for told in load.told if told.error is None and not told.by]
    from_it = sum(told.by == "p1" for told in load.told)
    return Figure(
        f"back after {back_s:.2f} s; answered {from_it} of {len(load.told)} asks again, {len(load.failed())} errors",
        back_s <= F3_BACK_S and not load.failed() and not stale and from_it > 0,
    )


@row(
    "F7",
    "a provider killed and started again at its address, 50 consumers connected to it",
    "all back ≤ 3 s after it listens; ≤ 50 connects in any second; spread over ≥ 20 % of the wait",
)
async def restarted(stage: Stage) -> Figure:
    """F7: connects are counted by a proxy between them."""
    first = await stage.member("p1", "work")
    proxy = await stage.proxy(first.address)
    nodes = [await stage.consume("work", addresses=(proxy.address,)) for _ in range(F7_CONSUMERS)]
    members = [Members(node) for node in nodes]
    first.kill()
    await until(lambda: not any(one.now for one in members))
    await proxy.stop()  # as if nobody listened, until somebody does
    started = asyncio.create_task(stage.member("p1", "work", address=first.address))
    again = await started
    proxy.target = again.address
    proxy.accepted_at_s.clear()
    await proxy.start()
    listens_s = time.monotonic()
    try:
        back_s = await until(lambda: all(one.now for one in members), 15.0) - listens_s
    except TooLateError:
        back_s = float("inf")
    came = proxy.accepted_at_s
    busiest = max((sum(at <= other < at + 1.0 for other in came) for at in came), default=0)
    spread_s = max(came, default=0.0) - min(came, default=0.0)
    return Figure(
        f"all back after {back_s:.2f} s; {len(came)} connects, at most {busiest} in 1 s, spread over {spread_s:.2f} s",
        back_s <= F7_BACK_S and busiest <= F7_CONSUMERS and spread_s >= 0.2 * min(back_s, F7_BACK_S),
    )


@row(
    "F8",
    "a consumer process with 50 asks in flight stands still for {stopped_s} s and goes on; heartbeat {heartbeat_s} s, "
    "wait {heartbeat_s} s",
    "every ask ends; then at most one session to each provider, nothing pending, all keys answered ≤ 5 s",
)
async def consumer_stopped(stage: Stage) -> Figure:
    """F8: the relay is harmed; its providers say how many sessions they have."""
    beat: dict[str, Any] = {
        "heartbeat_interval_s": stage.scale.heartbeat_s,
        "heartbeat_timeout_s": stage.scale.heartbeat_s,
    }
    providers = await stage.members("p1", "p2", provides=("work", "orders"), **beat)
    relay = await stage.member("relay", "orders", consumes=("work",), **beat)
    node = await stage.consume("orders", addresses=(relay.address,), **beat)
    looks = [await stage.consume("orders", addresses=(one.address,)) for one in providers]

    async def sessions() -> list[int]:
        return [(await look.consumer.async_ask(LookAsk(), key=None)).sessions for look in looks]

    async def relayed() -> int:
        asks = [node.consumer.async_ask(RelayAsk(f"k{number}"), timeout_s=1.0) for number in range(100)]
        answers = await asyncio.gather(*asks, return_exceptions=True)
        return sum(isinstance(answer, BaseException) or not answer.served_by for answer in answers)

    await relayed()
    before = await sessions()
    asks = [node.consumer.async_ask(RelayAsk(f"k{number}", "sleep", 0.5)) for number in range(50)]
    await asyncio.sleep(0.1)
    relay.stop()
    await asyncio.sleep(stage.scale.stopped_s)
    open_yet = sum(not ask.done() for ask in asks)
    relay.cont()
    continued_s = time.monotonic()
    wrong = 100
    while wrong and time.monotonic() < continued_s + 10.0:
        with suppress(ZfooError):
            wrong = await relayed()
    back_s = time.monotonic() - continued_s
    await asyncio.sleep(1.0)
    after, looked = await sessions(), await node.consumer.async_ask(LookAsk(), key=None)
    return Figure(
        f"{open_yet} of 50 asks open when it went on; all keys answered {back_s:.2f} s later; sessions of the "
        f"providers {before} before, {after} after; {looked.pending} pending, {looked.in_work - 1} in work",
        not open_yet and not wrong and back_s <= F8_BACK_S and after == before and not looked.pending,
    )


@row(
    "F9",
    "the wall clock of every member is set an hour forth, two back, and right again, under 100 asks/s through a relay",
    "0 errors: nothing expires early or hangs",
)
async def clock_set(stage: Stage) -> Figure:
    """F9: by replacing what reads the wall clock in the members, which needs no root."""
    beat: dict[str, Any] = {"heartbeat_interval_s": 0.5, "heartbeat_timeout_s": 0.5}
    providers = await stage.members("p1", "p2", provides=("work", "orders"), **beat)
    relay = await stage.member("relay", "orders", consumes=("work",), ask_timeout_s=1.5, **beat)
    orders = [await stage.consume("orders", addresses=(one.address,)) for one in (*providers, relay)]
    texts: list[str] = []

    async def ask(key: str) -> None:
        try:
            texts.append((await orders[-1].consumer.async_ask(RelayAsk(key, "sleep", 1.2))).text)
        except CallError as error:
            texts.append(type(error).__name__)

    async with asyncio.TaskGroup() as asking:
        for off_s in (0.0, 3600.0, -3600.0, 0.0):
            for one in orders:
                await one.consumer.async_ask(ClockAsk(off_s), key=None)
            for number in range(15):  # for longer than a heartbeat, its wait, or an ask may take
                for each in range(10):
                    asking.create_task(ask(f"k{off_s}-{number}-{each}"))
                await asyncio.sleep(0.1)
    wrong = [text for text in texts if text]
    return Figure(f"{len(wrong)} of {len(texts)} asks failed {wrong[:1]}", not wrong and len(texts) == 600)


@row(
    "F10",
    "receivers raise LookupError, SystemExit, KeyboardInterrupt; 100 of each",
    "typed error at the asker ≤ 50 ms; no framework actor lost; what follows is answered",
)
async def raised(stage: Stage) -> Figure:
    """F10."""
    await stage.member("p1", "work", "orders")
    node = await stage.consume("work", "orders")
    before = (await node.consumer.async_ask(LookAsk(), key=None)).actors
    took_ms, wrong = [], Counter[str]()
    for number in range(100):
        for how in ("raise", "exit", "interrupt"):
            asked_s = time.monotonic()
            try:
                await node.consumer.async_ask(WorkAsk(f"k{number}", how))
                wrong["answered"] += 1
            except RemoteError as error:
                if not error.may_have_run:
                    wrong["may_have_run False"] += 1
            except ZfooError as error:
                wrong[type(error).__name__] += 1
                if wrong.total() > 2:
                    return Figure(f"wrong: {_named(wrong)}", passed=False)
            took_ms.append((time.monotonic() - asked_s) * 1000)
            await node.consumer.async_ask(WorkAsk(f"k{number}"))
    after = (await node.consumer.async_ask(LookAsk(), key=None)).actors
    return Figure(
        f"{len(took_ms)} typed errors, the slowest after {max(took_ms):.1f} ms; wrong: {_named(wrong)}; "
        f"actors before {len(before)}, after {len(after)}",
        max(took_ms) <= F10_ANSWER_MS and not wrong and before == after,
    )


@row(
    "F11",
    "each core actor of a consumer process killed from inside, twice; another process asks 200 keys through it",
    "restored ≤ 1 s; routing equal to before; 0 asks lost",
)
async def core_killed(stage: Stage) -> Figure:
    """F11: what is harmed is the relay; this process asks through it."""
    await stage.members("p1", "p2", "p3")
    await stage.member("relay", "orders", consumes=("work",))
    node = await stage.consume("orders")

    async def routes() -> dict[str, str]:
        keys = [f"k{number}" for number in range(200)]
        answers = await asyncio.gather(*(node.consumer.async_ask(RelayAsk(key), key=key) for key in keys))
        return {answer.key: answer.served_by or answer.text for answer in answers}

    before = await routes()
    slowest_s, other, lost = 0.0, 0, 0
    for core in ("consumer_ref", "registry", "connector", "alerts"):
        for how in ("abort", "raise"):
            await node.consumer.async_ask(KillAsk(core, how), key=None)
            killed_s = time.monotonic()
            try:
                after = await routes()
            except CallError as error:
                return Figure(f"after {core} was killed by {how}: {type(error).__name__}: {error}", passed=False)
            slowest_s = max(slowest_s, time.monotonic() - killed_s)
            lost += sum(":" in served for served in after.values())
            other += sum(served != before[key] for key, served in after.items())
    return Figure(
        f"8 kills: all 200 keys answered within {slowest_s:.3f} s, {other} by another one than before, {lost} lost",
        slowest_s <= F11_RESTORED_S and not other and not lost and len(set(before.values())) == 3,
    )


def _named(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"
