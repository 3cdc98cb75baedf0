"""`make cluster`: real provider processes, a consumer that replays web requests, churn, and the truth checked.

    python -m samples.cluster                                   # on a terminal: the story, forty seconds, with keys
    python -m samples.cluster --no-story                        # ten seconds of made-up requests, one pass
    python -m samples.cluster --trace access.log --json         # a combined access log, plain or gzip
    python -m samples.cluster --churn                           # SIGKILL one provider, start another, meanwhile
    python -m samples.cluster --discovery zookeeper             # on a real ZooKeeper, started for it
    python -m samples.cluster --workers                         # asks/s with 1 and with 2 processes of one provider
    python -m samples.cluster --balancer zfoo-2024              # the old balancer: ends with exit code 1

One process offers two of the three service types, under different balancers. This process hosts the embedded
discovery, unless told otherwise, and is the consumer. The run ends with the verdict of samples/check_cluster.py, which
shares no code with zfoo_py: exit code 0 if every answer was right, 1 if not, 2 if the cluster could not run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import signal
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samples import story, story_plot, workers
from samples.check_cluster import Report, check, describe
from samples.memory import sample_memory
from samples.providers import ProviderEndedError
from samples.replay import Recorder, Replay
from samples.running import OLD_BALANCER, START_LIMIT_S, CannotRunError, Cluster, running
from samples.story_terminal import EndedBySignal, is_in_front_of_a_person
from samples.trace import AccessLog, Request, synthetic
from zfoo_py import ZfooError
from zfoo_py.consumer.policies.catalog import BALANCERS
from zfoo_py.node import new_loop

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from samples.memory import Sample
    from samples.zfoo_2024 import SharedMemo

# What each module is balanced by unless --balancer says otherwise; the process "mixed-1" offers the last two.
DEFAULT_BALANCERS = {
    "visits": "cached-consistent-hash",
    "sessions": "cached-consistent-hash",
    "pages": "consistent-hash",
}
DEFAULT_SECONDS = 10.0
# With churn: a provider is killed after this share of the run, another started after that one, and the last part of
# the run begins when it has joined.
KILL_AT, START_AT, HOLD_AT = 0.3, 0.5, 0.7
MEMO_SAMPLES = 20
KNOWN_BALANCERS = sorted([*BALANCERS, OLD_BALANCER])
# What asks for one pass to its end, also on a terminal.
ONE_PASS = ("trace", "json", "churn", "balancer", "journal", "workers")


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Run the cluster once and return its figures."""
    balancers = {module: options.balancer or name for module, name in DEFAULT_BALANCERS.items()}
    with recording(options.journal) as recorder:
        note(options, f"starting {options.providers + 3} providers …")
        async with running(options, recorder, balancers) as cluster:
            length = f"the log, {options.seconds:g} s at most" if options.trace else f"{options.seconds:g} s"
            length = length if options.seconds else "the whole log"
            note(options, f"all have joined; replaying {length}, then the referee judges …")
            return await replay(cluster, options)


def note(options: argparse.Namespace, text: str) -> None:
    """Tell whoever waits how far it is; standard output is for the figures."""
    if not options.json:
        print(text, file=sys.stderr, flush=True)


@contextmanager
def recording(journal: str | None) -> Iterator[Recorder]:
    """Give a recorder, and close its journal in the end."""
    if journal is None:
        yield Recorder(None)
        return
    try:
        file = Path(journal).open("w", encoding="utf-8")  # noqa: SIM115 - closed below
    except OSError as error:
        raise CannotRunError(f"cannot write {journal}: {error.strerror}") from error
    with file:
        yield Recorder(file)


async def replay(cluster: Cluster, options: argparse.Namespace) -> dict[str, Any]:
    """Replay the trace against the running cluster, with churn if asked for, and judge it."""
    node, recorder = cluster.node, cluster.recorder
    work = Replay(node, recorder, iter(trace_of(options)), total=options.requests, seconds=options.seconds)
    samples: list[dict[str, int]] = []
    curve: list[Sample] = []
    async with asyncio.TaskGroup() as group:
        helpers = []
        if options.balancer == OLD_BALANCER:
            helpers.append(group.create_task(sample_memo(work, cluster.memo, samples)))
        if options.churn:
            work.hold_at(HOLD_AT)
            helpers.append(group.create_task(churn(work, cluster, options.providers + 1)))
        if options.plot:
            helpers.append(group.create_task(sample_memory(cluster, curve)))
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
    if options.plot:
        for path in story_plot.draw(options.plot, [("at the end", recorder.members["visits"])], curve, []):
            note(options, f"drew {path}")
    return {**figures_of(report, recorder, services, seconds), "consumer_rss_mib": rss_mib}


