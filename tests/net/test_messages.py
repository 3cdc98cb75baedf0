"""Messages of sessions: small, frozen, and only the right ones overtake."""

from __future__ import annotations

import inspect

import msgspec
import pytest

from zfoo_py.actor import Control
from zfoo_py.net import messages

ALL = [
    value
    for value in vars(messages).values()
    if inspect.isclass(value) and issubclass(value, msgspec.Struct) and value.__module__ == messages.__name__
]
# Written out: whoever adds one lets it overtake frames, sends and closes, and must know why.
OVERTAKE = {
    "AskVersion",
    "CountersReport",
    "HeartbeatDue",
    "MembershipChange",
    "PausedLong",
    "ProviderDown",
    "ProviderUp",
    "ReportYourself",
    "Reweighed",
    "SessionDown",
    "SessionReport",
    "SessionUp",
    "Snapshot",
    "Subscribe",
    "VersionIs",
    "WritePaused",
    "WriteResumed",
}


def test_all_lists_them_all():
    assert sorted(messages.__all__) == sorted(kind.__name__ for kind in ALL)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_each_is_frozen_slotted_and_says_what_it_is(kind):
    assert kind.__struct_config__.frozen
    assert "__dict__" not in dir(kind)
    assert kind.__doc__.startswith(("Fact: ", "Order: ", "Question: ")) or kind is messages.AskRecord


def test_only_these_overtake():
    assert {kind.__name__ for kind in ALL if issubclass(kind, Control)} == OVERTAKE


def test_what_must_come_in_order_with_frames_and_sends_does_not_overtake():
    """Lost after the frames received, Close after the sends, Finished and Reply with them."""
    ordinary = ("Received", "Lost", "Send", "Outbound", "Reply", "Finished", "Close", "Retire", "Drain", "BindUid")
    assert not OVERTAKE & set(ordinary)


def test_the_docstring_names_each_message():
    missing = [kind.__name__ for kind in ALL if kind.__name__ not in messages.__doc__]
    assert missing == ["AskRecord"], "it is no message, but a part of Outbound"
