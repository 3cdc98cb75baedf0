"""A receiver's exception as the text of an `Error` packet, and back: the packet is zfoo's, a code and one text.

The text is ``Type``, ``Type: what it says``, or either followed by an empty line and Python's traceback.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["MAX_MESSAGE_CHARS", "MAX_TRACEBACK_CHARS", "MAX_TYPE_CHARS", "Raised", "bounded", "read_raised"]

# A screenful: what an exception says may hold all the data it was about, and it travels, is logged and kept.
MAX_MESSAGE_CHARS: Final = 1000

# Longer than the name of any class of Python's own library (44 characters).
MAX_TYPE_CHARS: Final = 100

# About a hundred frames; of a longer one the end tells where it was raised.
MAX_TRACEBACK_CHARS: Final = 10_000

_TRACEBACK: Final = "\n\nTraceback (most recent call last):\n"


class Raised(NamedTuple):
    """What the asker is told of an exception: the class's name, what it says, and its traceback or ""."""

    type: str
    message: str
    traceback: str = ""

    def text(self) -> str:
        """Return the text to send, bounded."""
        kind = self.type[:MAX_TYPE_CHARS].replace(":", " ")
        said = bounded(self.message, MAX_MESSAGE_CHARS)
        text = f"{kind}: {said}" if said else kind
        if self.traceback:
            body = self.traceback.removeprefix(_TRACEBACK.lstrip()).rstrip()
            text += _TRACEBACK + (body if len(body) <= MAX_TRACEBACK_CHARS else f"  …\n{body[-MAX_TRACEBACK_CHARS:]}")
        return text


def read_raised(text: str) -> Raised:
    """Read the text that `Raised.text` made; any other text is read as well as it can be. O(length)."""
    said, mark, trace = text.partition(_TRACEBACK)
    kind, _, message = said.partition(": ")
    trace = (mark.lstrip() + trace)[: MAX_TRACEBACK_CHARS + 100] if mark else ""
    return Raised(kind[:MAX_TYPE_CHARS], bounded(message, MAX_MESSAGE_CHARS), trace)


def bounded(text: str, limit_chars: int) -> str:
    """Cut a text that is too long, and say so."""
    return text if len(text) <= limit_chars else f"{text[: limit_chars - 1]}…"
