"""How fast a queue empties."""

from __future__ import annotations

import pytest

from zfoo_py.router.shedding import Drainage


def test_an_empty_queue_says_nothing_and_sheds_nothing():
    drainage = Drainage()
    for step in range(10):
        drainage.note(step * 5, 0, step * 1.0)
    assert drainage.wait_s(10**6) == 0.0


def test_the_mean_time_between_two_starts_while_something_waits():
    drainage = Drainage()
    drainage.note(0, 100, 10.0)
    drainage.note(10, 90, 11.0)
    assert drainage.wait_s(30) == pytest.approx(3.0)
    for batch in range(2, 30):  # twice as fast from now on
        drainage.note(batch * 10, 50, 10.5 + batch / 2)
    assert drainage.wait_s(30) == pytest.approx(1.5, rel=0.05)


def test_time_in_which_nothing_waited_does_not_count():
    drainage = Drainage()
    drainage.note(0, 5, 0.0)
    drainage.note(5, 0, 0.5)
    drainage.note(6, 10, 1000.0)
    drainage.note(16, 0, 1001.0)
    assert drainage.each_s == pytest.approx(0.1)


def test_a_queue_that_stands_still_gets_slower_once_something_starts_again():
    drainage = Drainage()
    drainage.note(0, 100, 0.0)
    drainage.note(10, 90, 1.0)
    drainage.note(10, 90, 2.0)
    drainage.note(10, 90, 3.0)
    drainage.note(11, 89, 4.0)
    assert drainage.each_s > 0.6
