"""Which provider gets a packet: one small class per policy, chosen by name for each service type.

A balancer belongs to one service type and is owned by the ConsumerActor: every call comes from its turns, none may
block, and no lock is needed. A policy of one's own subclasses `Balancer` and defines ``pick``; ``on_up`` and
``on_down`` if it keeps something per provider. From the moment they have returned, no pick may answer otherwise than a
consumer that starts now.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Mapping
from math import ceil
from typing import ClassVar, Protocol

import msgspec

from zfoo_py.consumer.explain import Decision, on_ring
from zfoo_py.consumer.hashing import Key, cache_key, fnv_hash, task_hash
from zfoo_py.consumer.key_cache import Entry, EvictionCause, KeyCache, MovedKey
from zfoo_py.consumer.ring import VIRTUAL_NODES, HashRing

__all__ = [
    "BALANCERS",
    "DEFAULT_BALANCER",
    "Balancer",
    "BalancerOptions",
    "BalancerStats",
    "CachedConsistentHashBalancer",
    "ConsistentHashBalancer",
    "Provider",
    "RandomBalancer",
    "ServiceView",
]

# zfoo's limits: 100,000 keys take about 25 MB, and a visitor who returns within ten minutes is still known.
MAX_ENTRIES = 100_000
EXPIRE_AFTER_ACCESS_S = 600.0


class Rng(Protocol):
    """What a policy needs of `random.Random`."""

    def random(self) -> float:
        """A number in [0, 1)."""


class Provider:
    """A registration as a consumer sees it, with the sessions that reach it. Only the ConsumerActor changes it.

    Two providers are the same if their ring names are; a balancer may hold on to it until ``on_down``.

    Attributes:
        ring_name: its identity, and what the ring hashes.
        text: its registration as announced.
        node_id: the node's id.
        address: ``host:port``.
        services: (module, provider name) of everything it offers.
        sessions: (sid, ref) of the live sessions, oldest first.
        session: ref of the oldest live session, or None.
        picked, gap, countdown: counts picks; see `picks` and `zfoo_py.consumer.observer`.
    """

    __slots__ = (
        "address",
        "countdown",
        "gap",
        "node_id",
        "picked",
        "ring_name",
        "services",
        "session",
        "sessions",
        "text",
    )

    def __init__(
        self,
        ring_name: str,
        *,
        text: str = "",
        node_id: str = "",
        address: str = "",
        services: frozenset[tuple[str, str]] = frozenset(),
    ) -> None:
        self.ring_name = ring_name
        self.text = text or ring_name
        self.node_id = node_id
        self.address = address
        self.services = services
        self.sessions: list[tuple[int, object]] = []
        self.session: object = None
        self.picked = 0  # up to the last sampled pick
        self.gap = 1  # picks from that one to the next sampled one; the first pick is sampled
        self.countdown = 1  # what is left of them

    @property
    def picks(self) -> int:
        """How often it was picked since it came."""
        return self.picked + self.gap - self.countdown

    @property
    def modules(self) -> tuple[str, ...]:
        """The names of its modules, sorted."""
        return tuple(sorted({module for module, _ in self.services}))

    def add_session(self, sid: int, ref: object) -> bool:
        """A session to it is ready; True if it is the first. A sid that is known already changes nothing."""
        if any(known == sid for known, _ in self.sessions):
            return False
        self.sessions.append((sid, ref))
        self.session = self.sessions[0][1]
        return len(self.sessions) == 1

    def drop_session(self, sid: int) -> bool:
        """A session is lost; True if it was the last. A sid that is not known changes nothing."""
        left = [session for session in self.sessions if session[0] != sid]
        was_last = bool(self.sessions) and not left
        self.sessions = left
        self.session = left[0][1] if left else None
        return was_last

    def __repr__(self) -> str:
        return f"<Provider {self.ring_name!r}, {len(self.sessions)} sessions>"


class ServiceView(msgspec.Struct, frozen=True, eq=False):
    """What a policy may see of its service type. A change makes a new view.

    Attributes:
        module: name of the protocol module.
        providers: those with a live session, sorted by ring name.
        applied_version: the last membership version handled.
    """

    module: str
    providers: tuple[Provider, ...] = ()
    applied_version: int = 0

    def joined(self, provider: Provider, applied_version: int) -> ServiceView:
        """The view with one provider more, or with that one in place of another of its ring name. O(providers)."""
        others = [other for other in self.providers if other.ring_name != provider.ring_name]
        insort(others, provider, key=_ring_name)
        return ServiceView(self.module, tuple(others), applied_version)

    def left(self, provider: Provider, applied_version: int) -> ServiceView:
        """The view without the provider of that ring name. O(providers)."""
        others = tuple(other for other in self.providers if other.ring_name != provider.ring_name)
        return ServiceView(self.module, others, applied_version)


class BalancerStats(msgspec.Struct, frozen=True, kw_only=True):
    """What a balancer has counted since it was made; what a policy does not have is 0.

    Attributes:
        entries, estimated_bytes, unswept: of the key cache now.
        hits, misses: picks with a key of which the cache knew the owner, or not.
        moved_keys: keys whose owner changed while they were remembered.
        evictions: cause → count; see `zfoo_py.consumer.key_cache`.
        ring_points, points_version: of the ring.
        max_entries: the policy's own bound; 0: it names none, and is held to the node's ``max_cache_entries``.
        gone_entries: entries of providers that are gone, which should have been swept by now.
        idle_entries: entries nobody asked for in twice the node's ``expire_after_access_s``.
        inspected: entries the sweep or the clock hand has looked at, ever; -1: the policy has neither.
    """

    entries: int = 0
    estimated_bytes: int = 0
    unswept: int = 0
    hits: int = 0
    misses: int = 0
    moved_keys: int = 0
    evictions: dict[EvictionCause, int] = {}
    ring_points: int = 0
    points_version: int = 0
    max_entries: int = 0
    gone_entries: int = 0
    idle_entries: int = 0
    inspected: int = -1


class BalancerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a factory in `BALANCERS` gets. `rng` is the source of all randomness."""

    rng: Rng
    max_entries: int = MAX_ENTRIES
    expire_after_access_s: float = EXPIRE_AFTER_ACCESS_S
    virtual_nodes: int = VIRTUAL_NODES