def trace_of(options: argparse.Namespace) -> Iterable[Request]:
    """Return the requests from the beginning."""
    return AccessLog(options.trace) if options.trace else synthetic(options.seed)


async def churn(work: Replay, cluster: Cluster, number: int) -> None:
    """SIGKILL one provider, later start another, while the replay goes on."""
    killed = "visits-2"
    await work.reached(KILL_AT)
    await cluster.kill(killed)
    await work.reached(START_AT)
    await cluster.start(f"visits-{number}", without=killed)
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
    add("--seconds", type=float, help=f"stop after so long (default {DEFAULT_SECONDS:g}, or the log's end; story: 40)")
    add("--concurrency", type=int, default=64, help="requests in flight (default 64)")
    add("--balancer", type=balancer_name, metavar="NAME", help=f"for all service types: {', '.join(KNOWN_BALANCERS)}")
    add("--churn", action="store_true", help="SIGKILL one provider and start another meanwhile")
    add("--json", action="store_true", help="print one JSON object")
    add("--journal", metavar="FILE", help="write the journal for samples/check_cluster.py")
    add("--workers", action="store_true", help="only measure asks/s with 1 and 2 worker processes of one provider")
    add("--discovery", metavar="PLACE", help="zookeeper: one is started; or zookeeper://HOST:PORT (default: embedded)")
    add("--plot", metavar="DIR", help="draw the ring and the memory curve there, as PNG")
    add(
        "--story",
        action=argparse.BooleanOptionalAction,
        help="tell a story instead of one pass; the default on a terminal without the options of one pass",
    )
    options = parser.parse_args(argv)
    if options.providers < 1 or options.concurrency < 1:
        parser.error("--providers and --concurrency must be at least 1")
    if options.churn and options.providers < 2:
        parser.error("--churn kills visits-2: it needs at least two --providers")
    if options.seconds is not None and not 0 < options.seconds < float("inf"):
        parser.error("--seconds must be more than 0")
    one_pass = [name for name in ONE_PASS if getattr(options, name)]
    if options.story and one_pass:
        parser.error(f"--{one_pass[0]} is of one pass, not of the story: leave --story out")
    if options.story is None:
        options.story = not one_pass and is_in_front_of_a_person()
    if options.story and options.providers < 2:
        parser.error("the story kills a provider of visits: it needs at least two --providers")
    if options.seconds is None:
        options.seconds = story.SECONDS if options.story else 0.0 if options.trace else DEFAULT_SECONDS
    return options


def balancer_name(text: str) -> str:
    """Return the name of a balancer; the node judges those of the form module:Class."""
    if text in KNOWN_BALANCERS or ":" in text:
        return text
    raise argparse.ArgumentTypeError(
        f"there is no balancer {text!r}; there are {', '.join(KNOWN_BALANCERS)}, and your own as module:Class"
    )


def make_folder(folder: str | None) -> None:
    """See that pictures can be drawn, before anything runs.

    Raises:
        CannotRunError: they cannot.
    """
    if folder is None:
        return
    if not story_plot.is_there():
        raise CannotRunError(story_plot.HOW_TO_GET_IT)
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotRunError(f"cannot write to {folder}: {error.strerror}") from error


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
    if options.workers:
        return workers.tell(options.seconds, as_json=options.json)
    try:
        options.requests = count_requests(options.trace)
        make_folder(options.plot)
        with asyncio.Runner(loop_factory=new_loop) as runner:
            if options.story:
                return runner.run(story.tell(options))
            figures = runner.run(run(options))
    except KeyboardInterrupt:
        print("interrupted; every provider was stopped", file=sys.stderr)
        return 130
    except EndedBySignal as end:
        if end.number == signal.SIGHUP:  # what is still to be printed has no reader, and Python would end with 120
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + end.number
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
