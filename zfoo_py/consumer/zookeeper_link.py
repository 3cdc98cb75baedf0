"""What ZooKeeper discovery needs of a client library, so that it can be tried without one."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

__all__ = ["GoneError", "Link", "LinkError", "RefusedError", "Stat", "TakenError"]


class LinkError(Exception):
    """A call did not succeed, or not in time; whether it was done is not known."""


class GoneError(LinkError):
    """There is no such node."""


class TakenError(LinkError):
    """There is such a node already, or it has changed meanwhile."""


class RefusedError(LinkError):
    """The node is closed to us."""


class Stat(NamedTuple):
    """A node's version, and the session that it lives with; 0: it stays."""

    version: int
    owner: int


class Link(Protocol):
    """One client of ZooKeeper. All is called on the node's loop; each call ends within the call time-out.

    Every call may raise `LinkError`. Watches fire once: at the next change of what was read.
    """

    def start(self, on_state: Callable[[str], None], on_watch: Callable[[str, str], None]) -> None:
        """Begin to connect, and again after each loss.

        Args:
            on_state: gets "connected", "suspended" or "lost", on the loop.
            on_watch: gets the kind ("created", "deleted", "changed", "child") and the path, on the loop.
        """

    async def stop(self) -> str:
        """End the session; return what went wrong, or ""."""

    def after_fork(self) -> None:
        """Close what a forked child has of the sockets."""

    def session(self) -> int:
        """Return the id of the session, 0 for none."""

    async def catch_up(self) -> None:
        """Let the server we are at be no older than the one before it."""

    async def children(self, path: str) -> list[str]:
        """Return the names below a node, and watch them. Raises GoneError."""

    async def read(self, path: str) -> bytes:
        """Return a node's data, and watch it. Raises GoneError."""

    async def stat(self, path: str) -> Stat | None:
        """Return how a node stands, None if it does not, and watch that."""

    async def is_closed(self, path: str) -> bool:
        """Tell whether exactly our user may use a node."""

    async def ensure(self, path: str) -> None:
        """Create a node and its parents where they are missing, open to all."""

    async def create(self, path: str, data: bytes, *, ephemeral: bool, closed: bool) -> None:
        """Create a node; ``closed``: for our user alone, if we have one. Raises TakenError, GoneError (no parent)."""

    async def replace(self, path: str, version: int, data: bytes, *, closed: bool) -> None:
        """Delete this version of a node and create it as ours, ephemeral, in one step. Raises TakenError."""

    async def write(self, path: str, data: bytes) -> None:
        """Set a node's data. Raises GoneError."""

    async def delete(self, path: str, version: int) -> None:
        """Delete this version of a node. Raises GoneError, TakenError."""
