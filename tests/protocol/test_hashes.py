"""Keys chosen to have one hash are refused by every codec, and soon; others are not."""

from __future__ import annotations

import itertools
import json
from typing import Any

import msgpack
import pytest

from zfoo_py.errors import DecodeError
from zfoo_py.protocol import zfoo_java_codec, zfoo_json_codec
from zfoo_py.protocol.coercion import MismatchError
from zfoo_py.protocol.field_types import FieldType
from zfoo_py.protocol.frozen_map import FrozenMap
from zfoo_py.protocol.hashes import MAX_OF_ONE_HASH, is_composed, spread
from zfoo_py.protocol.java_bytes import write_int
from zfoo_py.protocol.java_types import Int
from zfoo_py.protocol.msgpack_codec import MsgpackCodec
from zfoo_py.protocol.packet import Packet, PacketTable, ProtocolModule

TABLE = PacketTable()
MODULE = ProtocolModule(60, "hashes", table=TABLE)


@MODULE.packet(1000)
class Tuples(Packet):
    """The keys are elements."""

    keys: set[tuple[Int, ...]]


@MODULE.packet(1001)
class Places(Packet):
    """The keys are those of a map."""

    keys: FrozenMap[tuple[Int, ...], Int]


@MODULE.packet(1002)
class Dicts(Packet):
    """The keys are those of msgpack's own maps."""

    keys: dict[tuple[Int, ...], Int]


class Counted:
    """A key that counts how often it is compared."""

    comparisons = 0

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        Counted.comparisons += 1
        return self is other


# Tuples of 7 numbers -1 or -2, all different: hash(-1) == hash(-2).
EQUAL = list(itertools.product((-1, -2), repeat=7))
HONEST = [(x, y) for x in range(-40, 40) for y in range(-40, 40)]


def test_the_keys_have_one_hash():
    assert len(EQUAL) == len(set(EQUAL)) > MAX_OF_ONE_HASH
    assert len(set(map(hash, EQUAL))) == 1


def test_different_keys_of_one_hash_are_refused_after_few_comparisons():
    with pytest.raises(MismatchError, match="more than 64 keys of one set or map have the same hash"):
        spread([Counted() for _ in range(5000)])
    assert Counted.comparisons < MAX_OF_ONE_HASH**2


def test_as_many_as_are_allowed_and_the_same_one_again_are_taken():
    some = EQUAL[:MAX_OF_ONE_HASH]
    for keys in (some, some * 3, [EQUAL[0]] * 1000, HONEST, []):
        assert spread(keys) is keys
    with pytest.raises(MismatchError):
        spread([*some * 3, EQUAL[-1]])


def test_keys_that_are_made_of_others_are_composed():
    assert not is_composed(FieldType("int"))
    assert not is_composed(FieldType("str"))
    assert is_composed(FieldType("series", (FieldType("int"),)))
    assert is_composed(FieldType("packet", packet=Tuples))


def of_java(pid: int, keys: list[Any], value: bytes) -> Any:
    tuples = (write_int(len(key)) + b"".join(map(write_int, key)) + value for key in keys)
    message = pid.to_bytes(2, "big") + b"\x01" + write_int(len(keys)) + b"".join(tuples) + b"\x00"
    return zfoo_java_codec.decode(message, TABLE)[0]


def of_msgpack(pid: int, keys: Any) -> Any:
    return MsgpackCodec(TABLE).decode(msgpack.packb([pid, [keys], None, None]))[1]


def of_json(keys: list[Any]) -> Any:
    text = json.dumps({"protocolId": 1000, "packet": {"keys": keys}})
    return zfoo_json_codec.decode(text.encode(), TABLE)[0]


DECODERS = {
    "a set of Java's": lambda keys: of_java(1000, keys, b""),
    "a map of Java's": lambda keys: of_java(1001, keys, b"\x00"),
    "a dict of Java's": lambda keys: of_java(1002, keys, b"\x00"),
    "a set in msgpack": lambda keys: of_msgpack(1000, keys),
    "a map in msgpack": lambda keys: of_msgpack(1001, [[key, 0] for key in keys]),
    "a dict in msgpack": lambda keys: of_msgpack(1002, dict.fromkeys(keys, 0)),
    "a set in JSON": of_json,
}


@pytest.mark.parametrize("decode", DECODERS.values(), ids=DECODERS)
def test_every_codec_refuses_them_and_takes_others(decode):
    with pytest.raises(DecodeError, match="have the same hash"):
        decode(EQUAL)
    assert set(decode(HONEST).keys) == set(HONEST)
