"""What no receiver gets."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.support.packets import TABLE, VisitAsk
from zfoo_py.protocol.common import Cancel, ErrorCode
from zfoo_py.router.unserved import Unserved

BINDING = TABLE.binding(VisitAsk)


def session(side="server", kind="node", serves=()):
    return SimpleNamespace(side=side, kind=kind, serves=frozenset(serves), node_id="them", peer="10.0.0.1:1")


def taken(packet, binding=BINDING, *, unknown=True, **of_session):
    """Let one packet come; return codes it was refused with, warnings, and how many were misrouted."""
    refused, warned = [], []
    unserved = Unserved(
        frozenset((("visits", "blue"),)),
        lambda _session, signal_id, error: refused.append((signal_id, error.code)),
        lambda about, text: warned.append((about, text)),
    )
    unserved.handlers[Cancel] = lambda _session, each: warned.append(each)
    unserved.take(session(**of_session), binding, packet, 7, unknown=unknown)
    return refused, warned, unserved.misrouted


def test_the_frameworks_own_packets_go_to_their_handlers():
    assert taken(Cancel([1]), TABLE.binding(Cancel)) == ([], [Cancel([1])], 0)


def test_what_is_meant_for_another_service_is_told_and_counted():
    refused, [(about, text)], misrouted = taken(VisitAsk("?"), unknown=False)
    assert (refused, misrouted) == ([(7, ErrorCode.NOT_SERVED)], 1)
    assert about == "misroute them"
    assert "VisitAsk of them is misrouted" in text
    assert "'blue'" in text


@pytest.mark.parametrize("of_session", [{"serves": ["visits"]}, {"side": "client"}, {"kind": "client"}])
def test_what_nobody_receives_is_refused_without_alarm(of_session):
    assert taken(VisitAsk("?"), **of_session) == ([(7, ErrorCode.NO_RECEIVER)], [], 0)
    assert taken(VisitAsk("?"), unknown=False, **of_session) == ([], [], 0)
