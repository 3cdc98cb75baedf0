"""A small service type, in a table of its own, for tests of sessions and receivers."""

from __future__ import annotations

from zfoo_py.protocol.packet import Ask, Packet, PacketTable, ProtocolModule

TABLE = PacketTable()
visits = ProtocolModule(10, "visits", table=TABLE)
pages = ProtocolModule(11, "pages", table=TABLE)


@visits.packet(1101)
class VisitAnswer(Packet):
    text: str


@visits.packet(1100)
class VisitAsk(Ask[VisitAnswer]):
    text: str


@visits.packet(1102)
class VisitNote(Packet):
    text: str


@visits.packet(1103, idempotent=True)
class VisitPeek(Ask[VisitAnswer]):
    text: str


@pages.packet(1200)
class PageAnswer(Packet):
    text: str


@pages.packet(1201)
class PageAsk(Ask[PageAnswer]):
    text: str
