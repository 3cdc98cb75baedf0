"""Packet classes made from the schema of tests/data/wire.json, and its values as Python has them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Annotated, Any

import msgspec

from zfoo_py.protocol import attachment, common
from zfoo_py.protocol.frozen_map import FrozenMap
from zfoo_py.protocol.java_types import Byte, Double, Float, Int, Long, Short, Wire
from zfoo_py.protocol.packet import Packet, PacketTable, ProtocolModule

DATA = Path(__file__).resolve().parent.parent / "data"
WIRE = json.loads((DATA / "wire.json").read_text(encoding="utf-8"))

SCALARS: dict[str, Any] = {
    "boolean": bool, "byte": Byte, "short": Short, "int": Int, "long": Long, "float": Float, "double": Double,
    "Boolean": bool, "Byte": Byte, "Short": Short, "Integer": Int, "Long": Long, "Float": Float, "Double": Double,
    "String": str,
}  # fmt: skip
TABLE = PacketTable()
MODULE = ProtocolModule(60, "wireModule", table=TABLE)
CLASSES: dict[str, type[Packet]] = {}


def split(text: str) -> list[str]:
    """Split at the commas outside of brackets."""
    parts, depth = [""], 0
    for char in text:
        depth += (char == "<") - (char == ">")
        if char == "," and not depth:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts]


def parts_of(java: str) -> tuple[str, list[str]]:
    """Return container and element types of a Java type."""
    if java.endswith("[]"):
        return "List", [java[:-2]]
    if java.endswith(">"):
        head, _, inside = java[:-1].partition("<")
        return head, split(inside)
    return java, []


def annotation(java: str, *, frozen: bool = False) -> Any:
    """Return the Python type; `frozen` in what must hash."""
    if java == "byte[]":
        return bytes
    head, items = parts_of(java)
    if head == "List":
        return tuple[annotation(items[0], frozen=True), ...] if frozen else list[annotation(items[0])]
    if head == "Set":
        return frozenset[annotation(items[0], frozen=True)] if frozen else set[annotation(items[0], frozen=True)]
    if head == "Map":
        key, value = annotation(items[0], frozen=True), annotation(items[1], frozen=frozen)
        return FrozenMap[key, value] if frozen or items[0] in CLASSES else dict[key, value]
    return SCALARS[head] if head in SCALARS else CLASSES[head] | None


def value_of(java: str, value: Any, *, frozen: bool = False) -> Any:
    """Return what stands in wire.json as a Python value; sets as lists, in the order written."""
    if value is None:
        return None
    if java == "byte[]":
        return struct.pack(f"{len(value)}b", *value)
    head, items = parts_of(java)
    if head in {"List", "Set"}:
        made = [value_of(items[0], item, frozen=frozen or head == "Set") for item in value]
        return tuple(made) if frozen else made
    if head == "Map":
        pairs = [(value_of(items[0], key, frozen=True), value_of(items[1], item, frozen=frozen)) for key, item in value]
        return FrozenMap(pairs) if frozen or items[0] in CLASSES else dict(pairs)
    if head in {"float", "double", "Float", "Double"}:
        return float(value)
    return packet_of(head, value) if head in CLASSES else value


def as_read(java: str, value: Any, *, frozen: bool = False) -> Any:
    """Return what reading should give for what `value_of` gave: sets are sets."""
    if value is None or java == "byte[]":
        return value
    head, items = parts_of(java)
    if head in {"List", "Set"}:
        made = [as_read(items[0], item, frozen=frozen or head == "Set") for item in value]
        if head == "Set":
            return frozenset(made) if frozen else set(made)
        return tuple(made) if frozen else made
    if head == "Map":
        items_read = (
            (as_read(items[0], k, frozen=True), as_read(items[1], v, frozen=frozen)) for k, v in value.items()
        )
        return type(value)(items_read)
    return packet_as_read(head, value) if head in CLASSES else value


def python_name(java_name: str) -> str:
    """Return a field name that differs from Java's where it can."""
    if java_name.startswith("_") or not any(char.isupper() for char in java_name[1:]):
        return f"{java_name}_" if java_name == "in" else java_name  # "is" stays: defstruct makes such a field
    made = "".join(f"_{char.lower()}" if char.isupper() else char for char in java_name[1:])
    return java_name[0] + made


def fields_of(name: str) -> list[dict[str, Any]]:
    fields: list[dict[str, Any]] = WIRE["schema"][name]["fields"]
    return fields


def packet_of(name: str, values: dict[str, Any]) -> Packet:
    """Return the packet (or attachment) of that name."""
    types = {field["name"]: field["type"] for field in fields_of(name)}
    return CLASSES[name](**{python_name(key): value_of(types[key], value) for key, value in values.items()})


def packet_as_read(name: str, packet: Packet) -> Packet:
    """Return the packet with sets where there were lists."""
    read = {
        python_name(field["name"]): as_read(field["type"], getattr(packet, python_name(field["name"])))
        for field in fields_of(name)
    }
    return msgspec.structs.replace(packet, **read)


def _declare() -> None:
    for name, schema in WIRE["schema"].items():
        known = getattr(common, name, None) or getattr(attachment, name, None)
        if known is not None:
            CLASSES[name] = known
            continue
        fields: list[tuple[str, Any]] = []
        # Declared in another order than the wire's; WInner is in a JSON text, which has the order of declaration.
        for field in schema["fields"] if name == "WInner" else reversed(schema["fields"]):
            kind = annotation(field["type"])
            if field.get("compatible") is not None:
                kind = Annotated[kind, Wire(compatible=field["compatible"])]
            fields.append((python_name(field["name"]), kind))
        made = msgspec.defstruct(name, fields, bases=(Packet,), module=__name__, kw_only=True, frozen=True)
        CLASSES[name] = made  # type: ignore[assignment]
        MODULE.packet(schema["protocolId"])(made)


_declare()
