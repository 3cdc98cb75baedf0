"""Values of options that every benchmark takes: what is wrong is said before anything is measured."""

from __future__ import annotations

import argparse
from pathlib import Path


def count(text: str) -> int:
    """Return a whole number of at least 1.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not text.isdecimal() or not int(text):
        msg = f"{text!r} is no number of at least 1"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def amount(text: str) -> float:
    """Return a finite number greater than 0.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.0 < number < float("inf"):
        msg = f"{text!r} is no number greater than 0"
        raise argparse.ArgumentTypeError(msg)
    return number


def new_file(text: str) -> str:
    """Return the name of a file that can be written.

    Raises:
        argparse.ArgumentTypeError: its folder does not exist, or it is a folder.
    """
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        msg = f"no file can be written at {text!r}: {'a folder is there' if path.is_dir() else 'its folder is missing'}"
        raise argparse.ArgumentTypeError(msg)
    return text
