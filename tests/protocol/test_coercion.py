"""Values that are not of exactly the declared type."""

from __future__ import annotations

import collections

import pytest

from zfoo_py.protocol.coercion import MismatchError, argument, attribute, exact, in_order, out_of_range, refused
from zfoo_py.protocol.frozen_map import FrozenMap


def test_subclasses_become_the_type():
    made = exact("X.a", "dict", dict, collections.OrderedDict(a=1))
    assert (type(made), made) == (dict, {"a": 1})
    assert exact("X.a", "FrozenMap", FrozenMap, {"a": 1}) == {"a": 1}
    assert type(exact("X.a", "dict", dict, FrozenMap({"a": 1}))) is dict
    assert exact("X.a", "float", float, 3) == 3


@pytest.mark.parametrize(("wanted", "value"), [(int, True), (int, 1.0), (str, b"a"), (list, (1,)), (dict, [1])])
def test_others_are_refused(wanted, value):
    with pytest.raises(MismatchError, match=r"^X\.a: expected something, got "):
        exact("X.a", "something", wanted, value)


def test_sets_in_order():
    assert in_order("X.a", "set[int]", (n for n in (3, 1))) == [3, 1]
    for value in ("ab", b"ab", {1: 2}, FrozenMap(), 5, None):
        with pytest.raises(MismatchError):
            in_order("X.a", "set[int]", value)


def test_texts_tell_no_value():
    assert "secret" not in str(refused("X.a", "int", "secret"))
    assert str(out_of_range("X.a", "Int", 1 << 31)).startswith("X.a: 2147483648 is out of range")


def test_keywords_as_field_names():
    assert [attribute("a"), attribute("is")] == ["packet.a", "getattr(packet, 'is')"]
    assert [argument("a", "v"), argument("in", "v")] == ["a=v", "**{'in': v}"]
