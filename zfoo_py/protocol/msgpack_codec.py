"""The default codec: the only file that imports msgpack.

The body of a frame is the msgpack array ``[protocol_id, fields, attachment_id | nil, attachment_fields | nil]``.
Fields are an array, by position; a packet inside a packet is the array of its fields; a set is an array.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable
from typing import Any

import msgpack
import msgspec

from zfoo_py.errors import DecodeError, EncodeError
from zfoo_py.protocol import common  # noqa: F401 - importing it fills the table of built-in packets
from zfoo_py.protocol.attachment import (
    ATTACHMENTS,
    CLIENT_ANSWER,
    CLIENT_CODES,
    MAX_SIGNAL_ID,
    Attachment,
    GatewayAttachment,
    SignalAttachment,
)
from zfoo_py.protocol.coercion import MismatchError
from zfoo_py.protocol.field_types import Fields, read_fields
from zfoo_py.protocol.hashes import spread
from zfoo_py.protocol.packet import DEFAULT_TABLE, Binding, Packet, PacketTable
from zfoo_py.protocol.plan import Plans

__all__ = ["MsgpackCodec"]

# Within so many bytes, headers that lie about their length cost at most 2 MB (200 arrays of 1,000 places each).
UNSCANNED_BYTES = 1024
MAX_REMAINING_MS = 0xFFFF_FFFF

# The numbers of an attachment have fixed widths: 0xce is a uint32, 0xd2 an int32 (twice as fast as packing them).
_pack_length = struct.Struct(">I").pack
_ASK_TAIL = struct.Struct(">BBBBIBiBIBI")  # 0, array of 5: client, signal id, lane, timestamp, remaining ms
_pack_ask_tail = _ASK_TAIL.pack
_ANSWER_TAIL = b"\x00\x92\x00\xce"  # 0, array of 2: client 0, signal id
_ONE_WAY_TAIL = b"\x05\x91\xd2"  # 5, array of 1: lane
_NO_MESSAGE = "the body is no array of protocol id, fields, attachment id and attachment fields"
_NO_TAIL = b"\xc0\xc0"

_Flatten = Callable[[Any], tuple[Any, ...]]
_Outgoing = tuple[bytes, _Flatten]
_Incoming = tuple[Binding, Callable[[Any], Any]]

_unpack = msgpack.unpackb
# Reads over a body without making objects of it.
_scan = msgspec.msgpack.Decoder(msgspec.Raw).decode


class _Packer(threading.local):
    """msgpack.Packer is not thread-safe."""

    def __init__(self) -> None:
        self.pack: Callable[[Any], bytes] = msgpack.Packer().pack


class MsgpackCodec:
    """Packets ↔ bytes, after one table.

    `encode` may be called on any thread; the other methods are the loop thread's.

    Args:
        table: the mapping of packets.
        keeps_order: whether the sets that are decoded remember the order they came in, as for who writes them anew.
    """

    def __init__(self, table: PacketTable = DEFAULT_TABLE, *, keeps_order: bool = False) -> None:
        self.table = table
        self._packer = _Packer()
        self._plans = Plans(self._fields_of, keeps_order=keeps_order)
        self._outgoing: dict[type[Any], _Outgoing] = {}
        self._incoming: dict[int, _Incoming] = {}
        self._attachments = {number: self._plans.of(kind).build for number, kind in ATTACHMENTS.items()}

    # --- out

    def encode(self, packet: Packet) -> bytes:
        """Return the head of a frame's body: the array's marker, protocol id and fields. Any thread. O(size).

        Raises:
            EncodeError: a field has a wrong type, or a value that msgpack cannot carry; nothing was sent.
            UnmappedPacketError: the class has no protocol id in this table.
            PacketError: an annotation of the class cannot be resolved.
        """
        try:
            prefix, flatten = self._outgoing[type(packet)]
        except KeyError:
            prefix, flatten = self._prepare_outgoing(type(packet))
        try:
            return prefix + self._packer.pack(flatten(packet))
        except Exception as error:
            raise self._encode_error(packet, flatten, error) from error

    @staticmethod
    def ask_frame(head: bytes, signal_id: int, client: int, lane: int, remaining_ms: int, timestamp: int = 0) -> bytes:
        """Return the frame of an ask.

        Args:
            head: from `encode`.
            signal_id: 1..MAX_SIGNAL_ID.
            client: a CLIENT_ code.
            lane: task hash of the key, signed 32 bits; -1 without.
            remaining_ms: time left; what is over is sent as 1 ms.
            timestamp: when it is sent, of `zfoo_py.net.transit.timestamp_ms`; 0: not told.
        """
        if not 0 < remaining_ms <= MAX_REMAINING_MS:
            remaining_ms = min(max(remaining_ms, 1), MAX_REMAINING_MS)
        tail = _pack_ask_tail(0, 0x95, client, 0xCE, signal_id, 0xD2, lane, 0xCE, timestamp, 0xCE, remaining_ms)
        return b"".join((_pack_length(len(head) + 23), head, tail))

    def chained_ask_frame(
        self, head: bytes, signal_id: int, client: int, lane: int, remaining_ms: int, chain: str, timestamp: int = 0
    ) -> bytes:
        """Return the frame of an ask that was made in a receiver; as `ask_frame`, and its chain."""
        remaining_ms = min(max(remaining_ms, 1), MAX_REMAINING_MS)
        tail = b"\x00" + self._packer.pack((client, signal_id, lane, timestamp, remaining_ms, chain))
        return b"".join((_pack_length(len(head) + len(tail)), head, tail))

    @staticmethod
    def answer_frame(head: bytes, signal_id: int) -> bytes:
        """Return the frame of an answer to the ask with that signal id."""
        return b"".join((_pack_length(len(head) + 8), head, _ANSWER_TAIL, _pack_length(signal_id)))

    @staticmethod
    def one_way_frame(head: bytes, lane: int | None) -> bytes:
        """Return the frame of a packet that wants no answer; `lane` is its key's task hash, signed 32 bits."""
        if lane is None:
            return b"".join((_pack_length(len(head) + 2), head, _NO_TAIL))
        return b"".join((_pack_length(len(head) + 7), head, _ONE_WAY_TAIL, lane.to_bytes(4, "big", signed=True)))

    # --- in

    def decode(self, body: bytes | memoryview) -> tuple[Binding, Packet, Attachment | None]:
        """Return the mapping, packet and attachment of a frame's body. O(size); memory at most 65 times that.

        Raises:
            DecodeError: it holds no packet of this table, whole and of the declared types; nothing else is raised.
                Its `signal_id` is that of the ask which it would have been, if that much could be read; `answers`
                that of the ask which it would have answered.
        """
        attachment: Attachment | None = None
        try:
            if len(body) > UNSCANNED_BYTES:
                _scan(body)
            try:
                message = _unpack(body, strict_map_key=False)
            except TypeError:
                message = _unpack_array_keys(body)
            if type(message) is not list or len(message) != 4:
                raise MismatchError(_NO_MESSAGE)  # noqa: TRY301 - all faults end alike
            protocol_id, fields, attachment_id, attachment_fields = message
            if attachment_id is not None:
                attachment = self._attachment(attachment_id, attachment_fields)
            known = self._incoming.get(protocol_id)
            if known is None or type(protocol_id) is not int:
                known = self._prepare_incoming(protocol_id)
            binding, build = known
            return binding, build(fields), attachment
        except Exception as error:
            raise _decode_error(error, attachment) from error

    # --- inside

    def _attachment(self, number: Any, fields: Any) -> Attachment:
        if type(number) is int and number == 0 and type(fields) is list:  # what we write ourselves, for speed
            count = len(fields)
            if count == 2:
                client, signal_id = fields
                are_ints = type(client) is type(signal_id) is int
                if are_ints and client == CLIENT_ANSWER and 0 < signal_id <= MAX_SIGNAL_ID:
                    return SignalAttachment(client, signal_id)
            elif count == 5:
                client, signal_id, lane, timestamp, remaining_ms = fields
                are_ints = type(client) is type(signal_id) is type(lane) is type(timestamp) is type(remaining_ms) is int
                is_right = are_ints and client in CLIENT_CODES and 0 < signal_id <= MAX_SIGNAL_ID
                if is_right and -0x8000_0000 <= lane <= 0x7FFF_FFFF:
                    return SignalAttachment(client, signal_id, lane, timestamp, remaining_ms)
        if type(number) is not int or number not in self._attachments:
            raise MismatchError(f"unknown attachment id {_shown(number)}")
        attachment: Attachment = self._attachments[number](fields)
        signal = attachment.signal_attachment if type(attachment) is GatewayAttachment else attachment
        if type(signal) is SignalAttachment:
            if not 0 < signal.signal_id <= MAX_SIGNAL_ID:
                raise MismatchError(f"signal id {signal.signal_id} is not in 1..{MAX_SIGNAL_ID}")
            if signal.client not in CLIENT_CODES:
                raise MismatchError(f"unknown client code {signal.client} of a SignalAttachment")
        return attachment

    def _fields_of(self, packet_class: type[Any]) -> Fields:
        if issubclass(packet_class, Attachment):
            return read_fields(packet_class, Packet, {}, packet_class.__module__)
        return self.table.fields(packet_class)

    def _prepare_outgoing(self, packet_class: type[Any]) -> _Outgoing:
        binding = self.table.binding(packet_class)
        outgoing = (b"\x94" + self._packer.pack(binding.protocol_id), self._plans.of(packet_class).flatten)
        self._outgoing[packet_class] = outgoing
        return outgoing

    def _prepare_incoming(self, protocol_id: Any) -> _Incoming:
        binding = self.table.by_id(protocol_id) if type(protocol_id) is int else None
        if binding is None:
            raise MismatchError(f"unknown protocol id {_shown(protocol_id)}: no packet of this node has it")
        incoming = (binding, self._plans.of(binding.packet_class).build)
        self._incoming[protocol_id] = incoming
        return incoming

    def _encode_error(self, packet: Packet, flatten: _Flatten, error: Exception) -> EncodeError:
        """Say which field is to blame; cost does not matter any more."""
        name = type(packet).__name__
        text = str(error)
        if not isinstance(error, MismatchError):
            text = f"{_guilty_field(packet, flatten)}: {text or type(error).__name__}"
        elif not text.startswith(f"{name}."):
            text = f"{name}: {text}"
        return EncodeError(text, packet=name, module=self.table.binding(type(packet)).module.name)


