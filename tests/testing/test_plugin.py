"""The pytest plugin, in a pytest of its own each time: the fixtures, the coroutine tests, the leak check."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
# A test that waits longer has found a hang.
LIMIT_S = 50
COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped|warnings?)")

HELLO = """\
from collections import Counter

from zfoo_py import Ask, Packet, ProtocolModule, Session, packet_receiver

greetings = ProtocolModule(30, "greetings")


@greetings.packet(3001)
class HelloAnswer(Packet):
    text: str
    count: int
    provider: str


@greetings.packet(3000, balance_by="name")
class HelloAsk(Ask[HelloAnswer]):
    name: str


class Greeter:
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    @packet_receiver
    async def at_hello_ask(self, session: Session, ask: HelloAsk) -> HelloAnswer:
        self.counts[ask.name] += 1
        return HelloAnswer(f"hello {ask.name}", self.counts[ask.name], session.node.id)
"""
TEST_HELLO = """\
from hello import HelloAsk, greetings


async def test_a_name_is_counted_by_one_provider(zfoo_cluster):
    async with zfoo_cluster(greetings, providers=3) as c:
        first = await c.ask(HelloAsk("ada"))
        second = await c.ask(HelloAsk("ada"))
        assert (second.provider, second.count) == (first.provider, 2)
        c.kill(first.provider)
        await c.settle()
        third = await c.ask(HelloAsk("ada"))
        assert third.provider != first.provider
        assert third.count == 1
"""


class Run:
    """Runs pytest in a folder, with the plugin as an installed zfoo_py would bring it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("hello.py", HELLO)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def __call__(self, *words: str, plugin: bool = True) -> tuple[dict[str, int], str]:
        """Return outcome → count, and the output. Other plugins are off unless loaded by name."""
        load = ["-p", "_zfoo_pytest"] if plugin else []
        command = [sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", "--rootdir", ".", *load]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        env.pop("PYTEST_ADDOPTS", None)
        done = subprocess.run(
            [*command, *words], cwd=self.folder, env=env, capture_output=True, text=True, check=False, timeout=LIMIT_S
        )
        last = (done.stdout.strip().splitlines() or [""])[-1]
        counts = {word.removesuffix("s"): int(number) for number, word in COUNT.findall(last)}
        return counts, done.stdout + done.stderr


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


def test_what_zfoo_py_new_writes_passes(run):
    """An async test and nothing else: no asyncio plugin, no mark, no conftest; warnings are errors."""
    run.write("test_hello.py", TEST_HELLO)
    counts, text = run()
    assert counts == {"passed": 1}, text


def test_the_tests_in_the_docs_pass(run):
    """docs/testing.md shows tests of the hello.py above."""
    page = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    blocks = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "async def test_" in block]
    run.write("test_hello.py", "\n\n".join(blocks))
    counts, text = run()
    assert counts == {"passed": 3}, text


@pytest.mark.parametrize("other", ["pytest_asyncio", "anyio"])
@pytest.mark.parametrize("marked", [False, True])
def test_other_plugins_for_coroutines_are_not_in_the_way(run, other, marked):
    """Whoever claims a test runs it; in pytest-asyncio's strict mode an unmarked test is ours."""
    if importlib.util.find_spec(other) is None:
        pytest.skip(f"{other} is not installed")
    mark = {"pytest_asyncio": "asyncio", "anyio": "anyio"}[other]
    marked_test = TEST_HELLO.replace("async def", f"@pytest.mark.{mark}\nasync def")
    run.write("test_hello.py", f"import pytest\n{marked_test}" if marked else TEST_HELLO)
    options = ["-o", "asyncio_default_fixture_loop_scope=function"] if other == "pytest_asyncio" else []
    counts, text = run(
        "-p", {"pytest_asyncio": "pytest_asyncio.plugin", "anyio": "anyio.pytest_plugin"}[other], *options
    )
    assert counts == {"passed": 1}, text


def test_in_auto_mode_pytest_asyncio_runs_the_test(run):
    pytest.importorskip("pytest_asyncio")
    run.write("test_hello.py", TEST_HELLO)
    options = ["-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"]
    counts, text = run("-p", "pytest_asyncio.plugin", *options)
    assert counts == {"passed": 1}, text


