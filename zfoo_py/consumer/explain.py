"""Why a key goes where it goes: what `Consumer.explain` and ``zfoo-py route`` answer.

A policy says what it would do in a `Decision` (`Balancer.explain`), which changes nothing: no counter, no access time,
no draw of a random number. `explanation` adds who that is and at which versions, as plain values that can be printed,
sent and compared.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import UUID

import msgspec

from zfoo_py.consumer.hashing import cache_key, fnv_hash, key_text, kind_and_text, task_hash
from zfoo_py.consumer.ring import HASHES
from zfoo_py.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zfoo_py.consumer.balancer import Provider, ServiceView
    from zfoo_py.consumer.hashing import Key
    from zfoo_py.consumer.ring import HashRing

__all__ = [
    "KEY_KINDS",
    "CachedKey",
    "Decision",
    "Explanation",
    "RingPoint",
    "Whom",
    "explanation",
    "on_ring",
    "printable",
    "read_key",
]

# The heirs that an explanation names: enough to see where a key goes when two nodes restart one after the other.
HEIRS: Final = 3


class RingPoint(msgspec.Struct, frozen=True):
    """The point of the ring that decides.

    Attributes:
        point: where it lies, 0 … 2^31 - 1.
        virtual_node: which of its owner's points it is, from 0.
        points_of_owner, points: how many the owner has, and the ring.
        is_past_the_end: the key lies beyond the last point, and so belongs to the last one (zfoo clamps).
    """

    point: int
    virtual_node: int
    points_of_owner: int
    points: int
    is_past_the_end: bool


class CachedKey(msgspec.Struct, frozen=True):
    """What a key cache knows of a key.

    Attributes:
        state: "fresh" (a pick takes it as it is), "outdated" (the ring has changed since: a pick asks the ring),
            "expired" (a pick asks the ring), "absent", or "unknown": nobody looked into a cache.
        checked_version: the ring's points version at which its owner was looked up last.
        idle_s: seconds since the last pick, to the second.
        owner: ring name of the provider in the entry.
    """

    state: Literal["fresh", "outdated", "expired", "absent", "unknown"]
    checked_version: int = 0
    idle_s: int = 0
    owner: str = ""


class Decision(msgspec.Struct, frozen=True, eq=False):
    """What a policy would do with a key now, and why.

    Attributes:
        owner: who would be picked; None: nobody, or (``is_certain`` False) chance decides.
        because: its steps, in words.
        heirs: ring names of those who follow if the owner leaves, in order.
        is_certain: whether a pick right now would certainly give ``owner``.
        point: of a policy with a ring.
        cached: of a policy with a key cache; None: it has none.
    """

    owner: Provider | None
    because: tuple[str, ...]
    heirs: tuple[str, ...] = ()
    is_certain: bool = True
    point: RingPoint | None = None
    cached: CachedKey | None = None


class Whom(msgspec.Struct, frozen=True):
    """A provider, as plain values. `sessions`: how many reach it from here."""

    ring_name: str
    node_id: str = ""
    address: str = ""
    sessions: int = 0

    def __str__(self) -> str:
        if not self.node_id:
            return self.ring_name
        return f"{self.node_id} at {self.address}" if self.address else self.node_id


class Explanation(msgspec.Struct, frozen=True):
    """Where a key goes, and why. `str()` is for people, `as_dict` for programs.

    Attributes:
        module, group, policy: of the service type.
        key, key_kind: the key's text and kind; None for ``key=None``.
        hash: where the key lies on the ring.
        lane: its lane at the provider.
        owner: who would be picked now; None: nobody, or chance decides (``is_certain`` False).
        is_certain, because, point, cached: as in `Decision`.
        heirs: who follows if the owner leaves, in order.
        providers: how many there are.
        points_version: of the ring; changes with its points.
        applied_version: the last membership version handled.
    """

    module: str
    group: str
    policy: str
    key: str | None
    key_kind: str | None
    hash: int | None
    lane: int | None
    owner: Whom | None
    is_certain: bool
    because: tuple[str, ...]
    point: RingPoint | None
    cached: CachedKey | None
    heirs: tuple[Whom, ...]
    providers: int
    points_version: int
    applied_version: int

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return found

    def __str__(self) -> str:
        return "\n".join([self._headline(), *(f"  {name:<11}{text}" for name, text in self._rows())])

    def _headline(self) -> str:
        subject = "without key" if self.key is None else f"key {self.key!r} ({self.key_kind})"
        if self.owner is not None:
            whom = str(self.owner) if self.is_certain else f"{self.owner}, probably"
        elif self.providers:
            whom = f"any of {self.providers} providers"
        else:
            whom = "nobody: no provider serves it"
        return f"{self.module}, {subject} → {whom}"

    def _rows(self) -> list[tuple[str, str]]:
        rows = []
        if self.owner is not None:
            rows.append(("ring name", self.owner.ring_name))
        if self.hash is not None and self.point is not None:
            rows.append(("hash", f"{self.hash} ({100 * self.hash / HASHES:.1f} % of the way round)"))
            rows.append(("ring point", self._point(self.point)))
        rows.append(("cached", self._cached()))
        if self.heirs:
            rows.append(("next", ", then ".join(map(str, self.heirs)) + " (if it leaves)"))
        rows.append(("policy", self.policy))
        rows += [("", f"· {step}") for step in self.because]
        if self.lane is not None:
            rows.append(("lane", str(self.lane)))
        ring = f"ring {self.points_version}, " if self.point is not None else ""
        if self.cached is not None and self.cached.state == "unknown":
            return [*rows, ("versions", "those of the node that asks are unknown, too")]
        rows.append(("versions", f"{ring}membership {self.applied_version}"))
        return rows

    def _point(self, at: RingPoint) -> str:
        where = "the last one; the key lies beyond it" if at.is_past_the_end else "the first at or after the hash"
        return f"{at.point}, {where}: virtual node {at.virtual_node} of {at.points_of_owner} (ring: {at.points})"

    def _cached(self) -> str:
        cached = self.cached
        if cached is None:
            return "this policy has no key cache"
        if cached.state == "unknown":
            return "cache unknown (computed, not asked of a running node)"
        if cached.state == "absent":
            return "no"
        what = {"fresh": "yes", "outdated": "yes, outdated", "expired": "expired"}[cached.state]
        return f"{what}: checked at ring {cached.checked_version}, last asked for {cached.idle_s} s ago"


def on_ring(ring: HashRing, providers: Mapping[str, Provider], key_hash: int) -> Decision:
    """The decision of a bare ring for a hash. O(log points + points passed to find the heirs)."""
    found = ring.point_of_hash(key_hash)
    name = ring.owner_of_hash(key_hash)
    if found is None or name is None:
        return Decision(None, ("the ring is empty",))
    point, virtual_node = found
    at = RingPoint(point, virtual_node, ring.points_of(name), len(ring), is_past_the_end=point < key_hash)
    how = "the last point of the ring" if at.is_past_the_end else "the ring's first point at or after its hash"
    return Decision(
        providers[name], (f"the key belongs to {how}",), tuple(islice(ring.walk(key_hash), 1, HEIRS + 1)), point=at
    )


def explanation(
    view: ServiceView,
    group: str,
    policy: str,
    key: Key | None,
    decision: Decision,
    points_version: int,
) -> Explanation:
    """Put together what a service's policy decided for a key.

    Raises:
        TypeError: for a key that is not allowed.
    """
    kind = key_kind(key) if key is not None else None
    known = {provider.ring_name: provider for provider in view.providers}
    return Explanation(
        module=view.module,
        group=group,
        policy=policy,
        key=None if key is None else printable(key_text(key)),
        key_kind=kind,
        hash=None if key is None else fnv_hash(key),
        lane=None if key is None else task_hash(key),
        owner=None if decision.owner is None else _whom(decision.owner),
        is_certain=decision.is_certain,
        because=decision.because,
        point=decision.point,
        cached=decision.cached,
        heirs=tuple(_whom(known[name]) if name in known else Whom(name) for name in decision.heirs),
        providers=len(view.providers),
        points_version=points_version,
        applied_version=view.applied_version,
    )


def _whom(provider: Provider) -> Whom:
    return Whom(provider.ring_name, provider.node_id, provider.address, len(provider.sessions))


# ----------------------------------------------------------------------------------------------------- keys

_READERS: Final[Mapping[str, Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
    "bytes": lambda text: bytes.fromhex(text.removeprefix("0x")),
    "uuid": UUID,
}
KEY_KINDS: Final = tuple(_READERS)


def printable(text: str) -> str:
    """A key's text with lone surrogates written as backslash and digits: JSON and terminals refuse them."""
    return text.encode("utf-8", "backslashreplace").decode()


def key_kind(key: Key) -> str:
    """The kind of a key, as `zfoo_py.consumer.hashing` names it."""
    return kind_and_text(cache_key(key))[0]


def read_key(kind: str, text: str) -> Key:
    """The key of a kind that a person wrote: ``7``, ``true``, ``1.5``, ``0x00ff`` (bytes in hex), a UUID, or any text.

    Raises:
        ConfigError: the text is no key of that kind.
    """
    if kind not in _READERS:
        raise ConfigError(f"{kind!r} is no kind of key: use {', '.join(KEY_KINDS)}")
    try:
        key: Key = _READERS[kind](text)
    except (ValueError, KeyError):
        raise ConfigError(f"{text!r} is no key of type {kind}") from None
    return key
