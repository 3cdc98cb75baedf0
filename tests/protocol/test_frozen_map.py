"""FrozenMap: a mapping, immutable, hashable, in order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zfoo_py.protocol.frozen_map import FrozenMap

ITEMS = st.dictionaries(st.integers(), st.text())


@given(ITEMS)
def test_it_is_as_the_dict_it_was_made_of(items):
    made = FrozenMap(items)
    assert made == items
    assert list(made.items()) == list(items.items())
    assert made == FrozenMap(list(items.items())) == FrozenMap(made)
    assert repr(made) == f"FrozenMap({items!r})"


@given(ITEMS)
def test_equal_ones_hash_alike_whatever_their_order(items):
    assert hash(FrozenMap(items)) == hash(FrozenMap(list(reversed(items.items()))))
    assert len({FrozenMap(items), FrozenMap(items)}) == 1


def test_it_is_a_copy_and_does_not_change():
    items = {1: "a"}
    made = FrozenMap(items)
    items[2] = "b"
    assert made == {1: "a"}
    assert made != {1: "b"}
    assert made != 5
    with pytest.raises(TypeError):
        made[1] = "c"
    with pytest.raises(TypeError, match="unhashable"):
        hash(FrozenMap({1: []}))
