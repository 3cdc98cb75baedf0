"""Try the project as a stranger does: a fresh clone, an empty HOME, a bare environment, no make. At most five minutes.

    make ci-short                 or, from the project's folder: python3 -m tools.ci_short

The clone runs the cluster twice, the second time with the network refused. Its wheel is installed by itself into
an empty environment, where the command line, the metadata, the extras and the quick start are tried, also with the
newest Python of this machine. What is not committed is not in the clone, and a line says so.

Each step prints one line. The first that fails prints what it saw and ends this with 1. Standard library only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any, Final

from tools import bootstrap
from tools.stranger import LIMIT_S, FailedError, SkippedError, Stranger, check, last_json, network_refused, plain

ROOT: Final = bootstrap.ROOT
SOAK_S: Final = 30  # long enough for three crashes of providers, short beside the limit
# Of samples/drill: without those that wait for heartbeats, Hellos or restarts, and O1, which a busy machine turns red.
DRILL_ROWS: Final = "F1,F10,F11,O2,O4,O8,O9,O10,H1,H3,H7,M3,D3,D6,D7,D8"
# As sitecustomize.py: writes down each program that tools/bootstrap.py starts, and when.
NOTES: Final = """
import json, os, sys, time
def note(event, args):
    if event in ("subprocess.Popen", "os.exec", "os.system") and sys.argv[0].endswith("bootstrap.py"):
        words = [os.fsdecode(word) for word in args[1]] if event != "os.system" else [str(args[0])]
        with open(os.environ["CI_NOTES"], "a") as file:
            file.write(json.dumps([time.time(), event, words]) + "\\n")
sys.addaudithook(note)
"""
MISSING_EXTRA: Final = """
from zfoo_py.errors import ConfigError
from zfoo_py.extras import need
try:
    need({module!r}, {extra!r})
except ConfigError as error:
    print(error)
"""


def not_committed(root: Path) -> list[str]:
    """Return a line for each change of the work tree that a clone does not have."""
    done = subprocess.run(["git", "-C", root, "status", "--porcelain"], capture_output=True, text=True, check=False)
    check(not done.returncode, f"{root} is no git clone, so no fresh one can be made of it: {done.stderr}")
    return done.stdout.splitlines()


# ----------------------------------------------------------------------------------------------- the steps
def clone(stranger: Stranger) -> str:
    """A fresh clone of what is committed."""
    stranger.run("git", "clone", "--quiet", ROOT, stranger.clone)
    return stranger.run("git", "log", "-1", "--format=%h %s", cwd=stranger.clone).strip()


def cluster(stranger: Stranger, *before: str, env: Mapping[str, str] | None = None) -> str:
    """Run the cluster for two seconds; return what it says of itself."""
    command = [*before, "python3", "tools/bootstrap.py", "cluster", "--seconds", "2", "--json"]
    found = last_json(stranger.run(*command, cwd=stranger.clone, env=env))
    check(found.get("verdict") == "right", f"the cluster's verdict is not right: {found}")
    return f"verdict right, {found.get('asks')} asks"


def first_run(stranger: Stranger) -> str:
    """The cluster, from nothing; what it installs is for nobody's tests or benchmarks."""
    verdict = cluster(stranger)
    groups = stranger.pyproject()["dependency-groups"]
    others = {plain(item) for name, items in groups.items() if name != "story" for item in items}
    found = stranger.packages(stranger.clone / ".venv" / "bin" / "python")
    check(not others & found.keys(), f"`cluster` installed what it does not need: {sorted(others & found.keys())}")
    return f"{verdict}, {len(found)} packages"


def without_network(stranger: Stranger) -> str:
    """The cluster again, with the network refused: nothing is downloaded, no installer is even started."""
    before, env, how = network_refused(stranger)
    site = stranger.fresh_folder("site")
    (site / "sitecustomize.py").write_text(NOTES, encoding="utf-8")
    notes = stranger.folder / "notes"
    started = time.time()
    verdict = cluster(stranger, *before, env={**env, "PYTHONPATH": str(site), "CI_NOTES": str(notes)})
    started_programs = [json.loads(line) for line in notes.read_text(encoding="utf-8").splitlines()]
    asked = [" ".join(words) for _, event, words in started_programs if event != "os.exec"]
    check(not asked, f"bootstrap.py started programs although nothing had changed: {asked}")
    check(len(started_programs) == 1, f"bootstrap.py was to become the cluster, once: {started_programs}")
    return f"{verdict}, no installer started, the cluster began after {started_programs[0][0] - started:.2f} s ({how})"


