"""How long an ask was on its way, told by two clocks that have nothing in common."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zfoo_py.net.transit import MASK, WINDOW_S, WRAP_S, Transit, timestamp_ms

# A timestamp has whole milliseconds.
NEAR_S = 0.0011
LINE_S = 0.004


def run(sends, *, offset_s=0.0, rate=1.0, began_s=0.0):
    """Let asks be sent at these (time, waited) and return what is measured; ours runs at this rate, so much ahead."""
    transit = Transit()
    return [
        transit.waited_s(timestamp_ms(at_s - began_s), (at_s + LINE_S + waited_s) * rate + offset_s)
        for at_s, waited_s in sends
    ]


def test_what_took_longer_than_the_shortest_has_waited():
    waited = run([(1.0, 0.0), (2.0, 0.25), (3.0, 0.0), (4.0, 0.05)])
    assert waited == pytest.approx([0.0, 0.25, 0.0, 0.05], abs=NEAR_S)


def test_until_one_has_found_the_line_empty_the_shortest_wait_counts_as_the_line():
    assert run([(1.0, 0.5), (2.0, 0.7), (3.0, 0.0), (4.0, 0.5)]) == pytest.approx([0.0, 0.2, 0.0, 0.5], abs=NEAR_S)


@given(st.floats(-1e7, 1e7), st.lists(st.floats(0.0, 2.0), min_size=1, max_size=50))
def test_skew_means_nothing(offset_s, waits):
    sends = [(1.0, 0.0), *((2.0 + number * 0.1, wait_s) for number, wait_s in enumerate(waits))]
    assert run(sends, offset_s=offset_s)[1:] == pytest.approx(waits, abs=NEAR_S)


@pytest.mark.parametrize("rate", [0.9999, 1.0001])
def test_drift_costs_at_most_what_two_windows_hold(rate):
    """100 ppm for an hour are 360 ms; those of two minutes are 12."""
    sends = [(number * 0.5, 0.0) for number in range(1, 7200)]
    waited = run(sends, rate=rate)
    assert max(waited) <= 2 * WINDOW_S * 0.0001 + NEAR_S
    assert min(waited) >= 0.0


@pytest.mark.parametrize("offset_s", [0.0, -1e6, 1e6])
@pytest.mark.parametrize("rate", [0.9999, 1.0, 1.0001])
def test_timestamps_that_begin_again_change_nothing(offset_s, rate):
    sends = [(WRAP_S - 30.0 + number, (number % 3) * 0.1) for number in range(60)]
    waited = run(sends, offset_s=offset_s, rate=rate)
    assert waited == pytest.approx([wait_s for _, wait_s in sends], abs=0.01)


def test_what_was_the_shortest_long_ago_counts_no_more():
    changed = [(1.0, 0.0), *((number * 1.0, 0.3) for number in range(2, 200))]  # the line itself is longer now
    waited = run(changed)
    assert waited[1] == pytest.approx(0.3, abs=NEAR_S)
    assert waited[-1] == pytest.approx(0.0, abs=NEAR_S)


def test_after_a_long_silence_the_first_one_is_the_line():
    assert run([(1.0, 0.0), (1.0 + 2 * WINDOW_S + 1.0, 0.4)]) == pytest.approx([0.0, 0.0], abs=NEAR_S)
    assert run([(1.0, 0.0), (1.0 + WINDOW_S + 1.0, 0.4)]) == pytest.approx([0.0, 0.4], abs=NEAR_S)


@given(st.lists(st.integers(-(1 << 63), 1 << 64), max_size=50))
def test_whatever_a_peer_says_nothing_gets_more_time_by_it(timestamps):
    transit = Transit()
    for number, timestamp in enumerate(timestamps):
        assert 0.0 <= transit.waited_s(timestamp, float(number)) <= WRAP_S


def test_a_timestamp_is_never_what_says_not_told():
    assert timestamp_ms(0.0) == 1
    assert timestamp_ms(WRAP_S) == 1
    assert timestamp_ms(1.9999) == 1999
    assert timestamp_ms(WRAP_S - 0.0005) == MASK
