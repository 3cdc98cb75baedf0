"""What an order is about, and what it is told when it finds no provider."""

from __future__ import annotations

import pytest

from tests.support.consumers import ConsumerWorld, service
from zfoo_py.actor import LoopFuture
from zfoo_py.consumer import messages as c
from zfoo_py.consumer import orders
from zfoo_py.errors import BackpressureError, NoProviderError
from zfoo_py.net import messages as m


@pytest.fixture
def world():
    return ConsumerWorld(service("visits"))


def test_the_outcome_and_the_order_behind_what_came_back(world):
    ask = world.make_ask()
    send = c.SendOrder(ask.binding, b"", None, LoopFuture())
    assert orders.order_in(m.Undelivered(m.Send(b"", None, "p", "m", print, order=send), "")) is send
    messages = [m.Undelivered(m.Outbound(ask, None, ""), ""), m.LostInFlight(ask, ValueError()), c.Retry(ask, ""), ask]
    assert {id(orders.order_in(message)) for message in (*messages, m.Refused(ask, "", 3, ValueError()))} == {id(ask)}
    assert orders.order_in(c.Sweep()) is None
    assert orders.outcome(ask) is ask.answer
    assert orders.about(ask) == {"module": "visits", "packet": "VisitAsk"}


def test_each_error_has_its_type_and_names_module_and_packet(world):
    ask = world.make_ask()
    for error, kind, text in [
        (orders.too_early(ask, 3), BackpressureError, "3 orders wait"),
        (orders.not_consumed(ask), NoProviderError, "add it to consumes=[…]"),
        (orders.no_provider(ask, "blue", []), NoProviderError, "'visits' as 'blue'; providers known: none at all"),
        (orders.no_provider(ask, "blue", ["b", "a"]), NoProviderError, "providers known: a, b"),
    ]:
        assert type(error) is kind
        assert text in str(error)
        assert (error.module, error.packet, error.may_have_run) == ("visits", "VisitAsk", False)


def test_an_error_names_at_most_ten_of_a_thousand_providers(world):
    text = str(orders.no_provider(world.make_ask(), "g", [f"p{number:03}" for number in range(1000)]))
    assert text.endswith("p008, p009 and 990 more")


def test_the_text_of_a_foreign_error_even_of_one_without_words():
    class UnspeakableError(Exception):
        def __str__(self):
            raise RuntimeError

    assert orders.text_of(ValueError("boom")) == "ValueError: boom"
    assert orders.text_of(UnspeakableError()) == "UnspeakableError"
