"""What one session takes from its peer: so many packets in work, and then no more from the socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
        is_reading: False while nothing is taken from the socket.
    """

    __slots__ = ("_connection", "in_work", "is_reading", "limit")

    def __init__(self, connection: Connection, limit: int) -> None:
        self._connection = connection
        self.limit = limit
        self.in_work = 0
        self.is_reading = True

    def pause(self) -> None:
        """Take nothing more from the socket; idempotent."""
        if self.is_reading:
            self.is_reading = False
            self._connection.pause_reading()

    def resume(self) -> None:
        """Take bytes again, if there is room for work; half of it, so that not every packet pauses and resumes."""
        if not self.is_reading and self.in_work <= self.limit // 2:
            self.is_reading = True
            self._connection.resume_reading()
