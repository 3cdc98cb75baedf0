"""What the registry hears of a session."""

from __future__ import annotations

import msgspec

from tests.support.sessions import Recorder
from zfoo_py.net import messages as m
from zfoo_py.net.presence import Presence
from zfoo_py.net.session import SessionRecord

RECORD = SessionRecord(7, "client", "node", "p", "l", "n", "", 0.0)
UP = m.SessionUp(RECORD, None, None)
PROVIDER = m.ProviderUp(7, None, None)
DOWN = m.SessionDown(7, "gone")


def test_a_provider_goes_before_its_session_and_once():
    registry = Recorder()
    presence = Presence(registry, 7)
    presence.begin(UP, PROVIDER)
    presence.withdraw("drains")
    presence.withdraw("drains")
    presence.end(DOWN)
    presence.end(DOWN)
    assert registry.told == [UP, PROVIDER, m.ProviderDown(7, "drains"), DOWN]


def test_nobody_hears_of_a_session_that_never_came_up():
    registry = Recorder()
    Presence(registry, 7).end(DOWN)
    assert registry.told == []


def test_a_new_registry_hears_what_is_now():
    registry = Recorder()
    presence = Presence(registry, 7)
    order = m.ReportYourself(2)
    presence.report(order, "urn", 0)
    presence.begin(UP, PROVIDER)
    presence.report(order, "urn", 5)
    presence.withdraw("drains")
    presence.report(order, "urn", 0)
    told = [message for message in registry.told if isinstance(message, m.SessionReport)]
    with_uid = m.SessionUp(msgspec.structs.replace(RECORD, uid=5), None, None)
    assert told == [
        m.SessionReport(2, "urn", None, None),
        m.SessionReport(2, "urn", with_uid, PROVIDER),
        m.SessionReport(2, "urn", UP, None),
    ]
