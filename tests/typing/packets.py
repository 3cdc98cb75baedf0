# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""Read by mypy --strict and pyright, never run: what a packet is to a type checker."""

from __future__ import annotations

from typing import TypeVar, assert_type

from zfoo_py.protocol.packet import Ask, Packet, PacketTable, ProtocolModule

A = TypeVar("A", bound=Packet)

table = PacketTable()
visits = ProtocolModule(10, "visits", table=table)


@visits.packet(1101)
class VisitAnswer(Packet):
    client: str
    count: int
    tags: list[str] = []  # noqa: RUF012 - msgspec copies it


@visits.packet(1100, balance_by="client", idempotent=True)
class VisitAsk(Ask[VisitAnswer]):
    client: str
    bytes_sent: int = 0


class WiderAsk(VisitAsk):
    more: float | None = None


def ask(packet: Ask[A]) -> A:
    """Stand in for async_ask."""
    raise NotImplementedError


answer = VisitAnswer("10.0.0.7", 1)
assert_type(answer.client, str)
assert_type(answer.tags, list[str])
assert_type(VisitAnswer(client="a", count=1, tags=["b"]), VisitAnswer)
assert_type(ask(VisitAsk("10.0.0.7", 512)), VisitAnswer)
assert_type(ask(WiderAsk("10.0.0.7", 512, 0.5)), VisitAnswer)
assert_type(table.binding(VisitAsk).answer_class, type[Packet] | None)

# Each of these must be an error: both checkers complain about an ignore that hides nothing.
answer.count = 2  # type: ignore[misc]
VisitAnswer("10.0.0.7")  # type: ignore[call-arg]
VisitAnswer("10.0.0.7", "1")  # type: ignore[arg-type]
ask(answer)  # type: ignore[arg-type]
table.binding(VisitAsk).answer_clas  # type: ignore[attr-defined]  # noqa: B018
