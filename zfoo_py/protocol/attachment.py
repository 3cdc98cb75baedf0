"""Attachments: what travels beside a packet (zfoo.md sections 2 and 3). Plain wire values.

Field order is the order on the wire of the msgpack codec; the zfoo-java codec sorts names as Java does.
"""

from __future__ import annotations

from typing import Annotated

from zfoo_py.protocol.java_types import Byte, Int, Long, Wire
from zfoo_py.protocol.packet import Packet

__all__ = [
    "ATTACHMENTS",
    "CLIENT_ANSWER",
    "CLIENT_CODES",
    "CLIENT_KEYED",
    "CLIENT_KEYLESS",
    "CLIENT_OUTSIDE",
    "MAX_SIGNAL_ID",
    "Attachment",
    "GatewayAttachment",
    "HttpAttachment",
    "NoAnswerAttachment",
    "SignalAttachment",
    "UdpAttachment",
    "int32",
]

# SignalAttachment.client
CLIENT_ANSWER = 0
CLIENT_KEYED = 1  # an ask with a key: task_executor_hash is its lane
CLIENT_KEYLESS = 2
CLIENT_OUTSIDE = 12  # an ask from a browser or the like
CLIENT_CODES = frozenset({CLIENT_ANSWER, CLIENT_KEYED, CLIENT_KEYLESS, CLIENT_OUTSIDE})

# Signal ids run from 1 to here and wrap: they are an int in Java.
MAX_SIGNAL_ID = 0x7FFF_FFFF


class Attachment(Packet):
    """Base of the attachments."""


class SignalAttachment(Attachment):
    """Makes a packet an ask, or the answer to one.

    Attributes:
        client: a CLIENT_ code.
        signal_id: matches the answer with the ask, per session; 1..MAX_SIGNAL_ID.
        task_executor_hash: the lane, a signed 32-bit hash of the key; -1 without key.
        timestamp: ms of the sender's clock since its session began, modulo 2**32, which tell how long an ask waited on
            its way (`zfoo_py.net.transit`); 0 if not told. Java's: ms since 1970, informational.
        remaining_ms: time left until the asker's deadline when it was sent; 0 if not told.
        chain: the asks in whose receivers it was made, a line each, the first one first; "" outside of receivers.
    """

    client: Byte
    signal_id: Int
    task_executor_hash: Int = -1
    timestamp: Long = 0
    remaining_ms: Annotated[int, Wire(java=False)] = 0
    chain: Annotated[str, Wire(java=False)] = ""


class GatewayAttachment(Attachment):
    """A packet that a gateway forwards for its client."""

    client: bool
    sid: Long
    signal_attachment: SignalAttachment | None = None
    task_executor_hash: Int = 0
    uid: Long = 0


class UdpAttachment(Attachment):
    """Where a datagram came from."""

    host: str
    port: Int


class HttpAttachment(Attachment):
    """An HTTP request's lane."""

    task_executor_hash: Int = 0
    uid: Long = 0


class NoAnswerAttachment(Attachment):
    """A one-way packet's lane."""

    task_executor_hash: Int


# Attachment id → class.
ATTACHMENTS: dict[int, type[Attachment]] = {
    0: SignalAttachment,
    2: GatewayAttachment,
    3: UdpAttachment,
    4: HttpAttachment,
    5: NoAnswerAttachment,
}


def int32(number: int) -> int:
    """Return the low 32 bits as a signed number, as Java's (int) does."""
    return ((number + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000
