"""What is right for a consumer, said as simply as possible: nothing is remembered but who was there when."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

from zfoo_py.consumer.hashing import fnv_hash, point_hashes
from zfoo_py.protocol.registration import Registration

__all__ = ["HASHES", "Truth", "crowded"]

HASHES = 2**31
HashPoints = Callable[[str, int], Iterable[int]]


def crowded(name: str, count: int) -> list[int]:
    """Points that often coincide, of one provider and of several: 16 places in all, at both ends and between."""
    return [(point_hash % 16) * (HASHES // 15 - 1) for point_hash in point_hashes(name, count)]


class Truth:
    """Which sessions there were at each membership version, and so who owned a key.

    Args:
        hash_points: where a provider's points lie.
        virtual_nodes: how many it has.
    """

    def __init__(self, hash_points: HashPoints = point_hashes, virtual_nodes: int = 200) -> None:
        self._hash_points = hash_points
        self._virtual_nodes = virtual_nodes
        self.at: list[dict[int, Registration]] = [{}]  # by membership version: sid → who is reached by it
        self._points = lru_cache(maxsize=512)(self._build)

    @property
    def version(self) -> int:
        """The last membership version."""
        return len(self.at) - 1

    def up(self, sid: int, registration: Registration) -> None:
        """A session is ready: the next version."""
        self.at.append({**self.at[-1], sid: registration})

    def down(self, sid: int) -> None:
        """A session is lost: the next version."""
        self.at.append({known: of for known, of in self.at[-1].items() if known != sid})

    def providers(self, version: int, module: str) -> frozenset[str]:
        """Return the ring names that served a module (in the group of its name) at a version."""
        return frozenset(of.ring_name for of in self.at[version].values() if (module, module) in of.provides)

    def owner(self, version: int, module: str, key: object) -> str | None:
        """Return the owner of a key at a version, or None without providers."""
        points = self._points(self.providers(version, module))
        key_hash = fnv_hash(key)  # type: ignore[arg-type]
        at_or_after = [point for point in points if point >= key_hash]
        return points[min(at_or_after) if at_or_after else max(points)] if points else None

    def _build(self, names: frozenset[str]) -> dict[int, str]:
        # zfoo's rule: in Java's order of strings, and who comes later overwrites.
        points: dict[int, str] = {}
        for name in sorted(names, key=lambda name: name.encode("utf-16-be", "surrogatepass")):
            points |= dict.fromkeys(self._hash_points(name, self._virtual_nodes), name)
        return points
