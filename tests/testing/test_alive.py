"""What there is, and the words for it."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

import pytest

from zfoo_py.testing import alive
from zfoo_py.testing.alive import Alive, open_descriptors, pending_tasks, place_of, where


def test_a_line_begins_with_the_kind_and_leaves_out_what_is_not_known():
    assert str(Alive("ask", "HelloAsk", "c", "a.py:3 in f")) == "ask: HelloAsk of c, made at a.py:3 in f"
    assert str(Alive("descriptor", "3, socket:[1]")) == "descriptor: 3, socket:[1]"


def test_where_is_the_innermost_line_of_the_application():
    here, line = where(), sys._getframe().f_lineno
    assert (here.code, here.line) == (sys._getframe().f_code, line)
    assert str(here).endswith(f"test_alive.py:{line} in {here.code.co_qualname}")


def test_where_is_our_own_innermost_line_if_there_is_no_other(monkeypatch):
    monkeypatch.setattr(alive, "HIDDEN", ("",))
    assert where().code is sys._getframe().f_code


def test_a_coroutine_says_where_it_was_made_if_that_was_kept_in_mind():
    async def nothing():
        pass

    depth = sys.get_coroutine_origin_tracking_depth()
    places = []
    for wanted in (0, 1):
        sys.set_coroutine_origin_tracking_depth(wanted)
        coroutine, line = nothing(), sys._getframe().f_lineno
        places.append(place_of(coroutine))
        coroutine.close()
    sys.set_coroutine_origin_tracking_depth(depth)
    assert places[0].endswith(f":{nothing.__code__.co_firstlineno} in {nothing.__qualname__}")
    assert places[1].endswith(f":{line} in {sys._getframe().f_code.co_name}")
    assert place_of(None) == ""


def test_the_task_that_asks_is_not_among_the_tasks():
    async def main():
        other = asyncio.create_task(asyncio.Event().wait(), name="other")
        found = list(pending_tasks(asyncio.get_running_loop(), "loop"))
        other.cancel()
        return found

    [task] = asyncio.run(main())
    assert (task.kind, task.what, task.owner) == ("task", "other", "loop")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="descriptors are counted in /proc")
def test_descriptors_are_sockets_pipes_and_pollers_but_no_files(tmp_path):
    before = open_descriptors()
    with socket.socket() as one, (tmp_path / "file").open("w"):
        new = open_descriptors().keys() - before.keys()
        assert new == {str(one.fileno())}
