"""Plans accept and build exactly what msgspec does, for every type a field may have."""

from __future__ import annotations

import collections
import enum
import threading

import msgpack
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zfoo_py.protocol.field_types import read_fields
from zfoo_py.protocol.frozen_map import FrozenMap
from zfoo_py.protocol.java_types import Byte, Float, Int, Long
from zfoo_py.protocol.msgpack_codec import _unpack_array_keys
from zfoo_py.protocol.packet import Packet
from zfoo_py.protocol.plan import MismatchError, Plans


class Point(Packet):
    x: int
    y: float = 0.5


class Label(Packet):
    text: str
    point: Point | None = None
    extra: tuple[bool, ...] = ()


class Lists(Packet):
    points: list[Point]
    names: dict[str, set[int]] = {}  # noqa: RUF012


class Level(enum.IntEnum):
    LOW = 1


class Name(enum.StrEnum):
    ANN = "ann"


class Odd(str):
    __slots__ = ()

    def __str__(self):
        return "not the text"


Pair = collections.namedtuple("Pair", "a b")  # noqa: PYI024


def plan_of(*annotations, defaults=()):
    """Make a packet class with fields of these types, and its plan."""
    names = [f"f{i}" for i in range(len(annotations))]
    fields = [(name, kind) for name, kind in zip(names, annotations, strict=True)]
    for index, default in enumerate(reversed(defaults), 1):
        fields[-index] = (*fields[-index], default)
    made = msgspec.defstruct("Made", fields, bases=(Packet,))
    return made, plans().of(made)


def plans():
    return Plans(lambda kind: read_fields(kind, Packet, {}, "here"))


# ---------------------------------------------------------------------------------- annotations and values
SCALARS = [bool, int, float, str, bytes]
HASHABLE = st.recursive(
    st.sampled_from([*SCALARS, Point, Label]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2).map(lambda kinds: tuple[tuple(kinds)] if kinds else tuple[()]),
        inner.map(lambda kind: tuple[kind, ...]),
        inner.map(lambda kind: kind | None),
    ),
    max_leaves=4,
)
ANNOTATIONS = st.recursive(
    st.one_of(st.sampled_from([*SCALARS, Lists]), HASHABLE),
    lambda inner: st.one_of(
        inner.map(lambda kind: list[kind]),
        HASHABLE.map(lambda kind: set[kind]),
        st.tuples(HASHABLE, inner).map(lambda pair: dict[pair]),
        st.lists(inner, min_size=1, max_size=2).map(lambda kinds: tuple[tuple(kinds)]),
        inner.map(lambda kind: kind | None),
    ),
    max_leaves=5,
)
INTS = st.integers(-(2**63), 2**64 - 1)
# Floats that an int equals would hide whether it was converted.
FLOATS = st.floats(allow_nan=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
LEAVES = st.one_of(st.none(), st.booleans(), INTS, FLOATS, TEXTS, st.binary(max_size=4))
JUNK = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(LEAVES.filter(lambda x: x is not None), inner, max_size=2)
    ),
    max_leaves=5,
)


def values(kind, exact=False):  # noqa: PLR0911
    """Strategy of values of an annotation; ints for floats too unless `exact`."""
    origin, args = getattr(kind, "__origin__", None), getattr(kind, "__args__", ())
    scalars = {
        bool: st.booleans(),
        int: INTS,
        float: FLOATS if exact else FLOATS | INTS,
        str: TEXTS,
        bytes: st.binary(max_size=4),
    }
    if kind in scalars:
        return scalars[kind]
    if isinstance(kind, type) and not origin and issubclass(kind, Packet):
        return st.builds(kind, *(values(hint, exact) for hint in HINTS[kind]))
    if origin is list:
        return st.lists(values(args[0], exact), max_size=3)
    if origin is set:
        return st.sets(values(args[0], exact), max_size=3)
    if origin is dict:
        return st.dictionaries(values(args[0], exact), values(args[1], exact), max_size=3)
    if origin is tuple:
        if args[-1:] == (...,):
            return st.lists(values(args[0], exact), max_size=3).map(tuple)
        return st.tuples(*(values(arg, exact) for arg in args))
    first, second = args  # X | None
    return st.none() | values(first if second is type(None) else second, exact)


HINTS = {
    Point: [int, float],
    Label: [str, Point | None, tuple[bool, ...]],
    Lists: [list[Point], dict[str, set[int]]],
}


