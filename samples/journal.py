"""The journal of `make cluster`: what the consumer saw, one JSON object a line. The referee reads it.

Kinds of records::

    {"kind": "header", "seed": 7, "trace": path | null, "balancer": "cached-consistent-hash",
     "balancers": {module: name}, "keeps_keys": {module: bool}}
        First line. `trace` null: the synthetic trace of `seed`. `keeps_keys`: whether the module's balancer
        promises that a key stays with its ring owner; if not (random), owners and counts are not judged.
    {"kind": "membership", "version": 3, "modules": {"visits": [{"ring_name": ..., "served_by": ...}, ...], ...}}
        What the consumer routes by from this version on; once per version, before the first ask that names it.
        `served_by` is the name of one process's life: whoever starts again gets another.
    {"kind": "ask", "n": 0, "module": "visits", "key": "10.0.0.7", "bytes": 512, "version": 3,
     "served_by": "visits-1" | null, "count": 1 | null, "outcome": "ok" | "<ErrorName>", "may_have_run": null | bool}
        In order of completion. `n` counts from 0 in order of asking; each n once, none missing. `version` is that
        of the (last) pick; null only if nothing was picked. `count` is the provider's own count of this key.
        `outcome` is the error's class name, or "NotServed" if the provider refused a module it does not offer;
        `may_have_run` is the error's, null for "ok". `served_by` of an error: whom it was sent to, if that is known.
    {"kind": "churn", "event": "killed" | "started", "served_by": ..., "ring_name": ...}
        Anywhere after the first membership.
    {"kind": "end", "asks": 30000, "stopped_early": false, "cache_entries": {module: int},
     "memo": null | [{"n": 1000, "entries": 700, "gone": 0}, ...]}
        Last line. `asks`: how many were begun. `stopped_early` (optional): the trace was left before its end.
        `memo`: of a balancer that remembers keys without bound: after how many asks it had how many entries, and
        how many of them pointed at providers that were gone.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Ask", "Faults", "Journal", "read_journal"]

# Of each kind of fault this many are told in full; the rest are counted.
EXAMPLES = 5


class Ask(NamedTuple):
    """One ask of the journal."""

    n: int
    module: str
    key: str
    served_by: str | None
    counted: int | None
    outcome: str
    may_have_run: bool | None
    version: int | None
    bytes_sent: int

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Ask:
        """Return the ask of a record.

        Raises:
            KeyError: a field is missing.
            TypeError: a field that everything depends on has a wrong type.
        """
        for name, kind in (("n", int), ("module", str), ("key", str), ("outcome", str)):
            if type(record[name]) is not kind:
                raise TypeError(f"{name} is no {kind.__name__}: {record[name]!r}")
        names = ("n", "module", "key", "served_by", "count", "outcome", "may_have_run", "version", "bytes")
        return cls(*(record[name] for name in names))

    @property
    def ok(self) -> bool:
        """Whether it was answered."""
        return self.outcome == "ok"

    def __str__(self) -> str:
        """Tell it in one line."""
        end = f"count {self.counted}" if self.ok else self.outcome
        return f"ask {self.n} ({self.module} {self.key!r}, {self.served_by}, {end}, version {self.version})"


class Faults:
    """Counts what is wrong, by kind, and keeps the first few of each in words."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, kind: str, text: str) -> None:
        """Take down one."""
        self.counts[kind] += 1
        if len(self.examples[kind]) < EXAMPLES:
            self.examples[kind].append(text)

    def lines(self) -> list[str]:
        """Return a line for each kind, then its examples."""
        return [f"{kind}: {count} ({'; '.join(self.examples[kind])})" for kind, count in self.counts.items()]


