"""Keys from the wire that would make a table of hashes slow.

Python's hashes of tuples, and of what is made of them, can be chosen by whoever sends them: of the tuples of eleven
numbers -1 or -2, 2,048 have one hash. Each that is added is compared with all before it, so a set of 16,384 such takes
five seconds, and one of half a MiB twenty.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, TypeVar

from zfoo_py.protocol.coercion import MismatchError
from zfoo_py.protocol.field_types import FieldType

__all__ = ["is_composed", "spread"]

T = TypeVar("T", bound=list[Any])

# Different keys of one hash in one table; honest ones have a few. So many cost 32 comparisons each.
MAX_OF_ONE_HASH: Final = 64


def is_composed(kind: FieldType) -> bool:
    """Whether a key is made of others. Of numbers a few dozen have one hash at most, and of texts nobody knows it."""
    return bool(kind.items) or kind.packet is not None


def spread(keys: T) -> T:
    """Return the keys of a table that is to be made. O(keys).

    Raises:
        MismatchError: more than 64 different ones have the same hash.
    """
    if len(keys) > MAX_OF_ONE_HASH and max(Counter(map(hash, keys)).values()) > MAX_OF_ONE_HASH:
        found: set[Any] = set()
        counts: Counter[int] = Counter()
        for key in keys:
            known = len(found)
            found.add(key)
            if len(found) > known:
                counts[hash(key)] += 1
                if counts[hash(key)] > MAX_OF_ONE_HASH:
                    raise MismatchError(f"more than {MAX_OF_ONE_HASH} keys of one set or map have the same hash")
    return keys
