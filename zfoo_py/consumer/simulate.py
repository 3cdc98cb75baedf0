"""What a change of membership would do, before it is done: moved share, balance, hottest keys.

Everything is computed on two rings, exactly, over the whole hash space; a file of keys adds what happens to those.
Pure.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import msgspec

from zfoo_py.consumer.explain import printable
from zfoo_py.consumer.hashing import fnv_hash, key_text
from zfoo_py.consumer.ring import HASHES, VIRTUAL_NODES, HashRing
from zfoo_py.errors import ConfigError, nearest_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from zfoo_py.consumer.hashing import Key

__all__ = ["HottestKey", "Load", "Simulation", "names_of", "simulate"]

HOTTEST: Final = 5
SHOWN_KEY_CHARS: Final = 40

# An error names so many of the providers that are there.
_NAMED = 10


class Load(msgspec.Struct, frozen=True):
    """What one provider has before and after; None: it is not there then.

    Attributes:
        ring_name, label: its identity, and what people call it.
        share_before, share_after: of the hash space, 0 to 1.
        asks_before, asks_after: lines of the file of keys.
    """

    ring_name: str
    label: str
    share_before: float | None
    share_after: float | None
    asks_before: int | None
    asks_after: int | None


class HottestKey(msgspec.Struct, frozen=True):
    """One of the most frequent keys of the file: its lines, their share, and who has it (labels)."""

    key: str
    asks: int
    share: float
    before: str
    after: str


class Simulation(msgspec.Struct, frozen=True):
    """What a change would do. `str()` is for people, `as_dict` for programs.

    Attributes:
        module: of the service type.
        providers: who has how much.
        moved_share: of the hash space whose owner changes, 0 to 1.
        ideal_share: the least that must move for an even ring, after weights.
        balance_before, balance_after: the largest share over the mean, by weight; 1 is even. None: no providers.
        keys, asks: distinct keys and lines of the file; 0: none was given.
        moved_keys, moved_asks: those of them whose owner changes.
        asks_balance_before, asks_balance_after: as the balance, by lines of the file.
        hottest: most frequent keys first.
    """

    module: str
    providers: tuple[Load, ...]
    moved_share: float
    ideal_share: float
    balance_before: float | None
    balance_after: float | None
    keys: int
    asks: int
    moved_keys: int
    moved_asks: int
    asks_balance_before: float | None
    asks_balance_after: float | None
    hottest: tuple[HottestKey, ...]

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return found

    def __str__(self) -> str:
        before = sum(one.share_before is not None for one in self.providers)
        after = sum(one.share_after is not None for one in self.providers)
        lines = [f"{self.module}: {before} → {after} providers", ""]
        lines += self._table()
        moved = f"{100 * self.moved_share:.2f} % of the hash space; {100 * self.ideal_share:.2f} % on an even ring"
        lines += ["", f"moved      {moved}"]
        lines.append(f"balance    {_number(self.balance_before)} → {_number(self.balance_after)}, largest over mean")
        if self.asks:
            share = 100 * self.moved_asks / self.asks
            lines.append(
                f"keys       {self.moved_keys} of {self.keys} distinct keys move, {share:.2f} % of {self.asks} asks"
            )
            asks = f"{_number(self.asks_balance_before)} → {_number(self.asks_balance_after)}"
            lines.append(f"asks       {asks}, largest over mean")
            lines += ["", "hottest keys"]
            width = max(len(one.key) for one in self.hottest)
            for one in self.hottest:
                way = one.before if one.before == one.after else f"{one.before} → {one.after}"
                lines.append(f"  {one.key:<{width}}  {100 * one.share:5.1f} %  {one.asks:>7}  {way}")
        return "\n".join(lines)

    def _table(self) -> list[str]:
        head = ["provider", "before", "after", "change"] + (["asks before", "asks after"] if self.asks else [])
        rows = []
        for one in self.providers:
            change = 100 * ((one.share_after or 0.0) - (one.share_before or 0.0))
            mark = "joins" if one.share_before is None else "leaves" if one.share_after is None else f"{change:+.2f}"
            row = [one.label, _percent(one.share_before), _percent(one.share_after), mark]
            if self.asks:
                row += ["" if asks is None else str(asks) for asks in (one.asks_before, one.asks_after)]
            rows.append(row)
        widths = [max(len(line[column]) for line in [head, *rows]) for column in range(len(head))]
        return [
            "  ".join(
                text.ljust(width) if not column else text.rjust(width)
                for column, (text, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in [head, *rows]
        ]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"


def _number(balance: float | None) -> str:
    return "-" if balance is None else f"{balance:.3f}"


def simulate(
    module: str,
    before: Mapping[str, str],
    add: Mapping[str, str],
    remove: Iterable[str],
    keys: Iterable[Key] = (),
    *,
    points: Mapping[str, int] | None = None,
    virtual_nodes: int = VIRTUAL_NODES,
) -> Simulation:
    """Compute what joins and leaves would do. O(points * log points + keys).

    Args:
        module: name of the service type.
        before: ring name → label of the providers that are there.
        add: the same of those that come.
        remove: ring names of those that go.
        keys: one for each ask; frequent ones come often.
        points: ring name → points of providers with a weight; the others have ``virtual_nodes``.
        virtual_nodes: points of a provider of weight one.

    Raises:
        ConfigError: a name joins that is there, or leaves that is not.
        TypeError: for a key that is not allowed.
    """
    gone = set(remove)
    for name in add:
        if name in before:
            raise ConfigError(f"{name!r} is a provider already: it cannot join")
    for name in gone - set(before):
        raise ConfigError(f"{name!r} is no provider: it cannot leave", nearest=nearest_name(name, before))
    counts = {name: (points or {}).get(name, virtual_nodes) for name in (*before, *add)}
    after = {name: label for name, label in {**before, **add}.items() if name not in gone}
    old, new = _ring(before, counts), _ring(after, counts)
    old_shares, new_shares = _shares(old), _shares(new)
    asks = Counter(keys)
    old_asks, new_asks = Counter[str](), Counter[str]()
    moved_keys = moved_asks = 0
    for key, count in asks.items():
        key_hash = fnv_hash(key)
        was, will = old.owner_of_hash(key_hash), new.owner_of_hash(key_hash)
        if was is not None:
            old_asks[was] += count
        if will is not None:
            new_asks[will] += count
        if was != will:
            moved_keys += 1
            moved_asks += count
    labels = _distinct({**before, **add})
    return Simulation(
        module=module,
        providers=tuple(
            Load(
                name,
                label,
                old_shares.get(name, 0.0) if name in before else None,
                new_shares.get(name, 0.0) if name in after else None,
                old_asks[name] if name in before else None,
                new_asks[name] if name in after else None,
            )
            for name, label in sorted(labels.items(), key=lambda item: (item[1], item[0]))
        ),
        moved_share=_moved(old, new),
        ideal_share=_ideal(before, after, counts),
        balance_before=_balance(old_shares, before, counts),
        balance_after=_balance(new_shares, after, counts),
        keys=len(asks),
        asks=asks.total(),
        moved_keys=moved_keys,
        moved_asks=moved_asks,
        asks_balance_before=_balance(old_asks, before, counts) if asks else None,
        asks_balance_after=_balance(new_asks, after, counts) if asks else None,
        hottest=tuple(
            HottestKey(
                _shown(key),
                count,
                round(count / asks.total(), 4),
                labels.get(old.owner(key) or "", "nobody"),
                labels.get(new.owner(key) or "", "nobody"),
            )
            for key, count in asks.most_common(HOTTEST)
        ),
    )


def names_of(words: Iterable[str], providers: Mapping[str, str]) -> list[str]:
    """The ring names of providers that people call by ring name or by label.

    Raises:
        ConfigError: a word names nobody, or several.
    """
    found = []
    for word in words:
        named = [name for name, label in providers.items() if word in (name, label)]
        if not named:
            there = ", ".join(sorted(providers.values())[:_NAMED]) or "nobody"
            raise ConfigError(
                f"{word!r} is no provider here; there is {there}", nearest=nearest_name(word, providers.values())
            )
        if len(named) > 1:
            raise ConfigError(f"{word!r} names {len(named)} providers: say the whole ring name, {named[0]!r}")
        found += named
    return found


def _distinct(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels, but the whole ring name where two share one: else a key would move from app-1 to app-1."""
    counts = Counter(labels.values())
    return {name: label if counts[label] == 1 else name for name, label in labels.items()}


