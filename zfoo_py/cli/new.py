"""``zfoo-py new``: a provider, a consumer and their test, to begin with."""

from __future__ import annotations

import keyword
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from zfoo_py.cli.options import add_json, add_log_level
from zfoo_py.errors import ConfigError

if TYPE_CHECKING:
    import argparse

__all__ = ["add_to", "files_of"]

PROVIDER: Final = """\
from collections import Counter

from zfoo_py import Ask, Packet, ProtocolModule, Session, packet_receiver

greetings = ProtocolModule(30, "greetings")


@greetings.packet(3001)
class {Name}Answer(Packet):
    text: str
    count: int
    provider: str


@greetings.packet(3000, balance_by="name")  # every ask with the same name reaches the same provider
class {Name}Ask(Ask[{Name}Answer]):
    name: str


class {Name}Receiver:  # each node makes one: what it counts is its own
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    @packet_receiver
    async def at_ask(self, session: Session, ask: {Name}Ask) -> {Name}Answer:
        self.counts[ask.name] += 1
        return {Name}Answer(f"hello {{ask.name}}", self.counts[ask.name], session.node.address)
"""
# Modules that what is written imports, or that pytest looks for, and that no list of Python's names.
TAKEN: Final = frozenset({"zfoo_py", "pytest", "conftest", "loguru", "msgspec", "pykka", "uvloop"})
CONSUMER: Final = """\
from {name} import {Name}Ask, greetings
from zfoo_py import Node

if __name__ == "__main__":
    with Node(consumes=[greetings]) as node:
        for name in ["ada", "grace", "ada"]:
            print(node.consumer.sync_ask({Name}Ask(name)))
"""
TEST: Final = """\
from {name} import {Name}Answer, {Name}Ask, greetings


async def test_another_provider_takes_over_and_counts_anew(zfoo_cluster):
    async with zfoo_cluster(greetings, providers=3) as cluster:
        first = await cluster.ask({Name}Ask("ada"))
        assert await cluster.ask({Name}Ask("ada")) == {Name}Answer("hello ada", 2, first.provider)
        cluster.kill(cluster.serving(greetings, "ada"))
        await cluster.settle()
        last = await cluster.ask({Name}Ask("ada"))
        assert last.count == 1
        assert last.provider != first.provider
"""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    new = commands.add_parser("new", help="write a provider, a consumer and their test into this folder")
    new.add_argument("name", help="name of the provider's file, as in hello (hello.py, ask_hello.py, test_hello.py)")
    add_json(new)
    add_log_level(new)
    new.set_defaults(command=_new)


def _new(options: argparse.Namespace, _parser: argparse.ArgumentParser) -> int:
    files = files_of(options.name)
    taken = [file for file in files if Path(file).exists()]
    if taken:
        raise ConfigError(f"{', '.join(taken)} would be overwritten: choose another name, or another folder")
    for file, text in files.items():
        try:
            Path(file).write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"cannot write {file}: {error.strerror}") from error
    name = options.name
    print(f"wrote {', '.join(files)}; now, each in a terminal of its own:")
    print("  zfoo-py discovery")
    print(f"  zfoo-py run {name}.py --provide greetings")
    print(f"  zfoo-py run {name}.py --provide greetings")
    print(f"  zfoo-py ask {name}:{_class_prefix(name)}Ask name=ada")
    print(f"  python ask_{name}.py")
    print(f"  python -m pytest test_{name}.py   (pip install pytest)")
    return 0


def _class_prefix(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def files_of(name: str) -> dict[str, str]:
    """Return file name → text of a beginner's project.

    Raises:
        ConfigError: the name is no Python module's.
    """
    if (
        not name.isidentifier()
        or keyword.iskeyword(name)
        or not name.isascii()
        or name != name.lower()
        or not name.strip("_")
    ):
        raise ConfigError(f"{name!r} cannot name a Python module: take lower-case letters, digits and _, as in hello")
    if name in sys.stdlib_module_names or name in TAKEN:
        raise ConfigError(f"{name}.py would hide the module {name!r} that Python or zfoo_py needs: take another name")
    words = {"name": name, "Name": _class_prefix(name)}
    return {
        f"{name}.py": PROVIDER.format(**words),
        f"ask_{name}.py": CONSUMER.format(**words),
        f"test_{name}.py": TEST.format(**words),
    }
