"""`make bench-growth`: what an ask on a cached key costs as things grow (P10).

Providers 1 to 1,000, remembered keys 10 to 10^6, sessions at the server 10 to 10^4, the payload 32 bytes to 1 MiB, and
the kind of the receiver. The sizes of one kind are measured in turn, round by round, as the processor time of asker and
server together. Of providers, one is asked at a time, because with more the same asks share ever fewer writes, which is
the sockets' growth and not the balancer's: first for one cached key, then for keys that reach every provider in turn,
where the memory of each session has grown cold since its last ask. The others have 256 asks outstanding.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import sys
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Any

import kinds
import parts as p
from arguments import amount, count, new_file

from zfoo_py import Node, Session, packet_receiver

PROVIDERS = (1, 10, 100, 1000)
KEYS = (10, 1_000, 100_000, 1_000_000)
SESSIONS = (10, 100, 1_000, 10_000)
PAYLOADS = (32, 1_024, 16_384, 65_536, 262_144, 1_048_576)
KINDS = {"async, at once": p.PartAsk, "async, suspends": kinds.SuspendAsk, "def, worker": kinds.BlockAsk}
WHAT = ("providers", "keys", "sessions", "payload", "kinds")
OUTSTANDING = 256


@packet_receiver
async def at_part_ask(_session: Session, ask: p.PartAsk) -> p.PartAnswer:
    return p.PartAnswer(ask.id, ask.body)


@packet_receiver
async def at_figures_ask(session: Session, _ask: p.FiguresAsk) -> p.FiguresAnswer:
    """Of the process."""
    return p.FiguresAnswer(len(await session.node.sessions()), 0, 0)


def chosen(text: str) -> set[str]:
    """Read what is to be measured."""
    what = set(text.split(","))
    if unknown := what - set(WHAT):
        raise argparse.ArgumentTypeError(f"not known: {', '.join(sorted(unknown))}; write some of {', '.join(WHAT)}")
    return what


async def serve(count: int) -> None:
    """Be so many providers, in one process, until killed."""
    p.pin(0)
    p.descriptors()
    nodes = [
        Node(
            id=f"parts-{number}",
            address="127.0.0.1:0",
            provides=[p.parts],
            receivers=[at_part_ask, at_figures_ask],
            discovery="static",
            max_in_work_per_session=4096,
            max_frame_bytes=4 << 20,
        )
        for number in range(count)
    ]
    for node in nodes:
        await node.start()
    p.say({"addresses": [node.address for node in nodes]})
    await asyncio.Event().wait()


async def asked(ask: Callable[[int], Awaitable[Any]], outstanding: int, seconds: float, server: int) -> p.Row:
    """Measure asks alone.

    What the nodes and sessions do for themselves, heartbeats most of it, is measured before, for half as long, and is
    none of the asks' cost: ``idle_cores`` says how much it is.
    """
    begun, cpu = perf_counter(), p.cpu_s(server)
    await asyncio.sleep(seconds / 2)
    idle = (p.cpu_s(server) - cpu) / (perf_counter() - begun)
    row = await p.measure(ask, outstanding, seconds, server)
    row.update(cpu_us=row["cpu_us"] - idle * row["us"], idle_cores=idle)
    return row


async def with_providers(addresses: list[str], server: int, seconds: float) -> tuple[p.Row, p.Row]:
    """Ask one of them for one cached key; then all of them in turn."""
    async with p.consumer(addresses) as node:
        ask = node.consumer.async_ask
        for key in range(4096):
            await ask(p.PartAsk(key), key=key)
        one = await asked(lambda n: ask(p.PartAsk(n), key=7), 1, seconds, server)
        return one, await asked(lambda n: ask(p.PartAsk(n), key=n & 4095), 1, seconds, server)


async def with_keys(address: str, server: int, count: int, seconds: float) -> p.Row:
    """Ask for keys in random order, all of them remembered."""
    async with p.consumer([address], max_cache_entries=2 * count) as node:
        ask = node.consumer.async_ask
        for begin in range(0, count, 1000):
            await asyncio.gather(*(ask(p.PartAsk(key), key=key) for key in range(begin, min(begin + 1000, count))))
        order = random.Random(1)
        keys = [order.randrange(count) for _ in range(1 << 17)]
        return await asked(lambda n: ask(p.PartAsk(n), key=keys[n & 0x1FFFF]), OUTSTANDING, seconds, server)


async def with_payload(address: str, server: int, size: int, seconds: float) -> p.Row:
    outstanding = max(4, min(OUTSTANDING, (1 << 20) // size))
    body = random.Random(1).randbytes(size)
    async with p.consumer([address], max_frame_bytes=4 << 20, outbox_limit_bytes=64 << 20) as node:
        return await asked(lambda n: node.consumer.async_ask(p.PartAsk(n, body), key=7), outstanding, seconds, server)


async def with_kind(address: str, server: int, packet: Any, seconds: float) -> p.Row:
    async with kinds.asker(address) as node:
        ask = node.consumer.async_ask
        return await asked(lambda n: ask(packet(n), key=n & 1023), OUTSTANDING, seconds, server)


async def hold(address: str, count: int) -> None:
    """Hold so many sessions that do nothing, until killed."""
    import sessions  # noqa: PLC0415 - a program beside this one

    p.descriptors()
    held = await sessions.opened(address, count)
    p.say({"held": len(held)})
    await asyncio.Event().wait()


def rounds_of(options: argparse.Namespace) -> dict[str, dict[str, list[p.Row]]]:
    """Measure all, round by round."""
    found: dict[str, dict[str, list[p.Row]]] = {}

    def add(title: str, size: str, row: p.Row) -> None:
        found.setdefault(title, {}).setdefault(size, []).append(row)
        print(f"  {title} {size}: {row['cpu_us']:.1f} µs", file=sys.stderr, flush=True)

    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    with ExitStack() as stack:
        only = options.only

        def provider(*words: str) -> dict[str, Any]:
            return stack.enter_context(p.served("growth.py", *words))

        one = provider("1")
        many: dict[int, dict[str, Any]] = {}
        if "providers" in only:
            many = {size: provider(str(size)) for size in PROVIDERS}
        held: dict[int, dict[str, Any]] = {}
        for size in SESSIONS if "sessions" in only else ():
            if size + 200 > most:
                print(f"  sessions {size}: left out, this process may open {most} descriptors", file=sys.stderr)
                continue
            held[size] = provider("1")
            provider("hold", held[size]["addresses"][0], str(size))
        kind = stack.enter_context(p.served("kinds.py", "kinds", "", "0")) if "kinds" in only else {}
        address, pid = one["addresses"][0], one["pid"]
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            for size, server in many.items():
                hot, cold = p.run(with_providers(server["addresses"], server["pid"], options.seconds))
                add("providers, one key", f"{size:,}", hot)
                add("providers, all in turn", f"{size:,}", cold)
            for size in KEYS if "keys" in only else ():
                add("remembered keys", f"{size:,}", p.run(with_keys(address, pid, size, options.seconds)))
            for size, server in held.items():
                row = p.run(with_keys(server["addresses"][0], server["pid"], 1000, options.seconds))
                add("sessions", f"{size:,}", row)
            for size in PAYLOADS if "payload" in only else ():
                add("payload, bytes", f"{size:,}", p.run(with_payload(address, pid, size, options.seconds)))
            for name, packet in KINDS.items() if kind else ():
                row = p.run(with_kind(kind["address"], kind["pid"], packet, options.seconds))
                add("kind of receiver", name, row)
    return found


def main() -> None:
    """Measure, print, draw."""
    if sys.argv[1:3] == ["serve", "hold"]:
        p.run(hold(sys.argv[3], int(sys.argv[4])))
        return
    if sys.argv[1:2] == ["serve"]:
        p.run(serve(int(sys.argv[2])))
        return
    parser = argparse.ArgumentParser(prog="make bench-growth", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=count, default=3, help="of all sizes (default: 3)")
    parser.add_argument("--seconds", type=amount, default=1.5, help="per size and round (default: 1.5)")
    parser.add_argument(
        "--only", type=chosen, default=set(WHAT), metavar="WHAT,...", help=f"of {', '.join(WHAT)} (all)"
    )
    parser.add_argument("--plot", type=new_file, metavar="FILE.png", help="draw it (default: not)")
    parser.add_argument(
        "--json", type=new_file, metavar="FILE", help="write every figure of every round (default: none)"
    )
    options = parser.parse_args()
    words = p.descriptors()
    p.pin(1)
    found = rounds_of(options)
    print(words)
    panels: dict[str, dict[str, Any]] = {}
    for title, sizes in found.items():
        first = next(iter(sizes.values()))
        panels[title] = {size: p.over_rounds(rows, "cpu_us") for size, rows in sizes.items()}
        for size, rows in sizes.items():
            ratios = [p.Row(ratio=row["cpu_us"] / other["cpu_us"]) for row, other in zip(rows, first, strict=True)]
            line = f"{title:22} {size:>15}  {p.text_of(panels[title][size])} µs an ask"
            idle = p.over_rounds(rows, "idle_cores")["median"]
            print(f"{line}, {p.text_of(p.over_rounds(ratios, 'ratio'), 2)} x the first; idle: {idle:.2f} cores")
    print(f"medians (least-greatest) of {options.rounds} rounds; P10: within 1.20 x the first, but for the payload")
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if options.plot:
        from plot import draw_growth  # noqa: PLC0415 - only who draws has matplotlib

        draw_growth(options.plot, panels, f"cost of an ask, median of {options.rounds} rounds")


if __name__ == "__main__":
    main()
