"""README's quick start does what README says, and its runner notices when it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.quick_start import Block, QuickStart, StepError, blocks_of

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.slow
def test_each_block_of_the_readme_does_what_it_says(tmp_path):
    """In an empty folder, with `zfoo-py` and `python` of this environment."""
    for name, words in (("zfoo-py", "-m zfoo_py "), ("python", "")):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}"$@"\n')
        program.chmod(0o755)
    command = [sys.executable, str(ROOT / "tools" / "quick_start.py"), "--bin", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "does what README says" in done.stdout
    assert "1 passed" in done.stdout


def block(how, text, name=""):
    return Block(how, name, text)


@pytest.fixture
def quick_start(tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    quick_start = QuickStart(folder, dict(os.environ))
    yield quick_start
    quick_start.end()


def test_only_marked_blocks_are_steps():
    readme = (
        "```sh\nrm x\n```\n"
        "<!-- quick-start: run -->\n```sh\nls\n```\n"
        "<!-- quick-start: file: a.toml -->\n```toml\nb\n```\n"
    )
    assert blocks_of(readme) == [block("run", "ls\n"), block("file", "b\n", "a.toml")]


def test_a_step_that_fails_is_named(quick_start):
    with pytest.raises(StepError, match=r"(?s)ls no-such-file.*ended with"):
        quick_start.run([block("run", "echo a\nls no-such-file\necho b\n")])


@pytest.mark.parametrize("expected", ["a\n", "a\nb\nc\n", "a\nx\n"])
def test_output_that_differs_is_a_failure(quick_start, expected):
    with pytest.raises(StepError, match="README says"):
        quick_start.run([block("run", "echo a; echo b\n"), block("prints", expected)])


def test_an_address_may_be_another_one_but_must_stay_it(quick_start):
    ask = [block("run", "cat answer\n"), block("prints", "at 127.0.0.1:1\n")]
    answer = quick_start.folder / "answer"
    answer.write_text("at 127.0.0.1:7\n")
    quick_start.run(ask)
    answer.write_text("at 127.0.0.1:8\n")
    with pytest.raises(StepError, match=r"127.0.0.1:1 was 127.0.0.1:7, and now it is 127.0.0.1:8"):
        quick_start.run(ask)


def test_who_answered_is_killed(quick_start):
    """The process is found by the address that was printed last."""
    provider = "sh -c 'echo node p is up at 127.0.0.1:7 \"(process $$)\"; exec sleep 60'"
    quick_start.run(
        [block("background", provider), block("run", "echo from 127.0.0.1:7\n"), block("kill", "kill -9 4711\n")]
    )
    assert quick_start.background[0].wait(10) == -9


def test_a_program_that_ends_before_it_is_up_is_a_failure(quick_start):
    with pytest.raises(StepError, match=r"(?s)did not come up; it said:.*no"):
        quick_start.run([block("background", "echo no")])
