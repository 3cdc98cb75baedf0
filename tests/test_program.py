"""What a node takes from the program that it is in."""

from __future__ import annotations

import sys
import types

import pytest

from zfoo_py import program
from zfoo_py.errors import ConfigError


@pytest.fixture
def main(monkeypatch):
    """Let another module be the program's main one."""

    def be(**attributes):
        module = types.ModuleType("__main__")
        for name, value in attributes.items():
            setattr(module, name, value)
        monkeypatch.setitem(sys.modules, "__main__", module)
        return module

    return be


def test_the_name_is_the_files_without_its_folder_and_ending(main):
    main(__file__="/somewhere/visits-1.py", __spec__=None)
    assert program.main_name() == "visits-1"


def test_the_name_of_a_module_that_is_run_is_its_last_part(main):
    main(__file__="/somewhere/visits.py", __spec__=types.SimpleNamespace(name="app.visits"))
    assert program.main_name() == "visits"


def test_the_name_of_a_package_that_is_run_is_its_files(main):
    main(__file__="/somewhere/app/__main__.py", __spec__=types.SimpleNamespace(name="app.__main__"))
    assert program.main_name() == "__main__"


def test_without_a_file_there_is_a_name_all_the_same_and_no_module(main):
    main(__spec__=None)
    assert program.main_name() == "node"
    assert program.main_modules() == []


def test_a_main_module_with_a_file_may_hold_receivers(main):
    module = main(__file__="/somewhere/visits.py")
    assert program.main_modules() == [module]


def test_a_module_that_cannot_be_imported_names_the_setting():
    with pytest.raises(ConfigError, match=r"cannot import 'no_such_module'.*PYTHONPATH") as caught:
        program.import_module("no_such_module", "app.imports[0]")
    assert caught.value.path == "app.imports[0]"


def test_a_class_is_loaded_by_its_module_and_name():
    assert program.load("collections:Counter", "consumer[0].balancer").__name__ == "Counter"


@pytest.mark.parametrize(("name", "nearest"), [("collections:Countr", "Counter"), ("string:digits", "digits")])
def test_what_cannot_be_called_is_no_class(name, nearest):
    with pytest.raises(ConfigError, match="has no class") as caught:
        program.load(name, "consumer[0].balancer")
    assert nearest in str(caught.value)