class Balancer:
    """Base of every policy.

    Attributes:
        needs_key: an ask that omits its key is a MissingKeyError (one that says ``key=None`` is not).
    """

    needs_key: ClassVar[bool] = True

    @property
    def ring(self) -> HashRing | None:
        """The ring it asks, for reading only; None for a policy without one."""
        return None

    def pick(self, view: ServiceView, key: Key | None) -> Provider | None:
        """One of ``view.providers`` for this key, or None if there is none; ``key=None``: any."""
        raise NotImplementedError(f"{type(self).__qualname__} must define pick(view, key)")

    def on_up(self, provider: Provider) -> None:
        """A provider has its first session: it may be picked from now on."""

    def on_down(self, provider: Provider) -> None:
        """A provider lost its last session: it must not be picked any more."""

    def follows(self, view: ServiceView) -> bool:  # noqa: ARG002
        """Whether it knows exactly the providers of the view; what the watchdog asks once a second. O(providers)."""
        return True

    def route(self, view: ServiceView, key: Key | None) -> tuple[Provider | None, int | None]:
        """The pick and the key's lane (None without key); what the ConsumerActor calls for every ask."""
        return self.pick(view, key), None if key is None else task_hash(key)

    def route_around(self, view: ServiceView, key: Key | None, refused: str) -> tuple[Provider | None, int | None]:
        """As `route`, after the provider of that ring name said that it does not serve this type; remembers nothing."""
        others = tuple(provider for provider in view.providers if provider.ring_name != refused)
        provider, lane = self.route(msgspec.structs.replace(view, providers=others), key)
        if provider is not None and provider.ring_name == refused:
            provider = others[0] if others else None
        return provider, lane

    def tick(self, now_s: int) -> None:
        """About once a second: whole seconds on the node's monotonic clock. O(1); `sweep` follows."""

    def sweep(self, budget_entries: int) -> bool:  # noqa: ARG002
        """After a change and after a tick, again and again until True: do a bounded piece of the clean-up."""
        return True

    def explain(self, view: ServiceView, key: Key | None) -> Decision:  # noqa: ARG002
        """What `pick` would answer now, and why. Must change nothing: no counter, no access time, no random draw."""
        return Decision(None, (f"the policy {type(self).__qualname__} does not explain itself",), is_certain=False)

    def observe(self, moved: MovedKey) -> None:
        """Be told whom to call for each remembered key whose owner has changed; a policy without cache has none."""

    def stats(self) -> BalancerStats:
        """The counters now. O(1)."""
        return BalancerStats()


