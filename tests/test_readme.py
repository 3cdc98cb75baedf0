"""README.md tells the truth: its programs run, its snippets run, its configuration is the whole of it.

A block is marked by a comment above it: `file: NAME` is written to a folder, `output: COMMAND` is what the command
prints there, `snippet` runs beside a running cluster, `config` is read as configuration. The quick start is run by
tools/quick_start.py (tests/tools/test_quick_start.py).
"""

from __future__ import annotations

import argparse
import builtins
import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

import zfoo_py.errors
import zfoo_py.events
from zfoo_py import config as cfg
from zfoo_py.cli.main import make_parser
from zfoo_py.listen_config import DEFAULT_SERVER_ADDRESS, Listen
from zfoo_py.tables import keys_of

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(
    r"(?:<!-- (?P<kind>[\w-]+)(?:: (?P<what>[^>]*))? -->\n)?```(?P<language>\w*)\n(?P<text>.*?)```\n", re.DOTALL
)
# How long a program of the README may take on a busy machine; it takes about a second.
LIMIT_S = 30

# Runs the snippets given as files: a cluster in one process, and each snippet as the body of a coroutine.
RUNNER = """
import ast, asyncio, sys
from visits import *
from visits import at_visit_ask
from rooms import rooms
from zfoo_py import Node

async def awaited(text, names):
    code = compile(text, "snippet", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    value = eval(code, names)
    if value is not None:
        await value

async def main():
    async with Node(id="d", receivers=[], discovery={"address": "127.0.0.1:0", "host": True}) as d:
        at = {"address": d.discovery_address}
        async with Node(id="p", provides=[visits], receivers=[at_visit_ask], discovery=at):
            async with Node(id="c", consumes=[visits], receivers=[], discovery=at) as node:
                for name in sys.argv[1:]:
                    text = open(name).read()
                    names = {**globals(), "node": node}
                    if text.startswith("with "):
                        names["Node"] = lambda **more: Node(**more, receivers=[], discovery=at)
                        await asyncio.to_thread(exec, text, names)
                    else:
                        await awaited(text, names)
                    print("ran", name, flush=True)
asyncio.run(main())
"""


class Block(NamedTuple):
    """One block of code in the README."""

    kind: str
    what: str
    language: str
    text: str


BLOCKS = [
    Block(*(text or "" for text in found.group("kind", "what", "language", "text"))) for found in BLOCK.finditer(README)
]


def blocks(kind: str) -> list[Block]:
    """Return the blocks of a kind."""
    return [block for block in BLOCKS if block.kind == kind]


class Programs:
    """Real processes in a folder with the README's files; ended with the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[subprocess.Popen[str]] = []
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ZFOO_")},
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }
        for block in blocks("file"):
            (folder / block.what).write_text(block.text, encoding="utf-8")

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a Python program in the background, its stdout on a pipe."""
        process = subprocess.Popen(
            [sys.executable, *words], cwd=self.folder, env=self.environment, text=True, stdout=subprocess.PIPE
        )
        self.running.append(process)
        return process

    def run(self, *words: str) -> str:
        """Run a Python program to its end and return what it printed; it must succeed."""
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.folder,
            env=self.environment,
            text=True,
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start_discovery(self) -> None:
        """Host the discovery on a free port, which all programs started later use."""
        words = self.start("-m", "zfoo_py", "discovery", "--address", "127.0.0.1:0").stdout.readline().split()
        assert words[:2] == ["listening", "at"]
        self.environment["ZFOO_DISCOVERY__ADDRESS"] = words[2]

    def end(self) -> None:
        """Kill whatever still runs."""
        for process in self.running:
            process.kill()
            process.wait()
            process.stdout.close()


@pytest.fixture
def programs(tmp_path):
    """Give a folder with the README's files, where programs run."""
    programs = Programs(tmp_path)
    yield programs
    programs.end()


def expected(command: str) -> str:
    """Return what the README says a command prints."""
    (text,) = [block.text for block in blocks("output") if block.what == command]
    return text


def test_each_block_of_python_and_toml_is_marked_and_so_tried():
    """A block nobody runs is a block nobody believes."""
    loose = [block.text for block in BLOCKS if block.language in {"python", "toml"} and not block.kind]
    assert not loose


def test_the_provider_and_the_consumer_run_as_written(programs):
    """The example at the top: discovery, a provider, and the consumer's output to the letter."""
    programs.start_discovery()
    provider = programs.start("-m", "zfoo_py", "run", "visits.py", "--provide", "visits", "--id", "visits-1")
    assert programs.run("consumer.py") == expected("consumer.py")
    provider.send_signal(signal.SIGTERM)
    assert provider.wait(LIMIT_S) == 0


