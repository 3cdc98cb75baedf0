"""The story, really told: on a terminal of its own, with keys, ended early, cut off; nobody is left behind."""

from __future__ import annotations

import codecs
import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from samples.story_words import PARTS

ROOT = Path(__file__).resolve().parents[2]
# A run that takes longer has found a hang.
HANG_S = 50.0
# Takes the terminal as its own, as a shell would have it, and becomes the program.
ON_A_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "samples.cluster", *sys.argv[1:]])
"""
ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[a-zA-Z]|\][^\x07]*\x07|[()][A-Z0-9])")
CHILDREN = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHILDREN.exists() or not hasattr(os, "pidfd_open"), reason="needs Linux"),
]
pytest.importorskip("rich", reason="rich is not installed: `pip install rich`")


class Terminal:
    """A story on a terminal of 100 x 40."""

    def __init__(self, *words, **environment):
        self.screen, self.own = os.openpty()
        fcntl.ioctl(self.own, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        self.before = termios.tcgetattr(self.own)
        self.process = subprocess.Popen(
            [sys.executable, "-c", ON_A_TERMINAL, *words],
            stdin=self.own,
            stdout=self.own,
            stderr=self.own,
            cwd=ROOT,
            env={**os.environ, "TERM": "xterm-256color", **environment},
            start_new_session=True,
        )
        self.ends = {}
        self.text = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        for fd in (*self.ends.values(), self.screen, self.own):
            if fd >= 0:
                os.close(fd)

    def read(self):
        """Add what comes to `text`; False at the end."""
        ready, _, _ = select.select([self.screen], [], [], HANG_S)
        assert ready, f"nothing came for {HANG_S} s after {self.text[-500:]!r}"
        try:
            chunk = os.read(self.screen, 65536)
        except OSError:  # EIO: nobody has the terminal open any more
            chunk = b""
        self.text += ESCAPES.sub("", self._decoder.decode(chunk))
        return bool(chunk)

    def until(self, words):
        """Read until these words are on the screen; take down which providers there are by then."""
        while words not in self.text:
            assert self.read(), self.text[-2000:]
        pid = self.process.pid
        for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            if word not in self.ends:
                self.ends[word] = os.pidfd_open(int(word))

    def type(self, keys):
        os.write(self.screen, keys)

    def is_put_back(self):
        return termios.tcgetattr(self.own) == self.before

    def hang_up(self):
        """Close the terminal's window."""
        os.close(self.own)
        os.close(self.screen)
        self.own = self.screen = -1

    def end(self):
        """Return the exit code, once every provider is gone."""
        while self.own >= 0 and self.process.poll() is None:
            if select.select([self.screen], [], [], 0.1)[0]:
                self.read()
        code = self.process.wait(HANG_S)
        while self.own >= 0 and select.select([self.screen], [], [], 0)[0]:
            self.read()
        for end in self.ends.values():
            assert select.select([end], [], [], HANG_S)[0], "a provider was left behind"
        return code


def test_the_whole_story_on_a_terminal(tmp_path):
    with Terminal("--seconds", "6") as terminal:
        terminal.until("visits-4 joined: ")
        assert len(terminal.ends) >= 6
        assert terminal.end() == 0
        assert terminal.is_put_back()
        # What is left on the usual screen when the other one is gone.
        told = terminal.text[terminal.text.rindex("── steady") :]
        headings = re.findall(r"── (.+?) ─+\r", told)
        assert headings == list(PARTS)
        flat = re.sub(r"\s+", " ", told)
        assert re.search(
            r"visits-2 killed: noticed after [\d.]+ m?s, [\d,]+ keys evicted, exactly those moved, 0 others", flat
        )
        assert re.search(
            r"visits-4 joined: .* keys moved to it, exactly those moved, 0 others; first answer from it", flat
        )
        assert re.search(r"why a key moved: [\d.]+ has hash", flat)
        old = re.search(r" old: ([\d,]+) keys, .*? misroutes ([\d,]+) of", flat)
        new = re.search(r" new: ([\d,]+) keys, .*? bound held; misroutes 0 of", flat)
        assert old is not None
        assert new is not None
        assert int(old[2].replace(",", "")) > 100
        assert re.search(r"the old balancer: wrong: misroutes [\d,]+ of [\d,]+ asks; its memory only grows", flat)
        assert flat.rstrip().endswith("verdict: right")


def test_a_person_kills_adds_asks_why_and_quits():
    with Terminal("--seconds", "1000") as terminal:
        terminal.type(b"e")  # before the cluster is up: not heard, and not echoed
        terminal.until("pages-1")
        terminal.type(b"k")
        terminal.until("visits-3 killed: noticed after")
        terminal.type(b"a")
        terminal.until("visits-4 joined: ")
        terminal.type(b"e")
        terminal.until("why a key moved: ")
        terminal.type(b"kk")
        terminal.until("visits-4 killed: noticed")
        terminal.until("visits-2 killed: noticed")
        terminal.type(b"k")
        terminal.until("k: visits-1 is the last provider of visits; add one first (a)")
        terminal.type(b"q")
        assert terminal.end() == 0
        assert terminal.is_put_back()
        assert len(terminal.ends) == 7
        told = terminal.text[terminal.text.rindex("── steady") :]
        assert re.findall(r"── (.+?) ─+\r", told) == ["steady", "verdict"]
        assert re.sub(r"\s+", " ", told).count("exactly those moved, 0 others") == 4
        assert told.rstrip().endswith("verdict: right")


def test_ctrl_c_puts_the_terminal_back():
    with Terminal("--seconds", "1000", NO_COLOR="1") as terminal:
        terminal.until("pages-1")
        terminal.type(b"\x03")
        assert terminal.end() == 130
        assert terminal.is_put_back()
        assert terminal.text.rstrip().endswith("interrupted; every provider was stopped")


def test_a_termination_puts_the_terminal_back():
    with Terminal("--seconds", "1000") as terminal:
        terminal.until("pages-1")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.end() == 128 + signal.SIGTERM
        assert terminal.is_put_back()


def test_a_terminal_that_is_closed_leaves_nobody_behind():
    with Terminal("--seconds", "1000") as terminal:
        terminal.until("pages-1")
        assert len(terminal.ends) == 6
        terminal.hang_up()
        assert terminal.end() == 128 + signal.SIGHUP


def test_a_provider_that_dies_by_itself_ends_the_story_with_a_sentence():
    with Terminal("--seconds", "1000") as terminal:
        terminal.until("pages-1")
        os.kill(int(list(terminal.ends)[4]), signal.SIGKILL)
        assert terminal.end() == 2
        assert terminal.is_put_back()
        text = re.sub(r"\s+", " ", terminal.text)
        assert "the cluster could not run: provider pages-1 ended by itself with exit code -9" in text


def test_the_story_on_a_pipe_is_told_in_lines():
    done = subprocess.run(
        [sys.executable, "-m", "samples.cluster", "--story", "--seconds", "3"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=HANG_S,
        stdin=subprocess.DEVNULL,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.findall(r"^--- (.+) ---$", done.stdout, re.MULTILINE) == list(PARTS)
    assert done.stdout.endswith("\nverdict: right\n")
    assert "\x1b" not in done.stdout
    assert done.stdout.count("evicted: down") == 4, "the tables at the end of each part"
