"""`make bench-sessions`: ten thousand idle and a thousand busy sessions on one node.

Memory per session, how many are accepted a second, the latency of busy ones (each asks one at a time, all at a rate
that the node can bear), and what happens when all idle ones close at once.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Any

import parts as p
import psutil
from arguments import amount, count, new_file

from zfoo_py import Node, Session, packet_receiver
from zfoo_py.protocol.attachment import CLIENT_KEYED
from zfoo_py.protocol.common import Heartbeat, Hello
from zfoo_py.protocol.msgpack_codec import MsgpackCodec

# Connections opened at the same time: fewer than a listener's backlog.
AT_ONCE = 100


@packet_receiver
async def at_part_ask(_session: Session, ask: p.PartAsk) -> p.PartAnswer:
    return p.PartAnswer(ask.id, ask.body)


@packet_receiver
async def at_figures_ask(session: Session, _ask: p.FiguresAsk) -> p.FiguresAnswer:
    """Of this process."""
    process = psutil.Process()
    return p.FiguresAnswer(len(await session.node.sessions()), process.memory_info().rss // 1024, process.num_fds())


async def serve() -> None:
    p.pin(0)
    p.descriptors()
    async with Node(
        id="parts",
        address="127.0.0.1:0",
        provides=[p.parts],
        receivers=[at_part_ask, at_figures_ask],
        discovery="static",
        max_connections=50_000,
    ) as node:
        gc.collect()
        p.say({"address": node.address})
        await asyncio.Event().wait()


class Peer(asyncio.Protocol):
    """A session that costs its own process next to nothing: it knows where an answer ends, and no more."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.unread = b""
        self.waiting: asyncio.Future[None] | None = None
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.unread += data
        while len(self.unread) >= 4 and len(self.unread) >= (end := 4 + int.from_bytes(self.unread[:4], "big")):
            is_awaited = self.unread[5:8] in AWAITED
            self.unread = self.unread[end:]
            if is_awaited and self.waiting is not None and not self.waiting.done():
                self.waiting.set_result(None)
            elif not is_awaited:  # a sign of life, which wants one back
                self.transport.write(HEARTBEAT)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self.closed.done():
            self.closed.set_result(None)

    async def exchange(self, frame: bytes) -> None:
        self.waiting = asyncio.get_running_loop().create_future()
        self.transport.write(frame)
        await self.waiting


codec = MsgpackCodec()
HELLO = codec.one_way_frame(codec.encode(Hello(1, "node", "peer")), None)
HEARTBEAT = codec.one_way_frame(codec.encode(Heartbeat()), None)
# Where a frame has its packet's protocol id: what a peer waits for.
AWAITED = (HELLO[5:8], codec.encode(p.PartAnswer(0))[1:4])


def ask_frame(number: int) -> bytes:
    return codec.ask_frame(codec.encode(p.PartAsk(number, b"x" * 32)), number + 1, CLIENT_KEYED, number, 60_000)


async def opened(address: str, count: int) -> list[Peer]:
    """Open sessions, each of which has said Hello and asked once."""
    host, _, port = address.rpartition(":")
    peers: list[Peer] = []

    async def one() -> Peer:
        _, peer = await asyncio.get_running_loop().create_connection(Peer, host, int(port))
        await peer.exchange(HELLO)
        await peer.exchange(ask_frame(0))
        return peer

    for begin in range(0, count, AT_ONCE):
        peers += await asyncio.gather(*(one() for _ in range(min(AT_ONCE, count - begin))))
    return peers


async def hold(address: str, count: int) -> None:
    """Open sessions and hold them until killed."""
    p.descriptors()
    begun = perf_counter()
    peers = await opened(address, count)
    p.say({"held": len(peers), "seconds": perf_counter() - begun})
    await asyncio.Event().wait()


