"""Which Java classes are packets, their Python types, and what cannot be mapped."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from zfoo_py.cli.java_python import assigned, python_module
from zfoo_py.cli.java_source import read_java
from zfoo_py.protocol.frozen_map import FrozenMap
from zfoo_py.protocol.packet import PacketTable
from zfoo_py.protocol.protocol_xml import read_protocol_xml
from zfoo_py.protocol.zfoo_java_codec import decode, encode


def imported(java, *, xml=None, module=(10, "mine")):
    classes, _ = read_java(java.encode(), "A.java")
    modules, faults = assigned(classes, read_protocol_xml(xml.encode(), "p.xml") if xml else (), module)
    text = python_module(modules, faults)
    return text, [str(fault) for fault in sorted(faults)]


def line_of(java_type):
    java = f"@Protocol(id = 300) class A {{ {java_type} f; }} @Protocol(id = 301) class P {{ int a; }}"
    text, faults = imported(java)
    assert faults == []
    return next(line.strip() for line in text.splitlines() if line.startswith("    f: "))


@pytest.mark.parametrize(
    ("java", "python"),
    [
        ("boolean", "bool"),
        ("Boolean", "bool"),
        ("byte", "Byte"),
        ("Short", "Short"),
        ("Integer", "Int"),
        ("long", "Long"),
        ("float", "Float"),
        ("Double", "Double"),
        ("String", "str"),
        ("P", "P | None"),
        ("Error", "Error | None"),
        ("byte[]", "bytes"),
        ("Byte[]", "list[Byte]"),
        ("String[]", "list[str]"),
        ("P[]", "list[P | None]"),
        ("List<List<Integer>>", "list[list[Int]]"),
        ("Set<Long>", "set[Long]"),
        ("Set<List<String>>", "set[tuple[str, ...]]"),
        ("Set<Set<String>>", "set[frozenset[str]]"),
        ("Set<Map<Integer, P>>", "set[FrozenMap[Int, P | None]]"),
        ("Map<String, Map<Integer, Long>>", "dict[str, dict[Int, Long]]"),
        ("Map<P, String>", "FrozenMap[P | None, str]"),
        ("Map<List<Integer>, String>", "dict[tuple[Int, ...], str]"),
    ],
)
def test_types(java, python):
    assert line_of(java) == f"f: {python}"


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("char c;", "A.c cannot be mapped, nor its class: char is no type that zfoo sends"),
        ("Object o;", "Object is no type"),
        ("ArrayList<Integer> l;", "generic, and zfoo knows List, Set and Map only"),
        ("List l;", "List does not say what is in it"),
        ("Map<Integer> m;", "Map<Integer> does not say what is in it"),
        ("List<?> l;", "has a wildcard"),
        ("int[][] a;", "more than one dimension"),
        ("List<int[]> l;", "arrays and collections do not hold one another"),
        ("List<Integer>[] l;", "arrays and collections do not hold one another"),
        ("HashMap m;", "write the interface"),
        ("@Compatible(1) int a; @Compatible(1) int b;", "@Compatible(1) is that of a too"),
        ("@Compatible int a;", "@Compatible() is no number: write the number"),
        ("@Compatible(X) int a;", "@Compatible(X) is no number"),
        ("int a$b; int a_b;", "in Python it would have the name of a$b, a_b"),
    ],
)
def test_what_zfoo_does_not_send_is_named_with_its_line(body, fault):
    text, faults = imported(f"@Protocol(id = 300) class A {{\n{body} }} @Protocol(id = 301) class B {{}}")
    (found,) = faults
    assert fault in found
    assert found.startswith("A.java:2: ")
    assert "class A(" not in text
    assert "class B(" in text


@pytest.mark.parametrize(
    ("java", "fault"),
    [
        ("@Protocol(id = 300) enum A { X }", "A is an enum"),
        ("@Protocol(id = 300) interface A {}", "A is an interface"),
        ("@Protocol(id = 300) class A<T> {}", "A is generic"),
        ("@Protocol(id = 300) abstract class A {}", "A is abstract"),
        ("@Protocol class A {}", "A has no id"),
        ("@Protocol(id = X.Y) class A {}", "A has an id that is no number, X.Y"),
        ("@Protocol(id = 100) class A {}", "A has id 100; zfoo_py's users have 200..32699"),
        ("@Protocol(id = 300) class A { int a; int ; }", "A cannot be mapped: its line 1 is no Java"),
        ("@Protocol(id = 300) class Error {}", "has the name of a packet of zfoo's own"),
        (
            "@Protocol(id = 300) class A {} class B { @Protocol(id = 300) class C {} }",
            "protocol id 300 of A (A.java:1)",
        ),
        ("@Protocol(id = 300) class A {} class B { @Protocol(id = 301) class A {} }", "has the class name A of A"),
    ],
)
def test_what_is_no_packet_is_named(java, fault):
    _, faults = imported(java)
    assert len(faults) == 1
    assert fault in faults[0]


def test_a_packet_whose_field_was_left_out_is_left_out_too():
    text, faults = imported(
        "@Protocol(id = 300) class A { char c; }\n@Protocol(id = 301) class B { List<A> l; }\n"
        "@Protocol(id = 302) class C { B b; }\n@Protocol(id = 303) class D {}"
    )
    assert [fault.partition(": ")[2] for fault in faults[1:]] == ["B is left out, as A is", "C is left out, as B is"]
    assert [line for line in text.splitlines() if line.startswith("class ")] == ["class D(Packet):"]


def test_protocol_xml_says_the_modules_and_must_agree_about_ids():
    java = (
        "package p; @Protocol(id = 300) class A {} class B {} @Protocol(id = 302) class C {} "
        "@Protocol(id = 303) class D {} class E {}"
    )
    xml = (
        "<protocols><module id='20' name='one'><protocol id='999' location='p.A'/><protocol id='301' location='p.B'/>"
        "</module><module id='21' name='two'><protocol location='p'/><protocol id='304' location='p.F'/></module>"
        "</protocols>"
    )
    text, faults = imported(java, xml=xml, module=None)
    assert [line for line in text.splitlines() if line.startswith(("@", "class ", "one", "two"))] == [
        'one = ProtocolModule(20, "one")',
        'two = ProtocolModule(21, "two")',
        "@one.packet(301)",
        "class B(Packet):",
        "@two.packet(302)",
        "class C(Packet):",
        "@two.packet(303)",
        "class D(Packet):",
    ]
    assert faults == [
        "A.java:1: p.A has id 300 in its annotation and 999 in protocol.xml: zfoo wants them to agree",
        "p.xml:1: p.F was not found in the folders given",
    ]


def test_what_has_an_id_in_protocol_xml_is_a_class_however_it_is_written():
    xml = '<protocols><module id="20" name="low"><protocol id="300" location="p.visit"/></module></protocols>'
    text, faults = imported("package p; class visit { int a; }", xml=xml, module=None)
    assert faults == []
    assert "@low.packet(300)\nclass visit(Packet):" in text
    assert imported("package p; class Visit { int a; }", xml=xml)[1] == [
        "p.xml:1: p.visit was not found in the folders given"
    ]


def test_without_a_module_it_says_how_to_give_one():
    _, faults = imported("@Protocol(id = 300) class A {}", module=None)
    assert "--module ID NAME" in faults[0]
    _, faults = imported("@Protocol(id = 300) class A {}", module=(10, "chat-rooms"))
    assert "module 'chat-rooms' contains '-', a mark of zfoo's registration text; write 'chat_rooms'" in faults[0]
    _, faults = imported("@Protocol(id = 300) class A {}", module=(10, "native"))
    assert "is in module 'native', which is zfoo_py's own" in faults[0]
    _, faults = imported("@Protocol(id = 300) class A {}", module=(126, "mine"))
    assert "zfoo_py's users have 3..125" in faults[0]


def test_a_class_of_another_package_than_protocol_xml_says_is_told_so():
    xml = "<protocols><module id='20' name='one'><protocol location='p.q.A'/></module></protocols>"
    _, faults = imported("package p; @Protocol(id = 300) class A {}", xml=xml, module=None)
    assert faults == ["A.java:1: p.A is in no module: p.xml:1 names p.q.A, which is of another package"]


def test_asks_name_their_answers_and_come_behind_them():
    text, _ = imported(
        "@Protocol(id = 300) class UserAsk {} @Protocol(id = 301) class UserAnswer {} "
        "@Protocol(id = 302) class PayRequest {} @Protocol(id = 303) class PayResponse {} "
        "@Protocol(id = 304) class LoneAsk {}"
    )
    assert [line for line in text.splitlines() if line.startswith("class ")] == [
        "class UserAnswer(Packet):",
        "class UserAsk(Ask[UserAnswer]):",
        "class PayResponse(Packet):",
        "class PayRequest(Ask[PayResponse]):",
        "class LoneAsk(Packet):",
    ]


def test_an_ask_whose_answer_is_left_out_is_a_packet():
    java = "@Protocol(id = 300) class A1Ask { int a; } @Protocol(id = 301) class A1Answer { char c; }"
    text, faults = imported(java)
    assert "class A1Ask(Packet):" in text
    assert "Ask," not in text
    assert "A1Answer" not in text
    (fault,) = faults
    assert "A1Answer.c cannot be mapped" in fault


def test_what_is_a_key_and_all_in_it_can_be_hashed():
    """Lists, maps and arrays in the classes of elements of sets, and of keys of maps, are their frozen forms."""
    java = """
        @Protocol(id = 300) record Far(Set<Place> seen, List<Place> way, Map<Integer, Far2> plain) {}
        @Protocol(id = 301) record Place(List<Integer> xs, String[] names, byte[] raw, Inner inner,
            @Compatible(1) Map<Long, List<String>> notes, @Compatible(2) Set<Short> marks) {}
        @Protocol(id = 302) record Inner(List<Long> ids) {}
        @Protocol(id = 303) record Far2(List<Long> ids, Map<Map<Key, Integer>, Integer> counts) {}
        @Protocol(id = 304) record Key(double[] xs) {}
    """
    text, faults = imported(java)
    assert faults == []
    for line in (
        "    seen: set[Place | None]\n    way: list[Place | None]\n    plain: dict[Int, Far2 | None]\n",
        "    xs: tuple[Int, ...]\n    names: tuple[str, ...]\n    raw: bytes\n    inner: Inner | None\n",
        "FrozenMap[Long, tuple[str, ...]], Wire(compatible=1)] = FrozenMap()",
        "frozenset[Short], Wire(compatible=2)] = frozenset()",
        "    ids: tuple[Long, ...]\n",
        "    ids: list[Long]\n",
        "    xs: tuple[Double, ...]\n",
    ):
        assert line in text
    made = loaded(text)
    place = made.Place((1,), ("a",), b"", made.Inner((5,)), FrozenMap({1: ("x",)}), frozenset({3}))
    far = made.Far({place}, [place], {1: made.Far2([1], {FrozenMap({made.Key((0.5,)): 1}): 2})})
    assert decode(encode(far, table=made.table), made.table) == (far, None)


def loaded(text):
    """Return what the module makes, in a table of its own."""
    made = ModuleType("written_by_import_java")
    made.table = PacketTable()
    sys.modules[made.__name__] = made
    try:
        exec(text.replace('(10, "mine")', '(10, "mine", table=table)'), vars(made))  # noqa: S102 - we wrote it
    finally:
        del sys.modules[made.__name__]
    return made


def test_names_are_pythons_and_go_back_to_javas():
    text, faults = imported(
        "@Protocol(id = 300) class A { int userId; int URL; int aB2c; int in; int list; int _u; int $x; int a_b; }"
    )
    assert faults == []
    body = [line.strip() for line in text.splitlines() if line.startswith("    ") and ": " in line]
    assert body == [
        "user_id: Int",
        "URL: Int",
        "a_b2c: Int",
        "in_: Int",
        "list_: Int",
        "_u: Int",
        '_x: Annotated[Int, Wire(name="$x")]',
        'a_b: Annotated[Int, Wire(name="a_b")]',
    ]
