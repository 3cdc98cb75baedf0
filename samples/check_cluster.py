"""The referee of `make cluster`: recomputes from the journal and the trace whether the cluster told the truth.

It imports nothing of zfoo_py, and has its own hash and its own ring (a plain sorted list), after zfoo's rules.

    python samples/check_cluster.py --journal FILE [--trace FILE] [--json]        exit code 0: right, 1: wrong

The journal's form is in samples/journal.py.

What is judged
==============
* Misroute: an ask whose `served_by` does not offer its module at its version, or that was refused as NotServed.
* Wrong owner: `served_by` is not the key's owner on the ring of that version.
* Move: a key's asks, in order of version, go from one provider to another; needless if the ring did not ask for it.
* Counts: the answers of one provider about one key are 1, 2, ... n, each once (in any order: several asks of a
  key may be in flight). Each number that never came must be explained by an error of its own: one about this key
  that was sent to this provider, or to an unknown one, and may have run.
* Failed asks are wrong in a run without churn. A killed provider is gone from the last membership, a started one in it.
* The asks are those that the trace prescribes, in its order.
* A memo is growing if entries of keys that are never asked again only rise, and, when a provider was killed,
  entries of gone providers stay. Which keys come again is seen from the journal.
"""

from __future__ import annotations

import argparse
import json
import sys
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

if not __package__:  # run as a file: import from the project, and not from this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from samples.journal import Ask, Faults, Journal, read_journal
from samples.trace import AccessLog, Request, asks_of, synthetic

__all__ = ["Report", "Ring", "check", "describe", "fnv"]

by_number = attrgetter("n")

VIRTUAL_NODES = 200
# What these balancers promise, so that a header cannot talk its way out of being judged.
KEEPS_KEYS = {
    "random": False,
    "round-robin": False,
    "least-pending": False,
    "consistent-hash": True,
    "cached-consistent-hash": True,
    "bounded-consistent-hash": False,  # only while no bound is met
    "samples.my_policy:Sticky": False,  # it keeps other keys than the ring
    "zfoo-2024": True,
}


# ------------------------------------------------------------------------------------------- hash and ring
def utf16(text: str) -> bytes:
    """Return the text as Java sees it, two bytes a unit; comparing these bytes is Java's order of strings."""
    return text.encode("utf-16-be", "surrogatepass")


def signed(value: int) -> int:
    """Return the low 32 bits as a signed number."""
    return (value + 0x8000_0000 & 0xFFFF_FFFF) - 0x8000_0000


def fnv(text: str) -> int:
    """Return zfoo's hash of a text, 0 .. 2**31-1 (zfoo spec, section 6)."""
    units = utf16(text)
    h = 0x811C9DC5
    for high, low in zip(units[::2], units[1::2], strict=True):
        h = (h ^ (high << 8 | low)) * 16777619 & 0xFFFF_FFFF
    h = signed(h + (h << 13))
    h = signed((h ^ h >> 7) * 9)
    return abs(signed((h ^ h >> 17) * 33))


@lru_cache(maxsize=256)
def points_of(name: str) -> tuple[int, ...]:
    """Return the hashes of a provider's points."""
    return tuple(fnv(f"{name}&&VN{i}") for i in range(VIRTUAL_NODES))


class Ring:
    """zfoo's ring: 200 points a provider; where two collide, the name that sorts later has the point."""

    def __init__(self, names: Iterable[str]) -> None:
        points = {point: name for name in sorted(names, key=utf16) for point in points_of(name)}
        self.hashes = sorted(points)
        self.names = [points[h] for h in self.hashes]
        self.owners: dict[str, str | None] = {}

    def owner(self, key: str) -> str | None:
        """Return the name at the first point not before the key's hash; beyond the last point, the last one's."""
        if key not in self.owners:
            place = min(bisect_left(self.hashes, fnv(key)), len(self.hashes) - 1)
            self.owners[key] = self.names[place] if self.names else None
        return self.owners[key]


