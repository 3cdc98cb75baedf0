"""`make bench`: zfoo_py beside raw sockets, hand-written asyncio + msgpack and other libraries, in one run, as ratios.

    W1   one blocking ask at a time          W1a  one awaited ask at a time
    W2   256 asks outstanding, one session   W3   16 blocking threads
    W4   64 KiB both ways, 16 outstanding    W5   memory of the server per idle session

The server is pinned to one core and the client to another; `.same` means both on one core, which leaves out the two
wake-ups of a sleeping core. Only ratios within one run mean something; benchmarks/README.md says more.
"""

from __future__ import annotations

import argparse
import importlib
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
from typing import TYPE_CHECKING, Any, Self

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from arguments import amount, count, new_file  # noqa: E402 - beside this file
from limits import raise_descriptors  # noqa: E402
from workloads import DESCRIPTORS  # noqa: E402

from zfoo_py import __version__ as VERSION  # noqa: E402, N812 - found only now, also where it is not installed

OURS = "zfoo_py"
BASE = "raw_msgpack"
ADAPTERS = ("raw_socket", BASE, OURS)
# With --java.
JAVA = "zfoo_py_java"
# With --peers. (nats needs a server that is no Python package; it is not measured.)
PEERS = ("pyzmq", "pyzmq_asyncio", "pyro5", "thriftpy2_sync", "thriftpy2_aio", "rpyc", "grpc_aio", "grpc_sync")
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


def module_of(adapter: str) -> str:
    """Return the name that workloads.py imports it by."""
    return f"peers.{adapter}" if adapter in PEERS else adapter


def works_of(adapter: str) -> tuple[str, ...]:
    """Return the works that an adapter can do.

    Raises:
        ImportError: its library is not installed.
    """
    module = importlib.import_module(module_of(adapter) if adapter in PEERS else f"{adapter}_adapter")
    works: tuple[str, ...] = getattr(module, "WORKS", WORKS)
    return works


def dists_of(adapter: str) -> list[str]:
    found: list[str] = importlib.import_module(module_of(adapter)).DIST
    return found


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
        words = [sys.executable, str(HERE / "workloads.py"), "serve", module_of(adapter), str(self.port)]
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
    words = [sys.executable, str(HERE / "workloads.py"), "measure", module_of(server.adapter), str(server.port)]
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
        words = [
            sys.executable,
            str(HERE / "workloads.py"),
            "idle",
            module_of(adapter),
            str(server.port),
            "--n",
            str(sessions),
        ]
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