class RandomBalancer(Balancer):
    """Any provider, uniformly; a key only chooses the lane."""

    needs_key = False

    def __init__(self, rng: Rng) -> None:
        self._random = rng.random

    def pick(self, view: ServiceView, key: Key | None) -> Provider | None:  # noqa: ARG002
        """O(1)."""
        return _any_of(view.providers, self._random)

    def explain(self, view: ServiceView, key: Key | None) -> Decision:  # noqa: ARG002
        """By chance; the key does not matter."""
        return _by_chance(view, "the policy takes any provider, whatever the key")


class ConsistentHashBalancer(Balancer):
    """The ring's owner of the key, as in Java zfoo; any provider for ``key=None``.

    Args:
        rng: for asks without key.
        virtual_nodes: must be equal on all nodes.
    """

    def __init__(self, rng: Rng, *, virtual_nodes: int = VIRTUAL_NODES) -> None:
        self._random = rng.random
        self._ring = HashRing(virtual_nodes)
        self._providers: dict[str, Provider] = {}  # exactly those in the ring

    @property
    def ring(self) -> HashRing:
        """The ring, for reading only."""
        return self._ring

    def on_up(self, provider: Provider) -> None:
        """Raises ValueError if a provider of that ring name is in the ring; nothing has changed then."""
        self._ring.add(provider.ring_name)
        self._providers[provider.ring_name] = provider

    def on_down(self, provider: Provider) -> None:
        """Raises ValueError if no provider of that ring name is in the ring; nothing has changed then."""
        self._ring.remove(provider.ring_name)
        del self._providers[provider.ring_name]

    def follows(self, view: ServiceView) -> bool:
        """Whether the ring holds exactly the view's providers."""
        known = self._providers
        return len(known) == len(view.providers) and all(known.get(one.ring_name) is one for one in view.providers)

    def pick(self, view: ServiceView, key: Key | None) -> Provider | None:
        """O(length of the key + log points)."""
        if key is None:
            return _any_of(view.providers, self._random)
        return self._owner_of_hash(fnv_hash(key))

    def route_around(self, view: ServiceView, key: Key | None, refused: str) -> tuple[Provider | None, int | None]:
        """To the one who would own the key if that provider were gone."""
        if key is None:
            return super().route_around(view, key, refused)
        owners = (name for name in self._ring.walk(fnv_hash(key)) if name != refused)
        return self._providers.get(next(owners, "")), task_hash(key)

    def _owner_of_hash(self, key_hash: int) -> Provider | None:
        name = self._ring.owner_of_hash(key_hash)
        return None if name is None else self._providers[name]

    def explain(self, view: ServiceView, key: Key | None) -> Decision:
        """By the ring."""
        if key is None:
            return _by_chance(view, "without a key the policy takes any provider")
        return on_ring(self._ring, self._providers, fnv_hash(key))

    def stats(self) -> BalancerStats:
        """The ring's."""
        return BalancerStats(ring_points=len(self._ring), points_version=self._ring.points_version)


