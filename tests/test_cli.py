"""The command line: what it loads, what it says is wrong, its exit codes, and the real processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from zfoo_py import Ask, Node, Packet, PacketTable, ProtocolModule, __version__, cli
from zfoo_py.config import DEFAULT_DISCOVERY_ADDRESS, DEFAULT_SERVER_ADDRESS
from zfoo_py.protocol.packet import DEFAULT_TABLE

ROOT = Path(__file__).resolve().parent.parent
# How long a process may take on a busy machine to do what takes it a tenth of a second.
LIMIT_S = 30

HELLO = """
from zfoo_py import Ask, Node, Packet, ProtocolModule, Session, packet_receiver

greetings = ProtocolModule(30, "greetings")

@greetings.packet(3001)
class HelloAnswer(Packet):
    text: str

@greetings.packet(3000, balance_by="name")
class HelloAsk(Ask[HelloAnswer]):
    name: str

@packet_receiver
async def at_hello(session: Session, ask: HelloAsk) -> HelloAnswer:
    return HelloAnswer(f"hello {ask.name}, says {session.node.id}")
"""
NODE = HELLO + '\nnode = Node(provides=[greetings])\nother = "no node"\n'


class Folder:
    """The current folder of a test, where it writes the files that the command line loads."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, text: str) -> str:
        """Write a file; return its name."""
        (self.path / name).parent.mkdir(exist_ok=True)
        (self.path / name).write_text(text, encoding="utf-8")
        return name


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Give an empty current folder, an empty packet table, no variables, and a log that nobody hears."""
    modules = dict(sys.modules)
    for name, value in vars(PacketTable()).items():
        monkeypatch.setattr(DEFAULT_TABLE, name, value)
    for name in [name for name in os.environ if name.startswith("ZFOO_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(cli.logger, "remove", lambda: None)
    monkeypatch.setattr(cli.logger, "add", lambda _sink, level: None)
    monkeypatch.setattr(cli, "enable_logging", lambda _level: None)
    monkeypatch.chdir(tmp_path)
    yield Folder(tmp_path)
    for name in sys.modules.keys() - modules.keys():
        del sys.modules[name]


@pytest.fixture
def started(monkeypatch):
    """Collect the nodes that would run."""
    nodes: list[Node] = []
    monkeypatch.setattr(Node, "run", lambda node: nodes.append(node))  # noqa: PLW0108 - a builtin would not be bound
    return nodes


# ------------------------------------------------------------------------------------------------- words
@pytest.mark.parametrize(
    "words",
    [
        [],
        ["run"],
        ["walk"],
        ["run", "a.py", "--log-level", "LOUD"],
        ["run", "a.py", "--json"],
        ["check", "--provide", "greetings"],
        ["discovery", "--port", "1"],
    ],
)
def test_a_command_written_wrongly_ends_with_2(words, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    assert "usage: zfoo-py" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "check", "discovery"])
def test_help_shows_the_default_of_every_option(command, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split("options:")[1].split())
    assert text.count("(default: ") == text.count(" --") - text.count("--help")
    assert DEFAULT_DISCOVERY_ADDRESS in text
    assert (DEFAULT_SERVER_ADDRESS in text) == (command != "discovery")


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"zfoo-py {__version__}\n"


# ------------------------------------------------------------------------------------------------- check
def test_check_prints_which_protocol_goes_where(folder, capsys):
    file = folder.write("hello.py", HELLO)
    assert cli.main(["check", file, "--provide", "greetings"]) == 0
    head, ask, answer = capsys.readouterr().out.splitlines()
    assert head.split() == ["protocol", "packet", "module", "balanced", "by", "provided", "receiver"]
    assert ask.split()[:5] == ["3000", "HelloAsk", "greetings", "name", "yes"]
    assert ask.endswith(f"at_hello ({folder.path}/hello.py:14)")
    assert answer.split() == ["3001", "HelloAnswer", "greetings", "-", "yes", "-"]


def test_check_says_what_is_not_provided_and_what_is_consumed(folder, capsys):
    folder.write("hello.py", HELLO)
    assert cli.main(["check", "hello", "--consume", "greetings"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[4] for line in lines[1:3]] == ["no", "no"]
    assert lines[3] == "consumes greetings of greetings, balanced by cached-consistent-hash"


def test_check_as_json(folder, capsys):
    folder.write("here/__init__.py", "")
    folder.write("here/hello.py", HELLO)
    folder.write(
        "one.toml", '[[provider]]\nmodule = "greetings"\n[[consumer]]\nmodule = "greetings"\nbalancer = "random"'
    )
    assert cli.main(["check", "here.hello", "--config", "one.toml", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is True
    assert found["faults"] == []
    assert (found["id"], found["provides"], found["consumes"]) == ("one", ["greetings"], {"greetings": "random"})
    ask, answer = found["protocols"]
    assert ask["receiver"].startswith("at_hello (")
    assert answer == {
        "protocol": 3001,
        "packet": "HelloAnswer",
        "module": "greetings",
        "balance_by": None,
        "provided": True,
        "receiver": None,
    }


FAULTS = {
    "no file": ("gone.py", None, [], "there is no file gone.py"),
    "no module": ("gone", None, [], "there is no module 'gone'"),
    "no package": ("gone.deep", None, [], "cannot find module 'gone.deep'"),
    "folder": ("./hello", HELLO, [], "./hello"),
    "syntax": ("hello.py", "def (", [], "cannot load hello.py: SyntaxError"),
    "raises": ("hello.py", "x = 1\nx / 0", [], "hello.py:2)"),
    "import": ("hello.py", "import no_such_package", [], "No module named 'no_such_package'"),
    "name in use": ("json.py", "", [], "rename the file"),
    "annotation": ("hello.py", HELLO.replace("ask: HelloAsk", "ask"), [], "annotate the parameter 'ask'"),
    "two": ("hello.py", HELLO + HELLO[HELLO.index("@packet_rec") :].replace("at_h", "at_b"), [], "two receivers"),
    "id": ("hello.py", HELLO.replace("3001", "3000"), [], "3000"),
    "nearest": ("hello.py", HELLO, ["--provide", "greeting"], "did you mean 'greetings'?"),
    "no receiver": ("hello.py", HELLO.replace("@packet_receiver", ""), ["--provide", "greetings"], "has no receiver"),
    "no config": ("hello.py", HELLO, ["--config", "gone.toml"], "cannot read gone.toml"),
    "address": ("hello.py", HELLO, ["--provide", "greetings", "--address", "here"], "has no port"),
    "no attribute": ("hello.py:gone", NODE, [], "hello.py has no such name"),
    "no node": ("hello.py:other", NODE, [], "has a str there"),
}


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize(("target", "text", "words", "sentence"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_one_sentence_and_ends_with_1(target, text, words, sentence, command, folder, started, capsys):
    if text is not None:
        name = target.partition(":")[0]
        folder.write(name if name.endswith(".py") else f"{name}.py", text)
    assert cli.main([command, target, *words]) == 1
    printed = capsys.readouterr()
    assert sentence in printed.err
    assert printed.err.startswith("zfoo-py: ")
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert not started


def test_a_fault_as_json_and_with_its_traceback(folder, capsys):
    folder.write("hello.py", "x = 1\nx / 0")
    assert cli.main(["check", "hello.py", "--json", "--log-level", "debug"]) == 1
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert found["ok"] is False
    assert "ZeroDivisionError" in found["faults"][0]
    assert "Traceback" in printed.err


def test_a_file_is_named_by_whoever_forgets_its_ending(folder, capsys):
    folder.write("here/hello.py", HELLO)
    assert cli.main(["check", "here/hello"]) == 1
    assert "say here/hello.py" in capsys.readouterr().err


def test_a_module_that_failed_can_be_mended_and_loaded(folder):
    """Nothing half-loaded stays behind."""
    file = folder.write("hello.py", "import no_such_package")
    assert cli.main(["check", file]) == 1
    folder.write("hello.py", HELLO)
    assert cli.main(["check", file]) == 0


# --------------------------------------------------------------------------------------------------- run
def test_run_takes_receivers_and_name_from_the_file(folder, started):
    file = folder.write("my-hello.py", HELLO)
    assert cli.main(["run", file, "--provide", "greetings"]) == 0
    (node,) = started
    assert node.id == "my-hello"
    assert [provided.module for provided in node.config.provides] == ["greetings"]
    assert [packet.__name__ for packet in node.receivers] == ["HelloAsk"]


def test_a_node_in_the_file_takes_receivers_and_name_from_the_file(folder, started):
    """Also a module's, whose name is the last part."""
    folder.write("here/__init__.py", "")
    folder.write("here/hello.py", NODE)
    main = sys.modules["__main__"]
    assert cli.main(["run", "here.hello:node"]) == 0
    (node,) = started
    assert (node.id, len(node.receivers)) == ("hello", 1)
    assert sys.modules["__main__"] is main
    assert sys.modules["here"].hello.node is node


