"""The JSON variant of Java zfoo (zfoo.md section 12).

A message is ``{"protocolId":…,"attachmentId":…,"packet":{…},"attachment":{…}}``. Properties are in the order in which
the class declares its fields, under their Java names; those that are null are left out.
"""

from __future__ import annotations

import json
from typing import Any
from weakref import WeakKeyDictionary

import msgspec

from zfoo_py.errors import DecodeError, EncodeError, PacketError
from zfoo_py.protocol import common
from zfoo_py.protocol.attachment import (
    ATTACHMENTS,
    CLIENT_KEYED,
    Attachment,
    GatewayAttachment,
    HttpAttachment,
    SignalAttachment,
)
from zfoo_py.protocol.coercion import MismatchError
from zfoo_py.protocol.field_types import Fields, read_fields
from zfoo_py.protocol.java_bytes import SURROGATES
from zfoo_py.protocol.java_code import for_java
from zfoo_py.protocol.java_types import Wire, wire_name
from zfoo_py.protocol.json_values import Reader, Writer, charge, empty, memory_for, reader, writer
from zfoo_py.protocol.packet import DEFAULT_TABLE, Binding, Packet, PacketTable

__all__ = ["ZfooJsonCodec", "decode", "encode"]

_ATTACHMENT_IDS: dict[type[Any], int] = {kind: number for number, kind in ATTACHMENTS.items()}
# Where Java declares the fields in another order than we do.
_JAVA_ORDER: dict[type[Any], tuple[str, ...]] = {
    SignalAttachment: ("signal_id", "task_executor_hash", "client", "timestamp"),
    GatewayAttachment: ("sid", "uid", "task_executor_hash", "client", "signal_attachment"),
    HttpAttachment: ("uid", "task_executor_hash"),
}
# What Java's constructor gives to a field that is missing in the text, where we have no default.
_JAVA_DEFAULTS: dict[type[Any], dict[str, Any]] = {SignalAttachment: {"client": CLIENT_KEYED}}
# Their numbers are strings, which JavaScript can read.
_NUMBERS_AS_TEXT = frozenset({
    common.PairIntLong, common.PairLong, common.PairLS, common.TripleLong, common.TripleLSS, common.TripleLLS,
})  # fmt: skip


