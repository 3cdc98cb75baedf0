"""Which messages are special is known by exact class, in one table."""

from __future__ import annotations

from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr, _ActorStop

from tests.support.actors import MoreUrgent, Urgent
from zfoo_py.actor.messages import ABORT, CONTROL, ENVELOPED, SPECIAL, Abort, ActorStop, Control


def test_every_subclass_of_control_at_any_depth_is_entered_by_being_declared():
    class Late(MoreUrgent, frozen=True, tag=True):
        """Keyword arguments of msgspec pass through."""

    assert [SPECIAL[cls] for cls in (Urgent, MoreUrgent, Late)] == [CONTROL] * 3
    assert issubclass(Late, Control)


def test_abort_stop_and_proxy_messages_have_kinds_of_their_own():
    assert SPECIAL[Abort] == ABORT
    assert {SPECIAL[cls] for cls in (ProxyCall, ProxyGetAttr, ProxySetAttr, ActorStop)} == {ENVELOPED}
    assert ActorStop is _ActorStop


def test_everything_else_is_an_ordinary_message():
    assert all(SPECIAL.get(type(message)) is None for message in ("text", 1, None, (), {}, object()))
    assert not issubclass(Abort, Control), "Abort is an order to the runtime; it travels in an envelope"


def test_abort_carries_its_reason():
    assert Abort("the node stops").reason == "the node stops"
    assert Abort() == Abort("")
