"""The processes of ``zfoo-py run --workers N``: who is to be started, told to end, or killed, and when.

Nothing is done here: `zfoo_py.cli.crew_io` reports what happened, and obeys `Crew.due`.
"""

from __future__ import annotations

import math
from enum import Enum, auto
from typing import Final

import msgspec

from zfoo_py.addresses import Address, parse_address
from zfoo_py.errors import ConfigError, IllegalTransitionError

__all__ = ["Crew", "Kill", "Order", "Start", "Stop", "addresses_of"]

# Of a process that died: long enough not to spin on a fault that is there at once again, short enough that a fault of
# the moment costs one process half a second; doubled by each death that follows, up to what a person waits for.
RESTART_MIN_S: Final = 0.5
RESTART_MAX_S: Final = 30.0
# Up for so long, it works: the next death is a first one.
STEADY_S: Final = 60.0


class Start(msgspec.Struct, frozen=True):
    """Start process ``number``; it listens at ``address`` (None: it does not listen)."""

    number: int
    address: str | None


class Stop(msgspec.Struct, frozen=True):
    """Tell process ``number`` to finish what it has in work, and end."""

    number: int


class Kill(msgspec.Struct, frozen=True):
    """End process ``number``: it has had its time."""

    number: int


Order = Start | Stop | Kill


class _State(Enum):
    WAITING = auto()  # there is no process; there will be one, unless the crew stops
    STARTING = auto()
    UP = auto()
    DRAINING = auto()


class _Event(Enum):
    STARTED = auto()
    CAME_UP = auto()
    TOLD = auto()
    ENDED = auto()


_S, _E = _State, _Event

TRANSITIONS: Final[dict[tuple[_State, _Event], _State]] = {
    (_S.WAITING, _E.STARTED): _S.STARTING,
    (_S.STARTING, _E.CAME_UP): _S.UP,
    (_S.STARTING, _E.TOLD): _S.DRAINING,
    (_S.STARTING, _E.ENDED): _S.WAITING,
    (_S.UP, _E.TOLD): _S.DRAINING,
    (_S.UP, _E.ENDED): _S.WAITING,
    (_S.DRAINING, _E.CAME_UP): _S.DRAINING,  # it was told while it started
    (_S.DRAINING, _E.ENDED): _S.WAITING,
}


class _Worker:
    """One place in the crew: the process that is there now, or the next one."""

    def __init__(self, address: str | None) -> None:
        self.configured = address
        self.address = address  # of the next process: that of the one before, so that its keys stay
        self.state = _S.WAITING
        self.due_s = 0.0  # WAITING: when it is started; STARTING and DRAINING: when it is killed
        self.up_since_s = math.inf
        self.was_up = False  # ever
        self.deaths = 0  # one after the other

    def advance(self, event: _Event) -> None:
        try:
            self.state = TRANSITIONS[self.state, event]
        except KeyError:
            msg = f"a worker process in state {self.state.name} cannot take {event.name}"
            raise IllegalTransitionError(msg) from None


