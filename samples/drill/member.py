"""A member of the drill's cluster: a node in a process of its own, that does what it is asked and suffers the faults.

    python -m samples.drill.member '{"id": "p1", "provides": ["work"], "discovery": {"address": "127.0.0.1:12399"}}'

It prints its address when it is up, and stops when stdin closes: then whoever started it is gone. With
DRILL_SABOTAGE=ID in its environment one protection is switched off (samples/drill/sabotage.py).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any

from samples.drill.orders import Links, Orders
from samples.drill.packets import MODULES, TABLE, Answered, BlockAsk, WorkAsk, WorkNote
from samples.drill.sabotage import Patches, sabotage
from samples.services import stop_with_stdin
from zfoo_py import Node, Session, enable_logging, packet_receiver
from zfoo_py.events import MembershipChanged

__all__ = ["Work", "main"]


class Work:
    """What a provider does.

    Args:
        name: of this member.
        witness: a file that gets a line, key, time and name, when a receiver that takes time begins; "key.cancelled"
            when it is cancelled.
    """

    def __init__(self, name: str, witness: str) -> None:
        self.name = name
        self._witness = os.open(witness, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def _note(self, what: str) -> None:
        os.write(self._witness, f"{what} {time.monotonic():.6f} {self.name}\n".encode())

    @packet_receiver
    async def at_work(self, _session: Session, ask: WorkAsk) -> Answered:
        """Do what the ask says."""
        if ask.how == "sleep":
            self._note(ask.key)
            try:
                await asyncio.sleep(ask.seconds)
            except asyncio.CancelledError:
                self._note(f"{ask.key}.cancelled")
                raise
        elif ask.how == "raise":
            raise LookupError(ask.key)
        elif ask.how == "exit":
            raise SystemExit(ask.key)
        elif ask.how == "interrupt":
            raise KeyboardInterrupt(ask.key)
        return Answered(self.name, ask.key, load=bytes(ask.size))

    @packet_receiver
    async def at_note(self, _session: Session, _note: WorkNote) -> None:
        """Do nothing."""

    @packet_receiver
    def at_block(self, _session: Session, ask: BlockAsk) -> Answered:
        """Hold a worker."""
        self._note(ask.key)
        time.sleep(ask.seconds)
        return Answered(self.name, ask.key)


def main() -> None:
    """Run one member until it is told to stop."""
    told: dict[str, Any] = json.loads(sys.argv[1])
    sabotage(os.environ.get("DRILL_SABOTAGE", ""), Patches())
    if told.get("log"):
        enable_logging()
    orders = Orders(told["id"])

    def up(node: Node) -> None:
        stop_with_stdin(node)
        print(node.address, flush=True)

    node = Node(
        id=told["id"],
        address=told.get("address"),
        provides=[MODULES[name] for name in told.get("provides", ())],
        consumes=[MODULES[name] for name in told.get("consumes", ())],
        receivers=[Work(told["id"], told["witness"]), orders, Links(told["id"])],
        discovery=told["discovery"],
        table=TABLE,
        on_start=up,
        **told.get("limits", {}),
    )
    node.events.subscribe(MembershipChanged, orders.membership)
    node.run()


if __name__ == "__main__":
    main()
