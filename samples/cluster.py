"""`make cluster`: real provider processes, a consumer that replays web requests, churn, and the truth checked.

    python -m samples.cluster                                   # ten seconds of made-up requests
    python -m samples.cluster --trace access.log --json         # a combined access log, plain or gzip
    python -m samples.cluster --churn                           # SIGKILL one provider, start another, meanwhile
    python -m samples.cluster --balancer zfoo-2024              # the old balancer: ends with exit code 1

One process offers two of the three service types, under different balancers. The consumer hosts the embedded
discovery. The run ends with the verdict of samples/check_cluster.py, which shares no code with zfoo_py:
exit code 0 if every answer was right, 1 if not, 2 if the cluster could not run.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from samples.check_cluster import Report, check, describe
from samples.services import MODULES, PageAsk, SessionAsk, VisitAsk
from samples.trace import AccessLog, Request, asks_of, synthetic
from samples.zfoo_2024 import SharedMemo, Zfoo2024Balancer
from zfoo_py import CallError, Node, NotReadyError, RemoteError, ZfooError
from zfoo_py.consumer.balancer import BALANCERS
from zfoo_py.events import MembershipChanged
from zfoo_py.node import new_loop
from zfoo_py.protocol.common import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zfoo_py import Answer, Ask

# What each module is balanced by unless --balancer says otherwise; the process "mixed-1" offers the last two.
DEFAULT_BALANCERS = {"visits": "cached-consistent-hash", "sessions": "cached-consistent-hash", "pages": "consistent-hash"}
# Balancers that promise to keep a key where it is; the referee holds them to it.
KEEPS_KEYS = {"random": False}
# A provider process is up within half a second; on a loaded machine it may take longer.
START_LIMIT_S = 20.0
# With churn: a provider is killed after this share of the run, another started after that one.
KILL_AT, START_AT, HOLD_AT = 0.3, 0.5, 0.7
MEMO_SAMPLES = 20


class Providers:
    """The provider processes of this run; only these are ever signalled, by their ids."""

    def __init__(self, discovery: str) -> None:
        self._discovery = discovery
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, modules: list[str]) -> None:
        """Start one provider process."""
        command = [sys.executable, "-m", "samples.services", "--id", name, "--discovery", self._discovery]
        root = Path(__file__).resolve().parent.parent
        self._processes[name] = subprocess.Popen([*command, "--provides", *modules], cwd=root)

    def kill(self, name: str) -> None:
        """SIGKILL one provider."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def stop(self) -> None:
        """SIGTERM all, and SIGKILL those that do not end."""
        for process in self._processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self._processes.values():
            try:
                process.wait(timeout=5.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()


class Recorder:
    """Writes the journal, and keeps it for the referee."""

    def __init__(self, path: str | None) -> None:
        self.records: list[dict[str, Any]] = []
        self._file: TextIO | None = Path(path).open("w", encoding="utf-8") if path else None
        self.latency_us: list[float] = []
        self.versions: set[int] = set()

    def write(self, record: dict[str, Any]) -> None:
        """Take down one record; nothing after the end, when the cluster is taken apart."""
        if self.records and self.records[-1]["kind"] == "end":
            return
        self.records.append(record)
        if self._file is not None:
            self._file.write(json.dumps(record) + "\n")

    def membership(self, change: MembershipChanged) -> None:
        """Take down what the consumer routes by from now on."""
        self.versions.add(change.membership_version)
        modules = {
            module: [{"ring_name": ring_name, "served_by": node_id} for ring_name, node_id in providers]
            for module, providers in change.modules.items()
        }
        self.write({"kind": "membership", "version": change.membership_version, "modules": modules})

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


class Replay:
    """Asks what the trace prescribes, with many asks in flight, and takes everything down."""

    def __init__(self, node: Node, recorder: Recorder, requests: Iterator[Request], options: argparse.Namespace) -> None:
        self._node = node
        self._recorder = recorder
        self._requests = requests
        self._total = options.requests
        self._seconds = options.seconds
        self._numbers = itertools.count()
        self.begun_at = time.perf_counter()
        self.requests_begun = 0
        self.asks_begun = 0
        self.stopped_early = False
        self.hold: asyncio.Event | None = None

    def progress(self) -> float:
        """Return the share of the run that is over, 0 … 1."""
        if self._total:
            return self.requests_begun / self._total
        return min(1.0, (time.perf_counter() - self.begun_at) / self._seconds)

    async def run(self, concurrency: int) -> float:
        """Replay with that many requests in flight; return the seconds it took."""
        self.begun_at = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(self._worker())
        return time.perf_counter() - self.begun_at

    async def _worker(self) -> None:
        for request in self._requests:
            if self._seconds and time.perf_counter() - self.begun_at >= self._seconds:
                self.stopped_early = True
                return
            if self.hold is not None and self.progress() >= HOLD_AT:
                await self.hold.wait()
            self.requests_begun += 1
            questions = (
                VisitAsk(request.client, request.bytes_sent),
                SessionAsk(request.client, request.bytes_sent),
                PageAsk(request.path),
            )
            # The numbers are taken together, and the asks made one after another: `n` is the order of asking.
            asks = [(next(self._numbers), *each) for each in zip(asks_of(request), questions, strict=True)]
            self.asks_begun += len(asks)
            answers = [(n, prescribed, time.perf_counter(), self._ask(question)) for n, prescribed, question in asks]
            for n, prescribed, asked_at, answer in answers:
                await self._take(n, prescribed, asked_at, answer)

    def _ask(self, question: Ask[Any]) -> Answer[Any]:
        return self._node.consumer.async_ask(question)

    async def _take(self, n: int, prescribed: Any, asked_at: float, answer: Answer[Any]) -> None:
        record = {
            "kind": "ask",
            "n": n,
            "module": prescribed.module,
            "key": prescribed.key,
            "bytes": prescribed.bytes_sent,
            "served_by": None,
            "count": None,
            "may_have_run": None,
        }
        try:
            packet = await answer
        except CallError as error:
            refused = isinstance(error, RemoteError) and error.code == ErrorCode.NOT_SERVED
            record["outcome"] = "NotServed" if refused else type(error).__name__
            record["may_have_run"] = error.may_have_run
            record["served_by"] = answer.provider.partition(" | ")[0] or None
        else:
            self._recorder.latency_us.append((time.perf_counter() - asked_at) * 1e6)
            record["outcome"] = "ok"
            record["served_by"] = packet.served_by
            record["count"] = packet.count
        record["version"] = answer.membership_version or None
        self._recorder.write(record)


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Run the cluster once and return its figures."""
    recorder = Recorder(options.journal)
    balancers = {module: options.balancer or name for module, name in DEFAULT_BALANCERS.items()}
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
    memo = SharedMemo()
    # Two nodes in one process: one hosts the embedded discovery on a free port, the other one replays.
    async with Node(id="discovery", receivers=[], discovery={"address": "127.0.0.1:0", "host": True}) as discovery:
        node = Node(
            id="replay",
            consumes=[(MODULES[name], name, balancer) for name, balancer in balancers.items()],
            receivers=[],
            discovery={"address": discovery.discovery_address},
            balancers={"zfoo-2024": lambda given: Zfoo2024Balancer(given, memo)},
            ready_timeout_s=START_LIMIT_S,
        )
        node.events.subscribe(MembershipChanged, recorder.membership)
        processes = options.processes = Providers(discovery.discovery_address)
        try:
            for number in range(1, options.providers + 1):
                processes.start(f"visits-{number}", ["visits"])
            processes.start("sessions-1", ["sessions"])
            processes.start("pages-1", ["pages"])
            processes.start("mixed-1", ["sessions", "pages"])
            async with node:
                return await replay(node, recorder, memo, options)
        finally:
            processes.stop()
            recorder.close()


async def all_joined(recorder: Recorder, wanted: dict[str, int]) -> None:
    """Wait until so many providers of each module are there."""
    async with asyncio.timeout(START_LIMIT_S):
        while True:
            last = next((record for record in reversed(recorder.records) if record["kind"] == "membership"), None)
            if last is not None and all(len(last["modules"][module]) >= count for module, count in wanted.items()):
                return
            await asyncio.sleep(0.01)


async def replay(node: Node, recorder: Recorder, memo: SharedMemo, options: argparse.Namespace) -> dict[str, Any]:
    """Replay the trace against the running cluster, with churn if asked for, and judge it."""
    await all_joined(recorder, {"visits": options.providers, "sessions": 2, "pages": 2})
    requests: Iterator[Request] = iter(AccessLog(options.trace)) if options.trace else synthetic(options.seed)
    work = Replay(node, recorder, requests, options)
    samples: list[dict[str, int]] = []
    async with asyncio.TaskGroup() as group:
        running = group.create_task(work.run(options.concurrency))
        helpers = [group.create_task(sample_memo(work, memo, samples))] if options.balancer == "zfoo-2024" else []
        if options.churn:
            work.hold = asyncio.Event()
            helpers.append(group.create_task(churn(work, recorder, options)))
        seconds = await running
        for helper in helpers:
            helper.cancel()
    stats = await node.consumer.stats()
    services = stats["services"]
    recorder.write(
        {
            "kind": "end",
            "asks": work.asks_begun,
            "stopped_early": work.stopped_early,
            "cache_entries": {module: figures["entries"] for module, figures in services.items()},
            "memo": samples or None,
        }
    )
    again = AccessLog(options.trace) if options.trace else synthetic(options.seed)
    return figures_of(check(recorder.records, again), recorder, services, seconds)


async def churn(work: Replay, recorder: Recorder, options: argparse.Namespace) -> None:
    """SIGKILL one provider, later start another, while the replay goes on."""
    joined = asyncio.Event()
    killed, started = "visits-2", f"visits-{options.providers + 1}"

    def ring_name_of(name: str) -> str:
        for record in reversed(recorder.records):
            if record["kind"] == "membership":
                for provider in record["modules"]["visits"]:
                    if provider["served_by"] == name:
                        return str(provider["ring_name"])
        return ""

    async def until(share: float) -> None:
        while work.progress() < share:
            await asyncio.sleep(0.002)

    await until(KILL_AT)
    ring_name = ring_name_of(killed)
    options.processes.kill(killed)
    recorder.write({"kind": "churn", "event": "killed", "served_by": killed, "ring_name": ring_name})
    await until(START_AT)
    options.processes.start(started, ["visits"])
    async with asyncio.timeout(START_LIMIT_S):
        while not ring_name_of(started):
            await asyncio.sleep(0.005)
    recorder.write({"kind": "churn", "event": "started", "served_by": started, "ring_name": ring_name_of(started)})
    joined.set()
    assert work.hold is not None
    work.hold.set()


async def sample_memo(work: Replay, memo: SharedMemo, samples: list[dict[str, int]]) -> None:
    """Look at the old balancer's memo now and then."""
    for number in range(1, MEMO_SAMPLES + 1):
        while work.progress() < number / (MEMO_SAMPLES + 1):
            await asyncio.sleep(0.005)
        samples.append({"n": work.asks_begun, "entries": len(memo.providers), "gone": memo.gone()})


def figures_of(report: Report, recorder: Recorder, services: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Return the JSON object that the run prints."""
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
        "consumer_rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "seconds": round(seconds, 2),
        "text": describe(report),
    }


def main(argv: list[str] | None = None) -> int:
    """Run the sample; return the exit code."""
    parser = argparse.ArgumentParser(prog="samples.cluster", description=__doc__.partition("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--trace", metavar="FILE", help="combined access log to replay, plain or gzip")
    parser.add_argument("--seed", type=int, default=1, help="of the synthetic trace (default 1)")
    parser.add_argument("--providers", type=int, default=3, help="of visits (default 3)")
    parser.add_argument("--seconds", type=float, default=None, help="stop after so long (default: 10, or the trace's end)")
    parser.add_argument("--concurrency", type=int, default=64, help="requests in flight (default 64)")
    names = sorted([*BALANCERS, "zfoo-2024"])
    parser.add_argument("--balancer", choices=names, help="for all service types")
    parser.add_argument("--churn", action="store_true", help="SIGKILL one provider and start another meanwhile")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--journal", metavar="FILE", help="write the journal for samples/check_cluster.py")
    options = parser.parse_args(argv)
    if options.churn and options.providers < 2:
        parser.error("--churn kills visits-2: it needs at least two --providers")
    if options.providers < 1 or options.concurrency < 1:
        parser.error("--providers and --concurrency must be at least 1")
    options.requests = 0
    try:
        if options.trace and not options.seconds:
            options.requests = sum(1 for _ in AccessLog(options.trace))
            if not options.requests:
                parser.error(f"{options.trace} holds no web request in combined log format")
        elif not options.seconds:
            options.seconds = 10.0
        with asyncio.Runner(loop_factory=new_loop) as runner:
            figures = runner.run(run(options))
    except (OSError, ValueError, NotReadyError, ZfooError, TimeoutError) as error:
        print(f"the cluster could not run: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    text = figures.pop("text")
    if options.json:
        print(json.dumps(figures))
    else:
        print(text)
        latency = figures["latency_us"]
        print(
            f"{figures['asks_per_second']:,} asks/s, p50 {latency['p50']:,} µs, p99 {latency['p99']:,} µs; "
            f"cache {figures['cache_entries']:,} entries, hit ratio {figures['hit_ratio']}, "
            f"evictions {figures['evictions']}, consumer {figures['consumer_rss_mib']} MiB"
        )
    return 0 if figures["verdict"] == "right" else 1


if __name__ == "__main__":
    sys.exit(main())
