"""`zfoo-py run --workers`: real processes, and what is refused before there is one."""

from __future__ import annotations

import json
import os
import re
import signal

import pytest

from tests.support.cli import HELLO, LIMIT_S, NODE
from zfoo_py.cli.main import main

UP = re.compile(r"node hello\.(\d) is up at (\S+) \(process (\d+)\)")


def until_up(process, wanted: set[int]) -> dict[int, tuple[str, int]]:
    """Read the log until these numbers are up; return number → (address, process id)."""
    found: dict[int, tuple[str, int]] = {}
    while wanted - found.keys():
        line = process.stderr.readline()
        assert line, "it ended"
        if match := UP.search(line):
            found[int(match[1])] = (match[2], int(match[3]))
    return found


def has_ended(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.slow
def test_processes_are_replaced_restarted_and_stopped(start, tmp_path):
    """Each keeps its address; the exit code is 0."""
    (tmp_path / "hello.py").write_text(HELLO)
    discovery = start("discovery", "--address", "127.0.0.1:0", "--json", "--log-level", "ERROR")
    where = json.loads(discovery.stdout.readline())["listening_at"]
    process = start("run", "hello.py", "--provide", "greetings", "--workers", "2", "--discovery", where)
    first = until_up(process, {1, 2})
    process.send_signal(signal.SIGHUP)
    second = until_up(process, {1}) | until_up(process, {2})  # in this order
    os.kill(second[2][1], signal.SIGKILL)
    third = second | until_up(process, {2})
    assert {number: address for number, (address, _) in first.items()} == {
        number: address for number, (address, _) in third.items()
    }
    assert len({process_id for found in (first, second, third) for _, process_id in found.values()}) == 5
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, err
    assert err.count("has stopped") == 2
    assert "Traceback" not in err
    assert all(has_ended(process_id) for _, process_id in third.values())


@pytest.mark.slow
def test_processes_end_with_the_one_that_leads_them(start, tmp_path):
    """However it ends; their log stays open until they have."""
    (tmp_path / "hello.py").write_text(HELLO)
    discovery = start("discovery", "--address", "127.0.0.1:0", "--json", "--log-level", "ERROR")
    where = json.loads(discovery.stdout.readline())["listening_at"]
    process = start("run", "hello.py", "--provide", "greetings", "--workers", "2", "--discovery", where)
    until_up(process, {1, 2})
    process.kill()
    _, err = process.communicate(timeout=LIMIT_S)
    assert err.count("has stopped") == 2


@pytest.mark.slow
def test_what_cannot_start_ends_it(start, tmp_path):
    (tmp_path / "hello.py").write_text(HELLO)
    words = ["--provide", "greetings", "--workers", "2", "--address", "192.0.2.1:9000"]
    process = start("run", "hello.py", *words)
    _, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 1
    assert "could not start (exit code 1): all are stopped" in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_a_second_signal_ends_all_at_once(start, tmp_path):
    """Even while a receiver's module keeps its process from stopping."""
    stubborn = """
from zfoo_py.node import Node as Plain
async def never(self):
    import asyncio
    print("stopping", flush=True)
    await asyncio.Event().wait()
Plain._stop = never
"""
    (tmp_path / "hello.py").write_text(HELLO + stubborn)
    process = start("run", "hello.py", "--provide", "greetings", "--workers", "1", "--discovery", "127.0.0.1:1")
    ((_, process_id),) = until_up(process, {1}).values()
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "stopping\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(LIMIT_S) == 128 + signal.SIGINT
    assert has_ended(process_id)


def test_a_complete_node_is_one_process(folder, started, capsys):
    file = folder.write("hello.py", NODE)
    with pytest.raises(SystemExit) as ended:
        main(["run", f"{file}:node", "--workers", "2"])
    assert ended.value.code == 2
    assert "name the file alone" in capsys.readouterr().err
    assert not started


@pytest.mark.parametrize("text", ["0", "-1", "two", "257"])
def test_the_number_is_checked(text, folder, capsys):
    file = folder.write("hello.py", HELLO)
    with pytest.raises(SystemExit) as ended:
        main(["run", file, "--workers", text])
    assert ended.value.code == 2
    assert "from 1 to 256" in capsys.readouterr().err


def test_only_one_process_can_host_the_discovery(folder, started, capsys, monkeypatch):
    monkeypatch.setenv("ZFOO_DISCOVERY__HOST", "true")
    file = folder.write("hello.py", HELLO)
    assert main(["run", file, "--provide", "greetings", "--workers", "2"]) == 1
    assert "zfoo-py discovery" in capsys.readouterr().err
    assert not started
