"""Messages of the consumer: small, frozen, and only the right ones overtake."""

from __future__ import annotations

import inspect
import re

import msgspec
import pytest

from zfoo_py.actor import Control
from zfoo_py.consumer import messages

ALL = [
    value
    for value in vars(messages).values()
    if inspect.isclass(value) and issubclass(value, msgspec.Struct) and value.__module__ == messages.__name__
]


def test_all_lists_them_all():
    texts = {"JAVA", "MSGPACK"}  # names of codecs
    assert sorted(messages.__all__) == sorted({*texts, *(kind.__name__ for kind in ALL)})


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_each_is_frozen_slotted_and_says_what_it_is(kind):
    assert kind.__struct_config__.frozen
    assert "__dict__" not in dir(kind)
    assert kind.__doc__.startswith(("Fact: ", "Order: ", "Order of a session: ", "Question: ", "A provider "))


def test_only_these_overtake():
    """Orders of callers, and what discovery and sessions say, are handled in the order in which they were told."""
    assert {kind.__name__ for kind in ALL if issubclass(kind, Control)} == {
        "LookAround",
        "RegistryRestarted",
        "Sweep",
        "Tick",
    }


def test_the_docstring_names_each_message():
    words = set(re.findall(r"\w+", messages.__doc__))
    missing = {kind.__name__ for kind in ALL} - words
    assert missing == {"Target"}, "it is no message, but a part of others"
