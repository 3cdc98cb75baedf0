"""Chains of asks: extended, bounded, and searched for those that wait for themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zfoo_py.router.chains import (
    MAX_CHAIN,
    MAX_LINE_CHARS,
    Trail,
    extended,
    lane_cycle,
    line_of,
    notice_before_s,
    workers_cycle,
)


def test_a_line_names_node_ask_and_packet_and_is_one_short_line():
    assert line_of("visits-1:0f", 7, "VisitAsk") == "visits-1:0f.7 VisitAsk"
    assert "\n" not in line_of("a\nb", 1, "C\nD")
    assert len(line_of("n" * 500, 1, "P" * 500)) == MAX_LINE_CHARS


@given(st.integers(1, 3 * MAX_CHAIN))
def test_a_chain_keeps_the_newest_and_never_grows_beyond_its_bound(depth):
    chain = ""
    for number in range(depth):
        chain = extended(Trail(chain, f"n.{number} P"))
    assert chain.split("\n") == [f"n.{number} P" for number in range(depth)][-MAX_CHAIN:]


@given(st.text(alphabet="a\n", max_size=400))
def test_a_foreign_chain_of_any_shape_is_bounded_too(chain):
    assert len(extended(Trail(chain, "n.1 P")).split("\n")) <= MAX_CHAIN


@pytest.mark.parametrize(
    ("chain", "holders", "path"),
    [
        ("a\nb\nc", ["b"], ("b", "c")),
        ("a\nb\nc", ["a"], ("a", "b", "c")),
        ("a", ["a"], ("a",)),
        ("a\nb", [None, "x", "b"], ("b",)),
        ("a\nb", [None], ()),
        ("a\nb", ["x"], ()),
        ("a\nb", [], ()),
        ("aa\nb", ["a"], ()),
    ],
)
def test_a_lane_is_a_cycle_if_a_holder_is_in_the_chain(chain, holders, path):
    assert lane_cycle(chain, [Trail("", line) if line else None for line in holders]) == path


@pytest.mark.parametrize(
    ("chain", "busy", "path"),
    [
        ("a\nb\nc", ["a", "c"], ("a", "b", "c")),
        ("a\nb", ["a", "x"], ()),
        ("a\nb", ["a", None], ()),
        ("a\nb", [], ()),
    ],
)
def test_workers_are_a_cycle_if_each_of_them_is_in_the_chain(chain, busy, path):
    assert workers_cycle(chain, [Trail("", line) if line else None for line in busy]) == path


def test_the_notice_takes_a_tenth_of_a_short_ask_and_20_ms_of_a_long_one():
    assert notice_before_s(0.1) == pytest.approx(0.01)
    assert notice_before_s(3.0) == 0.02
