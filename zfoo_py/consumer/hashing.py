r"""Keys and their hashes, equal on every node, process and PYTHONHASHSEED, and equal to Java zfoo's.

A key has a *text* (`key_text`, Java's ``toString`` where Java has one). The ring hashes that text with zfoo's FNV
variant; the lane is zfoo's task hash. Both loop over UTF-16 units, as Java does, so a key with characters beyond the
BMP counts as two units and lone surrogates are allowed.

Which keys, and their texts:

========  =========================================  ==========================================
kind      text                                       example
========  =========================================  ==========================================
int       decimal, any size                          ``-7``
str       itself                                     ``10.0.0.7``
bool      Java                                       ``true``
float     Java's ``Double.toString`` (JDK 19 on)     ``1.0E10``, ``0.001``, ``-0.0``, ``NaN``
bytes     ``0x`` and lower-case hex                  ``0x00ff``
UUID      canonical, lower-case                      ``6f2c0d52-...``
Enum      the member's name, also of IntEnum         ``RED``
tuple     texts joined by commas in parentheses;     ``(room,7)``
          inside a str or Enum a backslash before
          ``\ , ( )``, and ``\e`` for an empty one
========  =========================================  ==========================================

Two keys of equal text have the same owner (``1`` and ``"1"``), except bytes, whose raw bytes are hashed. The text of
a tuple tells its shape and its elements' texts apart: ``("a,b",)`` is not ``("a", "b")``; like ``1`` and ``"1"``, the
tuples ``(1,)`` and ``("1",)`` share an owner. Subclasses count as their base (numpy's float64 as float), Enum first.

Source: zfoo.md sections 3 (task hash) and 6 (ring hash); tests/data/fnv.json and task_hash.json hold what Java
answered. Everything here is pure and may be called on any thread; cost is O(length of the key's text).
"""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Callable, Iterable
from enum import Enum
from math import copysign
from operator import mul
from typing import Any, TypeAlias
from uuid import UUID

__all__ = [
    "Key",
    "cache_key",
    "check_key",
    "fnv_hash",
    "java_string_hash",
    "key_hashes",
    "key_text",
    "kind_and_text",
    "point_hashes",
    "task_hash",
    "utf16_units",
]

Key: TypeAlias = "int | str | bool | float | bytes | UUID | Enum | tuple[Key, ...]"
CacheKey: TypeAlias = int | str | tuple[int | str, ...] | tuple[None, str, str]

_ALLOWED = "int, str, bool, float, bytes, UUID, Enum, or a tuple of these"
_MASK = 0xFFFFFFFF
_SIGN = 0x80000000
_FNV_OFFSET = 0x811C9DC5
_FNV_PRIME = 16777619
_NATIVE_UTF16 = f"utf-16-{sys.byteorder[0]}e"
# Powers of 31 for texts of usual length, highest first: _POWERS[n] fits a text of n units.
_LONGEST_POWERS = 64
_POWERS = [[pow(31, n - 1 - i, 1 << 32) for i in range(n)] for n in range(_LONGEST_POWERS + 1)]


def utf16_units(text: str) -> bytes | array[int]:
    """The UTF-16 code units of a text, as ints; lone surrogates are kept."""
    if text.isascii():
        return text.encode()
    return array("H", text.encode(_NATIVE_UTF16, "surrogatepass"))


# ------------------------------------------------------------------------------------------------- ring hash


def fnv_hash(key: Key) -> int:
    """Where a key lies on the ring: 0 … 2^31 - 1.

    bytes are hashed as they are, each byte sign-extended as in Java (bytesOverload); every other key by its text.

    Raises:
        TypeError: for a key that is not allowed.
    """
    if key.__class__ is str:
        return _fnv_of_units(utf16_units(key))
    if key.__class__ is int:
        return _fnv_of_units(b"%d" % key)  # its decimal text, without the detour through str
    if isinstance(key, bytes) and not isinstance(key, Enum):
        return _fnv_of_units(memoryview(key).cast("b"))
    return _fnv_of_units(utf16_units(key_text(key)))


def _fnv_of_units(units: Iterable[int]) -> int:
    h = 0x811C9DC5
    for unit in units:
        h = ((h ^ unit) * 16777619) & 0xFFFFFFFF
    # As _scatter below; here without the call, which would be a tenth of a short key's time.
    h = (h * 0x2001) & 0xFFFFFFFF
    h ^= h >> 7 if h < 0x80000000 else (h >> 7) | 0xFE000000
    h = (h * 9) & 0xFFFFFFFF
    h ^= h >> 17 if h < 0x80000000 else (h >> 17) | 0xFFFF8000
    h = (h * 33) & 0xFFFFFFFF
    return h if h < 0x80000000 else 0x100000000 - h


