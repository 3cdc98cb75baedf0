"""Sets that keep their order are sets in everything else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zfoo_py.protocol.sets_in_order import FrozenSetInOrder, SetInOrder


@given(st.lists(st.integers() | st.text(max_size=3)))
def test_they_are_iterated_as_they_came_and_equal_to_any_set(items):
    for one, plain in ((SetInOrder(items), set(items)), (FrozenSetInOrder(items), frozenset(items))):
        assert list(one) == items
        assert one == plain
        assert plain == one
        assert len(one) == len(plain)
        assert all(item in one for item in items)
    assert hash(FrozenSetInOrder(items)) == hash(frozenset(items))


def test_one_that_was_changed_is_iterated_as_it_is_now():
    one = SetInOrder([3, 1, 2])
    one.add(4)
    assert sorted(one) == [1, 2, 3, 4]
    one.discard(4)
    assert list(one) == [3, 1, 2]
