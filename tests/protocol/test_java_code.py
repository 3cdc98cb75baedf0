"""Source written and compiled; and the counts that Java's readers refuse (zfoo.md section 1)."""

from __future__ import annotations

import pytest

from zfoo_py.protocol.field_types import FieldType
from zfoo_py.protocol.java_code import Code, limit_of, width_of


def test_functions_see_the_names_they_were_given():
    code = Code({"TEN": 10})
    seven = code.name("c", 7)
    assert code.name("c") != seven
    assert code.function("x", [f"return TEN * x + {seven}"])(2) == 27


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        (FieldType("list", (FieldType("bool"),)), 64 * 1024 * 1024),
        (FieldType("list", (FieldType("int", width="byte"),)), 64 * 1024 * 1024),
        (FieldType("list", (FieldType("int", width="short"),)), 512 * 1024),
        (FieldType("list", (FieldType("int", width="int"),)), 256 * 1024),
        (FieldType("series", (FieldType("int"),)), 128 * 1024),
        (FieldType("list", (FieldType("float", width="float"),)), 256 * 1024),
        (FieldType("list", (FieldType("float"),)), 128 * 1024),
        (FieldType("list", (FieldType("str"),)), 64 * 1024),
        (FieldType("set", (FieldType("bool"),)), 32 * 1024),
        (FieldType("map", (FieldType("int"), FieldType("int"))), 32 * 1024),
    ],
)
def test_limits(kind, limit):
    assert limit_of(kind) == limit


def test_plain_numbers_are_the_widest():
    assert (width_of(FieldType("int")), width_of(FieldType("float"))) == ("long", "double")
