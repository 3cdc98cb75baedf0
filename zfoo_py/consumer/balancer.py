"""Which provider gets a packet: what a policy is and sees. The policies themselves are in `zfoo_py.consumer.policies`.

A balancer belongs to one service type and is owned by the ConsumerActor: every call comes from its turns, none may
block, and no lock is needed. A policy of one's own subclasses `Balancer` and defines ``pick``; ``on_up`` and
``on_down`` if it keeps something per provider. From the moment they have returned, no pick may answer otherwise than a
consumer that starts now.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any, ClassVar, Protocol

import msgspec

from zfoo_py.consumer.explain import Decision
from zfoo_py.consumer.hashing import Key, task_hash
from zfoo_py.consumer.in_flight import InFlight
from zfoo_py.consumer.key_cache import EvictionCause, MovedKey
from zfoo_py.consumer.ring import VIRTUAL_NODES, HashRing

__all__ = ["Balancer", "BalancerOptions", "BalancerStats", "Provider", "ServiceView", "any_of", "by_chance"]

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
        weight: its share, in parts of those of the others.
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
        "weight",
    )

    def __init__(
        self,
        ring_name: str,
        *,
        text: str = "",
        node_id: str = "",
        address: str = "",
        services: frozenset[tuple[str, str]] = frozenset(),
        weight: int = 1,
    ) -> None:
        self.ring_name = ring_name
        self.text = text or ring_name
        self.node_id = node_id
        self.address = address
        self.services = services
        self.weight = weight
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
        cumulative_weights: of the providers, in their order; empty if all are 1.
    """

    module: str
    providers: tuple[Provider, ...] = ()
    applied_version: int = 0
    cumulative_weights: tuple[int, ...] = ()

    def has_other_than(self, ring_name: str) -> bool:
        """Whether anybody but that provider can be picked; it may be gone already. O(1)."""
        providers = self.providers
        return len(providers) > 1 or (len(providers) == 1 and providers[0].ring_name != ring_name)

    def joined(self, provider: Provider, applied_version: int) -> ServiceView:
        """The view with one provider more, or with that one in place of another of its ring name. O(providers)."""
        others = [other for other in self.providers if other.ring_name != provider.ring_name]
        insort(others, provider, key=_ring_name)
        return self._with(tuple(others), applied_version)

    def left(self, provider: Provider, applied_version: int) -> ServiceView:
        """The view without the provider of that ring name. O(providers)."""
        return self.without(provider.ring_name, applied_version)

    def without(self, ring_name: str, applied_version: int) -> ServiceView:
        """The view without the provider of that ring name, if it is there. O(providers)."""
        others = tuple(other for other in self.providers if other.ring_name != ring_name)
        return self._with(others, applied_version)

    def _with(self, providers: tuple[Provider, ...], applied_version: int) -> ServiceView:
        weights = [provider.weight for provider in providers]
        is_even = len(weights) == sum(weights)
        return ServiceView(self.module, providers, applied_version, () if is_even else tuple(accumulate(weights)))


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
    """What a factory of balancers gets.

    Attributes:
        rng: the source of all randomness.
        max_entries, expire_after_access_s: bounds of a key cache, unless `named` says otherwise.
        virtual_nodes: points of a provider of weight 1; must be equal on all nodes.
        named: the ``options`` of the consumer, as they were written; checked for the policies of zfoo_py.
    """

    rng: Rng
    max_entries: int = MAX_ENTRIES
    expire_after_access_s: float = EXPIRE_AFTER_ACCESS_S
    virtual_nodes: int = VIRTUAL_NODES
    named: Mapping[str, Any] = {}


class Balancer:
    """Base of every policy.

    Attributes:
        needs_key: an ask that omits its key is a MissingKeyError (one that says ``key=None`` is not).
        is_guarded: whether `zfoo_py.consumer.policies.user_policy` stands before it; False only in the class itself.
        keeps_keys: whether a key's asks belong to the provider picked, which may hold its state: one that is overloaded
            is asked once more after a pause, and no other one. False: another one is.
        counts_in_flight: whether `in_flight` is to be kept; it costs each ask a callback.
        in_flight: the asks that its picks have on the way.
    """

    needs_key: ClassVar[bool] = True
    is_guarded: ClassVar[bool] = True
    keeps_keys: ClassVar[bool] = True
    counts_in_flight: ClassVar[bool] = False
    in_flight: InFlight[Provider]

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

    def on_weight(self, provider: Provider) -> None:
        """A provider that is there has another weight now. The default: it leaves and comes again."""
        self.on_down(provider)
        self.on_up(provider)

    def follows(self, view: ServiceView) -> bool:  # noqa: ARG002
        """Whether it knows exactly the providers of the view; what the watchdog asks once a second. O(providers)."""
        return True

    def route(self, view: ServiceView, key: Key | None) -> tuple[Provider | None, int | None]:
        """The pick and the key's lane (None without key); what the ConsumerActor calls for every ask."""
        return self.pick(view, key), None if key is None else task_hash(key)

    def route_around(self, view: ServiceView, key: Key | None, refused: str) -> tuple[Provider | None, int | None]:
        """As `route`, after the provider of that ring name said that it does not serve this type; remembers nothing."""
        others = view.without(refused, view.applied_version)
        provider, lane = self.route(others, key)
        if provider is not None and provider.ring_name == refused:
            provider = others.providers[0] if others.providers else None
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


def any_of(view: ServiceView, random: Callable[[], float]) -> Provider | None:
    """A provider by chance, each with its weight; None if there is none. O(1), with weights O(log providers)."""
    providers, weights = view.providers, view.cumulative_weights
    if not weights:
        return providers[int(random() * len(providers))] if providers else None
    return providers[bisect_right(weights, int(random() * weights[-1]))]


def by_chance(view: ServiceView, step: str) -> Decision:
    """What a policy that draws its provider says of its picks."""
    return Decision(None, (step,), is_certain=not view.providers)


def _ring_name(provider: Provider) -> str:
    return provider.ring_name
