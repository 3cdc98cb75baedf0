"""Java source files as far as packets go: classes, records, their fields, annotations and comments.

The only file that imports tree-sitter (extra ``java``), which reads files of any Java version and goes on behind what
it does not understand. Nothing is compiled or looked up: a type is what is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from zfoo_py.extras import need

__all__ = ["JavaClass", "JavaField", "JavaType", "read_java"]

COMMENTS: Final = frozenset({"block_comment", "line_comment"})
# The kinds of declarations that can be named as a field's type.
DECLARATIONS: Final = {
    "class_declaration": "class",
    "record_declaration": "record",
    "enum_declaration": "enum",
    "interface_declaration": "interface",
    "annotation_type_declaration": "annotation",
}
# Where statements stand, which no packet needs.
BODIES: Final = frozenset({"block", "constructor_body"})
_NUMBER: Final = re.compile(r"[+-]?(0[xX][0-9a-fA-F_]+|0[bB][01_]+|[0-9][0-9_]*)[lL]?\Z")


class JavaType(NamedTuple):
    """A type as written: ``Map<Integer, long[]>`` is Map of (Integer, long with one dimension)."""

    name: str
    arguments: tuple[JavaType, ...] = ()
    dimensions: int = 0

    @property
    def text(self) -> str:
        """As in Java."""
        inside = f"<{', '.join(argument.text for argument in self.arguments)}>" if self.arguments else ""
        return self.name + inside + "[]" * self.dimensions


class JavaField(NamedTuple):
    """An instance field, or a component of a record.

    Attributes:
        compatible: the number in ``@Compatible``; None without; its text where it is no plain number, "" if there is
            none.
        comment: what its comments and its ``@Note`` say.
    """

    name: str
    type: JavaType
    compatible: int | str | None
    comment: str
    line: int


class JavaClass(NamedTuple):
    """A declaration of a class or the like.

    Attributes:
        kind: "class", "record", "enum", "interface" or "annotation".
        full_name: with the package, and the classes it stands in.
        is_protocol: whether it has zfoo's ``@Protocol``.
        protocol_id: the number there; None without; its text where it is no plain number.
        is_generic: whether it has type parameters.
        is_abstract: whether it is abstract.
        extends: the name of its superclass, or "".
        broken_line: the first line, outside of its methods, that is no Java; 0 if all are.
    """

    kind: str
    name: str
    full_name: str
    is_protocol: bool
    protocol_id: int | str | None
    is_generic: bool
    is_abstract: bool
    extends: str
    fields: tuple[JavaField, ...]
    comment: str
    file: str
    line: int
    broken_line: int = 0


def read_java(content: bytes, file: str) -> tuple[list[JavaClass], list[int]]:
    """Read one source file. O(size).

    Args:
        content: the file; what is no UTF-8 in it is replaced.
        file: its name, for `JavaClass.file`.

    Returns:
        Its declarations, inner ones after those they stand in; and the lines that are no Java.

    Raises:
        ConfigError: the extra ``java`` is not installed.
    """
    tree_sitter, java = need("tree_sitter", "java"), need("tree_sitter_java", "java")
    parser = tree_sitter.Parser(tree_sitter.Language(java.language()))
    root = parser.parse(content.decode("utf-8-sig", "replace").encode()).root_node
    package = ""
    for child in root.children:
        if child.type == "package_declaration":
            package = next((_text(one) for one in child.named_children if one.type.endswith("identifier")), "")
    faults = sorted({node.start_point[0] + 1 for node in _errors(root)}) if root.has_error else []
    return list(_classes(root, package, file)), faults


def _errors(node: Any, but: frozenset[str] = frozenset()) -> Iterator[Any]:
    """Yield what is no Java; not what is in nodes of the types `but`."""
    if node.type == "ERROR" or node.is_missing:
        yield node
    elif node.has_error and node.type not in but:
        for child in node.children:
            yield from _errors(child, but)


def _classes(node: Any, outer: str, file: str) -> Iterator[JavaClass]:
    for child in node.children:
        kind = DECLARATIONS.get(child.type)
        if kind is None:
            continue
        name = _text(child.child_by_field_name("name"))
        full_name = f"{outer}.{name}" if outer else name
        annotations = dict(_annotations(child))
        body = child.child_by_field_name("body")
        superclass = child.child_by_field_name("superclass")
        yield JavaClass(
            kind=kind,
            name=name,
            full_name=full_name,
            is_protocol="Protocol" in annotations,
            protocol_id=_number(annotations.get("Protocol"), "id"),
            is_generic=child.child_by_field_name("type_parameters") is not None,
            is_abstract="abstract" in _modifiers(child),
            extends=_text(superclass.named_children[0]) if superclass is not None else "",
            fields=tuple(_components(child) if kind == "record" else _fields(body) if kind == "class" else ()),
            comment=_paragraphs(_comment_before(child), _string(annotations.get("Note"))),
            file=file,
            line=child.start_point[0] + 1,
            broken_line=next((node.start_point[0] + 1 for node in _errors(child, BODIES)), 0),
        )
        if body is not None:
            yield from _classes(body, full_name, file)


# --- fields


def _fields(body: Any) -> Iterator[JavaField]:
    for child in body.children:
        if child.type != "field_declaration" or _modifiers(child) & {"static", "transient"}:
            continue
        annotations = dict(_annotations(child))
        said = _paragraphs(_comment_before(child), _string(annotations.get("Note")), _comment_behind(child))
        kind = _type(child.child_by_field_name("type"))
        for declarator in child.children_by_field_name("declarator"):
            yield JavaField(
                _text(declarator.child_by_field_name("name")),
                kind._replace(dimensions=kind.dimensions + _dimensions(declarator)),
                _compatible(annotations),
                said,
                declarator.start_point[0] + 1,
            )


def _components(record: Any) -> Iterator[JavaField]:
    parameters = record.child_by_field_name("parameters")
    for child in parameters.named_children:
        if child.type == "formal_parameter":
            declared, kind = child, _type(child.child_by_field_name("type"))
        elif child.type == "spread_parameter":  # int... rest, which is int[] rest
            declared = child.named_children[-1]
            kind = _type(next(one for one in child.named_children if one.type != "modifiers"))
            kind = kind._replace(dimensions=kind.dimensions + 1)
        else:
            continue
        annotations = dict(_annotations(child))
        yield JavaField(
            _text(declared.child_by_field_name("name")),
            kind._replace(dimensions=kind.dimensions + _dimensions(declared)),
            _compatible(annotations),
            _paragraphs(_comment_before(child), _string(annotations.get("Note")), _comment_behind(child)),
            child.start_point[0] + 1,
        )


def _type(node: Any) -> JavaType:
    if node.type == "annotated_type":
        node = node.named_children[-1]
    if node.type == "array_type":
        element = _type(node.child_by_field_name("element"))
        return element._replace(dimensions=element.dimensions + _dimensions(node))
    if node.type == "generic_type":
        name, arguments = node.named_children[0], node.named_children[-1]
        inner = [one for one in arguments.named_children if one.type not in COMMENTS]
        return JavaType(_simple(_text(name)), tuple(_type(argument) for argument in inner))
    if node.type == "wildcard":
        return JavaType(_text(node))
    return JavaType(_simple(_text(node)))


def _dimensions(node: Any) -> int:
    found = node.child_by_field_name("dimensions")
    return _text(found).count("[") if found is not None else 0


def _simple(name: str) -> str:
    """Class names are unique among zfoo's packets, packages apart."""
    return name.rpartition(".")[2]


