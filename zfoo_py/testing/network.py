"""A network in memory: bytes arrive in order, in a later callback of the loop, and faults are made by name.

A `MemoryHost` is the machine, or process, under one node, and lives as long as that. Delays and drops belong to the
network: they stay when a host goes and another one of its name comes.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

from zfoo_py.errors import ConfigError, SessionClosedError
from zfoo_py.testing.clock import HeldTimers
from zfoo_py.testing.wire import MemoryTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from zfoo_py.actor import TimerSource
    from zfoo_py.net.tcp_io import TcpConnection

__all__ = ["ANY", "MemoryHost", "MemoryListener", "MemoryNetwork", "pass_time"]

# In the place of a host's name: every host.
ANY = "*"


class MemoryNetwork:
    """Implements `zfoo_py.net.seams.Network` for the nodes it is given to; `host` gives one node faults by its name.

    Port 0 chooses a port, always the same ones in the same order.

    Args:
        clock: delays and connect time-outs pass by it; None: the running loop's.
    """

    def __init__(self, clock: TimerSource | None = None) -> None:
        self._clock = clock
        self._ports = itertools.count(40_001)
        self._delays_s: dict[tuple[str, str], float] = {}  # (from, to), each may be ANY
        self._drops: set[tuple[str, str]] = set()
        self._slow: set[tuple[str, str]] = set()  # (who sends, who does not read)
        self._changed: asyncio.Event | None = None  # wakes those who dial in vain
        self.listeners: dict[tuple[str, int], MemoryListener] = {}
        self.hosts: dict[str, MemoryHost] = {}

    @property
    def clock(self) -> TimerSource:
        """The clock of delays."""
        return self._clock if self._clock is not None else asyncio.get_running_loop()

    def host(self, name: str) -> MemoryHost:
        """Return a new host of that name, for a node's ``network=``; its ``timers`` are for that node's ``clock=``."""
        host = self.hosts[name] = MemoryHost(self, name)
        return host

    async def listen(self, host: str, port: int, make: Callable[[], TcpConnection]) -> MemoryListener:
        """Listen in this network, for a node that needs no faults.

        Raises:
            ConfigError: somebody listens there.
        """
        return await self._nameless().listen(host, port, make)

    async def dial(
        self, host: str, port: int, make: Callable[[], TcpConnection], connect_timeout_s: float
    ) -> TcpConnection:
        """Connect in this network, for a node that needs no faults.

        Raises:
            SessionClosedError: nobody listens there.
        """
        return await self._nameless().dial(host, port, make, connect_timeout_s)

    def _nameless(self) -> MemoryHost:
        return self.hosts.get("") or self.host("")

    def free_port(self) -> int:
        """Return a port that nobody was given before."""
        return next(self._ports)

    # --- faults; each between two names, and ANY stands for every name

    def delay(self, source: str, target: str, seconds: float) -> None:
        """Let what goes from one host to another take so long; delays of source, target and both add up."""
        self._delays_s[source, target] = seconds

    def drop(self, source: str, target: str) -> None:
        """Let what goes from one host to another vanish, as a firewall does that drops; connections stay."""
        self._drops.add((source, target))

    def slow_reader(self, reader: str, sender: str = ANY) -> None:
        """Let a host read nothing of what another sends: it stays with the sender, whose buffers fill."""
        self._slow.add((sender, reader))

    def reset(self, one: str, other: str = ANY) -> None:
        """Break the connections between two hosts; both ends notice, and nothing keeps them from connecting again."""
        for end in self._ends():
            if _fits((end.host.name, end.other.host.name), one, other):
                end.reset()

    def heal(self, name: str = ANY) -> None:
        """End the delays, drops and slow readers of a name, or all; what is broken is found now."""
        self._delays_s = {pair: delay_s for pair, delay_s in self._delays_s.items() if name not in {ANY, *pair}}
        self._drops = {pair for pair in self._drops if name not in {ANY, *pair}}
        self._slow = {pair for pair in self._slow if name not in {ANY, *pair}}
        if self._changed is not None:
            self._changed.set()
            self._changed = None
        for end in list(self._ends()):
            end.healed()

    def delay_s(self, source: str, target: str) -> float:
        """Return how long bytes take now."""
        delays = self._delays_s
        return sum(delays.get(pair, 0.0) for pair in _pairs(source, target)) if delays else 0.0

    def drops(self, source: str, target: str) -> bool:
        """Return whether bytes vanish now."""
        return bool(self._drops) and any(pair in self._drops for pair in _pairs(source, target))

    def reads(self, source: str, target: str) -> bool:
        """Return whether the target reads what the source sends, now."""
        return not self._slow or not any(pair in self._slow for pair in _pairs(source, target))

    async def change(self, timeout_s: float) -> None:
        """Wait until something heals, but not longer than that."""
        if self._changed is None:
            self._changed = asyncio.Event()
        changed = self._changed
        timer = self.clock.call_later(timeout_s, changed.set)  # it wakes the others too early: they look and wait again
        try:
            await changed.wait()
        finally:
            timer.cancel()
            if self._changed is changed and changed.is_set():
                self._changed = None

    def _ends(self) -> Iterator[MemoryTransport]:
        for host in list(self.hosts.values()):
            yield from list(host.ends)


class MemoryHost:
    """The machine under one node, in a `MemoryNetwork`: implements `zfoo_py.net.seams.Network`; made by its `host`.

    Attributes:
        name: its name in the network.
        timers: the network's clock, which stands still for this host while it is stopped.
        ends: its ends of connections.
        is_stopped: it neither reads nor writes.
        is_dead: it was killed.
    """

    def __init__(self, network: MemoryNetwork, name: str) -> None:
        self.network = network
        self.name = name
        self.timers = HeldTimers(network.clock)
        self.ends: set[MemoryTransport] = set()
        self.is_stopped = False
        self.is_dead = False
        self._listeners: list[MemoryListener] = []

    async def listen(self, host: str, port: int, make: Callable[[], TcpConnection]) -> MemoryListener:
        """Listen in this network.

        Raises:
            ConfigError: somebody listens there.
        """
        address = (host, port or self.network.free_port())
        if address in self.network.listeners:
            msg = f"cannot listen on {host}:{port}: somebody does"
            raise ConfigError(msg)
        listener = self.network.listeners[address] = MemoryListener(self, address, make)
        self._listeners.append(listener)
        return listener

    async def dial(
        self, host: str, port: int, make: Callable[[], TcpConnection], connect_timeout_s: float
    ) -> TcpConnection:
        """Connect in this network within ``connect_timeout_s`` seconds of its clock.

        Raises:
            SessionClosedError: nobody listens there, or nothing answered in time.
        """
        listener = await self._reach((host, port), connect_timeout_s)
        ours, theirs = make(), listener.make()
        name = (host, self.network.free_port())
        near = MemoryTransport(ours, self, name, (host, port))
        far = MemoryTransport(theirs, listener.host, (host, port), name)
        near.other, far.other = far, near
        far.connect()
        near.connect()
        return ours

    async def _reach(self, address: tuple[str, int], connect_timeout_s: float) -> MemoryListener:
        network = self.network
        where = f"{address[0]}:{address[1]}"
        until_s = network.clock.time() + connect_timeout_s
        while not self.is_dead:
            listener = network.listeners.get(address)
            if listener is None:
                msg = f"cannot connect to {where}: nobody listens there"
                raise SessionClosedError(msg, may_have_run=False)
            there, back = (self.name, listener.host.name), (listener.host.name, self.name)
            left_s = until_s - network.clock.time()
            if not (network.drops(*there) or network.drops(*back)):
                trip_s = network.delay_s(*there) + network.delay_s(*back)
                if trip_s <= 0:
                    return listener
                if trip_s < left_s:
                    await pass_time(network.clock, trip_s)
                    if network.listeners.get(address) is listener:
                        return listener
                    continue
            if left_s <= 0:
                msg = f"cannot connect to {where} within {connect_timeout_s} s: no answer in time"
                raise SessionClosedError(msg, may_have_run=False)
            await network.change(left_s)
        msg = f"cannot connect to {where}: this host was killed"
        raise SessionClosedError(msg, may_have_run=False)

    def stop(self) -> None:
        """Stop it, as SIGSTOP does: it answers nothing, what others send to it waits, its timers wait too."""
        self.is_stopped = True
        self.timers.hold()

    def cont(self) -> None:
        """Let it go on, as SIGCONT does, with what has come and fallen due meanwhile."""
        if self.is_stopped and not self.is_dead:
            self.is_stopped = False
            for end in list(self.ends):
                end.go_on()
            self.timers.release()

    def kill(self) -> None:
        """End it, as SIGKILL does: its connections break, nobody listens any more, nothing of it goes on."""
        self.is_dead = True
        self.timers.hold()
        for listener in self._listeners:
            self.network.listeners.pop(listener.place, None)
        for end in list(self.ends):
            end.kill()


class MemoryListener:
    """A listening address of a `MemoryHost`."""

    def __init__(self, host: MemoryHost, place: tuple[str, int], make: Callable[[], TcpConnection]) -> None:
        self.host = host
        self.place = place
        self.make = make
        self.address = f"{place[0]}:{place[1]}"
        self.sockets: dict[int, int] = {}

    async def close(self) -> None:
        """Accept no more connections; those that stand stay."""
        self.host.network.listeners.pop(self.place, None)


def _pairs(source: str, target: str) -> tuple[tuple[str, str], ...]:
    return (source, target), (source, ANY), (ANY, target)


def _fits(names: tuple[str, str], one: str, other: str) -> bool:
    return names[0] == one and other in {ANY, names[1]}


async def pass_time(clock: TimerSource, seconds: float) -> None:
    """Return when so much time of a clock has passed."""
    passed = asyncio.Event()
    timer = clock.call_later(seconds, passed.set)
    try:
        await passed.wait()
    finally:
        timer.cancel()