def _guilty_field(packet: Packet, flatten: _Flatten) -> str:
    """Return "Class.field" of the first field that msgpack refuses, or "Class" if none does alone."""
    name = type(packet).__name__
    try:
        for field, value in zip(packet.__struct_fields__, flatten(packet), strict=True):
            try:
                msgpack.packb(value)
            except Exception:  # noqa: BLE001 - whatever it is, this is the one
                return f"{name}.{field}"
    except Exception:  # noqa: BLE001 - RecursionError in flatten: it has no single field
        return name
    return name


def _unpack_array_keys(body: bytes | memoryview) -> Any:
    """Unpack a body in which an array is (in) the key of a map: there, and only there, arrays are tuples."""
    return _with_lists(_unpack(body, strict_map_key=False, use_list=False, object_pairs_hook=_map))


def _map(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    spread([key for key, _ in pairs])
    return dict(pairs)


def _with_lists(value: Any) -> Any:
    if type(value) is tuple:
        return [_with_lists(item) for item in value]
    if type(value) is dict:
        return {key: _with_lists(item) for key, item in value.items()}
    return value


def _decode_error(error: Exception, attachment: Attachment | None) -> DecodeError:
    text = str(error)
    if not isinstance(error, MismatchError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if type(attachment) is not SignalAttachment:
        return DecodeError(text)
    if attachment.client == CLIENT_ANSWER:
        return DecodeError(text, answers=attachment.signal_id)
    return DecodeError(text, signal_id=attachment.signal_id)


def _shown(number: object) -> str:
    """Return a number of the peer's, which may be anything, as a short text."""
    return str(number) if type(number) is int else f"of type {type(number).__name__}"
