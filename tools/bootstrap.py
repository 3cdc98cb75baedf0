#!/usr/bin/env python3
"""Set up .venv if needed, then run one of the project's targets in it.

    python3 tools/bootstrap.py cluster --json        the same as: make cluster ARGS="--json"

Targets: install, cluster, test, test-zookeeper, check, bench, bench-ring, bench-growth, bench-sessions, bench-kinds,
soak, drill, drill-zookeeper, ci-short. What follows the target goes to its program.

Standard library only. This file parses and runs on Python 3.8, so that a machine with an old Python gets a
sentence instead of a SyntaxError. The project itself needs Python 3.11 or newer: this interpreter if it is,
else one on PATH, else one of pyenv, else the one that `uv` brings. With `uv` installed, uv makes the
environment; otherwise venv and pip do.

Each target installs only what it needs (`cluster`: the runtime dependencies and rich, which draws its table).
A stamp in .venv holds a hash of pyproject.toml for each set installed; while it fits, nothing is installed or
downloaded. All words of this file go to stderr: stdout belongs to the target.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List, NamedTuple, NoReturn, Optional, Sequence, Tuple

ROOT = Path(__file__).resolve().parent.parent
OLDEST = (3, 11)
NEWEST = (3, 14)  # the newest stable one
# The newest stable one comes first; the one after it may still lack wheels of our dependencies.
PYTHON_NAMES = ("python3.14", "python3.13", "python3.12", "python3.11", "python3.15", "python3", "python")
# The groups and extras of pyproject.toml that a target needs besides the runtime dependencies.
EXTRAS = ("java", "metrics", "zookeeper")
TARGETS: Dict[str, Tuple[str, ...]] = {
    "install": ("tests", "lint", "bench", "story", "plot", *EXTRAS),
    "cluster": ("story",),
    "test": ("tests", "story", *EXTRAS),
    "test-zookeeper": ("tests", "bench", "zookeeper"),
    "check": ("tests", "lint", "bench", "story", "plot", *EXTRAS),  # mypy reads whatever is imported anywhere
    "bench": ("bench",),
    "bench-ring": ("bench",),
    "bench-growth": ("bench",),
    "bench-sessions": ("bench",),
    "bench-kinds": ("bench",),
    "soak": ("bench",),
    "drill": ("bench",),
    "drill-zookeeper": ("bench", "zookeeper"),
    "ci-short": (),
}
# Programs that a person watches: paths given to them are meant from where the person stands, and they draw with
# `--plot`. matplotlib and what it needs are 30 MB, so only who draws gets them.
BENCHMARKS = ("bench", "bench-ring", "bench-growth", "bench-sessions", "bench-kinds")
PROGRAMS = ("cluster", "soak", *BENCHMARKS)
# Longest wait for a candidate to say its version; a pyenv shim on a cold disk needs about half a second.
PROBE_TIMEOUT_S = 20
NETWORK_SIGNS = (
    "name resolution",
    "getaddrinfo",
    "network is unreachable",
    "failed to establish a new connection",
    "connection refused",
    "timed out",
    "no matching distribution",
    "could not find a version",
    "dns error",
    "error sending request",
    "not found in the cache",
    "proxyerror",
)
# Asked of an interpreter; in another environment than ours it names the one that environment was made with.
PROBE = """
import sys
from importlib.util import find_spec
made_with = getattr(sys, "_base_executable", sys.executable)
makes_venv = bool(find_spec("ensurepip") and find_spec("venv"))
print(sys.version_info[0], sys.version_info[1], int(makes_venv), int(bool(find_spec("pip"))), made_with)
"""
# Run by the environment's Python (3.11 or newer, so it has tomllib): the packages of some groups and extras.
READ_GROUPS = """
import sys, tomllib
with open(sys.argv[1], "rb") as file:
    whole = tomllib.load(file)
