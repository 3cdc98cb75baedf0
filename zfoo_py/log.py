"""How zfoo_py logs: through loguru, and silent until the application says otherwise.

Importing zfoo_py adds no sink and prints nothing. `enable_logging` lets its lines through to the sinks that the
application has (loguru's own first sink is stderr) and brings pykka's standard-library log along.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from loguru import logger

if TYPE_CHECKING:
    from loguru import Record

__all__ = ["RateLimiter", "disable_logging", "enable_logging", "rate_limited"]

# The first lines tell what goes wrong, the later ones only how often; that is in the count.
LINES_PER_S: Final = 5
# A stranger who opens connections makes names (peers) as fast as lines: the oldest is forgotten.
MAX_NAMES: Final = 1024

# Libraries below us that log through the standard library.
_BRIDGED: Final = ("pykka",)

logger.disable("zfoo_py")


class InterceptHandler(logging.Handler):
    """Hands records of the standard library to loguru, under their own name, function and line.

    The call stands in this module, so that disabling "zfoo_py" silences the bridge as well.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on. Any thread."""
        try:
            level: str | int = logger.level(record.levelname).name
        except ValueError:
            level = record.levelno

        def as_recorded(line: Record) -> None:
            line["name"], line["function"], line["line"] = record.name, record.funcName, record.lineno

        logger.patch(as_recorded).opt(exception=record.exc_info).log(level, record.getMessage())


class _Bridge:
    """The handler on the libraries' loggers, and what those were like before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handler = InterceptHandler()
        self._before: dict[str, tuple[int, bool]] = {}

    def attach(self, level: int) -> None:
        with self._lock:
            for name in _BRIDGED:
                library = logging.getLogger(name)
                self._before.setdefault(name, (library.level, library.propagate))
                library.addHandler(self._handler)  # adds it once only
                library.setLevel(level)
                library.propagate = False  # else an application with handlers of its own reads each line twice

    def detach(self) -> None:
        with self._lock:
            for name, (level, propagate) in self._before.items():
                library = logging.getLogger(name)
                library.removeHandler(self._handler)
                library.setLevel(level)
                library.propagate = propagate
            self._before.clear()


_BRIDGE = _Bridge()


def enable_logging(level: str | int = "INFO") -> None:
    """Let zfoo_py's lines through to the application's loguru sinks, and pykka's from `level` on.

    Which of zfoo_py's own lines a sink prints is the level of that sink. May be called again with another level;
    any thread.

    Raises:
        ValueError: loguru knows no such level.
    """
    _BRIDGE.attach(logger.level(level.upper()).no if isinstance(level, str) else level)
    logger.enable("zfoo_py")


def disable_logging() -> None:
    """Undo `enable_logging`: silence, and pykka's log as it was before. Any thread."""
    logger.disable("zfoo_py")
    _BRIDGE.detach()


class RateLimiter:
    """At most `per_s` lines within any second for each name; how many were left out is in the next one's text.

    Remembers `max_names` names, those used last. Any thread.
    """

    def __init__(
        self, per_s: int = LINES_PER_S, *, clock: Callable[[], float] = time.monotonic, max_names: int = MAX_NAMES
    ) -> None:
        self._per_s = per_s
        self._clock = clock
        self._max_names = max_names
        self._lock = threading.Lock()
        # name → times of its last lines, and how many were left out since
        self._names: OrderedDict[str, tuple[deque[float], int]] = OrderedDict()

    def log(self, name: str, text: str, *, level: str = "WARNING", depth: int = 0) -> bool:
        """Log `text` as it is (no formatting) unless `name` has had its share; tell whether it was logged.

        `depth` is the number of callers between this one and the line that the log should name. O(1).
        """
        now_s = self._clock()
        with self._lock:
            times_s, left_out = self._names.get(name) or (deque[float](maxlen=self._per_s), 0)
            is_full = len(times_s) == self._per_s and now_s - times_s[0] < 1.0
            if not is_full:
                times_s.append(now_s)
            self._names[name] = (times_s, left_out + 1 if is_full else 0)
            self._names.move_to_end(name)
            if len(self._names) > self._max_names:
                self._names.popitem(last=False)
        if is_full:
            return False
        if left_out:
            text = f"{text} ({left_out} such lines were left out)"
        logger.opt(depth=depth + 1).log(level, text)
        return True

    def __len__(self) -> int:
        """Return how many names are remembered."""
        return len(self._names)


_SHARED = RateLimiter()


def rate_limited(name: str, text: str, *, level: str = "WARNING") -> bool:
    """Log `text` unless `name` had `LINES_PER_S` lines within the last second; tell whether it was logged.

    Names are shared by the whole process: use one per kind of fault, and none that a peer can make up at will,
    such as its port. O(1); any thread.
    """
    return _SHARED.log(name, text, level=level, depth=1)
