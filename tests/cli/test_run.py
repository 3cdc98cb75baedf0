"""`zfoo-py run`: the node it makes, and real processes."""

from __future__ import annotations

import asyncio
import json
import signal
import sys

import pytest

from tests.support.cli import HELLO, LIMIT_S, NODE
from zfoo_py import Ask, Node, Packet, PacketTable, ProtocolModule
from zfoo_py.cli.main import main


def test_run_takes_receivers_and_name_from_the_file(folder, started):
    file = folder.write("my-hello.py", HELLO)
    assert main(["run", file, "--provide", "greetings"]) == 0
    (node,) = started
    assert node.id == "my-hello"
    assert [provided.module for provided in node.config.provides] == ["greetings"]
    assert [packet.__name__ for packet in node.receivers] == ["HelloAsk"]


def test_a_node_in_the_file_takes_receivers_and_name_from_the_file(folder, started):
    """Also a module's, whose name is the last part."""
    folder.write("here/__init__.py", "")
    folder.write("here/hello.py", NODE)
    before = sys.modules["__main__"]
    assert main(["run", "here.hello:node"]) == 0
    (node,) = started
    assert (node.id, len(node.receivers)) == ("hello", 1)
    assert sys.modules["__main__"] is before
    assert sys.modules["here"].hello.node is node


def test_options_win_over_the_file_and_the_environment(folder, started, monkeypatch):
    folder.write("hello.py", HELLO)
    config = '[server]\naddress = "127.0.0.1:1"\n[discovery]\naddress = "127.0.0.1:2"\n[limits]\nworkers = 3'
    folder.write("visits-1.toml", config)
    monkeypatch.setenv("ZFOO_SERVER__ADDRESS", "127.0.0.1:3")
    words = ["run", "hello.py", "--config", "visits-1.toml", "--provide", "greetings"]
    assert main(words) == 0
    assert main([*words, "--id", "x", "--address", "127.0.0.1:4", "--discovery", "127.0.0.1:5"]) == 0
    one, two = [node.config for node in started]
    assert (one.id, one.address, one.discovery.address) == ("visits-1", "127.0.0.1:3", "127.0.0.1:2")
    assert (two.id, two.address, two.discovery.address) == ("x", "127.0.0.1:4", "127.0.0.1:5")
    assert one.limits.workers == two.limits.workers == 3


def test_a_complete_node_takes_no_options(folder, started, capsys):
    file = folder.write("hello.py", NODE)
    with pytest.raises(SystemExit) as ended:
        main(["run", f"{file}:node", "--id", "x", "--provide", "greetings"])
    assert ended.value.code == 2
    assert "leave --id, --provide away" in capsys.readouterr().err
    assert not started


@pytest.mark.parametrize(("text", "tip"), [(HELLO, "say --provide greetings"), ("", "it has no receivers")])
def test_a_node_that_would_do_nothing_is_a_fault(text, tip, folder, started, capsys):
    file = folder.write("hello.py", text)
    assert main(["run", file]) == 1
    assert tip in capsys.readouterr().err
    assert not started


def test_an_interrupt_before_the_node_runs_is_quiet(folder, monkeypatch, capsys):
    def interrupted(_node):
        raise KeyboardInterrupt

    monkeypatch.setattr(Node, "run", interrupted)
    file = folder.write("hello.py", NODE)
    assert main(["run", f"{file}:node"]) == 130
    assert capsys.readouterr().err == ""


def greetings_in(table: PacketTable) -> tuple[ProtocolModule, type[Ask]]:
    """Declare the file's packets once more, for the asker in this process."""
    greetings = ProtocolModule(30, "greetings", table=table)

    @greetings.packet(3001)
    class HelloAnswer(Packet):
        text: str

    @greetings.packet(3000, balance_by="name")
    class HelloAsk(Ask[HelloAnswer]):
        name: str

    return greetings, HelloAsk


def test_discovery_and_a_provider_serve_a_consumer_and_stop_in_order(start, tmp_path):
    """Real processes: the answer comes, the log is on stderr, SIGTERM and SIGINT end with 0."""
    (tmp_path / "hello.py").write_text(HELLO)
    discovery = start("discovery", "--address", "127.0.0.1:0", "--json")
    address = json.loads(discovery.stdout.readline())["listening_at"]
    words = ["--provide", "greetings", "--id", "greeter", "--discovery", address]
    provider = start("run", "hello.py", *words)

    async def ask() -> str:
        table = PacketTable()
        greetings, hello_ask = greetings_in(table)
        where = {"address": address}
        async with Node(id="asker", consumes=[greetings], table=table, receivers=[], discovery=where) as node:
            return (await node.consumer.async_ask(hello_ask("ada"))).text

    assert asyncio.run(ask()) == "hello ada, says greeter"
    for process, number in ((provider, signal.SIGTERM), (discovery, signal.SIGINT)):
        process.send_signal(number)
        out, err = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0, err
        assert out == ""
        assert "is up" in err
        assert "has stopped" in err


def test_a_second_signal_ends_it_at_once(start, tmp_path):
    """Even while on_stop hangs."""
    hangs = """
import asyncio
async def hang(node):
    print("stopping")
    await asyncio.Event().wait()
node = Node(provides=[greetings], discovery="static", on_stop=hang, on_start=lambda node: print("up"))
"""
    (tmp_path / "hello.py").write_text(HELLO + hangs)
    process = start("run", "hello.py:node")
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "stopping\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(LIMIT_S) == 128 + signal.SIGTERM