# ----------------------------------------------------------------------------------------- the judgement
@dataclass(frozen=True, slots=True)
class Report:
    """What the referee found.

    Attributes:
        asks: how many the journal has; answered + the sum of `failed`.
        failed: error name → how many.
        moved_keys: keys of key-keeping modules that went from one provider to another.
        counts_exact: whether every count is right or explained; None if no module's balancer keeps keys.
        unexplained: each count that is wrong, in words.
        may_have_run: each failed ask that may have run, in words; only these can explain a missing count.
        explained: how many missing counts they explain.
        reordered: answers of one provider about one key whose counts do not rise in order of asking; not judged.
        memo: first and last (idle, gone) entries of a balancer's memo; None if it has none.
        faults: all that is wrong, in words; empty if the run was right.
    """

    asks: int
    answered: int
    failed: dict[str, int]
    misroutes: int
    wrong_owner: int
    moved_keys: int
    needless_moves: int
    counts_exact: bool | None
    explained: int
    reordered: int
    memo_growing: bool | None
    memo: dict[str, list[int]] | None
    trace_compared: bool
    cache_entries: dict[str, int]
    unexplained: list[str] = field(default_factory=list)
    may_have_run: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    def as_dict(self) -> dict[str, Any]:
        """Return it as one JSON object, with "verdict": "right" or "wrong"."""
        return {"verdict": "right" if self.ok else "wrong", **asdict(self)}


class Routing(NamedTuple):
    """What was found about who got which ask."""

    misroutes: int
    wrong_owner: int
    moved_keys: int
    needless_moves: int


class Counts(NamedTuple):
    """What was found about the providers' counts."""

    unexplained: list[str]
    explained: int
    reordered: int


