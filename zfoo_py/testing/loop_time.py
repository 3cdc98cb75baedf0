"""An event loop under a fake clock: it never sleeps. When everything waits, time jumps to what is due next.

`trio.testing.MockClock` with its autojump does the same for Trio. On asyncio it takes two changes to a loop, for as
long as a cluster runs on it: what ``loop.time()`` returns, and what the loop's selector does when it would sleep.
"""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from zfoo_py.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from zfoo_py.testing.clock import FakeClock

__all__ = ["LoopTime", "fake_time"]

# Threads at work (``def`` receivers, executor jobs) are waited for in real time before fake time may jump; what takes
# longer blocks on something that only fake time brings, such as a deadline.
THREAD_PATIENCE_S = 1.0

# The same for sockets that somebody opened on the loop: loopback answers in well under this.
SOCKET_PATIENCE_S = 0.05

# How long the loop sleeps at a time while it waits for those.
POLL_S = 0.001

# asyncio never sleeps longer than a day; that is what it says when no timer is set that could matter.
LONGEST_SLEEP_S = 24 * 3600.0

# Timers of the loop itself fire so much late, after those of the nodes at the same time: the loop counts from another
# zero than the clock, so that its sums are rounded differently in each run, and the order must not hang on that.
LOOP_TIMERS_LATE_S = 1e-6


class LoopTime:
    """Fake time on one asyncio loop; made by `fake_time`.

    Args:
        loop: asyncio's own; its methods `time` and `run_in_executor`, and its selector's `select`, are replaced.
        clock: the clock that it follows.
    """

    def __init__(self, loop: Any, clock: FakeClock) -> None:
        self.clock = clock
        self.users = 0
        self.threads_at_work: list[Callable[[], int]] = []  # how many there are that the clock should wait for
        self._loop = loop
        self._selector = loop._selector  # noqa: SLF001 - asyncio has no seam for time; a test pins the name
        self._select = self._selector.select
        self._run_in_executor = loop.run_in_executor
        self._zero_s = loop.time() - clock.time()
        self._settling: list[asyncio.Future[None]] = []
        self._jobs = 0
        self._at_work = 0
        self._waits_since_s = math.inf  # real time; for threads and sockets

    def install(self) -> None:
        """Take over the loop's time."""
        self._loop.time = self.time
        self._loop.run_in_executor = self._count_job
        self._selector.select = self._idle

    def uninstall(self) -> None:
        """Give it back; it is real time again."""
        for target, name in ((self._loop, "time"), (self._loop, "run_in_executor"), (self._selector, "select")):
            delattr(target, name)

    def time(self) -> float:
        """Return what ``loop.time()`` does: seconds from the loop's own zero, which pass with the clock."""
        return float(self._zero_s + self.clock.time())

    async def settle(self) -> None:
        """Let the loop turn until nothing more happens at this time."""
        settled = self._loop.create_future()
        self._settling.append(settled)
        await settled

    def _count_job(self, *args: Any) -> asyncio.Future[Any]:
        job: asyncio.Future[Any] = self._run_in_executor(*args)
        self._jobs += 1
        job.add_done_callback(self._job_done)
        return job

    def _job_done(self, _: asyncio.Future[Any]) -> None:
        self._jobs -= 1

    def _idle(self, timeout_s: float | None = None) -> Any:
        """Stand in for the selector's `select`: called once per turn, with 0 if anything is ready to run."""
        events = self._select(0)
        if events:
            self._waits_since_s = math.inf
        clock_due_s = self.clock.next_due_s()
        if clock_due_s is not None and clock_due_s <= self.clock.time():  # as soon as possible, as on any loop
            self._run_due(clock_due_s)
            return events
        if events or (timeout_s is not None and timeout_s <= 0):
            return events
        if self._is_impatient():
            return self._select(POLL_S)
        if self._settling:
            settling, self._settling = self._settling, []
            for settled in settling:
                if not settled.done():
                    settled.set_result(None)
            return events
        loop_due_s = math.inf
        if timeout_s is not None and timeout_s < LONGEST_SLEEP_S:
            loop_due_s = self.clock.time() + timeout_s + LOOP_TIMERS_LATE_S
        due_s = min(loop_due_s, math.inf if clock_due_s is None else clock_due_s)
        if due_s == math.inf:
            return self._select(timeout_s)  # only a thread, a socket or a signal can go on
        self._run_due(due_s)
        return events

    def _run_due(self, at_s: float) -> None:
        for timer in self.clock.pass_to(at_s):
            self._loop.call_soon(timer.run)

    def _is_impatient(self) -> bool:
        """Return whether real time must pass before fake time may: somebody works where the loop cannot see it."""
        before, self._at_work = self._at_work, self._jobs + sum(count() for count in self.threads_at_work)
        if self._at_work > before:
            self._waits_since_s = math.inf
        if self._at_work:
            patience_s = THREAD_PATIENCE_S
        elif len(self._selector.get_map() or ()) > 1:  # besides the loop's own
            patience_s = SOCKET_PATIENCE_S
        else:
            self._waits_since_s = math.inf
            return False
        now_s = time.monotonic()
        self._waits_since_s = min(self._waits_since_s, now_s)
        return now_s - self._waits_since_s < patience_s


@contextmanager
def fake_time(clock: FakeClock) -> Iterator[LoopTime]:
    """Let the running loop follow a clock.

    Raises:
        ConfigError: the loop is not asyncio's own, or follows another clock already.
    """
    loop: Any = asyncio.get_running_loop()
    if not isinstance(loop, asyncio.SelectorEventLoop):
        kind = f"{type(loop).__module__}.{type(loop).__qualname__}"
        msg = (
            f"a fake clock needs asyncio's SelectorEventLoop, and this is {kind}: let an `async def` test ask for the "
            f"fixture zfoo_cluster, or use asyncio.Runner(loop_factory=asyncio.SelectorEventLoop)"
        )
        raise ConfigError(msg)
    now = getattr(loop.time, "__self__", None)
    times = now if isinstance(now, LoopTime) else LoopTime(loop, clock)
    if times.clock is not clock:
        msg = "this loop follows another FakeClock already: give both clusters the same one, as clock=…"
        raise ConfigError(msg)
    if not times.users:
        times.install()
    times.users += 1
    try:
        yield times
    finally:
        times.users -= 1
        if not times.users:
            times.uninstall()
