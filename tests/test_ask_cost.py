"""An ask costs what it did: counted, not timed, so that a machine's mood cannot hide or invent a change."""

from __future__ import annotations

import sys

import pytest

from tests.support.ask_cost import VERSION, WORKS, committed, measure

# A rise that is meant is committed with its figures; so is a fall, or the next rise would hide in it.
ALLOWED = 0.10


def test_an_ask_costs_what_it_did():
    """As committed, within 10 %: `python -m tests.support.ask_cost --write` in the commit that changes it."""
    figures = committed().get(VERSION)
    if figures is None:
        pytest.skip(f"no figures for Python {VERSION}: its bytecode is its own")
    if sys.gettrace() is not None:
        pytest.skip("a debugger, or coverage, counts here already")
    counted = measure()
    assert counted.keys() == figures.keys() == WORKS.keys()
    off = {
        f"{work}, {what}": f"{count} instead of {figures[work][what]}"
        for work, counts in counted.items()
        for what, count in counts.items()
        if abs(count / figures[work][what] - 1.0) > ALLOWED
    }
    assert not off


def test_the_count_is_the_same_in_each_run_within_a_hundredth():
    if sys.gettrace() is not None:
        pytest.skip("a debugger, or coverage, counts here already")
    first, second = measure(), measure()
    for work, counts in first.items():  # a wake-up of the watch or a timer may fall into one of them
        assert counts == pytest.approx(second[work], rel=0.01)
