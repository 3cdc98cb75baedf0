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
from zfoo_py.protocol.attachment import ATTACHMENTS, CLIENT_CODES, Attachment, SignalAttachment
from zfoo_py.protocol.coercion import MismatchError
from zfoo_py.protocol.field_types import Fields, read_fields
from zfoo_py.protocol.java_bytes import INTS, SMALL, UNZIGZAG, read_int, read_long, too_short, write_int
from zfoo_py.protocol.java_plan import JavaPlans
from zfoo_py.protocol.java_reading import Read, memory_for
from zfoo_py.protocol.packet import DEFAULT_TABLE, Binding, Packet, PacketTable

__all__ = ["ZfooJavaCodec", "decode", "encode"]

_Write = Callable[[Any, bytes], bytes]

_pack_id = struct.Struct(">h").pack
_read_id = struct.Struct(">h").unpack_from
# For readers that charge nothing to it.
_UNUSED: list[int] = [0]
# What is between a packet and the fields of its SignalAttachment; these have functions of their own, for speed.
_SIGNAL = b"\x01\x00\x00\x01"
_SIGNALS = {client: _SIGNAL + bytes((client,)) for client in CLIENT_CODES}
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
        self._incoming: dict[bytes, tuple[Binding | None, Read, bool]] = {}

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
            start, write = self._outgoing[type(packet)]
        except KeyError:
            start, write = self._prepare_outgoing(type(packet))
        try:
            return write(packet, start)
        except Exception:  # noqa: BLE001, S110 - the careful way takes it, or says what is wrong
            pass
        return self._encode_any(packet)

    def message(self, packet: Packet, attachment: Attachment | None = None) -> bytes:
        """Return a whole message. O(size). Raises as `encode`."""
        return self.finish(self.encode(packet), attachment)

    def ask(self, head: bytes, signal_id: int, client: int, lane: int) -> bytes:
        """Return the message of an encoded packet and a SignalAttachment, faster than `finish` does. O(size)."""
        signal = INTS[signal_id] if signal_id < SMALL else write_int(signal_id)
        lane_ = INTS[lane] if -SMALL <= lane < SMALL else write_int(lane)
        return b"".join((head, _SIGNALS[client], signal, lane_, b"\x00"))

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
            if data.startswith(_SIGNAL, position):
                attachment = _read_signal(data, position + len(_SIGNAL))
            elif position != len(data) and data[position]:
                number = data[position + 1 : position + 3]
                used, read, _ = self._incoming.get(number) or self._prepare_incoming(number)
                if used is not None:
                    raise MismatchError(f"unknown attachment id {used.protocol_id}")  # noqa: TRY301
                attachment, position = read(data, position + 3, _UNUSED)  # numbers and texts only
                if position > len(data):
                    raise too_short()  # noqa: TRY301
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
        plan = self._plans.of(packet_class)
        self._outgoing[packet_class] = made = (_pack_id(number) + plan.start, plan.write)
        return made

    def _prepare_incoming(self, id_bytes: bytes) -> tuple[Binding | None, Read, bool]:
        (number,) = _read_id(id_bytes)
        binding = self.table.by_id(number)
        packet_class = ATTACHMENTS.get(number) if binding is None else binding.packet_class
        if packet_class is None:
            raise MismatchError(f"unknown protocol id {number}: no packet of this node has it")
        plan = self._plans.of(packet_class)
        self._incoming[id_bytes] = made = (binding, plan.read, plan.is_charged)
        return made

    def _encode_any(self, packet: Packet) -> bytes:
        name = type(packet).__name__
        number = _ATTACHMENT_IDS.get(type(packet))
        module = "" if number is not None else self.table.binding(type(packet)).module.name
        if number is None:
            number = self.table.binding(type(packet)).protocol_id
        try:
            return _pack_id(number) + self._plans.of(type(packet)).write_any(packet)
        except Exception as error:
            text = str(error) or type(error).__name__
            text = text if text.startswith(f"{name}.") else f"{name}: {text}"
            raise EncodeError(text, packet=name, module=module) from error


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


def _read_signal(data: bytes, position: int) -> SignalAttachment:
    client, signal_id = data[position], data[position + 1]
    position += 2
    if signal_id < 0x80:
        signal_id = UNZIGZAG[signal_id]
    else:
        signal_id, position = read_int(data, position - 1, signal_id)
    lane = data[position]
    if lane < 0x80:
        lane = UNZIGZAG[lane]
        position += 1
    else:
        lane, position = read_int(data, position, lane)
    timestamp = data[position]
    if timestamp < 0x80:
        timestamp = UNZIGZAG[timestamp]
    else:
        timestamp, _ = read_long(data, position, timestamp)
    return SignalAttachment(client if client < 0x80 else client - 0x100, signal_id, lane, timestamp)


def _decode_error(error: Exception) -> DecodeError:
    if isinstance(error, IndexError | struct.error):
        return DecodeError("the message ends within a value")
    text = str(error)
    if not isinstance(error, MismatchError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return DecodeError(text)
