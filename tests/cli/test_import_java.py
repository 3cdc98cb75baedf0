"""`zfoo-py import-java`: realistic sources, and Java's own golden values through what it writes."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from tests.support.java_packets import WIRE
from zfoo_py import PacketTable
from zfoo_py.cli.main import main
from zfoo_py.protocol import packet as packet_file
from zfoo_py.protocol.zfoo_java_codec import decode, encode

DATA = Path(__file__).resolve().parent.parent / "data"
JAVA = DATA / "java"


def load(path, monkeypatch, folder):
    """Load a module that was written, with a packet table of its own."""
    table = PacketTable()
    monkeypatch.setattr(packet_file, "DEFAULT_TABLE", table)
    spec = importlib.util.spec_from_file_location("imported", folder.path / path if hasattr(folder, "path") else path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, "imported", module)
    spec.loader.exec_module(module)
    return module, table


def test_what_is_written_is_as_kept(folder, capsys):
    assert main(["import-java", str(JAVA), "--xml", str(JAVA / "protocol.xml")]) == 0
    printed = capsys.readouterr()
    assert printed.out == (DATA / "java_python" / "packets.txt").read_text(encoding="utf-8")
    assert printed.err == "4 packets of 2 modules\n"


def test_it_can_be_loaded_and_used(folder, monkeypatch, tmp_path):
    path = tmp_path / "imported.py"
    assert main(["import-java", str(JAVA), "--xml", str(JAVA / "protocol.xml"), "--output", str(path)]) == 0
    module, table = load(path, monkeypatch, folder)
    table.resolve()
    answer = module.VisitAnswer(7, module.Room(1, True, "s", {module.Corner(1.0, 2.0): "a"}), [5])
    assert decode(encode(answer, table=table), table) == (answer, None)
    assert table.binding(module.VisitAsk).answer_class is module.VisitAnswer


def test_names_and_texts_of_any_kind_can_be_loaded_and_used(folder, monkeypatch, tmp_path):
    (tmp_path / "A.java").write_text(
        r"""
        @Protocol(id = 300) class Packet { int c; @Compatible(1) int Packet; }
        @Protocol(id = 301) class Wire { Packet none; @Compatible(1) Map<Packet, Annotated> wire; }
        @Protocol(id = 302) class None { List<Wire> Annotated; int __secret, $x, self, Int, µ; }
        @Protocol(id = 303) class Annotated { @Note("a\0 \ud83d\ude00 \ud800 \"\"\"") int from; }
        @Protocol(id = 304) class list { int[] list; }
        @Protocol(id = 305) class ProtocolModule { int a; }
        """,
        encoding="utf-8",
    )
    path = tmp_path / "imported.py"
    assert main(["import-java", str(tmp_path), "--module", "10", 'a "b" \\', "--output", str(path)]) == 0
    module, table = load(path, monkeypatch, folder)
    table.resolve()
    assert list(table.modules) == ['a "b" \\']
    one = module.Wire_(module.Packet_(1, 2), module.FrozenMap({module.Packet_(3, 4): module.Annotated_(5)}))
    for packet in (one, module.None_([one, None], 1, 2, 3, 4, 5), module.list_([6]), module.ProtocolModule_(7)):
        assert decode(encode(packet, table=table), table) == (packet, None)


def java_of(schema):
    """Write the Java class of a line of wire.json's schema."""
    lines = []
    for name, entry in schema.items():
        if entry["protocolId"] < 200:
            continue
        fields = [
            (f"@Compatible({field['compatible']}) " if field.get("compatible") is not None else "")
            + f"{field['type']} {field['name']}"
            for field in entry["fields"]
        ]
        head = f"@Protocol(id = {entry['protocolId']})\npublic "
        if entry["record"]:
            lines.append(f"{head}record {name}({', '.join(fields)}) {{}}")
        else:
            lines.append(f"{head}class {name} {{\n" + "".join(f"    private {field};\n" for field in fields) + "}")
    return "package oracle;\n" + "\n\n".join(lines)


def test_golden_values_of_java_go_through_the_classes_written(folder, monkeypatch, tmp_path):
    source, path = tmp_path / "Oracle.java", tmp_path / "imported.py"
    source.write_text(java_of(WIRE["schema"]), encoding="utf-8")
    assert main(["import-java", str(source), "--module", "60", "wireModule", "--output", str(path)]) == 0
    module, table = load(path, monkeypatch, folder)
    table.resolve()
    compared = 0
    for entry in WIRE["entries"]:
        if entry["protocolId"] < 200 or not entry["reencodeSame"]:
            continue
        message = bytes.fromhex(entry["frameHex"])[4:]
        packet, _ = decode(message, table)
        assert type(packet).__name__ == entry["packet"]
        if not any("Set<" in field["type"] for field in entry["fields"]):  # Python's sets have an order of their own
            assert encode(packet, table=table) == message
        compared += 1
    assert compared > 150
    assert module.wire_module.name == "wireModule"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["gone"], "there is no folder gone"),
        (["."], "no packet was found among 0 Java classes"),
        ([str(JAVA), "--xml", "gone.xml"], "cannot read gone.xml"),
        ([str(JAVA), "--module", "x", "y"], "--module takes a number and a name"),
        (
            [str(JAVA), "--xml", str(JAVA / "protocol.xml"), "--module", "99", "visits"],
            "and --module says 99 'visits': give it another id and name",
        ),
        ([str(JAVA), "--module", "10", "y", "--output", "no/where.py"], "cannot write no/where.py"),
    ],
)
def test_what_is_wrong_is_said(folder, capsys, words, text):
    assert main(["import-java", *words]) == 1
    assert text in capsys.readouterr().err


def test_faults_are_named_and_the_rest_is_written(folder, capsys, tmp_path):
    (tmp_path / "A.java").write_text("@Protocol(id = 300) class A { char c; }\n@Protocol(id = 301) class B { int b; }")
    (tmp_path / "C.java").write_text("class C { int ; ) }")
    assert main(["import-java", str(tmp_path), "--module", "10", "mine"]) == 1
    printed = capsys.readouterr()
    assert "class B(Packet)" in printed.out
    assert "class A(" not in printed.out
    lines = printed.err.splitlines()
    assert "A.java:1: A.c cannot be mapped" in lines[0]
    assert "C.java:1: is no Java that can be read" in lines[1]
    assert lines[2] == "1 packets of 1 modules; 2 faults, see above"


def test_wire_json_is_what_java_wrote():
    """The data of the test above, so that it cannot be empty."""
    assert len(json.dumps(WIRE["schema"])) > 5000
