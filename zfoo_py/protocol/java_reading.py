"""What the readers of `java_plan` call, and the memory that one message may become."""

from __future__ import annotations

import struct
from typing import Any, Final

from zfoo_py.protocol.coercion import MismatchError
from zfoo_py.protocol.frozen_map import FrozenMap
from zfoo_py.protocol.java_bytes import UNZIGZAG, read_int, read_int_list, read_long, read_long_list, too_short

__all__ = ["READING", "memory_for"]

# Empty lists, which take a byte each, become 65 times their bytes in Python; tables of hashes (sets, maps) can become
# 230 times theirs. Each byte of theirs pays for so many bytes of memory ...
PAID_BY_A_BYTE: Final = 48
# ... and what it does not pay for comes out of what the whole message allows: this much for each of its bytes ...
ALLOWED_BY_A_BYTE: Final = 14
# ... and this much in any case, which is a thousand empty sets. So a message stays within 80 times its length.
ALLOWED_BYTES: Final = 256 * 1024


def memory_for(data: bytes) -> list[int]:
    """Return the bytes of memory that the tables of one message may take beyond what their own bytes pay for."""
    return [ALLOWED_BYTES + ALLOWED_BY_A_BYTE * len(data)]


def _charged(table: Any, own_bytes: int, memory: list[int]) -> Any:
    """Return a set or map; raise MismatchError if the message has too many that are all but empty."""
    memory[0] += PAID_BY_A_BYTE * own_bytes - table.__sizeof__()
    if type(table) is FrozenMap:
        memory[0] -= table.table_bytes()
    if memory[0] < 0:
        raise _too_much()
    return table


def _too_much() -> MismatchError:
    return MismatchError("the message would take more than 80 times its length in memory")


def _too_long() -> MismatchError:
    return MismatchError("an object has more bytes than its length says")


def _too_many(where: str, count: int, limit: int) -> MismatchError:
    return MismatchError(f"{where}: {count} elements, and Java zfoo reads fewer than {limit}")


# What the functions made may name.
READING: Final[dict[str, object]] = {
    "SIZES": bytes(max(number, 0) for number in UNZIGZAG),
    "UNZIGZAG": UNZIGZAG,
    "charged": _charged,
    "read_int": read_int,
    "read_int_list": read_int_list,
    "read_long": read_long,
    "read_long_list": read_long_list,
    "signed": [*range(0x80), *range(-0x80, 0)].__getitem__,
    "too_long": _too_long,
    "too_many": _too_many,
    "too_much": _too_much,
    "too_short": too_short,
    "unpack_double": struct.Struct(">d").unpack_from,
    "unpack_float": struct.Struct(">f").unpack_from,
    "unpack_from": struct.unpack_from,
    "unpack_short": struct.Struct(">h").unpack_from,
}
