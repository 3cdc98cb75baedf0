"""docs/from-zfoo.md tells the truth: its Python runs, its TOML says what its XML says, its packets are Java's.

A block is marked by a comment above it: `file: NAME` is written to a folder, `java: NAME` is read by import-java,
`output: NAME` is what that program prints, `snippet` runs beside the provider. No Java process runs here.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import zfoo_py
import zfoo_py.errors
import zfoo_py.events
from zfoo_py.cli.main import main
from zfoo_py.consumer.policies.catalog import BALANCERS
from zfoo_py.testing.zookeeper import free_ports

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "from-zfoo.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(?:<!-- ([\w-]+)(?:: ([^>]*))? -->\n)?```(\w*)\n(.*?)```\n", re.DOTALL)
BLOCKS = BLOCK.findall(PAGE)
FILES = {name: text for kind, name, _, text in BLOCKS if kind == "file"}
NET = "{http://www.zfoo.com/schema/net}"
# A program takes about a second.
LIMIT_S = 30


@pytest.fixture
def folder(tmp_path):
    """A folder with the page's files."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture
def provider(folder):
    """The page's provider as a process, found without ZooKeeper; and the environment for who asks it."""
    (port,) = free_ports(1)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ZFOO_")},
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "ZFOO_DISCOVERY__KIND": "static",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "zfoo_py", "run", "provider.py", "--config", "provider.toml"],
        cwd=folder,
        env={**environment, "ZFOO_LISTEN": f'[{{address = "127.0.0.1:{port}", codec = "zfoo-java"}}]'},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        log = []
        for line in process.stderr:
            log.append(line)
            if "is up" in line:
                break
        else:
            pytest.fail("".join(log))
        text = f"zfoo-java://levels-1 | 127.0.0.1:{port} | provider:[levels-levelService]"
        yield process, {**environment, "ZFOO_DISCOVERY__ADDRESSES": f'["{text}"]'}
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def run(folder, environment, name):
    done = subprocess.run(
        [sys.executable, name],
        cwd=folder,
        env=environment,
        text=True,
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_block_of_code_is_marked_and_so_tried():
    assert not [text for kind, _, language, text in BLOCKS if language and not kind]


def test_the_provider_and_the_consumer_ask_each_other_in_zfoos_format(folder, provider):
    process, environment = provider
    (expected,) = [text for kind, name, _, text in BLOCKS if (kind, name) == ("output", "consumer.py")]
    assert run(folder, environment, "consumer.py") == expected
    assert process.stdout.readline() == "7: hello\n"


def test_the_snippets_run(folder, provider):
    _, environment = provider
    snippets = [text for kind, _, _, text in BLOCKS if kind == "snippet"]
    assert snippets
    for text in snippets:
        head = "from levels import *\nfrom zfoo_py import Node\n"
        (folder / "snippet.py").write_text(f"{head}{text}", encoding="utf-8")
        run(folder, environment, "snippet.py")


def shape(text):
    """Return of each packet class in a Python module its id, base and fields."""
    return {
        node.name: (
            ast.literal_eval(node.decorator_list[0].args[0]),
            ast.unparse(node.bases[0]),
            [ast.unparse(line) for line in node.body if isinstance(line, ast.AnnAssign)],
        )
        for node in ast.parse(text).body
        if isinstance(node, ast.ClassDef)
    }


def test_the_packets_are_those_of_the_java_classes(folder, capsys):
    """Import-java writes the same classes, ids and fields."""
    java = folder / "com" / "example" / "level"
    java.mkdir(parents=True)
    for kind, name, _, text in BLOCKS:
        if kind == "java" and name:
            (java / name).write_text(text, encoding="utf-8")
    assert main(["import-java", str(java), "--xml", str(folder / "protocol.xml")]) == 0
    assert shape(capsys.readouterr().out) == shape(FILES["levels.py"])


@pytest.mark.parametrize("name", ["provider", "consumer"])
def test_the_toml_says_what_the_xml_says(name):
    xml = ET.fromstring(FILES[f"{name}_config.xml"])  # noqa: S314 - our own page
    toml = tomllib.loads(FILES[f"{name}.toml"])
    registry = xml.find(f"{NET}registry")
    discovery = toml["discovery"]
    assert toml["node"]["id"] == xml.get("id")
    assert discovery["kind"] == registry.get("center")
    assert discovery["address"] == ",".join(one.get("url") for one in registry)
    said = {"center": "zookeeper", "root": "/zfoo", "user": "", "password": "", **discovery}
    wanted = {"path": "/zfoo", **registry.attrib}
    assert [said[key] for key in ("center", "root", "user", "password")] == [
        wanted[key] for key in ("center", "path", "user", "password")
    ]
    provided = [(one.get("protocol-module"), one.get("provider")) for one in xml.iter(f"{NET}provider")]
    assert [(row["module"], row["name"]) for row in toml.get("provider", [])] == provided
    consumed = [(one.get("consumer"), one.get("load-balancer")) for one in xml.iter(f"{NET}consumer")]
    assert [(row["provider"], row["balancer"]) for row in toml.get("consumer", [])] == consumed
    assert provided or consumed
    addresses = [one.get("address") for one in xml.iter(f"{NET}providers")]
    assert [row["address"] for row in toml.get("listen", [])] == addresses


def test_the_names_of_zfoo_py_exist():
    """No error, event, balancer or limit of the page is made up."""
    errors = set(re.findall(r"`(\w+Error)`", PAGE))
    assert errors
    assert errors <= set(zfoo_py.errors.__all__)
    line = next(line for line in PAGE.splitlines() if "`NodeStarted`" in line)
    assert set(re.findall(r"`([A-Z]\w+)`", line.split("|")[2])) <= set(zfoo_py.events.__all__)
    row = next(line for line in PAGE.splitlines() if line.startswith("| balancers"))
    assert set(re.findall(r"`([a-z-]+)`", row)) == set(BALANCERS)
    rows = PAGE.split("| Java | Python |")[1].split("\n## ")[0]
    names = set(re.findall(r"\b(?:Byte|Short|Int|Long|Float|Double|FrozenMap|Wire)\b", rows))
    assert names == {"Byte", "Short", "Int", "Long", "Float", "Double", "FrozenMap", "Wire"}
    assert names <= set(zfoo_py.__all__)