def test_options_win_over_the_file_and_the_environment(folder, started, monkeypatch):
    folder.write("hello.py", HELLO)
    config = '[server]\naddress = "127.0.0.1:1"\n[discovery]\naddress = "127.0.0.1:2"\n[limits]\nworkers = 3'
    folder.write("visits-1.toml", config)
    monkeypatch.setenv("ZFOO_SERVER__ADDRESS", "127.0.0.1:3")
    words = ["run", "hello.py", "--config", "visits-1.toml", "--provide", "greetings"]
    assert cli.main(words) == 0
    assert cli.main([*words, "--id", "x", "--address", "127.0.0.1:4", "--discovery", "127.0.0.1:5"]) == 0
    one, two = [node.config for node in started]
    assert (one.id, one.address, one.discovery.address) == ("visits-1", "127.0.0.1:3", "127.0.0.1:2")
    assert (two.id, two.address, two.discovery.address) == ("x", "127.0.0.1:4", "127.0.0.1:5")
    assert one.limits.workers == two.limits.workers == 3


def test_a_complete_node_takes_no_options(folder, started, capsys):
    file = folder.write("hello.py", NODE)
    with pytest.raises(SystemExit) as ended:
        cli.main(["run", f"{file}:node", "--id", "x", "--provide", "greetings"])
    assert ended.value.code == 2
    assert "leave --id, --provide away" in capsys.readouterr().err
    assert not started


