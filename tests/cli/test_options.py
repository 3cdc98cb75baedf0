"""Options that several commands share are the same in each."""

from __future__ import annotations

import argparse

import pytest

from zfoo_py.cli.options import add_discovery, add_json, add_log_level


def parse(*words):
    parser = argparse.ArgumentParser()
    add_discovery(parser)
    add_json(parser)
    add_log_level(parser, default="WARNING")
    return parser.parse_args(words)


def test_their_defaults():
    options = parse()
    assert (options.discovery, options.json, options.log_level) == (None, False, "WARNING")


def test_a_level_may_be_written_small():
    assert parse("--log-level", "debug").log_level == "DEBUG"


def test_a_level_that_is_none_is_refused(capsys):
    with pytest.raises(SystemExit):
        parse("--log-level", "loud")
    assert "invalid choice" in capsys.readouterr().err