def through_msgpack(value):
    body = msgpack.packb(value)
    try:
        return msgpack.unpackb(body, strict_map_key=False)
    except TypeError:
        return _unpack_array_keys(body)


def sent(plan, packet):
    """Return what the peer unpacks."""
    return through_msgpack(plan.flatten(packet))


def typed(value):
    """Return the value with every type in it, to compare: 1 == 1.0 == True."""
    if isinstance(value, Packet):
        return type(value), tuple(typed(getattr(value, name)) for name in value.__struct_fields__)
    if isinstance(value, list | tuple):
        return type(value), tuple(map(typed, value))
    if isinstance(value, set):
        return set, frozenset(map(typed, value))
    if isinstance(value, dict):
        return dict, frozenset((typed(k), typed(v)) for k, v in value.items())
    return type(value), repr(value)


def outcome(function, *args):
    try:
        return typed(function(*args))
    except (MismatchError, msgspec.ValidationError):
        return "refused"


# ----------------------------------------------------------------------------------------------- properties
@settings(max_examples=150)
@given(st.data())
def test_what_is_flattened_is_built_again(data):
    """For any class, built(flattened(x)) is x, to the types of every part."""
    annotations = data.draw(st.lists(ANNOTATIONS, max_size=3))
    made, plan = plan_of(*annotations)
    packet = made(*(data.draw(values(kind, exact=True)) for kind in annotations))
    assert typed(plan.build(sent(plan, packet))) == typed(packet)


@settings(max_examples=150)
@given(st.data())
def test_build_is_msgspecs_convert(data):
    """On right, slightly wrong and quite wrong arrays alike: the same packet, or both refuse."""
    annotations = data.draw(st.lists(ANNOTATIONS, max_size=3))
    made, plan = plan_of(*annotations)
    if data.draw(st.booleans()):
        array = data.draw(st.lists(JUNK, max_size=4) | JUNK)
    else:
        array = sent(plan, made(*(data.draw(values(kind)) for kind in annotations)))
        array = data.draw(mutations(array))
    expected = outcome(lambda: msgspec.convert(array, made, builtin_types=(bytes,)))
    assert outcome(plan.build, array) == expected


@settings(max_examples=150)
@given(st.data())
def test_flatten_refuses_what_build_would(data):
    """A value is sent only if the peer, or msgspec there, makes the same of it; junk is refused at the sender."""
    annotations = data.draw(st.lists(ANNOTATIONS, min_size=1, max_size=3))
    made, plan = plan_of(*annotations)
    fields = [data.draw(values(kind) | JUNK) for kind in annotations]
    packet = made(*fields)
    right = all(is_of(kind, field) for kind, field in zip(annotations, fields, strict=True))
    if right:
        array = sent(plan, packet)
        assert plan.build(array) == msgspec.convert(array, made, builtin_types=(bytes,))
    else:
        with pytest.raises(MismatchError, match=r"^(Made\.f|Point\.|Label\.|Lists\.)"):
            plan.flatten(packet)


def is_of(kind, value):  # noqa: PLR0911
    """Say whether a value is of an annotation, by the plain definition."""
    origin, args = getattr(kind, "__origin__", None), getattr(kind, "__args__", ())
    if kind is float:
        return type(value) in (int, float)
    if kind in SCALARS:
        return type(value) is kind
    if isinstance(kind, type) and not origin and issubclass(kind, Packet):
        return type(value) is kind and all(
            is_of(hint, getattr(value, name)) for hint, name in zip(HINTS[kind], kind.__struct_fields__, strict=True)
        )
    if origin in (list, set):  # a set may be sent as any iterable
        kinds = (set, frozenset, list, tuple) if origin is set else (list,)
        return type(value) in kinds and all(is_of(args[0], item) for item in value)
    if origin is dict:
        return type(value) is dict and all(is_of(args[0], k) and is_of(args[1], v) for k, v in value.items())
    if origin is tuple and args[-1:] == (...,):
        return type(value) is tuple and all(is_of(args[0], item) for item in value)
    if origin is tuple:
        return type(value) is tuple and len(value) == len(args) and all(map(is_of, args, value))
    first, second = args
    return value is None or is_of(first if second is type(None) else second, value)


