"""`zfoo-py check`: what fits what, as text and as JSON."""

from __future__ import annotations

import asyncio
import json
import socket

from tests.support.cli import HELLO
from zfoo_py.cli.directory_io import read_directory
from zfoo_py.cli.main import main


def test_check_prints_which_protocol_goes_where(folder, capsys):
    file = folder.write("hello.py", HELLO)
    assert main(["check", file, "--provide", "greetings", "--offline"]) == 0
    head, ask, answer = capsys.readouterr().out.splitlines()
    assert head.split() == ["protocol", "packet", "module", "balanced", "by", "provided", "receiver"]
    assert ask.split()[:5] == ["3000", "HelloAsk", "greetings", "name", "yes"]
    assert ask.endswith(f"at_hello ({folder.path}/hello.py:14)")
    assert answer.split() == ["3001", "HelloAnswer", "greetings", "-", "yes", "-"]


def test_check_says_what_is_not_provided_and_what_is_consumed(folder, capsys):
    folder.write("hello.py", HELLO)
    assert main(["check", "hello", "--consume", "greetings"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[4] for line in lines[1:3]] == ["no", "no"]
    assert lines[3] == "consumes greetings of greetings, balanced by cached-consistent-hash"


def test_check_as_json(folder, capsys):
    folder.write("here/__init__.py", "")
    folder.write("here/hello.py", HELLO)
    folder.write(
        "one.toml", '[[provider]]\nmodule = "greetings"\n[[consumer]]\nmodule = "greetings"\nbalancer = "random"'
    )
    assert main(["check", "here.hello", "--config", "one.toml", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is True
    assert found["faults"] == []
    assert (found["id"], found["provides"], found["consumes"]) == ("one", ["greetings"], {"greetings": "random"})
    ask, answer = found["protocols"]
    assert ask["receiver"].startswith("at_hello (")
    assert answer == {
        "protocol": 3001,
        "packet": "HelloAnswer",
        "module": "greetings",
        "balance_by": None,
        "provided": True,
        "receiver": None,
    }


# ------------------------------------------------------------------------------------------------ warnings
def warnings_of(capsys, *words):
    """Check, and return the warnings."""
    assert main(["check", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)["warnings"]


def test_text_has_a_line_for_each_warning(folder, capsys):
    file = folder.write("hello.py", HELLO)
    assert main(["check", file, "--offline"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("warning: module greetings is not provided, so nothing reaches at_hello (")
    assert last.endswith("say --provide greetings")


def test_a_forgotten_key_is_seen(folder, capsys):
    file = folder.write("hello.py", HELLO.replace('3000, balance_by="name"', "3000"))
    (warning,) = warnings_of(capsys, file, "--provide", "greetings", "--offline")
    assert 'HelloAsk names no key: declare @greetings.packet(3000, balance_by="…")' in warning


def test_a_balancer_that_takes_no_key_forgets_none(folder, capsys):
    file = folder.write("hello.py", HELLO.replace('3000, balance_by="name"', "3000").replace("@packet_receiver", ""))
    config = folder.write("one.toml", '[[consumer]]\nmodule = "greetings"\nbalancer = "random"')
    assert warnings_of(capsys, file, "--config", config, "--offline") == []


def test_a_discovery_that_does_not_run_is_seen(folder, capsys):
    file = folder.write("hello.py", HELLO)
    (warning,) = warnings_of(capsys, file, "--provide", "greetings", "--discovery", "127.0.0.1:1")
    assert "no discovery is running at 127.0.0.1:1" in warning


def test_a_port_that_is_taken_is_seen(folder, capsys):
    file = folder.write("hello.py", HELLO)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        words = [file, "--provide", "greetings", "--address", address, "--discovery", "127.0.0.1:1"]
        port, _ = warnings_of(capsys, *words)
    assert f"cannot listen at {address}" in port
    assert "change server.address" in port


def test_what_is_registered_is_held_against_what_is_wanted(folder, start, capsys):
    """Real processes: a node of the same name, and a module that nobody provides."""
    file = folder.write("hello.py", HELLO)
    folder.write("empty.py", HELLO.replace("greetings", "partings").replace("30", "31").replace("Hello", "Parting"))
    address = json.loads(start("discovery", "--address", "127.0.0.1:0", "--json").stdout.readline())["listening_at"]
    (nobody,) = warnings_of(capsys, file, "--consume", "greetings", "--provide", "greetings", "--discovery", address)
    assert "nobody provides greetings as greetings yet" in nobody
    provider = start("run", file, "--provide", "greetings", "--discovery", address)
    while not asyncio.run(read_directory(address)):  # its registration is on the way
        assert provider.poll() is None
    (same,) = warnings_of(capsys, file, "--provide", "greetings", "--consume", "greetings", "--discovery", address)
    assert "another node is called 'hello'" in same
    other = ["empty.py", "--consume", "partings", "--provide", "partings", "--discovery", address]
    (nobody,) = warnings_of(capsys, *other)
    assert "registered at" in nobody
    assert "greetings as greetings" in nobody
