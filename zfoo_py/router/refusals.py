"""What a provider answers when it answers no packet of its own: one `Error` for each way, and what it says.

What to *do* about each code is said at the asker's, in `zfoo_py.net.failures`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zfoo_py.protocol.common import Error, ErrorCode
from zfoo_py.protocol.raised import Raised

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zfoo_py.router.call import Call

__all__ = [
    "cut_short",
    "expired",
    "expired_in_lane",
    "lane_full",
    "lane_is_held",
    "misrouted",
    "name_of",
    "no_answer",
    "no_receiver",
    "raised",
    "said_by",
    "stopped",
    "workers_are_held",
    "workers_full",
]


def no_receiver(packet: str) -> Error:
    """Nobody here handles the packet."""
    return Error(ErrorCode.NO_RECEIVER, f"this node has no receiver of {packet}")


def misrouted(module: str, provided: Iterable[tuple[str, str]]) -> Error:
    """The packet is meant for another service type; ``provided``: (module, group) of what this node provides."""
    groups = " and ".join(sorted(repr(group) for name, group in provided if name == module))
    text = f"this node does not provide module {module!r}"
    if groups:
        text = f"this node provides module {module!r} as {groups}, not as the group that its asker consumes"
    return Error(ErrorCode.NOT_SERVED, text)


def workers_full() -> Error:
    """As many calls wait for a worker thread as may."""
    return Error(ErrorCode.OVERLOADED, "the queue of this node's worker threads is full")


def lane_full(lane: int, waiting: int) -> Error:
    """As many packets wait for its lane as may."""
    return Error(ErrorCode.OVERLOADED, f"{waiting} packets wait for lane {lane} on this node")


def expired() -> Error:
    """Its time was over before its receiver began."""
    return Error(ErrorCode.EXPIRED, "the node has too much to do, or the ask too little time")


def expired_in_lane(holders: Iterable[Call]) -> Error:
    """Its time is all but over, and its lane is still held."""
    names = ", ".join(name_of(holder) for holder in holders)
    text = (
        f"its lane is held by {names}; if that waits for an ask which waits for this one, let one of their receivers "
        f"run beside others with @packet_receiver(reentrant=True)"
    )
    return Error(ErrorCode.EXPIRED, text)


def lane_is_held(path: tuple[str, ...]) -> Error:
    """Its lane is held by an ask of its own chain."""
    text = (
        "the first one holds the lane that the last one needs: do not wait for it in that receiver, or let its own "
        "receiver run beside others with @packet_receiver(reentrant=True)"
    )
    return Error(ErrorCode.ASK_CYCLE, "\n".join((text, *path)))


def workers_are_held(path: tuple[str, ...], workers: int) -> Error:
    """Every worker thread is held by an ask of its own chain."""
    text = (
        f"the last one needs a worker thread, and all {workers} of its node are held by these: make one of the "
        f"receivers async def, or raise limits.workers there"
    )
    return Error(ErrorCode.ASK_CYCLE, "\n".join((text, *path)))


def no_answer(where: str) -> Error:
    """The receiver has run, and said nothing."""
    return Error(ErrorCode.NO_ANSWER, f"{where} returned None instead of an answer")


def stopped() -> Error:
    """The node stops before the call could begin."""
    return Error(ErrorCode.DRAINING, "this node stops, and has not begun with it")


def cut_short(where: str) -> Error:
    """The node has stopped while the receiver ran: it had limits.drain_timeout_s to end."""
    text = (
        f"{where} was still running when its node stopped, and has been cancelled: it may have run in part; "
        f"limits.drain_timeout_s of that node is how long its receivers get to end"
    )
    return Error(ErrorCode.RECEIVER_RAISED, Raised("CancelledError", text).text())


def raised(error: BaseException, traceback: str) -> Error:
    """The receiver raised; ``traceback`` only if the asker may see it."""
    return Error(ErrorCode.RECEIVER_RAISED, Raised(type(error).__name__, said_by(error), traceback).text())


def name_of(call: Call) -> str:
    """Return how an error names a call of this node: as chains do, if it has asked anybody."""
    if call.trail is not None:
        return call.trail.line
    packet = type(call.packet).__name__
    if call.session is None:
        return f"own work ({call.receiver.where})"
    return f"{packet} of {call.session.node_id or call.session.peer}"


def said_by(error: BaseException) -> str:
    """Return what a foreign exception says, as text that can be sent: file names in it may hold lone surrogates."""
    try:
        return str(error).encode("utf-8", "backslashreplace").decode()
    except Exception:  # noqa: BLE001 - its own text may raise, too; its call must end nevertheless
        return ""
