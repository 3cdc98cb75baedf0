"""Figures as plain values."""

from __future__ import annotations

import json

from zfoo_py.consumer.balancer import BalancerStats
from zfoo_py.consumer.figures import ConsumerFigures, HotKey, ServiceFigures


def test_they_are_plain_json_with_the_policys_figures_beside_the_others():
    service = ServiceFigures(
        "visits", "visits", "mine", ("one",), {}, ("one",), {"one": 3}, False,
        (HotKey("k", 0.5, 0.0),), {"VisitAsk": 1.0},
        7, 6, 0.0, 0, BalancerStats(entries=5, hits=2),
    )  # fmt: skip
    found = ConsumerFigures(7, 3, 0, 1, 0, 0, {"visits": service}).as_dict()
    assert json.loads(json.dumps(found)) == found
    visits = found["services"]["visits"]
    assert "stats" not in visits
    assert (visits["entries"], visits["hits"], visits["picks"], visits["providers"]) == (5, 2, {"one": 3}, ["one"])
    assert visits["hot_keys"] == [{"key": "k", "share": 0.5, "error": 0.0}]
