"""Names of fields as Java has them, and the widths of numbers."""

from __future__ import annotations

import math
import struct

import pytest

from zfoo_py.protocol.java_types import MAX_FLOAT, wire_name


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("a", "a"),
        ("user_id", "userId"),
        ("task_executor_hash", "taskExecutorHash"),
        ("a1", "a1"),
        ("a_1", "a1"),
        ("aB", "aB"),
        ("Beta", "Beta"),
        ("_u", "_u"),
        ("in_", "in"),
        ("list_", "list"),
        ("x__y", "xY"),
        ("user_iD", "userID"),
    ],
)
def test_wire_name(field, name):
    assert wire_name(field) == name


def test_the_largest_float_is_what_rounds_to_a_finite_one():
    struct.pack(">f", MAX_FLOAT)
    with pytest.raises(OverflowError):
        struct.pack(">f", math.nextafter(MAX_FLOAT, math.inf))
