"""Doubles around discovery: a session that writes down what it is told, and a dial that the test answers."""

from __future__ import annotations

from typing import Any

from tests.support.sessions import Recorder
from zfoo_py.consumer import messages as c
from zfoo_py.errors import SessionClosedError

__all__ = ["Dials", "FakeSession"]


class FakeSession:
    """Stands for `zfoo_py.net.session.Session`: `ref` keeps what the actor is told, `sent` what is pushed.

    Attributes:
        refuses: an error that `send` raises.
        closes: how often it was closed.
    """

    def __init__(self, sid: int = 1) -> None:
        self.sid = sid
        self.is_up = True
        self.ref: Any = Recorder()
        self.sent: list[Any] = []
        self.refuses: Exception | None = None
        self.closes = 0

    def send(self, packet: Any) -> None:
        if self.refuses is not None:
            raise self.refuses
        if not self.is_up:
            raise SessionClosedError("closed", may_have_run=False)
        self.sent.append(packet)

    def close(self) -> None:
        self.closes += 1


class Dials:
    """What was dialled and how the test answers it: `up`, `down` and `fail` report as an engine does.

    Attributes:
        open: (target, report) of each dial that has no outcome yet, oldest first.
        sessions: target → its sessions, in order.
        report: takes the facts, for a dial that is given none.
    """

    def __init__(self, report: Any = None) -> None:
        self.report = report
        self.open: list[tuple[c.Target, Any]] = []
        self.sessions: dict[c.Target, list[FakeSession]] = {}
        self.count = 0

    def dial(self, target: c.Target, report: Any = None) -> None:
        """Take down a dial."""
        self.count += 1
        self.open.append((target, report or self.report))

    def targets(self) -> list[c.Target]:
        """Return what is being dialled."""
        return [target for target, _ in self.open]

    def _take(self, target: c.Target) -> Any:
        found = next(dial for dial in self.open if dial[0] == target)
        self.open.remove(found)
        return found[1]

    def up(self, target: c.Target) -> FakeSession:
        """A dial succeeds."""
        report = self._take(target)
        session: Any = FakeSession(self.count)
        self.sessions.setdefault(target, []).append(session)
        report(c.TargetUp(target, session.ref, session))
        return session

    def fail(self, target: c.Target, reason: str = "refused") -> None:
        """A dial fails."""
        self._take(target)(c.DialFailed(target, reason))

    def down(self, target: c.Target, report: Any = None, index: int = -1) -> None:
        """A session ends."""
        self.sessions[target][index].is_up = False
        (report or self.report)(c.TargetDown(target, "lost"))
