"""Java's number types for the fields of packets, and what a field is to a Java peer.

::

    class ScoreAnswer(Packet):
        user_id: Long
        level: Int
        ratio: Float
        medals: Annotated[list[Short], Wire(compatible=1)] = []

To Python a `Byte`, `Short`, `Int` or `Long` is an int, a `Float` or `Double` a float. Plain ``int`` is Java's long,
plain ``float`` its double.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

__all__ = ["MAX_FLOAT", "RANGES", "Byte", "Double", "Float", "Int", "Long", "Short", "Width", "Wire", "wire_name"]


class Width(msgspec.Struct, frozen=True):
    """Java's name of a number type: "byte", "short", "int", "long", "float" or "double"."""

    name: str


class Wire(msgspec.Struct, frozen=True, kw_only=True):
    """What a field is to Java peers: ``level: Annotated[Int, Wire(compatible=1)] = 0``.

    Attributes:
        name: the Java field's name, which decides its place on the wire; None: `wire_name` of ours.
        compatible: the number in Java's ``@Compatible``, any int; such fields come last, in ascending order, and may
            be missing in what an older peer sends. None: an ordinary field, which both sides must have.
        java: False for a field that Java peers neither get nor send; it must have a default.
    """

    name: str | None = None
    compatible: int | None = None
    java: bool = True


Byte = Annotated[int, Width("byte")]
Short = Annotated[int, Width("short")]
Int = Annotated[int, Width("int")]
Long = Annotated[int, Width("long")]
Float = Annotated[float, Width("float")]
Double = Annotated[float, Width("double")]

# The numbers that each holds.
RANGES: Final = {
    "byte": (-0x80, 0x7F),
    "short": (-0x8000, 0x7FFF),
    "int": (-0x8000_0000, 0x7FFF_FFFF),
    "long": (-0x8000_0000_0000_0000, 0x7FFF_FFFF_FFFF_FFFF),
}
# The largest finite number of 32 bits; what rounds to more is out of range.
MAX_FLOAT: Final = 3.4028235677973362e38  # half a step above Float.MAX_VALUE: from here on it would be infinite


def wire_name(field: str) -> str:
    """Return the Java name of a field: snake_case becomes camelCase, ``user_id`` → ``userId``.

    One underscore at the end, which keeps a name from being a keyword or a built-in (``in_``), is dropped; those at
    the beginning stay.
    """
    bare = field.lstrip("_")
    start = field[: len(field) - len(bare)]
    first, *others = bare.removesuffix("_").split("_")
    return start + first + "".join(part[:1].upper() + part[1:] for part in others)
