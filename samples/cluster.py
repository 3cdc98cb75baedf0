"""`make cluster`: real provider processes, a consumer that replays web requests, churn, and the truth checked.

    python -m samples.cluster                                   # ten seconds of made-up requests
    python -m samples.cluster --trace access.log --json         # a combined access log, plain or gzip
    python -m samples.cluster --churn                           # SIGKILL one provider, start another, meanwhile
    python -m samples.cluster --balancer zfoo-2024              # the old balancer: ends with exit code 1

One process offers two of the three service types, under different balancers. This process hosts the embedded
discovery and is the consumer. The run ends with the verdict of samples/check_cluster.py, which shares no code with
zfoo_py: exit code 0 if every answer was right, 1 if not, 2 if the cluster could not run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samples.check_cluster import Report, check, describe
from samples.providers import ProviderEndedError, Providers
from samples.replay import Recorder, Replay
from samples.services import MODULES
from samples.trace import AccessLog, Request, synthetic
from samples.zfoo_2024 import SharedMemo, Zfoo2024Balancer
from zfoo_py import Node, ZfooError
from zfoo_py.consumer.balancer import BALANCERS
from zfoo_py.events import MembershipChanged
from zfoo_py.node import new_loop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

# What each module is balanced by unless --balancer says otherwise; the process "mixed-1" offers the last two.
DEFAULT_BALANCERS = {
    "visits": "cached-consistent-hash",
    "sessions": "cached-consistent-hash",
    "pages": "consistent-hash",
}
# Balancers that promise to keep a key where it is; the referee holds them to it.
KEEPS_KEYS = {"random": False}
# A provider process is up within half a second; on a loaded machine it may take longer.
START_LIMIT_S = 20.0
DEFAULT_SECONDS = 10.0
# With churn: a provider is killed after this share of the run, another started after that one, and the last part of
# the run begins when it has joined.
KILL_AT, START_AT, HOLD_AT = 0.3, 0.5, 0.7
MEMO_SAMPLES = 20


class CannotRunError(Exception):
    """The cluster cannot run; the text says why."""


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Run the cluster once and return its figures."""
    balancers = {module: options.balancer or name for module, name in DEFAULT_BALANCERS.items()}
    memo = SharedMemo()
    # Two nodes in one process: one hosts the embedded discovery on a free port, the other one replays.
    async with (
        recording(options.journal) as recorder,
        Node(id="discovery", receivers=[], discovery={"address": "127.0.0.1:0", "host": True}) as discovery,
        asyncio.TaskGroup() as group,
    ):
        node = Node(
            id="replay",
            consumes=[(MODULES[name], name, balancer) for name, balancer in balancers.items()],
            receivers=[],
            discovery={"address": discovery.discovery_address},
            balancers={"zfoo-2024": lambda given: Zfoo2024Balancer(given, memo)},
            ready_timeout_s=START_LIMIT_S,
        )
        recorder.write(
            {
                "kind": "header",
                "seed": options.seed,
                "trace": options.trace,
                "balancer": options.balancer or "as configured",
                "balancers": balancers,
                "keeps_keys": {module: KEEPS_KEYS.get(name, True) for module, name in balancers.items()},
            }
        )
        node.events.subscribe(MembershipChanged, recorder.membership)
        providers = Providers(discovery.discovery_address, group)
        try:
            for number in range(1, options.providers + 1):
                await providers.start(f"visits-{number}", "visits")
            await providers.start("sessions-1", "sessions")
            await providers.start("pages-1", "pages")
            await providers.start("mixed-1", "sessions", "pages")
            async with node:
                wanted = {"visits": options.providers, "sessions": 2, "pages": 2}
                async with asyncio.timeout(START_LIMIT_S):
                    await recorder.until(lambda members: {name: len(of) for name, of in members.items()} == wanted)
                return await replay(node, providers, recorder, memo, options)
        finally:
            await providers.stop()


