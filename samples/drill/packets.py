"""What the members of the drill say to each other, on a table of their own."""

from __future__ import annotations

from zfoo_py import Ask, Packet, PacketTable, ProtocolModule

__all__ = [
    "BLOCK_CHAINS",
    "CHAINS",
    "MODULES",
    "TABLE",
    "Answered",
    "BlockAsk",
    "BlockChain0Ask",
    "BlockChain1Ask",
    "BlockChain2Ask",
    "Chain0Ask",
    "Chain1Ask",
    "Chain2Ask",
    "ClockAsk",
    "CrowdAsk",
    "FloodAsk",
    "FloodLookAsk",
    "Flooded",
    "ForkAsk",
    "KillAsk",
    "LookAsk",
    "Looked",
    "RelayAsk",
    "WorkAsk",
    "WorkNote",
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


@orders.packet(2100, balance_by="key")
class RelayAsk(Ask[Answered]):
    """Ask WorkAsk with this key, and say who answered, or the error's class and text."""

    key: str
    how: str = "answer"
    seconds: float = 0.0


@orders.packet(2101)
class KillAsk(Ask[Answered]):
    """Kill a core actor of this member from inside; `how` is "abort" or "raise"."""

    core: str
    how: str


@orders.packet(2102)
class Looked(Packet):
    """What this member believes: providers of work, actors, sessions, asks in flight, packets in work, late answers."""

    providers: list[str]
    actors: list[str]
    sessions: int
    pending: int
    in_work: int
    late: int


@orders.packet(2103)
class LookAsk(Ask[Looked]):
    """Say what you believe."""


@orders.packet(2104)
class FloodAsk(Ask[Answered]):
    """Ask `how` of the own consumer without a pause, for so long, or `asks` in all; answered when it has begun.

    `batch`: so many at once, before anything else may happen on the loop; `note_every`: each so manieth is one way;
    `keys`: how many different ones.
    """

    asks: int
    seconds: float
    how: str = "answer"
    work_s: float = 0.0
    timeout_s: float = 3.0
    batch: int = 500
    keys: int = 100_000
    note_every: int = 0


@orders.packet(2105)
class Flooded(Packet):
    """What the flood has come to: how each ask ended, by the error's class or "answered" or "crossed".

    Of those that were refused, 99 % were so within `refused_ms`, and within `busy_ms` of this process' own work.
    """

    is_over: bool
    made: int
    open: int
    ends: dict[str, int]
    refused_ms: float
    busy_ms: float


@orders.packet(2106)
class FloodLookAsk(Ask[Flooded]):
    """Say what the flood has come to."""


@orders.packet(2107)
class ClockAsk(Ask[Answered]):
    """Let this process' wall clock be so many seconds off, from now on."""

    off_s: float


@orders.packet(2108)
class ForkAsk(Ask[Answered]):
    """Fork so many times; each child asks with the node of its parent. The text says how the children ended."""

    times: int


@orders.packet(2109)
class CrowdAsk(Ask[Answered]):
    """Ask for so long from two event loops in threads of their own, and from two blocking threads."""

    seconds: float


@work.packet(2003, balance_by="key")
class WorkNote(Packet):
    """Nothing to do."""

    key: str


# A chain of asks in which each is made from inside the receiver of the one before. `path`: whom the
# others are for; `fresh`: each with another key.


@link0.packet(2200, balance_by="key")
class Chain0Ask(Ask[Answered]):
    """For the first member; its receiver awaits."""

    key: str
    path: list[int]
    fresh: bool = False


@link1.packet(2201, balance_by="key")
class Chain1Ask(Ask[Answered]):
    """For the second member."""

    key: str
    path: list[int]
    fresh: bool = False


@link2.packet(2202, balance_by="key")
class Chain2Ask(Ask[Answered]):
    """For the third member."""

    key: str
    path: list[int]
    fresh: bool = False


@link0.packet(2203, balance_by="key")
class BlockChain0Ask(Ask[Answered]):
    """As Chain0Ask; its receiver holds a worker thread meanwhile."""

    key: str
    path: list[int]
    fresh: bool = False


@link1.packet(2204, balance_by="key")
class BlockChain1Ask(Ask[Answered]):
    """As BlockChain0Ask, for the second member."""

    key: str
    path: list[int]
    fresh: bool = False


@link2.packet(2205, balance_by="key")
class BlockChain2Ask(Ask[Answered]):
    """As BlockChain0Ask, for the third member."""

    key: str
    path: list[int]
    fresh: bool = False


CHAINS = (Chain0Ask, Chain1Ask, Chain2Ask)
BLOCK_CHAINS = (BlockChain0Ask, BlockChain1Ask, BlockChain2Ask)
