"""`make bench`: zfoo_py beside hand-written asyncio + msgpack, in turn, in one run, as medians and ratios.

    W1   one blocking ask at a time          W1a  one awaited ask at a time
    W2   256 asks outstanding, one session   W3   16 blocking threads
    W4   64 KiB both ways, 16 outstanding    W5   memory of the server per idle session

The server is pinned to one core and the client to another; `.same` means both on one core, which leaves out the two
wake-ups of a sleeping core. Only ratios within one run mean something; benchmarks/README.md says more.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, Self

import psutil

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from zfoo_py import __version__ as VERSION  # noqa: E402, N812 - found only now, also where it is not installed

ADAPTERS = ("raw_msgpack", "zfoo_py")
BASE = ADAPTERS[0]
WORKS = ("W1.same", "W1", "W1a.same", "W1a", "W2", "W3", "W4", "W5")
# A process that serves is up within a second; on a busy machine it may take longer.
START_LIMIT_S = 30.0
STOP_LIMIT_S = 5.0
# CPU time of others, in cores, above which a row is marked: the machine was not ours.
FOREIGN_CORES = 0.15
CAN_PIN = hasattr(os, "sched_setaffinity")

Row = dict[str, float]


def cores() -> tuple[int, int]:
    """Return the server's and the client's core; one and the same on a machine with one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[min(1, len(allowed) - 1)]


def on_core(core: int | None) -> dict[str, Any]:
    """Return what lets a process, and all it starts, run on one core only."""
    return {"preexec_fn": lambda: os.sched_setaffinity(0, {core})} if core is not None else {}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


class Server:
    """A server in a process of its own; only that process is ended."""

    def __init__(self, adapter: str, core: int | None) -> None:
        self.adapter = adapter
        self.port = free_port()
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the server
        words = [sys.executable, str(HERE / "workloads.py"), "serve", adapter, str(self.port)]
        self.process = subprocess.Popen(words, stdout=self.log, stderr=self.log, **on_core(core))

    def __enter__(self) -> Self:
        deadline = time.monotonic() + START_LIMIT_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{self.adapter} does not serve:\n{self.last_words()}") from None
                time.sleep(0.02)
            else:
                return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def last_words(self) -> str:
        self.log.seek(0)
        return self.log.read()[-2000:]

    def rss_kib(self) -> float:
        rss: int = psutil.Process(self.process.pid).memory_info().rss
        return rss / 1024


def measure(server: Server, works: list[str], cap_s: float, core: int | None) -> dict[str, Row]:
    """Run works against a server; return their rows."""
    words = [sys.executable, str(HERE / "workloads.py"), "measure", server.adapter, str(server.port)]
    words += ["--works", ",".join(works), "--cap", str(cap_s), "--server-pid", str(server.process.pid)]
    limit_s = 60 + 4 * cap_s * len(works)
    done = subprocess.run(words, capture_output=True, text=True, timeout=limit_s, check=False, **on_core(core))
    rows = {row.pop("work"): row for row in map(json.loads, done.stdout.splitlines())}
    if done.returncode or set(rows) != set(works):
        raise SystemExit(f"{server.adapter} failed:\n{done.stderr[-2000:]}\n{server.last_words()}")
    return rows


def measure_idle(adapter: str, sessions: int, core: int | None) -> Row:
    """Return what an idle session costs the server, each having asked once."""
    with Server(adapter, core) as server:
        measure(server, ["W1"], 0.3, core)
        before_kib = server.rss_kib()
        words = [sys.executable, str(HERE / "workloads.py"), "idle", adapter, str(server.port), "--n", str(sessions)]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdin is not None
            assert holder.stdout is not None
            try:
                if not select.select([holder.stdout], [], [], START_LIMIT_S + sessions / 100)[0]:
                    raise SystemExit(f"{adapter} did not hold {sessions} sessions in time")
                if holder.stdout.readline() != "held\n":
                    raise SystemExit(f"{adapter} did not hold {sessions} sessions:\n{server.last_words()}")
                with_them_kib = server.rss_kib()
            finally:
                holder.kill()
    return {
        "sessions": sessions,
        "server_mib_before": before_kib / 1024,
        "server_mib_with_them": with_them_kib / 1024,
        "kib_per_session": (with_them_kib - before_kib) / sessions,
    }


def one_round(adapter: str, works: list[str], options: argparse.Namespace) -> dict[str, Row]:
    """Measure one adapter once."""
    server_core, client_core = cores() if CAN_PIN else (None, None)
    rows: dict[str, Row] = {}
    apart = [work for work in works if "." not in work and work != "W5"]
    same = [work.partition(".")[0] for work in works if work.endswith(".same")] if CAN_PIN else []
    with Server(adapter, server_core) as server:
        if apart:
            rows |= measure(server, apart, options.cap, client_core)
        if same:
            found = measure(server, same, options.cap, server_core)
            rows |= {f"{work}.same": row for work, row in found.items()}
    if "W5" in works:
        rows["W5"] = measure_idle(adapter, options.idle, server_core)
    return rows


def figure(work: str) -> str:
    """Return the name of the figure that a work is judged by."""
    return "kib_per_session" if work == "W5" else "asks_per_s"


