"""Keeps scores in memory, for Java and Python consumers.

zfoo-py run samples.java_cluster.provider --config samples/java_cluster/provider.toml
"""

from __future__ import annotations

from samples.java_cluster.scores import ScoreAnswer, ScoreAsk
from zfoo_py import Session, packet_receiver


class Scores:
    """The scores of the users whose key has its place here. One user's asks come one at a time, so no lock."""

    def __init__(self) -> None:
        self.totals: dict[int, int] = {}
        self.medals: dict[int, set[str]] = {}

    @packet_receiver
    async def at_score_ask(self, session: Session, ask: ScoreAsk) -> ScoreAnswer:
        """Java's atScoreAsk; what is returned is the answer."""
        total = self.totals[ask.user_id] = self.totals.get(ask.user_id, 0) + ask.points
        medals = self.medals.setdefault(ask.user_id, set())
        medals.update(ask.medals)
        return ScoreAnswer(ask.user_id, total, len(medals), session.node.id)
