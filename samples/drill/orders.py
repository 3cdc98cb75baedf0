"""What a member does to itself when the drill orders it: look, flood, die, fork, ask in a circle."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import warnings
from array import array
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from samples.drill.load import percentile
from samples.drill.packets import (
    BLOCK_CHAINS,
    CHAINS,
    Answered,
    BlockChain0Ask,
    BlockChain1Ask,
    BlockChain2Ask,
    Chain0Ask,
    Chain1Ask,
    Chain2Ask,
    ClockAsk,
    CrowdAsk,
    FloodAsk,
    Flooded,
    FloodLookAsk,
    ForkAsk,
    KillAsk,
    LookAsk,
    Looked,
    RelayAsk,
    WorkAsk,
    WorkNote,
)
from zfoo_py import ForkedError, Session, ZfooError, packet_receiver
from zfoo_py.actor import Abort
from zfoo_py.net.session_actor import SessionActor

if TYPE_CHECKING:
    from zfoo_py import Node
    from zfoo_py.events import MembershipChanged

__all__ = ["Crowd", "Flood", "Links", "Orders"]

# An ask of a chain that finds no end but its deadline.
CHAIN_TIMEOUT_S = 2.0
# A child that has not ended by then hangs.
CHILD_END_S = 5.0


class FatalError(BaseException):
    """What no actor survives."""


class Flood:
    """Asks made faster than they can be answered, and how each ended.

    Args:
        node: whose consumer asks.
        order: how many, for how long, of what.
    """

    def __init__(self, node: Node, order: FloodAsk) -> None:
        self._node = node
        self._order = order
        self._ends: Counter[str] = Counter()
        self._refused_ms = array("d")
        self._busy_ms = array("d")
        self._made = 0
        self._until_s = time.monotonic() + order.seconds if order.seconds else float("inf")
        self._task = asyncio.create_task(self._run(), name="flood")

    async def _run(self) -> None:
        while self._batch():  # noqa: ASYNC110 - it waits for nothing
            await asyncio.sleep(0)

    def _batch(self) -> bool:
        order, consumer = self._order, self._node.consumer
        for _ in range(order.batch):
            if order.asks and self._made >= order.asks:
                return False
            self._made += 1
            key = f"flood-{self._made % order.keys}"
            begun = (time.monotonic(), time.thread_time())
            if order.note_every and not self._made % order.note_every:
                future: Any = consumer.send(WorkNote(key))
            else:
                future = consumer.async_ask(WorkAsk(key, order.how, order.work_s), timeout_s=order.timeout_s)
            future.add_done_callback(partial(self._ended, key, begun))
        return time.monotonic() < self._until_s

    def _ended(self, key: str, begun: tuple[float, float], done: Any) -> None:
        error = done.exception()
        if error is not None:
            self._ends[type(error).__name__] += 1
            if type(error).__name__ in {"BackpressureError", "OverloadedError"}:
                self._refused_ms.append((time.monotonic() - begun[0]) * 1000)
                self._busy_ms.append((time.thread_time() - begun[1]) * 1000)
        else:
            answer = done.result()
            self._ends["answered" if answer is None or answer.key == key else "crossed"] += 1

    def looked(self) -> Flooded:
        """Return what it has come to."""
        is_over = self._task.done()
        # Sorting would hold the loop.
        late_ms = [percentile(took_ms, 0.99) if is_over else 0.0 for took_ms in (self._refused_ms, self._busy_ms)]
        ends = dict(self._ends)
        return Flooded(is_over, self._made, self._made - sum(ends.values()), ends, *late_ms)


class Crowd:
    """One node asked from two event loops in threads of their own, and from two blocking threads, at once."""

    def __init__(self, node: Node, seconds: float) -> None:
        self._node = node
        self._until_s = time.monotonic() + seconds
        self._ends: Counter[str] = Counter()
        self._slowest_loop_ms = 0.0

    def run(self) -> str:
        """Ask until the time is over; return what came of it. Blocks."""
        threads = [threading.Thread(target=self._own_loop, args=(number,)) for number in range(2)]
        threads += [threading.Thread(target=self._blocking, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return f"{self._slowest_loop_ms:.0f} {dict(self._ends)}"

    def _own_loop(self, number: int) -> None:
        asyncio.run(self._asking(number))

    async def _asking(self, number: int) -> None:
        beat = asyncio.create_task(self._beat())
        while time.monotonic() < self._until_s:
            keys = [f"loop-{number}-{n}" for n in range(20)]
            asks = [self._node.consumer.async_ask(WorkAsk(key)) for key in keys]
            for key, answer in zip(keys, await asyncio.gather(*asks, return_exceptions=True), strict=True):
                self._ended(key, answer)
        beat.cancel()

    async def _beat(self) -> None:
        while True:
            before_s = time.monotonic()
            await asyncio.sleep(0.005)
            self._slowest_loop_ms = max(self._slowest_loop_ms, (time.monotonic() - before_s - 0.005) * 1000)

    def _blocking(self, number: int) -> None:
        while time.monotonic() < self._until_s:
            key = f"thread-{number}"
            try:
                self._ended(key, self._node.consumer.sync_ask(WorkAsk(key)))
            except ZfooError as error:
                self._ended(key, error)

    def _ended(self, key: str, answer: Any) -> None:
        if isinstance(answer, BaseException):
            self._ends[type(answer).__name__] += 1
        else:
            self._ends["answered" if answer.key == key else "crossed"] += 1


class Orders:
    """What a member is ordered to do.

    Args:
        name: of this member.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.providers: list[str] = []
        self._flood: Flood | None = None

    def membership(self, change: MembershipChanged) -> None:
        """Take down who provides work."""
        self.providers = sorted(node_id for _, node_id in change.modules.get("work", ()))

    @packet_receiver(reentrant=True)
    async def at_relay(self, session: Session, ask: RelayAsk) -> Answered:
        """Ask on; the error, if there is one, is the answer."""
        try:
            answer = await session.node.consumer.async_ask(WorkAsk(ask.key, ask.how, ask.seconds))
        except ZfooError as error:
            return Answered("", ask.key, f"{type(error).__name__}: {error}")
        return Answered(answer.served_by, answer.key)

    @packet_receiver
    async def at_kill(self, session: Session, ask: KillAsk) -> Answered:
        """Kill a core actor, once this turn is over."""
        core: Any = getattr(session.node._engine, ask.core)  # noqa: SLF001 - fault injection

        def die(_: Any) -> None:
            raise FatalError

        def kill() -> None:
            if ask.how == "raise":
                core.actor.on_receive = die
                core.tell("anything")
            else:
                core.tell(Abort("fault injection"))

        asyncio.get_running_loop().call_soon(kill)
        return Answered(self.name, ask.core)

    @packet_receiver
    async def at_look(self, session: Session, _ask: LookAsk) -> Looked:
        """Say what this member believes."""
        engine = session.node._engine  # noqa: SLF001 - a look from inside
        assert engine is not None
        names = [type(actor).__name__ for actor in engine.runtime.actors]
        sessions = [actor for actor in engine.runtime.actors if isinstance(actor, SessionActor)]
        pending = sum(len(actor._pending) for actor in sessions)  # noqa: SLF001
        late = sum(actor.late_answers for actor in sessions)
        return Looked(self.providers, sorted(names), len(sessions), pending, engine.router.in_work, late)

    @packet_receiver
    async def at_flood(self, session: Session, ask: FloodAsk) -> Answered:
        """Begin to flood."""
        self._flood = Flood(session.node, ask)
        return Answered(self.name, "flood")

    @packet_receiver
    async def at_flood_look(self, _session: Session, _ask: FloodLookAsk) -> Flooded:
        """Say what the flood has come to."""
        return self._flood.looked() if self._flood is not None else Flooded(True, 0, 0, {}, 0.0, 0.0)

    @packet_receiver
    async def at_clock(self, _session: Session, ask: ClockAsk) -> Answered:
        """Set the wall clock of this process."""
        set_clock(ask.off_s)
        return Answered(self.name, "clock", str(time.time()))

    @packet_receiver
    async def at_fork(self, session: Session, ask: ForkAsk) -> Answered:
        """Fork, on the loop's own thread, with every session open."""
        ends: Counter[str] = Counter()
        for number in range(ask.times):
            ends[await self._fork(session.node, number)] += 1
        return Answered(self.name, "fork", repr(dict(ends)))

    async def _fork(self, node: Node, number: int) -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: a fork with threads
            child = os.fork()
        if not child:
            try:
                node.consumer.async_ask(WorkAsk(f"child-{number}"))
            except ForkedError:
                os._exit(7)
            finally:
                os._exit(8)
        until_s = time.monotonic() + CHILD_END_S
        while time.monotonic() < until_s:
            done, status = os.waitpid(child, os.WNOHANG)  # noqa: ASYNC222 - it does not wait
            if done:
                code = os.waitstatus_to_exitcode(status)
                return "ForkedError" if code == 7 else f"exit code {code}"
            await asyncio.sleep(0.001)
        os.kill(child, 9)
        os.waitpid(child, 0)  # noqa: ASYNC222 - it is dead
        return "hung"

    @packet_receiver
    def at_crowd(self, session: Session, ask: CrowdAsk) -> Answered:
        """Ask from several loops and threads at once."""
        return Answered(self.name, "crowd", Crowd(session.node, ask.seconds).run())


