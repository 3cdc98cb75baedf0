"""Values ↔ JSON as Java zfoo writes and reads it (Jackson's rules, nulls left out): functions made per field type."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Callable
from typing import Any, Final

from zfoo_py.protocol.coercion import MismatchError, exact, in_order, out_of_range, refused
from zfoo_py.protocol.field_types import FieldType
from zfoo_py.protocol.frozen_map import FrozenMap
from zfoo_py.protocol.hashes import is_composed, spread
from zfoo_py.protocol.java_types import RANGES

__all__ = ["Reader", "Writer", "charge", "empty", "json_text", "memory_for", "reader", "writer"]

Writer = Callable[[Any], str]
Reader = Callable[[Any, list[int]], Any]
_ScalarReader = Callable[[Any], Any]

_ESCAPES: Final = {code: f"\\u{code:04X}" for code in range(0x20)} | {
    ord(char): f"\\{letter}" for char, letter in zip('\b\t\n\f\r"\\', 'btnfr"\\', strict=True)
}
_MAKE: Final[dict[str, Callable[..., Any]]] = {
    "list": list, "series": tuple, "set": set, "frozenset": frozenset, "dict": dict, "map": FrozenMap,
    "str": str, "bytes": bytes, "bool": bool, "int": int, "float": float,
}  # fmt: skip


def json_text(text: str) -> str:
    """Return a string of JSON."""
    return f'"{text.translate(_ESCAPES)}"'


def empty(kind: FieldType) -> Any:
    """Return what a missing or null field becomes: 0 or false of a number or bool, and else None, Java's null."""
    return None if kind.nullable or kind.kind not in {"int", "float", "bool"} else _MAKE[kind.kind]()


def _float_text(value: float, *, is_single: bool) -> str:
    """Return a number as Java's Float.toString or Double.toString."""
    if math.isnan(value) or math.isinf(value):
        return '"NaN"' if math.isnan(value) else '"Infinity"' if value > 0 else '"-Infinity"'
    shortest = repr(value)
    if is_single:
        packed = struct.pack(">f", value)
        (value,) = struct.unpack(">f", packed)
        candidates = (f"{value:.{digits}g}" for digits in range(1, 10))
        shortest = next(text for text in candidates if _packs_to(float(text), packed))
    sign, digits, exponent = _decimal(shortest)
    if not digits:
        return f"{sign}0.0"
    if -3 <= exponent < 7:
        padded = digits.ljust(exponent + 1, "0") if exponent >= 0 else "0" * -exponent + digits
        point = max(exponent, 0) + 1
        return f"{sign}{padded[:point]}.{padded[point:] or '0'}"
    return f"{sign}{digits[0]}.{digits[1:] or '0'}E{exponent}"


def _packs_to(value: float, packed: bytes) -> bool:
    try:
        return struct.pack(">f", value) == packed
    except OverflowError:  # rounded up, beyond the largest
        return False


def _decimal(text: str) -> tuple[str, str, int]:
    """Return sign, digits without zeros around them, and the exponent of the first digit."""
    sign = "-" if text.startswith("-") else ""
    mantissa, _, power = text.lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    exponent = len(digits) - len(fraction) - 1 + int(power or 0)
    return sign, digits.rstrip("0"), exponent


# --- writing


def writer(kind: FieldType, where: str, packet_writer: Callable[[type[Any]], Writer], *, as_text: bool) -> Writer:
    """Return value → JSON; None is null. `as_text`: numbers are strings. It raises MismatchError."""
    text = kind.text.removesuffix(" | None")
    if kind.packet is not None:
        packet_class, write = kind.packet, packet_writer

        def packet(value: Any) -> str:
            if type(value) is not packet_class:
                raise refused(where, text, value)
            return write(packet_class)(value)

        return _or_null(packet)
    if kind.kind in {"dict", "map"}:
        key = _key_writer(kind.items[0], where)
        item = writer(kind.items[1], f"{where} (a value)", packet_writer, as_text=False)

        def mapping(value: Any) -> str:
            pairs = exact(where, text, dict, value).items()
            return "{" + ",".join(f"{json_text(key(k))}:{item(i)}" for k, i in pairs if i is not None) + "}"

        return _or_null(mapping)
    if kind.items:
        each = writer(kind.items[0], f"{where} (an element)", packet_writer, as_text=False)

        def series(value: Any) -> str:
            if kind.kind in {"set", "frozenset"}:
                value = in_order(where, text, value)
            else:
                value = exact(where, text, _MAKE[kind.kind], value)  # type: ignore[arg-type]
            return "[" + ",".join(map(each, value)) + "]"

        return _or_null(series)
    scalar = _scalar_text(kind, where)
    if kind.kind == "str" or (as_text and kind.kind in {"int", "float"}):
        return _or_null(lambda value: json_text(scalar(value)))
    if kind.kind == "bytes":
        return _or_null(lambda value: f'"{base64.b64encode(exact(where, text, bytes, value)).decode()}"')
    return _or_null(scalar)


def _or_null(write: Writer) -> Writer:
    return lambda value: "null" if value is None else write(value)