@st.composite
def mutations(draw, tree):
    """Strategy: the tree with one part replaced by junk, dropped or doubled, or nothing changed."""
    if not isinstance(tree, list | dict) or not tree or draw(st.integers(0, 3)) == 0:
        return draw(st.just(tree) | JUNK)
    if isinstance(tree, dict):
        key = draw(st.sampled_from(sorted(tree, key=repr)))
        return {**tree, key: draw(mutations(tree[key]))}
    index = draw(st.integers(0, len(tree) - 1))
    change = draw(st.sampled_from(["drop", "double", "within", "within"]))
    if change == "drop":
        return tree[:index] + tree[index + 1 :]
    if change == "double":
        return [*tree, tree[index]]
    return [*tree[:index], draw(mutations(tree[index])), *tree[index + 1 :]]


# ------------------------------------------------------------------------------------------------- examples
@pytest.mark.parametrize(
    ("annotation", "value", "text"),
    [
        (int, "5", r"Made.f0: expected int, got str"),
        (int, True, r"Made.f0: expected int, got bool"),
        (float, True, r"Made.f0: expected float, got bool"),
        (bool, 1, r"Made.f0: expected bool, got int"),
        (str, b"a", r"Made.f0: expected str, got bytes"),
        (bytes, bytearray(b"a"), r"Made.f0: expected bytes, got bytearray"),
        (int, None, r"Made.f0: expected int, got None"),
        (int | None, "a", r"Made.f0: expected int, got str"),
        (list[str], ("a",), r"Made.f0: expected list\[str\], got tuple"),
        (list[str], ["a", 5], r"Made.f0 \(an element\): expected str, got int"),
        (set[int], {1, "a"}, r"Made.f0 \(an element\): expected int, got str"),
        (set[int], "ab", r"Made.f0: expected set\[int\], got str"),
        (set[int], {1: 2}, r"Made.f0: expected set\[int\], got dict"),
        (Byte, 128, "Made.f0: 128 is out of range: Byte is -128 to 127"),
        (Int, -(1 << 31) - 1, "Made.f0: -2147483649 is out of range: Int is -2147483648 to 2147483647"),
        (Long, 1 << 99, "Made.f0: a number of more than 70 bits is out of range: Long is -.*"),
        (Float, 3.5e38, "Made.f0: a Float cannot hold a number as large as this"),
        (dict[str, int], {5: 5}, r"Made.f0 \(a key\): expected str, got int"),
        (dict[str, list[int]], {"a": [None]}, r"Made.f0 \(a value\) \(an element\): expected int, got None"),
        (tuple[int, str], (1, "a", 2), r"Made.f0: expected tuple\[int, str\], got tuple of length 3"),
        (tuple[int, str], (1, 2), r"Made.f0\[1\]: expected str, got int"),
        (tuple[int, ...], [1], r"Made.f0: expected tuple\[int, \.\.\.\], got list"),
        (Point, Label("a"), r"Made.f0: expected Point, got Label"),
        (Point, [1, 2.0], r"Made.f0: expected Point, got list"),
        (list[Point], [Point("1")], r"Point.x: expected int, got str"),
    ],
)
def test_flatten_names_class_and_field(annotation, value, text):
    made, plan = plan_of(annotation)
    with pytest.raises(MismatchError, match=f"^{text}$"):
        plan.flatten(made(value))


@pytest.mark.parametrize(
    ("annotations", "array", "text"),
    [
        ((int, str), [1], r"Made.f1 is missing: 1 fields came"),
        ((int,), {0: 1}, r"Made: expected an array of fields, got dict"),
        ((int,), b"\x01", r"Made: expected an array of fields, got bytes"),
        ((Point,), [[]], r"Point.x is missing: 0 fields came"),
        ((Point,), [None], r"Point: expected an array of fields, got None"),
        ((tuple[int, str],), [[1]], r"Made.f0: expected tuple\[int, str\], got list of length 1"),
        ((set[int],), ["ab"], r"Made.f0: expected set\[int\], got str"),
    ],
)
def test_build_names_class_and_field(annotations, array, text):
    _, plan = plan_of(*annotations)
    with pytest.raises(MismatchError, match=f"^{text}$"):
        plan.build(array)


def test_subclasses_are_sent_as_their_base():
    """What a type checker lets through is sent: enums, defaultdicts, named tuples; as plain values."""
    made, plan = plan_of(int, str, str, dict[str, int], tuple[int, int], float, list[int])
    counter = collections.Counter(a=2)
    flat = plan.flatten(made(Level.LOW, Name.ANN, Odd("text"), counter, Pair(1, 2), Level.LOW, [Level.LOW]))
    assert [type(value) for value in flat[:6]] == [int, str, str, dict, tuple, int]
    assert flat == (1, "ann", "text", {"a": 2}, (1, 2), 1, [1])


