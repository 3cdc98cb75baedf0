"""Whether a node takes one packet more."""

from __future__ import annotations

import math

from zfoo_py.protocol.common import MAY_BE_PICKED_AGAIN, ErrorCode
from zfoo_py.router.admission import LOOK_FROM, Admission


def judge(admission, in_work=LOOK_FROM, *, is_ask=True, remaining_s=3.0, wait_s=0.0):
    error = admission.refusal(in_work, is_ask=is_ask, remaining_s=remaining_s, wait_s=wait_s)
    assert error is None or error.code in MAY_BE_PICKED_AGAIN
    return error


def test_what_can_begin_in_time_is_taken():
    admission = Admission(1000)
    assert admission.look_from == LOOK_FROM
    assert judge(admission, wait_s=2.9) is None
    assert judge(admission, wait_s=1e9, remaining_s=math.inf) is None
    assert judge(admission, wait_s=1e9, is_ask=False) is None


def test_what_would_begin_too_late_is_refused_at_once():
    admission = Admission(1000)
    error = judge(admission, wait_s=3.1)
    assert error.code == ErrorCode.OVERLOADED
    assert "3.1 s" in error.message
    assert admission.shed == 1


def test_the_bound_of_the_node_holds_for_everything():
    admission = Admission(10)
    assert admission.look_from == 10
    for is_ask in (True, False):
        assert judge(admission, 10, is_ask=is_ask).code == ErrorCode.OVERLOADED
    assert judge(admission, 9) is None


def test_a_draining_node_refuses_asks_and_takes_what_comes_one_way():
    admission = Admission(10)
    admission.drain()
    assert admission.look_from == 0
    assert judge(admission, 0).code == ErrorCode.DRAINING
    assert judge(admission, 0, is_ask=False) is None
    assert admission.drained == 1