class ZfooJsonCodec:
    """Packets ↔ JSON messages of Java zfoo, after one table. Any thread.

    Args:
        table: the mapping of packets.
    """

    def __init__(self, table: PacketTable = DEFAULT_TABLE) -> None:
        self.table = table
        self._writers: dict[type[Any], Writer] = {}
        self._readers: dict[type[Any], Reader] = {}

    def encode(self, packet: Packet) -> bytes:
        """Return the packet of a message, behind its id and a line break. O(size).

        Raises:
            EncodeError: a field has a wrong type, a number is out of range, or a map has keys that JSON does not have.
            UnmappedPacketError: the class has no protocol id in this table.
            PacketError: an annotation of the class cannot be resolved, or Java has no such type.
        """
        number = _ATTACHMENT_IDS.get(type(packet))
        if number is None:
            number = self.table.binding(type(packet)).protocol_id
        return f"{number}\n{self._text(packet)}".encode("utf-8", SURROGATES)

    def ask(self, head: bytes, signal_id: int, client: int, lane: int) -> bytes:
        """Return the message of an encoded packet and a SignalAttachment. O(size)."""
        return self.finish(head, SignalAttachment(client, signal_id, lane))

    def finish(self, head: bytes, attachment: Attachment | None = None) -> bytes:
        """Return the message of an encoded packet. O(size)."""
        number, _, packet = head.partition(b"\n")
        if attachment is None:
            return b'{"protocolId":%b,"attachmentId":-1,"packet":%b}' % (number, packet)
        text = self._text(attachment).encode("utf-8", SURROGATES)
        attachment_id = _ATTACHMENT_IDS[type(attachment)]
        return b'{"protocolId":%b,"attachmentId":%d,"packet":%b,"attachment":%b}' % (
            number,
            attachment_id,
            packet,
            text,
        )

    def message(self, packet: Packet, attachment: Attachment | None = None) -> bytes:
        """Return a whole message. O(size). Raises as `encode`."""
        return self.finish(self.encode(packet), attachment)

    def decode_message(self, message: bytes | memoryview) -> tuple[Binding | None, Packet, Attachment | None]:
        """Return the mapping, packet and attachment of a message. O(size); memory at most 80 times that, and 1 MiB.

        Raises:
            DecodeError: it holds no packet of this table; nothing else is raised.
        """
        try:
            envelope = json.loads(bytes(message))
            if type(envelope) is not dict:
                raise MismatchError("the message is no object")  # noqa: TRY301 - all faults end alike
            number, attachment_id = envelope.get("protocolId"), envelope.get("attachmentId", -1)
            memory = memory_for(message)
            binding = self.table.by_id(number) if type(number) is int else None
            if binding is None:
                raise MismatchError("the protocolId is missing, or no packet of this node has it")  # noqa: TRY301
            packet = self._reader(binding.packet_class)(envelope.get("packet"), memory)
            if attachment_id is None or attachment_id == -1:
                return binding, packet, None
            kind = ATTACHMENTS.get(attachment_id) if type(attachment_id) is int else None
            if kind is None:
                raise MismatchError("unknown attachmentId")  # noqa: TRY301
            return binding, packet, self._reader(kind)(envelope.get("attachment"), memory)
        except Exception as error:
            text = str(error) if isinstance(error, MismatchError) else f"{type(error).__name__}: {error}"
            raise DecodeError(text) from error

    # --- inside

    def _text(self, packet: Packet) -> str:
        try:
            return self._writer(type(packet))(packet)
        except (PacketError, EncodeError):
            raise
        except Exception as error:
            name = type(packet).__name__
            text = str(error) or type(error).__name__
            raise EncodeError(text if text.startswith(f"{name}.") else f"{name}: {text}", packet=name) from error

    def _fields_of(self, packet_class: type[Any]) -> Fields:
        if not issubclass(packet_class, Attachment):
            return for_java(packet_class, self.table.fields(packet_class))
        fields = read_fields(packet_class, Packet, {}, packet_class.__module__)
        return {name: fields[name] for name in _JAVA_ORDER.get(packet_class, tuple(fields))}

    def _writer(self, packet_class: type[Any]) -> Writer:
        if packet_class not in self._writers:
            as_text = packet_class in _NUMBERS_AS_TEXT
            entries = [
                (
                    name,
                    f'"{_name(name, kind.wire)}":',
                    writer(kind, f"{packet_class.__name__}.{name}", self._writer, as_text=as_text),
                )
                for name, kind in self._fields_of(packet_class).items()
            ]

            def write(packet: Any) -> str:
                pairs = ((label, made, getattr(packet, name)) for name, label, made in entries)
                return "{" + ",".join(label + made(value) for label, made, value in pairs if value is not None) + "}"

            self._writers[packet_class] = write
        return self._writers[packet_class]

    def _reader(self, packet_class: type[Any]) -> Reader:
        if packet_class not in self._readers:
            name = packet_class.__name__
            fields = self._fields_of(packet_class)
            entries = {
                _name(field, kind.wire): (field, reader(kind, f"{name}.{field}", self._reader))
                for field, kind in fields.items()
            }
            java = _JAVA_DEFAULTS.get(packet_class, {})
            given = packet_class.__struct_fields__[len(packet_class.__struct_fields__) - _defaults(packet_class) :]
            missing = {f: java.get(f, empty(kind)) for f, kind in fields.items() if f not in given}

            size = packet_class.__basicsize__

            def read(value: Any, memory: list[int]) -> Any:
                if type(value) is not dict:
                    raise MismatchError(f"{name}: expected an object, got {type(value).__name__}")
                found = dict(missing)
                for key, item in value.items():
                    if key not in entries:
                        raise MismatchError(f"{name} has no property {key[:40]!r}")
                    field, read_field = entries[key]
                    found[field] = read_field(item, memory)
                charge(size, memory)
                return packet_class(**found)

            self._readers[packet_class] = read
        return self._readers[packet_class]


def _defaults(packet_class: type[Any]) -> int:
    """Return how many of the last fields have a default, all of them."""
    count = 0
    for default in reversed(packet_class.__struct_defaults__):
        if default is msgspec.NODEFAULT:
            break
        count += 1
    return count


def _name(field: str, wire: Wire | None) -> str:
    return (wire.name if wire is not None else None) or wire_name(field)


# One codec for each table, for the two functions below; it goes with its table.
_codecs: WeakKeyDictionary[PacketTable, ZfooJsonCodec] = WeakKeyDictionary()


def _codec(table: PacketTable) -> ZfooJsonCodec:
    found = _codecs.get(table)
    if found is None:
        found = _codecs[table] = ZfooJsonCodec(table)
    return found


def encode(packet: Packet, attachment: Attachment | None = None, table: PacketTable = DEFAULT_TABLE) -> bytes:
    """Return a message, without the length that stands before it in a stream. O(size). Any thread.

    Raises:
        EncodeError, UnmappedPacketError, PacketError: as `ZfooJsonCodec.encode`.
    """
    return _codec(table).message(packet, attachment)


def decode(message: bytes | memoryview, table: PacketTable = DEFAULT_TABLE) -> tuple[Packet, Attachment | None]:
    """Return packet and attachment of a message. O(size). Any thread.

    Raises:
        DecodeError: as `ZfooJsonCodec.decode_message`; nothing else.
    """
    _, packet, attachment = _codec(table).decode_message(message)
    return packet, attachment