def _scalar_text(kind: FieldType, where: str) -> Writer:
    text = kind.text.removesuffix(" | None")

    def boolean(value: Any) -> str:
        if type(value) is not bool:
            raise refused(where, text, value)
        return "true" if value else "false"

    def number(value: Any) -> str:
        return str(_in_range(kind, where, exact(where, text, int, value)))

    def real(value: Any) -> str:
        try:
            return _float_text(float(exact(where, text, float, value)), is_single=kind.width == "float")
        except OverflowError:
            raise out_of_range(where, text if kind.width else "Double", value) from None

    def string(value: Any) -> str:
        return str(exact(where, text, str, value))

    return {"bool": boolean, "int": number, "float": real, "str": string, "bytes": string}[kind.kind]


def _key_writer(kind: FieldType, where: str) -> Writer:
    if kind.packet is not None or kind.items or kind.kind == "bytes":

        def refuse(value: Any) -> str:
            raise refused(f"{where} (a key)", "a str, number or bool, as keys are in JSON", value)

        return refuse
    scalar = _scalar_text(kind, f"{where} (a key)")
    return lambda value: scalar(value).strip('"') if kind.kind == "float" else scalar(value)


def _in_range(kind: FieldType, where: str, value: int) -> int:
    low, high = RANGES[kind.width or "long"]
    if not low <= value <= high:
        raise out_of_range(where, kind.width.capitalize() or "Long", value)
    return value


# --- reading

# What json.loads makes of a text takes up to 30 times its bytes (small objects). What is made of that may take so many
# bytes for each of the text's, and this much in any case. So a message stays within 80 times its length.
ALLOWED_BY_A_BYTE: Final = 45
ALLOWED_BYTES: Final = 256 * 1024
_COLLECTED_BYTES: Final = 24  # what the garbage collector keeps of a container, and the place that it stands in


def memory_for(message: bytes | memoryview) -> list[int]:
    """Return the bytes of memory that the containers of one message may take."""
    return [ALLOWED_BYTES + ALLOWED_BY_A_BYTE * len(message)]


def charge(size: int, memory: list[int]) -> None:
    """Charge a container to its message; raise MismatchError if that is too much."""
    memory[0] -= size + _COLLECTED_BYTES
    if memory[0] < 0:
        raise MismatchError("the message would take more than 80 times its length in memory")


def reader(kind: FieldType, where: str, packet_reader: Callable[[type[Any]], Reader]) -> Reader:
    """Return (JSON, memory) → value; null is as `empty` says, memory is `memory_for` the message.

    It raises MismatchError.
    """
    text = kind.text

    if kind.packet is not None:
        packet_class = kind.packet

        def read(value: Any, memory: list[int]) -> Any:
            return packet_reader(packet_class)(value, memory)  # found when it is needed

    elif kind.kind in {"dict", "map"}:
        key, item = _key_reader(kind.items[0], where), reader(kind.items[1], f"{where} (a value)", packet_reader)

        def read(value: Any, memory: list[int]) -> Any:
            if type(value) is not dict:
                raise refused(where, text, value)
            made = _MAKE[kind.kind]({key(k): item(i, memory) for k, i in value.items()})
            charge(made.__sizeof__() + (made.table_bytes() if kind.kind == "map" else 0), memory)
            return made

    elif kind.items:
        each = reader(kind.items[0], f"{where} (an element)", packet_reader)
        is_keyed = kind.kind in {"set", "frozenset"} and is_composed(kind.items[0])

        def read(value: Any, memory: list[int]) -> Any:
            if type(value) is not list:
                raise refused(where, text, value)
            items = [each(item, memory) for item in value]
            made = _MAKE[kind.kind](spread(items) if is_keyed else items)
            charge(made.__sizeof__(), memory)
            return made

    else:
        scalar = _scalar_reader(kind, where)
        return lambda value, _: empty(kind) if value is None else scalar(value)
    return lambda value, memory: empty(kind) if value is None else read(value, memory)


def _scalar_reader(kind: FieldType, where: str) -> _ScalarReader:  # noqa: C901 - a short function per kind
    text = kind.text

    def boolean(value: Any) -> bool:
        if value in {"true", "True", "false", "False"} or type(value) in {bool, int}:
            return value in {"true", "True"} if type(value) is str else bool(value)
        raise refused(where, text, value)

    def number(value: Any) -> int:
        if type(value) is str:  # zfoo's Pair and Triple write their numbers so
            value = int(value or "0")
        if type(value) is float and math.isfinite(value):
            value = int(value)
        if type(value) is not int:
            raise refused(where, text, value)
        return _in_range(kind, where, value)

    def real(value: Any) -> float:
        if type(value) not in {int, float, str}:
            raise refused(where, text, value)
        made = float(value)
        if kind.width != "float" or not math.isfinite(made):
            return made
        try:
            return float(struct.unpack(">f", struct.pack(">f", made))[0])
        except OverflowError:
            return math.copysign(math.inf, made)

    def string(value: Any) -> str:
        if type(value) is not str:
            raise refused(where, text, value)
        return value

    def data(value: Any) -> bytes:
        return base64.b64decode(string(value), validate=True)

    return {"bool": boolean, "int": number, "float": real, "str": string, "bytes": data}[kind.kind]


def _key_reader(kind: FieldType, where: str) -> _ScalarReader:
    if kind.packet is not None or kind.items or kind.kind == "bytes":

        def refuse(_: Any) -> Any:
            raise MismatchError(f"{where}: JSON has no such keys as {kind.text}")

        return refuse
    return _scalar_reader(kind, f"{where} (a key)")