class Referee:
    """Judges one journal."""

    def __init__(self, journal: Journal, faults: Faults) -> None:
        self.journal = journal
        self.faults = faults
        self.keeps = self.promises()
        self.rings: dict[frozenset[str], Ring] = {}
        # (version, module) → its ring, and ring name → served_by
        self.at: dict[tuple[int | None, str], tuple[Ring, dict[str, str]]] = {}
        for version, modules in journal.members.items():
            for module, providers in modules.items():
                names = {ring_name: served_by for served_by, ring_name in providers.items()}
                self.at[version, module] = self.ring(frozenset(names)), names

    def ring(self, names: frozenset[str]) -> Ring:
        """Return the ring of these names, built once."""
        if names not in self.rings:
            self.rings[names] = Ring(names)
        return self.rings[names]

    def promises(self) -> dict[str, bool]:
        """Return for each module whether its balancer keeps keys."""
        keeps = {m: bool(v) for m, v in self.journal.header.get("keeps_keys", {}).items()}
        for module, balancer in self.journal.header.get("balancers", {}).items():
            if KEEPS_KEYS.get(balancer, keeps.get(module)) != keeps.get(module):
                self.faults.add("false promise", f"{module}: keeps_keys of {balancer} is not {keeps.get(module)}")
        for module in {ask.module for ask in self.journal.asks} - set(keeps):
            self.faults.add("module without promise", f"{module} is asked, and not in keeps_keys")
        return {module: keeps.get(module, True) for module in {ask.module for ask in self.journal.asks} | set(keeps)}

    def owner(self, version: int | None, module: str, key: str) -> str | None:
        """Return who had to serve a key, by the ring of a version; None if nobody could."""
        if (version, module) not in self.at:
            return None
        ring, names = self.at[version, module]
        name = ring.owner(key)
        return None if name is None else names[name]

    def is_misroute(self, ask: Ask) -> bool:
        """Tell whether an ask went to a provider that does not offer its module."""
        if ask.outcome == "NotServed":
            return True
        if ask.served_by is None or ask.version not in self.journal.members:
            return False
        return ask.served_by not in self.journal.members[ask.version].get(ask.module, {})

    def routing(self) -> Routing:
        """Judge who got which ask, and which keys moved."""
        misroutes = wrong_owner = 0
        trails: defaultdict[tuple[str, str], list[Ask]] = defaultdict(list)
        for ask in self.journal.asks:
            if self.is_misroute(ask):
                misroutes += 1
                self.faults.add("misroutes", str(ask))
            elif ask.served_by is not None and self.keeps[ask.module] and ask.version in self.journal.members:
                trails[ask.module, ask.key].append(ask)
                owner = self.owner(ask.version, ask.module, ask.key)
                if owner != ask.served_by:
                    wrong_owner += 1
                    self.faults.add("wrong owner", f"{ask}: the ring says {owner}")
        moved = needless = 0
        for (module, key), trail in trails.items():
            trail.sort(key=lambda ask: (ask.version, ask.n))
            moves = [(a, b) for a, b in pairwise(trail) if a.served_by != b.served_by]
            moved += bool(moves)
            for a, b in moves:
                if self.owner(a.version, module, key) == self.owner(b.version, module, key):
                    needless += 1
                    self.faults.add("needless moves", f"{a} then {b}")
        return Routing(misroutes, wrong_owner, moved, needless)

    def counts(self) -> Counts:
        """Judge the providers' counts, for the modules whose keys stay."""
        answers: defaultdict[tuple[str, str], defaultdict[str, list[Ask]]] = defaultdict(lambda: defaultdict(list))
        excuses: defaultdict[tuple[str, str], Counter[str | None]] = defaultdict(Counter)
        for ask in self.journal.asks:
            if ask.ok and type(ask.counted) is int and self.keeps[ask.module]:
                answers[ask.module, ask.key][str(ask.served_by)].append(ask)
            elif ask.may_have_run and not ask.ok:
                excuses[ask.module, ask.key][ask.served_by] += 1
        unexplained: list[str] = []
        explained = reordered = 0
        for (module, key), by_provider in answers.items():
            excuse = excuses[module, key]
            for served_by, asks in by_provider.items():
                times = Counter(ask.counted or 0 for ask in asks)
                about = f"{module} {key!r} at {served_by}"
                unexplained += [f"{about}: count {c} came {t} times" for c, t in times.items() if t > 1]
                unexplained += [f"{about}: count {c} cannot be" for c in times if c < 1]
                missing = [c for c in range(1, max(times) + 1) if c not in times]
                for count in missing:
                    spent = served_by if excuse[served_by] else None
                    if excuse[spent]:
                        excuse[spent] -= 1
                        explained += 1
                    else:
                        unexplained.append(f"{about}: count {count} never came, and no failed ask explains it")
                in_order = [ask.counted or 0 for ask in sorted(asks, key=by_number)]
                reordered += sum(a > b for a, b in pairwise(in_order))
        for text in unexplained:
            self.faults.add("unexplained counts", text)
        return Counts(unexplained, explained, reordered)

    def churn(self, failed: Counter[str]) -> None:
        """Judge whether kills and starts had their effect, and nothing failed without one."""
        if failed and not self.journal.churn:
            self.faults.add("asks failed in a run without churn", ", ".join(f"{k} {v}" for k, v in failed.items()))
        if not self.journal.members:
            return
        last = self.journal.members[max(self.journal.members)]
        alive = {name for providers in last.values() for name in providers}
        fate = {name: event for event, name in self.journal.churn}
        for name, event in fate.items():
            if (event == "started") != (name in alive):
                where = "not in" if event == "started" else "still in"
                self.faults.add("churn without effect", f"{name} was {event} and is {where} the last membership")

    def memo(self) -> tuple[bool | None, dict[str, list[int]] | None]:
        """Judge whether a balancer's memo only grows, from its samples and from which keys come again."""
        samples = self.journal.end.get("memo")
        if not samples:
            return None, None
        first: dict[str, int] = {}
        last: dict[str, int] = {}
        for ask in sorted(self.journal.asks, key=by_number):
            first.setdefault(ask.key, ask.n)
            last[ask.key] = ask.n
        begun, ended = sorted(first.values()), sorted(last.values())
        idle = []
        for sample in samples:
            coming_again = bisect_left(begun, sample["n"]) - bisect_left(ended, sample["n"])
            idle.append(max(0, sample["entries"] - coming_again))
        gone = [sample["gone"] for sample in samples]
        killed = any(event == "killed" for event, _ in self.journal.churn)
        rising = len(idle) > 1 and idle[-1] > idle[0] and all(a <= b for a, b in pairwise(idle))
        growing = rising and (gone[-1] > 0 or not killed)
        if growing:
            text = f"entries of keys never asked again {idle[0]} → {idle[-1]}, of gone providers {gone[0]} → {gone[-1]}"
            self.faults.add("growing memo", text)
        return growing, {"idle": [idle[0], idle[-1]], "gone": [gone[0], gone[-1]]}

    def trace(self, requests: Iterable[Request]) -> None:
        """Judge whether the asks are those of the trace, in its order."""
        prescribed = (ask for request in requests for ask in asks_of(request))
        for ask in sorted(self.journal.asks, key=by_number):
            want = next(prescribed, None)
            if want is None:
                self.faults.add("asks beyond the trace", str(ask))
            elif want != (ask.module, ask.key, ask.bytes_sent):
                self.faults.add("asks that are not the trace's", f"{ask}: the trace has {tuple(want)}")
        endless = self.journal.header.get("trace") is None
        if not endless and not self.journal.end.get("stopped_early") and next(prescribed, None) is not None:
            self.faults.add("trace not asked to its end", f"{len(self.journal.asks)} asks")