groups = {**whole.get("project", {}).get("optional-dependencies", {}), **whole["dependency-groups"]}
print("\\n".join(item for name in sys.argv[2:] for item in groups[name]))
"""


class Python(NamedTuple):
    """A Python interpreter that was asked and answered."""

    path: str
    version: Tuple[int, int]
    makes_venv: bool
    has_pip: bool


def say(text: str) -> None:
    """Print one line for the person at the terminal."""
    print(text, file=sys.stderr, flush=True)


def fail(text: str) -> NoReturn:
    """End with a sentence that says what to do."""
    say("zfoo_py: " + text)
    raise SystemExit(1)


def newest_debian_python() -> str:
    """Return the packages of the newest Python that this Debian or Ubuntu offers, as far as it can say."""
    minors = [OLDEST[1] - 1]
    if shutil.which("apt-cache"):
        command = ["apt-cache", "search", "--names-only", r"^python3\.[0-9]+-venv$"]
        lines = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout.decode()
        minors += [int(line.split("-")[0].split(".")[1]) for line in lines.splitlines() if "-venv" in line]
    if max(minors) < OLDEST[1]:
        return "python3 python3-venv"
    return "python3.%d python3.%d-venv" % (max(minors), max(minors))


def command_for_this_system(packages: str) -> str:
    """Return the sentence with this system's install command, or with all of them on an unknown system."""
    sudo = "" if hasattr(os, "geteuid") and os.geteuid() == 0 else "sudo "
    apt = "%sapt-get update && %sapt-get install -y %s" % (sudo, sudo, packages)
    if sys.platform == "darwin":
        return "on macOS run: brew install python@3.13"
    try:
        release = os.uname().release.lower()
    except AttributeError:  # Windows itself
        return "zfoo_py runs in WSL on Windows; run: wsl --install -d Debian, then inside it: " + apt
    if "microsoft" in release:
        return "in WSL run: " + apt
    if shutil.which("apt-get"):
        return "on Debian or Ubuntu run: " + apt
    return "on Debian, Ubuntu and WSL run: " + apt + "; on macOS: brew install python@3.13"


