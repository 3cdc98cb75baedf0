"""An exception as the text of an Error packet, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zfoo_py.protocol.raised import (
    MAX_MESSAGE_CHARS,
    MAX_TRACEBACK_CHARS,
    MAX_TYPE_CHARS,
    Raised,
    bounded,
    read_raised,
)

TRACE = (
    'Traceback (most recent call last):\n  File "x.py", line 1, in f\n    raise ValueError("mine")\nValueError: mine'
)


@pytest.mark.parametrize(
    ("raised", "text"),
    [
        (Raised("ValueError", "mine"), "ValueError: mine"),
        (Raised("KeyError", ""), "KeyError"),
        (Raised("ValueError", "a: b"), "ValueError: a: b"),
        (Raised("ValueError", "mine", TRACE), f"ValueError: mine\n\n{TRACE}"),
        (Raised("KeyError", "", TRACE), f"KeyError\n\n{TRACE}"),
    ],
)
def test_the_text_is_read_back(raised, text):
    assert raised.text() == text
    assert read_raised(text) == raised


@given(st.text(max_size=50), st.text(max_size=50))
def test_what_an_exception_says_comes_back_as_it_is(name, said):
    kind = "E" + "".join(filter(str.isalnum, name))
    if "Traceback (most recent" not in said:
        assert read_raised(Raised(kind, said).text()) == Raised(kind, said)


@given(st.text())
def test_any_text_can_be_read(text):
    found = read_raised(text)
    assert len(found.type) <= MAX_TYPE_CHARS
    assert len(found.message) <= MAX_MESSAGE_CHARS


def test_everything_is_bounded_on_both_sides():
    """The provider sends no more, and the asker keeps no more, whoever sent it."""
    long = Raised("E" * 1000, "m" * 10_000, "t" * 100_000)
    assert len(long.text()) < MAX_TYPE_CHARS + MAX_MESSAGE_CHARS + MAX_TRACEBACK_CHARS + 100
    assert "  …\n" in long.text()
    read = read_raised("E" * 1000 + ": " + "m" * 10_000 + "\n\nTraceback (most recent call last):\n" + "t" * 100_000)
    assert len(read.type) == MAX_TYPE_CHARS
    assert len(read.message) == MAX_MESSAGE_CHARS
    assert len(read.traceback) <= MAX_TRACEBACK_CHARS + 100


def test_a_cut_text_says_so():
    assert bounded("abc", 3) == "abc"
    assert bounded("abcd", 3) == "ab…"
