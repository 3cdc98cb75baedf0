"""What one session takes from its peer: so many packets in work, and then no more from the socket, but not for long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zfoo_py.protocol.attachment import SignalAttachment
from zfoo_py.protocol.common import zfoo_py_module

if TYPE_CHECKING:
    from collections.abc import Callable

    from zfoo_py.net.pending import Pending
    from zfoo_py.net.seams import Connection, SessionEnv
    from zfoo_py.net.session import Session
    from zfoo_py.net.timers import SessionTimers
    from zfoo_py.protocol.packet import Binding, Packet

__all__ = ["PAUSE_LIMIT_S", "Intake"]

# Reading stands still at most so long because receivers are slow. The peer's kernel takes a closed window for a dead
# line after its heartbeat_timeout_s (5 s), and what is not read is no sign of life, no Cancel and no Draining either.
# Half of this node's heartbeat_timeout_s, where that is shorter: its peer's may be, too.
PAUSE_LIMIT_S = 1.0


class Intake:
    """Owned by one session actor; on the loop's thread.

    Args:
        env: who takes packets, and how many may be in work.
        session: whose packets they are.
        connection: its reading pauses, so that TCP carries the pressure back to the peer.
        timers: of the session.
        pending: our asks that the peer has not answered.
        refuse: tells the asker with this signal id that it is too much: (signal id, text).

    Attributes:
        limit: of packets in work.
        in_work: packets of the peer's that receivers have, or will get.
        held: what came in the chunk at which reading paused, behind what made it pause; decoded, in order.
        is_reading: False while nothing is taken from the socket.
        takes: False while no packet gets to a receiver: reading pauses, or goes on only to refuse.
        refused: asks that were told so; dropped: packets sent one way, whose sender would not hear of it.
    """

    __slots__ = (
        "_connection",
        "_env",
        "_pending",
        "_refuse",
        "_session",
        "_timers",
        "dropped",
        "held",
        "in_work",
        "is_reading",
        "limit",
        "refused",
        "takes",
    )  # fmt: skip

    def __init__(
        self,
        env: SessionEnv,
        session: Session,
        connection: Connection,
        timers: SessionTimers,
        pending: Pending,
        refuse: Callable[[int, str], None],
    ) -> None:
        self._env = env
        self._session = session
        self._connection = connection
        self._timers = timers
        self._pending = pending
        self._refuse = refuse
        self.limit: int = env.limits.max_in_work_per_session
        self.in_work = 0
        self.held: list[Any] = []
        self.is_reading = self.takes = True
        self.refused = self.dropped = 0

    def pause(self) -> None:
        """Take nothing more from the socket; idempotent."""
        self.takes = False
        if self.is_reading:
            self.is_reading = False
            self._connection.pause_reading()
            self._timers.paused(self._limit_s())

    def not_taken(self, binding: Binding, packet: Packet, attachment: Any) -> None:
        """Hold a packet that came while none is taken, or refuse it: while reading goes on all the same."""
        if not self.is_reading:
            self.held.append((binding, packet, attachment))
        elif binding.module is zfoo_py_module:  # Cancel and the like need no receiver
            self._env.receive(self._session, binding, packet, attachment)
        elif attachment.__class__ is SignalAttachment:
            self.refused += 1
            if not self._connection.is_full:  # else it takes no refusal either, and they would have no bound
                self._refuse(attachment.signal_id, f"{self.in_work} packets of this session are in work")
        else:
            self.dropped += 1

    def read_again(self) -> None:
        """Take packets again, first what is held, as soon as half of the limit is free and the peer reads too.

        Half: with less, every packet would pause and resume.
        """
        if self.in_work > self.limit // 2 or self.is_deaf():
            return
        room = self.limit - self.in_work
        taken, self.held = self.held[:room], self.held[room:]
        for held in taken:
            self.in_work += self._env.receive(self._session, *held)
        if not self.held and self.in_work <= self.limit // 2:
            self.takes = True
            self._read()

    def paused_long(self) -> None:
        """Slow receivers must not make the peer believe that this node is dead: read all the same, and refuse."""
        self._timers.reads()
        self.read_again()
        if self.is_reading:
            return
        if self.is_deaf():
            self._timers.paused(self._limit_s())
            return
        self._read()
        held, self.held = self.held, []
        for each in held:
            self.not_taken(*each)

    def is_deaf(self) -> bool:
        """Return whether the peer does not read its answers, so that it is to get no more of them.

        Not where asks of ours wait on this session: two nodes that both read nothing would wait for each other.
        """
        if not self._connection.is_full:
            return False
        return self._session.kind == "client" or (self._session.side == "server" and not len(self._pending))

    def _limit_s(self) -> float:
        wait_s: float = self._env.limits.heartbeat_timeout_s
        return min(PAUSE_LIMIT_S, wait_s / 2)

    def _read(self) -> None:
        if not self.is_reading:
            self.is_reading = True
            self._timers.reads()
            self._connection.resume_reading()
