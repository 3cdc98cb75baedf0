"""Y: faults of ZooKeeper under 500 asks a second, in a cluster of processes."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

from samples.drill.card import Figure
from samples.drill.load import Load
from samples.drill.member import Work
from samples.drill.packets import MODULES, TABLE
from samples.drill.stage import Members, until
from samples.registry.stage import Eye, RegistryStage, expire
from zfoo_py import Node, SessionClosedError
from zfoo_py.consumer.messages import Target
from zfoo_py.events import SessionActive
from zfoo_py.testing.proxy import Direction
from zfoo_py.testing.zookeeper import free_ports

__all__ = ["ROWS"]

Play = Callable[[RegistryStage], Awaitable[Figure]]
ROWS: dict[str, tuple[str, str, Play]] = {}

Y1_BACK_S = 2.0
Y2_JOINED_S = 5.0
Y3_BACK_S = 10.0
Y4_BACK_S = 5.0
CUTS: tuple[Direction, Direction] = ("in", "out")
Y7_CONVERGED_S = 5.0
Y7_PROVIDERS = 200
Y7_CONNECTS_PER_S = 50
# The errors that a kill causes end with the connection; what fails later was asked of the living.
LAST_ERROR_S = 0.5


def row(id: str, what: str, bar: str) -> Callable[[Play], Play]:
    """Put a function on the card."""

    def enter(play: Play) -> Play:
        ROWS[id] = (what, bar, play)
        return play

    return enter


async def when(look: Callable[[], Awaitable[bool]], limit_s: float = 30.0) -> float:
    """Wait until a look at ZooKeeper says so; return after how many seconds, infinity if it never does."""
    start_s = time.monotonic()
    while time.monotonic() - start_s < limit_s:
        try:
            if await look():
                return time.monotonic() - start_s
        except Exception:  # noqa: BLE001, S110 - it is away; look again
            pass
        await asyncio.sleep(0.02)
    return float("inf")


async def three(stage: RegistryStage, **more: Any) -> tuple[Node, Members]:
    """Start p1, p2, p3 and a consumer."""
    await stage.members("p1", "p2", "p3", **more)
    node = await stage.consume("work")
    members = Members(node)
    await until(lambda: len(members.now) == 3)
    members.changed_at_s.clear()
    return node, members


@row(
    "Y1",
    "session expiry: the consumer's by a duplicate session, each provider's by a cut of its way to ZooKeeper",
    "0 failed asks; 0 ring changes; nodes back ≤ 2 s after CONNECTED",
)
async def expiry(stage: RegistryStage) -> Figure:
    """Y1."""
    times = stage.times
    proxy = await stage.proxy(stage.server.address)
    node, members = await three(stage, through=(proxy.address,))
    eye = await stage.eye()
    before = await eye.owners()
    async with Load(node) as load:
        await asyncio.sleep(times.load_s)
        await expire(node)
        await asyncio.sleep(times.load_s)
        proxy.drop()
        gone_s = await when(lambda: _has(eye, 0), 3 * times.session_s)
        proxy.heal()
        proxy.reset()  # as the providers' own time-out would do it a little later
        back_s = await when(lambda: _has(eye, 3))
        await asyncio.sleep(times.load_s)
    after = await eye.owners()
    new = sum(after.get(name) not in {None, owner} for name, owner in before.items())
    changes = len(members.changed_at_s)
    return Figure(
        f"{load.failures()}; {changes} ring changes; the providers' nodes expired {gone_s:.1f} s after the cut and "
        f"were back {back_s:.2f} s after it healed, {new} of 3 in new sessions",
        not load.failed() and not changes and back_s <= Y1_BACK_S and new == 3,
    )


@row(
    "Y2",
    "ZooKeeper killed for {down_s:g} s; a provider starts meanwhile",
    "0 failed asks; no provider removed; the new one joined ≤ 5 s after the return",
)
async def down(stage: RegistryStage) -> Figure:
    """Y2."""
    node, members = await three(stage)
    async with Load(node) as load:
        await asyncio.sleep(stage.times.load_s)
        await asyncio.to_thread(stage.server.kill)
        await stage.member("p4", "work")
        await asyncio.sleep(stage.times.down_s)
        during = len(members.changed_at_s)
        await asyncio.to_thread(stage.server.restart)
        back_s = time.monotonic()
        joined_s = await until(lambda: len(members.now) == 4, 30.0) - back_s
        await asyncio.sleep(stage.times.session_s)  # nothing else is to happen when old sessions expire
    fewest = min((len(now) for _, now in members.changed_at_s), default=3)
    return Figure(
        f"{load.failures()}; {during} ring changes while it was away; the new provider joined after {joined_s:.2f} s; "
        f"never fewer than {fewest} providers",
        not load.failed() and not during and joined_s <= Y2_JOINED_S and fewest >= 3,
    )


@row(
    "Y3",
    "ZooKeeper killed, its data directory removed, started again",
    "0 failed asks; paths and nodes there again ≤ 10 s",
)
async def wiped(stage: RegistryStage) -> Figure:
    """Y3."""
    node, members = await three(stage)
    async with Load(node) as load:
        await asyncio.sleep(stage.times.load_s)
        await asyncio.to_thread(stage.server.wipe)
        await asyncio.to_thread(stage.server.restart)
        start_s = time.monotonic()
        eye = await stage.eye()
        await when(lambda: _has(eye, 3))
        back_s = time.monotonic() - start_s
        await asyncio.sleep(stage.times.session_s)
    changes = len(members.changed_at_s)
    return Figure(
        f"{load.failures()}; {changes} ring changes; all there again after {back_s:.2f} s",
        not load.failed() and not changes and back_s <= Y3_BACK_S,
    )


@row(
    "Y4",
    "kill -9 of a provider, started again at its address inside the session time-out of {session_s:g} s",
    "0 failed asks on other sessions; one node, of the new session, ≤ 5 s; it stays",
)
async def restarted(stage: RegistryStage) -> Figure:
    """Y4."""
    (port,) = free_ports(1)
    victim = await stage.member("p1", "work", address=f"127.0.0.1:{port}")
    await stage.members("p2", "p3")
    node = await stage.consume("work")
    members = Members(node)
    await until(lambda: len(members.now) == 3)
    members.changed_at_s.clear()
    eye = await stage.eye()
    old = (await eye.owners())["p1"]
    async with Load(node) as load:
        await asyncio.sleep(stage.times.load_s)
        killed_s = time.monotonic()
        victim.kill()
        await victim.exit_code()
        await stage.member("p1", "work", address=f"127.0.0.1:{port}")
        await when(lambda: _is_new(eye, "p1", old))
        owned_s = time.monotonic() - killed_s
        new = (await eye.owners())["p1"]
        served_s = await until(lambda: len(members.now) == 3) - killed_s
        await asyncio.sleep(2 * stage.times.session_s)  # the old session has expired by now
    owners = await eye.owners()
    others = [
        told
        for told in load.failed()
        if not (isinstance(told.error, SessionClosedError) and told.asked_at_s < killed_s + LAST_ERROR_S)
    ]
    return Figure(
        f"{len(others)} of {len(load.told)} asks failed on living sessions, {len(load.failed())} with the killed one; "
        f"its node was of the new session after {owned_s:.2f} s, in the ring after {served_s:.2f} s, and stayed",
        not others and owned_s <= Y4_BACK_S and owners.get("p1") == new and len(owners) == 3,
    )


@row(
    "Y5",
    "cut between the consumer and ZooKeeper; one provider and ZooKeeper; one provider and the consumer; one side each",
    "0 failed asks; 0 failed asks; the third: noticed by heartbeat, then 0 failed asks",
)
async def partitions(stage: RegistryStage) -> Figure:
    """Y5."""
    times, beat_s = stage.times, stage.scale.heartbeat_s
    (port,) = free_ports(1)
    to_p1 = await stage.proxy(f"127.0.0.1:{port}")
    p1_way, my_way = await stage.proxy(stage.server.address), await stage.proxy(stage.server.address)
    await stage.member(
        "p1", "work", address=f"127.0.0.1:{port}", announce_address=to_p1.address, through=(p1_way.address,)
    )
    await stage.members("p2", "p3")
    node = await stage.consume(
        "work", addresses=(my_way.address,), heartbeat_interval_s=beat_s, heartbeat_timeout_s=beat_s
    )
    members = Members(node)
    await until(lambda: len(members.now) == 3)
    members.changed_at_s.clear()
    eye = await stage.eye()
    figures, passed = [], True
    for what, proxy in (("consumer", my_way), ("provider", p1_way)):
        for direction in CUTS:
            async with Load(node) as load:
                proxy.drop(direction)
                await asyncio.sleep(1.5 * times.session_s)
                proxy.heal()
                await asyncio.sleep(times.load_s)
                await when(lambda: _has(eye, 3))
            passed = passed and not load.failed()
            figures.append(f"{what}-ZooKeeper {direction}: {len(load.failed())} of {len(load.told)} failed")
    changes = len(members.changed_at_s)
    async with Load(node, how="answer") as load:
        cut_s = time.monotonic()
        to_p1.drop("out")
        noticed_s = await until(lambda: "p1" not in members.now) - cut_s
        await asyncio.sleep(times.load_s)
    late = [told for told in load.failed() if told.asked_at_s > cut_s + noticed_s + 0.1]
    passed = passed and not changes and not late and noticed_s <= 2 * beat_s + 0.5
    figures.append(f"provider-consumer: noticed after {noticed_s:.2f} s, then {len(late)} failed")
    return Figure(f"{'; '.join(figures)}; {changes} ring changes before the third", passed)


@row(
    "Y6",
    "malformed, huge (to 900 kB), duplicate names and unknown data, written again and again for {down_s:g} s",
    "0 crashes; 0 failed asks; ≤ 1 log line per node and minute",
)
async def strange(stage: RegistryStage) -> Figure:
    """Y6."""
    from loguru import logger  # noqa: PLC0415 - this row reads the log

    node, members = await three(stage)
    eye = await stage.eye()
    (p1,) = [provider for provider in await eye.names() if provider.startswith("p1")]
    names = ["x", "a | b | provider:[work]", "é | \u2028 | provider:[work-work]", "y" * 900_000, "z" * 5000, f"{p1} "]
    nodes = [(name, b"") for name in names] + [
        ("v | 127.0.0.1:1 | provider:[work-work]", b'{"weight": 99}'),
        ("w | 127.0.0.1:1 | provider:[work-work]", b"\x00\x01"),
    ]
    lines: list[str] = []
    sink = logger.add(lambda line: lines.append(str(line)), level="WARNING", format="{message}")
    logger.enable("zfoo_py")
    try:
        async with Load(node) as load:
            end_s = time.monotonic() + stage.times.down_s
            while time.monotonic() < end_s:
                for name, data in nodes:
                    try:
                        await eye.put(name, data)
                    except Exception:  # noqa: BLE001, S112 - it stands already, or ZooKeeper refuses it itself
                        continue
                await asyncio.sleep(1.0)
    finally:
        logger.disable("zfoo_py")
        logger.remove(sink)
    skipped = [line for line in lines if "is skipped" in line]
    serves = await asyncio.to_thread(stage.server.serves)
    return Figure(
        f"{load.failures()}; {len(members.changed_at_s)} ring changes; {len(skipped)} lines for {len(nodes)} nodes, "
        f"the longest of {max(map(len, lines), default=0)} characters",
        not load.failed() and not members.changed_at_s and 0 < len(skipped) <= len(nodes) and serves,
    )


@row(
    "Y7",
    f"{Y7_PROVIDERS} providers register within a second",
    "converged ≤ 5 s; 0 duplicate sessions; ≤ 50 connects in any second",
)
async def crowd(stage: RegistryStage) -> Figure:
    """Y7."""
    node, members = await three(stage)
    eye = await stage.eye()
    opened: list[float] = []
    node.events.subscribe(SessionActive, lambda _: opened.append(time.monotonic()))
    connector: Any = node._engine.connector.actor  # type: ignore[union-attr]  # noqa: SLF001
    dialled: list[float] = []
    dial = connector._open  # noqa: SLF001

    def count_and_dial(target: Target) -> None:
        dialled.append(time.monotonic())
        dial(target)

    connector._open = count_and_dial  # noqa: SLF001
    nodes = [
        Node(
            id=f"q{number}",
            provides=[MODULES["work"]],
            receivers=[Work(f"q{number}", os.devnull)],
            discovery={"kind": "static", "addresses": ["127.0.0.1:1"]},
            table=TABLE,
        )
        for number in range(Y7_PROVIDERS)
    ]
    try:
        for one in nodes:
            await one.__aenter__()
        start_s = time.monotonic()
        await asyncio.gather(*(eye.put(one._engine._registration_text) for one in nodes))  # type: ignore[union-attr]  # noqa: SLF001
        registered_s = time.monotonic() - start_s
        converged_s = await until(lambda: len(members.now) == Y7_PROVIDERS + 3, 30.0) - start_s
        await asyncio.sleep(1.0)
        connector._open = dial  # noqa: SLF001 - what comes now is their end
    finally:
        for one in nodes:
            await one.stop()
    most = max(sum(at_s <= other < at_s + 0.999 for other in dialled) for at_s in dialled)
    return Figure(
        f"registered within {registered_s:.2f} s, converged after {converged_s:.2f} s; {len(opened)} sessions opened, "
        f"{len(dialled)} connects, at most {most} in a second",
        converged_s <= Y7_CONVERGED_S and len(opened) == Y7_PROVIDERS and most <= Y7_CONNECTS_PER_S,
    )


async def _has(eye: Eye, count: int) -> bool:
    return len(await eye.owners()) == count


async def _is_new(eye: Eye, name: str, old: int) -> bool:
    return (await eye.owners()).get(name, old) != old
