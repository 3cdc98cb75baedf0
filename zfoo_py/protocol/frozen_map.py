"""A map that may stand where Python wants something hashable: in a set, or as the key of a map."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

__all__ = ["FrozenMap"]

K = TypeVar("K")
V = TypeVar("V")


class FrozenMap(Mapping[K, V]):
    """An immutable, hashable mapping that keeps the order of its items; equal to any mapping of the same items.

    For fields that Java declares as ``Set<Map<K, V>>`` (``set[FrozenMap[K, V]]``) or as a map keyed by packets
    (``FrozenMap[Point, str]``). msgpack carries it as an array of [key, value] pairs. Any thread.

    Args:
        items: a mapping, or pairs of key and value.

    Raises:
        TypeError: at construction, if a key cannot be hashed; by ``hash``, if a value cannot.
    """

    __slots__ = ("_hash", "_items")

    def __init__(self, items: Mapping[K, V] | Iterable[tuple[K, V]] = ()) -> None:
        self._items: dict[K, V] = dict(items)
        self._hash: int | None = None

    def __getitem__(self, key: K) -> V:
        return self._items[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, FrozenMap):
            return bool(self._items == other._items)
        return self._items == other

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(frozenset(self._items.items()))
        return self._hash

    def table_bytes(self) -> int:
        """Return the bytes of its table of hashes, without keys and values."""
        return self._items.__sizeof__() + 32  # and what the garbage collector keeps of both

    def __repr__(self) -> str:
        return f"FrozenMap({self._items!r})"
