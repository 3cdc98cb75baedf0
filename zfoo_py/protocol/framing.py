"""Length-prefixed frames: 4 bytes, big-endian, then so many bytes of body (zfoo.md section 2)."""

from __future__ import annotations

import struct

from zfoo_py.errors import FrameError

__all__ = ["HEADER_BYTES", "FrameParser", "frame"]

HEADER_BYTES = 4

_MAX_SIGNED = 0x7FFF_FFFF  # Java's length is signed

_LENGTH = struct.Struct(">I")
_read_length = _LENGTH.unpack_from
_write_length = _LENGTH.pack


def frame(body: bytes) -> bytes:
    """Return header and body."""
    return _write_length(len(body)) + body


class FrameParser:
    """Cuts a stream of bytes into bodies. One per connection; not thread-safe.

    A frame's length is judged by its header alone, before any of its body is kept: at most `max_frame_bytes`
    are ever buffered.

    Attributes:
        max_frame_bytes: longest body taken; may be set at any time, and holds for headers read afterwards.
        error: what broke the stream, or None. Nothing is parsed after it.
    """

    __slots__ = ("_body", "_header", "_missing", "error", "max_frame_bytes")

    def __init__(self, max_frame_bytes: int) -> None:
        self.max_frame_bytes = max_frame_bytes
        self.error: FrameError | None = None
        self._header = b""  # the first bytes of a header that is not complete
        self._body = bytearray()  # the first bytes of a body that is not complete ...
        self._missing = 0  # ... and how many are to come; 0: none is being read

    def feed(self, data: bytes) -> list[bytes | memoryview]:
        """Take the next bytes; return the bodies they complete, in order.

        O(length of data): a body that spans many chunks is gathered once. A `memoryview` is handed out where a copy
        is saved; the parser keeps no reference to it. On a bad header the bodies before it are returned, `error` is
        set, and every later call returns [].
        """
        bodies: list[bytes | memoryview] = []
        if self.error is not None:
            return bodies
        position = 0
        if self._missing:
            position = self._continue_body(data, bodies)
        elif self._header:
            data = self._header + data
            self._header = b""
        size = len(data)
        limit = self.max_frame_bytes
        while size - position >= HEADER_BYTES:
            (length,) = _read_length(data, position)
            position += HEADER_BYTES
            if not 0 < length <= limit:
                self.error = FrameError(_fault(length, limit))
                return bodies
            end = position + length
            if end > size:
                self._body += memoryview(data)[position:]
                self._missing = end - size
                return bodies
            bodies.append(data[position:end])
            position = end
        if position < size:
            self._header = data[position:]
        return bodies

    def _continue_body(self, data: bytes, bodies: list[bytes | memoryview]) -> int:
        """Add to the body begun earlier; return how many bytes of `data` it took."""
        taken = min(self._missing, len(data))
        self._body += data if taken == len(data) else memoryview(data)[:taken]
        self._missing -= taken
        if not self._missing:
            bodies.append(memoryview(self._body))
            self._body = bytearray()
        return taken


def _fault(length: int, limit: int) -> str:
    if length == 0:
        return "a frame of length zero: the peer does not speak this protocol"
    if length > _MAX_SIGNED:
        return f"a frame of negative length ({length - 2 * _MAX_SIGNED - 2}): the peer does not speak this protocol"
    return (
        f"a frame of {length} bytes is over the limit of {limit}: the peer does not speak this protocol, "
        f"or max_frame_bytes is too small here"
    )
