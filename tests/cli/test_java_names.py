"""Java's names and comments in Python."""

from __future__ import annotations

import ast

import pytest

from zfoo_py.cli.java_names import FROM_ZFOO_PY, class_name, docstring, field_name, string
from zfoo_py.cli.java_source import read_java
from zfoo_py.protocol.java_types import wire_name


@pytest.mark.parametrize("java", ["None", "True", "list", "Exception", "Annotated", *FROM_ZFOO_PY])
def test_classes_are_not_called_as_what_the_module_says_itself(java):
    assert class_name(java) == f"{java}_"


def test_other_classes_are_called_as_in_java():
    assert [class_name(name) for name in ("Visit", "visitAsk", "Имя", "A$B")] == [
        "Visit",
        "visitAsk",
        "Имя",
        "A_B",
    ]


@pytest.mark.parametrize(
    ("java", "python"),
    [
        ("userId", "user_id"),
        ("URL", "URL"),
        ("None", "None_"),
        ("lambda", "lambda_"),
        ("type", "type_"),
        ("_own", "_own"),
        ("__secret", "_secret"),
        ("__init__", "_init__"),
        ("$x", "_x"),
        ("\ufb01t", "fit"),
        ("\u00b5", "\u03bc"),
        ("größe", "größe"),
    ],
)
def test_fields(java, python):
    assert field_name(java) == python
    space = {"__annotations__": {}}
    exec(f"class Made:\n    {python}: int", space)  # noqa: S102 - what is tested
    assert list(space["Made"].__annotations__) == [python]  # Python has kept the name


def test_snake_case_only_where_javas_name_follows_from_it():
    for java in ("userId", "x2y", "aB2c", "a1B2", "userURL", "a_b"):
        assert field_name(java) == java or wire_name(field_name(java)) == java


@pytest.mark.parametrize("text", ["plain", 'a "quoted" one', "back\\slash", 'both \\"', "\\"])
def test_strings_are_read_back_as_they_were(text):
    assert ast.literal_eval(string(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        'three """ and four """" quotes"',
        "ends with a backslash \\",
        '"begins',
        "\\N{DASH} \\u00e9 \\x",
        "a\0b\x1bc\x7fd",
        "line\n\n    deeper\n" + "word " * 50,
    ],
)
def test_any_comment_is_a_docstring(text):
    (java,), _ = read_java(b"class A {}", "A.java")
    lines = docstring(java._replace(comment=text), [("a", text)])
    made = ast.parse("class A:\n" + "\n".join(lines)).body[0]
    read = ast.get_docstring(made)
    bare = "".join(char for char in text if char.isprintable() or char == "\n")
    assert read.split()[: len(bare.split())] == bare.split()
    assert all(char.isprintable() or char == "\n" for char in read)
