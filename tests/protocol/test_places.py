"""Places: file and line of whoever declares something."""

from __future__ import annotations

import inspect

from zfoo_py.protocol import places

HERE = inspect.currentframe()


def ask_from_another_module():
    source = """
from zfoo_py.protocol.places import caller
def inner():
    return caller()
def outer():
    return inner()
"""
    namespace = {"__name__": "another"}
    exec(compile(source, "another.py", "exec", dont_inherit=True), namespace)  # noqa: S102
    return namespace["outer"]


def test_the_caller_is_the_first_frame_outside_the_asking_module():
    outer = ask_from_another_module()
    place = places.place(outer())
    assert place == f"{__file__}:{inspect.currentframe().f_lineno - 1}"


def test_local_names_are_those_of_a_function():
    """A module's names are seen by its annotations anyway, and may yet change."""
    local = 5
    assert places.local_names(inspect.currentframe())["local"] == local
    assert places.local_names(HERE) == {}


def test_equal_places_are_explained():
    assert places.twice("a.py:1", "a.py:2") == ""
    assert "reloaded" in places.twice("a.py:1", "a.py:1")
