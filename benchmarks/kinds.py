"""`make bench-kinds`: what each kind of receiver costs, and what one that computes in a thread does to the others.

A coroutine that returns at once, one that suspends, a blocking one on a worker, a chain of three services, 16 threads
that ask, bodies of 64 KiB and 1 MiB. Then: blocking receivers that compute (and so hold the interpreter lock) beside
quick coroutine receivers of the same node, whose latency is measured for several switch intervals.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any

import parts as p
from arguments import amount, count, new_file

from zfoo_py import Ask, Node, Packet, ProtocolModule, Session, packet_receiver

OUTSTANDING = 256
THREADS = 16
BODIES = (65_536, 1_048_576)
# What CPython has by default, and shorter ones; milliseconds.
INTERVALS_MS = (5.0, 2.0, 1.0, 0.5, 0.1)
# A receiver that computes for so long, and so many of them at a time.
COMPUTING_S, COMPUTING = 0.02, 2
# An ask that waits behind 255 others of a busy machine is not to be shed: it is measured.
LIMITS = {
    "ask_timeout_s": 30.0,
    "max_in_work_per_session": 4096,
    "max_frame_bytes": 4 << 20,
    "outbox_limit_bytes": 64 << 20,
}

kinds = ProtocolModule(102, "kinds")
last = ProtocolModule(103, "last")


@kinds.packet(1211)
class KindAnswer(Packet):
    id: int


@kinds.packet(1200)
class SuspendAsk(Ask[KindAnswer]):
    id: int


@kinds.packet(1201)
class BlockAsk(Ask[KindAnswer]):
    id: int


@kinds.packet(1202)
class ChainAsk(Ask[KindAnswer]):
    id: int


@kinds.packet(1203)
class ComputeAsk(Ask[KindAnswer]):
    id: int


@last.packet(1212)
class LastAnswer(Packet):
    id: int


@last.packet(1204)
class LastAsk(Ask[LastAnswer]):
    id: int


@packet_receiver
async def at_part_ask(_session: Session, ask: p.PartAsk) -> p.PartAnswer:
    return p.PartAnswer(ask.id, ask.body)


@packet_receiver
async def at_suspend_ask(_session: Session, ask: SuspendAsk) -> KindAnswer:
    await asyncio.sleep(0)
    return KindAnswer(ask.id)


@packet_receiver
def at_block_ask(_session: Session, ask: BlockAsk) -> KindAnswer:
    return KindAnswer(ask.id)


@packet_receiver
async def at_chain_ask(session: Session, ask: ChainAsk) -> KindAnswer:
    return KindAnswer((await session.node.consumer.async_ask(LastAsk(ask.id), key=ask.id)).id)


@packet_receiver
async def at_last_ask(session: Session, ask: LastAsk) -> LastAnswer:
    answer = await session.node.consumer.async_ask(p.PartAsk(ask.id), key=ask.id)
    return LastAnswer(answer.id)


@packet_receiver
def at_compute_ask(_session: Session, ask: ComputeAsk) -> KindAnswer:
    """Compute in Python, for so much processor time."""
    end = thread_time() + COMPUTING_S
    while thread_time() < end:
        sum(range(100))
    return KindAnswer(ask.id)


async def serve(what: str, below: str, interval_ms: float) -> None:
    """Be one provider until killed; ``below`` is the address of the one it asks itself."""
    p.pin(0)
    if interval_ms:
        sys.setswitchinterval(interval_ms / 1e3)
    provides: dict[str, Any] = {"kinds": [kinds, p.parts], "last": [last], "parts": [p.parts]}
    receivers = {
        "kinds": [at_part_ask, at_suspend_ask, at_block_ask, at_chain_ask, at_compute_ask],
        "last": [at_last_ask],
        "parts": [at_part_ask],
    }
    consumes = {"kinds": [last] if below else [], "last": [p.parts], "parts": []}[what]
    where = {"kind": "static", "addresses": [below] if below else []}
    async with Node(
        id=what,
        address="127.0.0.1:0",
        provides=provides[what],
        consumes=consumes,
        receivers=receivers[what],
        discovery=where,
        **LIMITS,
    ) as node:
        p.say({"address": node.address})
        await asyncio.Event().wait()


def asker(address: str) -> Node:
    where = {"kind": "static", "addresses": [address]}
    return Node(id="asker", consumes=[kinds, p.parts], receivers=[], discovery=where, **LIMITS)


async def with_coroutines(address: str, packet: Any, outstanding: int, seconds: float) -> p.Row:
    async with asker(address) as node:
        ask = node.consumer.async_ask
        await p.measure(lambda n: ask(packet(n), key=n & 1023), outstanding, seconds / 4)
        return await p.measure(lambda n: ask(packet(n), key=n & 1023), outstanding, seconds)


def with_threads(address: str, seconds: float) -> p.Row:
    latencies: list[float] = []
    with asker(address) as node:
        until = perf_counter() + seconds

        def ask(key: int) -> None:
            while (begun := perf_counter()) < until:
                node.consumer.sync_ask(p.PartAsk(key), key=key)
                latencies.append(perf_counter() - begun)

        threads = [threading.Thread(target=ask, args=(key,)) for key in range(THREADS)]
        begun = perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wall = perf_counter() - begun
    latencies.sort()
    count = len(latencies)
    p50, p99 = latencies[count // 2], latencies[count * 99 // 100]
    return p.Row(asks_per_s=count / wall, us=wall / count * 1e6, p50_us=p50 * 1e6, p99_us=p99 * 1e6)


async def beside_computing(address: str, computing: int, seconds: float) -> p.Row:
    """The latency of quick asks, one at a time, while so many blocking receivers compute without a pause."""
    async with asker(address) as node:
        ask = node.consumer.async_ask
        stop = perf_counter() + seconds + 0.2
        done = 0

        async def compute(number: int) -> None:
            nonlocal done
            while perf_counter() < stop:
                await ask(ComputeAsk(number), key=None, timeout_s=30.0)
                done += 1

        load = [asyncio.create_task(compute(number)) for number in range(computing)]
        await asyncio.sleep(0.2)
        row = await p.measure(lambda n: ask(p.PartAsk(n), key=n & 1023), 1, seconds)
        begun = perf_counter()
        await asyncio.gather(*load)
        row["computed_per_s"] = done / (seconds + 0.2 + perf_counter() - begun)
    return row


def one_round(options: argparse.Namespace) -> dict[str, p.Row]:
    rows: dict[str, p.Row] = {}
    with ExitStack() as stack:
        parts_at = stack.enter_context(p.served("kinds.py", "parts", "", "0"))["address"]
        last_at = stack.enter_context(p.served("kinds.py", "last", parts_at, "0"))["address"]
        address = stack.enter_context(p.served("kinds.py", "kinds", last_at, "0"))["address"]
        plain = {
            "async def, returns at once": p.PartAsk,
            "async def, suspends": SuspendAsk,
            "def, on a worker": BlockAsk,
            "chain of three services": ChainAsk,
        }
        for name, packet in plain.items():
            for outstanding in (1, OUTSTANDING):
                row = p.run(with_coroutines(address, packet, outstanding, options.seconds))
                rows[f"{name}, {outstanding} outstanding"] = row
        rows[f"async def, {THREADS} threads ask"] = with_threads(address, options.seconds)
        for size in BODIES:
            body = random.Random(1).randbytes(size)
            ask = p.run(with_coroutines(address, lambda n, body=body: p.PartAsk(n, body), 4, options.seconds))
            rows[f"async def, {size // 1024:,} KiB both ways, 4 outstanding"] = ask
    return rows


def computing_round(options: argparse.Namespace) -> dict[str, p.Row]:
    rows: dict[str, p.Row] = {}
    for interval_ms in INTERVALS_MS:
        with p.served("kinds.py", "kinds", "", str(interval_ms)) as server:
            if interval_ms == INTERVALS_MS[0]:
                rows["nothing computes"] = p.run(beside_computing(server["address"], 0, options.seconds))
            name = f"{COMPUTING} compute, switch interval {interval_ms:g} ms"
            rows[name] = p.run(beside_computing(server["address"], COMPUTING, options.seconds))
    return rows


def show(rounds: list[dict[str, p.Row]], keys: tuple[str, ...]) -> None:
    for name in rounds[0]:
        texts = [f"{key} {p.text_of(p.over_rounds([one[name] for one in rounds], key))}" for key in keys]
        print(f"{name:55} {'  '.join(texts)}")
    print()


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["serve"]:
        p.run(serve(sys.argv[2], sys.argv[3], float(sys.argv[4])))
        return
    parser = argparse.ArgumentParser(prog="make bench-kinds", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=count, default=3, help="of everything (default: 3)")
    parser.add_argument("--seconds", type=amount, default=1.5, help="per row and round (default: 1.5)")
    parser.add_argument(
        "--json", type=new_file, metavar="FILE", help="write every figure of every round (default: none)"
    )
    options = parser.parse_args()
    p.pin(1)
    kinds_rounds, computing_rounds = [], []
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        kinds_rounds.append(one_round(options))
        computing_rounds.append(computing_round(options))
    show(kinds_rounds, ("us", "p50_us", "p99_us"))
    show(computing_rounds, ("p50_us", "p99_us", "computed_per_s"))
    print(f"medians (least-greatest) of {options.rounds} rounds; us: the time per ask at the rate that was reached")
    if options.json:
        everything = {"kinds": kinds_rounds, "computing": computing_rounds}
        Path(options.json).write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
