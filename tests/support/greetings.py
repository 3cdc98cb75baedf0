"""A service as a newcomer writes it: a class with state, of which every provider makes an object for itself."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter

from zfoo_py import Ask, Packet, PacketTable, ProtocolModule, Session, packet_receiver

__all__ = ["TABLE", "BlockAsk", "Gate", "GateAsk", "Greeter", "HelloAnswer", "HelloAsk", "gates", "greetings"]

TABLE = PacketTable()
greetings = ProtocolModule(80, "greetings", table=TABLE)
gates = ProtocolModule(81, "gates", table=TABLE)


@greetings.packet(8001)
class HelloAnswer(Packet):
    """A greeting, how many this name has had from this provider, and who that is."""

    text: str
    count: int
    provider: str


@greetings.packet(8000, balance_by="name")
class HelloAsk(Ask[HelloAnswer]):
    """Greet a name, `after_s` seconds of asyncio.sleep."""

    name: str
    after_s: float = 0.0


@greetings.packet(8003)
class BlockAnswer(Packet):
    """In which thread it was handled, and by whom."""

    thread: str
    provider: str


@greetings.packet(8002, balance_by="name")
class BlockAsk(Ask[BlockAnswer]):
    """As HelloAsk, by a ``def`` receiver."""

    name: str


@gates.packet(8100, balance_by="name")
class GateAsk(Ask[HelloAnswer]):
    """Pass a HelloAsk on."""

    name: str


class Gate:
    """Asks those who greet.

    Args:
        name: its own; so its objects are given, not found.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @packet_receiver
    async def at_gate_ask(self, session: Session, ask: GateAsk) -> HelloAnswer:
        """Pass it on."""
        return await session.node.consumer.async_ask(HelloAsk(ask.name))


class Greeter:
    """Counts the names it has greeted."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    @packet_receiver
    async def at_hello_ask(self, session: Session, ask: HelloAsk) -> HelloAnswer:
        """Greet."""
        await asyncio.sleep(ask.after_s)
        self.counts[ask.name] += 1
        return HelloAnswer(f"hello {ask.name}", self.counts[ask.name], session.node.id)

    @packet_receiver
    def at_block_ask(self, session: Session, ask: BlockAsk) -> BlockAnswer:
        """Greet from a worker thread."""
        del ask
        return BlockAnswer(threading.current_thread().name, session.node.id)