def point_hashes(ring_name: str, count: int) -> list[int]:
    """Hashes of a provider's virtual nodes ``<ring_name>&&VN0`` … ``<ring_name>&&VN<count - 1>``, in that order.

    The state after ``&&VN`` is computed once, and each further digit is one step from the state before it.
    """
    state = _FNV_OFFSET
    for unit in utf16_units(f"{ring_name}&&VN"):
        state = ((state ^ unit) * _FNV_PRIME) & _MASK
    states = [((state ^ digit) * _FNV_PRIME) & _MASK for digit in b"0123456789"]
    number = 1  # states[n] is the state after the digits of n: those of n // 10, then the last
    while len(states) < count:
        before = states[number]
        states += [((before ^ digit) * _FNV_PRIME) & _MASK for digit in b"0123456789"]
        number += 1
    return [_scatter(state) for state in states[:count]]


def _scatter(h: int) -> int:
    """The last steps: three shift-adds, two shift-xors with arithmetic shifts, then abs (never of the minimum)."""
    h = (h * 0x2001) & _MASK  # h += h << 13
    h ^= h >> 7 if h < _SIGN else (h >> 7) | 0xFE000000
    h = (h * 9) & _MASK  # h += h << 3
    h ^= h >> 17 if h < _SIGN else (h >> 17) | 0xFFFF8000
    h = (h * 33) & _MASK  # h += h << 5
    return h if h < _SIGN else 0x100000000 - h


# ------------------------------------------------------------------------------------------------- task hash


def task_hash(key: Key) -> int:
    """The lane of a key: zfoo's task executor hash, a signed 32-bit int.

    int: its low 32 bits. float: truncated toward zero, clamped to 32 bits, NaN 0. bool: 1231 or 1237. Every other key:
    the Java string hash of its text. Never Python's `hash()`, which differs from process to process.

    Raises:
        TypeError: for a key that is not allowed.
    """
    if key.__class__ is str:
        return java_string_hash(key)
    if key.__class__ is bool:
        return 1231 if key else 1237
    if key.__class__ is int or (isinstance(key, int) and not isinstance(key, Enum)):
        return (int.__and__(key, _MASK) ^ _SIGN) - _SIGN
    if isinstance(key, Enum) or not isinstance(key, float):
        return java_string_hash(key_text(key))
    if key != key:  # noqa: PLR0124  # NaN
        return 0
    return int(min(max(key, -2147483648.0), 2147483647.0))


def key_hashes(key: Key) -> tuple[int, int]:
    """`fnv_hash` and `task_hash` of a key; the text of a str or tuple is made, and encoded, once for both."""
    if key.__class__ is str:
        text: str = key
    elif key.__class__ is tuple:
        text = _tuple_text(key)
    else:
        return fnv_hash(key), task_hash(key)
    units = text.encode() if text.isascii() else utf16_units(text)
    return _fnv_of_units(units), _java_hash_of_units(units)


def java_string_hash(text: str) -> int:
    """Java's ``String.hashCode``: the polynomial in 31 over UTF-16 units, as a signed 32-bit int."""
    return _java_hash_of_units(text.encode() if text.isascii() else utf16_units(text))


def _java_hash_of_units(units: bytes | array[int]) -> int:
    h = 0
    if len(units) <= _LONGEST_POWERS:
        h += sum(map(mul, units, _POWERS[len(units)]))
    else:
        for unit in units:
            h = (31 * h + unit) & _MASK
    return ((h & _MASK) ^ _SIGN) - _SIGN


# ---------------------------------------------------------------------------------------------------- texts


def check_key(key: object) -> None:
    """Refuse a key that is not allowed, at the call site.

    Raises:
        TypeError: naming the key's type and the allowed ones.
    """
    if key.__class__ in _KINDS and key.__class__ is not tuple:
        return
    try:
        _kind_and_text(key)
    except RecursionError:
        raise TypeError("a tuple key is nested too deeply: use a flat tuple") from None


def key_text(key: Key) -> str:
    """The text of a key, as in the table above.

    Raises:
        TypeError: for a key that is not allowed.
    """
    return key if key.__class__ is str else _kind_and_text(key)[1]


