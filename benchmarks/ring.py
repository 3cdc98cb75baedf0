"""The balancer's speed (P7, P8 of docs/promises.md) beside uhashring, in turn, in one run, as medians over rounds.

    P7   picks a second: through the code of a real node's ConsumerActor, cached and not, at 10 and 1,000 providers
    P8   a provider of one module joins or leaves: the ring alone at 1,000 providers; then a node with 100,000
         remembered keys at 1→2, 2→1, 10→11 and 1,000→1,001: the longest turn, the time until all are swept, and
         whether every pick between two turns was a fresh consumer's

All but the time of a whole sweep is CPU time of this thread, so other processes disturb it less; they still do.

uhashring (md5 ketama, its default; 200 points a provider, as here) has no cache, no expiry and no counters.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import sys
from collections import defaultdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import thread_time
from typing import Any

from uhashring import HashRing as UHashRing

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.ring_works import change, fresh_ring, keys_of, rate, registration, world
from benchmarks.run import machine
from zfoo_py.consumer.ring import VIRTUAL_NODES
from zfoo_py.node import new_loop

SIZES = (10, 1000)
KINDS = ("int", "str", "tuple")
CHANGES = ((1, True), (2, False), (10, True), (1000, True))
# name → (unit, floor, goal); the figures of docs/promises.md.
BARS = {
    "P7 cached": ("/s", 1_500_000, 3_000_000),
    "P7 not cached, 1,000 providers": ("/s", 200_000, 350_000),
    "P8 ring, 1,000 providers": ("ms", 1.0, 0.5),
    "P8 longest turn": ("ms", 2.0, 2.0),
    "P8 swept": ("ms", 250.0, 250.0),
    "P8 wrong picks": ("", 0, 0),
}

Figures = dict[str, list[float]]


def kind_of(name: str) -> str:
    """Return the kind of keys of a row."""
    return next(kind for kind in KINDS if kind in name.partition(",")[0].split())


def uhash(numbers: Any) -> Any:
    """Return uhashring's ring of the same providers."""
    return UHashRing(nodes=[registration(number).ring_name for number in numbers], vnodes=VIRTUAL_NODES)


async def picks(size: int, options: argparse.Namespace) -> Figures:
    """Measure P7 at so many providers."""
    found: Figures = defaultdict(list)
    rng = random.Random(size)
    theirs = uhash(range(size))
    numbers = [rng.getrandbits(40) for _ in range(options.keys)]
    async with world(size) as at:
        cached, plain = at.service("cached"), at.service("plain")
        route, hashed = partial(cached.balancer.route, cached.view), partial(plain.balancer.route, plain.view)
        for number in range(options.rounds):
            works: list[tuple[str, Any, Any]] = []
            for kind in KINDS:
                keys = keys_of(kind, numbers)
                new = keys_of(kind, (rng.getrandbits(40) for _ in numbers))
                works += [
                    (f"zfoo_py cached {kind}", route, keys),
                    (f"zfoo_py cached {kind}, whole turn", at.actor.on_receive, partial(at.records, keys)),
                    (f"zfoo_py first sight {kind}", route, new),
                    (f"zfoo_py not cached {kind}", hashed, keys),
                    (f"uhashring {kind}", theirs.get_node, [str(key) for key in keys]),
                ]
            for name, call, given in works if number % 2 == 0 else works[::-1]:
                arguments = given() if callable(given) else given
                if "first sight" not in name:
                    rate(call, arguments)
                found[name].append(rate(call, arguments))
    return found


def timed_ms(call: Any, *arguments: Any) -> float:
    """Return how long a call took."""
    start = thread_time()
    call(*arguments)
    return (thread_time() - start) * 1e3


def rings(options: argparse.Namespace) -> Figures:
    """Measure a join and a leave of the ring alone, at 1,000 providers."""
    found: Figures = defaultdict(list)
    size = SIZES[-1]
    ours, theirs = fresh_ring(range(size)), uhash(range(size))
    for number in range(options.rounds):
        gc.collect()
        for extra in range(size, size + options.joins):
            name = registration(extra * 1000 + number).ring_name
            found["zfoo_py join"].append(timed_ms(ours.add, name))
            found["zfoo_py leave"].append(timed_ms(ours.remove, name))
        name = registration(size + number).ring_name
        found["uhashring join"].append(timed_ms(theirs.add_node, name))
        found["uhashring leave"].append(timed_ms(theirs.remove_node, name))
        found["uhashring full build"].append(timed_ms(uhash, range(size)))
        found["zfoo_py full build"].append(timed_ms(fresh_ring, range(size)))
    return found