def _ring(names: Iterable[str], counts: Mapping[str, int]) -> HashRing:
    ring = HashRing()
    for name in names:
        ring.add(name, counts[name])
    return ring


def _segments(ring: HashRing) -> list[tuple[int, int, str]]:
    return sorted(
        (first, last, name) for name in ring.providers for first, last in zip(*ring.segments_of(name), strict=True)
    )


def _shares(ring: HashRing) -> dict[str, float]:
    shares = Counter[str]()
    for first, last, name in _segments(ring):
        shares[name] += last - first + 1
    return {name: hashes / HASHES for name, hashes in shares.items()}


def _moved(old: HashRing, new: HashRing) -> float:
    """The share of the hash space that two rings give to different owners."""
    one, two = _segments(old), _segments(new)
    if not one or not two:
        return float(bool(one or two))
    moved = at = position = other = 0
    while position < HASHES:
        until = min(one[at][1], two[other][1])
        if one[at][2] != two[other][2]:
            moved += until - position + 1
        position = until + 1
        at += one[at][1] == until
        other += two[other][1] == until
    return moved / HASHES


def _ideal(before: Iterable[str], after: Iterable[str], counts: Mapping[str, int]) -> float:
    old, new = ({name: counts[name] for name in names} for names in (before, after))
    if not old or not new:
        return float(bool(old or new))
    old_total, new_total = sum(old.values()), sum(new.values())
    return sum(max(0.0, points / new_total - old.get(name, 0) / old_total) for name, points in new.items())


def _balance(load: Mapping[str, float], names: Iterable[str], counts: Mapping[str, int]) -> float | None:
    """The largest load by weight over the mean load by weight."""
    weights = {name: counts[name] for name in names}
    total = sum(load.get(name, 0) for name in weights)
    if not weights or not total:
        return None
    mean = total / sum(weights.values())
    return round(max(load.get(name, 0) / weight for name, weight in weights.items()) / mean, 4)


def _shown(key: Key) -> str:
    text = printable(key_text(key))
    return text if len(text) <= SHOWN_KEY_CHARS else f"{text[:SHOWN_KEY_CHARS]}…"
