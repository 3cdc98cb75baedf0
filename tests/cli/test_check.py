"""`zfoo-py check`: what fits what, as text and as JSON."""

from __future__ import annotations

import json

from tests.support.cli import HELLO
from zfoo_py.cli.main import main


def test_check_prints_which_protocol_goes_where(folder, capsys):
    file = folder.write("hello.py", HELLO)
    assert main(["check", file, "--provide", "greetings"]) == 0
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
