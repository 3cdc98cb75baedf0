"""The sample's services count per key and type; run as a program, a provider ends with whoever started it."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from samples import services
from samples.services import MODULES, Counts, PageAsk, SessionAsk, VisitAsk
from zfoo_py.testing import cluster


def test_each_type_counts_for_itself_where_the_key_lives():
    async def ask_all():
        modules = list(MODULES.values())
        async with cluster(provides=modules, receivers=lambda name: [Counts(name)], providers=3) as running:
            ask = running.consumer.async_ask
            return [
                [await ask(VisitAsk("10.0.0.7", 5)) for _ in range(3)],
                [await ask(SessionAsk("10.0.0.7", size)) for size in (5, 7)],
                [await ask(PageAsk("10.0.0.7"))],
                [await ask(VisitAsk("10.0.0.8", 5))],
            ]

    visits, sessions, pages, other = asyncio.run(ask_all())
    assert [answer.count for answer in visits] == [1, 2, 3]
    assert [(answer.count, answer.bytes_sent) for answer in sessions] == [(1, 5), (2, 12)]
    assert [answer.count for answer in pages + other] == [1, 1]
    served_by = {answer.served_by for answer in visits + sessions + pages}
    assert len(served_by) == 1, "one key, the same providers in each ring"
    assert served_by <= {"provider-1", "provider-2", "provider-3"}


def test_modules_lists_each_service_type_by_name():
    assert {name: module.id for name, module in MODULES.items()} == {"visits": 10, "sessions": 11, "pages": 12}


@pytest.mark.parametrize("wrong", [[], ["--id", "a", "--provides", "nonsense", "--discovery", "127.0.0.1:1"]])
def test_a_wrong_command_line_ends_at_once(wrong, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["samples.services", *wrong])
    with pytest.raises(SystemExit) as ended:
        services.main()
    assert ended.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_a_provider_stops_in_order_when_its_stdin_closes():
    """Nobody signals it, and no discovery answers: the end of the process that started it is enough."""
    words = ["--id", "visits-1", "--provides", "visits", "--discovery", "127.0.0.1:9", "--stop-with-stdin"]
    done = subprocess.run(
        [sys.executable, "-m", "samples.services", *words],
        input=b"",
        capture_output=True,
        check=False,
        timeout=50,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
