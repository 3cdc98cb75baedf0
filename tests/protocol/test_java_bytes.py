"""Numbers as Java zfoo writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zfoo_py.protocol.java_bytes import (
    BYTES,
    INTS,
    SMALL,
    SURROGATES,
    UNZIGZAG,
    read_int,
    read_long,
    write_int,
    write_long,
)


def read(data, reader):
    return (UNZIGZAG[data[0]], 1) if data[0] < 0x80 else reader(data, 0, data[0])


@given(st.integers(-(1 << 63), (1 << 63) - 1), st.binary(max_size=3))
def test_longs(number, rest):
    data = write_long(number)
    assert read(data + rest, read_long) == (number, len(data))
    assert len(data) <= 9


@given(st.integers(-(1 << 31), (1 << 31) - 1), st.binary(max_size=3))
def test_ints(number, rest):
    data = write_int(number)
    assert write_long(number) == data
    assert read(data + rest, read_int) == (number, len(data))
    assert len(data) <= 5


@pytest.mark.parametrize(("write", "bits"), [(write_int, 32), (write_long, 64)])
def test_numbers_of_more_bits(write, bits):
    for number in (1 << bits - 1, -(1 << bits - 1) - 1, 1 << 100, -(1 << 100)):
        with pytest.raises(OverflowError):
            write(number)


@pytest.mark.parametrize("size", range(1, 10))
def test_the_first_and_last_of_each_length(size):
    most = 1 << (7 * size if size < 9 else 64)
    for rest in (1 << 7 * (size - 1), most - 1, most - 2):
        number = (rest >> 1) ^ -(rest & 1)
        data = write_long(number)
        assert len(data) == size
        assert read(data, read_long) == (number, size)


def test_the_tables():
    for number in range(-SMALL, SMALL):
        assert INTS[number] == write_int(number)
    for number in range(-128, 128):
        assert BYTES[number] == number.to_bytes(1, "big", signed=True)


def test_the_last_byte_has_no_continuation():
    assert read_int(b"\xff\xff\xff\xff\xff", 0, 0xFF) == (-(1 << 31), 5)
    assert read_long(b"\xff" * 9, 0, 0xFF) == (-(1 << 63), 9)


@pytest.mark.parametrize("reader", [read_int, read_long])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_the_end_of_the_data(reader, size):
    with pytest.raises(IndexError):
        reader(b"\x80" * size, 0, 0x80)


def test_halves_of_surrogate_pairs():
    assert "a\ud83d\ude00b".encode("utf-8", SURROGATES) == "a😀b".encode()
    assert "\ud83da\ude00\ude00".encode("utf-8", SURROGATES) == b"?a??"
