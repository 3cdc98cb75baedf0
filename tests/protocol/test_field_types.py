"""Field types: what is read from annotations, and what is refused, with class, field and place."""

from __future__ import annotations

import collections.abc
import datetime as dt
import decimal
import enum
import typing
import uuid
from typing import Annotated, Any, ClassVar, Dict, Generic, List, Literal, NewType, Optional, TypeVar, Union  # noqa: UP035

import msgspec
import pytest

from zfoo_py.errors import PacketError
from zfoo_py.protocol.field_types import MAX_TYPE_DEPTH, SUPPORTED, FieldType, read_fields, read_with_nested
from zfoo_py.protocol.frozen_map import FrozenMap
from zfoo_py.protocol.java_types import Byte, Width, Wire
from zfoo_py.protocol.packet import Ask, Packet

T = TypeVar("T")
UserId = NewType("UserId", int)
Int = FieldType("int")
Str = FieldType("str")


class Point(Packet):
    x: int
    y: float = 0.0


class Listing(Packet):
    names: list[str]


class Plain(msgspec.Struct, frozen=True):
    x: int


class Color(enum.Enum):
    RED = 1


def packet_with(annotation, name="Made"):
    return type(Packet)(name, (Packet,), {"__annotations__": {"a": annotation}, "__module__": __name__})


def read(annotation, scope=None):
    return read_fields(packet_with(annotation), Packet, scope or {}, "here.py:5")["a"]


@pytest.mark.parametrize(
    ("annotation", "expected", "text"),
    [
        (bool, FieldType("bool"), "bool"),
        (int, Int, "int"),
        (float, FieldType("float"), "float"),
        (str, Str, "str"),
        (bytes, FieldType("bytes"), "bytes"),
        (Point, FieldType("packet", packet=Point), "Point"),
        (list[int], FieldType("list", (Int,)), "list[int]"),
        (set[str], FieldType("set", (Str,)), "set[str]"),
        (frozenset[str], FieldType("frozenset", (Str,)), "frozenset[str]"),
        (FrozenMap[str, int], FieldType("map", (Str, Int)), "FrozenMap[str, int]"),
        (Byte, FieldType("int", width="byte"), "Byte"),
        (list[Byte | None], FieldType("list", (FieldType("int", nullable=True, width="byte"),)), "list[Byte | None]"),
        (Annotated[Byte, Wire(name="b")], FieldType("int", width="byte", wire=Wire(name="b")), "Byte"),
        (dict[str, int], FieldType("dict", (Str, Int)), "dict[str, int]"),
        (tuple[int, str], FieldType("tuple", (Int, Str)), "tuple[int, str]"),
        (tuple[int, ...], FieldType("series", (Int,)), "tuple[int, ...]"),
        (tuple[()], FieldType("tuple"), "tuple[()]"),
        (int | None, FieldType("int", nullable=True), "int | None"),
        (None | int, FieldType("int", nullable=True), "int | None"),
        (Optional[str], FieldType("str", nullable=True), "str | None"),  # noqa: UP045
        (Union[str, None], FieldType("str", nullable=True), "str | None"),  # noqa: UP007
        (List[int], FieldType("list", (Int,)), "list[int]"),  # noqa: UP006
        (Dict[str, int], FieldType("dict", (Str, Int)), "dict[str, int]"),  # noqa: UP006
        (
            dict[str, list[int | None]] | None,
            FieldType("dict", (Str, FieldType("list", (FieldType("int", nullable=True),))), nullable=True),
            "dict[str, list[int | None]] | None",
        ),
        ("list[Point]", FieldType("list", (FieldType("packet", packet=Point),)), "list[Point]"),
        ("Point | None", FieldType("packet", packet=Point, nullable=True), "Point | None"),
    ],
)
def test_supported(annotation, expected, text):
    kind = read(annotation)
    assert kind == expected
    assert kind.text == text


@pytest.mark.parametrize(
    "annotation",
    [
        Any,
        object,
        complex,
        bytearray,
        memoryview,
        Annotated[str, Width("int")],
        list[Annotated[int, Wire(compatible=1)]],
        None,
        type,
        Color,
        Plain,
        UserId,
        dt.datetime,
        uuid.UUID,
        decimal.Decimal,
        int | str,
        Union[int, str, None],  # noqa: UP007
        Literal["a"],
        Annotated[int, msgspec.Meta(gt=0)],
        collections.abc.Sequence[int],
        collections.abc.Mapping[str, int],
        collections.OrderedDict[str, int],
        typing.NamedTuple,
        T,
        list[T],
        type[int],
        # bare containers hold anything
        list,
        dict,
        set,
        tuple,
        List,  # noqa: UP006
        typing.Tuple,  # noqa: UP006
        typing.Dict,  # noqa: UP006
        # within others
        list[object],
        dict[str, Any],
        tuple[int, object],
        tuple[object, ...],
        set[Color],
        list[list],
        int | list | None,
        # no packet that could be built
        Packet,
        Ask,
    ],
    ids=lambda annotation: getattr(annotation, "__name__", None) or str(annotation),
)
def test_unsupported(annotation):
    with pytest.raises(PacketError) as caught:
        read(annotation)
    text = str(caught.value)
    assert "field Made.a (here.py:5)" in text
    assert SUPPORTED in text


