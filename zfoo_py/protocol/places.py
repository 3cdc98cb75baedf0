"""Where something is declared: for errors that name both places, and for annotations that name local classes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import FrameType

__all__ = ["caller", "local_names", "place", "twice"]


def caller() -> FrameType:
    """Return the frame of whoever called into the module that calls this."""
    frame = sys._getframe(1)  # noqa: SLF001 - the documented way to learn the line
    asking = frame.f_globals
    while frame.f_back is not None and frame.f_globals is asking:
        frame = frame.f_back
    return frame


def place(frame: FrameType) -> str:
    """Return "file:line"."""
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def local_names(frame: FrameType) -> Mapping[str, object]:
    """Return the names of the function that a frame runs; {} for a module, whose names annotations see anyway."""
    return {} if frame.f_locals is frame.f_globals else dict(frame.f_locals)


def twice(old_place: str, new_place: str) -> str:
    """Return what to add to an error about two equal declarations: a hint if both are one."""
    if old_place != new_place:
        return ""
    return (
        "; it is the same line twice: its module was reloaded, or is imported under two names (for example as "
        "__main__ and by its own name). Import it once, or give the second time a PacketTable of its own"
    )
