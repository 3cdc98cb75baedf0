"""What a session takes from its peer."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.support.connection import RecordingConnection
from zfoo_py.net.intake import PAUSE_LIMIT_S, Intake
from zfoo_py.protocol.attachment import CLIENT_KEYLESS, SignalAttachment
from zfoo_py.protocol.common import Cancel, common, zfoo_py_module

USERS = SimpleNamespace(module=common)
OURS = SimpleNamespace(module=zfoo_py_module)


class Stage:
    """An intake, and what it does with the things around it."""

    def __init__(self, limit=4, kind="node", side="server", heartbeat_timeout_s=5.0):
        self.connection = RecordingConnection()
        self.received, self.refused, self.pauses, self.asks = [], [], [], []
        limits = SimpleNamespace(max_in_work_per_session=limit, heartbeat_timeout_s=heartbeat_timeout_s)
        env = SimpleNamespace(receive=self.receive, limits=limits)
        timers = SimpleNamespace(paused=self.pauses.append, reads=self.pauses.clear)
        session = SimpleNamespace(kind=kind, side=side)
        refuse = lambda signal_id, text: self.refused.append((signal_id, text))  # noqa: E731
        self.intake = Intake(env, session, self.connection, timers, self.asks, refuse)

    def receive(self, _session, binding, packet, _attachment):
        self.received.append(packet)
        return binding is not OURS

    def come(self, *names):
        for name in names:
            self.intake.not_taken(USERS, name, None)


def test_reading_pauses_once_and_resumes_at_half():
    stage = Stage()
    intake, connection = stage.intake, stage.connection
    intake.in_work = 4
    intake.pause()
    intake.pause()
    assert stage.pauses == [PAUSE_LIMIT_S]
    intake.in_work = 3
    intake.read_again()
    assert (connection.calls, intake.is_reading, intake.takes) == (["pause_reading"], False, False)
    intake.in_work = 2
    intake.read_again()
    assert (connection.calls, intake.is_reading, intake.takes) == (["pause_reading", "resume_reading"], True, True)
    assert stage.pauses == []


def test_what_is_held_is_taken_in_order_and_never_beyond_the_limit():
    stage = Stage()
    intake = stage.intake
    intake.pause()
    stage.come(*"abcdef")
    intake.in_work = 2
    intake.read_again()
    assert (stage.received, intake.in_work, intake.is_reading) == (["a", "b"], 4, False)
    intake.in_work = 0
    intake.read_again()
    assert (stage.received, intake.in_work, intake.is_reading) == (list("abcdef"), 4, False)
    intake.in_work = 2
    intake.read_again()
    assert intake.is_reading


def test_after_a_long_pause_it_reads_and_refuses_until_half_is_free():
    stage = Stage()
    intake = stage.intake
    intake.in_work = 4
    intake.pause()
    stage.come("held note")
    intake.not_taken(USERS, "held ask", SignalAttachment(CLIENT_KEYLESS, 7))
    intake.not_taken(OURS, Cancel([7]), None)
    assert (stage.received, stage.refused) == ([], [])
    intake.paused_long()
    assert (intake.is_reading, intake.takes) == (True, False)
    assert stage.refused == [(7, "4 packets of this session are in work")]
    assert stage.received == [Cancel([7])]  # after the ask which it may mean
    intake.not_taken(USERS, "ask", SignalAttachment(CLIENT_KEYLESS, 9))
    assert [signal_id for signal_id, _ in stage.refused] == [7, 9]
    assert (intake.refused, intake.dropped, intake.in_work) == (2, 1, 4)
    intake.in_work = 3
    intake.read_again()
    assert not intake.takes
    intake.in_work = 2
    intake.read_again()
    assert intake.takes
    assert stage.connection.calls == ["pause_reading", "resume_reading"]


@pytest.mark.parametrize(
    ("kind", "side", "asks", "is_deaf"),
    [
        ("client", "server", 1, True),
        ("node", "server", 0, True),
        ("node", "server", 1, False),
        ("node", "client", 0, False),
    ],
)
def test_a_peer_that_does_not_read_stays_unread_however_long(kind, side, asks, is_deaf):
    stage = Stage(kind=kind, side=side)
    stage.asks += range(asks)
    intake = stage.intake
    intake.in_work = 4
    stage.connection.is_full = True
    intake.pause()
    stage.pauses.clear()
    intake.paused_long()
    assert intake.is_reading is not is_deaf
    assert stage.pauses == ([PAUSE_LIMIT_S] if is_deaf else [])  # slow receivers may be all that is left by then


def test_who_takes_no_refusal_gets_none():
    stage = Stage(side="client")
    stage.intake.in_work = 4
    stage.connection.is_full = True
    stage.intake.pause()
    stage.intake.paused_long()
    stage.intake.not_taken(USERS, "ask", SignalAttachment(CLIENT_KEYLESS, 9))
    assert (stage.refused, stage.intake.refused) == ([], 1)


def test_where_signs_of_life_are_due_sooner_a_pause_is_shorter():
    stage = Stage(heartbeat_timeout_s=0.5)
    stage.intake.pause()
    assert stage.pauses == [0.25]