def test_the_controller_object_runs_as_written(programs):
    """`zfoo-py run rooms.py:node` calls on_start and stops in order."""
    programs.start_discovery()
    node = programs.start("-m", "zfoo_py", "run", "rooms.py:node")
    assert node.stdout.readline().startswith("open at 127.0.0.1:")
    node.send_signal(signal.SIGTERM)
    assert node.wait(LIMIT_S) == 0


def test_check_prints_the_table_shown(programs):
    """The output of `zfoo-py check` is the real one."""
    command = "zfoo-py check visits.py --provide visits --offline"
    printed = programs.run("-m", "zfoo_py", *command.split()[1:])
    assert printed.replace(f"{programs.folder}/", "") == expected(command)


def test_the_snippets_run(programs):
    """Each snippet runs beside a cluster, in one process."""
    names = []
    for number, block in enumerate(blocks("snippet")):
        names.append(f"snippet{number}.txt")
        (programs.folder / names[-1]).write_text(block.text, encoding="utf-8")
    (programs.folder / "runner.py").write_text(RUNNER, encoding="utf-8")
    printed = programs.run("runner.py", *names)
    assert [line.split()[1] for line in printed.splitlines() if line.startswith("ran ")] == names
    assert len(names) >= 5


def test_the_configuration_shown_is_all_there_is_and_shows_the_defaults():
    """Every key once, none besides, and what is not an example is the default."""
    (block,) = blocks("config")
    shown = tomllib.loads(block.text)
    known = keys_of(cfg._Document)
    assert set(shown) == set(known)
    tables = {"node", "server", "discovery", "app", "limits", "alerts"}
    for name in tables:
        assert set(shown[name]) == set(keys_of(known[name])), name
    (provider,), (consumer,), (listen,) = shown["provider"], shown["consumer"], shown["listen"]
    assert set(listen) == set(Listen.__struct_fields__)
    assert set(provider) == set(cfg.Provide.__struct_fields__)
    assert set(consumer) == set(cfg.Consume.__struct_fields__)
    built = cfg.NodeConfig.build(shown, {})
    assert built.limits == cfg.Limits()
    assert built.alerts == cfg.AlertLimits()
    assert built.discovery == cfg.DiscoveryConfig()
    assert built.address == DEFAULT_SERVER_ADDRESS
    assert consumer["balancer"] == cfg.DEFAULT_BALANCER


def test_the_variables_named_exist():
    """Each ZFOO_ variable of the README is one that a node reads."""
    assert set(re.findall(r"ZFOO_[A-Z_]*[A-Z]", README)) <= set(cfg._variables())


def test_the_errors_and_events_named_exist():
    """No error and no event of the README is made up, and none of those an ask can end with is left out."""
    named = set(re.findall(r"`(\w+Error)`", README))
    assert named <= {*zfoo_py.errors.__all__, *dir(builtins)}
    calls = {name for name in zfoo_py.errors.__all__ if issubclass(getattr(zfoo_py.errors, name), zfoo_py.CallError)}
    assert calls <= named
    section = README.split("## Events")[1].split("\n## ")[0]
    assert set(re.findall(r"`([A-Z]\w+)`", section)) == set(zfoo_py.events.__all__) - {"Events"}


def option_strings(parser):
    """Return the options of a command, and of the commands below it."""
    for action in parser._actions:
        if action.help == argparse.SUPPRESS:  # between processes of ours
            continue
        yield from action.option_strings
        if isinstance(action.choices, dict):
            for below in action.choices.values():
                yield from option_strings(below)


def test_the_options_of_the_command_line_are_the_parsers():
    """The section "Command line" names each option of each command, and no other."""
    section = README.split("## Command line")[1].split("\n## ")[0]
    (commands,) = [action.choices for action in make_parser()._actions if action.choices]
    options = {text for one in commands.values() for text in option_strings(one)}
    text = section.split("<!--")[0]
    assert set(re.findall(r"--[a-z-]+", text)) == options - {"-h", "--help"}
    assert {f"zfoo-py {name}" for name in commands} == set(re.findall(r"\* `(zfoo-py [\w-]+)", text))


def test_the_options_of_the_sample_are_its_parsers():
    """The table of `make cluster` has each option of samples.cluster."""
    section = README.split("## The sample cluster")[1].split("\n## ")[0]
    command = [sys.executable, "-m", "samples.cluster", "--help"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=LIMIT_S).stdout
    assert set(re.findall(r"^\| `(--[a-z]+)", section, re.MULTILINE)) == set(
        re.findall(r"^  (--[a-z]+)", printed, re.MULTILINE)
    )


def test_each_link_to_a_file_leads_somewhere():
    """Of README and docs."""
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