def check(records: Iterable[Mapping[str, Any]], trace_records: Iterable[Request] | None = None) -> Report:
    """Judge a journal, and compare its asks with a trace if one is given (an endless one may be).

    Args:
        records: the journal's records, in its order.
        trace_records: the requests that were replayed.

    Returns:
        The report; O(asks log asks), and 200 hashes for each provider that ever joined.
    """
    faults = Faults()
    journal = Journal(records, faults)
    referee = Referee(journal, faults)
    failed = Counter(ask.outcome for ask in journal.asks if not ask.ok)
    routing = referee.routing()
    counts = referee.counts()
    referee.churn(failed)
    growing, memo = referee.memo()
    if trace_records is not None:
        referee.trace(trace_records)
    answered = len(journal.asks) - failed.total()
    if not answered:
        faults.add("nothing was answered", f"{len(journal.asks)} asks")
    return Report(
        asks=len(journal.asks),
        answered=answered,
        failed=dict(failed),
        **routing._asdict(),
        counts_exact=not counts.unexplained if any(referee.keeps.values()) else None,
        explained=counts.explained,
        reordered=counts.reordered,
        memo_growing=growing,
        memo=memo,
        trace_compared=trace_records is not None,
        cache_entries=dict(journal.end.get("cache_entries") or {}),
        unexplained=counts.unexplained,
        may_have_run=[str(ask) for ask in journal.asks if ask.may_have_run],
        faults=faults.lines(),
    )


def describe(report: Report) -> str:
    """Tell a report to a person."""
    failed = ", ".join(f"{name} {count:,}" for name, count in report.failed.items())
    exact = {True: "exact", False: "WRONG", None: "not judged"}[report.counts_exact]
    lines = [
        f"asks {report.asks:,}, answered {report.answered:,}, failed {sum(report.failed.values()):,} ({failed or '-'})",
        f"misroutes {report.misroutes:,}, wrong owner {report.wrong_owner:,}",
        f"keys moved {report.moved_keys:,}, needless moves {report.needless_moves:,}",
        f"counts {exact}; missing ones explained by failed asks {report.explained:,}",
        f"the asks were {'' if report.trace_compared else 'not '}compared with the trace",
        *(f"wrong: {fault}" for fault in report.faults),
        f"verdict: {'right' if report.ok else 'wrong'}",
    ]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Check a journal file; return the exit code."""
    parser = argparse.ArgumentParser(description="Check the journal of samples.cluster.")
    parser.add_argument("--journal", required=True, help="the file that --journal of samples.cluster wrote")
    parser.add_argument("--trace", help="the access log that was replayed; without it, a synthetic trace is known")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    options = parser.parse_args(argv)
    try:
        records = list(read_journal(options.journal))
        requests: Iterable[Request] | None = AccessLog(options.trace) if options.trace else None
        header = records[0] if records else {}
        if requests is None and header.get("trace") is None and isinstance(header.get("seed"), int):
            requests = synthetic(header["seed"])
        report = check(records, requests)
    except (OSError, ValueError) as error:
        print(f"wrong: {error}", file=sys.stderr)
        return 1
    print(json.dumps(report.as_dict()) if options.json else describe(report))
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
