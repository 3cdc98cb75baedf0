"""Java zfoo's codecs where a session expects the default one.

What is to be sent is encoded where it is asked or answered, before anybody knows the session that takes it, so it comes
here as the default codec has it, and is written anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from zfoo_py.errors import EncodeError, PacketError
from zfoo_py.protocol.attachment import Attachment, NoAnswerAttachment
from zfoo_py.protocol.framing import frame
from zfoo_py.protocol.msgpack_codec import MsgpackCodec

if TYPE_CHECKING:
    from zfoo_py.protocol.packet import Binding, Packet, PacketTable

__all__ = ["ForeignCodec", "MessageCodec", "foreign_codec"]


class MessageCodec(Protocol):
    """`ZfooJavaCodec` or `ZfooJsonCodec`."""

    def encode(self, packet: Packet) -> bytes:
        """Return the packet of a message. Raises EncodeError."""

    def ask(self, head: bytes, signal_id: int, client: int, lane: int) -> bytes:
        """Return the message of an encoded packet that is an ask."""

    def finish(self, head: bytes, attachment: Attachment | None = None) -> bytes:
        """Return the message of an encoded packet."""

    def decode_message(self, message: bytes | memoryview) -> tuple[Binding | None, Packet, Attachment | None]:
        """Return the mapping, packet and attachment of a message. Raises DecodeError."""


class ForeignCodec:
    """What `MsgpackCodec` is to a session, for a Java peer. On the loop's thread; one for all sessions of a codec.

    Args:
        messages: the peer's codec.
        default: the codec in which packets to send arrive.
    """

    def __init__(self, messages: MessageCodec, default: MsgpackCodec) -> None:
        self.table: PacketTable = default.table
        self.messages = messages
        self.encode = default.encode
        self._default = MsgpackCodec(default.table, keeps_order=True)
        self._last: tuple[bytes, bytes] = (b"", b"")

    def own(self, head: bytes) -> bytes:
        """Return a packet of the default codec as the peer's. O(size); again for the same one O(1).

        Raises:
            EncodeError: the peer's codec cannot carry it.
        """
        if self._last[0] is not head:
            binding, packet, _ = self._default.decode(head + b"\xc0\xc0")
            try:
                self._last = (head, self.messages.encode(packet))
            except PacketError as error:  # its class has a field that Java does not have
                name = binding.packet_class.__name__
                raise EncodeError(str(error), packet=name, module=binding.module.name) from error
        return self._last[1]

    def ask_frame(self, head: bytes, signal_id: int, client: int, lane: int, *_deadline: int) -> bytes:
        """Return the frame of an ask; Java peers are not told its deadline."""
        return frame(self.messages.ask(self.own(head), signal_id, client, lane))

    def one_way_frame(self, head: bytes, lane: int | None) -> bytes:
        """Return the frame of a packet that wants no answer."""
        return self.frame(head, None if lane is None else NoAnswerAttachment(lane))

    def frame(self, head: bytes, attachment: Attachment | None) -> bytes:
        """Return a frame. O(size)."""
        return frame(self.messages.finish(self.own(head), attachment))


def foreign_codec(name: str, default: MsgpackCodec) -> ForeignCodec:
    """Return the codec "zfoo-java" or "zfoo-json", for the table of the default one."""
    if name == "zfoo-json":
        from zfoo_py.protocol.zfoo_json_codec import ZfooJsonCodec  # noqa: PLC0415 - only for who has such peers

        return ForeignCodec(ZfooJsonCodec(default.table), default)
    from zfoo_py.protocol.zfoo_java_codec import ZfooJavaCodec  # noqa: PLC0415

    return ForeignCodec(ZfooJavaCodec(default.table), default)