def test_a_bare_container_is_shown_what_to_write():
    with pytest.raises(PacketError, match=r"dict does not say what is in it: write dict\[str, int\]"):
        read(dict)


def test_fields_come_in_wire_order_with_those_of_the_base():
    class Wider(Point):
        z: int = 0
        LIMIT: ClassVar[int] = 5

    assert list(read_fields(Wider, Packet, {}, "")) == ["x", "y", "z"] == list(Wider.__struct_fields__)


def test_a_name_not_there_yet_is_a_name_error():
    """The caller decides whether it may come later."""
    with pytest.raises(NameError):
        read("Nowhere")
    with pytest.raises(NameError):
        read("dt.Nowhere")  # as in a circular import
    assert read("Nowhere", {"Nowhere": Point}).packet is Point


def test_annotations_that_cannot_be_read_name_class_and_place():
    with pytest.raises(PacketError, match=r"the annotations of Made \(here.py:5\) cannot be read: .*"):
        read("1 +")


def test_generic_packets_have_no_one_type():
    class Box(Packet, Generic[T]):
        content: T

    with pytest.raises(PacketError, match=r"Box .*is generic"):
        read_fields(Box, Packet, {}, "here.py:5")
    with pytest.raises(PacketError, match="not supported"):
        read(Box[int])


def test_types_nest_so_deep_and_no_deeper():
    deep = int
    for _ in range(MAX_TYPE_DEPTH):
        deep = list[deep]
    assert read(deep).depth == MAX_TYPE_DEPTH
    with pytest.raises(PacketError, match="containers within one another"):
        read(dict[str, deep])


class TestNested:
    def read(self, annotation):
        return read_with_nested(packet_with(annotation), Packet, {}, "here.py:5")

    def test_every_class_reachable_is_read(self):
        class Outer(Packet):
            lists: dict[str, list[Listing]]

        found = self.read(tuple[Outer, Point])
        assert {kind.__name__ for kind in found} == {"Made", "Outer", "Point", "Listing"}
        assert list(found[Point]) == ["x", "y"]

    def test_faults_in_them_name_the_way(self):
        class Inner(Packet):
            what: object

        with pytest.raises(PacketError, match=r"Inner\.what \(here.py:5, through Made\): object is not supported"):
            self.read(list[Inner])

    @pytest.mark.parametrize(
        ("annotation", "bad"),
        [
            (set[list[int]], "list[int]"),
            (dict[set[int], int], "set[int]"),
            (list[dict[tuple[int, list[int]], int]], "tuple[int, list[int]]"),
            (set[tuple[dict[str, int], ...]], "tuple[dict[str, int], ...]"),
            (dict[str, set[Listing]], "Listing"),
            (dict[Listing | None, int], "Listing | None"),
        ],
    )
    def test_elements_and_keys_must_be_hashable(self, annotation, bad):
        with pytest.raises(PacketError) as caught:
            self.read(annotation)
        assert f"Made.a (here.py:5): {bad} cannot be hashed" in str(caught.value)

    @pytest.mark.parametrize(
        "annotation", [set[Point], dict[tuple[Point, str], int], set[tuple[int, ...]], dict[bytes, int]]
    )
    def test_hashable_ones(self, annotation):
        self.read(annotation)

    def test_a_class_may_hold_a_set_of_itself(self):
        class Knot(Packet):
            name: str
            parent: Knot | None
            seen: tuple[Knot, ...] = ()

        found = read_with_nested(packet_with(set[Knot]), Packet, {"Knot": Knot}, "here.py:5")
        assert Knot in found


def java_class(**fields):
    required = [(name, kind) for name, (kind, *default) in fields.items() if not default]
    given = [(name, kind, default[0]) for name, (kind, *default) in fields.items() if default]
    return msgspec.defstruct("Made", [*required, *given], bases=(Packet,), module=__name__)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"user_id": (int,), "userId": (int,)}, "user_id and userId have the same name for Java peers"),
        ({"a": (int,), "b": (Annotated[int, Wire(name="a")],)}, "a and b have the same name"),
        ({"a": (Annotated[int, Wire(compatible=3)],), "b": (Annotated[int, Wire(compatible=3)],)}, "compatible=3"),
        ({"a": (Annotated[int, Wire(java=False)],)}, "a is not for Java peers, so it needs a default"),
    ],
)
def test_what_java_peers_could_not_tell_apart(fields, text):
    with pytest.raises(PacketError, match=text):
        read_fields(java_class(**fields), Packet, {}, "here.py:5")


def test_what_java_peers_can_tell_apart():
    fields = {
        "user_id": (int,),
        "b": (Annotated[int, Wire(compatible=-1)],),
        "c": (Annotated[int, Wire(compatible=1)],),
        "userId": (Annotated[int, Wire(java=False)], 0),
    }
    assert list(read_fields(java_class(**fields), Packet, {}, "")) == list(fields)


@pytest.mark.parametrize(
    "annotation", [frozenset[list[int]], FrozenMap[list[int], int], set[FrozenMap[int, list[int]]]]
)
def test_frozen_containers_hash_only_if_what_is_in_them_does(annotation):
    with pytest.raises(PacketError, match="cannot be hashed"):
        read_with_nested(packet_with(annotation), Packet, {}, "here.py:5")
