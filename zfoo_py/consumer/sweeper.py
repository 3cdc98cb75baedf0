"""The background sweep of all caches of a node: how much in one turn, and when the next turn comes."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["SWEEP_ENTRIES_PER_TURN", "SWEEP_TURNS_PER_ROUND", "Next", "Sweeper"]

# Entries that one turn looks at, over all service types: at 1.5 µs each, at the worst, it stays under 1 ms, and 100,000
# entries are swept in 200 turns.
SWEEP_ENTRIES_PER_TURN = 500

# So many turns in one round of the loop, each behind the asks that wait. Under load a round takes 20 ms and more: with
# one turn in each, 400,000 entries took 20 s.
SWEEP_TURNS_PER_ROUND = 4

S = TypeVar("S")


class Next(Enum):
    """When the next turn is to come."""

    DONE = auto()  # not before the next change or tick
    BEHIND = auto()  # behind what waits in the inbox
    NEXT_ROUND = auto()  # after the loop has served its sockets


class Sweeper(Generic[S]):
    """Which service types still have something to sweep; pure. It does not know what a service type is."""

    def __init__(self) -> None:
        self._left: list[S] = []
        self._turns = 0

    def begin(self, services: Iterable[S]) -> bool:
        """Something has changed: all have to be asked again. Returns whether a first turn is to be started."""
        is_idle = not self._left
        self._left = list(services)
        return is_idle

    def turn(self, sweep: Callable[[S, int], object]) -> Next:
        """One turn: ``sweep(service, budget_entries)`` of each that has something left; anything but False ends it."""
        budget = max(1, SWEEP_ENTRIES_PER_TURN // max(1, len(self._left)))
        self._left = [service for service in self._left if sweep(service, budget) is False]
        if not self._left:
            return Next.DONE
        self._turns += 1
        return Next.BEHIND if self._turns % SWEEP_TURNS_PER_ROUND else Next.NEXT_ROUND
