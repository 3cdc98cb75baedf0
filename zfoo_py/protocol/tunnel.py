"""What zfoo's tunnel carries inside a frame (zfoo.md section 12): messages of clients known by sid and uid.

A tunnel client, inside a private network, keeps a connection to the tunnel server, which clients dial.
"""

from __future__ import annotations

from typing import Final

import msgspec

from zfoo_py.errors import DecodeError
from zfoo_py.protocol.java_bytes import UNZIGZAG, read_long, write_long

__all__ = [
    "TunnelHeartbeat",
    "TunnelPacket",
    "TunnelRegister",
    "read_from_client",
    "read_from_server",
    "write_to_client",
    "write_to_server",
]

_PACKET: Final = 0
_REGISTER: Final = 10
_HEARTBEAT: Final = 20


class TunnelRegister(msgspec.Struct, frozen=True):
    """The tunnel client's session `sid` takes packets."""

    sid: int


class TunnelHeartbeat(msgspec.Struct, frozen=True):
    """The tunnel client lives."""


class TunnelPacket(msgspec.Struct, frozen=True):
    """A message from or for the client that the tunnel server knows as `sid` and `uid`."""

    sid: int
    uid: int
    message: bytes


def write_to_server(what: TunnelRegister | TunnelHeartbeat | TunnelPacket) -> bytes:
    """Return the body of a tunnel client's frame."""
    if isinstance(what, TunnelRegister):
        return bytes((_REGISTER,)) + write_long(what.sid)
    if isinstance(what, TunnelHeartbeat):
        return bytes((_HEARTBEAT,))
    return bytes((_PACKET,)) + write_to_client(what)


def write_to_client(packet: TunnelPacket) -> bytes:
    """Return the body of a tunnel server's frame."""
    return b"".join((write_long(packet.sid), write_long(packet.uid), packet.message))


def read_from_client(body: bytes) -> TunnelRegister | TunnelHeartbeat | TunnelPacket:
    """Read the body of a tunnel client's frame. Raises DecodeError."""
    kind = body[0] if body else -1
    if kind == _HEARTBEAT:
        return TunnelHeartbeat()
    if kind == _REGISTER:
        return TunnelRegister(_long(body, 1)[0])
    if kind == _PACKET:
        return read_from_server(body[1:])
    raise DecodeError(f"a tunnel has no frames of kind {kind}")


def read_from_server(body: bytes) -> TunnelPacket:
    """Read the body of a tunnel server's frame. Raises DecodeError."""
    sid, position = _long(body, 0)
    uid, position = _long(body, position)
    return TunnelPacket(sid, uid, body[position:])


def _long(body: bytes, position: int) -> tuple[int, int]:
    try:
        first = body[position]
        return (UNZIGZAG[first], position + 1) if first < 0x80 else read_long(body, position, first)
    except IndexError:
        raise DecodeError("the tunnel's frame ends within a number") from None
