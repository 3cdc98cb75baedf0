"""Models of zfoo's consumer: how Java routes a packet, fault by fault, as of January 2024 and as of today.

Written after zfoo.md sections 6, 13 and 14, so that tests can show each fault and that zfoo_py does not have it. Names
are Java's where Java has one. Not modelled: threads and locks, which have no part in any of the faults; and that the
ring of January 2024 wrapped around behind its last point, which is a choice and no fault.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

from zfoo_py.consumer.hashing import fnv_hash, key_text, point_hashes

__all__ = ["CachedConsistentHash", "ConsistentHash", "JavaConsumer", "JavaSession", "LazyCache", "Memory2024", "Random"]

LONG = 1 << 64


@dataclass(eq=False)
class JavaSession:
    """A client session with the Register of the node it leads to.

    Attributes:
        provider_modules: (module, provider name) in the order in which the register lists them.
        is_active: the channel is open. A closed one stays in the session map until its handler has run.
    """

    sid: int
    register: str
    provider_modules: tuple[tuple[str, str], ...]
    is_active: bool = True


def to_long(number: float) -> int:
    """Java's Number.longValue(): fractions are cut, and 64 bits are kept."""
    return (int(number) + LONG // 2) % LONG - LONG // 2


def is_number(argument: object) -> bool:
    """Whether Java would have a Number; its Boolean is none."""
    return isinstance(argument, (int, float)) and not isinstance(argument, bool)


class Random:
    """RandomConsumerLoadBalancer."""

    def __init__(self, seed: int = 1) -> None:
        self.rng = random.Random(seed)

    def load_balancer(self, _: JavaConsumer, providers: list[JavaSession], __: str, ___: object) -> JavaSession:
        return self.rng.choice(providers)


class ConsistentHash:
    """ConsistentHashLoadBalancer: a ring per module, built anew whenever the set of session ids has changed."""

    def __init__(self) -> None:
        self.rings: dict[str, tuple[set[int], list[int], dict[int, str]]] = {}
        self.hashed = 0
        self.rng = random.Random(1)

    def load_balancer(
        self, consumer: JavaConsumer, providers: list[JavaSession], module: str, argument: object
    ) -> JavaSession:
        if argument is None:
            return self.rng.choice(providers)
        sids = {session.sid for session in providers}
        consumer.visited += len(providers)  # it compares every id
        if self.rings.get(module, ((), (), ()))[0] != sids:
            owners = {}
            for register in sorted(session.register for session in providers):
                owners |= dict.fromkeys(point_hashes(register, 200), register)
            self.rings[module] = sids, sorted(owners), owners
        self.hashed += 1
        _, points, owners = self.rings[module]
        at = bisect_left(points, fnv_hash(key_text(argument)))  # type: ignore[arg-type]
        register = owners[points[min(at, len(points) - 1)]]
        consumer.visited += len(providers)  # and looks for the session in the list
        return next(session for session in providers if session.register == register)


class Memory2024(ConsistentHash):
    """ConsistentHashOfMemoryConsumerLoadBalancer, pull request 86: the leak of issue 87."""

    def __init__(self) -> None:
        super().__init__()
        self.memory: dict[int, int] = {}  # static in Java, one for all modules: Long argument → sid

    def load_balancer(
        self, consumer: JavaConsumer, providers: list[JavaSession], module: str, argument: object
    ) -> JavaSession:
        if type(argument) is not int:
            return super().load_balancer(consumer, providers, module, argument)
        sid = self.memory.get(argument)
        if sid is not None:
            session = consumer.sessions.get(sid)
            if session is not None:
                return session
            del self.memory[argument]
        session = super().load_balancer(consumer, providers, module, argument)
        self.memory[argument] = session.sid
        return session


class CachedConsistentHash(ConsistentHash):
    """CachedConsistentHashLoadBalancer, as of today: the repair, with a LazyCache for number << 8 | module id → sid."""

    def __init__(self, now_s: list[float], capacity: int = 100_000) -> None:
        super().__init__()
        self.cache = LazyCache(now_s, capacity)

    def load_balancer(
        self, consumer: JavaConsumer, providers: list[JavaSession], module: str, argument: object
    ) -> JavaSession:
        if not is_number(argument):
            return super().load_balancer(consumer, providers, module, argument)
        key = to_long((to_long(argument) << 8) | consumer.modules[module])  # type: ignore[arg-type]
        sid = self.cache.get(key)
        if sid is not None:
            session = consumer.sessions.get(sid)  # neither active nor of this module, nor in the list it was given
            if session is not None:
                return session
        session = super().load_balancer(consumer, providers, module, argument)
        self.cache.put(key, session.sid)
        return session


class LazyCache:
    """zfoo's LazyCache: expires 10 minutes after access, swept at most every 5 minutes, inline on the caller."""

    EXPIRE_S, SWEEP_S, BACK_PRESSURE = 600.0, 300.0, 1.13

    def __init__(self, now_s: list[float], capacity: int) -> None:
        self.now_s = now_s  # a clock: [seconds]
        self.capacity = capacity
        self.entries: dict[int, list[float]] = {}  # key → [expires at, sid]
        self.swept_at_s = now_s[0]
        self.longest_pass = 0

    def get(self, key: int) -> int | None:
        self._expire()
        entry = self.entries.get(key)
        if entry is None:
            return None
        if entry[0] < self.now_s[0]:
            del self.entries[key]
            return None
        entry[0] = self.now_s[0] + self.EXPIRE_S
        return int(entry[1])

    def put(self, key: int, sid: int) -> None:
        self._expire()
        self.entries[key] = [self.now_s[0] + self.EXPIRE_S, sid]
        if len(self.entries) > self.capacity * self.BACK_PRESSURE:
            self.longest_pass = max(self.longest_pass, len(self.entries))
            oldest = sorted(self.entries, key=lambda known: self.entries[known][0])
            for known in oldest[: len(oldest) - self.capacity]:
                del self.entries[known]

    def _expire(self) -> None:
        if self.now_s[0] < self.swept_at_s + self.SWEEP_S:
            return
        self.swept_at_s = self.now_s[0]
        self.longest_pass = max(self.longest_pass, len(self.entries))
        self.entries = {key: entry for key, entry in self.entries.items() if entry[0] >= self.now_s[0]}


@dataclass
class JavaConsumer:
    """Consumer and ConsumerSession: finds the providers, chooses the balancer, routes.

    Attributes:
        modules: module → id.
        policies: provider name → balancer, the consumers of the configuration.
        sessions: the session map.
        visited: how many sessions and modules were looked at.
    """

    modules: dict[str, int]
    policies: dict[str, Random | ConsistentHash]
    sessions: dict[int, JavaSession] = field(default_factory=dict)
    visited: int = 0

    def connect(self, sid: int, register: str, *provider_modules: tuple[str, str]) -> JavaSession:
        """Open a session."""
        self.sessions[sid] = JavaSession(sid, register, provider_modules)
        return self.sessions[sid]

    def route(self, module: str, argument: object) -> JavaSession:
        """Return the session that a packet of a module goes to."""
        providers = self.find_providers(module)
        if not providers:
            raise LookupError(f"has no service {module}")
        return self.load_balancer(providers).load_balancer(self, providers, module, argument)

    def find_providers(self, module: str) -> list[JavaSession]:
        """Walk all sessions, in the order of the map's 16 buckets."""
        found = []
        for sid in self.bucket_order():
            session = self.sessions[sid]
            self.visited += len(session.provider_modules)
            if any(name == module for name, _ in session.provider_modules):
                found.append(session)
        return found

    def bucket_order(self) -> Iterator[int]:
        """Return the sids as Java's map iterates over them."""
        for bucket in range(16):
            yield from (sid for sid in self.sessions if sid & 15 == bucket)

    def load_balancer(self, providers: list[JavaSession]) -> Random | ConsistentHash:
        """Take the first provider name of any of these sessions that the configuration knows, of whatever module."""
        for session in providers:
            for _, provider in session.provider_modules:
                if provider in self.policies:
                    return self.policies[provider]
        raise LookupError("no consumer is configured for any of these providers")
