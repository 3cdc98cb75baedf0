"""The binary format of Java zfoo, byte for byte (zfoo.md sections 1 to 3).

A message, which is what a frame's length counts, is the packet (id as 2 bytes, object), a flag byte, and if that is
not 0 the attachment (id, object). zfoo ignores what is left after it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from zfoo_py.errors import DecodeError, EncodeError
from zfoo_py.protocol import common  # noqa: F401 - importing it fills the table of built-in packets
from zfoo_py.protocol.attachment import ATTACHMENTS, Attachment
from zfoo_py.protocol.coercion import MismatchError
from zfoo_py.protocol.field_types import Fields, read_fields
from zfoo_py.protocol.java_plan import JavaPlans, memory_for
from zfoo_py.protocol.packet import DEFAULT_TABLE, Binding, Packet, PacketTable

__all__ = ["ZfooJavaCodec", "decode", "encode"]

_Write = Callable[[Any], bytes]
_Read = Callable[[bytes, int, list[int]], tuple[Any, int]]

_pack_id = struct.Struct(">h").pack
_read_id = struct.Struct(">h").unpack_from
# For readers that charge nothing to it.
_UNUSED: list[int] = [0]
_ATTACHMENT_IDS: dict[type[Any], int] = {kind: number for number, kind in ATTACHMENTS.items()}


class ZfooJavaCodec:
    """Packets ↔ messages of Java zfoo, after one table. Any thread.

    Args:
        table: the mapping of packets.
    """

    def __init__(self, table: PacketTable = DEFAULT_TABLE) -> None:
        self.table = table
        self._plans = JavaPlans(self._fields_of)
        self._outgoing: dict[type[Any], tuple[bytes, _Write]] = {}
        self._incoming: dict[bytes, tuple[Binding | None, _Read, bool]] = {}

    # --- out

    def encode(self, packet: Packet) -> bytes:
        """Return the packet of a message: its id and object, without flag and attachment. O(size).

        Raises:
            EncodeError: a field has a wrong type, a number is out of range, or a container has more elements than
                Java zfoo reads.
            UnmappedPacketError: the class has no protocol id in this table.
            PacketError: an annotation of the class cannot be resolved, or Java has no such type.
        """
        try:
            prefix, write = self._outgoing[type(packet)]
        except KeyError:
            prefix, write = self._prepare_outgoing(type(packet))
        try:
            return prefix + write(packet)
        except Exception as error:
            raise self._encode_error(packet, error) from error

    def message(self, packet: Packet, attachment: Attachment | None = None) -> bytes:
        """Return a whole message. O(size). Raises as `encode`."""
        return self.finish(self.encode(packet), attachment)

    def finish(self, head: bytes, attachment: Attachment | None = None) -> bytes:
        """Return the message of an encoded packet. O(size)."""
        if attachment is None:
            return head + b"\x00"
        return b"".join((head, b"\x01", self.encode(attachment)))

    # --- in

    def decode_message(self, message: bytes | memoryview) -> tuple[Binding | None, Packet, Attachment | None]:
        """Return the mapping (None: it is itself an attachment), packet and attachment of a message.

        O(size); memory at most 80 times that, and 1 MiB.

        Raises:
            DecodeError: it holds no packet of this table and perhaps an attachment, whole; nothing else is raised.
        """
        data = message if type(message) is bytes else bytes(message)
        try:
            binding, read, is_charged = self._incoming.get(data[:2]) or self._prepare_incoming(data[:2])
            packet, position = read(data, 2, memory_for(data) if is_charged else _UNUSED)
            if packet is None:
                raise MismatchError("the packet is null")  # noqa: TRY301 - all faults end alike
            attachment = None
            if position < len(data) and data[position]:
                number = data[position + 1 : position + 3]
                used, read, _ = self._incoming.get(number) or self._prepare_incoming(number)
                if used is not None:
                    raise MismatchError(f"unknown attachment id {used.protocol_id}")  # noqa: TRY301
                attachment, _ = read(data, position + 3, _UNUSED)  # numbers and texts only
            return binding, packet, attachment
        except Exception as error:
            raise _decode_error(error) from error

    # --- inside

    def _fields_of(self, packet_class: type[Any]) -> Fields:
        if issubclass(packet_class, Attachment):
            return read_fields(packet_class, Packet, {}, packet_class.__module__)
        return self.table.fields(packet_class)

    def _prepare_outgoing(self, packet_class: type[Any]) -> tuple[bytes, _Write]:
        number = _ATTACHMENT_IDS.get(packet_class)
        if number is None:
            number = self.table.binding(packet_class).protocol_id
        self._outgoing[packet_class] = made = (_pack_id(number), self._plans.of(packet_class).write)
        return made

    def _prepare_incoming(self, id_bytes: bytes) -> tuple[Binding | None, _Read, bool]:
        (number,) = _read_id(id_bytes)
        binding = self.table.by_id(number)
        packet_class = ATTACHMENTS.get(number) if binding is None else binding.packet_class
        if packet_class is None:
            raise MismatchError(f"unknown protocol id {number}: no packet of this node has it")
        plan = self._plans.of(packet_class)
        self._incoming[id_bytes] = made = (binding, plan.read, plan.is_charged)
        return made

    def _encode_error(self, packet: Packet, error: Exception) -> EncodeError:
        name = type(packet).__name__
        text = str(error) or type(error).__name__
        module = "" if type(packet) in _ATTACHMENT_IDS else self.table.binding(type(packet)).module.name
        return EncodeError(text if text.startswith(f"{name}.") else f"{name}: {text}", packet=name, module=module)


# One codec for each table, for the two functions below; it goes with its table.
_codecs: WeakKeyDictionary[PacketTable, ZfooJavaCodec] = WeakKeyDictionary()


def _codec(table: PacketTable) -> ZfooJavaCodec:
    found = _codecs.get(table)
    if found is None:
        found = _codecs[table] = ZfooJavaCodec(table)
    return found


def encode(packet: Packet, attachment: Attachment | None = None, table: PacketTable = DEFAULT_TABLE) -> bytes:
    """Return a message, without the length that stands before it in a stream. O(size). Any thread.

    Raises:
        EncodeError, UnmappedPacketError, PacketError: as `ZfooJavaCodec.encode`.
    """
    return _codec(table).message(packet, attachment)


def decode(message: bytes | memoryview, table: PacketTable = DEFAULT_TABLE) -> tuple[Packet, Attachment | None]:
    """Return packet and attachment of a message. O(size). Any thread.

    Raises:
        DecodeError: as `ZfooJavaCodec.decode_message`; nothing else.
    """
    _, packet, attachment = _codec(table).decode_message(message)
    return packet, attachment


def _decode_error(error: Exception) -> DecodeError:
    if isinstance(error, IndexError | struct.error):
        return DecodeError("the message ends within a value")
    text = str(error)
    if not isinstance(error, MismatchError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return DecodeError(text)
