"""What the command line loads, and what it says when it cannot."""

from __future__ import annotations

import pytest

from tests.support.cli import HELLO, NODE
from zfoo_py.cli.main import main

FAULTS = {
    "no file": ("gone.py", None, [], "there is no file gone.py"),
    "no module": ("gone", None, [], "there is no module 'gone'"),
    "no package": ("gone.deep", None, [], "cannot find module 'gone.deep'"),
    "folder": ("./hello", HELLO, [], "./hello"),
    "dot": (
        "my.hello.py",
        HELLO,
        [],
        "my.hello.py cannot be imported, as its name has a dot: rename it to my_hello.py",
    ),
    "syntax": ("hello.py", "def (", [], "cannot load hello.py: SyntaxError"),
    "raises": ("hello.py", "x = 1\nx / 0", [], "hello.py:2)"),
    "import": ("hello.py", "import no_such_package", [], "No module named 'no_such_package'"),
    "name in use": ("json.py", "", [], "rename the file"),
    "annotation": ("hello.py", HELLO.replace("ask: HelloAsk", "ask"), [], "annotate the parameter 'ask'"),
    "two": ("hello.py", HELLO + HELLO[HELLO.index("@packet_rec") :].replace("at_h", "at_b"), [], "two receivers"),
    "id": ("hello.py", HELLO.replace("3001", "3000"), [], "3000"),
    "nearest": ("hello.py", HELLO, ["--provide", "greeting"], "did you mean 'greetings'?"),
    "no receiver": ("hello.py", HELLO.replace("@packet_receiver", ""), ["--provide", "greetings"], "has no receiver"),
    "no config": ("hello.py", HELLO, ["--config", "gone.toml"], "cannot read gone.toml"),
    "empty id": ("hello.py", HELLO, ["--id", ""], "--id is empty"),
    "address": ("hello.py", HELLO, ["--provide", "greetings", "--address", "here"], "has no port"),
    "no attribute": ("hello.py:gone", NODE, [], "hello.py has no such name"),
    "no node": ("hello.py:other", NODE, [], "has a str there"),
}


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize(("target", "text", "words", "sentence"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_one_sentence_and_ends_with_1(target, text, words, sentence, command, folder, started, capsys):
    if text is not None:
        name = target.partition(":")[0]
        folder.write(name if name.endswith(".py") else f"{name}.py", text)
    assert main([command, target, *words]) == 1
    printed = capsys.readouterr()
    assert sentence in printed.err
    assert printed.err.startswith("zfoo-py: ")
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert not started


def test_a_configuration_is_no_target(folder, capsys):
    folder.write("hello.py", HELLO)
    folder.write("hello.toml", "")
    assert main(["run", "hello.toml"]) == 1
    assert "hello.toml is no Python file" in capsys.readouterr().err


def test_a_file_is_named_by_whoever_forgets_its_ending(folder, capsys):
    folder.write("here/hello.py", HELLO)
    assert main(["check", "here/hello"]) == 1
    assert "say here/hello.py" in capsys.readouterr().err


def test_a_module_that_failed_can_be_mended_and_loaded(folder):
    """Nothing half-loaded stays behind."""
    file = folder.write("hello.py", "import no_such_package")
    assert main(["check", file]) == 1
    folder.write("hello.py", HELLO)
    assert main(["check", file]) == 0
