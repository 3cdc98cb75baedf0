"""The router's messages."""

from __future__ import annotations

from zfoo_py.actor import Control
from zfoo_py.router import messages


def test_there_is_one_message_frozen_and_ordinary():
    """It overtakes nothing, so it is no Control."""
    assert messages.__all__ == ["WorkReady"]
    assert messages.WorkReady.__struct_config__.frozen
    assert not issubclass(messages.WorkReady, Control)
    assert messages.WorkReady() == messages.WorkReady()
