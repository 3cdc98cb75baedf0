"""Protections switched off, by row: `--sabotage ID` must turn that row red.

Each entry replaces one function of zfoo_py in the processes of that row, so that what it protects from happens.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec
from loguru import logger

from zfoo_py import fork_io
from zfoo_py.actor import runtime
from zfoo_py.actor.messages import CONTROL, SPECIAL
from zfoo_py.consumer.connector_actor import ConnectorActor
from zfoo_py.engine import Engine
from zfoo_py.errors import DecodeError
from zfoo_py.log import RateLimiter
from zfoo_py.net import ends, session_actor, tcp_io
from zfoo_py.net import messages as m
from zfoo_py.net.intake import Intake
from zfoo_py.net.pending import Pending
from zfoo_py.node import Node
from zfoo_py.protocol.attachment import SignalAttachment
from zfoo_py.protocol.framing import HEADER_BYTES, FrameParser
from zfoo_py.protocol.msgpack_codec import MsgpackCodec
from zfoo_py.router.cancels import Cancels
from zfoo_py.router.cycles import Cycles
from zfoo_py.router.dispatcher import Dispatcher
from zfoo_py.router.replies import Replies
from zfoo_py.supervisor import Supervisor

__all__ = ["OURS", "SABOTAGES", "Patches", "sabotage"]


class Patches:
    """Attributes that were replaced; `undo` gives them back."""

    def __init__(self) -> None:
        self._before: list[tuple[Any, str, Any]] = []

    def put(self, owner: Any, name: str, value: Any) -> None:
        """Replace an attribute."""
        self._before.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    def turn(self, message: type, handler: Callable[..., Any]) -> None:
        """Replace how session actors handle a message."""
        self.put(_Entry(session_actor._TURNS, message), "value", handler)  # noqa: SLF001

    def undo(self) -> None:
        """Give back what was replaced."""
        while self._before:
            owner, name, value = self._before.pop()
            setattr(owner, name, value)


class _Entry:
    def __init__(self, table: Any, key: Any) -> None:
        object.__setattr__(self, "_at", (table, key))

    def __getattr__(self, _name: str) -> Any:
        table, key = object.__getattribute__(self, "_at")
        return table[key]

    def __setattr__(self, _name: str, value: Any) -> None:
        table, key = self._at
        table[key] = value


def _nothing(*_: Any, **__: Any) -> None:
    """Do nothing."""


def sabotage(id: str, patches: Patches) -> None:
    """Switch off the protection of a row in this process; "" switches off nothing."""
    if id:
        SABOTAGES[id](patches)


# --- F


def _forget_the_lost(patches: Patches) -> None:
    """A session that is lost leaves its asks to their deadlines, as Java zfoo does."""
    patches.put(ends, "fail_all", _nothing)


def _no_heartbeat(patches: Patches) -> None:
    """Nobody asks a silent peer whether it lives."""
    patches.turn(m.HeartbeatDue, _nothing)


def _dial_once(patches: Patches) -> None:
    """A target that is lost is not dialled again."""
    patches.put(ConnectorActor, "_redial", _nothing)


def _swallow(patches: Patches) -> None:
    """What a receiver raises is told to nobody."""
    patches.put(Replies, "failed", _nothing)


def _bury(patches: Patches) -> None:
    """A core actor that has died is not started anew."""
    patches.put(Supervisor, "_respawn", _nothing)


def _wall_clock(patches: Patches) -> None:
    """Deadlines stand on the wall clock."""
    init = runtime.Runtime.__init__

    def by_the_wall(self: Any, *args: Any, **more: Any) -> None:
        init(self, *args, **more)
        self.time = lambda: time.time()  # noqa: PLW0108 - whatever it is by then

    patches.put(runtime.Runtime, "__init__", by_the_wall)


# --- H


def _any_error(patches: Patches) -> None:
    """What cannot be decoded raises whatever the library below raises."""
    decode = MsgpackCodec.decode

    def undeclared(codec: MsgpackCodec, body: Any) -> Any:
        try:
            return decode(codec, body)
        except DecodeError as error:
            raise KeyError(str(error)) from error

    patches.put(MsgpackCodec, "decode", undeclared)


class _Credulous(FrameParser):
    """Believes every length, and keeps what comes until the body is there."""

    __slots__ = ("_all",)

    def feed(self, data: bytes) -> list[bytes | memoryview]:
        self._all: bytes = getattr(self, "_all", b"") + data
        bodies: list[bytes | memoryview] = []
        while len(self._all) >= HEADER_BYTES:
            end = HEADER_BYTES + int.from_bytes(self._all[:HEADER_BYTES], "big")
            if len(self._all) < end:
                break
            bodies.append(self._all[HEADER_BYTES:end])
            self._all = self._all[end:]
        return bodies


def _credulous(patches: Patches) -> None:
    """The length of a frame is not judged."""
    patches.put(tcp_io, "FrameParser", _Credulous)


def _patient(patches: Patches) -> None:
    """Nobody minds a peer that says no Hello, or no whole frame."""
    patches.turn(m.HelloLate, _nothing)
    patches.turn(m.HeartbeatDue, _nothing)


def _talkative(patches: Patches) -> None:
    """Each stranger gets its log line."""
    patches.put(RateLimiter, "log", lambda _, __, text, **___: logger.warning(text))


# --- O


def _take_everything(patches: Patches) -> None:
    """Asks in flight have no bound."""
    init = Pending.__init__

    def boundless(self: Pending, _: int) -> None:
        init(self, sys.maxsize)

    patches.put(Pending, "__init__", boundless)


def _nothing_overtakes(patches: Patches) -> None:
    """Control messages wait behind all others, of which a wake-up handles one burst."""
    for message, kind in list(SPECIAL.items()):
        if kind == CONTROL:
            patches.put(_Entry(SPECIAL, message), "value", 0)
    patches.put(runtime, "MAX_TURNS_PER_WAKE", runtime.MAX_BURST)


def _read_on(patches: Patches) -> None:
    """A peer that takes nothing is read and answered all the same."""
    patches.put(Intake, "pause", _nothing)
    patches.turn(m.WritePaused, _nothing)


def _follow_circles(patches: Patches) -> None:
    """Nobody looks whether an ask waits for itself."""
    patches.put(Cycles, "in_lane", _nothing)
    patches.put(Cycles, "in_workers", _nothing)


def _no_deadlines(patches: Patches) -> None:
    """A provider does not know when its askers give up."""
    receive = Dispatcher.receive

    def receive_for_ever(dispatcher: Dispatcher, session: Any, binding: Any, packet: Any, attachment: Any) -> bool:
        if isinstance(attachment, SignalAttachment):
            attachment = msgspec.structs.replace(attachment, remaining_ms=0)
        return receive(dispatcher, session, binding, packet, attachment)

    patches.put(Dispatcher, "receive", receive_for_ever)
    _deaf_to_cancels(patches)


def _deaf_to_cancels(patches: Patches) -> None:
    """A provider does not hear that nobody waits any more."""
    patches.put(Cancels, "take", _nothing)


# --- M


def _never_expire(patches: Patches) -> None:
    """An ask that nobody answers stays."""
    patches.put(Pending, "expire", lambda *_: [])


def _keep_the_dead(patches: Patches) -> None:
    """A session is not told that its connection has gone."""
    patches.put(tcp_io.TcpConnection, "connection_lost", _nothing)
    patches.turn(m.HeartbeatDue, _nothing)


# --- D


def _leave_at_once(patches: Patches) -> None:
    """SIGTERM ends the process without goodbye."""

    async def stop(_: Node) -> None:
        os._exit(0)

    patches.put(Node, "stop", stop)


class _Unseen(set[Any]):
    """Keeps nothing."""

    def add(self, _: Any) -> None:
        """Forget."""


def _fork_unseen(patches: Patches) -> None:
    """Nothing is done in a forked child."""
    patches.put(fork_io, "_WATCHED", _Unseen())


def _drain_without_limit(patches: Patches) -> None:
    """What is in work is waited for, however long it takes."""

    async def drain(engine: Engine) -> None:
        await engine.router.drained()

    patches.put(Engine, "drain", drain)


def _linger(patches: Patches) -> None:
    """A node that stops waits, though nothing is in hand."""
    drain = Engine.drain

    async def slowly(engine: Engine) -> None:
        await drain(engine)
        await asyncio.sleep(10.0)

    patches.put(Engine, "drain", slowly)


# Rows whose protection is the consumer's, which is a node of the drill's own process; the others' is the members'.
OURS = ("F1", "F2", "F3", "F7")

SABOTAGES: dict[str, Callable[[Patches], None]] = {
    "F1": _forget_the_lost,
    "F2": _no_heartbeat,
    "F3": _dial_once,
    "F7": _dial_once,
    "F9": _wall_clock,
    "F10": _swallow,
    "F11": _bury,
    "H1": _any_error,
    "H3": _credulous,
    "H5": _patient,
    "H7": _talkative,
    "O1": _take_everything,
    "O2": _nothing_overtakes,
    "O4": _read_on,
    "O8": _follow_circles,
    "O9": _no_deadlines,
    "O10": _deaf_to_cancels,
    "M2": _never_expire,
    "M3": _keep_the_dead,
    "D1": _leave_at_once,
    "D2": _drain_without_limit,
    "D6": _fork_unseen,
    "D8": _linger,
}
