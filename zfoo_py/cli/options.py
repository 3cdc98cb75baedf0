"""Options that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from zfoo_py.discovery_config import DEFAULT_DISCOVERY_ADDRESS

if TYPE_CHECKING:
    import argparse

__all__ = ["add_discovery", "add_json", "add_log_level"]

LEVELS: Final = ("TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def add_log_level(command: argparse.ArgumentParser, default: str = "INFO") -> None:
    """Add --log-level."""
    command.add_argument(
        "--log-level",
        type=str.upper,
        choices=LEVELS,
        default=default,
        help=f"of the log on stderr (default: {default})",
    )


def add_json(command: argparse.ArgumentParser) -> None:
    """Add --json."""
    command.add_argument("--json", action="store_true", help="print one JSON object (default: text)")


def add_discovery(command: argparse.ArgumentParser) -> None:
    """Add --discovery."""
    command.add_argument(
        "--discovery",
        metavar="HOST:PORT",
        help=f"address of the embedded discovery (default: ZFOO_DISCOVERY__ADDRESS, or {DEFAULT_DISCOVERY_ADDRESS}); "
        f"or zookeeper://HOST:PORT,HOST:PORT/ROOT",
    )