@pytest.mark.parametrize(("text", "tip"), [(HELLO, "say --provide greetings"), ("", "it has no receivers")])
def test_a_node_that_would_do_nothing_is_a_fault(text, tip, folder, started, capsys):
    file = folder.write("hello.py", text)
    assert cli.main(["run", file]) == 1
    assert tip in capsys.readouterr().err
    assert not started


def test_an_interrupt_before_the_node_runs_is_quiet(folder, monkeypatch, capsys):
    def interrupted(_node):
        raise KeyboardInterrupt

    monkeypatch.setattr(Node, "run", interrupted)
    file = folder.write("hello.py", NODE)
    assert cli.main(["run", f"{file}:node"]) == 130
    assert capsys.readouterr().err == ""


# --------------------------------------------------------------------------------------------- discovery
def test_discovery_heeds_only_the_variables_meant_for_it(folder, started, monkeypatch):
    monkeypatch.setenv("ZFOO_PROVIDER", '[{module = "greetings"}]')
    monkeypatch.setenv("ZFOO_SERVER__ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("ZFOO_DISCOVERY__ADDRESS", "127.0.0.1:2")
    assert cli.main(["discovery"]) == 0
    assert cli.main(["discovery", "--address", "127.0.0.1:3"]) == 0
    one, two = [node.config for node in started]
    assert (one.id, one.address, one.provides) == ("discovery", None, ())
    assert (one.discovery.host, one.discovery.address, two.discovery.address) == (True, "127.0.0.1:2", "127.0.0.1:3")


# --------------------------------------------------------------------------------------------- processes
@pytest.fixture
def start(tmp_path):
    """Start the command line in processes, which end with the test."""
    running: list[subprocess.Popen[str]] = []
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ZFOO_")}
    environment |= {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}

    def start(*words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "zfoo_py", *words],
            cwd=tmp_path,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


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


def test_a_discovery_whose_port_is_taken_says_so(start):
    """One sentence, no traceback."""
    first = start("discovery", "--address", "127.0.0.1:0", "--log-level", "ERROR")
    address = first.stdout.readline().split()[-1]
    second = start("discovery", "--address", address)
    out, err = second.communicate(timeout=LIMIT_S)
    assert (second.returncode, out) == (1, "")
    assert err.startswith("zfoo-py: ")
    assert address in err
    assert "Traceback" not in err
