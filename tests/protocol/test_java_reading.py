"""What is read is what the model reads, whatever comes; and what tables of hashes may cost one message."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.protocol.test_java_plan import FIELDS, declared
from tests.support.java_model import Model, RefusedError
from zfoo_py.errors import DecodeError
from zfoo_py.protocol.coercion import MismatchError
from zfoo_py.protocol.frozen_map import FrozenMap
from zfoo_py.protocol.java_reading import ALLOWED_BYTES, _charge, memory_for
from zfoo_py.protocol.zfoo_java_codec import ZfooJavaCodec


@pytest.mark.parametrize("make", [set, FrozenMap])
def test_empty_tables_come_out_of_what_the_message_allows(make):
    memory = memory_for(b"")
    assert memory == [ALLOWED_BYTES]
    for _ in range(1000):
        _charge(make(), 1, memory)
    memory[0] = 10
    with pytest.raises(MismatchError, match="80 times its length"):
        _charge(make(), 1, memory)


def test_well_filled_tables_pay_for_themselves():
    memory = memory_for(b"")
    for _ in range(1000):
        _charge(set(range(1000, 1100)), 300, memory)
    assert memory[0] >= ALLOWED_BYTES


def read_by_model(table, made, data):
    """Return the packet of a message, and where it ends; or None."""
    try:
        packet, end = Model(table).read(made, data, 2)
    except RefusedError:
        return None, len(data)
    return packet, end


def read_by_codec(codec, data):
    try:
        return codec.decode_message(data)[1]
    except DecodeError:
        return None


# What is put into a message somewhere, or instead of some of its bytes.
PIECES = st.sampled_from([
    b"", b"\x00", b"\x01", b"\x02", b"\x7f", b"\x80", b"\x80\x01", b"\xff", b"\xff" * 4 + b"\x0f", b"\xff" * 5,
    b"\xff" * 8, b"\xff" * 9, b"\x80" * 9, b"\x81\x00", b"\xfe\xff\xff\xff\x7f",
])  # fmt: skip
CHANGES = st.lists(st.tuples(st.integers(2, 60), st.integers(0, 3), PIECES | st.binary(max_size=3)), max_size=3)


@settings(max_examples=300, deadline=None)
@given(st.data(), FIELDS, CHANGES)
def test_whatever_comes_is_read_as_the_model_reads_it(data, fields, changes):
    made, table = declared(fields)
    codec = ZfooJavaCodec(table)
    message = codec.encode(made(*(data.draw(value) for (_, value), _, _ in fields)))
    for place, size, piece in changes:
        message = message[:place] + piece + message[place + size :]
    for came in (message, *(message[:size] for size in range(2, min(len(message), 12)))):
        expected, end = read_by_model(table, made, came)
        if came[end:] in {b"", b"\x00"}:  # else an attachment follows
            assert repr(read_by_codec(codec, came)) == repr(expected)
