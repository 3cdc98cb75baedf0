"""The retry budget: a share of the asks and an income a second, gone after ten seconds."""

from hypothesis import given
from hypothesis import strategies as st

from zfoo_py.consumer.retry_budget import PER_SECOND, SHARE, WINDOW_S, RetryBudget


def test_a_fresh_budget_has_ten_seconds_of_income_in_advance():
    """Somebody who has asked nothing yet may still repeat a few."""
    budget = RetryBudget(100.0)
    taken = sum(budget.take(0, 100.0) for _ in range(1000))
    assert taken == PER_SECOND * WINDOW_S
    assert not budget.take(0, 109.0)
    assert not budget.take(0, 110.0)
    assert budget.take(0, 110.2)


def test_every_ask_pays_for_a_fifth_of_a_retry():
    """50 asks allow 10 retries more, whatever the clock says."""
    budget = RetryBudget(0.0)
    while budget.take(0, 0.0):
        pass
    assert sum(budget.take(50, 0.0) for _ in range(100)) == 50 * SHARE


def test_time_pays_too_and_the_savings_go():
    """A night of silence saves up no more than ten seconds of it."""
    budget = RetryBudget(0.0)
    while budget.take(0, 0.0):
        pass
    assert sum(budget.take(0, WINDOW_S + 1.0) for _ in range(100)) == PER_SECOND
    assert sum(budget.take(0, 100_000.0) for _ in range(1000)) == WINDOW_S * PER_SECOND


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 2)), max_size=200))
def test_never_more_than_the_share_and_the_income(steps):
    """Over any history: ten seconds' income in advance, a share of the asks, and the income after that."""
    budget, asks, now_s, taken = RetryBudget(0.0), 0, 0.0, 0
    for more_asks, seconds in steps:
        asks += more_asks
        now_s += seconds
        taken += budget.take(asks, now_s)
        assert taken <= asks * SHARE + max(WINDOW_S, now_s) * PER_SECOND + 1e-6


def test_a_busy_consumer_saves_ten_seconds_of_its_asks():
    budget = RetryBudget(0.0)
    while budget.take(0, 10.0):
        pass
    assert sum(budget.take(500 * 60, 70.0) for _ in range(5000)) == WINDOW_S * (500 * SHARE + PER_SECOND)
    assert not budget.take(500 * 60, 70.0)
