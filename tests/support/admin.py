"""A small cluster that runs in threads, for commands that bring a loop of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from tests.support.nodes import Tallies, TallyAsk, consumer_of, hosting, provider_at
from zfoo_py import Node

__all__ = ["Live", "live"]


class Live(NamedTuple):
    """What runs: where the discovery is, where the consumer's admin socket is, and the nodes."""

    discovery: str
    admin: str
    consumer: Node
    providers: list[Node]

    def owner(self, key: str) -> str:
        """Return the id of the provider that an ask with this key reaches."""
        answer = self.consumer.consumer.sync_ask(TallyAsk(key))
        assert answer is not None
        return answer.served_by


@contextmanager
def live(admin_path: str, providers: int = 3, **first: Any) -> Iterator[Live]:
    """Run a discovery, providers t-0 (with arguments of its own), t-1 … and a consumer with an admin socket."""
    with ExitStack() as stack:
        discovery = stack.enter_context(hosting())
        where = discovery.discovery_address
        served = [
            stack.enter_context(provider_at(where, Tallies(f"t-{number}"), **({} if number else first)))
            for number in range(providers)
        ]
        node = stack.enter_context(consumer_of(where, admin_path=admin_path))
        while len(node.consumer.stats().get(timeout=5)["services"]["tallies"]["providers"]) < providers:
            pass
        yield Live(where, admin_path, node, served)