def summary(rounds: list[dict[str, dict[str, Row]]], works: list[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return for each work and adapter medians, and ratios within each round: to the base, and of ours to it."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for work in works:
        key = figure(work)
        found[work] = {}
        for name in rounds[0]:
            rows = [one[name][work] for one in rounds if work in one[name]]
            if not rows:
                continue
            figures: dict[str, Any] = {one: median(row[one] for row in rows) for one in rows[0]}
            values = [row[key] for row in rows]
            figures |= {"least": min(values), "greatest": max(values)}
            figures["foreign_cores"] = max(row.get("foreign_cores", 0.0) for row in rows)
            for of, by, what in ((name, BASE, "to_base"), (OURS, name, "ours_to_it")):
                pairs = [(one[of].get(work), one[by].get(work)) for one in rounds if of in one and by in one]
                ratios = [mine[key] / other[key] for mine, other in pairs if mine and other]
                if ratios:
                    figures[what] = [median(ratios), min(ratios), max(ratios)]
            found[work][name] = figures
    return {work: rows for work, rows in found.items() if rows}


def spread(ratios: list[float] | None) -> str:
    return "" if not ratios else f"{ratios[0]:.2f} ({ratios[1]:.2f}-{ratios[2]:.2f})"


def show(found: dict[str, dict[str, dict[str, Any]]], options: argparse.Namespace) -> None:
    """Print a table for each work."""
    for work, rows in found.items():
        unit, scale = "asks/s", 1.0
        if work == "W4":
            unit, scale = "MB/s each way", 65536 / 1e6
        elif work == "W5":
            unit = "KiB a session"
        digits = 1 if work == "W5" else 0
        lines = [[work, unit, f"x {BASE}", f"{OURS} / it", "p50 µs", "p99 µs", "CPU µs client + server"]]
        for name, one in sorted(rows.items(), key=lambda item: item[1][figure(work)], reverse=work != "W5"):
            values = [f"{one[key] * scale:,.{digits}f}" for key in (figure(work), "least", "greatest")]
            mark = " *" if one["foreign_cores"] > FOREIGN_CORES else ""
            line = [name, f"{values[0]} ({values[1]}-{values[2]}){mark}", spread(one.get("to_base"))]
            line.append(spread(one.get("ours_to_it")) if name != OURS else "")
            if work != "W5":
                line += [f"{one['p50_us']:,.0f}", f"{one['p99_us']:,.0f}"]
                line.append(f"{one['client_cpu_us']:.1f} + {one['server_cpu_us']:.1f}")
            lines.append(line + [""] * (len(lines[0]) - len(line)))
        widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
        for line in lines:
            print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
        print()
    print(
        f"medians (least-greatest) of {options.rounds} rounds, each work at most {options.cap} s; ratios within a round"
    )
    if "W5" in found:
        print(f"W5 with {options.idle} sessions; this process may open {raise_descriptors(DESCRIPTORS):,} descriptors")
    if any(one["foreign_cores"] > FOREIGN_CORES for rows in found.values() for one in rows.values()):
        print(f"* other processes took more than {FOREIGN_CORES} cores in a round: run it again on a quiet machine")
    if not CAN_PIN:
        print("this system cannot pin processes to cores: the scheduler's choice is in the figures, .same is left out")


def machine(dists: Iterable[str] = ()) -> dict[str, Any]:
    """Return what the figures were measured on."""
    names = ("pykka", "msgpack", "msgspec", "uvloop", *dists)
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


def chosen(options: argparse.Namespace) -> dict[str, list[str]]:
    """Return adapter → its works; a peer that is not installed is left out, and named."""
    works = options.only.split(",") if options.only else list(WORKS)
    found = {}
    for name in (*ADAPTERS, *((JAVA,) if options.java else ()), *(PEERS if options.peers else ())):
        try:
            found[name] = [work for work in works if work in works_of(name)]
        except ImportError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    return {name: works for name, works in found.items() if works}


def main() -> int:
    """Measure, print, and write the rows if asked for."""
    lines = (__doc__ or "").splitlines()
    parser = argparse.ArgumentParser(prog="make bench", description=lines[0])
    parser.add_argument("--rounds", type=count, default=3, help="of all works (default: 3)")
    parser.add_argument("--cap", type=amount, default=2.0, metavar="S", help="seconds per work at most (default: 2)")
    parser.add_argument("--only", metavar="WORK,...", help=f"of {', '.join(WORKS)} (default: all)")
    parser.add_argument("--peers", action="store_true", help=f"also {', '.join(PEERS)} (default: not)")
    parser.add_argument("--java", action="store_true", help=f"also {JAVA}: in the format of Java zfoo (default: not)")
    parser.add_argument("--idle", type=count, default=1000, metavar="N", help="sessions of W5 (default: 1000)")
    parser.add_argument("--json", type=new_file, metavar="FILE", help="write every row of every round (default: none)")
    parser.add_argument("--plot", type=new_file, metavar="FILE.png", help="draw the ratios as bars (default: not)")
    options = parser.parse_args()
    works = options.only.split(",") if options.only else list(WORKS)
    if unknown := set(works) - set(WORKS):
        parser.error(f"there is no work {', '.join(sorted(unknown))}; there are {', '.join(WORKS)}")
    raise_descriptors(DESCRIPTORS)
    adapters = chosen(options)
    rounds: list[dict[str, dict[str, Row]]] = []
    names = list(adapters)
    for number in range(options.rounds):
        rows = {}
        for adapter in names if number % 2 == 0 else names[::-1]:
            print(f"round {number + 1} of {options.rounds}: {adapter}", file=sys.stderr, flush=True)
            try:
                rows[adapter] = one_round(adapter, adapters[adapter], options)
            except SystemExit as error:
                if adapter not in PEERS:
                    raise
                print(f"{adapter} is left out of this round: {error}", file=sys.stderr)
                rows[adapter] = {}
        rounds.append({name: rows[name] for name in names})
    found = summary(rounds, works)
    show(found, options)
    about = machine(sorted({dist for name in names if name in PEERS for dist in dists_of(name)}))
    print(", ".join(f"{key} {value}" for key, value in about.items() if key != "versions"))
    print(", ".join(f"{name} {version}" for name, version in about["versions"].items()))
    if options.json:
        text = json.dumps({"machine": about, "options": vars(options), "summary": found, "rounds": rounds}, indent=1)
        Path(options.json).write_text(text + "\n", encoding="utf-8")
    if options.plot:
        from plot import draw_bars  # noqa: PLC0415 - only who draws has matplotlib

        draw_bars(options.plot, found, f"{about['processor']}, {about['cores']} cores, Python {about['python']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
