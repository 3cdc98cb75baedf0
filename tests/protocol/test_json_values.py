"""Numbers and texts as Jackson writes them; test_zfoo_json_codec.py has the messages."""

from __future__ import annotations

import json
import math
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zfoo_py.protocol.coercion import MismatchError
from zfoo_py.protocol.field_types import FieldType
from zfoo_py.protocol.json_values import json_text, reader, writer

DOUBLE, SINGLE = FieldType("float"), FieldType("float", width="float")


def read(kind, value):
    return reader(kind, "X.a", lambda _: None)(value, [0])


def written(kind, value):
    return writer(kind, "X.a", lambda _: None, as_text=False)(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0"), (-0.0, "-0.0"), (1.5, "1.5"), (100.0, "100.0"), (1e6, "1000000.0"), (1e7, "1.0E7"),
        (0.001, "0.001"), (0.0001, "1.0E-4"), (1.234e10, "1.234E10"), (-12345678.9, "-1.23456789E7"),
        (float("nan"), '"NaN"'), (float("-inf"), '"-Infinity"'), (123456.789, "123456.789"),
    ],
)  # fmt: skip
def test_doubles(value, text):
    assert written(DOUBLE, value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_doubles_come_back(value):
    assert read(DOUBLE, json.loads(written(DOUBLE, value))) == value


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
@example(3.4025001647762064e38)  # with fewer digits it is rounded up, beyond the largest
@example(-3.4028234663852886e38)
def test_floats_come_back(value):
    text = written(SINGLE, value)
    assert struct.pack(">f", float(text)) == struct.pack(">f", value)
    assert read(SINGLE, json.loads(text)) == value


def test_a_float_is_as_short_as_it_can_be():
    assert written(SINGLE, 3.140000104904175) == "3.14"
    assert math.isinf(read(SINGLE, 1e99))


@given(st.text(st.characters(codec="utf-8")))
def test_texts(text):
    assert json.loads(json_text(text)) == text


@pytest.mark.parametrize("value", ["x", [], {}, True, 1 << 63, float("nan")])
def test_what_is_no_number(value):
    with pytest.raises((MismatchError, ValueError)):
        read(FieldType("int"), value)
