"""The retry budget: a share of the asks and an income a second, never more than the cap."""

from hypothesis import given
from hypothesis import strategies as st

from zfoo_py.consumer.retry_budget import MOST, PER_SECOND, SHARE, RetryBudget


def test_a_fresh_budget_allows_one_second_of_income():
    """Somebody who has asked nothing yet may still repeat a few."""
    budget = RetryBudget(100.0)
    taken = sum(budget.take(0, 100.0) for _ in range(100))
    assert taken == PER_SECOND


def test_every_ask_pays_for_a_fifth_of_a_retry():
    """50 asks allow 10 retries more, whatever the clock says."""
    budget = RetryBudget(0.0)
    while budget.take(0, 0.0):
        pass
    assert sum(budget.take(50, 0.0) for _ in range(100)) == 50 * SHARE


def test_time_pays_too_and_the_savings_are_capped():
    """A night of silence saves up no more than the cap."""
    budget = RetryBudget(0.0)
    while budget.take(0, 0.0):
        pass
    assert sum(budget.take(0, 1.0) for _ in range(100)) == PER_SECOND
    assert sum(budget.take(0, 100_000.0) for _ in range(1000)) == MOST


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 2)), max_size=200))
def test_never_more_than_the_share_and_the_income(steps):
    """Over any history, retries stay within first second + share of asks + income, and a clock that stands is fine."""
    budget, asks, now_s, taken = RetryBudget(0.0), 0, 0.0, 0
    for more_asks, seconds in steps:
        asks += more_asks
        now_s += seconds
        taken += budget.take(asks, now_s)
        assert taken <= PER_SECOND + asks * SHARE + now_s * PER_SECOND + 1e-6
