"""What a forked child must not do: use, or keep open, what belongs to its parent's nodes.

A child gets a copy of everything but the threads: loops that nobody runs, and sockets that stay open when the parent
closes them. So in the child every node is dead, each call raises `zfoo_py.ForkedError`, and its sockets are closed
without a word to the loop, whose poller the child shares with its parent. A call costs nothing for that: what it would
use is replaced once, in the child.
"""

from __future__ import annotations

import os
import signal
import threading
import weakref
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Forkable", "close_descriptors", "forked", "release_signals", "socket_id", "watch"]


class Forkable(Protocol):
    """Something that belongs to one process."""

    def after_fork(self) -> None:
        """Be dead; called in the child, in the thread that forked."""


_WATCHED: weakref.WeakSet[Forkable] = weakref.WeakSet()


def watch(one: Forkable) -> None:
    """Tell ``one`` whenever this process is a fork that has it, as long as it lives. From any thread."""
    _WATCHED.add(one)


def socket_id(descriptor: int) -> int:
    """Return the inode of an open descriptor, which tells whether it is still the same one."""
    return os.fstat(descriptor).st_ino


def forked(node_id: str) -> str:
    """Return what a child is told that calls a node of its parent."""
    return (
        f"node {node_id!r} runs in this process's parent and did not survive the fork: make a Node of the child's own, "
        "or fork before the first node starts (with multiprocessing: get_context('spawn'))"
    )


def close_descriptors(*tables: Mapping[int, int]) -> None:
    """Close sockets, by number and `socket_id`, of which other objects believe that they are open.

    Each is replaced by the null device: the number stays taken, so whoever closes it again harms nobody.
    """
    null = os.open(os.devnull, os.O_RDWR)
    try:
        for descriptor, inode in [item for table in tables for item in table.items()]:
            try:
                if socket_id(descriptor) == inode:
                    os.dup2(null, descriptor, inheritable=False)
            except OSError:  # it was closed, and the loop had not said so yet
                continue
    finally:
        os.close(null)


def release_signals() -> None:
    """Give back the signals that an event loop has taken: a child's would wake its parent's loop."""
    if threading.current_thread() is not threading.main_thread():
        return
    signal.set_wakeup_fd(-1)  # asyncio has done so by itself since Python 3.12, but leaves the handlers
    for number, default in ((signal.SIGTERM, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
        signal.signal(number, default)


def _after_fork() -> None:
    watched = list(_WATCHED)
    _WATCHED.clear()
    for one in watched:
        one.after_fork()


os.register_at_fork(after_in_child=_after_fork)