class CachedConsistentHashBalancer(ConsistentHashBalancer):
    """`ConsistentHashBalancer`, remembering keys: the same picks, four times as fast for a key seen before.

    Args:
        rng: for asks without key.
        max_entries: keys remembered at most.
        expire_after_access_s: a key not asked for so long is forgotten (resolution: a second).
        virtual_nodes: must be equal on all nodes.
    """

    def __init__(
        self,
        rng: Rng,
        *,
        max_entries: int = MAX_ENTRIES,
        expire_after_access_s: float = EXPIRE_AFTER_ACCESS_S,
        virtual_nodes: int = VIRTUAL_NODES,
    ) -> None:
        super().__init__(rng, virtual_nodes=virtual_nodes)
        self._cache: KeyCache[Provider] = KeyCache(
            self._ring, self._providers, max_entries=max_entries, expire_after_ticks=max(1, ceil(expire_after_access_s))
        )
        self._get_entry = self._cache.entries.get

    @property
    def cache(self) -> KeyCache[Provider]:
        """For reading only."""
        return self._cache

    def on_up(self, provider: Provider) -> None:
        """The ring changes here; entries follow when they are picked or swept."""
        super().on_up(provider)
        self._cache.ring_changed()

    def on_down(self, provider: Provider) -> None:
        """The ring changes here; with the last provider all entries go."""
        super().on_down(provider)
        self._cache.ring_changed()
        self._get_entry = self._cache.entries.get

    def pick(self, view: ServiceView, key: Key | None) -> Provider | None:
        """O(1) for a key that is remembered."""
        return self.route(view, key)[0]

    def route(self, view: ServiceView, key: Key | None) -> tuple[Provider | None, int | None]:
        """As `Balancer.route`; a remembered key is hashed neither for the ring nor for the lane."""
        kind = key.__class__
        if kind is str or kind is int:
            entry = self._get_entry(key)  # type: ignore[arg-type]
        elif key is None:
            return _any_of(view.providers, self._random), None
        else:
            entry = self._get_entry(cache_key(key))
        if entry is None:
            return self._remember(key)  # type: ignore[arg-type]
        cache = self._cache
        if entry.checked == cache.version and entry.tick >= cache.oldest_tick:
            entry.tick = cache.now_tick
            cache.hits += 1
            return entry.provider, entry.lane
        return cache.renew(entry), entry.lane

    def _remember(self, key: Key) -> tuple[Provider | None, int | None]:
        key_hash = fnv_hash(key)
        lane = task_hash(key)
        provider = self._owner_of_hash(key_hash)
        if provider is not None:
            self._cache.put(cache_key(key), provider, key_hash, lane)
        return provider, lane

    def entry(self, key: Key) -> Entry[Provider] | None:
        """What is remembered of a key; counts and touches nothing."""
        return self._cache.entries.get(cache_key(key))

    def explain(self, view: ServiceView, key: Key | None) -> Decision:
        """By the ring, which a pick does not always ask."""
        decision = super().explain(view, key)
        if key is None:
            return decision
        cached, step = self._cache.explain(cache_key(key))
        return msgspec.structs.replace(decision, because=(step, *decision.because), cached=cached)

    def observe(self, moved: MovedKey) -> None:
        """Each key that a pick or the sweep finds to have moved."""
        self._cache.moved = moved

    def tick(self, now_s: int) -> None:
        """Says how far the cache's clock hand has to go."""
        self._cache.tick(now_s)

    def sweep(self, budget_entries: int) -> bool:
        """Moves and evicts what the last changes of the ring left behind, and what nobody asks for."""
        return self._cache.sweep(budget_entries)

    def stats(self) -> BalancerStats:
        """The ring's and the cache's."""
        cache = self._cache
        return BalancerStats(
            entries=len(cache),
            estimated_bytes=cache.estimated_bytes,
            unswept=cache.unswept,
            hits=cache.hits,
            misses=cache.misses,
            moved_keys=cache.moved_keys,
            evictions=dict(cache.evictions),
            ring_points=len(self._ring),
            points_version=self._ring.points_version,
            max_entries=cache.max_entries,
            inspected=cache.inspected,
        )


def _any_of(providers: tuple[Provider, ...], random: Callable[[], float]) -> Provider | None:
    return providers[int(random() * len(providers))] if providers else None


def _by_chance(view: ServiceView, step: str) -> Decision:
    return Decision(None, (step,), is_certain=not view.providers)


def _ring_name(provider: Provider) -> str:
    return provider.ring_name


BALANCERS: Mapping[str, Callable[[BalancerOptions], Balancer]] = {
    "random": lambda options: RandomBalancer(options.rng),
    "consistent-hash": lambda options: ConsistentHashBalancer(options.rng, virtual_nodes=options.virtual_nodes),
    "cached-consistent-hash": lambda options: CachedConsistentHashBalancer(
        options.rng,
        max_entries=options.max_entries,
        expire_after_access_s=options.expire_after_access_s,
        virtual_nodes=options.virtual_nodes,
    ),
}
DEFAULT_BALANCER = "cached-consistent-hash"
