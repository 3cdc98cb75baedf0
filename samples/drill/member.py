"""A member of the drill's cluster: a node in a process of its own, that does what it is asked and suffers the faults.

    python -m samples.drill.member '{"id": "p1", "provides": ["work"], "discovery": "127.0.0.1:12399"}'

It prints its address when it is up, and stops when stdin closes: then whoever started it is gone. With
DRILL_SABOTAGE=ID in its environment one protection is switched off (samples/drill/sabotage.py).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from samples.drill.packets import (
    CHAINS,
    MODULES,
    TABLE,
    Answered,
    BlockAsk,
    Chain0Ask,
    Chain1Ask,
    Chain2Ask,
    FloodAsk,
    KillAsk,
    LookAsk,
    Looked,
    RelayAsk,
    WorkAsk,
)
from samples.drill.sabotage import Patches, sabotage
from samples.services import stop_with_stdin
from zfoo_py import Node, Session, ZfooError, enable_logging, packet_receiver
from zfoo_py.actor import Abort
from zfoo_py.events import MembershipChanged

__all__ = ["Receivers", "main"]

# An ask of a chain that finds no end but its deadline.
CHAIN_TIMEOUT_S = 2.0


class FatalError(BaseException):
    """What no actor survives."""


class Receivers:
    """What a member does.

    Args:
        name: of this member.
        witness: a file that gets a line, key and time, when a receiver of BlockAsk or a sleeping WorkAsk begins.
    """

    def __init__(self, name: str, witness: str) -> None:
        self.name = name
        self.providers: list[str] = []
        self.answered = self.refused = 0
        self._flood: asyncio.Task[None] | None = None
        self._witness = os.open(witness, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def membership(self, change: MembershipChanged) -> None:
        """Take down who provides work."""
        self.providers = sorted(node_id for _, node_id in change.modules.get("work", ()))

    def _begin(self, key: str) -> None:
        os.write(self._witness, f"{key} {time.monotonic():.6f} {self.name}\n".encode())

    @packet_receiver
    async def at_work(self, _session: Session, ask: WorkAsk) -> Answered:
        """Do what the ask says."""
        if ask.how == "sleep":
            self._begin(ask.key)
            await asyncio.sleep(ask.seconds)
        elif ask.how == "raise":
            raise LookupError(ask.key)
        elif ask.how == "exit":
            raise SystemExit(ask.key)
        elif ask.how == "interrupt":
            raise KeyboardInterrupt(ask.key)
        return Answered(self.name, ask.key, load=bytes(ask.size))

    @packet_receiver
    def at_block(self, _session: Session, ask: BlockAsk) -> Answered:
        """Hold a worker."""
        self._begin(ask.key)
        time.sleep(ask.seconds)
        return Answered(self.name, ask.key)

    # --- orders

    @packet_receiver
    async def at_relay(self, session: Session, ask: RelayAsk) -> Answered:
        """Ask on; the error, if there is one, is the answer."""
        try:
            answer = await session.node.consumer.async_ask(WorkAsk(ask.key))
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
        actors = sorted(type(actor).__name__ for actor in engine.runtime.actors)
        return Looked(self.providers, actors, self.answered, self.refused)

    @packet_receiver
    async def at_flood(self, session: Session, ask: FloodAsk) -> Answered:
        """Begin to flood."""
        self._flood = asyncio.create_task(self._keep_flooding(session.node, ask.asks, ask.seconds))
        return Answered(self.name, "flood")

    async def _keep_flooding(self, node: Node, asks: int, seconds: float) -> None:
        until_s = time.monotonic() + seconds

        def count(answer: Any) -> None:
            if answer.exception() is None:
                self.answered += 1
            else:
                self.refused += 1

        while time.monotonic() < until_s:
            packets: Iterator[WorkAsk] = (WorkAsk(f"flood-{number}") for number in range(asks))
            for packet in packets:
                node.consumer.async_ask(packet).add_done_callback(count)
            await asyncio.sleep(0)

    # --- chains

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

    async def _next(self, session: Session, ask: Any) -> Answered:
        if not ask.path:
            return Answered(self.name, ask.key)
        following = CHAINS[ask.path[0]](ask.key, ask.path[1:], ask.block)
        try:
            answer = await session.node.consumer.async_ask(following, timeout_s=CHAIN_TIMEOUT_S)
        except ZfooError as error:
            return Answered(self.name, ask.key, f"{type(error).__name__}: {error}")
        return Answered(self.name, answer.key, answer.text)


def main() -> None:
    """Run one member until it is told to stop."""
    told: dict[str, Any] = json.loads(sys.argv[1])
    sabotage(os.environ.get("DRILL_SABOTAGE", ""), Patches())
    if told.get("log"):
        enable_logging()
    receivers = Receivers(told["id"], told["witness"])

    def up(node: Node) -> None:
        stop_with_stdin(node)
        print(node.address, flush=True)

    node = Node(
        id=told["id"],
        address=told.get("address"),
        provides=[MODULES[name] for name in told.get("provides", ())],
        consumes=[MODULES[name] for name in told.get("consumes", ())],
        receivers=[receivers],
        discovery={"kind": "embedded", "address": told["discovery"]},
        table=TABLE,
        on_start=up,
        **told.get("limits", {}),
    )
    node.events.subscribe(MembershipChanged, receivers.membership)
    node.run()


if __name__ == "__main__":
    main()
