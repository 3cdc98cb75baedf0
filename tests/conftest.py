"""What every test gets: the Hypothesis profile, and zfoo_py's own plugin, whose leak check pyproject.toml asks for."""

from __future__ import annotations

import signal

import hypothesis
import pytest

import _zfoo_pytest

# No deadline per example: a busy machine is not a bug.
hypothesis.settings.register_profile("zfoo", deadline=None)
hypothesis.settings.load_profile("zfoo")

# A shell starts its background jobs with SIGINT ignored, and so are those of their children that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Load the plugin where zfoo_py is not installed, so that pytest has not found its entry point."""
    if not config.pluginmanager.is_registered(_zfoo_pytest):
        config.pluginmanager.register(_zfoo_pytest, "zfoo")
