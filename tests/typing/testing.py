"""What type checkers make of a test's cluster; read by mypy, never run."""

from __future__ import annotations

from typing import assert_type

from tests.typing.packets import VisitAnswer, VisitAsk, visits
from zfoo_py.router.answer import Answer
from zfoo_py.testing import Cluster, cluster


async def a_test() -> None:
    """The answer's class is known, as everywhere."""
    async with cluster(visits, providers={"a": {"workers": 1}}, consumers=["c"], heartbeat_interval_s=1.0) as c:
        assert_type(c, Cluster)
        assert_type(c.ask(VisitAsk("10.0.0.7", 512)), Answer[VisitAnswer])
        assert_type(await c.ask(VisitAsk("10.0.0.7", 512), key=7, timeout_s=1.0), VisitAnswer)
        assert_type(c.serving(visits, "10.0.0.7"), str)
        c.delay("a", 0.05, direction="in")
        c.delay("a", 0.05, direction="up")  # type: ignore[arg-type]
