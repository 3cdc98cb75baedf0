"""Values that are not of the usual type: null, subclasses, faults; test_java_plan.py has them in packets."""

from __future__ import annotations

import enum

import pytest

from zfoo_py.protocol.coercion import MismatchError
from zfoo_py.protocol.field_types import FieldType
from zfoo_py.protocol.java_careful import careful_writer


def written(kind, where):
    return careful_writer(kind, where, {}.__getitem__)


class Level(enum.IntEnum):
    HIGH = 3


@pytest.mark.parametrize("kind", [FieldType("int"), FieldType("bool"), FieldType("str"), FieldType("bytes")])
def test_null_is_one_zero_byte(kind):
    assert written(kind, "X.a")(None) == b"\x00"


@pytest.mark.parametrize(("width", "size"), [("short", 2), ("float", 4), ("double", 8)])
def test_null_of_a_fixed_width(width, size):
    kind = FieldType("int" if width == "short" else "float", width=width)
    assert written(kind, "X.a")(None) == bytes(size)


def test_a_subclass_is_its_value():
    assert written(FieldType("int", width="byte"), "X.a")(Level.HIGH) == b"\x03"


@pytest.mark.parametrize("value", [True, "3", 3.0])
def test_other_types_are_refused(value):
    with pytest.raises(MismatchError, match=r"^X\.a: expected int, got "):
        written(FieldType("int"), "X.a")(value)
