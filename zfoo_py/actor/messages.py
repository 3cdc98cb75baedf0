"""The classes of messages: what overtakes, what ends an actor, and what Pykka itself sends."""

from __future__ import annotations

from typing import Any

import msgspec
from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr, _ActorStop

__all__ = ["ABORT", "CONTROL", "ENVELOPED", "SPECIAL", "Abort", "ActorStop", "Control"]

ActorStop = _ActorStop  # Pykka's order to stop; private there, pinned by a test


class Control(msgspec.Struct, frozen=True):
    """Base of the messages that overtake: at most a few per session, never refused, FIFO among themselves."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        SPECIAL[cls] = CONTROL


class Abort(msgspec.Struct, frozen=True):
    """Order: end at once, without handling what is left in the inbox."""

    reason: str = ""


CONTROL, ENVELOPED, ABORT = 1, 2, 3
# What is not an ordinary message, by exact class: one dict look-up per tell instead of several isinstance.
SPECIAL: dict[type, int] = {
    Abort: ABORT,
    ProxyCall: ENVELOPED,
    ProxyGetAttr: ENVELOPED,
    ProxySetAttr: ENVELOPED,
    ActorStop: ENVELOPED,
}
