"""O: more than can be done, peers that do not read, asks that wait for each other, asks that nobody waits for."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from samples.drill.card import Figure, row
from samples.drill.hostile import NOISE_MS, Stranger, codec
from samples.drill.load import Load, percentile
from samples.drill.packets import (
    BlockAsk,
    BlockChain0Ask,
    Chain0Ask,
    FloodAsk,
    FloodLookAsk,
    LookAsk,
    WorkAsk,
)
from samples.drill.stage import Members, TooLateError, until
from samples.drill.watched import Watched, settled
from zfoo_py import CallError
from zfoo_py.net.handshake import WIRE_VERSION
from zfoo_py.protocol.attachment import CLIENT_KEYED
from zfoo_py.protocol.common import Hello

if TYPE_CHECKING:
    from samples.drill.stage import Stage

__all__: list[str] = []

O1_LIMIT = 10_000
O1_REFUSED_MS = 1.0
O1_RSS_MIB = 32.0
O2_LIMIT_MS = 100.0
# Fewer are no flood.
O2_MADE = 2_000
O4_PEERS = 4
O4_ASKS = 2_000
O4_ANSWER_BYTES = 64 * 1000
O4_RSS_MIB = 2.0
O4_P99_TIMES = 1.2
O8_LIMIT_MS = 100.0
O9_ASKS = 10_000
O9_DEADLINE_S = 0.1
O9_LATE_MS = 50.0
O9_HANDED_OVER = 0.001
# The deadline travels as the time that is left, so it is later at the other side by the time on the way.
O9_ON_THE_WAY_S = 0.01
O10_ASKS = 100
O10_LIMIT_MS = 50.0
CYCLE = "AskCycleError"
TYPED = {"BackpressureError", "AskTimeoutError", "OverloadedError", "RemoteError", "answered"}
# A RemoteError here is a refusal of the provider: its receivers raise nothing.
REFUSED = ("BackpressureError", "OverloadedError", "RemoteError")


# --- O1, O2


@row(
    "O1",
    "100,000 asks and one-way packets as fast as it goes, at a provider whose receivers take 5 s; at most 10,000 asks "
    "pending",
    "pending ≤ 10,000; refused ≤ 1 ms of work (99 %), typed; RSS of both ≤ + 32 MiB; good client's asks all answered",
)
async def flood(stage: Stage) -> Figure:
    """O1: the provider is flooded; memory is read here, the flooder tells what it was refused."""
    provider = await stage.member("p1", "work")
    flooder = await stage.member("flooder", "orders", consumes=("work",), max_pending_asks=O1_LIMIT)
    node = await stage.consume("work", "orders")
    before = {one.name: one.rss_mib() for one in (provider, flooder)}
    most = dict.fromkeys(before, 0.0)
    deepest = 0
    async with Load(node) as load:
        order = FloodAsk(10 * O1_LIMIT, 0.0, "sleep", 5.0, batch=16, keys=O1_LIMIT, note_every=2)
        await node.consumer.async_ask(order, key=None)
        while True:
            for one in (provider, flooder):
                most[one.name] = max(most[one.name], one.rss_mib() - before[one.name])
            looked = await node.consumer.async_ask(LookAsk(), key=None)
            flooded = await node.consumer.async_ask(FloodLookAsk(), key=None)
            deepest = max(deepest, looked.pending)
            if flooded.is_over:
                break
            await asyncio.sleep(0.02)
    unknown = flooded.ends.keys() - TYPED
    refused = sum(flooded.ends.get(end, 0) for end in REFUSED)
    return Figure(
        f"{flooded.made} made: {flooded.ends}, {flooded.open} open, at most {deepest} pending; 99 % refused within "
        f"{flooded.busy_ms:.2f} ms of work, {flooded.refused_ms:.2f} ms by the clock; "
        f"RSS {most['p1']:+.1f} and {most['flooder']:+.1f} MiB; {load.failures()}",
        deepest <= O1_LIMIT
        and flooded.busy_ms <= O1_REFUSED_MS
        and refused > O1_LIMIT
        and not unknown
        and max(most.values()) <= O1_RSS_MIB
        and not load.failed(),
    )


@row(
    "O2",
    "one-way packets faster than they can be written, 200 a turn of the loop; "
    "meanwhile one of its other providers is killed; then SIGTERM to the flooder",
    "the flooder knows of the loss ≤ 100 ms, and is gone from its own consumers ≤ 100 ms",
)
async def control(stage: Stage) -> Figure:
    """O2: both are seen from this process."""
    _, victim, _ = await stage.members("p1", "p2", "p3")
    flooder = await stage.member("flooder", "orders", consumes=("work",), max_pending_asks=O1_LIMIT)
    node = await stage.consume("orders")
    members = Members(node, "orders")
    await until(lambda: "flooder" in members.now)
    order = FloodAsk(0, 60.0, batch=200, note_every=1)
    await node.consumer.async_ask(order, key=None)
    await asyncio.sleep(0.5)
    killed_s = time.monotonic()
    victim.kill()
    known_ms = float("inf")
    with suppress(TimeoutError):
        async with asyncio.timeout(5.0):
            while True:
                if "p2" not in (await node.consumer.async_ask(LookAsk(), key=None)).providers:
                    break
            known_ms = (time.monotonic() - killed_s) * 1000
    flooded = await node.consumer.async_ask(FloodLookAsk(), key=None)
    asked_s = time.monotonic()
    flooder.term()
    try:
        gone_ms = (await until(lambda: "flooder" not in members.now, 5.0) - asked_s) * 1000
    except TooLateError:
        gone_ms = float("inf")
    return Figure(
        f"known after {known_ms:.0f} ms, gone after {gone_ms:.0f} ms; {flooded.made} made, {flooded.open} open",
        known_ms <= O2_LIMIT_MS and gone_ms <= O2_LIMIT_MS and flooded.made > O2_MADE,
    )


# --- O4


@row(
    "O4",
    "2 nodes and 2 clients that ask 2,000 times for 64 KB each and read nothing",
    "the provider's RSS ≤ + 2 MiB each (the outbox' mark and 1 MiB); "
    "others' p99 (of quarter seconds, median) ≤ 1.2 times that before (or ≤ 10 ms)",
)
async def deaf(stage: Stage) -> Figure:
    """O4."""
    member = await stage.member("p1", "work", "orders")
    node = await stage.consume("work", "orders")
    await asyncio.gather(*(node.consumer.async_ask(WorkAsk(f"k{n}", size=O4_ANSWER_BYTES)) for n in range(50)))
    async with Load(node) as quiet:
        await asyncio.sleep(stage.scale.load_s)
    before = await Watched.look(member, node)
    head = codec.encode(WorkAsk("deaf", size=O4_ANSWER_BYTES))
    most_mib = 0.0
    deaf_ones = []
    for number in range(O4_PEERS):
        stranger = await Stranger.connect(member.address)
        stranger.writer.transport.pause_reading()  # type: ignore[attr-defined]
        kind = "node" if number % 2 else "client"
        hello = Hello(WIRE_VERSION, kind, f"deaf-{number}", "", 2 * 1024 * 1024, consumes=["work-work"])
        stranger.say(codec.one_way_frame(codec.encode(hello), None))
        for signal_id in range(1, O4_ASKS + 1):
            stranger.say(codec.ask_frame(head, signal_id, CLIENT_KEYED, signal_id, 60_000))
        deaf_ones.append(stranger)
    async with Load(node) as load:
        until_s = time.monotonic() + stage.scale.load_s
        while time.monotonic() < until_s:
            most_mib = max(most_mib, member.rss_mib() - before.rss_mib)
            await asyncio.sleep(0.02)
    quiet_ms, loud_ms = quiet.p99_ms(), load.p99_ms()
    during = await Watched.look(member, node)
    for stranger in deaf_ones:
        stranger.writer.transport.abort()
    after = await settled(member, node, before)
    return Figure(
        f"RSS at most {most_mib / O4_PEERS:+.1f} MiB each, {during.sessions - before.sessions} sessions kept; others' "
        f"p99 {quiet_ms:.1f} ms before, {loud_ms:.1f} ms beside them; {load.failures()}; afterwards "
        f"{after.more_than(before)}",
        most_mib <= O4_RSS_MIB * O4_PEERS
        and loud_ms <= max(O4_P99_TIMES * quiet_ms, NOISE_MS)
        and not load.failed()
        and after.is_no_more_than(before),
    )


# --- O8


@row(
    "O8",
    "a asks a, a asks b asks a, a asks b asks c asks a: awaited, and blocking; in one lane, and blocking in lanes of "
    "their own with one worker a node; 20 of each",
    "AskCycleError ≤ 100 ms, naming the path; 0 hung threads; other keys answered",
)
async def circles(stage: Stage) -> Figure:
    """O8: each member is a process; this one asks the first."""
    links = ("link0", "link1", "link2")
    names = ("a", "b", "c")
    members = await asyncio.gather(
        *(
            stage.member(name, link, "orders", consumes=links, workers=1, ready_timeout_s=20.0)
            for name, link in zip(names, links, strict=True)
        )
    )
    node = await stage.consume("link0", "link1", "link2")
    await asyncio.gather(*(node.consumer.async_ask(BlockChain0Ask(f"warm{n}", [1, 2])) for n in range(3)))
    threads = [one.handles()[1] for one in members]
    took_ms: list[float] = []
    ends: Counter[str] = Counter()
    others: Counter[str] = Counter()
    done = False

    async def beside() -> None:
        while not done:
            try:
                await node.consumer.async_ask(Chain0Ask("other", [1, 2]), timeout_s=1.0)
                others["answered"] += 1
            except CallError as error:
                others[type(error).__name__] += 1
            await asyncio.sleep(0.005)

    asking = asyncio.create_task(beside())
    for path in ([0], [1, 0], [1, 2, 0]):
        for what, packet in (
            ("awaited", Chain0Ask("k", path)),
            ("blocking", BlockChain0Ask("k", path)),
            ("workers", BlockChain0Ask("k", path, fresh=True)),
        ):
            for _ in range(20):
                begun_s = time.monotonic()
                end = await circle(node, packet)
                took_ms.append((time.monotonic() - begun_s) * 1000)
                if end != CYCLE:
                    ends[f"{what}, {len(path)}: {end}"] += 1
                    break  # the others would end by their deadlines, too, one after the other
                ends[CYCLE] += 1
    done = True
    await asking
    hung = [now - before for now, before in zip((one.handles()[1] for one in members), threads, strict=True)]
    return Figure(
        f"{dict(ends)}; slowest after {max(took_ms):.0f} ms; threads {hung}; beside them {dict(others)}",
        set(ends) == {CYCLE} and max(took_ms) <= O8_LIMIT_MS and not any(hung) and set(others) == {"answered"},
    )


async def circle(node: Any, packet: Any) -> str:
    """Ask; return "AskCycleError" if the answer says that, and names each member on the path; else what it says."""
    names = {"abc"[0], *("abc"[link] for link in packet.path)}
    try:
        text = (await node.consumer.async_ask(packet, timeout_s=5.0)).text
    except CallError as error:
        text = f"{type(error).__name__}: {error}"
    kind, _, said = text.partition(": ")
    if kind == CYCLE and all(name in said for name in names):
        return CYCLE
    return f"{kind} {said[:80]!r}"


# --- O9, O10


@row(
    "O9",
    "10,000 asks with 100 ms to go, in one session, at a provider whose 4 workers take 50 ms for each; "
    "100 at once, each 20 ms",
    "lateness p99 ≤ 50 ms; ≤ 0.1 % of those that get no answer handed over after their deadline (and 10 ms on the way)",
)
async def expired(stage: Stage) -> Figure:
    """O9."""
    member = await stage.member("p1", "work", "orders", workers=4)
    node = await stage.consume("work", "orders")
    deadlines: dict[str, float] = {}
    late_ms: list[float] = []
    ends: Counter[str] = Counter()

    async def ask(key: str) -> None:
        deadlines[key] = time.monotonic() + O9_DEADLINE_S
        try:
            await node.consumer.async_ask(BlockAsk(key, 0.05), timeout_s=O9_DEADLINE_S)
            ends["answered"] += 1
        except CallError as error:
            ends[type(error).__name__] += 1
        late_ms.append((time.monotonic() - deadlines[key]) * 1000)

    async with asyncio.TaskGroup() as group:
        for number in range(O9_ASKS):
            group.create_task(ask(f"k{number}"))
            if number % 100 == 0:
                await asyncio.sleep(0.02)
    with suppress(TooLateError):
        await until(lambda: _age_s(member.begun()) > 1.0, 10.0, 0.1)
    begun = {key: at_s for key, at_s, _ in member.begun()}
    handed = [key for key, at_s in begun.items() if at_s > deadlines[key] + O9_ON_THE_WAY_S]
    gone = O9_ASKS - ends["answered"]
    looked = await node.consumer.async_ask(LookAsk(), key=None)
    return Figure(
        f"{dict(ends)}; lateness p99 {percentile(late_ms, 0.99):.1f} ms; {len(begun)} begun, {len(handed)} too late; "
        f"afterwards {looked.in_work - 1} in work",
        percentile(late_ms, 0.99) <= O9_LATE_MS
        and len(handed) <= O9_HANDED_OVER * gone
        and gone > 0.9 * O9_ASKS
        and looked.in_work == 1,
    )


def _age_s(begun: list[tuple[str, float, str]]) -> float:
    return time.monotonic() - max((at_s for _, at_s, _ in begun), default=0.0)


@row(
    "O10",
    "100 asks cancelled at once, 100 after they were written, 100 after their receivers began",
    "0 receivers of the first begin; the others' are told ≤ 50 ms after; then nothing is in work",
)
async def cancelled(stage: Stage) -> Figure:
    """O10."""
    member = await stage.member("p1", "work", "orders")
    node = await stage.consume("work", "orders")
    figures, passed = [], True
    warm = node.consumer.async_ask(WorkAsk("warm"))
    for when in ("at once", "written", "begun"):
        answers = []
        at_s = time.monotonic()
        for number in range(O10_ASKS):
            if when == "at once" and number % 8 == 0:  # fewer than are written before the turn ends
                await node.consumer.async_ask(WorkAsk("warm"))
                warm = node.consumer.async_ask(WorkAsk("warm"))  # the first of a turn is written by itself
            answers.append(node.consumer.async_ask(WorkAsk(f"{when[:2]}{number}", "sleep", 30.0), timeout_s=60.0))
            if when == "at once":
                answers[-1].cancel()
        if when == "written":
            await asyncio.sleep(0.001)
        elif when == "begun":
            await until(lambda: sum(key.startswith("be") for key, _, _ in member.begun()) == O10_ASKS)
        if when != "at once":
            at_s = time.monotonic()
        for answer in answers:
            answer.cancel()
        await asyncio.gather(warm, *answers, return_exceptions=True)
        freed_ms = float("inf")
        with suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                while True:
                    if (await node.consumer.async_ask(LookAsk(), key=None)).in_work == 1:
                        break
                freed_ms = (time.monotonic() - at_s) * 1000
        lines = [(key, line_s) for key, line_s, _ in member.begun() if key.startswith(when[:2])]
        keys = [key for key, _ in lines]
        told = sum(key.endswith(".cancelled") for key in keys)
        told_ms = (max((line_s for _, line_s in lines), default=at_s) - at_s) * 1000
        passed = passed and told_ms <= O10_LIMIT_MS and freed_ms < float("inf") and 2 * told == len(keys)
        passed = passed and {"at once": not keys, "written": True, "begun": told == O10_ASKS}[when]
        figures.append(
            f"{when}: {len(keys) - told} began, {told} told within {told_ms:.0f} ms, seen free after {freed_ms:.0f}"
        )
    return Figure("; ".join(figures), passed)
