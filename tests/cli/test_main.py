"""The parser, exit codes, and what a fault looks like."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.support.cli import HELLO, LIMIT_S, ROOT
from zfoo_py import __version__
from zfoo_py.cli.main import main
from zfoo_py.discovery_config import DEFAULT_DISCOVERY_ADDRESS
from zfoo_py.listen_config import DEFAULT_SERVER_ADDRESS


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["run"],
        ["walk"],
        ["run", "a.py", "--log-level", "LOUD"],
        ["run", "a.py", "--json"],
        ["check", "--provide", "greetings"],
        ["discovery", "--port", "1"],
    ],
)
def test_a_command_written_wrongly_ends_with_2(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "usage: zfoo-py" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "check", "discovery", "ask"])
def test_help_shows_the_default_of_every_option(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split("options:")[1].split())
    assert text.count("(default: ") == text.count(" --") - text.count("--help")
    assert DEFAULT_DISCOVERY_ADDRESS in text
    assert (DEFAULT_SERVER_ADDRESS in text) == (command in {"run", "check"})


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"zfoo-py {__version__}\n"


def test_a_fault_as_json_and_with_its_traceback(folder, capsys):
    folder.write("hello.py", "x = 1\nx / 0")
    assert main(["check", "hello.py", "--json", "--log-level", "debug"]) == 1
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert found["ok"] is False
    assert "ZeroDivisionError" in found["faults"][0]
    assert "Traceback" in printed.err


def test_a_reader_that_has_gone_ends_it_quietly(tmp_path):
    """As `zfoo-py check … | head -1` does; no traceback, whichever moment the pipe is closed in."""
    (tmp_path / "hello.py").write_text(HELLO)
    read_end, write_end = os.pipe()
    os.close(read_end)
    words = [sys.executable, "-m", "zfoo_py", "check", "hello.py", "--offline"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with os.fdopen(write_end, "wb") as out:
        done = subprocess.run(
            words, stdout=out, stderr=subprocess.PIPE, cwd=tmp_path, env=environment, check=False, timeout=LIMIT_S
        )
    assert (done.returncode, done.stderr) == (1, b"")