# --- annotations


def _modifiers(node: Any) -> set[str]:
    found = next((child for child in node.children if child.type == "modifiers"), None)
    return {child.type for child in found.children} if found is not None else set()


def _annotations(node: Any) -> Iterator[tuple[str, Any]]:
    """Yield name and arguments (None without) of each annotation."""
    for child in node.children:
        if child.type == "modifiers":
            for one in child.children:
                if one.type in {"annotation", "marker_annotation"}:
                    name = _simple(_text(one.child_by_field_name("name")))
                    yield name, one.child_by_field_name("arguments")


def _argument(arguments: Any, key: str) -> Any:
    """The argument of that name, or the only one, which has none."""
    if arguments is None:
        return None
    for child in arguments.named_children:
        if child.type == "element_value_pair":
            if _text(child.child_by_field_name("key")) in {key, "value"}:
                return child.child_by_field_name("value")
        elif child.type not in COMMENTS:
            return child
    return None


def _number(arguments: Any, key: str) -> int | str | None:
    node = _argument(arguments, key)
    if node is None:
        return None
    text = _text(node).replace(" ", "")
    if not _NUMBER.match(text):
        return text
    digits = text.rstrip("lL").replace("_", "")
    is_octal = len(digits.lstrip("+-")) > 1 and digits.lstrip("+-").isdecimal() and digits.lstrip("+-")[0] == "0"
    return int(digits, 8 if is_octal else 0)


