"""What membership changes did to one service type: who came and left, what moved, and that nothing else did.

A consistent-hash ring promises that a change moves the keys of the segments it changed, and no others. The log does not
take that on trust. With each step (one provider joins or leaves) it keeps the segments that changed; whenever the key
cache finds that the owner of a remembered key has changed, in a pick or in the background sweep, `moved` looks whether
the key lies in a segment of a step since the key was checked last. A key that does not is counted as *astray*: a bug.

So the check runs in the turns in which the cache looks at its entries anyway, one bisect a moved key. It is complete
when the sweep has looked at every entry that was there, and then the segments are dropped.

Pure and not thread-safe; the ConsumerActor owns one log per service type.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import msgspec

from zfoo_py.consumer.ring import HASHES

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterator
    from typing import TypeAlias

    from zfoo_py.consumer.balancer import BalancerStats
    from zfoo_py.consumer.ring import HashRing

    Segments: TypeAlias = tuple[array[int], array[int]]

__all__ = ["KEPT_CHANGES", "ChangeLog", "ChangeReport"]

# A rolling restart of thirty nodes is sixty changes, and is what people ask about afterwards.
KEPT_CHANGES: Final = 64
# A moved key that belongs neither to the newest step of its new owner nor to that of its old one is looked for in all
# of them (about 30 µs); more of these between two ticks are counted as not checked: a turn is to stay under 2 ms.
MAX_LONG_SEARCHES: Final = 50


class ChangeReport(msgspec.Struct, frozen=True):
    """What one membership version did to a service type. `str()` is for people, `as_dict` for programs.

    Attributes:
        module: of the service type.
        version: the membership version.
        age_s: seconds since it was handled.
        joined, left, reweighed: ring names of the providers that came, went, or got another weight.
        providers: how many there were afterwards.
        points_version: of the ring afterwards.
        moved_share: of the hash space, 0 to 1; what several providers of one version have moved counts once.
        entries: keys that were remembered.
        moved_keys: of these (and of those remembered until the check ended), keys found to have moved by this change.
        evicted: cause → entries, from the change to the end of the check; provider_up counts entries that stayed and
            got their new owner. With changes in between, theirs are counted here, too.
        checked: of ``entries``, how many the check has seen.
        is_checked: it has seen all.
        astray: moved keys that lie in no segment that changed: always 0, or there is a bug.
        unverified: moved keys of which the log no longer knew enough to tell.
    """

    module: str
    version: int
    age_s: float
    joined: tuple[str, ...]
    left: tuple[str, ...]
    providers: int
    points_version: int
    moved_share: float
    entries: int
    moved_keys: int
    evicted: dict[str, int]
    checked: int
    is_checked: bool
    astray: int
    unverified: int
    reweighed: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return found

    def __str__(self) -> str:
        lines = [f"{self.module}, membership {self.version}, {self.age_s:.0f} s ago, {self.providers} providers since"]
        lines += [f"  joined     {name}" for name in self.joined]
        lines += [f"  left       {name}" for name in self.left]
        lines += [f"  reweighed  {name}" for name in self.reweighed]
        share = f"{100 * self.moved_share:.2f} % of the hash space (ring {self.points_version})"
        lines.append(f"  moved      {share}, {self.moved_keys} of {self.entries} remembered keys")
        evicted = ", ".join(f"{cause} {count}" for cause, count in self.evicted.items() if count) or "nothing"
        lines.append(f"  evicted    {evicted}")
        lines.append(f"  no other   {self._proof()}")
        return "\n".join(lines)

    def _proof(self) -> str:
        if self.astray:
            return f"BROKEN: {self.astray} keys moved although their segment of the ring did not change"
        if not self.entries:
            return "no key was remembered that could have moved"
        progress = "all" if self.is_checked else f"{self.checked} so far of"
        proof = f"{progress} {self.entries} remembered keys checked: none moved outside the segments that changed"
        return f"{proof}; {self.unverified} could not be told" if self.unverified else proof


class _Step:
    """One provider came or went, or got another weight: which segments changed."""

    __slots__ = ("change", "kept", "name", "points_version", "segments")

    def __init__(
        self, change: _Change, name: str, points_version: int, segments: Segments, kept: Segments | None = None
    ) -> None:
        self.change = change
        self.name = name
        self.points_version = points_version  # of the ring after it
        self.segments = segments  # these changed ...
        self.kept = kept  # ... but for those that it had before and has now

    def covers(self, key_hash: int) -> bool:
        return _is_in(self.segments, key_hash) and not (self.kept is not None and _is_in(self.kept, key_hash))


class _Change:
    """What is known of one membership version."""

    def __init__(self, version: int, at_s: float, stats: BalancerStats) -> None:
        self.version = version
        self.at_s = at_s
        self.joined: list[str] = []
        self.left: list[str] = []
        self.reweighed: list[str] = []
        self.providers = 0
        self.points_version = stats.points_version
        self.parts: list[tuple[str, Segments]] = []  # what its steps changed, until the next change comes
        self.moved_hashes = 0  # besides these
        self.entries = stats.entries if stats.inspected >= 0 else 0  # else nobody would ever say that all were seen
        self.inspected = stats.inspected
        self.evictions = dict(stats.evictions)
        self.evicted: dict[str, int] | None = None  # once it is checked
        self.steps: list[_Step] = []
        self.moved_keys = 0
        self.astray = 0
        self.unverified = 0

    def changed(self, name: str, segments: Segments) -> None:
        if (name, segments) in self.parts:  # a provider that leaves and comes again in one version has moved nothing
            self.parts.remove((name, segments))
        else:
            self.parts.append((name, segments))

    def moved(self) -> int:
        """How many hashes have another owner. O(segments of its steps), until the next change."""
        return min(HASHES, self.moved_hashes + _length_of_all([part for _, part in self.parts]))

    def seal(self) -> None:
        self.moved_hashes, self.parts = self.moved(), []

    def checked(self, stats: BalancerStats) -> int:
        return self.entries if self.evicted is not None else min(self.entries, stats.inspected - self.inspected)

    def evicted_until(self, stats: BalancerStats) -> dict[str, int]:
        if self.evicted is not None:
            return self.evicted
        return {cause: count - self.evictions.get(cause, 0) for cause, count in stats.evictions.items()}


class ChangeLog:
    """The last changes of one service type.

    Args:
        module: its name.
        kept: changes remembered at most.
    """

    def __init__(self, module: str, kept: int = KEPT_CHANGES) -> None:
        self._module = module
        self._changes: deque[_Change] = deque()
        self._kept = kept
        self._newest: dict[str, _Step] = {}  # provider → its newest step whose segments are still kept
        self._long_searches = 0
        self.astray = 0

    def __len__(self) -> int:
        return len(self._changes)

    @property
    def is_open(self) -> bool:
        """Whether the check of a change has not ended."""
        return any(change.evicted is None for change in self._changes)

    def open_for_s(self, now_s: float) -> float:
        """For how long the oldest change waits for the sweep to have seen all entries; 0 if none waits."""
        return next((round(now_s - change.at_s, 3) for change in self._changes if change.evicted is None), 0.0)

    # --- what happened

    def joined(self, name: str, version: int, now_s: float, ring: HashRing | None, before: BalancerStats) -> None:
        """A provider came. To be called when the ring has it; ``before``: the policy's figures from before.

        O(points of the provider).
        """
        change = self._change(version, now_s, before)
        change.joined.append(name)
        change.providers += 1
        if ring is not None and name in ring:
            self._step(change, name, ring, ring.points_version)

    def leaves(self, name: str, version: int, now_s: float, ring: HashRing | None, before: BalancerStats) -> None:
        """A provider goes. To be called while the ring still has it. O(points of the provider)."""
        change = self._change(version, now_s, before)
        change.left.append(name)
        change.providers -= 1
        if ring is not None and name in ring:
            self._step(change, name, ring, ring.points_version + 1)

    def reweighed(
        self,
        name: str,
        version: int,
        now_s: float,
        ring: HashRing | None,
        stats: BalancerStats,
        before: Segments | None,
    ) -> None:
        """A provider has more or fewer points. ``stats`` and ``before``, its segments, are from before that.

        More points only take keys, fewer only give some away. O(points of the provider).
        """
        change = self._change(version, now_s, stats)
        change.reweighed.append(name)
        if ring is None or before is None:
            return
        after = ring.segments_of(name)
        grown = _length(after) - _length(before)
        change.points_version = ring.points_version
        change.moved_hashes += abs(grown)
        if change.entries:
            kept, moved = (before, after) if grown > 0 else (after, before)
            step = self._newest[name] = _Step(change, name, ring.points_version, moved, kept)
            change.steps.append(step)

    def _change(self, version: int, now_s: float, stats: BalancerStats) -> _Change:
        last = self._changes[-1] if self._changes else None
        if last is not None and last.version == version:
            return last
        change = _Change(version, now_s, stats)
        if last is not None:
            change.providers = last.providers
            last.seal()
        self._changes.append(change)
        if len(self._changes) > self._kept:
            self._close(self._changes.popleft(), stats)
        return change

    def _step(self, change: _Change, name: str, ring: HashRing, points_version: int) -> None:
        change.points_version = points_version
        segments = ring.segments_of(name)
        change.changed(name, segments)
        if change.entries:  # else no remembered key can have moved
            step = self._newest[name] = _Step(change, name, points_version, segments)
            change.steps.append(step)

    def moved(self, key_hash: int, old: str, new: str, checked: int) -> None:
        """A remembered key, looked up last at ring version ``checked``, has another owner now. O(log segments)."""
        for step in (self._newest.get(new), self._newest.get(old)):
            if step is not None and step.points_version > checked and step.covers(key_hash):
                step.change.moved_keys += 1
                return
        self._search(key_hash, checked)

    def _search(self, key_hash: int, checked: int) -> None:
        if not self._changes:
            return
        newest = self._changes[-1]
        oldest_known = next((step.points_version for step in self._steps()), newest.points_version + 1)
        self._long_searches += 1
        if checked + 1 < oldest_known or self._long_searches > MAX_LONG_SEARCHES:
            newest.unverified += 1
            return
        for step in self._steps():
            if step.points_version > checked and step.covers(key_hash):
                step.change.moved_keys += 1
                return
        newest.astray += 1
        self.astray += 1

    def _steps(self) -> Iterator[_Step]:
        return (step for change in self._changes for step in change.steps)

    def settle(self, stats: BalancerStats) -> None:
        """Look which checks have ended, and let go of their segments; after a sweep, and about once a second."""
        self._long_searches = 0
        for change in self._changes:
            # In order: a key may have been checked before a change whose own entries were all seen.
            if change.evicted is None:
                if change.checked(stats) < change.entries:
                    break
                self._close(change, stats)

    def _close(self, change: _Change, stats: BalancerStats) -> None:
        change.evicted = change.evicted_until(stats)
        for step in change.steps:
            if self._newest.get(step.name) is step:
                del self._newest[step.name]
        change.steps = []

    # --- questions

    def report(self, version: int | None, now_s: float, stats: BalancerStats) -> ChangeReport | None:
        """What a membership version did; None: the last one. None comes back if the log does not know it."""
        for change in reversed(self._changes):
            if version is None or change.version == version:
                checked = change.checked(stats)
                return ChangeReport(
                    module=self._module,
                    version=change.version,
                    age_s=round(now_s - change.at_s, 3),
                    joined=tuple(change.joined),
                    left=tuple(change.left),
                    reweighed=tuple(change.reweighed),
                    providers=change.providers,
                    points_version=change.points_version,
                    moved_share=change.moved() / HASHES,
                    entries=change.entries,
                    moved_keys=change.moved_keys,
                    evicted=change.evicted_until(stats),
                    checked=checked,
                    is_checked=checked >= change.entries,
                    astray=change.astray,
                    unverified=change.unverified,
                )
        return None

    @property
    def versions(self) -> tuple[int, ...]:
        """The membership versions it knows, oldest first."""
        return tuple(change.version for change in self._changes)


def _is_in(segments: Segments, key_hash: int) -> bool:
    firsts, lasts = segments
    at = bisect_right(firsts, key_hash) - 1
    return at >= 0 and key_hash <= lasts[at]


def _length(segments: Segments) -> int:
    firsts, lasts = segments
    return sum(lasts) - sum(firsts) + len(firsts)


def _length_of_all(parts: list[Segments]) -> int:
    """Of what lies in any of them."""
    if len(parts) == 1:
        return _length(parts[0])
    length = end = 0  # of what was counted, and the first hash behind it
    for first, last in sorted(span for part in parts for span in zip(*part, strict=True)):
        if last >= end:
            length += last + 1 - max(first, end)
            end = last + 1
    return length
