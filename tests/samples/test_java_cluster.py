"""samples/java_cluster: its programs as real processes, Python to Python, over zfoo's binary format.

The consumer is told the registrations (static discovery); tests/zookeeper has the same on a ZooKeeper. No Java process
runs here.
"""

from __future__ import annotations

import re
import signal

from tests.support.java_cluster import LIMIT_S, SAMPLE, Programs, expected, registrations
from zfoo_py.cli.main import main
from zfoo_py.testing.zookeeper import free_ports

README = (SAMPLE / "README.md").read_text(encoding="utf-8")


def test_the_packets_are_those_of_the_java_classes(tmp_path, capsys):
    """scores.py is what import-java writes."""
    path = tmp_path / "scores.py"
    java = SAMPLE / "java"
    assert main(["import-java", str(java), "--xml", str(java / "protocol.xml"), "--output", str(path)]) == 0
    assert path.read_text(encoding="utf-8") == (SAMPLE / "scores.py").read_text(encoding="utf-8")


def test_python_asks_python_in_zfoos_format_and_each_key_goes_where_javas_ring_says():
    ports = free_ports(2)
    texts = registrations(ports)
    with Programs() as programs:
        for name, port in zip(texts, ports, strict=True):
            programs.provide(name, port, ZFOO_DISCOVERY__KIND="static")
        static = ", ".join(f'"zfoo-java://{text}"' for text in texts.values())
        printed = programs.consume(ZFOO_DISCOVERY__KIND="static", ZFOO_DISCOVERY__ADDRESSES=f"[{static}]")
        assert printed == expected(texts)
        first = programs.running[0]
        first.send_signal(signal.SIGTERM)
        assert first.wait(LIMIT_S) == 0


def test_each_block_of_the_readme_is_a_file_of_the_sample():
    """What it shows is what runs."""
    shown = re.findall(r"<!-- file: ([\w./]+) -->\n```\w+\n(.*?)```\n", README, re.DOTALL)
    assert len(shown) >= 4
    for name, text in shown:
        assert text.strip() in (SAMPLE / name).read_text(encoding="utf-8"), name
    assert len(re.findall(r"```(?:python|toml|java|xml)\n", README)) == len(shown)
