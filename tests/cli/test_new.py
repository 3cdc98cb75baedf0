"""`zfoo-py new`: what it writes, and what it refuses to overwrite."""

from __future__ import annotations

import ast

import pytest

from zfoo_py.cli.main import main
from zfoo_py.cli.new import files_of
from zfoo_py.errors import ConfigError


def test_it_writes_three_short_files_and_says_what_to_type(folder, capsys):
    assert main(["new", "hello"]) == 0
    written = {path.name: path.read_text() for path in folder.path.iterdir()}
    assert written.keys() == {"hello.py", "ask_hello.py", "test_hello.py"}
    lines = [line for text in written.values() for line in text.splitlines() if line]
    assert len(lines) <= 34
    out = capsys.readouterr().out
    assert "zfoo-py run hello.py --provide greetings" in out
    assert "zfoo-py ask hello:HelloAsk name=ada" in out


def test_what_it_writes_can_be_checked_at_once(folder, capsys):
    assert main(["new", "two_words"]) == 0
    assert main(["check", "two_words.py", "--provide", "greetings", "--offline"]) == 0
    out = capsys.readouterr().out
    assert "TwoWordsAsk" in out
    assert "warning" not in out
    for path in folder.path.iterdir():
        if path.is_file():
            ast.parse(path.read_text())


def test_nothing_is_overwritten(folder, capsys):
    folder.write("ask_hello.py", "mine")
    assert main(["new", "hello"]) == 1
    assert "ask_hello.py would be overwritten" in capsys.readouterr().err
    assert [path.name for path in folder.path.iterdir()] == ["ask_hello.py"]


@pytest.mark.parametrize("name", ["", "Hello", "hello.py", "a-b", "class", "1a", "a/b", "ä", "_", "__"])
def test_a_name_that_python_cannot_import_is_refused(name):
    with pytest.raises(ConfigError, match="cannot name a Python module"):
        files_of(name)


def test_a_folder_that_cannot_be_written_is_one_sentence(folder, capsys, monkeypatch):
    def refuse(*_args, **_more):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.write_text", refuse)
    assert main(["new", "hello"]) == 1
    assert "cannot write hello.py: Permission denied" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["json", "zfoo_py", "pytest", "conftest"])
def test_a_name_that_would_hide_a_module_is_refused_and_nothing_is_written(name, folder, capsys):
    assert main(["new", name]) == 1
    assert f"{name}.py would hide the module" in capsys.readouterr().err
    assert not list(folder.path.iterdir())
