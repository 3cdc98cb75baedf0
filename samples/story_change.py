"""One change of the cluster, measured: who noticed when, which keys moved, and whether exactly those had to. Pure.

The expectation comes from the referee's own ring (samples/check_cluster.py), which shares no code with zfoo_py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from samples.check_cluster import Ring
from zfoo_py.consumer.hashing import fnv_hash, point_hashes
from zfoo_py.consumer.key_cache import EvictionCause
from zfoo_py.consumer.ring import VIRTUAL_NODES

__all__ = ["Change", "Explain", "Explanation", "Moves", "explain", "judge"]


@dataclass
class Change:
    """A kill or a join, from the order to its last effect. Times are in seconds, on the caller's clock.

    Attributes:
        event: what is done.
        provider: to whom.
        begun_s: when it was ordered.
        before, after: the members of visits, provider → ring name.
        owners: key → provider, of all remembered keys when the consumer heard of the change.
        counted: evictions of the change's cause, as counted by then.
        noticed_s: when the consumer heard of it.
        first_answer_s: when a moved key was first answered by its new owner.
        first_key: that key.
    """

    event: Literal["killed", "joined"]
    provider: str
    begun_s: float
    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    counted: int = 0
    noticed_s: float | None = None
    first_answer_s: float | None = None
    first_key: str | None = None

    @property
    def cause(self) -> EvictionCause:
        """What the cache counts its evictions as."""
        return "provider_down" if self.event == "killed" else "provider_up"

    def heard(self, now_s: float, before: Mapping[str, str], owners: dict[str, str], counted: int) -> None:
        """Take down what there was when the consumer heard of it."""
        self.noticed_s = now_s
        self.before = dict(before)
        self.owners = owners
        self.counted = counted

    def answered(self, now_s: float, key: str, served_by: str) -> None:
        """Look whether this is the first answer of a moved key."""
        if self.noticed_s is None or self.first_answer_s is not None:
            return
        owner = self.owners.get(key)
        if owner not in (None, served_by) and self.provider in (owner, served_by):
            self.first_answer_s = now_s
            self.first_key = key


class Moves(NamedTuple):
    """Which keys a change moved.

    Attributes:
        known: how many keys were remembered when it came.
        evicted: how many the cache counted as moved by this change.
        due: how many have another owner on the referee's ring.
        others: how many moved though the referee's ring keeps them.
        stuck: how many should have moved and did not.
    """

    known: int
    evicted: int
    due: int
    others: int
    stuck: int

    @property
    def exact(self) -> bool:
        """Whether exactly those keys moved that had to."""
        return self.evicted == self.due and not self.others and not self.stuck


def judge(change: Change, owners_now: Mapping[str, str], counted_now: int) -> Moves:
    """Compare what moved with what had to. O(keys), a hash each.

    Args:
        change: with its members before and after.
        owners_now: key → provider, of all keys that are remembered after the cache was swept.
        counted_now: evictions of the change's cause by then.
    """
    rings = [(Ring(names.values()), {r: p for p, r in names.items()}) for names in (change.before, change.after)]
    due = others = stuck = 0
    for key, owner in change.owners.items():
        was, is_now = (names.get(ring.owner(key) or "") for ring, names in rings)
        moved = key in owners_now and owners_now[key] != owner
        if was != is_now:
            due += 1
            stuck += key in owners_now and not moved
        else:
            others += moved
    return Moves(len(change.owners), counted_now - change.counted, due, others, stuck)


class Explanation(NamedTuple):
    """Why a key has another owner than before."""

    key: str
    key_hash: int
    old_owner: str
    old_point: int
    new_owner: str
    new_point: int


# Members before and after, a key → why it moved. Another source of the same facts can stand in.
Explain = Callable[[str, Mapping[str, str], Mapping[str, str]], Explanation]


def explain(key: str, before: Mapping[str, str], after: Mapping[str, str]) -> Explanation:
    """Find the ring points that decide about a key, as zfoo_py hashes them. O(providers * 200).

    Args:
        key: of visits.
        before: provider → ring name, of those that were members; not empty.
        after: of those that are.
    """
    key_hash = fnv_hash(key)
    found: list[tuple[int, str]] = []
    for members in (before, after):
        points = sorted((point, name) for name, ring in members.items() for point in point_hashes(ring, VIRTUAL_NODES))
        found.append(next((one for one in points if one[0] >= key_hash), points[-1]))
    (old_point, old_owner), (new_point, new_owner) = found
    return Explanation(key, key_hash, old_owner, old_point, new_owner, new_point)