def test_each_test_has_a_cluster_and_a_clock_of_its_own(run):
    """In any order, and in several processes: nothing is kept from one test to the next."""
    run.write("test_hello.py", TEST_HELLO + TEST_HELLO.replace("test_a_name", "test_again_a_name"))
    names = [
        "test_hello.py::test_again_a_name_is_counted_by_one_provider",
        "test_hello.py::test_a_name_is_counted_by_one_provider",
    ]
    counts, text = run(*names)
    assert counts == {"passed": 2}, text
    if importlib.util.find_spec("xdist") is not None:
        counts, text = run("-p", "xdist.plugin", "-n", "2")
        assert counts == {"passed": 2}, text


def test_plain_tests_run_the_cluster_themselves(run):
    """The fixture is a function; it works in whatever runs coroutines. A method of a class is a test like any other."""
    run.write(
        "test_hello.py",
        "import asyncio\nfrom hello import HelloAsk, greetings\n\n\n"
        "def test_plain(zfoo_cluster):\n"
        "    async def main():\n"
        "        async with zfoo_cluster(greetings) as c:\n"
        "            assert (await c.ask(HelloAsk('ada'))).count == 1\n\n"
        "    asyncio.run(main())\n\n\n"
        "class TestIt:\n"
        "    async def test_method(self, zfoo_cluster, fake_clock):\n"
        "        async with zfoo_cluster(greetings) as c:\n"
        "            assert c.clock is fake_clock\n"
        "            assert (await c.ask(HelloAsk('ada'))).count == 1\n",
    )
    counts, text = run()
    assert counts == {"passed": 2}, text


def test_receivers_in_the_tests_own_file_are_found(run):
    run.write(
        "test_hello.py",
        HELLO.replace("(30", "(31").replace("300", "301") + TEST_HELLO.split("\n", 1)[1].replace("greetings, ", ""),
    )
    counts, text = run()
    assert counts == {"passed": 1}, text


def test_coroutines_that_do_not_ask_for_our_fixtures_are_not_ours(run):
    """They fail or are skipped as pytest has it, and do not pass unseen."""
    run.write("test_it.py", "async def test_it():\n    assert False\n")
    counts, text = run()
    assert "passed" not in counts, text


LEAK = """\
import threading

end = threading.Event()


def test_leak({}):
    threading.Thread(target=end.wait, daemon=True).start()
"""


@pytest.mark.parametrize(
    ("fixture", "value", "is_seen"),
    [("fake_clock", None, True), ("", None, False), ("", "all", True), ("fake_clock", "off", False)],
)
def test_the_leak_check_is_for_those_who_ask_or_for_all(run, fixture, value, is_seen):
    run.write("test_leak.py", LEAK.format(fixture))
    if value:
        run.write("pytest.ini", f"[pytest]\nzfoo_leak_check = {value}\n")
    counts, text = run()
    assert counts == {"passed": 1, **({"error": 1} if is_seen else {})}, text
    assert ("the test left behind:\n  thread: Thread-" in text) is is_seen
    assert ("what to do:\n  thread: let it end and join() it" in text) is is_seen


def test_a_wrong_value_of_the_option_says_what_is_right(run):
    run.write("pytest.ini", "[pytest]\nzfoo_leak_check = some\n")
    _, text = run()
    assert "zfoo_leak_check = some: must be one of fixtures, all, off" in text


def test_without_the_plugin_nothing_breaks(run):
    """``-p no:zfoo`` turns it off: other tests run, and one that asks for a fixture says that it is not there."""
    run.write("test_other.py", "def test_other():\n    pass\n")
    assert run(plugin=False)[0] == {"passed": 1}
    run.write("test_hello.py", TEST_HELLO)
    counts, text = run(plugin=False)
    assert counts["passed"] == 1
    assert "fixture 'zfoo_cluster' not found" in text or "async def functions are not natively supported" in text


def test_starting_pytest_with_the_plugin_imports_nothing_of_zfoo_py(run):
    """So it costs projects that do not use it nothing, and `import zfoo_py` does not import pytest."""
    run.write(
        "test_imports.py",
        "import subprocess, sys\n\ndef test_imports():\n"
        "    assert '_zfoo_pytest' in sys.modules\n"
        "    assert not [name for name in sys.modules if name.startswith(('zfoo_py', 'pykka', 'msgspec'))]\n"
        "    look = 'import sys, zfoo_py.testing; raise SystemExit(\"pytest\" in sys.modules)'\n"
        "    assert subprocess.run([sys.executable, '-c', look]).returncode == 0\n",
    )
    counts, text = run()
    assert counts == {"passed": 1}, text
