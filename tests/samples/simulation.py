"""A cluster that does everything right, in memory, and writes its journal; and tools to make it lie."""

import copy
from collections import Counter
from itertools import islice
from random import Random

from samples.check_cluster import Ring
from samples.trace import asks_of, synthetic


class Simulation:
    """The true cluster."""

    def __init__(self, requests, *, concurrency=8, balancer="cached-consistent-hash", trace=None, seed=5):
        self.asks = [ask for request in requests for ask in asks_of(request)]
        self.random = Random(seed)
        self.keeps = balancer != "random"
        modules = {"visits": 3, "sessions": 2, "pages": 2}
        self.members = {
            m: [self.provider(f"{m}-{i}", m, 9000 + 10 * j + i) for i in range(1, n + 1)]
            for j, (m, n) in enumerate(modules.items())
        }
        self.journal = [
            {"kind": "header", "seed": seed, "trace": trace, "balancer": balancer}
            | {"balancers": dict.fromkeys(modules, balancer), "keeps_keys": dict.fromkeys(modules, self.keeps)}
        ]
        self.concurrency = concurrency
        self.version = 0
        self.counts = Counter()
        self.rings = {}
        self.begun = 0
        self.flying = []
        self.change()

    @staticmethod
    def provider(name, module, port):
        return {"ring_name": f"{name} | 127.0.0.1:{port} | provider:[{module}-{module}]", "served_by": name}

    def change(self):
        """Begin a membership version."""
        self.version += 1
        members = copy.deepcopy(self.members)
        self.journal.append({"kind": "membership", "version": self.version, "modules": members})
        for module, providers in members.items():
            names = {p["ring_name"]: p["served_by"] for p in providers}
            self.rings[module] = Ring(names), names

    def run(self, asks):
        """Ask the next so many, several at once, and complete them in any order."""
        for module, key, size in self.asks[self.begun : self.begun + asks]:
            ring, names = self.rings[module]
            served_by = names[ring.owner(key)] if self.keeps else self.random.choice(sorted(names.values()))
            self.counts[module, key, served_by] += 1
            count = self.counts[module, key, served_by]
            ask = {"kind": "ask", "n": self.begun, "module": module, "key": key, "bytes": size, "version": self.version}
            self.flying.append(ask | {"served_by": served_by, "count": count, "outcome": "ok", "may_have_run": None})
            self.begun += 1
            if len(self.flying) >= self.concurrency:
                self.complete()

    def complete(self):
        self.journal.append(self.flying.pop(self.random.randrange(len(self.flying))))

    def kill(self, module, index):
        """Kill a provider: what it has in flight is lost, each ask may have run."""
        (gone,) = self.members[module][index : index + 1]
        self.members[module].remove(gone)
        self.journal.append({"kind": "churn", "event": "killed", **gone})
        for ask in self.flying:
            if ask["served_by"] == gone["served_by"]:
                ask.update(count=None, outcome="SessionClosedError", may_have_run=True)
        self.change()

    def start(self, module, name):
        self.members[module].append(self.provider(name, module, 9999))
        self.journal.append({"kind": "churn", "event": "started", **self.members[module][-1]})
        self.change()

    def end(self, **more):
        while self.flying:
            self.complete()
        self.journal.append({"kind": "end", "asks": self.begun, "cache_entries": {"visits": 3}, "memo": None} | more)
        return self.journal


REQUESTS = list(islice(synthetic(5), 600))


def quiet(**options):
    """Return the journal of a run without churn."""
    simulation = Simulation(REQUESTS, **options)
    simulation.run(1800)
    return simulation.end()


def churning():
    """Return the journal of a run in which visits-1 is killed and visits-4 joins."""
    simulation = Simulation(REQUESTS, concurrency=32)
    simulation.run(600)
    simulation.kill("visits", 0)
    simulation.run(600)
    simulation.start("visits", "visits-4")
    simulation.run(600)
    return simulation.end()


def asks(journal, **like):
    """Return the ask records with these values."""
    return [r for r in journal if r["kind"] == "ask" and all(r[name] == value for name, value in like.items())]


def fail(ask, error="AskTimeoutError", *, may_have_run=True):
    ask.update(outcome=error, count=None, may_have_run=may_have_run)


def busy_asks(journal, **like):
    """Return the answered asks of the busiest (module, key, provider), in order of their counts."""
    found = asks(journal, outcome="ok", **like)
    (who, _) = Counter((r["module"], r["key"], r["served_by"]) for r in found).most_common(1)[0]
    return sorted((r for r in found if (r["module"], r["key"], r["served_by"]) == who), key=lambda r: r["count"])
