"""Java's names and comments as they stand in the Python module that is written."""

from __future__ import annotations

import builtins
import keyword
import re
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Final

from zfoo_py.cli.java_source import JavaClass
from zfoo_py.protocol.java_types import wire_name

__all__ = ["FROM_ZFOO_PY", "LINE_LENGTH", "class_name", "docstring", "field_name", "snake", "string"]

FROM_ZFOO_PY: Final = (
    "Ask",
    "Byte",
    "Double",
    "Float",
    "FrozenMap",
    "Int",
    "Long",
    "Packet",
    "ProtocolModule",
    "Short",
    "Wire",
)
# What else the module says by its name.
_NAMED: Final = frozenset({*FROM_ZFOO_PY, "Annotated", "annotations"})
# As most formatters have it.
LINE_LENGTH: Final = 88
# What a Python file, or the terminal, does not take: control characters.
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f]")


def string(text: str) -> str:
    """Return a text as Python source, in double quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def snake(name: str) -> str:
    """Return camelCase as snake_case."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda found: "_" + found[1].lower(), name)


def class_name(java: str) -> str:
    """Return Java's name; no keyword, and nothing that the module says otherwise: those end with an underscore."""
    name = java.replace("$", "_")
    is_taken = keyword.iskeyword(name) or hasattr(builtins, name) or name in _NAMED
    return f"{name}_" if is_taken else name


def field_name(java: str) -> str:
    """Return snake_case where the wire name follows from it, else Java's; no keyword and no type's name."""
    name = snake(java)
    if wire_name(name) != java:
        name = java
    name = unicodedata.normalize("NFKC", name)  # as Python does with every name
    if not name.isascii() or not name.isidentifier():
        name = re.sub(r"\W", "_", name)  # Java allows $
        name = name if name.isidentifier() else f"f_{name}"
    if name.startswith("__"):  # in a class, Python takes these for its own, or renames them
        name = f"_{name.lstrip('_')}"
    return f"{name}_" if keyword.iskeyword(name) or hasattr(builtins, name) else name


def docstring(java: JavaClass, comments: Sequence[tuple[str, str]]) -> list[str]:
    """Return the lines of a class's docstring; `comments` are names and comments of fields."""
    text = _wrapped(java.comment or f"Java's {java.full_name}.", 4)
    if comments:
        text += ["", "Attributes:"]
        for name, comment in comments:
            first, *others = _wrapped(f"{name}: {comment}", 8)
            text += [f"    {first}", *(f"        {line}" if line else "" for line in others)]
    lines = [line.replace("\\", "\\\\").replace('"""', '\\"\\"\\"') for line in text]
    if lines[-1].endswith('"'):
        lines[-1] += " "
    if len(lines) == 1 and len(lines[0]) + 10 <= LINE_LENGTH:
        return [f'    """{lines[0]}"""']
    return [f'    """{lines[0]}', *(f"    {line}" if line else "" for line in lines[1:]), '    """']


def _wrapped(text: str, indent: int) -> list[str]:
    lines: list[str] = []
    for line in _CONTROL.sub("", text).expandtabs(4).splitlines():
        bare = line.rstrip()
        start = bare[: len(bare) - len(bare.lstrip())]
        width = LINE_LENGTH - indent - 8
        lines += textwrap.wrap(
            bare, width, subsequent_indent=start, break_long_words=False, break_on_hyphens=False
        ) or [""]
    return lines or [""]