async def busy(peers: list[Peer], rate: float, seconds: float) -> p.Row:
    """Let every peer ask in turn, at so many asks a second in all; return the latencies."""
    latencies: list[float] = []
    gap_s = len(peers) / rate
    begun = perf_counter()

    async def one(place: int, peer: Peer) -> None:
        due = begun + gap_s * place / len(peers)
        number = 0
        while due < begun + seconds:
            await asyncio.sleep(max(0.0, due - perf_counter()))
            number += 1
            await peer.exchange(ask_frame(number))
            latencies.append(perf_counter() - due)  # from when it should have asked: no wait is left out
            due += gap_s

    await asyncio.gather(*(one(place, peer) for place, peer in enumerate(peers)))
    latencies.sort()
    count = len(latencies)
    return p.Row(
        asks_per_s=count / (perf_counter() - begun),
        p50_ms=latencies[count // 2] * 1e3,
        p99_ms=latencies[count * 99 // 100] * 1e3,
        longest_ms=latencies[-1] * 1e3,
    )


async def one_round(options: argparse.Namespace) -> p.Row:
    with ExitStack() as stack:
        server = stack.enter_context(p.served("sessions.py"))
        async with p.consumer([server["address"]]) as node:

            async def figures() -> p.FiguresAnswer:
                return await node.consumer.async_ask(p.FiguresAsk(), key=1, timeout_s=30.0)

            for number in range(2000):
                await node.consumer.async_ask(p.PartAsk(number), key=number)
            before = await figures()
            words = ("hold", server["address"], str(options.idle))
            holder = await asyncio.to_thread(stack.enter_context, p.served("sessions.py", *words))
            held = await figures()
            peers = await opened(server["address"], options.busy)
            row = p.Row(
                kib_per_session=(held.rss_kib - before.rss_kib) / options.idle,
                accepted_per_s=options.idle / holder["seconds"],
                **{f"busy_{key}": value for key, value in (await busy(peers, options.rate, options.seconds)).items()},
            )
            closing = asyncio.create_task(busy(peers, options.rate, options.seconds))
            await asyncio.sleep(options.seconds / 4)
            psutil.Process(holder["pid"]).kill()
            begun = perf_counter()
            while (now := await figures()).sessions > options.busy + 1:  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.02)
            row["closed_after_s"] = perf_counter() - begun
            row |= {f"closing_{key}": value for key, value in (await closing).items() if key != "asks_per_s"}
            row["kib_left_per_session"] = (now.rss_kib - before.rss_kib) / options.idle
            row["descriptors_left"] = now.descriptors - before.descriptors - options.busy
    return row


def main() -> None:
    """Measure and print."""
    if sys.argv[1:3] == ["serve", "hold"]:
        p.run(hold(sys.argv[3], int(sys.argv[4])))
        return
    if sys.argv[1:2] == ["serve"]:
        p.run(serve())
        return
    parser = argparse.ArgumentParser(prog="make bench-sessions", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--idle", type=count, default=10_000, help="sessions that do nothing (default: 10,000)")
    parser.add_argument("--busy", type=count, default=1_000, help="sessions that ask (default: 1,000)")
    parser.add_argument("--rate", type=amount, default=2_000.0, help="asks per second of all of them (default: 2,000)")
    parser.add_argument("--seconds", type=amount, default=4.0, help="of the asks (default: 4)")
    parser.add_argument("--rounds", type=count, default=3, help="of everything (default: 3)")
    parser.add_argument(
        "--json", type=new_file, metavar="FILE", help="write every figure of every round (default: none)"
    )
    options = parser.parse_args()
    print(p.descriptors())
    p.pin(1)
    rounds: list[p.Row] = [p.run(one_round(options)) for _ in range(options.rounds)]
    for key in rounds[0]:
        print(f"{key:24} {p.text_of(p.over_rounds(rounds, key), 2)}")
    print(f"medians (least-greatest) of {options.rounds} rounds; {options.idle:,} idle, {options.busy:,} busy sessions")
    if options.json:
        everything: dict[str, Any] = {"options": vars(options), "rounds": rounds}
        Path(options.json).write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
