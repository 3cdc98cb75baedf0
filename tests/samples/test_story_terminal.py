"""Keys and the end of a terminal."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from samples import story_terminal
from samples.story import KEYS
from samples.story_terminal import EndedBySignal, ended_by_signals, is_in_front_of_a_person, keyboard, orders_of

termios = pytest.importorskip("termios", reason="needs a Unix terminal")


@pytest.mark.parametrize(
    ("typed", "orders"),
    [
        (b"k", ["kill"]),
        (b"a", ["add"]),
        (b"e", ["explain"]),
        (b"q", ["quit"]),
        (b"KQ", ["kill", "quit"]),
        (b"x \r\n7", []),
        (b"\x1b[A", []),  # an arrow is no "a"
        (b"\x1bOk", []),
        ("äk".encode(), ["kill"]),
        (b"", []),
    ],
)
def test_keys(typed, orders):
    assert orders_of(typed, KEYS) == orders


@pytest.fixture
def terminal(monkeypatch):
    """Give this process a terminal for stdin; return (its other end, its own end)."""
    other, own = os.openpty()
    with os.fdopen(own, "rb", buffering=0) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield other, own
    os.close(other)


def test_keys_come_unbuffered_and_the_terminal_is_put_back(terminal):
    other, own = terminal
    before = termios.tcgetattr(own)

    async def type_keys():
        orders = asyncio.Queue()
        with keyboard(KEYS, orders.put_nowait, lambda: None):
            during = termios.tcgetattr(own)
            os.write(other, b"k")
            first = await orders.get()
            os.write(other, b"\x1b[Aq")
            os.write(other, b"q")
            return during, first

    during, first = asyncio.run(type_keys())
    assert first == "kill"
    assert not during[3] & (termios.ICANON | termios.ECHO)
    assert during[3] & termios.ISIG, "Ctrl-C stays what it is"
    assert termios.tcgetattr(own) == before


def test_the_terminal_is_put_back_after_an_exception(terminal):
    before = termios.tcgetattr(terminal[1])

    async def fail():
        with keyboard(KEYS, lambda _: None, lambda: None):
            raise ValueError("a fault")

    with pytest.raises(ValueError, match="a fault"):
        asyncio.run(fail())
    assert termios.tcgetattr(terminal[1]) == before


def test_a_terminal_that_is_gone_is_told_once(monkeypatch):
    other, own = os.openpty()

    async def close():
        gone = asyncio.Event()
        with keyboard(KEYS, lambda _: None, gone.set):
            os.close(other)
            await gone.wait()

    with os.fdopen(own, "rb", buffering=0) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        asyncio.run(close())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_task_in_order(number):
    ends = []

    async def wait():
        with ended_by_signals():
            try:
                os.kill(os.getpid(), number)
                await asyncio.Event().wait()
            finally:
                ends.append("in order")

    with pytest.raises(EndedBySignal) as ended:
        asyncio.run(wait())
    assert ended.value.number == number
    assert ends == ["in order"]


def test_a_cancelled_task_is_not_taken_for_a_signal():
    async def cancelled():
        with ended_by_signals():
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())


@pytest.mark.parametrize("term", ["dumb", "unknown", None])
def test_without_a_terminal_that_can_draw_nobody_is_in_front_of_it(term, monkeypatch, terminal):
    monkeypatch.setattr(story_terminal.os, "tcgetpgrp", lambda _: os.getpgrp())
    monkeypatch.setattr(sys, "stdout", sys.stdin)
    monkeypatch.setenv("TERM", "xterm")
    assert is_in_front_of_a_person()
    if term is None:
        monkeypatch.delenv("TERM")
    else:
        monkeypatch.setenv("TERM", term)
    assert not is_in_front_of_a_person()


def test_a_pipe_or_a_job_in_the_background_is_no_person(monkeypatch, terminal):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", sys.stdin)
    monkeypatch.setattr(story_terminal.os, "tcgetpgrp", lambda _: os.getpgrp() + 1)
    assert not is_in_front_of_a_person()
    monkeypatch.setattr(story_terminal.os, "tcgetpgrp", lambda _: os.getpgrp())
    with Path(os.devnull).open() as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert not is_in_front_of_a_person()
