"""Interceptors: in order, and whoever's ``before`` has run hears ``after``."""

from __future__ import annotations

import pytest

from tests.support.packets import VisitAnswer, VisitAsk
from zfoo_py.router.answer import Answer
from zfoo_py.router.hooks import Hooks

ASK = VisitAsk("?")


class Writes:
    """Writes down what it hears, and raises where it is told to."""

    def __init__(self, name, log, raises="", error=ValueError):
        self.name, self.log, self.raises, self.error = name, log, raises, error

    def hear(self, what, *rest):
        self.log.append((self.name, what, *rest))
        if what == self.raises:
            raise self.error(self.name)

    def before_ask(self, packet, key):
        self.hear("before_ask", packet, key)

    def after_ask(self, packet, answer, error):
        self.hear("after_ask", packet, answer, error)

    def before_receive(self, session, packet):
        self.hear("before_receive", session, packet)

    def after_receive(self, session, packet, error):
        self.hear("after_receive", session, packet, error)


def test_all_hear_in_order_before_and_after():
    log = []
    hooks = Hooks([Writes("a", log, raises="after_ask"), Writes("b", log)])
    answer = Answer(None)
    hooks.before_ask(ASK, "k", answer)
    answer.settle(VisitAnswer("!"))
    assert log == [
        ("a", "before_ask", ASK, "k"),
        ("b", "before_ask", ASK, "k"),
        ("a", "after_ask", ASK, VisitAnswer("!"), None),
        ("b", "after_ask", ASK, VisitAnswer("!"), None),
    ]
    log.clear()
    hooks.before_receive("session", ASK)
    hooks.after_receive("session", ASK, None)
    assert [line[:2] for line in log] == [(n, w) for w in ("before_receive", "after_receive") for n in "ab"]


@pytest.mark.parametrize("kind", [ValueError, SystemExit])
def test_if_the_second_one_raises_the_first_one_hears_the_end_and_the_third_nothing(kind):
    log = []
    hooks = Hooks([Writes("a", log), Writes("b", log, "before_ask", kind), Writes("c", log)])
    answer = Answer(None)
    with pytest.raises(kind, match="b") as caught:
        hooks.before_ask(ASK, "k", answer)
    assert log[2:] == [("a", "after_ask", ASK, None, caught.value)]
    answer.settle(VisitAnswer("!"))
    assert len(log) == 3
    log.clear()
    hooks = Hooks([Writes("a", log), Writes("b", log, "before_receive", kind), Writes("c", log)])
    with pytest.raises(kind, match="b") as caught:
        hooks.before_receive("session", ASK)
    assert log[2:] == [("a", "after_receive", "session", ASK, caught.value)]
