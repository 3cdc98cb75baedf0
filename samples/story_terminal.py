"""The terminal of the story: whether there is one, its keys, and its end. It is put back as it was on every way out."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

with suppress(ImportError):  # Windows itself; zfoo_py runs in WSL there
    import termios

__all__ = ["EndedBySignal", "ended_by_signals", "is_in_front_of_a_person", "keyboard", "orders_of"]

# A person types; what comes in one reading beyond this was pasted.
READ_BYTES = 64
HAS_TERMIOS = "termios" in sys.modules
# Places in what termios.tcgetattr returns.
IFLAG, LFLAG, CHARACTERS = 0, 3, 6


class EndedBySignal(Exception):  # noqa: N818 - not an error: somebody wanted the end
    """SIGTERM came, or SIGHUP: the terminal was closed. Everything was stopped in order."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def is_in_front_of_a_person() -> bool:
    """Tell whether stdin and stdout are terminals that can move a cursor, and this process is in the foreground."""
    if not HAS_TERMIOS or os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        return False
    try:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            return False
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):  # closed
        return False


def orders_of(typed: bytes, keys: Mapping[str, str]) -> list[str]:
    """Return the orders that were typed; a sequence (an arrow, a function key) and any other key are none."""
    if typed.startswith(b"\x1b"):
        return []
    return [keys[key] for key in typed.decode("ascii", "ignore").lower() if key in keys]


@contextmanager
def keyboard(keys: Mapping[str, str], on_order: Callable[[str], None], on_gone: Callable[[], None]) -> Iterator[None]:
    """Give each key when it is pressed, without an echo and without blocking the running loop.

    Ctrl-C stays what it is. Ctrl-S and Ctrl-Z do nothing: a consumer that is stopped would time out on every ask.

    Args:
        keys: key → order.
        on_order: called on the loop.
        on_gone: called once when the terminal is not there any more.
    """
    loop = asyncio.get_running_loop()
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    ours = termios.tcgetattr(fd)
    ours[IFLAG] &= ~termios.IXON
    ours[LFLAG] &= ~(termios.ICANON | termios.ECHO)
    ours[CHARACTERS][termios.VMIN] = 1
    ours[CHARACTERS][termios.VTIME] = 0
    ours[CHARACTERS][termios.VSUSP] = b"\0"

    def ready() -> None:
        try:
            typed = os.read(fd, READ_BYTES)
        except OSError:
            typed = b""
        if not typed:
            loop.remove_reader(fd)
            on_gone()
        for order in orders_of(typed, keys):
            on_order(order)

    try:
        termios.tcsetattr(fd, termios.TCSANOW, ours)
        loop.add_reader(fd, ready)
        yield
    finally:
        loop.remove_reader(fd)
        with suppress(termios.error):  # the terminal was closed
            termios.tcsetattr(fd, termios.TCSANOW, before)


@contextmanager
def ended_by_signals() -> Iterator[Callable[[], None]]:
    """Let SIGTERM and SIGHUP cancel the current task, so that everything is stopped in order.

    Yields:
        What does the same as SIGHUP.

    Raises:
        EndedBySignal: one of them came.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    came: list[int] = []

    def end(number: int) -> None:
        came.append(number)
        if len(came) == 1:
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, end, number)
    try:
        yield lambda: end(signal.SIGHUP)
    except (asyncio.CancelledError, OSError):
        if came:
            raise EndedBySignal(came[0]) from None
        raise
    finally:
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)
