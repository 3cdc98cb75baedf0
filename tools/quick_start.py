#!/usr/bin/env python3
"""Run the quick start of README.md as a newcomer would: block by block, in an empty folder.

    python3 tools/quick_start.py --bin DIR        DIR has zfoo-py and python, and comes first on PATH

Each block of code in README that has a comment `<!-- quick-start: HOW -->` above it is one step:

* `run`: its lines are run by sh, one after the other; what they print must be the next `prints` block, if there is one;
* `background`: its one line is started and stays, as in a terminal of its own, until it has said that it is up;
* `kill`: as `run`, with the number in it replaced by the process of the provider that answered last;
* `file: NAME`: it is written to that file;
* `prints`: what the block before it prints. Addresses stand for themselves: the same text, the same address.

The discovery listens on a free port, so that nothing else on this machine is in the way. Standard library only.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

BLOCK = re.compile(r"<!-- quick-start: (?P<how>\w+)(?:: (?P<name>[^>]*?))? -->\n```\w*\n(?P<text>.*?)```\n", re.DOTALL)
ADDRESS = re.compile(r"\b127\.0\.0\.1:\d+\b")
PROCESS = re.compile(r"\(process (\d+)\)")
# What a step takes on a busy machine; a quarter of a second is usual, and two for the test.
STEP_LIMIT_S = 60
LOOK_S = 0.02


class StepError(Exception):
    """A step did not do what README says; the text says which and how."""


class Block(NamedTuple):
    """One step: how to run it, the name of a file, its text."""

    how: str
    name: str
    text: str


def blocks_of(readme: str) -> list[Block]:
    """Return the steps of a README, in its order."""
    return [Block(found["how"], found["name"] or "", found["text"]) for found in BLOCK.finditer(readme)]


class QuickStart:
    """A folder, and the programs that were started in it."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = environment
        self.background: list[subprocess.Popen[bytes]] = []
        self.logs: list[Path] = []
        self.addresses: dict[str, str] = {}  # as README has it → as it is here
        self.answered_by = ""

    def run(self, blocks: list[Block]) -> None:
        """Run the steps.

        Raises:
            StepError: one of them failed; what came after it was not run.
        """
        for index, block in enumerate(blocks):
            following = blocks[index + 1] if index + 1 < len(blocks) else None
            expected = following.text if following is not None and following.how == "prints" else None
            if block.how == "file":
                (self.folder / block.name).write_text(block.text, encoding="utf-8")
            elif block.how == "background":
                self.start(block.text.strip())
            elif block.how == "kill":
                self.foreground(re.sub(r"\d{3,}", str(self.process_that_answered()), block.text), expected)
            elif block.how == "run":
                self.foreground(block.text, expected)
            elif block.how != "prints":
                raise StepError("README has a quick-start block %r: nobody knows what that is" % block.how)

    def foreground(self, text: str, expected: str | None) -> None:
        """Run lines with sh, and compare what they print."""
        done = subprocess.run(
            ["sh", "-e", "-c", text],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=STEP_LIMIT_S,
            check=False,
        )
        printed = done.stdout.decode()
        found = ADDRESS.findall(printed)
        self.answered_by = found[-1] if found else self.answered_by
        print("$ " + text.strip().replace("\n", "\n$ "), printed.rstrip(), sep="\n", flush=True)
        if done.returncode:
            raise StepError("%s ended with %d:\n%s" % (text.strip(), done.returncode, done.stderr.decode()))
        if expected is not None:
            self.compare(text, expected, printed)

    def compare(self, text: str, expected: str, printed: str) -> None:
        """Hold what was printed against README, line by line; "..." there stands for anything."""
        wanted, got = expected.splitlines(), printed.splitlines()
        if len(wanted) != len(got):
            raise StepError("%s printed\n%sand README says\n%s" % (text.strip(), printed, expected))
        for want, have in zip(wanted, got, strict=True):
            pattern = ".*".join(re.escape(ADDRESS.sub("@", part)) for part in want.split("..."))
            if not re.fullmatch(pattern, ADDRESS.sub("@", have)):
                raise StepError("%s printed\n%s\nand README says\n%s" % (text.strip(), have, want))
            for readme, here in zip(ADDRESS.findall(want), ADDRESS.findall(have), strict=False):
                if self.addresses.setdefault(readme, here) != here:
                    raise StepError("README's %s was %s, and now it is %s" % (readme, self.addresses[readme], here))

    def start(self, line: str) -> None:
        """Start a program in the background, and wait until it has said that it is up."""
        log = self.folder.parent / ("background-%d.log" % len(self.logs))
        self.logs.append(log)
        with log.open("wb") as file:
            process = subprocess.Popen(
                ["sh", "-c", "exec " + line],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self.background.append(process)
        print("$ %s &" % line, flush=True)
        until = time.monotonic() + STEP_LIMIT_S
        while " is up" not in log.read_text(errors="replace"):
            if process.poll() is not None or time.monotonic() > until:
                raise StepError("%s did not come up; it said:\n%s" % (line, log.read_text(errors="replace")))
            time.sleep(LOOK_S)

    def process_that_answered(self) -> int:
        """Return the process whose log names the address that answered last."""
        for log in self.logs:
            for line in log.read_text(errors="replace").splitlines():
                found = PROCESS.search(line)
                if found and self.answered_by and "at %s " % self.answered_by in line:
                    return int(found[1])
        raise StepError("no program's log names the address that answered: %r" % self.answered_by)

    def end(self) -> None:
        """End what still runs."""
        for process in self.background:
            if process.poll() is None:
                process.terminate()
        for process in self.background:
            try:
                process.wait(STEP_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_address() -> str:
    """Return an address of this machine where nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return "127.0.0.1:%d" % probe.getsockname()[1]


def main(argv: list[str] | None = None) -> int:
    """Run the quick start; return the exit code."""
    parser = argparse.ArgumentParser(description="Run the quick start of README.md in an empty folder.")
    parser.add_argument("--readme", type=Path, default=Path(__file__).resolve().parent.parent / "README.md")
    parser.add_argument("--bin", type=Path, help="folder with zfoo-py and python, put first on PATH")
    options = parser.parse_args(argv)
    blocks = blocks_of(options.readme.read_text(encoding="utf-8"))
    if not blocks:
        print("%s has no quick-start blocks" % options.readme, file=sys.stderr)
        return 1
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ZFOO_")}
    environment["ZFOO_DISCOVERY__ADDRESS"] = free_address()
    if options.bin:
        environment["PATH"] = os.pathsep.join([str(options.bin.absolute()), environment.get("PATH", os.defpath)])
    around = Path(tempfile.mkdtemp(prefix="zfoo_py-quick-start-"))
    folder = around / "empty"
    folder.mkdir()
    quick_start = QuickStart(folder, environment)
    try:
        quick_start.run(blocks)
    except (StepError, subprocess.TimeoutExpired) as error:
        print("the quick start failed: %s" % error, file=sys.stderr)
        return 1
    finally:
        quick_start.end()
        shutil.rmtree(str(around), ignore_errors=True)
    print("the quick start does what README says: %d blocks" % len(blocks))
    return 0


if __name__ == "__main__":
    sys.exit(main())