def test_a_packet_must_be_of_the_declared_class_itself():
    """A subclass would lose its further fields on the way."""

    class Deeper(Point):
        z: int = 0

    made, plan = plan_of(Point)
    with pytest.raises(MismatchError, match="expected Point, got Deeper"):
        plan.flatten(made(Deeper(1)))


def test_an_int_for_a_float_is_sent_as_given_and_arrives_as_float():
    made, plan = plan_of(float, list[float], dict[float, float])
    flat = plan.flatten(made(1, [2, 2.5], {3: 4}))
    assert typed(flat) == typed((1, [2, 2.5], {3: 4}))
    assert typed(plan.build([1, [2, 2.5], {3: 4}])) == typed(made(1.0, [2.0, 2.5], {3.0: 4.0}))


def test_a_newer_peer_may_append_fields_with_defaults():
    """Missing ones get the default, a fresh one each time; more than declared are ignored."""
    made, plan = plan_of(int, list[str], str, defaults=([], "x"))
    assert plan.build([1]) == made(1, [], "x")
    assert plan.build([1]).f1 is not plan.build([1]).f1
    assert plan.build([1, ["a"]]) == made(1, ["a"], "x")
    assert plan.build([1, ["a"], "b", object(), None]) == made(1, ["a"], "b")
    with pytest.raises(MismatchError):
        plan.build([])
    with pytest.raises(MismatchError, match=r"Made.f1 \(an element\)"):
        plan.build([1, [5]])


def test_keyword_only_fields_travel_by_position_too():
    class Named(Packet, kw_only=True):
        a: int = 1
        b: str

    plan = plans().of(Named)
    assert plan.flatten(Named(b="x")) == (1, "x")
    assert plan.build([2, "y"]) == Named(a=2, b="y")
    with pytest.raises(MismatchError, match=r"Named.b is missing"):
        plan.build([2])


def test_a_packet_without_fields():
    made, plan = plan_of()
    assert plan.flatten(made()) == ()
    assert plan.build([]) == plan.build(["newer"]) == made()


def test_classes_that_name_one_another():
    plan = plans().of(Tree)
    tree = Tree("root", [Tree("leaf"), Tree("fork", [Tree("leaf")])], Twig(Tree("x")))
    assert plan.flatten(Tree("leaf", [Tree("a")])) == ("leaf", [("a", [], None)], None)
    assert plan.build(through_msgpack(plan.flatten(tree))) == tree
    with pytest.raises(MismatchError, match=r"^Tree.name: expected str, got int$"):
        plan.flatten(Tree("root", [Tree(5)]))


class Tree(Packet):
    name: str
    children: list[Tree] = []  # noqa: RUF012
    twig: Twig | None = None


class Twig(Packet):
    tree: Tree


def test_a_post_init_is_heard():
    """It may raise what it likes: the codec translates."""

    class Even(Packet):
        n: int

        def __post_init__(self):
            if self.n % 2:
                raise ZeroDivisionError("odd")

    plan = plans().of(Even)
    assert plan.build([2]) == Even(2)
    with pytest.raises(ZeroDivisionError):
        plan.build([3])


def test_plans_are_made_once_and_from_any_thread():
    shared = plans()
    found = []
    threads = [threading.Thread(target=lambda: found.append(shared.of(Tree).build(["a"]))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [Tree("a")] * 8
    assert shared.of(Tree) is shared.of(Tree)


@pytest.mark.parametrize("value", [[3, 1, 2], (3, 1, 2), iter([3, 1, 2]), {3: 0, 1: 0, 2: 0}.keys()])
def test_a_set_is_any_iterable_written_in_its_order(value):
    made, plan = plan_of(set[int])
    assert list(plan.flatten(made(value))[0]) == [3, 1, 2]


def test_a_frozen_map_is_written_as_pairs():
    made, plan = plan_of(FrozenMap[int, set[int]])
    for value in (FrozenMap({1: {2}, 3: set()}), {1: {2}, 3: set()}):
        assert plan.flatten(made(value)) == (((1, [2]), (3, [])),)
    assert plan.build([[[1, [2]], [3, []]]]) == made(FrozenMap({1: {2}, 3: set()}))
    with pytest.raises(MismatchError, match="a pair"):
        plan.build([[[1, [2], 4]]])


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), 3.4028234663852886e38, 10**38])
def test_a_float_of_32_bits_may_be_infinite(value):
    made, plan = plan_of(Float)
    assert plan.flatten(made(value))[0] is value
