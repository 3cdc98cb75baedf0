"""What a member's process holds: read from outside, and asked for."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from samples.drill.packets import LookAsk
from samples.drill.stage import TooLateError, until

if TYPE_CHECKING:
    from samples.drill.stage import Member
    from zfoo_py import Node

__all__ = ["Watched", "settled"]

# What is on its way out may take so long.
SETTLE_S = 5.0


class Watched(msgspec.Struct, frozen=True):
    """Memory, descriptors and threads as the system counts them; sessions and actors as the member does."""

    rss_mib: float
    descriptors: int
    threads: int
    sessions: int
    actors: int

    @classmethod
    async def look(cls, member: Member, node: Node) -> Watched:
        """Look now; the node consumes the member's orders."""
        looked = await node.consumer.async_ask(LookAsk(), key=None)
        return cls(member.rss_mib(), *member.handles(), looked.sessions, len(looked.actors))

    def more_than(self, before: Watched) -> str:
        """Return how much more it is."""
        return (
            f"descriptors {self.descriptors - before.descriptors:+}, threads {self.threads - before.threads:+}, "
            f"sessions {self.sessions - before.sessions:+}, actors {self.actors - before.actors:+}, "
            f"RSS {self.rss_mib - before.rss_mib:+.1f} MiB"
        )

    def is_no_more_than(self, before: Watched, rss_mib: float = float("inf")) -> bool:
        """Return whether there is nothing that was not there, and memory has grown no more than that."""
        now, then = ((it.descriptors, it.threads, it.sessions, it.actors) for it in (self, before))
        return all(a <= b for a, b in zip(now, then, strict=True)) and self.rss_mib - before.rss_mib <= rss_mib


async def settled(member: Member, node: Node, before: Watched) -> Watched:
    """Look again when those who came have gone, or after a while."""
    with suppress(TooLateError):
        await until(lambda: member.handles()[0] <= before.descriptors, SETTLE_S)
    return await Watched.look(member, node)
