"""``zfoo-py import-java``: a Python module of packets, from the Java classes of a zfoo application."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zfoo_py.cli.java_python import Fault, assigned, python_module
from zfoo_py.cli.java_source import JavaClass, read_java
from zfoo_py.cli.options import add_log_level
from zfoo_py.errors import ConfigError
from zfoo_py.protocol.protocol_xml import XmlModule, read_protocol_xml

if TYPE_CHECKING:
    import argparse

__all__ = ["add_to"]


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "import-java",
        help="write Python packets from Java's (needs the extra java)",
        description="Write a Python module with the packets that Java classes declare (@Protocol, @Compatible, @Note, "
        "records). What cannot be mapped is named, with its line, and left out; the exit code is 1 then.",
    )
    add = command.add_argument
    add("folders", metavar="DIR", nargs="+", help="folders, or files, of Java sources")
    add("--xml", metavar="FILE", help="zfoo's protocol.xml, which says the modules, and perhaps ids")
    add(
        "--module",
        metavar=("ID", "NAME"),
        nargs=2,
        help="the protocol module of all that protocol.xml does not name (default: they are left out)",
    )
    add("--output", metavar="FILE.py", help="where to write (default: standard output)")
    add_log_level(command, default="WARNING")
    command.set_defaults(command=_import_java, json=False)


def _import_java(options: argparse.Namespace, _parser: argparse.ArgumentParser) -> int:
    classes, faults = _read(options.folders)
    declared = _modules(options.xml)
    modules, found = assigned(classes, declared, _default(options.module, declared))
    faults += found
    text = python_module(modules, faults)
    count = sum(line.startswith("@") for line in text.splitlines())
    for fault in sorted(faults):
        print(fault, file=sys.stderr)
    if not count:
        raise ConfigError(f"no packet was found among {len(classes)} Java classes: packets have @Protocol")
    if options.output:
        try:
            Path(options.output).write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"cannot write {options.output}: {error.strerror}") from error
    else:
        print(text, end="")
    left = f"; {len(faults)} faults, see above" if faults else ""
    print(f"{count} packets of {len(modules)} modules{left}", file=sys.stderr)
    return 1 if faults else 0


def _read(folders: list[str]) -> tuple[list[JavaClass], list[Fault]]:
    classes: list[JavaClass] = []
    faults: list[Fault] = []
    for path in _sources(folders):
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}") from error
        found, lines = read_java(content, str(path))
        classes += found
        if lines:
            faults.append(Fault(str(path), lines[0], "is no Java that can be read, from here on"))
    return classes, faults


def _sources(folders: list[str]) -> Iterator[Path]:
    seen: set[Path] = set()
    for folder in map(Path, folders):
        if folder.is_file():
            files = [folder]
        elif folder.is_dir():
            files = sorted(folder.rglob("*.java"))
        else:
            raise ConfigError(f"there is no folder {folder}")
        for file in files:
            if file.name not in {"package-info.java", "module-info.java"} and file.resolve() not in seen:
                seen.add(file.resolve())
                yield file


def _modules(xml: str | None) -> tuple[XmlModule, ...]:
    if xml is None:
        return ()
    try:
        content = Path(xml).read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {xml}: {error.strerror}") from error
    return read_protocol_xml(content, xml)


def _default(module: list[str] | None, declared: tuple[XmlModule, ...]) -> tuple[int, str] | None:
    if module is None:
        return None
    number, name = module
    if not number.isdecimal():
        raise ConfigError(f"--module takes a number and a name, such as --module 10 visits, not {number!r}")
    for one in declared:
        if (one.id == int(number)) != (one.name == name):
            text = f"has module {one.id} {one.name!r}, and --module says {number} {name!r}: give it another id and name"
            raise ConfigError(text, path=one.where)
    return int(number), name