async def sweeps(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Measure P8 with remembered keys; the first round compares picks instead."""
    found: dict[str, list[dict[str, Any]]] = {}
    rng = random.Random(8)
    half = options.cached_keys // 2
    keys = [*(rng.getrandbits(40) for _ in range(half)), *keys_of("str", range(half))]
    rng.shuffle(keys)
    for size, join in CHANGES:
        name = f"{size:,} → {size + 1 if join else size - 1:,}"
        async with world(size, options.cached_keys, modules=("cached",)) as at:
            number = size if join else size - 1
            found[name] = []
            for round_number in range(options.rounds + 1):
                found[name].append(await change(at, number, keys, join=join, compare=round_number == 0))
                (at.leave if join else at.join)(number)
                await at.settled()
    return found


def judge(p7: dict[int, Figures], p8: Figures, changes: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
    """Return the figure of each bar: the worst of the medians."""
    timed = [one for rounds in changes.values() for one in rounds[1:]]
    return {
        "P7 cached": min(median(p7[size][f"zfoo_py cached {kind}"]) for size in p7 for kind in KINDS),
        "P7 not cached, 1,000 providers": min(median(p7[SIZES[-1]][f"zfoo_py not cached {kind}"]) for kind in KINDS),
        "P8 ring, 1,000 providers": max(median(p8["zfoo_py join"]), median(p8["zfoo_py leave"])),
        "P8 longest turn": max(one["longest_turn_ms"] for one in timed),
        "P8 swept": max(one["swept_ms"] for one in timed),
        "P8 wrong picks": sum(rounds[0]["wrong"] for rounds in changes.values()),
    }


def show(p7: dict[int, Figures], p8: Figures, changes: dict[str, list[dict[str, Any]]], bars: dict[str, float]) -> None:
    """Print the tables."""
    print("P7: picks a second, median (least - greatest), and times uhashring with keys of that kind in the same run")
    for size, figures in p7.items():
        for name, values in figures.items():
            ratio = median(values) / median(figures[f"uhashring {kind_of(name)}"])
            spread = f"({min(values):,.0f} - {max(values):,.0f})"
            print(f"  {size:5,} providers  {name:42} {median(values):11,.0f} {spread:27} {ratio:6.2f} x")
    print(f"\nP8: the ring alone, {SIZES[-1]:,} providers, ms: median (least - greatest)")
    for name, values in p8.items():
        print(f"  {name:24} {median(values):9.2f} ({min(values):.2f} - {max(values):.2f})")
    print("\nP8: with remembered keys, ms: median (greatest)")
    for name, rounds in changes.items():
        line = f"  {name:14}"
        for key in ("change_turn_ms", "longest_turn_ms", "swept_ms"):
            values = [one[key] for one in rounds[1:]]
            line += f"  {key.removesuffix('_ms').replace('_', ' ')} {median(values):.2f} ({max(values):.2f})"
        one = rounds[0]
        print(f"{line}  moved {rounds[1]['moved_keys']:,}  wrong picks {one['wrong']} of {one['compared']:,}")
    print()
    for name, value in bars.items():
        unit, floor, goal = BARS[name]
        below = value < floor if unit == "/s" else value > floor
        reaches = value >= goal if unit == "/s" else value <= goal
        verdict = "MISSED" if below else "goal reached" if reaches else "floor reached"
        digits = 2 if unit == "ms" else 0
        print(f"  {name:32} {value:12,.{digits}f}{unit}   floor {floor:,}, goal {goal:,}: {verdict}")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks/ring.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="of everything (default: 5)")
    parser.add_argument("--keys", type=int, default=20_000, help="of a row of P7 (default: 20,000)")
    parser.add_argument("--cached-keys", type=int, default=100_000, help="of P8 (default: 100,000)")
    parser.add_argument("--joins", type=int, default=20, help="of the ring alone, in each round (default: 20)")
    parser.add_argument("--json", metavar="FILE", help="write every figure of every round; - prints them instead")
    options = parser.parse_args(argv)
    if min(options.rounds, options.keys, options.joins) < 1 or options.cached_keys < 1000:
        parser.error("--rounds, --keys and --joins must be at least 1, --cached-keys 1,000")
    return options


def main(argv: list[str] | None = None) -> int:
    """Measure, print, and write the rows if asked for."""
    options = parse(argv)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        p7 = {size: runner.run(picks(size, options)) for size in SIZES}
        p8 = rings(options)
        changes = runner.run(sweeps(options))
    bars = judge(p7, p8, changes)
    about = machine()
    about["versions"] |= {name: version(name) for name in ("uhashring", "sortedcontainers")}
    everything = {"machine": about, "options": vars(options), "bars": bars, "P7": p7, "ring": p8, "changes": changes}
    text = json.dumps(everything, indent=1)
    if options.json == "-":
        print(text)
        return 0
    show(p7, p8, changes, bars)
    print(", ".join(f"{key} {value}" for key, value in about.items() if key != "versions"))
    print(", ".join(f"{name} {number}" for name, number in about["versions"].items()))
    if options.json:
        Path(options.json).write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
