"""One process of the benchmark: a server, a client that measures, or a holder of idle sessions.

    python benchmarks/workloads.py serve ADAPTER PORT
    python benchmarks/workloads.py measure ADAPTER PORT --works W1,W2 --cap S --server-pid PID
    python benchmarks/workloads.py idle ADAPTER PORT --n 1000

`run.py` starts them. Adapters are modules beside this file; benchmarks/README.md has their contract.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import resource
import sys
import threading
from collections import deque
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from limits import raise_descriptors

# Work → asks at most; the time limit usually comes first. A tenth of it, at most so many, warms up before.
ASKS = {"W1": 200_000, "W1a": 200_000, "W2": 1_000_000, "W3": 400_000, "W4": 50_000}
WARM_UP_ASKS = 2_000
# Work → asks outstanding.
OUTSTANDING = {"W1a": 1, "W2": 256, "W4": 16}
THREADS = 16
# A server holds the sessions of W5 and some; the hard limit may be less, and `run.py` says what was got.
DESCRIPTORS = 25_000
BLOB = os.urandom(64 * 1024)  # random, so that nothing gains by compressing


class Numbers:
    """The numbers of the asks of one run, shared by all who ask; the end is a count or a time."""

    def __init__(self, count: int, seconds: float) -> None:
        self._numbers: Iterator[int] = iter(range(count))
        self._until = perf_counter() + seconds
        self.latencies_s: list[float] = []

    def __iter__(self) -> Iterator[int]:
        return self._numbers

    def done(self, begun: float) -> bool:
        """Take down one latency; tell whether the time is over."""
        now = perf_counter()
        self.latencies_s.append(now - begun)
        return now >= self._until


def wrong(got: object, wanted: object) -> AssertionError:
    return AssertionError(f"the answer is {got!r:.60}, not {wanted!r:.60}")


def ask_blocking(ask: Callable[[int], int], numbers: Numbers) -> None:
    for number in numbers:
        begun = perf_counter()
        got = ask(number)
        is_over = numbers.done(begun)
        if got != number:
            raise wrong(got, number)
        if is_over:
            return


async def ask_awaiting(ask: Callable[[int], Awaitable[int]], numbers: Numbers) -> None:
    for number in numbers:
        begun = perf_counter()
        got = await ask(number)
        is_over = numbers.done(begun)
        if got != number:
            raise wrong(got, number)
        if is_over:
            return


async def blob_awaiting(blob: Callable[[bytes], Awaitable[bytes]], numbers: Numbers) -> None:
    for _ in numbers:
        begun = perf_counter()
        got = await blob(BLOB)
        is_over = numbers.done(begun)
        if got != BLOB:
            raise wrong(got, BLOB)
        if is_over:
            return


class Meter:
    """Measures a block: wall time, CPU time of this process and of the server, and what all others took meanwhile."""

    def __init__(self, server_pid: int) -> None:
        self._server = psutil.Process(server_pid)

    def _read(self) -> tuple[float, float, float, float]:
        mine = resource.getrusage(resource.RUSAGE_SELF)
        server = self._server.cpu_times()
        machine = psutil.cpu_times()
        busy = sum(machine) - machine.idle - getattr(machine, "iowait", 0.0)
        busy -= getattr(machine, "guest", 0.0) + getattr(machine, "guest_nice", 0.0)
        return perf_counter(), mine.ru_utime + mine.ru_stime, server.user + server.system, busy

    def __enter__(self) -> None:
        self._before = self._read()

    def __exit__(self, *_: object) -> None:
        after = self._read()
        self.wall_s, self.client_s, self.server_s, busy_s = (b - a for a, b in zip(self._before, after, strict=True))
        self.foreign_cores = max(0.0, busy_s - self.client_s - self.server_s) / self.wall_s

    def row(self, numbers: Numbers) -> dict[str, float]:
        """Return the figures of the block."""
        latencies = sorted(numbers.latencies_s)
        count = len(latencies)
        return {
            "asks": count,
            "seconds": self.wall_s,
            "asks_per_s": count / self.wall_s,
            "p50_us": latencies[count // 2] * 1e6,
            "p99_us": latencies[count * 99 // 100] * 1e6,
            "client_cpu_us": self.client_s / count * 1e6,
            "server_cpu_us": self.server_s / count * 1e6,
            "foreign_cores": self.foreign_cores,
        }


def ask_pipelined(client: Any, numbers: Numbers, outstanding: int) -> None:
    """Keep so many asks on their way over one connection, without a thread for each."""
    on_their_way: deque[tuple[int, float, Any]] = deque()

    def take() -> bool:
        number, begun, handle = on_their_way.popleft()
        got = client.result(handle)
        if got != number:
            raise wrong(got, number)
        return numbers.done(begun)

    for number in numbers:
        if len(on_their_way) >= outstanding and take():
            break
        on_their_way.append((number, perf_counter(), client.submit(number)))
    while on_their_way:
        take()


def blob_blocking(blob: Callable[[bytes], bytes], numbers: Numbers) -> None:
    for _ in numbers:
        begun = perf_counter()
        got = blob(BLOB)
        is_over = numbers.done(begun)
        if got != BLOB:
            raise wrong(got, BLOB)
        if is_over:
            return


def measure_blocking(adapter: Any, port: int, work: str, cap_s: float, meter: Meter) -> dict[str, float]:
    """W1 and W3; W2 and W4 of a peer that cannot await: pipelined if it can, else with a thread for each ask."""
    kind = adapter.SyncClient
    is_pipelined = work == "W2" and hasattr(kind, "submit")
    threads = 1 if is_pipelined or work == "W1" else OUTSTANDING.get(work, THREADS)
    clients = [kind(port) for _ in range(1 if getattr(kind, "SHARED", False) else threads)]

    def ask(client: Any, numbers: Numbers) -> None:
        if is_pipelined:
            ask_pipelined(client, numbers, OUTSTANDING[work])
        elif work == "W4":
            blob_blocking(client.blob, numbers)
        else:
            ask_blocking(client.echo, numbers)

    try:
        for client in clients:
            ask(client, Numbers(WARM_UP_ASKS // len(clients), cap_s / 4))
        numbers = Numbers(ASKS[work], cap_s)
        if threads == 1:
            with meter:
                ask(clients[0], numbers)
            return meter.row(numbers)
        failures: list[BaseException] = []

        def ask_in_thread(client: Any) -> None:
            try:
                ask(client, numbers)
            except BaseException as error:  # noqa: BLE001 - raised below, in the main thread
                failures.append(error)

        places = (clients[number % len(clients)] for number in range(threads))
        asking = [threading.Thread(target=ask_in_thread, args=(client,)) for client in places]
        with meter:
            for thread in asking:
                thread.start()
            for thread in asking:
                thread.join()
        if failures:
            raise failures[0]
        return meter.row(numbers)
    finally:
        for client in clients:
            client.close()


async def measure_awaiting(adapter: Any, port: int, work: str, cap_s: float, meter: Meter) -> dict[str, float]:
    client = await adapter.AsyncClient.connect(port)

    async def ask(numbers: Numbers) -> None:
        if work == "W4":
            await asyncio.gather(*(blob_awaiting(client.blob, numbers) for _ in range(OUTSTANDING[work])))
        elif work == "W1a":
            await ask_awaiting(client.echo, numbers)
        else:
            await asyncio.gather(*(ask_awaiting(client.echo, numbers) for _ in range(OUTSTANDING[work])))

    try:
        await ask(Numbers(WARM_UP_ASKS, cap_s / 4))
        numbers = Numbers(ASKS[work], cap_s)
        with meter:
            await ask(numbers)
        return meter.row(numbers)
    finally:
        await client.close()


def measure(adapter: Any, port: int, works: list[str], cap_s: float, server_pid: int) -> None:
    """Print one JSON line per work."""
    for work in works:
        meter = Meter(server_pid)
        if work in OUTSTANDING and hasattr(adapter, "AsyncClient"):
            row = adapter.run(measure_awaiting(adapter, port, work, cap_s, meter))
        else:
            row = measure_blocking(adapter, port, work, cap_s, meter)
        print(json.dumps({"work": work, **row}), flush=True)


def main() -> None:
    """Be one process."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("role", choices=["serve", "measure", "idle"])
    parser.add_argument("adapter")
    parser.add_argument("port", type=int)
    parser.add_argument("--works", default="")
    parser.add_argument("--cap", type=float, default=2.0)
    parser.add_argument("--server-pid", type=int, default=0)
    parser.add_argument("--n", type=int, default=0)
    options = parser.parse_args()
    name = options.adapter if "." in options.adapter else f"{options.adapter}_adapter"
    adapter = importlib.import_module(name)
    raise_descriptors(2 * options.n + 1024 if options.role == "idle" else DESCRIPTORS)
    if options.role == "serve":
        adapter.serve(options.port)
    elif options.role == "measure":
        measure(adapter, options.port, options.works.split(","), options.cap, options.server_pid)
    else:
        with adapter.idle(options.port, options.n):
            print("held", flush=True)
            sys.stdin.read()


if __name__ == "__main__":
    main()
