"""How long `import zfoo_py` takes.

    python benchmarks/import_time.py [--rounds N] [--limit-ms MS]

Prints the median of starting `python -c pass` and of `python -c 'import zfoo_py'`, in turn, and the difference;
then the modules that cost most of it, as `python -X importtime` sees them. Byte code is there, as it is for an
installed package: it is written to a folder of its own first. Ends with 1 if the difference is over the limit.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The promise: each start of zfoo-py, of a provider and of a test process pays this.
LIMIT_MS = 150.0
SHOWN = 12
WHOLE = "python -c 'import zfoo_py'"


def environment(bytecode: str) -> dict[str, str]:
    """Return the environment of the measured interpreters."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**kept, "PYTHONPYCACHEPREFIX": bytecode, "PYTHONPATH": str(ROOT)}


def seconds(code: str, env: dict[str, str]) -> float:
    started_s = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env=env)
    return time.perf_counter() - started_s


def most_costly(env: dict[str, str]) -> list[str]:
    """Return a line for each top-level package: its own time and that of its parts, in milliseconds."""
    command = [sys.executable, "-X", "importtime", "-c", "import zfoo_py"]
    done = subprocess.run(command, check=True, env=env, capture_output=True, text=True)
    spent_us: dict[str, int] = {}
    for line in done.stderr.splitlines():
        own_us, _, name = line.removeprefix("import time:").split("|")
        if own_us.strip().isdigit():
            top = name.strip().split(".")[0]
            spent_us[top] = spent_us.get(top, 0) + int(own_us)
    ranked = sorted(spent_us.items(), key=lambda item: -item[1])
    return [f"{us / 1000:8.1f} ms  {name}" for name, us in ranked[:SHOWN]]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10, metavar="N", help="starts of each (default 10)")
    parser.add_argument("--limit-ms", type=float, default=LIMIT_MS, metavar="MS", help=f"default {LIMIT_MS:.0f}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as bytecode:
        env = environment(bytecode)
        seconds("import zfoo_py", env)
        rounds = [(seconds("pass", env), seconds("import zfoo_py", env)) for _ in range(options.rounds)]
        costly = most_costly(env)
    empty_ms, whole_ms = ([took_s * 1000 for took_s in column] for column in zip(*rounds, strict=True))
    import_ms = statistics.median(whole_ms) - statistics.median(empty_ms)
    print(f"{'':27} median of {options.rounds:<4} least")
    print(f"{'python -c pass':27} {statistics.median(empty_ms):7.1f} ms  {min(empty_ms):7.1f} ms")
    print(f"{WHOLE:27} {statistics.median(whole_ms):7.1f} ms  {min(whole_ms):7.1f} ms")
    least_ms = min(whole_ms) - min(empty_ms)
    print(
        f"{'import zfoo_py':27} {import_ms:7.1f} ms  {least_ms:7.1f} ms   limit of the median {options.limit_ms:.0f} ms"
    )
    print("each module's own time, by package (-X importtime, which itself takes time):", *costly, sep="\n")
    return 0 if import_ms <= options.limit_ms else 1


if __name__ == "__main__":
    sys.exit(main())