@asynccontextmanager
async def recording(journal: str | None) -> AsyncIterator[Recorder]:
    """Give a recorder, and close its journal in the end."""
    if journal is None:
        yield Recorder(None)
        return
    try:
        file = Path(journal).open("w", encoding="utf-8")  # noqa: ASYNC230, SIM115 - nothing else runs yet; closed below
    except OSError as error:
        raise CannotRunError(f"cannot write {journal}: {error.strerror}") from error
    with file:
        yield Recorder(file)


async def replay(
    node: Node, providers: Providers, recorder: Recorder, memo: SharedMemo, options: argparse.Namespace
) -> dict[str, Any]:
    """Replay the trace against the running cluster, with churn if asked for, and judge it."""
    work = Replay(node, recorder, iter(trace_of(options)), total=options.requests, seconds=options.seconds)
    samples: list[dict[str, int]] = []
    async with asyncio.TaskGroup() as group:
        helpers = []
        if options.balancer == "zfoo-2024":
            helpers.append(group.create_task(sample_memo(work, memo, samples)))
        if options.churn:
            work.hold_at(HOLD_AT)
            helpers.append(group.create_task(churn(work, providers, recorder, options.providers + 1)))
        seconds = await work.run(options.concurrency)
        for helper in helpers:
            helper.cancel()
    services = (await node.consumer.stats())["services"]
    recorder.write(
        {
            "kind": "end",
            "asks": work.asks_begun,
            "stopped_early": work.stopped_early,
            "cache_entries": {module: figures["entries"] for module, figures in services.items()},
            "memo": samples or None,
        }
    )
    rss_mib = peak_rss_mib()  # before the referee takes its share
    report = check(recorder.records(), trace_of(options))
    return {**figures_of(report, recorder, services, seconds), "consumer_rss_mib": rss_mib}


def trace_of(options: argparse.Namespace) -> Iterable[Request]:
    """Return the requests from the beginning."""
    return AccessLog(options.trace) if options.trace else synthetic(options.seed)


async def churn(work: Replay, providers: Providers, recorder: Recorder, number: int) -> None:
    """SIGKILL one provider, later start another, while the replay goes on."""
    killed, started = "visits-2", f"visits-{number}"
    await work.reached(KILL_AT)
    ring_name = recorder.members["visits"][killed]
    await providers.kill(killed)
    recorder.write({"kind": "churn", "event": "killed", "served_by": killed, "ring_name": ring_name})
    await work.reached(START_AT)
    await providers.start(started, "visits")
    async with asyncio.timeout(START_LIMIT_S):
        await recorder.until(lambda members: started in members["visits"] and killed not in members["visits"])
    ring_name = recorder.members["visits"][started]
    recorder.write({"kind": "churn", "event": "started", "served_by": started, "ring_name": ring_name})
    work.release()


async def sample_memo(work: Replay, memo: SharedMemo, samples: list[dict[str, int]]) -> None:
    """Look at the old balancer's memo now and then."""
    for number in range(1, MEMO_SAMPLES + 1):
        await work.reached(number / (MEMO_SAMPLES + 1))
        samples.append({"n": work.asks_begun, "entries": len(memo.providers), "gone": memo.gone()})


