"""What the members of the drill say to each other, on a table of their own."""

from __future__ import annotations

from zfoo_py import Ask, Packet, PacketTable, ProtocolModule

__all__ = [
    "CHAINS",
    "MODULES",
    "TABLE",
    "Answered",
    "BlockAsk",
    "Chain0Ask",
    "Chain1Ask",
    "Chain2Ask",
    "FloodAsk",
    "KillAsk",
    "LookAsk",
    "Looked",
    "RelayAsk",
    "WorkAsk",
]

TABLE = PacketTable()
work = ProtocolModule(40, "work", table=TABLE)
orders = ProtocolModule(41, "orders", table=TABLE)
link0 = ProtocolModule(42, "link0", table=TABLE)
link1 = ProtocolModule(43, "link1", table=TABLE)
link2 = ProtocolModule(44, "link2", table=TABLE)
MODULES = {module.name: module for module in (work, orders, link0, link1, link2)}


@work.packet(2000)
class Answered(Packet):
    """Who has answered, and what it has to say."""

    served_by: str
    key: str
    text: str = ""
    load: bytes = b""


@work.packet(2001, balance_by="key")
class WorkAsk(Ask[Answered]):
    """Do something for a key: `how` is "answer", "sleep", "raise", "exit", "interrupt" or "load"."""

    key: str
    how: str = "answer"
    seconds: float = 0.0
    size: int = 0


@work.packet(2002, balance_by="key")
class BlockAsk(Ask[Answered]):
    """Hold a worker thread for so long; the witness is told when it begins."""

    key: str
    seconds: float


@orders.packet(2100)
class RelayAsk(Ask[Answered]):
    """Ask WorkAsk with this key, and say who answered, or the error's class and text."""

    key: str


@orders.packet(2101)
class KillAsk(Ask[Answered]):
    """Kill a core actor of this member from inside; `how` is "abort" or "raise"."""

    core: str
    how: str


@orders.packet(2102)
class Looked(Packet):
    """What this member believes: its providers of work, its actors, and what its flood came to."""

    providers: list[str]
    actors: list[str]
    answered: int
    refused: int


@orders.packet(2103)
class LookAsk(Ask[Looked]):
    """Say what you believe."""


@orders.packet(2104)
class FloodAsk(Ask[Answered]):
    """Flood the own consumer with so many asks at once, again and again, for so long."""

    asks: int
    seconds: float


@link0.packet(2200, balance_by="key")
class Chain0Ask(Ask[Answered]):
    """Ask the links of this path in turn, each from inside the receiver of the one before."""

    key: str
    path: list[int]
    block: bool = False


@link1.packet(2201, balance_by="key")
class Chain1Ask(Ask[Answered]):
    """As Chain0Ask, for another member."""

    key: str
    path: list[int]
    block: bool = False


@link2.packet(2202, balance_by="key")
class Chain2Ask(Ask[Answered]):
    """As Chain0Ask, for a third member."""

    key: str
    path: list[int]
    block: bool = False


CHAINS = (Chain0Ask, Chain1Ask, Chain2Ask)