def _compatible(annotations: dict[str, Any]) -> int | str | None:
    if "Compatible" not in annotations:
        return None
    number = _number(annotations["Compatible"], "order")
    return "" if number is None else number


def _string(arguments: Any) -> str:
    """The texts of an annotation's argument, joined as Java's + does; what is no text is left out."""
    node = _argument(arguments, "value")
    if node is None:
        return ""
    parts = [_literal(one) for one in _walk(node) if one.type == "string_literal"]
    return "".join(parts).strip()


def _literal(node: Any) -> str:
    text = _text(node)
    quotes = 3 if text.startswith('"""') else 1
    text = re.sub(r"\\u+([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text[quotes:-quotes])
    escapes = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "s": " ", "0": "\0", "\n": ""}
    text = re.sub(r"\\(.)", lambda found: escapes.get(found[1], found[1]), text, flags=re.DOTALL)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # halves of a pair are one character


def _walk(node: Any) -> Iterator[Any]:
    yield node
    for child in node.named_children:
        yield from _walk(child)


# --- comments


def _comment_before(node: Any) -> str:
    """The comments right above: a javadoc alone, or all lines; not one that stands behind something else."""
    found: list[str] = []
    line = node.start_point[0]
    before = node.prev_sibling
    while before is not None and before.type in COMMENTS and before.end_point[0] >= line - 1:
        earlier = before.prev_sibling
        if earlier is not None and earlier.end_point[0] == before.start_point[0] and earlier.type not in {"{", "("}:
            break  # it stands behind another field, and is that one's
        found.append(_cleaned(_text(before)))
        line = before.start_point[0]
        before = earlier
    return "\n".join(reversed(found)).strip()


def _comment_behind(node: Any) -> str:
    """The comment at the end of the same line."""
    after = node.next_sibling
    while after is not None and after.type in {",", ";"}:
        after = after.next_sibling
    if after is None or after.type not in COMMENTS or after.start_point[0] != node.end_point[0]:
        return ""
    return _cleaned(_text(after))


def _cleaned(comment: str) -> str:
    if comment.startswith("//"):
        return comment.lstrip("/").strip()
    lines = comment.removeprefix("/*").removesuffix("*/").lstrip("*").splitlines()
    cleaned = [re.sub(r"^\s*\*? ?", "", line).rstrip() if number else line.strip() for number, line in enumerate(lines)]
    text = "\n".join(cleaned).strip()
    text = re.sub(r"\{@\w+\s+([^}]*)\}", r"\1", text)
    text = re.sub(r"</?(p|br|li|ul|ol|pre|code|b|i)\s*/?>", "", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _paragraphs(*texts: str) -> str:
    kept = [text for number, text in enumerate(texts) if text and text not in texts[:number]]
    return "\n".join(kept)


def _text(node: Any) -> str:
    text: str = node.text.decode()
    return text