_real_time = time.time


def set_clock(off_s: float) -> None:
    """Let whoever reads this process' wall clock by ``time.time()`` see it so many seconds off."""
    time.time = lambda: _real_time() + off_s


class Links:
    """Receivers that ask on from inside, awaiting and blocking.

    Args:
        name: of this member.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @packet_receiver
    async def at_chain0(self, session: Session, ask: Chain0Ask) -> Answered:
        """Ask the next link."""
        return await self._next(session, ask)

    @packet_receiver
    async def at_chain1(self, session: Session, ask: Chain1Ask) -> Answered:
        """Ask the next link."""
        return await self._next(session, ask)

    @packet_receiver
    async def at_chain2(self, session: Session, ask: Chain2Ask) -> Answered:
        """Ask the next link."""
        return await self._next(session, ask)

    @packet_receiver
    def at_block0(self, session: Session, ask: BlockChain0Ask) -> Answered:
        """Ask the next link."""
        return self._next_blocking(session, ask)

    @packet_receiver
    def at_block1(self, session: Session, ask: BlockChain1Ask) -> Answered:
        """Ask the next link."""
        return self._next_blocking(session, ask)

    @packet_receiver
    def at_block2(self, session: Session, ask: BlockChain2Ask) -> Answered:
        """Ask the next link."""
        return self._next_blocking(session, ask)

    async def _next(self, session: Session, ask: Any) -> Answered:
        if not ask.path:
            return Answered(self.name, ask.key)
        following = CHAINS[ask.path[0]](ask.key + "." * ask.fresh, ask.path[1:], ask.fresh)
        try:
            answer = await session.node.consumer.async_ask(following, timeout_s=CHAIN_TIMEOUT_S)
        except ZfooError as error:
            return Answered(self.name, ask.key, f"{type(error).__name__}: {error}")
        return Answered(self.name, answer.key, answer.text)

    def _next_blocking(self, session: Session, ask: Any) -> Answered:
        if not ask.path:
            return Answered(self.name, ask.key)
        following: Any = BLOCK_CHAINS[ask.path[0]](ask.key + "." * ask.fresh, ask.path[1:], ask.fresh)
        try:
            answer: Answered = session.node.consumer.sync_ask(following, timeout_s=CHAIN_TIMEOUT_S)
        except ZfooError as error:
            return Answered(self.name, ask.key, f"{type(error).__name__}: {error}")
        return Answered(self.name, answer.key, answer.text)