def cache_key(key: Key) -> CacheKey:
    """What a key is remembered under: int, str, and tuples of nothing but these (exact types), by themselves.

    Every other key by (None, kind, text), which no such tuple equals. So ``1``, ``1.0``, ``True`` and ``"true"``, which
    Python's dict or the text would mix up, never answer for one another, and equal cache keys always have equal
    `fnv_hash` and `task_hash`.

    Raises:
        TypeError: for a key that is not allowed.
    """
    kind = key.__class__
    if kind is str or kind is int:
        return key  # type: ignore[return-value]
    if kind is tuple:
        for element in key:  # type: ignore[union-attr]
            kind = element.__class__
            if kind is not str and kind is not int:
                break
        else:
            return key  # type: ignore[return-value]
    return None, *_kind_and_text(key)


def kind_and_text(known: CacheKey) -> tuple[str, str]:
    """The kind and the text of the key that is remembered under this `cache_key`."""
    if known.__class__ is tuple and known[:1] == (None,):
        return known[1], known[2]  # type: ignore[return-value]
    return _kind_and_text(known)


_MARKS = re.compile(r"[\\,()]")


def _tuple_key(key: tuple[object, ...]) -> tuple[str, str]:
    kinds = [_kind_and_text(element)[0] for element in key]
    return f"({','.join(kinds)})", _tuple_text(key)


def _tuple_text(key: tuple[object, ...]) -> str:
    texts = []
    for element in key:
        if element.__class__ is str:
            texts.append(element if element.isalnum() else _escaped(element))
        elif element.__class__ is int:
            texts.append(int.__repr__(element))
        else:
            kind, text = _kind_and_text(element)
            texts.append(_escaped(text) if kind in ("str", "enum") and not text.isalnum() else text)
    return f"({','.join(texts)})"


def _escaped(text: str) -> str:
    return _MARKS.sub(r"\\\g<0>", text) or r"\e"


# The methods are called on the class: a subclass that overrides one does not change the key.
_KINDS: dict[type, Callable[[Any], tuple[str, str]]] = {
    str: lambda key: ("str", str.__str__(key)),
    int: lambda key: ("int", int.__repr__(key)),
    bool: lambda key: ("bool", "true" if key else "false"),
    float: lambda key: ("float", _double_text(key)),
    bytes: lambda key: ("bytes", f"0x{bytes.hex(key)}"),
    UUID: lambda key: ("uuid", UUID.__str__(key)),
    tuple: _tuple_key,
}


def _kind_and_text(key: object) -> tuple[str, str]:
    exact = _KINDS.get(key.__class__)
    if exact is not None:
        return exact(key)
    if isinstance(key, Enum):  # before int and str, which an Enum may also be
        return "enum", str(key.name or key.value)  # a Flag without bits has no name
    for base, of_base in _KINDS.items():
        if isinstance(key, base):
            return of_base(key)
    raise TypeError(f"a key cannot be {type(key).__qualname__}: use {_ALLOWED} (for instance one field of it)")


def _double_text(number: float) -> str:
    """Java's ``Double.toString``, as JDK 19 made it: the shortest digits that read back, at least two.

    Python's repr finds the same shortest digits. Where one digit would do, Java takes the nearest two (4.9E-324, where
    Python says 5e-324). Older JDKs sometimes write a digit more.
    """
    if number != number:  # noqa: PLR0124  # NaN
        return "NaN"
    sign = "-" if copysign(1.0, number) < 0 else ""
    number = abs(float(number))
    if number == 0:
        return f"{sign}0.0"
    if number == float("inf"):
        return f"{sign}Infinity"
    digits, exponent = _scientific(float.__repr__(number))
    if len(digits) == 1:
        digits, exponent = _scientific(f"{number:.1e}")
    if 1e-3 <= number < 1e7:
        if exponent < 0:
            return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
        digits = digits.ljust(exponent + 2, "0")
        return f"{sign}{digits[: exponent + 1]}.{digits[exponent + 1 :]}"
    return f"{sign}{digits[0]}.{digits[1:] or '0'}E{exponent}"


def _scientific(text: str) -> tuple[str, int]:
    """A positive decimal as its digits without outer zeros, and the exponent of the first of them."""
    mantissa, _, power = text.partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    exponent = len(whole) - 1 - (len(whole + fraction) - len(digits)) + int(power or 0)
    return digits.rstrip("0"), exponent
