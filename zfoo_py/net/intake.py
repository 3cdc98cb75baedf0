"""What one session takes from its peer: so many packets in work, and then no more from the socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zfoo_py.net.seams import Connection

__all__ = ["Intake"]


class Intake:
    """Owned by one session actor; on the loop's thread.

    Args:
        connection: its reading pauses, so that TCP carries the pressure back to the peer.
        limit: of packets in work.

    Attributes:
        in_work: packets of the peer's that receivers have, or will get.
        held: what came in the chunk at which reading paused, behind what made it pause; decoded, in order.
        is_reading: False while nothing is taken from the socket.
    """

    __slots__ = ("_connection", "held", "in_work", "is_reading", "limit")

    def __init__(self, connection: Connection, limit: int) -> None:
        self._connection = connection
        self.limit = limit
        self.in_work = 0
        self.held: list[Any] = []
        self.is_reading = True

    def pause(self) -> None:
        """Take nothing more from the socket; idempotent."""
        if self.is_reading:
            self.is_reading = False
            self._connection.pause_reading()

    def has_room(self) -> bool:
        """Return whether half of the limit is free: less, and every packet would pause and resume."""
        return self.in_work <= self.limit // 2

    def take_held(self) -> list[Any]:
        """Remove and return as much of what is held as may be in work now."""
        room = self.limit - self.in_work
        taken, self.held = self.held[:room], self.held[room:]
        return taken

    def resume(self) -> None:
        """Take bytes again, if nothing is held any more and there is room."""
        if not self.is_reading and not self.held and self.has_room():
            self.is_reading = True
            self._connection.resume_reading()
