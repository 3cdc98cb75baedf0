"""Values ↔ bytes as Java zfoo has them (zfoo.md section 1): what the functions of `java_plan` call.

Fixed widths are big-endian. An int or long is zigzag, then 7 bits a byte, lowest first; an int ends with its 5th byte,
a long with its 9th, which has 8 bits. Readers return (value, next position), or raise
IndexError at the end of the data.
"""

from __future__ import annotations

import codecs
import re
import struct
from typing import Any, Final

from zfoo_py.protocol.coercion import MismatchError

__all__ = [
    "BYTES",
    "INTS",
    "SMALL",
    "UNZIGZAG",
    "pack_double",
    "pack_float",
    "pack_short",
    "read_int",
    "read_int_list",
    "read_long",
    "read_long_list",
    "too_short",
    "write_int",
    "write_long",
]

pack_short = struct.Struct(">h").pack
pack_float = struct.Struct(">f").pack
pack_double = struct.Struct(">d").pack
_pack_2 = struct.Struct("BB").pack
_pack_3 = struct.Struct("BBB").pack
_pack_4 = struct.Struct("BBBB").pack
_pack_5 = struct.Struct("BBBBB").pack

# Ints from -SMALL to SMALL - 1 have their bytes in a table: most counts, codes and lengths. 2,048 take 80 KiB.
SMALL: Final = 1024


def write_int(number: int) -> bytes:
    """Return the bytes of an int. Raises OverflowError if it has more than 32 bits."""
    rest = number << 1 if number >= 0 else ~(number << 1)  # zigzag
    if rest < 0x4000:
        return _pack_2(rest & 0x7F | 0x80, rest >> 7) if rest > 0x7F else bytes((rest,))
    if rest < 0x20_0000:
        return _pack_3(rest & 0x7F | 0x80, rest >> 7 & 0x7F | 0x80, rest >> 14)
    if rest >= 1 << 32:
        raise OverflowError
    return _write_long(rest)


def write_long(number: int) -> bytes:
    """Return the bytes of a long. Raises OverflowError if it has more than 64 bits."""
    rest = number << 1 if number >= 0 else ~(number << 1)
    if rest < 0x4000:
        return _pack_2(rest & 0x7F | 0x80, rest >> 7) if rest > 0x7F else bytes((rest,))
    if rest < 0x20_0000:
        return _pack_3(rest & 0x7F | 0x80, rest >> 7 & 0x7F | 0x80, rest >> 14)
    if rest >= 1 << 64:
        raise OverflowError
    return _write_long(rest)


def _write_long(rest: int) -> bytes:
    if rest < 0x1000_0000:
        return _pack_4(rest & 0x7F | 0x80, rest >> 7 & 0x7F | 0x80, rest >> 14 & 0x7F | 0x80, rest >> 21)
    low = (rest & 0x7F | 0x80, rest >> 7 & 0x7F | 0x80, rest >> 14 & 0x7F | 0x80, rest >> 21 & 0x7F | 0x80)
    rest >>= 28
    if rest < 0x80:
        return _pack_5(*low, rest)
    made = bytearray(low)
    while rest > 0x7F and len(made) < 8:
        made.append(rest & 0x7F | 0x80)
        rest >>= 7
    made.append(rest)
    return bytes(made)


# Python counts negative indices from the end: INTS[-1] is the bytes of -1.
INTS: Final = [*map(write_int, range(SMALL)), *map(write_int, range(-SMALL, 0))]
# Of a byte: those of other numbers are not there.
BYTES: Final = {number: bytes((number & 0xFF,)) for number in range(-0x80, 0x80)}
# First byte → the number, if there is no second one.
UNZIGZAG: Final = [(byte >> 1) ^ -(byte & 1) for byte in range(0x80)]


def read_int(data: bytes, position: int, first: int) -> tuple[int, int]:
    """Read an int of more than one byte, of which the first was read from `position`."""
    byte = data[position + 1]
    value = first + (byte << 7)
    if byte < 0x80:
        value -= 0x80
        return (~(value >> 1) if value & 1 else value >> 1), position + 2
    byte = data[position + 2]
    value += byte << 14
    if byte < 0x80:
        value -= 0x4080
        return (~(value >> 1) if value & 1 else value >> 1), position + 3
    byte = data[position + 3]
    value += byte << 21
    if byte < 0x80:
        value -= 0x20_4080
        return (~(value >> 1) if value & 1 else value >> 1), position + 4
    value += ((data[position + 4] & 0x0F) << 28) - 0x1020_4080  # the rest of the 5th byte is over 32 bits
    return (~(value >> 1) if value & 1 else value >> 1), position + 5


def read_long(data: bytes, position: int, first: int) -> tuple[int, int]:
    """Read a long of more than one byte, of which the first was read from `position`."""
    byte = data[position + 1]
    value = first + (byte << 7)
    if byte < 0x80:
        value -= 0x80
        return (~(value >> 1) if value & 1 else value >> 1), position + 2
    byte = data[position + 2]
    value += byte << 14
    if byte < 0x80:
        value -= 0x4080
        return (~(value >> 1) if value & 1 else value >> 1), position + 3
    value -= 0x20_4080  # the marks of these three
    shift = 21
    position += 3
    while True:
        byte = data[position]
        position += 1
        if byte < 0x80 or shift == 56:
            value += byte << shift
            return (~(value >> 1) if value & 1 else value >> 1), position
        value += (byte & 0x7F) << shift
        shift += 7


def read_int_list(data: bytes, position: int, count: int) -> tuple[list[int], int]:
    """Read so many ints; the caller has seen that there are as many bytes."""
    return _read_list(data, position, count, read_int)


def read_long_list(data: bytes, position: int, count: int) -> tuple[list[int], int]:
    """Read so many longs; the caller has seen that there are as many bytes."""
    return _read_list(data, position, count, read_long)


def _read_list(data: bytes, position: int, count: int, read: Any) -> tuple[list[int], int]:
    short = data[position : position + count]
    if short.isascii():  # a byte each
        return [UNZIGZAG[byte] for byte in short], position + count
    made = []
    for _ in range(count):
        number = data[position]
        if number < 0x80:
            made.append(UNZIGZAG[number])
            position += 1
            continue
        second = data[position + 1]
        if second < 0x80:
            rest = number + (second << 7) - 0x80
            position += 2
        elif (third := data[position + 2]) < 0x80:
            rest = number + (second << 7) + (third << 14) - 0x4080
            position += 3
        else:
            number, position = read(data, position, number)
            made.append(number)
            continue
        made.append(~(rest >> 1) if rest & 1 else rest >> 1)
    return made, position


def too_short() -> MismatchError:
    """Return the error of data that end within a value."""
    return MismatchError("the message ends within a value")


# --- what UTF-8 does not have: halves of surrogate pairs

_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def _replace_surrogates(error: UnicodeError) -> tuple[bytes, int]:
    """Write two halves that belong together as their character, and any other half as "?", as Netty does."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    halves = error.object[error.start : error.end]
    whole = _PAIR.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), halves)
    return whole.encode("utf-8", "replace"), error.end


# The name by which str.encode knows it; an error handler costs nothing where there is no error.
SURROGATES: Final = "zfoo_py.surrogates"
codecs.register_error(SURROGATES, _replace_surrogates)