def column(rounds: list[dict[str, dict[str, Row]]], adapter: str, work: str, key: str) -> list[float]:
    """Return one figure of every round."""
    return [one[adapter][work][key] for one in rounds if work in one.get(adapter, {})]


def summary(rounds: list[dict[str, dict[str, Row]]], works: list[str]) -> dict[str, dict[str, Any]]:
    """Return for each work the medians of each adapter, and of the ratios within each round."""
    found: dict[str, dict[str, Any]] = {}
    for work in works:
        if not column(rounds, BASE, work, figure(work)):
            continue
        adapters = {
            name: {key: median(column(rounds, name, work, key)) for key in rounds[0][name][work]} for name in ADAPTERS
        }
        ratios = [one[ADAPTERS[1]][work][figure(work)] / one[BASE][work][figure(work)] for one in rounds]
        foreign = [one[name][work].get("foreign_cores", 0.0) for one in rounds for name in ADAPTERS]
        found[work] = {
            **adapters,
            "ratio": median(ratios),
            "ratio_from": min(ratios),
            "ratio_to": max(ratios),
            "foreign_cores": max(foreign),
        }
    return found


def show(found: dict[str, dict[str, Any]], options: argparse.Namespace) -> None:
    """Print the table."""
    head = ["work", *ADAPTERS, f"ratio to {BASE}", "p50 µs", "p99 µs", "CPU µs client + server"]
    lines = [head]
    for work, one in found.items():
        unit = " KiB/session" if work == "W5" else "/s"
        digits = 1 if work == "W5" else 0
        line = [work, *(f"{one[name][figure(work)]:,.{digits}f}{unit}" for name in ADAPTERS)]
        if work == "W4":
            line[1:] = [f"{one[name]['asks_per_s'] * 65536 / 1e6:,.0f} MB/s" for name in ADAPTERS]
        mark = " *" if one["foreign_cores"] > FOREIGN_CORES else ""
        line.append(f"{one['ratio']:.2f} ({one['ratio_from']:.2f}-{one['ratio_to']:.2f}){mark}")
        if work != "W5":
            line += [" / ".join(f"{one[name][key]:,.0f}" for name in ADAPTERS) for key in ("p50_us", "p99_us")]
            costs = [f"{one[name]['client_cpu_us']:.1f} + {one[name]['server_cpu_us']:.1f}" for name in ADAPTERS]
            line.append(" / ".join(costs))
        lines.append(line + [""] * (len(head) - len(line)))
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    for line in lines:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
    print(f"\nmedians of {options.rounds} rounds, each work at most {options.cap} s; W5 with {options.idle} sessions")
    if any(one["foreign_cores"] > FOREIGN_CORES for one in found.values()):
        print(f"* other processes took more than {FOREIGN_CORES} cores in a round: run it again on a quiet machine")
    if not CAN_PIN:
        print("this system cannot pin processes to cores: the scheduler's choice is in the figures, .same is left out")


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    names = ("pykka", "msgpack", "msgspec", "uvloop")
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": cpu_name(),
        "cores": os.cpu_count(),
        "versions": {"zfoo_py": VERSION, **{name: importlib.metadata.version(name) for name in names}},
        "date": time.strftime("%Y-%m-%d"),
    }


def cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> int:
    """Measure, print, and write the rows if asked for."""
    lines = (__doc__ or "").splitlines()
    parser = argparse.ArgumentParser(prog="make bench", description=lines[0])
    parser.add_argument("--rounds", type=int, default=3, help="of all works (default: 3)")
    parser.add_argument("--cap", type=float, default=2.0, metavar="S", help="seconds per work at most (default: 2)")
    parser.add_argument("--only", metavar="WORK,...", help=f"of {', '.join(WORKS)} (default: all)")
    parser.add_argument("--idle", type=int, default=1000, metavar="N", help="sessions of W5 (default: 1000)")
    parser.add_argument("--json", metavar="FILE", help="write every row of every round (default: none)")
    options = parser.parse_args()
    works = options.only.split(",") if options.only else list(WORKS)
    if unknown := set(works) - set(WORKS):
        parser.error(f"there is no work {', '.join(sorted(unknown))}; there are {', '.join(WORKS)}")
    if options.rounds < 1 or options.cap <= 0 or options.idle < 1:
        parser.error("--rounds, --cap and --idle must be greater than 0")
    rounds: list[dict[str, dict[str, Row]]] = []
    for number in range(options.rounds):
        order = ADAPTERS if number % 2 == 0 else ADAPTERS[::-1]
        rows = {}
        for adapter in order:
            print(f"round {number + 1} of {options.rounds}: {adapter}", file=sys.stderr, flush=True)
            rows[adapter] = one_round(adapter, works, options)
        rounds.append(rows)
    found = summary(rounds, works)
    show(found, options)
    about = machine()
    print(", ".join(f"{key} {value}" for key, value in about.items() if key != "versions"))
    print(", ".join(f"{name} {version}" for name, version in about["versions"].items()))
    if options.json:
        text = json.dumps({"machine": about, "options": vars(options), "summary": found, "rounds": rounds}, indent=1)
        Path(options.json).write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
