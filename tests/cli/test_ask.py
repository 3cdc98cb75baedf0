"""`zfoo-py ask`: words become a packet, the packet goes where any consumer's would, and the answer is printed."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.support.cli import HELLO, LIMIT_S
from zfoo_py import Packet
from zfoo_py.cli.ask import packet_of
from zfoo_py.cli.directory_io import read_directory
from zfoo_py.cli.main import main
from zfoo_py.errors import ConfigError


class Point(Packet):
    """A field of its own."""

    x: int
    y: int = 0


class Order(Packet):
    """Fields of every kind."""

    name: str
    count: int = 1
    price: float = 0.0
    is_paid: bool = False
    data: bytes = b""
    tags: list[str] = []  # noqa: RUF012 - msgspec copies it
    rows: dict[str, int] = {}  # noqa: RUF012
    where: Point | None = None


def test_each_word_is_read_as_its_fields_type():
    words = [
        "name=a=b",
        "count=-3",
        "price=1.5",
        "is_paid=true",
        "data=xy",
        'tags=["p","q"]',
        'rows={"k":2}',
        "where=[1,2]",
    ]
    assert packet_of(Order, words) == Order("a=b", -3, 1.5, True, b"xy", ["p", "q"], {"k": 2}, Point(1, 2))


def test_text_stays_text():
    assert packet_of(Order, ["name=12"]).name == "12"
    assert packet_of(Order, ['name="12"']).name == '"12"'


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "Order lacks name: it has name=str, count=int"),
        (["name"], "'name' is no field of Order"),
        (["name=x", "name=y"], "name is given twice"),
        (["nam=x"], "did you mean 'name'"),
        (["name=x", "count=many"], "Order.count is a int, and 'many' is none"),
        (["name=x", "where={"], "Order.where is a"),
    ],
)
def test_a_wrong_word_says_what_is_right(words, sentence):
    with pytest.raises(ConfigError) as caught:
        packet_of(Order, words)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("hello", "hello declares HelloAsk"),
        ("hello:HelloAnswer", "hello declares HelloAsk"),
        ("hello:HeloAsk", "did you mean 'HelloAsk'"),
        ("hello.py:greetings", "hello.py declares HelloAsk"),
        ("gone:HelloAsk", "there is no module 'gone'"),
    ],
)
def test_a_packet_that_is_none_says_which_there_are(folder, capsys, target, sentence):
    folder.write("hello.py", HELLO)
    assert main(["ask", target, "name=ada"]) == 1
    assert sentence in capsys.readouterr().err


def test_without_a_provider_it_says_what_is_missing_and_where_it_looked(folder, capsys, monkeypatch):
    folder.write("hello.py", HELLO)
    monkeypatch.setenv("ZFOO_LIMITS__READY_TIMEOUT_S", "0.1")
    assert main(["ask", "hello:HelloAsk", "name=ada", "--discovery", "127.0.0.1:1"]) == 1
    err = capsys.readouterr().err
    assert "no provider of module 'greetings'" in err
    assert "no discovery answers at 127.0.0.1:1" in err


def test_a_group_that_nobody_serves_is_named(folder, capsys, monkeypatch):
    folder.write("hello.py", HELLO)
    monkeypatch.setenv("ZFOO_LIMITS__READY_TIMEOUT_S", "0.1")
    assert main(["ask", "hello:HelloAsk", "name=ada", "--group", "blue", "--discovery", "127.0.0.1:1"]) == 1
    assert "no provider of module 'greetings' as 'blue' within" in capsys.readouterr().err


def test_the_same_key_reaches_the_same_provider_from_every_process(start, tmp_path):
    """Real processes: each ask is a consumer that starts anew, and must know all providers before it picks."""
    (tmp_path / "hello.py").write_text(HELLO)
    address = json.loads(start("discovery", "--address", "127.0.0.1:0", "--json").stdout.readline())["listening_at"]
    for number in range(3):
        provider = start("run", "hello.py", "--provide", "greetings", "--id", f"p{number}", "--discovery", address)
        while len(asyncio.run(read_directory(address))) <= number:  # its registration is on the way
            assert provider.poll() is None
    words = ["ask", "hello:HelloAsk", "name=ada", "--discovery", address]
    asks = [start(*words, "--json") for _ in range(4)] + [start(*words, "--key", "ada", "--timeout-s", "5")]
    outs = [ask.communicate(timeout=LIMIT_S) for ask in asks]
    assert [ask.returncode for ask in asks] == [0] * 5, outs
    answers = [json.loads(out) for out, _ in outs[:4]]
    texts = {answer["fields"]["text"] for answer in answers}
    assert len(texts) == 1
    assert {answer["answer"] for answer in answers} == {"HelloAnswer"}
    assert outs[4][0] == f"HelloAnswer(text='{texts.pop()}')\n"


@pytest.mark.parametrize("seconds", ["nan", "inf", "0", "-1", "soon"])
def test_a_time_out_that_is_none_is_a_command_written_wrongly(seconds, folder, capsys):
    folder.write("hello.py", HELLO)
    with pytest.raises(SystemExit) as caught:
        main(["ask", "hello:HelloAsk", "name=ada", "--timeout-s", seconds])
    assert caught.value.code == 2
    assert f"{seconds!r} is no number of seconds above 0" in capsys.readouterr().err
