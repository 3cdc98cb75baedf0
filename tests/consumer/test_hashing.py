"""Hashes and texts of keys: Java's golden values, and what holds for every key."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zfoo_py.consumer.hashing import (
    cache_key,
    check_key,
    fnv_hash,
    java_string_hash,
    key_hashes,
    key_text,
    kind_and_text,
    point_hashes,
    task_hash,
    utf16_units,
)

DATA = Path(__file__).parent.parent / "data"
ROOT = DATA.parent.parent
FNV = json.loads((DATA / "fnv.json").read_text())
TASK_HASH = json.loads((DATA / "task_hash.json").read_text())


class Colour(Enum):
    RED = 1
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1


class Label(StrEnum):
    HOT = "hot"


class Raw(bytes, Enum):
    ONE = b"1"


class Right(Flag):
    READ = 1
    WRITE = 2


class LoudInt(int):
    def __str__(self) -> str:
        return "loud"

    __repr__ = __str__


class LoudStr(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "loud"


# Surrogates too: Java's strings may hold them, and so may Python's.
texts = st.text(st.characters(codec=None), max_size=20)
scalars = st.one_of(
    texts,
    st.integers(),
    st.integers(-3, 3),
    st.booleans(),
    st.floats(),
    st.sampled_from([0.0, -0.0, 1.0, 2.0, math.nan]),
    st.binary(max_size=8),
    st.uuids(),
    st.sampled_from([*Colour, *Level, *Label, *Raw, *Right]),
    st.sampled_from(["1", "1.0", "true", "RED", "0x31", "", "a,b", "(1)", "\\"]),
)
keys = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=5)


def slow_fnv(units):
    """The rule of zfoo.md section 6 word for word, on signed ints."""

    def signed(number):
        return (number & 0xFFFFFFFF ^ 0x80000000) - 0x80000000

    h = signed(0x811C9DC5)
    for unit in units:
        h = signed((h ^ unit) * 16777619)
    h = signed(h + (h << 13))
    h ^= h >> 7
    h = signed(h + (h << 3))
    h ^= h >> 17
    h = signed(h + (h << 5))
    return abs(h)


def units_of(text):
    raw = text.encode("utf-16-le", "surrogatepass")
    return [raw[at] | raw[at + 1] << 8 for at in range(0, len(raw), 2)]


# ------------------------------------------------------------------------------------------------- golden


@pytest.mark.parametrize("entry", FNV["entries"], ids=lambda entry: f"{entry['type']}:{entry['text']!a:.30}")
def test_fnv_golden(entry):
    if entry["type"] == "string":
        assert fnv_hash(entry["text"]) == entry["hash"]
        assert fnv_hash("".join(map(chr, entry["utf16"]))) == entry["hash"], "units given one by one"
    else:
        assert key_text(entry["value"]) == entry["text"]
        assert fnv_hash(entry["value"]) == fnv_hash(entry["text"]) == entry["hash"]


@pytest.mark.parametrize("entry", FNV["bytesOverload"]["entries"], ids=lambda entry: entry["hex"])
def test_fnv_golden_bytes(entry):
    assert fnv_hash(bytes.fromhex(entry["hex"])) == entry["hash"]


@pytest.mark.parametrize("entry", FNV["collisions"], ids=lambda entry: entry["a"])
def test_fnv_golden_collisions(entry):
    assert fnv_hash(entry["a"]) == fnv_hash(int(entry["b"])) == entry["hash"]


@pytest.mark.parametrize("entry", TASK_HASH["entries"], ids=lambda entry: f"{entry['type']}:{entry['value']!a}")
def test_task_hash_golden(entry):
    key = entry["value"]
    if entry["type"] in ("Double", "Float"):
        key = float(key)
    elif entry["type"] == "BigInteger":
        key = int(key)
    assert task_hash(key) == entry["taskExecutorHash"]


def test_hashes_do_not_depend_on_the_process():
    program = (
        "import uuid; from zfoo_py.consumer.hashing import *; "
        "keys = ['user-7', 7, True, 1.5, b'ab', uuid.UUID(int=5), ('room', 7)]; "
        "print([(fnv_hash(key), task_hash(key), cache_key(key)) for key in keys])"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("0", "1")
    }
    assert len(answers) == 1
    assert str(fnv_hash("user-7")) in answers.pop()


# --------------------------------------------------------------------------------------------------- texts


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (-1.5, "-1.5"),
        (100.0, "100.0"),
        (123456.789, "123456.789"),
        (9999999.0, "9999999.0"),
        (9999999.999999998, "9999999.999999998"),
        (1e7, "1.0E7"),
        (12345678.9, "1.23456789E7"),
        (1e10, "1.0E10"),
        (0.001, "0.001"),
        (0.0123, "0.0123"),
        (0.00099, "9.9E-4"),
        (1e-5, "1.0E-5"),
        (2e23, "2.0E23"),
        (1e23, "1.0E23"),
        (1.7976931348623157e308, "1.7976931348623157E308"),
        (2.2250738585072014e-308, "2.2250738585072014E-308"),
        (5e-324, "4.9E-324"),
        (1e-323, "9.9E-324"),
        (2e-323, "2.0E-323"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (math.nan, "NaN"),
    ],
)
def test_a_float_is_written_as_java_writes_a_double(number, text):
    assert key_text(number) == text
    assert fnv_hash(number) == fnv_hash(text)


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(1e-3)
@example(1e7)
@example(math.nextafter(1e7, 0))
@example(math.nextafter(1e-3, 0))
def test_a_float_text_reads_back_and_has_javas_form(number):
    text = key_text(number)
    assert float(text) == number
    assert math.copysign(1, float(text)) == math.copysign(1, number)
    plain = 1e-3 <= abs(number) < 1e7 or number == 0
    form = r"-?(0|[1-9]\d{0,6})\.\d+" if plain else r"-?[1-9]\.\d+E-?[1-9]\d*"
    assert re.fullmatch(form, text), text
    digits = text.lstrip("-").partition("E")[0]
    assert not digits.endswith("0") or digits.endswith(".0"), "no zero too many"


@pytest.mark.parametrize(
    ("key", "kind", "text"),
    [
        (True, "bool", "true"),
        (False, "bool", "false"),
        (b"\x00\xff", "bytes", "0x00ff"),
        (UUID("6F2C0D52-1C7E-4F0C-9B57-0A8B5C2D9E11"), "uuid", "6f2c0d52-1c7e-4f0c-9b57-0a8b5c2d9e11"),
        (Colour.RED, "enum", "RED"),
        (Colour.BLUE, "enum", "BLUE"),
        (Level.LOW, "enum", "LOW"),
        (Label.HOT, "enum", "HOT"),
        (Raw.ONE, "enum", "ONE"),
        (Right.READ | Right.WRITE, "enum", "READ|WRITE"),
        (Right(0), "enum", "0"),
        (LoudInt(7), "int", "7"),
        (LoudStr("quiet"), "str", "quiet"),
        ((), "()", "()"),
        (("room", 7), "(str,int)", "(room,7)"),
        (("",), "(str)", "(\\e)"),
        (("a,b", ("(", "\\"), 1.0), "(str,(str,str),float)", "(a\\,b,(\\(,\\\\),1.0)"),
    ],
)
def test_texts_and_cache_keys(key, kind, text):
    assert key_text(key) == text
    assert cache_key(key) == (key if kind in {"()", "(str)", "(str,int)"} else (None, kind, text))
    assert kind_and_text(cache_key(key)) == (kind, text)
    assert key_hashes(key) == (fnv_hash(key), task_hash(key))
    if kind != "bytes":
        assert fnv_hash(key) == fnv_hash(text)
    if kind not in {"int", "bool"}:
        assert task_hash(key) == java_string_hash(text)


def test_an_int_subclass_has_the_lane_of_its_number():
    assert task_hash(LoudInt(2**32 + 5)) == 5


def test_exact_int_and_str_are_their_own_cache_key():
    text, number = "user-7", 10**20
    assert cache_key(text) is text
    assert cache_key(number) is number
    pair = (text, number)
    assert cache_key(pair) is pair


def test_keys_that_python_or_their_text_mix_up_have_different_cache_keys():
    alike = [1, 1.0, True, "1", "true", Level.LOW, b"1", LoudInt(1), (1,), (1.0,), (True,), ("1",), ("true",)]
    alike += [("bytes", "0x31"), (LoudInt(1),), ("room", True), ("room", 1)]
    assert len({cache_key(key) for key in alike}) == len(alike)
    assert fnv_hash(1) == fnv_hash("1"), "they share an owner all the same"


@given(keys, keys)
@example(("a,b",), ("a", "b"))
@example(("a", ("b",)), ("a", "(b)"))
@example(("\\", ","), ("\\,",))
@example((Colour.RED,), ("RED",))
def test_cache_keys_are_equal_only_for_keys_that_hash_alike(one, other):
    if cache_key(one) == cache_key(other):
        assert fnv_hash(one) == fnv_hash(other)
        assert task_hash(one) == task_hash(other)
    for key in (one, other):
        assert cache_key(key) == cache_key(key)
        assert 0 <= fnv_hash(key) < 2**31
        assert -(2**31) <= task_hash(key) < 2**31
        assert key_hashes(key) == (fnv_hash(key), task_hash(key))
        check_key(key)


@given(st.lists(texts, max_size=4).map(tuple), st.lists(texts, max_size=4).map(tuple))
@example(("a,b",), ("a", "b"))
@example((), ("",))
@example(("",), ("", ""))
@example(("\\",), ("\\\\",))
def test_tuples_of_texts_have_different_texts(one, other):
    assert (key_text(one) == key_text(other)) == (one == other)


# -------------------------------------------------------------------------------------------------- hashes


@given(texts)
def test_fnv_follows_the_rule(text):
    assert list(utf16_units(text)) == units_of(text)
    assert fnv_hash(text) == slow_fnv(units_of(text))


@given(st.binary(max_size=20))
def test_fnv_of_bytes_extends_the_sign(raw):
    assert fnv_hash(raw) == slow_fnv([byte - 256 if byte > 127 else byte for byte in raw])


@given(st.one_of(texts, st.text(min_size=60, max_size=70), st.text("az\xff", min_size=60, max_size=200)))
def test_the_java_string_hash_follows_the_rule(text):
    h = 0
    for unit in units_of(text):
        h = 31 * h + unit
    assert java_string_hash(text) == (h & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
    assert task_hash(text) == java_string_hash(text)


@given(texts, st.sampled_from([0, 1, 9, 10, 11, 99, 100, 101, 200, 1001]))
def test_point_hashes_are_the_hashes_of_the_virtual_nodes(name, count):
    assert point_hashes(name, count) == [fnv_hash(f"{name}&&VN{number}") for number in range(count)]


# ------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (None, "NoneType"),
        (["a"], "list"),
        ({"a": 1}, "dict"),
        (bytearray(b"a"), "bytearray"),
        (Decimal(1), "Decimal"),
        (1j, "complex"),
        (object(), "object"),
        (("a", ("b", ["c"])), "list"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_other_keys_are_refused_by_name(key, name):
    for ask in (check_key, fnv_hash, task_hash, cache_key, key_text):
        with pytest.raises(TypeError, match=f"a key cannot be {name}: use int, str, bool, float, bytes, UUID, Enum"):
            ask(key)


def test_a_bottomless_tuple_is_refused():
    key = ()
    for _ in range(100_000):
        key = (key,)
    with pytest.raises(TypeError, match="flat tuple"):
        check_key(key)
    while key:  # take it apart from outside, for CPython's sake
        (key,) = key
