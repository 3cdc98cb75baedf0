"""Sets that keep the order they came in, for who writes them anew: on the wire a set is written in its order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

__all__ = ["FrozenSetInOrder", "SetInOrder"]

T = TypeVar("T")


class SetInOrder(set[T]):
    """A set that is iterated in the order of `items`, doubles included, as long as it holds just these."""

    __slots__ = ("_items",)

    def __init__(self, items: list[T]) -> None:
        super().__init__(items)
        self._items = items

    def __iter__(self) -> Iterator[T]:
        return iter(self._items) if set(self._items) == self else super().__iter__()


class FrozenSetInOrder(frozenset[T]):
    """The same for what is in a set, or the key of a map."""

    __slots__ = ("_items",)
    _items: list[T]

    def __new__(cls, items: list[T]) -> FrozenSetInOrder[T]:
        """Make it; here, since a frozenset takes nothing afterwards."""
        made = super().__new__(cls, items)
        made._items = items
        return made

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)
