"""One end of a connection in memory, and what is on its way to the other end."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from zfoo_py.net.tcp_io import TcpConnection
    from zfoo_py.testing.network import MemoryHost

__all__ = ["MemoryTransport"]

# What a memory transport holds before it says that writing should pause, if nobody sets another bound; asyncio's own.
HIGH_WATER_BYTES = 64 * 1024

# On its way like bytes: the end of the connection.
_END: Final = b""

# A timer of a real loop may fire a hair before its time.
EARLY_S = 1e-6


class MemoryTransport(asyncio.Transport):
    """One end of a connection in memory. It knows what it has sent that has not arrived.

    Args:
        protocol: what reads at this end.
        host: whose end it is.
        local, peer: names of both sides, for ``get_extra_info``.

    Attributes:
        other: the other end.
    """

    other: MemoryTransport

    def __init__(
        self, protocol: TcpConnection, host: MemoryHost, local: tuple[str, int], peer: tuple[str, int]
    ) -> None:
        super().__init__({"sockname": local, "peername": peer})
        self.host = host
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol
        self._sent: deque[tuple[float, bytes]] = deque()  # (when it may arrive, what); nothing overtakes
        self._sent_bytes = 0
        self._held: list[bytes] = []  # written while the host is stopped
        self._is_connected = False
        self._is_closing = False
        self._is_lost = False
        self._is_broken = False  # while the host is stopped, which will notice later
        self._is_reading = True
        self._is_full = False
        self._high_bytes = HIGH_WATER_BYTES
        self._is_pumping = False

    # --- asyncio's side

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes; they reach the other end in a later callback."""
        if not self._is_closing and data:
            self._send(bytes(data))

    def close(self) -> None:
        """Close after what was written."""
        if not self._is_closing:
            self._is_closing = True
            self._send(_END)
            self._pump_soon()

    def abort(self) -> None:
        """Close at once; what was written and has not arrived is lost."""
        if self._is_lost:
            return
        self._is_closing = True
        self._sent.clear()
        self._held.clear()
        self._sent_bytes = 0
        self._send(_END)
        self._lose()

    def is_closing(self) -> bool:
        """Return whether it is closing or closed."""
        return self._is_closing

    def pause_reading(self) -> None:
        """Let bytes stay with the sender."""
        self._is_reading = False

    def resume_reading(self) -> None:
        """Take bytes again."""
        self._is_reading = True
        self.other._pump_soon()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Bound what is held before writing should pause."""
        del low
        self._high_bytes = HIGH_WATER_BYTES if high is None else high

    def get_write_buffer_size(self) -> int:
        """Return how many bytes have not reached the other end."""
        return self._sent_bytes

    # --- the network's side

    def connect(self) -> None:
        """Tell the protocol, unless its host is stopped: then its system has accepted, and it will hear of it later."""
        self.host.ends.add(self)
        if not self.host.is_stopped:
            self._is_connected = True
            self._protocol.connection_made(self)

    def go_on(self) -> None:
        """Go on, after the host was stopped."""
        if not self._is_connected:
            self.connect()
        held, self._held = self._held, []
        for data in held:
            self._send(data)
        self.other._pump_soon()

        if self._is_broken:
            self._lose()

    def kill(self) -> None:
        """Be gone without a word to the protocol: its process is. The other end finds the connection closed."""
        if not self._is_lost:
            self._transmit(_END)  # by the system, also if the process was stopped
            self._is_lost = self._is_closing = True
            self.host.ends.discard(self)

    def reset(self) -> None:
        """Break the connection: both ends lose it, and what is on its way."""
        for end in (self, self.other):
            end._is_closing = True
            end._sent.clear()
            end._held.clear()
            end._sent_bytes = 0
            end._lose()

    def healed(self) -> None:
        """Go on after a fault of the network; be lost, if the other end is gone and could not say so."""
        self._pump_soon()
        other = self.other
        if other._is_lost and not other._sent and not self.host.network.drops(other.host.name, self.host.name):
            self._lose()

    def _send(self, data: bytes) -> None:
        if self.host.is_stopped:
            self._held.append(data)
        else:
            self._transmit(data)

    def _transmit(self, data: bytes) -> None:
        host, other_host = self.host, self.other.host
        network = host.network
        if network.drops(host.name, other_host.name):
            return
        delay_s = network.delay_s(host.name, other_host.name)
        at_s = 0.0
        if delay_s > 0:
            at_s = network.clock.time() + delay_s
            network.clock.call_later(delay_s, self._pump_soon)
        self._sent.append((at_s, data))
        self._sent_bytes += len(data)
        self._pump_soon()
        if self._sent_bytes > self._high_bytes and not self._is_full:
            self._is_full = True
            self._protocol.pause_writing()

    def _pump_soon(self) -> None:
        if not self._is_pumping:
            self._is_pumping = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Let arrive what is due."""
        self._is_pumping = False
        other = self.other
        chunks: list[bytes] = []
        has_ended = False
        network, names = self.host.network, (self.host.name, other.host.name)
        while self._sent and not has_ended and other._can_take() and (other._is_lost or network.reads(*names)):
            at_s, data = self._sent[0]
            if at_s > 0 and at_s > network.clock.time() + EARLY_S:
                break
            self._sent.popleft()
            self._sent_bytes -= len(data)
            if data:
                chunks.append(data)
            else:
                has_ended = True
        if chunks and not other._is_lost:
            other._protocol.data_received(b"".join(chunks))
        if self._is_full and not self._sent_bytes:
            self._is_full = False
            if not self._is_lost:
                self._protocol.resume_writing()
        if has_ended:
            other._lose()
        if self._is_closing and not self._sent_bytes and not self._held:
            self._lose()

    def _can_take(self) -> bool:
        return self._is_lost or (self._is_reading and self._is_connected and not self.host.is_stopped)

    def _lose(self) -> None:
        if self.host.is_stopped:
            self._is_broken = True
        elif not self._is_lost:
            self._is_lost = self._is_closing = True
            self.host.ends.discard(self)
            self._loop.call_soon(self._protocol.connection_lost, None)
