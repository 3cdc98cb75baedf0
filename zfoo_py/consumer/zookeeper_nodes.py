"""What stands in ZooKeeper for zfoo: paths, names and data of nodes (zfoo.md section 9).

::

    <root>                                data "zookeeper"
    <root>/provider/<registration>        ephemeral; a node with a zfoo-java listener. Java peers dial whatever is here
    <root>/consumer/<registration> | <uuid>   ephemeral; data: JSON list of the "id | address" it has sessions to
    <root>/zfoo_py/provider/<registration>    ephemeral; a node that speaks zfoo_py's msgpack only

Names are raw texts. A provider's data is empty, or JSON: ``{"listeners": {"msgpack": "10.0.0.1:9001"}, "weight": 2}``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import msgspec

from zfoo_py.addresses import parse_address
from zfoo_py.config import MAX_WEIGHT
from zfoo_py.consumer.messages import JAVA, MSGPACK, Target
from zfoo_py.errors import ConfigError
from zfoo_py.listen_config import CODECS
from zfoo_py.protocol.registration import parse

__all__ = ["ByName", "Complaints", "Paths", "Provider", "consumer_data", "provider_data", "read_provider"]

# A registration names a node, an address and its modules; the embedded directory takes as much.
MAX_NAME_CHARS = 4096
# More is no data of ours; ZooKeeper itself takes 1 MiB.
MAX_DATA_BYTES = 64 * 1024
# ZooKeeper closes the connection of who sends 1 MiB; half of it is some ten thousand providers.
MAX_CONSUMER_DATA_BYTES = 512 * 1024
# One line a minute says enough of a node that somebody writes again and again.
COMPLAINT_S = 60.0
# So many names are remembered for it; a flood of more is cut by the log's own limit.
MAX_COMPLAINTS = 1024
# What must not reach a log line as it is.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Paths(NamedTuple):
    """Where things stand below a root."""

    root: str

    @property
    def java(self) -> str:
        """Providers with a zfoo-java listener."""
        return f"{self.root}/provider"

    @property
    def consumers(self) -> str:
        """Consumers."""
        return f"{self.root}/consumer"

    @property
    def own(self) -> str:
        """Providers that speak msgpack only."""
        return f"{self.root}/zfoo_py/provider"

    @property
    def providers(self) -> tuple[str, str]:
        """Both folders of providers; in the second one a text that is in both is overlooked."""
        return self.own, self.java

    @property
    def folders(self) -> tuple[str, ...]:
        """Every folder, parents first."""
        return self.java, self.consumers, f"{self.root}/zfoo_py", self.own

    def of_provider(self, text: str, listeners: Mapping[str, str]) -> str:
        """Return the path of a provider's node."""
        return f"{self.java if JAVA in listeners else self.own}/{text}"


class Provider(NamedTuple):
    """What a provider's node says."""

    target: Target
    weight: int


class _Data(msgspec.Struct, frozen=True, omit_defaults=True):
    listeners: dict[str, str] = {}
    weight: int = 1


def provider_data(text: str, weight: int, listeners: Mapping[str, str]) -> bytes:
    """Return a provider's data; empty if there is nothing that its name does not say.

    Args:
        text: its registration.
        weight: its share.
        listeners: address by codec.
    """
    registration = parse(text)
    named = registration.address if registration is not None else None
    said = JAVA if JAVA in listeners else MSGPACK
    others = {codec: address for codec, address in listeners.items() if (codec, address) != (said, named)}
    data = _Data(others, weight)
    return b"" if data == _Data() else msgspec.json.encode(data)


def consumer_data(simple_texts: Iterable[str]) -> bytes:
    """Return a consumer's data, as zfoo writes it: a JSON list, cut at what ZooKeeper takes."""
    shown: list[str] = []
    room = MAX_CONSUMER_DATA_BYTES
    for text in sorted(simple_texts):
        room -= len(msgspec.json.encode(text)) + 1
        if room < 2:
            break
        shown.append(text)
    return msgspec.json.encode(shown)


def read_provider(name: str, data: bytes, *, is_java: bool, codecs: Collection[str] = CODECS) -> Provider | str | None:
    """Understand a provider's node; if it is none, say why; None: it speaks nothing that we do.

    Never raises. O(length).

    Args:
        name: the node's name, a registration.
        data: its data.
        is_java: it stands where Java peers look.
        codecs: what this node speaks; the first of `CODECS` that both speak is taken.
    """
    if len(name) > MAX_NAME_CHARS or len(data) > MAX_DATA_BYTES:
        return (
            f"its name has {len(name)} characters, its data {len(data)} bytes, and {MAX_NAME_CHARS} and "
            f"{MAX_DATA_BYTES} are the most that is read"
        )
    registration = parse(name)
    if registration is None or not registration.address or not registration.provides or name != name.rstrip():
        return "its name is no registration of a provider"
    said = _read_data(data)
    if isinstance(said, str):
        return said
    named = JAVA if is_java else MSGPACK
    listeners = {named: registration.address, **said.listeners}
    codec = next((codec for codec in CODECS if codec in codecs and codec in listeners), None)
    if codec is None:
        return None
    try:
        parse_address(listeners[codec], port_zero=False)
    except ConfigError as error:
        return f"its address cannot be used: {error}"
    return Provider(Target(name, listeners[codec], codec), said.weight)


def _read_data(data: bytes) -> _Data | str:
    try:
        said = msgspec.json.decode(data, type=_Data) if data else _Data()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return f"its data cannot be read ({error})"
    if not 1 <= said.weight <= MAX_WEIGHT:
        return f"its weight is {said.weight}, which is not 1 to {MAX_WEIGHT}"
    return said


class ByName:
    """What stands below the folders of providers now: each name, and what it means; None for what is skipped."""

    def __init__(self, folders: Iterable[str]) -> None:
        self._known: dict[str, dict[str, Provider | None]] = {folder: {} for folder in folders}

    def missing(self, folder: str, names: Iterable[str]) -> list[str]:
        """Forget what is not among the names; return those that are new."""
        known = self._known[folder]
        now = set(names)
        for name in known.keys() - now:
            del known[name]
        return sorted(now - known.keys())

    def put(self, folder: str, name: str, provider: Provider | None) -> None:
        """Remember what a node says."""
        self._known[folder][name] = provider

    def forget(self, folder: str, name: str) -> None:
        """Let it be read again."""
        self._known[folder].pop(name, None)

    def providers(self) -> dict[Target, int]:
        """Return each provider once, with its weight; a text in two folders counts in the first."""
        found: dict[str, Provider] = {}
        for known in self._known.values():
            for name, provider in known.items():
                if provider is not None:
                    found.setdefault(name, provider)
        return dict(found.values())


class Complaints:
    """Says of each node at most once a minute what is wrong with it."""

    def __init__(self) -> None:
        self._said_at_s: dict[str, float] = {}

    def line(self, name: str, fault: str, now_s: float) -> str:
        """Return the line to log, "" for none. O(1), except once in 1,024 names."""
        key = name[:MAX_NAME_CHARS]
        if now_s - self._said_at_s.get(key, -COMPLAINT_S) < COMPLAINT_S:
            return ""
        if len(self._said_at_s) >= MAX_COMPLAINTS:
            kept = {key: at_s for key, at_s in self._said_at_s.items() if now_s - at_s < COMPLAINT_S}
            self._said_at_s = kept if len(kept) < MAX_COMPLAINTS else {}
        self._said_at_s[key] = now_s
        shown = _CONTROL.sub("?", name if len(name) <= 200 else f"{name[:200]}…")
        return f"the node {shown!r} is skipped: {fault}"
