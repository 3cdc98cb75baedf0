"""What a provider says instead of an answer."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.support.packets import VisitAsk
from zfoo_py.protocol.common import MAY_NOT_HAVE_RUN, ErrorCode
from zfoo_py.protocol.raised import MAX_MESSAGE_CHARS
from zfoo_py.router import refusals
from zfoo_py.router.chains import Trail

PEER = SimpleNamespace(node_id="", peer="10.0.0.1:5")
CALL = SimpleNamespace(packet=VisitAsk("?"), session=PEER, trail=None)


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (refusals.no_receiver("VisitAsk"), ErrorCode.NO_RECEIVER, "no receiver of VisitAsk"),
        (refusals.misrouted("visits", []), ErrorCode.NOT_SERVED, "does not provide module 'visits'"),
        (refusals.misrouted("v", [("v", "x"), ("w", "y")]), ErrorCode.NOT_SERVED, "provides module 'v' as 'x', not"),
        (refusals.workers_full(), ErrorCode.OVERLOADED, "worker threads is full"),
        (refusals.expired(), ErrorCode.EXPIRED, "too much to do"),
        (refusals.expired_in_lane([CALL]), ErrorCode.EXPIRED, "held by VisitAsk of 10.0.0.1:5"),
        (refusals.stopped(), ErrorCode.DRAINING, "this node stops"),
        (refusals.lane_is_held(("a", "b")), ErrorCode.ASK_CYCLE, "\na\nb"),
        (refusals.workers_are_held(("a", "b"), 2), ErrorCode.ASK_CYCLE, "\na\nb"),
        (refusals.no_answer("f"), ErrorCode.NO_ANSWER, "f returned None"),
        (refusals.raised(ValueError("mine"), ""), ErrorCode.RECEIVER_RAISED, "ValueError: mine"),
    ],
)
def test_each_has_its_code_and_says_why(error, code, text):
    assert error.code == code
    assert text in error.message
    has_run = code in {ErrorCode.NO_ANSWER, ErrorCode.RECEIVER_RAISED}
    assert (code in MAY_NOT_HAVE_RUN) != has_run


def test_what_a_receiver_raised_is_bounded_and_can_be_sent():
    assert len(refusals.raised(ValueError("x" * 10**6), "").message) < MAX_MESSAGE_CHARS + 50
    assert refusals.raised(ValueError("\udcff"), "").message == "ValueError: \\udcff"

    class SilentError(Exception):
        def __str__(self):
            raise RuntimeError("not even that")

    assert refusals.raised(SilentError(), "").message == "SilentError"


def test_how_an_error_names_a_call():
    assert refusals.name_of(CALL) == "VisitAsk of 10.0.0.1:5"
    named = SimpleNamespace(packet=VisitAsk("?"), session=SimpleNamespace(node_id="n", peer="p"), trail=None)
    assert refusals.name_of(named) == "VisitAsk of n"
    assert refusals.name_of(SimpleNamespace(packet=VisitAsk("?"), session=PEER, trail=Trail("", "n.1 V"))) == "n.1 V"
    own = SimpleNamespace(packet=None, session=None, trail=None, receiver=SimpleNamespace(where="work"))
    assert refusals.name_of(own) == "own work (work)"
