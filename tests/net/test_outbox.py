"""What a session writes, and when."""

from __future__ import annotations

from types import SimpleNamespace

from tests.support.connection import RecordingConnection
from zfoo_py.net.outbox import FLUSH_BYTES, Outbox
from zfoo_py.net.pending import Pending


def outbox(limit_bytes=1 << 20):
    connection, flushes = RecordingConnection(), []
    return Outbox(connection, SimpleNamespace(at_turn_end=flushes.append), limit_bytes), connection, flushes


def test_frames_gather_until_the_turn_ends_or_there_are_enough():
    out, connection, flushes = outbox()
    out.write(b"ab")
    out.write(b"c")
    assert (connection.writes, len(flushes)) == ([], 1)
    flushes.pop()()
    assert (connection.writes, out.frames_out, out.bytes_out, out.gathered_bytes) == ([b"abc"], 2, 3, 0)
    out.write(b"x" * FLUSH_BYTES)
    assert connection.writes[1:] == [b"x" * FLUSH_BYTES]
    flushes.pop()()  # nothing is left to write
    assert len(connection.writes) == 2


def test_there_is_no_room_while_the_transport_or_the_outbox_is_full():
    out, connection, _ = outbox(limit_bytes=10)
    assert out.has_room()
    out.write(b"x" * 10)
    assert not out.has_room()
    out.flush()
    assert out.has_room()
    connection.is_full = True
    assert not out.has_room()


def test_parked_asks_are_written_while_there_is_room():
    out, connection, _ = outbox(limit_bytes=2)
    pending = Pending(10)
    for frame in (b"aa", b"bb"):
        ask = SimpleNamespace(call=SimpleNamespace(deadline_s=1.0, is_default_timeout=True))
        out.parked.add(pending.add(ask), frame, ask)
    out.write_parked(pending)
    assert (out.gathered_bytes, len(out.parked)) == (2, 1)
    out.flush()
    out.write_parked(pending)
    out.flush()
    assert connection.writes == [b"aa", b"bb"]
