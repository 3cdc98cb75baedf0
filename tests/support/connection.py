"""A transport that only writes down what a session does with it."""

from __future__ import annotations

from typing import Any

from zfoo_py.protocol.framing import FrameParser

__all__ = ["RecordingConnection"]


class RecordingConnection:
    """Implements `zfoo_py.net.seams.Connection`.

    Attributes:
        writes: one item for each call of `write`.
        calls: every other call, in order: "pause_reading", "close", ("limit_frames", n) …
        received_bytes, held_bytes: what it says of itself.
        on_write: called within each `write`, as a transport that is full calls back.
    """

    def __init__(self, peer: str = "10.0.0.1:1111", local: str = "10.0.0.2:2222") -> None:
        self.peer = peer
        self.local = local
        self.writes: list[bytes] = []
        self.calls: list[Any] = []
        self.is_full = False
        self.received_bytes = self.held_bytes = 0
        self.on_write: Any = None

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        if self.on_write is not None:
            self.on_write()

    def unsent_bytes(self) -> int:
        return self.held_bytes

    def pause_reading(self) -> None:
        self.calls.append("pause_reading")

    def resume_reading(self) -> None:
        self.calls.append("resume_reading")

    def limit_frames(self, max_frame_bytes: int) -> None:
        self.calls.append(("limit_frames", max_frame_bytes))

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")

    def bodies(self) -> list[bytes]:
        """Return the bodies of all frames written so far."""
        return [bytes(body) for body in FrameParser(2**31 - 1).feed(b"".join(self.writes))]
