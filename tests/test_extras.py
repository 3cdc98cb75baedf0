"""zfoo_py/extras.py."""

import json
import sys
import tomllib
from pathlib import Path

import pytest

from zfoo_py.errors import ConfigError
from zfoo_py.extras import need

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_a_library_that_is_there_is_returned():
    assert need("json", "metrics") is json


@pytest.mark.parametrize("module", ["kazoo_that_nobody_has", "kazoo_that_nobody_has.client"])
def test_a_missing_one_is_a_sentence_with_the_command(module):
    with pytest.raises(ConfigError) as caught:
        need(module, "zookeeper")
    assert str(caught.value) == (
        "the Python package 'kazoo_that_nobody_has' is not installed; run: pip install 'zfoo_py[zookeeper]'"
    )


def test_a_library_that_lacks_something_of_its_own_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import something_that_nobody_has\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="something_that_nobody_has"):
        need("half_installed", "metrics")
    assert "half_installed" not in sys.modules


def test_the_extras_are_few_and_none_is_a_runtime_dependency():
    def names(requirements):
        return {text.split(">")[0].split("<")[0].split("=")[0] for text in requirements}

    extras = PYPROJECT["optional-dependencies"]
    assert {extra: names(packages) for extra, packages in extras.items()} == {
        "java": {"tree-sitter", "tree-sitter-java"},
        "metrics": {"prometheus-client"},
        "zookeeper": {"kazoo"},
    }
    assert not names(PYPROJECT["dependencies"]) & set().union(*map(names, extras.values()))
