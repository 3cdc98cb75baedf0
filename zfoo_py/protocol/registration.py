"""What a node announces, in the text form of Java zfoo (zfoo.md section 8).

::

    id | address | provider:[module-name, module-name] | consumer:[balancer-name, ...]

The text is the name in discovery and, parsed and printed again, what the hash ring hashes. Java's parser is
lenient and cuts what it does not understand; `parse` does the same, case by case, because a mixed cluster
must agree on every owner. What the text cannot carry is refused where it is made: by `Registration.check`.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from zfoo_py.addresses import parse_address
from zfoo_py.errors import ConfigError
from zfoo_py.names import check_name

__all__ = ["Registration", "ServiceName", "Subscription", "parse", "ring_name"]

# Java's String.trim(): everything up to the space, and no other white space.
_JAVA_SPACES = "".join(map(chr, range(0x21)))


class ServiceName(NamedTuple):
    """A protocol module, and the group (zfoo's provider) that serves it."""

    module: str
    name: str


class Subscription(NamedTuple):
    """The balancer and the group that a consumer calls with it."""

    balancer: str
    name: str


class Registration(msgspec.Struct, frozen=True):
    """One node as discovery knows it. `address` is "host:port", announced only by a node that provides."""

    id: str
    address: str | None = None
    provides: tuple[ServiceName, ...] = ()
    consumes: tuple[Subscription, ...] = ()

    @property
    def text(self) -> str:
        """The text to announce, as Java writes it. O(names).

        Raises:
            ConfigError: it provides something but has no address (as in Java).
        """
        parts = [self.id]
        if self.provides:
            if not self.address:
                raise ConfigError(f"node {self.id!r} provides modules but has no address", path="server.address")
            parts += [self.address, f"provider:[{_listed(self.provides)}]"]
        if self.consumes:
            parts.append(f"consumer:[{_listed(self.consumes)}]")
        return " | ".join(parts)

    @property
    def ring_name(self) -> str:
        """What the ring hashes: the text as the other nodes understand it. Raises as `text` and `check`."""
        name = ring_name(self.text)
        if name is None:
            self.check()
            raise ConfigError(f"no node can parse the registration {self.text!r}")
        return name

    @property
    def simple_text(self) -> str:
        """``id | address``: what consumers write about this provider into ZooKeeper."""
        return f"{self.id} | {self.address}" if self.provides and self.address else self.id

    def consumer_text(self, uuid_hex: str) -> str:
        """The text with the 32 hex digits of the process: a consumer's node name in ZooKeeper."""
        return f"{self.text} | {uuid_hex}"

    def subscribes_to(self, provider: Registration) -> bool:
        """Whether one of this node's consumed groups is one of the provider's groups (zfoo.md section 8)."""
        return not {name for _, name in self.consumes}.isdisjoint(name for _, name in provider.provides)

    def check(self) -> Registration:
        """Return self if the text form carries it unchanged (but for hyphens in balancers, which Java cuts).

        Raises:
            ConfigError: naming the part at fault.
        """
        check_name(self.id, "id", path="node.id")
        if self.address is not None:
            parse_address(check_name(self.address, "address", path="server.address"), path="server.address")
        for index, (module, name) in enumerate(self.provides):
            check_name(module, "module", path=f"provider[{index}].module")
            check_name(name, "provider", path=f"provider[{index}].name")
        for index, (balancer, name) in enumerate(self.consumes):
            check_name(balancer, "balancer", path=f"consumer[{index}].balancer")
            check_name(name, "provider", path=f"consumer[{index}].provider")
        _ = self.text
        return self


def parse(text: str | None) -> Registration | None:
    """Understand a text exactly as Java does, None where Java fails (register.json); never raises. O(length).

    One text is not taken as Java takes it: a list of commas only, ``provider:[,]``, announces nothing and is None.
    """
    if text is None:
        return None
    parts = [part.strip(_JAVA_SPACES) for part in _java_split(text, "|")]
    if not parts:
        return None
    seen: str | None = None  # the last part that is neither list
    address: str | None = None
    provides: list[tuple[str, str]] | None = []
    consumes: list[tuple[str, str]] | None = []
    for part in parts[1:]:
        if part.startswith("provider"):
            address = seen
            provides = _pairs(part)
        elif part.startswith("consumer"):
            consumes = _pairs(part)
        else:
            seen = part
        if provides is None or consumes is None:
            return None
    return Registration(
        parts[0],
        address,
        tuple(ServiceName(*pair) for pair in provides or ()),
        tuple(Subscription(*pair) for pair in consumes or ()),
    )


def ring_name(text: str) -> str | None:
    """The provider's identity: the text parsed and printed again, as Java does it; None if it cannot be.

    A hyphenated balancer name is cut on the way: ``consumer:[consistent-hash-p]`` is hashed as ``[consistent-hash]``.
    """
    registration = parse(text)
    if registration is None or (registration.provides and not registration.address):
        return None
    return registration.text


def _listed(pairs: tuple[tuple[str, str], ...]) -> str:
    return ", ".join(f"{left}-{right}" for left, right in pairs)


def _pairs(part: str) -> list[tuple[str, str]] | None:
    """The pairs between the first ``[`` and the last ``]``; None where Java indexes past an item's pieces."""
    inside = part.partition("[")[2]
    if "]" in inside:
        inside = inside.rpartition("]")[0]
    pairs = []
    for item in _java_split(inside, ","):
        pieces = _java_split(item.strip(_JAVA_SPACES), "-")
        if len(pieces) < 2:
            return None
        pairs.append((pieces[0], pieces[1]))
    return pairs or None


def _java_split(text: str, mark: str) -> list[str]:
    """Java's String.split: empty pieces at the end are dropped, but a text without the mark is itself."""
    if mark not in text:
        return [text]
    pieces = text.split(mark)
    while pieces and not pieces[-1]:
        pieces.pop()
    return pieces
