"""M: what is left when a great many asks and connections have come to their end."""

from __future__ import annotations

import asyncio
import time

from samples.drill.card import Figure, row
from samples.drill.hostile import Stranger, codec
from samples.drill.packets import Answered, FloodAsk, FloodLookAsk, LookAsk, RelayAsk, WorkAsk
from samples.drill.stage import Stage
from samples.drill.watched import Watched, settled
from zfoo_py.protocol.attachment import CLIENT_KEYED

__all__: list[str] = []

M2_RELAYED = 500
M3_RSS_MIB = 8.0
M3_WARM = 300
AT_ONCE = 16


@row(
    "M2",
    "{asks} asks of one process, each answered {late_s} s late by a proxy between; time-out {flood_timeout_s} s",
    "every ask ends; pending back to 0 ≤ 1 s after the last deadline; 0 crossed answers, then and later",
)
async def late_answers(stage: Stage) -> Figure:
    """M2: the relay is harmed; this process asks it what is pending, and through it."""
    scale = stage.scale
    provider = await stage.member("p1", "work")
    proxy = await stage.proxy(provider.address)
    relay = await stage.member(
        "relay", "orders", consumes=("work",), through=(proxy.address,), heartbeat_timeout_s=2 * scale.late_s + 5.0
    )
    node = await stage.consume("orders", addresses=(relay.address,))

    async def relayed() -> int:
        keys = [f"k{number}" for number in range(M2_RELAYED)]
        answers = await asyncio.gather(*(node.consumer.async_ask(RelayAsk(key), key=key) for key in keys))
        return sum(answer.key != key or answer.served_by != "p1" for key, answer in zip(keys, answers, strict=True))

    wrong = await relayed()
    proxy.delay(scale.late_s, "out")
    flood = FloodAsk(scale.asks, 0.0, timeout_s=scale.flood_timeout_s)
    await node.consumer.async_ask(flood, key=None)
    most = 0
    while True:
        looked = await node.consumer.async_ask(LookAsk(), key=None)
        flooded = await node.consumer.async_ask(FloodLookAsk(), key=None)
        most = max(most, looked.pending)
        if flooded.is_over:
            break
        await asyncio.sleep(0.05)
    over_s = time.monotonic()
    limit_s = scale.flood_timeout_s + 1.0
    while (looked.pending or flooded.open) and time.monotonic() < over_s + limit_s + 2.0:
        await asyncio.sleep(0.02)
        looked = await node.consumer.async_ask(LookAsk(), key=None)
        flooded = await node.consumer.async_ask(FloodLookAsk(), key=None)
    empty_s = time.monotonic() - over_s
    await asyncio.sleep(scale.late_s + 0.5)  # the last late answers
    proxy.heal()
    wrong += await relayed()
    ends = (await node.consumer.async_ask(FloodLookAsk(), key=None)).ends
    late = (await node.consumer.async_ask(LookAsk(), key=None)).late
    return Figure(
        f"{ends}; at most {most} pending, {looked.pending} and {flooded.open} open {empty_s:.2f} s after the last was "
        f"made; {late} late answers dropped; {wrong} of {2 * M2_RELAYED} asks before and after answered wrongly",
        ends == {"AskTimeoutError": scale.asks}
        and not looked.pending
        and not flooded.open
        and empty_s <= limit_s
        and late > scale.asks // 2
        and not wrong,
    )


@row(
    "M3",
    "{cycles} times connect, Hello, ask, close; every third by a reset",
    "+ 0 descriptors, threads, sessions, actors of the provider; RSS ≤ + 8 MiB; 0 failed",
)
async def come_and_go(stage: Stage) -> Figure:
    """M3."""
    member = await stage.member("p1", "work", "orders")
    node = await stage.consume("work", "orders")
    failed = 0

    async def cycles(numbers: list[int]) -> None:
        nonlocal failed
        for number in numbers:
            try:
                await cycle(member.address, number)
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                failed += 1

    await cycles(list(range(M3_WARM)))
    before = await settled(member, node, await Watched.look(member, node))
    begun_s = time.monotonic()
    await asyncio.gather(*(cycles(list(range(start, stage.scale.cycles, AT_ONCE))) for start in range(AT_ONCE)))
    took_s = time.monotonic() - begun_s
    after = await settled(member, node, before)
    return Figure(
        f"{stage.scale.cycles} cycles in {took_s:.1f} s, {failed} failed; {after.more_than(before)}",
        not failed and after.is_no_more_than(before, M3_RSS_MIB),
    )


async def cycle(address: str, number: int) -> None:
    """Come, ask once, go."""
    stranger = await Stranger.connect(address, hello=True)
    try:
        ask = codec.encode(WorkAsk(f"k{number}", size=200))
        stranger.say(codec.ask_frame(ask, 1, CLIENT_KEYED, number, 3000))
        async with asyncio.timeout(3.0):
            answer = await stranger.packet()
        if not isinstance(answer, Answered) or answer.key != f"k{number}":
            raise OSError(answer)
        if number % 3 == 0:
            stranger.reset()
    finally:
        await stranger.end()
