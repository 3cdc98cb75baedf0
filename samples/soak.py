"""`make soak`: does the consumer's memory stay where it is, whatever is asked and whoever comes and goes?

    python -m samples.soak                                   # 10^6 new keys of each of 4 service types, under churn
    python -m samples.soak --seconds 30                      # a short one
    python -m samples.soak --old-balancer                    # the same load on zfoo's leaking balancer of 2024
    python -m samples.soak --compare --plot docs/soak.png    # both, one after the other, and their curves
    python -m samples.soak --types 8 --seconds 60            # more policies, equal keys in several types

A real node with its sessions, registry, ConsumerActor, caches, sweeps and alerts; only the network and the providers
are in memory (samples/soak_providers.py). A short run has smaller caches, so that they are full soon. Exit code 0 if
every bar is held, 1 if not, 2 if it could not run. With --old-balancer the bar is the alert: it must fire within a
minute and name the cache, the packets and the cause.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from itertools import combinations
from pathlib import Path
from random import Random
from statistics import median
from typing import TYPE_CHECKING, Any

from samples.soak_load import Load
from samples.soak_plot import HOW_TO_GET_IT, draw, is_there
from samples.soak_providers import ASKS, BALANCERS, FIRST, MODULES, TABLE, Providers
from samples.zfoo_2024 import SharedMemo, Zfoo2024Balancer
from zfoo_py import Node, ZfooError
from zfoo_py.node import new_loop

if TYPE_CHECKING:
    from collections.abc import Sequence

# Promise M1.
MAX_GROWTH_MIB = 32.0
MAX_SLOPE_MIB = 1.0  # per 10^6 calls
# The slope of a run shorter than this is still the allocator's: its line may rise by so much from end to end. In the
# shortest useful run, 30 s on a busy machine, the model of the old balancer rises by twice that.
SHORT_CALLS, MAX_SHORT_RISE_MIB = 2_000_000, 4.0
ALERT_LIMIT_S = 60.0
SLOPE_POINTS = 200
# After the warm-up at least so many samples, or the run was too short to say anything.
FEWEST_SAMPLES = 20
DEFAULT_KEYS = 1_000_000
DEFAULT_ENTRIES = 100_000
# A short run has smaller caches, so that the warm-up takes a fifth of it, at 20,000 calls a second.
ENTRIES_PER_SECOND = 200
# So many calls, in limits of all caches, fill them; and with so many the allocator has found its shape. A full cache
# gets a new table (10 MiB at 100,000 keys) every 250,000 new keys, and the first few times the old one's place is too
# small for the next; a short run has no time for that.
FILLED, WARM_UP, SHORT_WARM_UP = 1.1, 12.0, 4.4
COMPARED_KEYS = 250_000


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Run once and return everything there is to say."""
    modules = list(BALANCERS)[: options.types]
    rng = Random(options.seed)
    providers = Providers(modules, rng)
    for _ in range(FIRST):
        await providers.come()
    memo = SharedMemo()
    balancers = dict.fromkeys(modules, "zfoo-2024") if options.old_balancer else BALANCERS
    node = Node(
        id="soak",
        consumes=[(MODULES[module], module, balancers[module]) for module in modules],
        receivers=[],
        table=TABLE,
        discovery=providers,
        network=providers.network,
        balancers={"zfoo-2024": lambda given: Zfoo2024Balancer(given, memo)},
        max_cache_entries=options.max_entries,
    )
    async with node:
        load = Load(node, providers, modules, rng)
        sampling = asyncio.create_task(load.sample())
        try:
            until_s = time.monotonic() + options.seconds if options.seconds else float("inf")
            await load.run(int(options.max_entries * len(modules) * FILLED), until_s)
            load.is_full = True
            warm_up = SHORT_WARM_UP if options.seconds else WARM_UP
            await load.run(int(options.max_entries * len(modules) * warm_up), until_s)
            warm = await load.look_after_collecting()
            calls = int(len(modules) * options.keys / load.new_share) if not options.seconds else sys.maxsize
            await load.run(load.calls + calls, until_s)
            end = await load.look_after_collecting()
        finally:
            sampling.cancel()
    return judge(load, warm, end, options)


