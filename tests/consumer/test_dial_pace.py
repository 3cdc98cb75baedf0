"""At most so many dials in any second."""

from hypothesis import given
from hypothesis import strategies as st

from zfoo_py.consumer.dial_pace import DialPace


def test_the_first_fifty_are_not_held_up_and_the_next_wait_for_the_end_of_the_second():
    pace = DialPace()
    assert [pace.wait_s(10.0) for _ in range(50)] == [0.0] * 50
    assert pace.wait_s(10.25) == 0.75
    assert pace.wait_s(10.9999) == 0.001
    assert pace.wait_s(11.0) == 0.0


@given(st.lists(st.floats(0, 0.4), max_size=200), st.integers(1, 5))
def test_no_second_has_more_and_none_waits_without_need(steps, limit):
    pace, now_s, made = DialPace(limit), 0.0, []
    for step in steps:
        now_s += step
        wait_s = pace.wait_s(now_s)
        recent = [at_s for at_s in made if now_s - at_s < 1.0]
        assert (wait_s == 0.0) == (len(recent) < limit)
        if wait_s == 0.0:
            made.append(now_s)