def wheel(stranger: Stranger) -> str:
    """The wheel: typed, described, the package alone, and its extras."""
    dist = stranger.fresh_folder("dist")
    if stranger.uv:
        stranger.run(stranger.uv, "build", "--wheel", "--out-dir", dist, stranger.clone)
    else:
        python = stranger.clone / ".venv" / "bin" / "python"
        options = ("--disable-pip-version-check", "--no-deps", "--wheel-dir", str(dist))
        stranger.run(python, "-m", "pip", "wheel", *options, stranger.clone)
    made = wheel_of(stranger)
    with zipfile.ZipFile(made) as archive:
        names = archive.namelist()
        (described,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        metadata: Message = Parser().parsestr(archive.read(described).decode())
    check("zfoo_py/py.typed" in names, "py.typed is not in the wheel, so type checkers ignore the package's types")
    strange = [name for name in names if not name.startswith(("zfoo_py/", "_zfoo_pytest.py", described.split("/")[0]))]
    check(not strange, f"the wheel has more than the package: {strange}")
    readme = (stranger.clone / "README.md").read_text(encoding="utf-8")
    check(metadata.get_payload() == readme, "the long description is not README.md")
    check(metadata["Description-Content-Type"] == "text/markdown", "the long description is not marked as Markdown")
    extras = sorted(metadata.get_all("Provides-Extra") or [])
    check(extras == sorted(stranger.pyproject()["project"].get("optional-dependencies", {})), f"extras: {extras}")
    return f"{made.name}, {made.stat().st_size // 1024} KiB, extras {', '.join(extras)}"


def wheel_of(stranger: Stranger) -> Path:
    """Return the wheel that was built."""
    (made,) = (stranger.folder / "dist").glob("*.whl")
    return made


def try_wheel(stranger: Stranger, name: str, python: str) -> str:
    """Install the wheel alone and run the command line; only runtime dependencies come along."""
    bin_ = stranger.venv_with(name, python, wheel_of(stranger))
    empty = stranger.fresh_folder(f"{name}-empty")
    found = stranger.packages(bin_ / "python")
    wanted = {plain(text) for wants in found.values() for text in wants if "extra ==" not in text} | {"zfoo-py"}
    check(found.keys() <= wanted, f"nobody asked for {sorted(found.keys() - wanted)}")
    for command in ([bin_ / "python", "-m", "zfoo_py"], [bin_ / "zfoo-py"]):
        check("zfoo-py" in stranger.run(*command, "--help", cwd=empty), f"{command} --help says nothing of itself")
    where = stranger.run(bin_ / "python", "-c", "import zfoo_py; print(zfoo_py.__file__)", cwd=empty)
    check(where.startswith(str(bin_.parent)), f"zfoo_py came from {where}")
    version = stranger.run(bin_ / "python", "--version").strip()
    return f"{version}: {', '.join(sorted(found))}"


def install(stranger: Stranger) -> str:
    """The wheel in an empty environment."""
    base = bootstrap.probe(sys.executable)
    check(base, f"{sys.executable} does not answer")
    return try_wheel(stranger, "installed", base.path if base else "")


def missing_extras(stranger: Stranger) -> str:
    """Without an extra, one sentence names it."""
    python = stranger.folder / "installed" / "bin" / "python"
    modules = {"java": "tree_sitter", "metrics": "prometheus_client", "zookeeper": "kazoo.client"}
    for extra in stranger.pyproject()["project"].get("optional-dependencies", {}):
        said = stranger.run(python, "-c", MISSING_EXTRA.format(module=modules[extra], extra=extra)).splitlines()
        named = len(said) == 1 and f"pip install 'zfoo_py[{extra}]'" in said[0]
        check(named, f"the extra {extra} is not named in one sentence: {said}")
    return ", ".join(modules)


def quick_start(stranger: Stranger, name: str = "installed") -> str:
    """README's quick start, block by block in an empty folder, with the installed wheel."""
    program = stranger.clone / "tools" / "quick_start.py"
    if not program.is_file():
        raise SkippedError("there is no tools/quick_start.py")
    bin_ = stranger.folder / name / "bin"
    stranger.install(bin_ / "python", "pytest")  # as README says; the test that `zfoo-py new` writes needs it
    empty = stranger.fresh_folder(f"{name}-quick-start")
    stranger.run(bin_ / "python", program, "--readme", stranger.clone / "README.md", "--bin", bin_, cwd=empty)
    return "each block of README ran"


def newest_python(stranger: Stranger) -> str:
    """The wheel, the command line and the quick start with the newest Python of this machine."""
    found = {python for path in bootstrap.candidates() if (python := bootstrap.probe(path)) and python.makes_venv}
    stable = [python for python in found if python.version <= bootstrap.NEWEST]
    newest = max(stable, key=lambda python: python.version, default=None)
    if newest is None or newest.version <= sys.version_info[:2]:
        raise SkippedError("no newer Python than {}.{} on this machine".format(*sys.version_info[:2]))
    said = try_wheel(stranger, "newest", newest.path)
    try:
        return f"{said.split(':')[0]}, {quick_start(stranger, 'newest')}"
    except SkippedError as reason:
        return f"{said}; without quick start: {reason}"


def soak(stranger: Stranger) -> str:
    """The soak test, shortened."""
    if not (stranger.clone / "samples" / "soak.py").is_file():
        raise SkippedError("there is no samples/soak.py")
    stranger.run("python3", "tools/bootstrap.py", "soak", "--seconds", str(SOAK_S), cwd=stranger.clone)
    return f"{SOAK_S} s"


def drill(stranger: Stranger) -> str:
    """The rows of the failure card that need no default time-out."""
    if not (stranger.clone / "samples" / "drill").is_dir():
        raise SkippedError("there is no samples/drill")
    rows = played(stranger, DRILL_ROWS)
    red = {row["id"] for row in rows if not row["passed"]}
    # Other programs on the machine can make a row red; red again by itself, and it is the protection that fails.
    once_more = played(stranger, ",".join(sorted(red))) if red else []
    still_red = [row for row in once_more if not row["passed"]]
    check(not still_red, f"rows of the failure card are red: {still_red}")
    return ", ".join(row["id"] + (" (played again)" if row["id"] in red else "") for row in rows)


def played(stranger: Stranger, ids: str) -> list[dict[str, Any]]:
    """Play rows of the failure card; a red one makes the program end with 1, and is in what it prints."""
    command = ("python3", "tools/bootstrap.py", "drill", "--short", "--json", "--only", ids)
    said = stranger.run(*command, cwd=stranger.clone, codes=(0, 1))
    found: list[dict[str, Any]] = json.loads(said[said.index("[") :])
    return found


def clean(stranger: Stranger) -> str:
    """Nothing of all this left a file that git would see."""
    left = stranger.run("git", "status", "--porcelain", cwd=stranger.clone)
    check(not left, f"git sees new or changed files in the clone:\n{left}")
    return "git sees no new file"


STEPS: Final[tuple[Callable[[Stranger], str], ...]] = (
    clone,
    first_run,
    without_network,
    wheel,
    install,
    missing_extras,
    quick_start,
    newest_python,
    soak,
    drill,
    clean,
)


def run_steps(stranger: Stranger, steps: Sequence[Callable[[Stranger], str]]) -> int:
    """Run the steps, a line for each, until one fails; return the exit code."""
    for step in steps:
        started_s = time.monotonic()
        name = step.__name__.replace("_", " ")
        state, text, code = "ok", "", 0
        try:
            text = step(stranger)
        except SkippedError as reason:
            state, text = "skipped", str(reason)
        except FailedError as error:
            state, text, code = "FAILED", f"what it saw:\n{error}", 1
        print(f"{name:<16}{time.monotonic() - started_s:7.1f} s  {state}: {text}", flush=True)
        if code:
            return code
    return 0


def main() -> int:
    """Run all steps in a folder of their own, which is removed afterwards."""
    parser = argparse.ArgumentParser(prog="ci-short", description=(__doc__ or "").splitlines()[0])
    parser.parse_args()
    started_s = time.monotonic()
    dirty = not_committed(ROOT)
    warning = f"ATTENTION: {len(dirty)} uncommitted changes are NOT checked, the clone lacks them: " + ", ".join(dirty)
    if dirty:
        print(warning, flush=True)
    with tempfile.TemporaryDirectory(prefix="zfoo-ci-") as folder:
        code = run_steps(Stranger(Path(folder).resolve(), os.environ), STEPS)
    if dirty:
        print(warning)
    print(f"ci-short {'failed' if code else 'went well'} after {time.monotonic() - started_s:.0f} s of {LIMIT_S:.0f}")
    return code


if __name__ == "__main__":
    sys.exit(main())
