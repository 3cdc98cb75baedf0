"""``zfoo-py ask``: one ask from the command line, routed as any consumer's."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from zfoo_py.cli.options import add_discovery, add_json, add_log_level
from zfoo_py.cli.target import find, load
from zfoo_py.discovery_config import discovery_of
from zfoo_py.errors import ConfigError, nearest_name
from zfoo_py.node import Node, new_loop
from zfoo_py.protocol.packet import DEFAULT_TABLE, Ask
from zfoo_py.router.answer import check_timeout

if TYPE_CHECKING:
    from zfoo_py.protocol.packet import Packet

__all__ = ["add_to", "packet_of"]


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    ask = commands.add_parser("ask", help="ask once, and print the answer")
    add = ask.add_argument
    add("packet", metavar="FILE.py|MODULE:PACKET", help="the class of the packet to ask with, as in hello:HelloAsk")
    add("fields", metavar="field=value", nargs="*", help="its fields; lists, maps and the like as JSON")
    add("--key", help="the key to balance by (default: the field named by balance_by; none: any provider)")
    add("--group", help="the provider group to call (default: the module's name)")
    add("--balancer", help="how to choose the provider (default: cached-consistent-hash)")
    add(
        "--timeout-s",
        metavar="SECONDS",
        type=_seconds,
        help="longest wait for the answer (default: ask_timeout_s, 3 s)",
    )
    add_discovery(ask)
    add_json(ask)
    add_log_level(ask, default="WARNING")
    ask.set_defaults(command=_ask)


def _ask(options: argparse.Namespace, _parser: argparse.ArgumentParser) -> int:
    place, _, name = options.packet.partition(":")
    module = load(find(place), place)
    packet_class = getattr(module, name, None)
    if not isinstance(packet_class, type) or not issubclass(packet_class, Ask):
        known = [one for one, value in vars(module).items() if _is_ask(value)]
        there = f"{place} declares {', '.join(known)}" if known else f"{place} declares no Ask[...] packets"
        raise ConfigError(
            f"{options.packet} should name a packet that is asked with: {there}", nearest=nearest_name(name, known)
        )
    packet = packet_of(packet_class, options.fields)
    binding = DEFAULT_TABLE.binding(packet_class)
    key: dict[str, Any] = {}
    if options.key is not None or binding.balance_by is None:
        key = {"key": options.key}
    consumed = [binding.module.name, options.group or binding.module.name]
    if options.balancer:
        consumed.append(options.balancer)
    discovery = None if options.discovery is None else discovery_of(options.discovery)
    patience: dict[str, Any] = {} if options.timeout_s is None else {"ready_timeout_s": options.timeout_s}
    node = Node(id="zfoo-py", consumes=[tuple(consumed)], receivers=[], discovery=discovery, **patience)

    async def once() -> Packet:
        async with node:
            return await node.consumer.async_ask(packet, timeout_s=options.timeout_s, **key)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        answer = runner.run(once())
    if options.json:
        fields = {field: getattr(answer, field) for field in answer.__struct_fields__}
        print(msgspec.json.encode({"ok": True, "answer": type(answer).__name__, "fields": fields}).decode())
    else:
        print(answer)
    return 0


def _seconds(text: str) -> float:
    try:
        seconds = check_timeout(float(text))
    except ValueError:
        seconds = 0.0
    if seconds <= 0.0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0, such as 0.5")
    return seconds


def _is_ask(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Ask) and value is not Ask


def packet_of(packet_class: type[Packet], words: list[str]) -> Packet:
    """Return the packet that ``field=value`` words describe, each value read as its field's type.

    Raises:
        ConfigError: a word has no "=", names no field, or its value is not of the field's type; or a field is missing.
    """
    fields = {field.name: field for field in msgspec.structs.fields(packet_class)}
    needs = ", ".join(f"{field.name}={_type_name(field.type)}" for field in fields.values()) or "no fields"
    values: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or name not in fields:
            raise ConfigError(
                f"{word!r} is no field of {packet_class.__name__}: it has {needs}", nearest=nearest_name(name, fields)
            )
        if name in values:
            raise ConfigError(f"{name} is given twice: an ask has one {packet_class.__name__}")
        values[name] = _value(fields[name].type, text, f"{packet_class.__name__}.{name}")
    missing = [name for name, field in fields.items() if field.required and name not in values]
    if missing:
        raise ConfigError(f"{packet_class.__name__} lacks {', '.join(missing)}: it has {needs}")
    return packet_class(**values)


def _value(kind: Any, text: str, where: str) -> Any:
    if kind is bytes:
        return text.encode()
    try:
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError:
        pass
    try:
        return msgspec.json.decode(text.encode(), type=kind, strict=False)
    except msgspec.DecodeError as error:
        raise ConfigError(f"{where} is a {_type_name(kind)}, and {text!r} is none: {error}") from error


def _type_name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind)
