"""Packets of Java zfoo, written by ``zfoo-py import-java``; change them there."""

from __future__ import annotations

from typing import Annotated

from zfoo_py import Ask, Int, Long, Packet, ProtocolModule, Wire

scores = ProtocolModule(20, "scores")


@scores.packet(2001)
class ScoreAnswer(Packet):
    """Java's com.example.scores.ScoreAnswer."""

    user_id: Long
    total: Int
    medals: Int
    served_by: str


@scores.packet(2000)
class ScoreAsk(Ask[ScoreAnswer]):
    """Java's com.example.scores.ScoreAsk.

    Attributes:
        user_id: whose score it is
        points: what was won since the last ask
    """

    user_id: Long
    points: Int
    medals: Annotated[list[str], Wire(compatible=1)] = []
