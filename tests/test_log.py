"""Logging as a library: silent until enabled, the bridge to the standard library, and the rate limit."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest
from loguru import logger

from zfoo_py import log
from zfoo_py.log import LINES_PER_S, RateLimiter, disable_logging, enable_logging, rate_limited

PYKKA = logging.getLogger("pykka")


@pytest.fixture
def lines() -> Iterator[list]:
    """Collect every record that reaches a loguru sink, and put everything back afterwards."""
    found: list = []
    sink = logger.add(lambda message: found.append(message.record), level=0, format="{message}")
    yield found
    logger.remove(sink)
    disable_logging()


class Clock:
    """A clock that stands still until told."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def texts(lines: list) -> list[str]:
    return [line["message"] for line in lines]


def as_zfoo_py(text: str) -> None:
    """Log from a function that lives in the package's name space."""
    exec("logger.info(text)", {"__name__": "zfoo_py.net.x", "logger": logger, "text": text})  # noqa: S102


def test_import_leaves_zfoo_py_silent_and_adds_no_sink():
    """In a fresh interpreter: the sinks are those loguru came with, and neither log prints."""
    code = """if True:
        import logging
        from loguru import logger
        before = dict(logger._core.handlers)
        import zfoo_py.log
        assert dict(logger._core.handlers) == before, "a sink came or went"
        found = [type(one).__name__ for one in logging.getLogger("pykka").handlers]
        assert found in ([], ["NullHandler"]), "the bridge is there already"
        exec("logger.error('must not be seen')", {"__name__": "zfoo_py.node", "logger": logger})
        logger.error("the application's line")
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "the application's line" in done.stderr
    assert "must not be seen" not in done.stderr
    assert done.stdout == ""


def test_enable_lets_lines_through_and_disable_stops_them(lines):
    as_zfoo_py("before")
    enable_logging()
    as_zfoo_py("while")
    disable_logging()
    as_zfoo_py("after")
    assert texts(lines) == ["while"]


def test_pykkas_log_reaches_loguru_under_its_own_name(lines):
    logging.getLogger("pykka.actor").error("not yet")
    enable_logging("INFO")
    logging.getLogger("pykka.actor").warning("actor %s {died} <red>", 7)
    (line,) = lines
    assert line["message"] == "actor 7 {died} <red>"
    assert (line["name"], line["level"].name) == ("pykka.actor", "WARNING")
    assert line["function"] == "test_pykkas_log_reaches_loguru_under_its_own_name"


def test_an_exception_in_pykkas_log_keeps_its_traceback(lines):
    enable_logging()
    try:
        {}["lost"]
    except KeyError:
        PYKKA.exception("unhandled")
    assert lines[0]["exception"].type is KeyError


def test_the_level_bounds_what_the_bridge_passes(lines):
    enable_logging("warning")
    PYKKA.info("too little")
    PYKKA.warning("enough")
    enable_logging("TRACE")
    PYKKA.debug("now as well")
    PYKKA.log(33, "a level without name")
    assert texts(lines) == ["enough", "now as well", "a level without name"]


def test_a_level_that_nobody_knows_is_refused():
    with pytest.raises(ValueError, match="LOUD"):
        enable_logging("LOUD")


def test_disable_puts_pykkas_logger_back_as_it_was(lines):
    before = (PYKKA.level, PYKKA.propagate, list(PYKKA.handlers))
    enable_logging("DEBUG")
    enable_logging("INFO")
    assert len(PYKKA.handlers) == len(before[2]) + 1
    PYKKA.info("once")
    assert texts(lines) == ["once"]
    disable_logging()
    disable_logging()
    assert (PYKKA.level, PYKKA.propagate, list(PYKKA.handlers)) == before
    PYKKA.error("gone")
    assert texts(lines) == ["once"]


def test_a_bridged_line_is_not_printed_by_the_applications_own_handlers_too(lines, caplog):
    enable_logging()
    PYKKA.error("once")
    assert texts(lines) == ["once"]
    assert caplog.records == []


def test_the_limit_lets_the_first_lines_through_and_counts_the_rest(lines):
    enable_logging()
    clock = Clock()
    limiter = RateLimiter(2, clock=clock)
    assert [limiter.log("frames", f"line {number}") for number in range(5)] == [True, True, False, False, False]
    clock.now_s += 0.999
    assert not limiter.log("frames", "line 5")
    clock.now_s += 0.002
    limiter.log("frames", "line 6")
    limiter.log("frames", "line 7")
    assert texts(lines) == ["line 0", "line 1", "line 6 (4 such lines were left out)", "line 7"]
    assert {line["level"].name for line in lines} == {"WARNING"}


def test_no_second_holds_more_lines_than_allowed(lines):
    """The window slides: five lines at the end of one second and five at the start of the next are too many."""
    clock = Clock()
    limiter = RateLimiter(5, clock=clock)
    passed = []
    for step in range(400):
        clock.now_s = 100.0 + step * 0.01
        if limiter.log("name", "x", level="DEBUG"):
            passed.append(clock.now_s)
    assert len(passed) == 20
    assert all(later - first >= 0.999 for first, later in zip(passed, passed[5:], strict=False))


def test_each_name_has_a_share_of_its_own(lines):
    enable_logging()
    limiter = RateLimiter(1, clock=Clock())
    assert [limiter.log(name, name) for name in ("a", "b", "a", "b")] == [True, True, False, False]
    assert texts(lines) == ["a", "b"]


def test_the_names_remembered_are_bounded():
    limiter = RateLimiter(1, clock=Clock(), max_names=3)
    kept = 0
    for number in range(100):
        limiter.log(f"peer {number}", "x")
        kept += limiter.log("kept", "used all the time, so never forgotten")
    assert len(limiter) == 3
    assert kept == 1


def test_texts_are_not_formatted(lines):
    enable_logging()
    RateLimiter(clock=Clock()).log("peer", "GET /{0} <red>")
    assert texts(lines) == ["GET /{0} <red>"]


def test_the_shared_limiter_names_the_callers_line(lines, monkeypatch):
    monkeypatch.setattr(log, "_SHARED", RateLimiter(clock=Clock()))
    assert rate_limited("frames", "bad frame", level="ERROR")
    logged = [rate_limited("frames", "bad frame") for _ in range(LINES_PER_S)]
    assert logged == [True] * (LINES_PER_S - 1) + [False]
    assert lines[0]["function"] == "test_the_shared_limiter_names_the_callers_line"
    assert lines[0]["level"].name == "ERROR"