def peak_rss_mib() -> float:
    """Return the most memory this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024 * 1024 if sys.platform == "darwin" else 1024), 1)


def figures_of(report: Report, recorder: Recorder, services: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Return the JSON object that the run prints, with the verdict in words as "text"."""
    latency = sorted(recorder.latency_us) or [0.0]
    hits = sum(figures["hits"] for figures in services.values())
    picks = hits + sum(figures["misses"] for figures in services.values())
    evictions: Counter[str] = Counter()
    for figures in services.values():
        evictions.update(figures["evictions"])
    return {
        **report.as_dict(),
        "cache_entries": sum(figures["entries"] for figures in services.values()),
        "hit_ratio": round(hits / picks, 4) if picks else None,
        "evictions": dict(evictions),
        "asks_per_second": round(report.answered / seconds),
        "latency_us": {"p50": round(latency[len(latency) // 2]), "p99": round(latency[int(len(latency) * 0.99)])},
        "seconds": round(seconds, 2),
        "text": describe(report),
    }


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line; a wrong one ends the program with exit code 2."""
    parser = argparse.ArgumentParser(prog="samples.cluster", description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--trace", metavar="FILE", help="combined access log to replay, plain or gzip")
    add("--seed", type=int, default=1, help="of the synthetic trace (default 1)")
    add("--providers", type=int, default=3, help="of visits (default 3)")
    add("--seconds", type=float, help=f"stop after so long (default {DEFAULT_SECONDS:g}, or the trace's end)")
    add("--concurrency", type=int, default=64, help="requests in flight (default 64)")
    add("--balancer", choices=sorted([*BALANCERS, "zfoo-2024"]), help="for all service types")
    add("--churn", action="store_true", help="SIGKILL one provider and start another meanwhile")
    add("--json", action="store_true", help="print one JSON object")
    add("--journal", metavar="FILE", help="write the journal for samples/check_cluster.py")
    options = parser.parse_args(argv)
    if options.providers < 1 or options.concurrency < 1:
        parser.error("--providers and --concurrency must be at least 1")
    if options.churn and options.providers < 2:
        parser.error("--churn kills visits-2: it needs at least two --providers")
    if options.seconds is not None and not 0 < options.seconds < float("inf"):
        parser.error("--seconds must be more than 0")
    if options.seconds is None:
        options.seconds = 0.0 if options.trace else DEFAULT_SECONDS
    return options


def count_requests(trace: str | None) -> int:
    """Return how many requests a log holds; 0 for the synthetic trace, which has no end.

    Raises:
        CannotRunError: it cannot be read, or holds none.
    """
    if not trace:
        return 0
    try:
        requests = sum(1 for _ in AccessLog(trace))
    except OSError as error:
        raise CannotRunError(f"cannot read {trace}: {error.strerror}") from error
    except ValueError as error:
        raise CannotRunError(str(error)) from error
    if not requests:
        raise CannotRunError(f"{trace} holds no web request in combined log format")
    return requests


def show(figures: dict[str, Any]) -> None:
    """Tell the figures to a person."""
    latency = figures["latency_us"]
    print(figures["text"])
    print(
        f"{figures['asks_per_second']:,} asks/s, p50 {latency['p50']:,} µs, p99 {latency['p99']:,} µs; "
        f"cache {figures['cache_entries']:,} entries, hit ratio {figures['hit_ratio']}, "
        f"evictions {figures['evictions']}, consumer {figures['consumer_rss_mib']} MiB"
    )


def main(argv: list[str] | None = None) -> int:
    """Run the sample; return the exit code."""
    options = parse(argv)
    try:
        options.requests = count_requests(options.trace)
        with asyncio.Runner(loop_factory=new_loop) as runner:
            figures = runner.run(run(options))
    except KeyboardInterrupt:
        print("interrupted; every provider was stopped", file=sys.stderr)
        return 130
    except (CannotRunError, ZfooError, OSError, ExceptionGroup) as error:
        print(f"the cluster could not run: {sentence(error)}", file=sys.stderr)
        return 2
    if options.json:
        del figures["text"]
        print(json.dumps(figures))
    else:
        show(figures)
    return 0 if figures["verdict"] == "right" else 1


def sentence(error: Exception) -> str:
    """Say why the cluster could not run; what is no known reason keeps its traceback."""
    while isinstance(error, ExceptionGroup):
        known = [one for one in error.exceptions if isinstance(one, (ProviderEndedError, ExceptionGroup))]
        error = (known or error.exceptions)[0]
    if isinstance(error, (CannotRunError, ProviderEndedError, ZfooError)):
        return str(error)
    if isinstance(error, TimeoutError):
        return f"the providers did not all join within {START_LIMIT_S:g} s"
    if isinstance(error, OSError):
        return str(error)
    raise error


if __name__ == "__main__":
    sys.exit(main())