class Journal:
    """What the records say, each checked for its form only."""

    def __init__(self, records: Iterable[Mapping[str, Any]], faults: Faults) -> None:
        self.faults = faults
        self.header: Mapping[str, Any] = {}
        self.end: Mapping[str, Any] = {}
        self.asks: list[Ask] = []
        self.churn: list[tuple[str, str]] = []
        # version → module → served_by → ring name
        self.members: dict[int, dict[str, dict[str, str]]] = {}
        readers = {"ask": self.read_ask, "membership": self.read_membership, "churn": self.read_churn}
        number = 0
        for number, record in enumerate(records, start=1):
            try:
                kind = record["kind"]
                if (kind == "header") != (number == 1) or self.end:
                    faults.add("journal out of order", f"record {number} is of kind {kind!r}")
                if kind in readers:
                    readers[kind](record)
                elif kind == "header":
                    self.header = record
                elif kind == "end":
                    self.end = record
                else:
                    faults.add("record of unknown kind", f"record {number}: {kind!r}")
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                faults.add("malformed record", f"record {number}: {error!r}")
        if not self.header or not self.end:
            faults.add("journal cut short", f"{number} records without {'end' if self.header else 'header'}")
        else:
            self.check_numbers()
        self.check_names()

    def read_ask(self, record: Mapping[str, Any]) -> None:
        """Take down an ask; its version must be known by now."""
        ask = Ask.of(record)
        self.asks.append(ask)
        if ask.version not in self.members and (ask.version is not None or ask.ok or ask.served_by):
            self.faults.add("membership line missing", f"{ask} comes before the line of its version")
        if ask.ok and (type(ask.counted) is not int or ask.served_by is None):
            self.faults.add("answer without count or provider", str(ask))
        if not ask.ok and type(ask.may_have_run) is not bool:
            self.faults.add("error that does not say whether it may have run", str(ask))

    def read_membership(self, record: Mapping[str, Any]) -> None:
        """Take down who offers what."""
        version = record["version"]
        modules = {m: {p["served_by"]: p["ring_name"] for p in ps} for m, ps in record["modules"].items()}
        if version in self.members:
            self.faults.add("membership told twice", f"version {version}")
        for module, providers in modules.items():
            if not len(record["modules"][module]) == len(providers) == len(set(providers.values())):
                self.faults.add("two providers with one name", f"{module} at version {version}")
        self.members[version] = modules

    def read_churn(self, record: Mapping[str, Any]) -> None:
        """Take down a kill or a start."""
        if record["event"] not in ("killed", "started"):
            raise ValueError(f"event {record['event']!r}")
        self.churn.append((record["event"], record["served_by"]))

    def check_names(self) -> None:
        """A name stands for one life of one process, so that its counts are one series."""
        lives: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        for modules in self.members.values():
            for module, providers in modules.items():
                for served_by, ring_name in providers.items():
                    lives[module, served_by].add(ring_name)
        for (module, served_by), ring_names in lives.items():
            if len(ring_names) > 1:
                self.faults.add("name used for two providers", f"{served_by} of {module}: {sorted(ring_names)}")
        first = {name for providers in next(iter(self.members.values()), {}).values() for name in providers}
        for event, name in self.churn:
            if event == "started" and (name in first or self.churn.count((event, name)) > 1):
                self.faults.add("name used for two providers", f"{name} was there before, and was started")
            if event == "killed" and name not in {served_by for _, served_by in lives}:
                self.faults.add("churn of an unknown provider", f"{name} was killed, and never was a member")

    def check_numbers(self) -> None:
        """Each ask is there once."""
        numbers = Counter(ask.n for ask in self.asks)
        for n, times in numbers.items():
            if times > 1:
                self.faults.add("ask told twice", f"n = {n}")
        begun = int(self.end.get("asks", 0))
        for n in range(begun):
            if n not in numbers:
                self.faults.add("ask missing", f"n = {n}")
        for n in numbers:
            if not 0 <= n < begun:
                self.faults.add("ask that was never begun", f"n = {n}, and the end tells of {begun} asks")


def read_journal(path: Path | str) -> Iterator[dict[str, Any]]:
    """Yield the records of a journal file.

    Raises:
        OSError: it cannot be read.
        ValueError: a line is no JSON object.
    """
    with Path(path).open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError(f"line {number} of {path} is no JSON object")  # noqa: TRY004 - not the caller's type
            yield record