class Crew:
    """N worker processes, numbered from 1.

    A process that dies is started again, later with each death. A reload replaces one after the other, and goes on
    when the new one is up: what cannot start stops the reload, not the service. One that ends before it was up for
    the first time ends the whole crew, as a single node would.

    Args:
        addresses: for each process where it listens: "host:port", or None.
        start_limit_s: longest time from a start until it is up.
        stop_limit_s: longest time from being told to end until the end.

    Attributes:
        failed: number of the process that could not start at all, 0 if none.
        is_stopping: no process is started any more.
    """

    def __init__(self, addresses: list[str | None], start_limit_s: float, stop_limit_s: float) -> None:
        self._workers = [_Worker(address) for address in addresses]
        self._start_limit_s = start_limit_s
        self._stop_limit_s = stop_limit_s
        self._to_reload: list[int] = []
        self.is_stopping = False
        self.failed = 0

    @property
    def is_over(self) -> bool:
        """Whether it stops and every process has ended."""
        return self.is_stopping and all(worker.state is _S.WAITING for worker in self._workers)

    @property
    def is_steady(self) -> bool:
        """Whether all are up and none is to be replaced."""
        return not self._to_reload and all(worker.state is _S.UP for worker in self._workers)

    # --- what happened

    def came_up(self, number: int, address: str, now_s: float) -> None:
        """A process serves, at this address ("": it does not listen)."""
        worker = self._workers[number - 1]
        worker.advance(_E.CAME_UP)
        worker.was_up = True
        worker.up_since_s = now_s
        if address:
            worker.address = address

    def ended(self, number: int, now_s: float) -> float:
        """A process has ended; return in how many seconds it is started again."""
        worker = self._workers[number - 1]
        was = worker.state
        worker.advance(_E.ENDED)
        if was is _S.STARTING:
            worker.address = worker.configured  # somebody else may have the port by now
            if not worker.was_up and not self.is_stopping:
                self.failed = number
                self.stop()
        if was is _S.DRAINING or now_s - worker.up_since_s >= STEADY_S:
            worker.deaths = 0
        delay_s = 0.0
        if was is not _S.DRAINING:
            delay_s = min(RESTART_MIN_S * 2**worker.deaths, RESTART_MAX_S)
            worker.deaths += 1
        worker.up_since_s = math.inf
        worker.due_s = now_s + delay_s
        return delay_s

    def reload(self, now_s: float) -> None:
        """Replace every process, one after the other. One that waits for its next start waits no more."""
        self._to_reload = []
        for number, worker in enumerate(self._workers, start=1):
            if worker.state is _S.WAITING:
                worker.due_s, worker.deaths = now_s, 0
            else:
                self._to_reload.append(number)

    def stop(self) -> None:
        """Let every process finish its work and end, all at once."""
        self.is_stopping = True

    # --- what is to be done

    def due(self, now_s: float) -> list[Order]:
        """Return what is to be done now; each order is given once. O(processes)."""
        orders: list[Order] = []
        for number, worker in enumerate(self._workers, start=1):
            if worker.state is _S.WAITING:
                if not self.is_stopping and worker.due_s <= now_s:
                    worker.advance(_E.STARTED)
                    worker.due_s = now_s + self._start_limit_s
                    orders.append(Start(number, worker.address))
                    if number in self._to_reload:  # it died before its turn, and is new now
                        self._to_reload.remove(number)
            elif self.is_stopping and worker.state is not _S.DRAINING:
                orders.append(self._told(number, now_s))
            elif worker.state is not _S.UP and worker.due_s <= now_s:
                worker.due_s = math.inf
                orders.append(Kill(number))
        if self._to_reload and all(worker.state is _S.UP for worker in self._workers):
            orders.append(self._told(self._to_reload.pop(0), now_s))
        return orders

    def wait_s(self, now_s: float) -> float | None:
        """Return for how long nothing is due unless something happens; None: nothing ever is."""
        times = [
            worker.due_s
            for worker in self._workers
            if worker.state is not _S.UP and not (self.is_stopping and worker.state is _S.WAITING)
        ]
        first_s = min(times, default=math.inf)
        return None if first_s == math.inf else max(0.0, first_s - now_s)

    def _told(self, number: int, now_s: float) -> Stop:
        worker = self._workers[number - 1]
        worker.advance(_E.TOLD)
        worker.due_s = now_s + self._stop_limit_s
        return Stop(number)


def addresses_of(address: str | None, count: int) -> list[str | None]:
    """Return where each process listens: ports p … p + count - 1; port 0 for all, if the system is to choose.

    Raises:
        ConfigError: there are not so many ports.
    """
    if address is None:
        return [None] * count
    host, port = parse_address(address, path="server.address")
    if not port:
        return [address] * count
    if port + count - 1 > 0xFFFF:
        msg = f"{count} processes from port {port} need ports up to {port + count - 1}; the last one is 65535"
        raise ConfigError(msg, path="server.address")
    return [str(Address(host, port + place)) for place in range(count)]
