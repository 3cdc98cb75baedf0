"""Java sources: types, annotations, comments, and what is no Java."""

from __future__ import annotations

import pytest

from zfoo_py.cli.java_source import JavaType, read_java


def only(text):
    (found,), faults = read_java(text.encode(), "A.java")
    assert not faults
    return found


def fields_of(body, head="class A"):
    return only(f"{head} {{ {body} }}").fields


@pytest.mark.parametrize(
    ("java", "text"),
    [
        ("int", "int"),
        ("java.lang.String", "String"),
        ("Map<Integer, java.util.List<Set<String>>>", "Map<Integer, List<Set<String>>>"),
        ("long[][]", "long[][]"),
        ("List<int[]>", "List<int[]>"),
        ("List<? extends Number>", "List<? extends Number>"),
        ("@Nullable String", "String"),
        ("Outer.Inner", "Inner"),
    ],
)
def test_types_are_read_as_written(java, text):
    assert fields_of(f"{java} a;")[0].type.text == text


def test_brackets_may_stand_behind_the_name():
    one, two = fields_of("byte a[], b;")
    assert (one.type, two.type) == (JavaType("byte", (), 1), JavaType("byte"))


def test_static_and_transient_fields_methods_and_constructors_are_no_fields():
    body = "static int S = 1; private transient int t; A() {} int f() { int local = 1; return local; } final int a = 2;"
    assert [field.name for field in fields_of(body)] == ["a"]


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("@Protocol", None),
        ("@Protocol()", None),
        ("@Protocol(1100)", 1100),
        ("@Protocol(id = 1_100)", 1100),
        ("@Protocol(id = 0x44C)", 1100),
        ("@Protocol(id = 02114)", 1100),
        ("@Protocol(id = -1)", -1),
        ("@com.zfoo.protocol.anno.Protocol(id = 1100)", 1100),
        ("@Protocol(id = Ids.VISIT)", "Ids.VISIT"),
        ("@Protocol(id = 1000 + 100)", "1000+100"),
    ],
)
def test_ids(written, number):
    found = only(f"package p; {written} class A {{}}")
    assert (found.is_protocol, found.protocol_id, found.full_name) == (True, number, "p.A")


def test_the_last_component_of_a_record_may_be_an_array_written_with_dots():
    fields = only('record R(int a, @Note("more") @Compatible(1) final long /* of them */ ... rest) {}').fields
    assert [(field.name, field.type.text, field.compatible) for field in fields] == [
        ("a", "int", None),
        ("rest", "long[]", 1),
    ]
    assert fields[1].comment == "more"
    assert only("record R(p.List<String>... rest) {}").fields[0].type.text == "List<String>[]"


def test_compatible_fields_of_classes_and_records():
    assert [field.compatible for field in fields_of("@Compatible(-3) int a; @Compatible(order = 2) int b; int c;")] == [
        -3,
        2,
        None,
    ]
    assert only("record R(int a, @Compatible(1) int b) {}").fields[1].compatible == 1


def test_compatible_without_its_number_is_told_from_an_ordinary_field():
    assert [field.compatible for field in fields_of("@Compatible int a; @Compatible() int b;")] == ["", ""]


def test_what_a_class_is():
    found, faults = read_java(
        b"abstract class A<T> extends p.B implements C {} enum E { X } interface I {} @interface N {} record R() {}",
        "A.java",
    )
    assert not faults
    assert [(one.kind, one.name) for one in found] == [
        ("class", "A"),
        ("enum", "E"),
        ("interface", "I"),
        ("annotation", "N"),
        ("record", "R"),
    ]
    assert (found[0].is_generic, found[0].is_abstract, found[0].extends) == (True, True, "p.B")


def test_inner_classes_come_behind_their_outer_one_with_its_name():
    found, _ = read_java(b"package p;\nclass A {\n  static class B { int b; }\n  int a;\n}", "A.java")
    assert [(one.full_name, one.line, [field.name for field in one.fields]) for one in found] == [
        ("p.A", 2, ["a"]),
        ("p.A.B", 3, ["b"]),
    ]


def test_comments_belong_to_what_they_stand_at():
    text = """
    /* a licence */

    /**
     * What it is.
     *
     * <p>More of {@code it}.</p>
     */
    @Note("noted \\"so\\" " + "far")
    class A {
        /** first */
        int a; // behind a
        // before b,
        // in two lines
        int b;
        int c; /* behind c */

        // far from d

        int d;
    }
    """
    found = only(text)
    assert found.comment == 'What it is.\n\nMore of it.\nnoted "so" far'
    assert [field.comment for field in found.fields] == [
        "first\nbehind a",
        "before b,\nin two lines",
        "behind c",
        "",
    ]


def test_what_is_no_java_is_named_by_its_line_and_the_rest_is_read():
    found, faults = read_java(b"class A { int a; }\nclass B { int ; ) }\nclass C { int c; }", "A.java")
    assert faults == [2]
    assert {"A", "C"} <= {one.name for one in found}


def test_a_class_knows_where_it_is_broken_but_for_its_methods():
    found, _ = read_java(b"class A { int f() { return 1 +; } int a; }\nclass B { int b;\nint ; }\nclass C {}", "A.java")
    assert [(one.name, one.broken_line) for one in found] == [("A", 0), ("B", 3), ("C", 0)]


def test_escapes_of_texts_are_characters():
    found = only(r'@Note("a\tb \u00e9 \ud83d\ude00 \ud83d \"q\" \\") class A {}')
    assert found.comment == 'a\tb é 😀 \ufffd "q" \\'


def test_a_byte_order_mark_and_other_encodings_do_no_harm():
    found, faults = read_java("\ufeffclass A { String größe; }".encode(), "A.java")
    assert not faults
    assert found[0].fields[0].name == "größe"
    read_java("class A { /* \xe4 */ int a; }".encode("latin-1"), "A.java")
