"""The three services of the cluster sample: packets, receivers, and a provider process.

Providers keep their counts in memory, per key: that is only right if the same key always reaches the same
provider of the right type, which is what `make cluster` checks.

    python -m samples.services --id visits-1 --provides visits --discovery 127.0.0.1:12399
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections import Counter

from zfoo_py import Ask, Node, Packet, ProtocolModule, Session, packet_receiver
from zfoo_py.discovery_config import discovery_of

visits = ProtocolModule(10, "visits")
sessions = ProtocolModule(11, "sessions")
pages = ProtocolModule(12, "pages")


@visits.packet(1101)
class VisitAnswer(Packet):
    """How often this client was counted here, and by whom."""

    client: str
    count: int
    served_by: str


@visits.packet(1100, balance_by="client")
class VisitAsk(Ask[VisitAnswer]):
    """Count a client's visit."""

    client: str
    bytes_sent: int


@sessions.packet(1201)
class SessionAnswer(Packet):
    """How many requests this client's session has had here, how many bytes, and by whom it was counted."""

    client: str
    count: int
    bytes_sent: int
    served_by: str


@sessions.packet(1200, balance_by="client")
class SessionAsk(Ask[SessionAnswer]):
    """Add a request to a client's session; the same key as VisitAsk, and another service type."""

    client: str
    bytes_sent: int


@pages.packet(1301)
class PageAnswer(Packet):
    """How often this page was counted here, and by whom."""

    path: str
    count: int
    served_by: str


@pages.packet(1300, balance_by="path")
class PageAsk(Ask[PageAnswer]):
    """Count a page's view."""

    path: str


MODULES = {module.name: module for module in (visits, sessions, pages)}


class Counts:
    """The receivers, and the state they keep. A key's packets share a lane, so the state needs no lock.

    Args:
        served_by: name of this provider.
    """

    def __init__(self, served_by: str) -> None:
        self.served_by = served_by
        self.visits: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.views: Counter[str] = Counter()

    @packet_receiver
    async def at_visit_ask(self, _session: Session, ask: VisitAsk) -> VisitAnswer:
        """Count a visit."""
        self.visits[ask.client] += 1
        return VisitAnswer(ask.client, self.visits[ask.client], self.served_by)

    @packet_receiver
    async def at_session_ask(self, _session: Session, ask: SessionAsk) -> SessionAnswer:
        """Count a request of a session."""
        self.requests[ask.client] += 1
        self.bytes[ask.client] += ask.bytes_sent
        return SessionAnswer(ask.client, self.requests[ask.client], self.bytes[ask.client], self.served_by)

    @packet_receiver
    async def at_page_ask(self, _session: Session, ask: PageAsk) -> PageAnswer:
        """Count a page's view."""
        self.views[ask.path] += 1
        return PageAnswer(ask.path, self.views[ask.path], self.served_by)


def stop_with_stdin(_: Node) -> None:
    """Stop this process in order when its stdin closes: then whoever started it is gone."""
    loop = asyncio.get_running_loop()

    def closed() -> None:
        loop.remove_reader(sys.stdin.fileno())
        os.kill(os.getpid(), signal.SIGTERM)

    loop.add_reader(sys.stdin.fileno(), closed)


def main() -> None:
    """Run one provider until it is told to stop."""
    parser = argparse.ArgumentParser(description="One provider of the cluster sample.")
    parser.add_argument("--id", required=True)
    parser.add_argument("--provides", nargs="+", required=True, choices=sorted(MODULES))
    parser.add_argument("--discovery", required=True, help="host:port of the embedded discovery, or zookeeper://…")
    parser.add_argument("--stop-with-stdin", action="store_true", help="stop when stdin closes")
    options = parser.parse_args()
    Node(
        id=options.id,
        provides=[MODULES[name] for name in options.provides],
        receivers=[Counts(options.id)],
        discovery=discovery_of(options.discovery),
        on_start=stop_with_stdin if options.stop_with_stdin else None,
    ).run()


if __name__ == "__main__":
    main()
