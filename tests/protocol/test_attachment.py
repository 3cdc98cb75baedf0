"""Attachments are zfoo's, by id and field."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zfoo_py.protocol.attachment import (
    ATTACHMENTS,
    CLIENT_ANSWER,
    CLIENT_CODES,
    CLIENT_KEYED,
    CLIENT_KEYLESS,
    CLIENT_OUTSIDE,
    GatewayAttachment,
    NoAnswerAttachment,
    SignalAttachment,
    int32,
)


def test_ids_and_codes_are_zfoos():
    """zfoo.md, sections 2 and 3."""
    assert {number: kind.__name__ for number, kind in ATTACHMENTS.items()} == {
        0: "SignalAttachment",
        2: "GatewayAttachment",
        3: "UdpAttachment",
        4: "HttpAttachment",
        5: "NoAnswerAttachment",
    }
    assert (CLIENT_ANSWER, CLIENT_KEYED, CLIENT_KEYLESS, CLIENT_OUTSIDE) == (0, 1, 2, 12)
    assert frozenset({0, 1, 2, 12}) == CLIENT_CODES


def test_defaults():
    assert SignalAttachment(1, 7) == SignalAttachment(1, 7, task_executor_hash=-1, timestamp=0, remaining_ms=0)
    assert GatewayAttachment(True, 5).signal_attachment is None
    with pytest.raises(AttributeError):
        NoAnswerAttachment(3).task_executor_hash = 4


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, 0), (-1, -1), (2**31 - 1, 2**31 - 1), (2**31, -(2**31)), (2**32, 0), (-(2**31) - 1, 2**31 - 1)],
)
def test_int32_at_its_edges(number, expected):
    assert int32(number) == expected


@given(st.integers())
def test_int32_is_the_low_32_bits_signed(number):
    assert int32(number) == int.from_bytes((number & 0xFFFF_FFFF).to_bytes(4, "big"), "big", signed=True)
