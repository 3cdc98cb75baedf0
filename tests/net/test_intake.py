"""What a session takes from its peer."""

from __future__ import annotations

from tests.support.connection import RecordingConnection
from zfoo_py.net.intake import Intake


def test_reading_pauses_once_and_resumes_at_half():
    connection = RecordingConnection()
    intake = Intake(connection, limit=4)
    intake.in_work = 4
    intake.pause()
    intake.pause()
    intake.in_work = 3
    intake.resume()
    assert (connection.calls, intake.is_reading) == (["pause_reading"], False)
    intake.in_work = 2
    intake.resume()
    intake.resume()
    assert (connection.calls, intake.is_reading) == (["pause_reading", "resume_reading"], True)


def test_what_is_held_is_taken_in_order_and_never_beyond_the_limit():
    intake = Intake(RecordingConnection(), limit=4)
    intake.pause()
    intake.held.extend("abcdef")
    intake.in_work = 2
    assert intake.has_room()
    assert intake.take_held() == ["a", "b"]
    intake.in_work = 0
    intake.resume()
    assert not intake.is_reading  # the rest comes first
    assert intake.take_held() == ["c", "d", "e", "f"]
    intake.resume()
    assert intake.is_reading