def judge(load: Load, warm: dict[str, Any], end: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Hold the figures against the bars."""
    after = [sample for sample in load.samples if sample["calls"] >= warm["calls"]]
    slope_mib = slope([(sample["calls"] / 1e6, sample["rss_mib"]) for sample in after])
    most = {module: max(sample["entries"][module] for sample in load.samples) for module in end["entries"]}
    faults = []
    if options.old_balancer:
        faults += alert_faults(load)
    else:
        if max(most.values()) > options.max_entries:
            faults.append(f"a cache had {max(most.values()):,} entries, over its limit of {options.max_entries:,}")
        if end["rss_mib"] > warm["rss_mib"] + MAX_GROWTH_MIB:
            grown = end["rss_mib"] - warm["rss_mib"]
            faults.append(f"the process grew by {grown:.1f} MiB after the warm-up: more than {MAX_GROWTH_MIB:g}")
        judged = load.calls - warm["calls"]
        if judged >= SHORT_CALLS and slope_mib > MAX_SLOPE_MIB:
            faults.append(f"memory rises by {slope_mib:.2f} MiB per 10^6 calls: more than {MAX_SLOPE_MIB:g}")
        if judged < SHORT_CALLS and slope_mib * judged / 1e6 > MAX_SHORT_RISE_MIB:
            faults.append(f"memory rises by {slope_mib * judged / 1e6:.1f} MiB: more than {MAX_SHORT_RISE_MIB:g}")
        faults += [f"the alert {name} was raised: {text}" for _, name, text in load.alerts]
        faults += [f"{load.misroutes:,} misroutes"] if load.misroutes else []
        faults += [f"{load.wrong_owners:,} answers of another provider than the owner"] if load.wrong_owners else []
    is_short = len(after) < FEWEST_SAMPLES and not options.old_balancer
    return {
        "verdict": "too short" if is_short else "wrong" if faults else "right",
        "faults": faults,
        "balancer": "zfoo-2024" if options.old_balancer else "as configured",
        "types": options.types,
        "calls": load.calls,
        "calls_per_second": round(load.calls / end["seconds"]),
        "seconds": end["seconds"],
        "warm_up_calls": warm["calls"],
        "rss_warm_mib": warm["rss_mib"],
        "rss_end_mib": end["rss_mib"],
        "slope_mib_per_million_calls": round(slope_mib, 3),
        "max_entries": options.max_entries,
        "most_entries": most,
        "hit_ratio": round(end["hits"] / max(1, end["hits"] + end["misses"]), 4),
        "evictions": end["evictions"],
        "membership_changes": end["changes"],
        "failed_asks": dict(load.errors),
        "misroutes": load.misroutes,
        "wrong_owners": load.wrong_owners,
        "judged": load.judged,
        "alerts": [{"seconds": round(at_s, 1), "name": name, "text": text} for at_s, name, text in load.alerts],
        "samples": load.samples,
    }


def alert_faults(load: Load) -> list[str]:
    """Return what is wrong with the alerts of a run that leaks."""
    packets = [type(packet).__name__ for packet, _ in ASKS.values()]
    in_time = [text for at_s, name, text in load.alerts if name.startswith("cache-") and at_s <= ALERT_LIMIT_S]
    if not in_time:
        return [f"no alert of a cache within {ALERT_LIMIT_S:g} s"]
    wanted = {
        "the cache": lambda text: any(repr(module) in text for module in BALANCERS) and "zfoo-2024" in text,
        "the packets": lambda text: any(name in text for name in packets),
        "the cause": lambda text: "cause" in text,
    }
    return [f"no alert names {what}" for what, is_in in wanted.items() if not any(map(is_in, in_time))]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the median slope between all pairs of at most `SLOPE_POINTS` of these points (Theil and Sen).

    A line that steps once, as when the allocator keeps the room of a table that was replaced, has none; one that
    leaks has.
    """
    some = points[:: max(1, len(points) // SLOPE_POINTS)]
    slopes = [(late[1] - soon[1]) / (late[0] - soon[0]) for soon, late in combinations(some, 2) if late[0] > soon[0]]
    return median(slopes) if slopes else 0.0


async def compare(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Run the old balancer and ours, each in a process of its own, so that one's memory is not the other's."""
    found = []
    for old in (False, True):
        words = ["--types", str(options.types), "--seed", str(options.seed), "--json", "--samples"]
        words += ["--max-entries", str(options.max_entries), "--seconds", str(options.seconds)]
        words += ["--keys", str(options.keys)]
        words += ["--old-balancer"] if old else []
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "samples.soak", *words, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        if not out:
            raise CannotRunError(f"the run with {' '.join(words)} ended with exit code {process.returncode}")
        found.append(json.loads(out))
    return found


class CannotRunError(Exception):
    """It cannot run; the text says why."""


def show(figures: dict[str, Any]) -> None:
    """Tell the figures to a person."""
    entries = ", ".join(f"{module} {most:,}" for module, most in figures["most_entries"].items())
    print(
        f"{figures['balancer']}: {figures['calls']:,} calls in {figures['seconds']:.0f} s "
        f"({figures['calls_per_second']:,}/s), {figures['types']} service types, "
        f"{figures['membership_changes']:,} changes of membership\n"
        f"memory {figures['rss_warm_mib']:.1f} MiB after the warm-up ({figures['warm_up_calls']:,} calls), "
        f"{figures['rss_end_mib']:.1f} MiB at the end; "
        f"slope {figures['slope_mib_per_million_calls']:+.2f} MiB per 10^6 calls\n"
        f"most entries (limit {figures['max_entries']:,}): {entries}; hit ratio {figures['hit_ratio']:.2f}; "
        f"evictions {figures['evictions']}\n"
        f"misroutes {figures['misroutes']}, wrong owners {figures['wrong_owners']} of {figures['judged']:,} judged, "
        f"failed asks {figures['failed_asks'] or 0}"
    )
    for alert in figures["alerts"]:
        print(f"alert {alert['name']} after {alert['seconds']:.1f} s: {alert['text']}")
    for fault in figures["faults"]:
        print(f"WRONG: {fault}")
    told = " (the leak was noticed, as it should be)" if figures["balancer"] == "zfoo-2024" else ""
    print(f"verdict: {figures['verdict']}{told if figures['verdict'] == 'right' else ''}")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line; a wrong one ends the program with exit code 2."""
    parser = argparse.ArgumentParser(prog="samples.soak", description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--seconds", type=float, default=0.0, help="stop after so long (default: when all --keys were asked)")
    add(
        "--keys",
        type=int,
        help=f"new ones of each type (default {DEFAULT_KEYS:,}, to --compare {COMPARED_KEYS:,})",
    )
    add("--types", type=int, default=4, help=f"service types, at most {len(BALANCERS)} (default 4)")
    add(
        "--max-entries",
        type=int,
        help="of each cache (default: a tenth of --keys, less in a short run)",
    )
    add("--seed", type=int, default=1, help="of keys and churn (default 1)")
    add("--old-balancer", action="store_true", help="use the model of zfoo's balancer of January 2024")
    add("--compare", action="store_true", help="both, one after the other, with the same calls")
    add("--plot", metavar="FILE", help="draw the memory curves, as PNG")
    add("--json", action="store_true", help="print one JSON object; with --compare two, in a list")
    add("--samples", action="store_true", help="with all samples in the JSON")
    options = parser.parse_args(argv)
    if options.keys is None:
        options.keys = COMPARED_KEYS if options.compare else DEFAULT_KEYS
    if options.max_entries is None:
        few = int(options.seconds * ENTRIES_PER_SECOND) if options.seconds else options.keys // 10
        options.max_entries = min(DEFAULT_ENTRIES, max(1_000, few))
    if not 1 < options.types <= len(BALANCERS) or options.keys < 10_000 or options.max_entries < 1_000:
        parser.error(f"--types is 2 to {len(BALANCERS)}, --keys at least 10,000, --max-entries at least 1,000")
    if not 0 <= options.seconds < float("inf"):
        parser.error("--seconds must be more than 0")
    return options


def main(argv: list[str] | None = None) -> int:
    """Run the soak; return the exit code."""
    options = parse(argv)
    if options.plot and not is_there():
        print(HOW_TO_GET_IT, file=sys.stderr)
        return 2
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runs = runner.run(compare(options)) if options.compare else [runner.run(run(options))]
        if options.plot:
            draw(Path(options.plot), runs)
    except KeyboardInterrupt:
        return 130
    except (CannotRunError, ZfooError, OSError) as error:
        print(f"the soak could not run: {error}", file=sys.stderr)
        return 2
    if not options.samples:
        for figures in runs:
            del figures["samples"]
    if options.json:
        print(json.dumps(runs if options.compare else runs[0]))
    else:
        for figures in runs:
            show(figures)
    verdicts = {figures["verdict"] for figures in runs}
    return 1 if "wrong" in verdicts else 2 if "too short" in verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