# ------------------------------------------------------------------------------------------- which Python
def probe(path: str) -> Optional[Python]:
    """Ask an interpreter for its version; None if it is none, or does not answer."""
    try:
        done = subprocess.run(
            [path, "-c", PROBE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=PROBE_TIMEOUT_S, check=False
        )
        words = done.stdout.decode().split(maxsplit=4)
        return Python(words[4].strip(), (int(words[0]), int(words[1])), words[2] == "1", words[3] == "1")
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        return None


def candidates() -> List[str]:
    """List interpreters to try, this one first."""
    found = [sys.executable] if sys.executable else []
    found += [path for path in map(shutil.which, PYTHON_NAMES) if path]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    versions = [(int(p.name.split(".")[1]), str(p / "bin" / "python3")) for p in pyenv.glob("3.[0-9]*.[0-9]*")]
    return found + [path for _, path in sorted(versions, reverse=True)]


def find_uv() -> Optional[str]:
    """Return the path of uv, also where `pip install --user` puts it."""
    return shutil.which("uv") or shutil.which("uv", path=str(Path.home() / ".local" / "bin"))


def find_python(uv: Optional[str]) -> str:
    """Return the path of a Python that can make the environment, or what `uv` takes for one.

    Raises:
        SystemExit: there is none; a sentence says what to install.
    """
    newest: Tuple[int, int] = (0, 0)
    without_venv: Optional[Python] = None
    seen = set()
    for path in candidates():
        if path in seen:
            continue
        seen.add(path)
        python = probe(path)
        if python is None:
            continue
        newest = max(newest, python.version)
        if python.version >= OLDEST:
            if python.makes_venv or uv:
                return python.path
            without_venv = without_venv or python
    if uv:
        return ">=%d.%d" % OLDEST  # uv knows more places, and can bring one
    if without_venv:
        name = "python%d.%d-venv" % without_venv.version
        fail(
            "%s has no working venv module (Debian ships it apart): %s"
            % (without_venv.path, command_for_this_system(name))
        )
    fail(
        "Python %d.%d or newer is needed, and the newest one found is %d.%d: %s"
        % (OLDEST + newest + (command_for_this_system(newest_debian_python()),))
        + " (where that is still too old: python3 -m pip install --user uv, and run this again: uv brings a Python)"
    )


# ----------------------------------------------------------------------------------------- the environment
class Environment:
    """The project's .venv: its interpreter, and the stamps of what was installed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / ".venv"
        self.bin = self.path / ("Scripts" if os.name == "nt" else "bin")
        self.python = str(self.bin / ("python.exe" if os.name == "nt" else "python"))

        # Says where it was made: the scripts of an environment name its folder, so a moved one is made anew.
        self.place = self.path / "zfoo_py-place"

    def stamp(self, group: str) -> Path:
        """Return the file that says for which pyproject.toml a group ("" = the project) was installed."""
        return self.path / ("zfoo_py-installed" + ("-" + group if group else ""))

    def wanted(self) -> str:
        """Return what a stamp holds while it fits: it changes with pyproject.toml, and with this folder's place."""
        return hashlib.sha256((self.root / "pyproject.toml").read_bytes() + os.fsencode(str(self.path))).hexdigest()

    def missing(self, groups: Sequence[str]) -> List[str]:
        """Return those of the sets that are not installed, or not for this pyproject.toml."""
        wanted = self.wanted()
        return [g for g in ("", *groups) if not self.stamp(g).is_file() or self.stamp(g).read_text() != wanted]

    def works(self, uv: Optional[str]) -> bool:
        """Tell whether its interpreter starts, is new enough, can install, and was not moved here with the folder."""
        python = probe(self.python) if os.path.exists(self.python) else None
        if python is None or python.version < OLDEST or not (python.has_pip or uv):
            return False
        return not self.place.is_file() or self.place.read_text() == str(self.path)


def run_quietly(command: Sequence[str], log: Path) -> int:
    """Run a command without input; what it prints is added to the log."""
    with log.open("ab") as file:
        file.write(("$ %s\n" % " ".join(map(shlex.quote, command))).encode())
        file.flush()
        return subprocess.call(list(command), stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)


def explain(log: Path, target: str) -> NoReturn:
    """End with the reason why an installation failed."""
    text = log.read_text(errors="replace")
    last = text[text.rfind("\n$ ") + 1 :]
    if any(sign in last.lower() for sign in NETWORK_SIGNS):
        fail(
            "packages could not be downloaded, so this machine seems to have no network (or needs a proxy or a mirror: "
            "HTTPS_PROXY, PIP_INDEX_URL); once it has, run: python3 tools/bootstrap.py %s  (details: %s)"
            % (target, log)
        )
    fail("the installation failed; its last lines (all of it: %s):\n%s" % (log, "\n".join(last.splitlines()[-15:])))


def install(environment: Environment, target: str, groups: Sequence[str]) -> None:
    """Bring the environment to what the target needs; nothing happens when it is there.

    Raises:
        SystemExit: it cannot be done; a sentence says what to do.
    """
    missing = environment.missing(groups)
    if not missing and os.path.exists(environment.python):
        return
    started = time.monotonic()
    uv = find_uv()
    path = environment.path
    log = environment.root / ".venv.log"
    log.write_bytes(b"")
    if not environment.works(uv):
        python = find_python(uv)
        say("zfoo_py: making .venv with %s (once; about half a minute)" % python)
        shutil.rmtree(str(path), ignore_errors=True)
        command = [uv, "venv", "--python", python, str(path)] if uv else [python, "-m", "venv", str(path)]
        if run_quietly(command, log):
            explain(log, target)
        environment.place.write_text(str(path))
        missing = ["", *groups]
    else:
        say("zfoo_py: pyproject.toml or the target asks for more packages; installing them")
    named = [group for group in missing if group]
    packages = subprocess.check_output(
        [environment.python, "-c", READ_GROUPS, str(environment.root / "pyproject.toml"), *named]
    )
    pip = [uv, "pip", "install", "--python", environment.python] if uv else [environment.python, "-m", "pip", "install"]
    if not uv:
        pip += ["--disable-pip-version-check", "--no-input"]
        os.environ.setdefault("PIP_RETRIES", "2")  # with pip's five it takes 85 s to say that there is no network
    if run_quietly([*pip, "-e", str(environment.root), *filter(None, packages.decode().splitlines())], log):
        explain(log, target)
    wanted = environment.wanted()
    for group in missing:
        environment.stamp(group).write_text(wanted)
    log.unlink()
    say("zfoo_py: ready after %.0f s" % (time.monotonic() - started))


# --------------------------------------------------------------------------------------------- the targets
def groups_of(target: str, args: Sequence[str]) -> Tuple[str, ...]:
    """Return the groups and extras that a target needs with these arguments."""
    draws = target in PROGRAMS and any(arg.split("=")[0] == "--plot" for arg in args)
    zookeeper = target == "cluster" and any("zookeeper" in arg for arg in args)
    compares = target == "bench" and "--peers" in args
    return (
        TARGETS[target]
        + (("plot",) if draws else ())
        + (("peers",) if compares else ())
        + (("zookeeper",) if zookeeper else ())
    )


def commands(environment: Environment, target: str, args: Sequence[str]) -> List[List[str]]:
    """Return the commands of a target; all are run, and one that fails makes the target fail."""
    python = environment.python
    root = environment.root

    def tool(name: str, *words: str) -> List[str]:
        return [str(environment.bin / name), *words]

    programs: Dict[str, List[List[str]]] = {
        "install": [],
        "cluster": [[python, "-m", "samples.cluster", *args]],
        # Two processes: on two cores the suite takes 3 minutes and not 5; `ARGS="-n 0"` has it in one.
        "test": [[python, "-m", "pytest", "-n", "2", "--dist", "worksteal", *args]],
        "test-zookeeper": [[python, "-m", "pytest", "tests/zookeeper", *args]],
        "check": [
            tool("ruff", "check"),
            tool("ruff", "format", "--check"),
            tool("mypy"),
            tool("lint-imports", "--no-logo"),
            [python, "-m", "pytest", "-q", "tests/test_architecture.py"],
        ],
        "bench": [[python, str(root / "benchmarks" / "run.py"), *args]],
        "bench-ring": [[python, str(root / "benchmarks" / name), *args] for name in ("ring.py", "balance.py")],
        "bench-growth": [[python, str(root / "benchmarks" / "growth.py"), *args]],
        "bench-sessions": [[python, str(root / "benchmarks" / "sessions.py"), *args]],
        "bench-kinds": [[python, str(root / "benchmarks" / "kinds.py"), *args]],
        "soak": [[python, "-m", "samples.soak", *args]],
        "drill": [[python, "-m", "samples.drill", *args]],
        "drill-zookeeper": [[python, "-m", "samples.registry", *args]],
        "ci-short": [[python, "-m", "tools.ci_short", *args]],
    }
    return programs[target]


def run(environment: Environment, target: str, args: Sequence[str]) -> int:
    """Run a target and return its exit code."""
    todo = commands(environment, target, args)
    if target == "test-zookeeper":
        os.environ.setdefault("TEST_ZOOKEEPER", "1")  # tests/zookeeper/conftest.py
    if target not in PROGRAMS:
        os.chdir(str(environment.root))
    if len(todo) == 1 and os.name != "nt":
        os.execv(todo[0][0], todo[0])  # signals and the terminal go straight to the program
    if not todo:
        say("zfoo_py: .venv is complete")
    failed = []
    for command in todo:
        words = [os.path.basename(command[0]), *command[1:]]
        if len(todo) > 1:
            say("$ " + " ".join(words))
        if subprocess.call(command):
            failed.append(" ".join(words))
    for words_of_one in failed:
        say("zfoo_py: failed: " + words_of_one)
    return 1 if failed else 0


def main(argv: Sequence[str]) -> int:
    """Run `target [--] [arguments]`; return the exit code."""
    if not argv or argv[0] in ("-h", "--help"):
        print((__doc__ or "").strip())
        return 0 if argv else 2
    target, args = argv[0], list(argv[1:])
    if target not in TARGETS:
        fail("there is no target %r; there are: %s" % (target, ", ".join(TARGETS)))
    if args[:1] == ["--"]:
        del args[0]
    environment = Environment(ROOT)
    try:
        install(environment, target, groups_of(target, args))
        return run(environment, target, args)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
