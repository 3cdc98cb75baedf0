"""The pytest plugin of zfoo_py: a cluster in one process as a fixture, and a check that a test leaves nothing behind.

It stands beside the package, as Hypothesis's plugin does: inside, it would import all of zfoo_py whenever pytest
starts in an environment that has it. So whatever it needs is imported when a test asks for it.

Fixtures: ``zfoo_cluster`` is `zfoo_py.testing.cluster` with the test's module as the place where it looks for
receivers and with ``fake_clock`` as its clock. ``async def`` tests that ask for one of the two are run here, on an
event loop of asyncio's own, unless another plugin (pytest-asyncio, anyio) claims them.

ini option ``zfoo_leak_check``: "fixtures" (default) checks the tests that use a fixture of this plugin, "all" checks
every test, "off" none.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from zfoo_py.testing import FakeClock

LEAK_CHECK = "zfoo_leak_check"
LEAK_CHECKS = ("fixtures", "all", "off")
FIXTURES = {"zfoo_cluster", "fake_clock"}
# Marks of plugins that run coroutines themselves.
CLAIMS = ("asyncio", "anyio", "trio")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the ini option."""
    parser.addini(
        LEAK_CHECK, "which tests must leave nothing behind: fixtures (that use zfoo_py's), all, off", default="fixtures"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Check the ini option."""
    value = config.getini(LEAK_CHECK)
    if value not in LEAK_CHECKS:
        msg = f"{LEAK_CHECK} = {value}: must be one of {', '.join(LEAK_CHECKS)}"
        raise pytest.UsageError(msg)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let every test ask for the leak check first, if that is wished."""
    if config.getini(LEAK_CHECK) == "all":
        for item in items:
            names: list[str] | None = getattr(item, "fixturenames", None)
            if names is not None and "_zfoo_leak_check" not in names:
                names.insert(0, "_zfoo_leak_check")


@pytest.hookimpl
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an ``async def`` test that asks for our fixtures, if nobody has claimed it before."""
    is_coroutine = inspect.iscoroutinefunction(pyfuncitem.obj)
    if not is_coroutine or _is_claimed(pyfuncitem) or not FIXTURES.intersection(pyfuncitem.fixturenames):
        return None
    import asyncio  # noqa: PLC0415 - 40 ms at each start of pytest otherwise

    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names if name in pyfuncitem.funcargs}
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(pyfuncitem.obj(**arguments))
    return True


def _is_claimed(item: pytest.Item) -> bool:
    """Tell whether another plugin runs this coroutine, on a loop of its own: by a class or a mark of its own."""
    return type(item) is not pytest.Function or any(item.get_closest_marker(name) for name in CLAIMS)


@pytest.fixture(name="_zfoo_leak_check")
def _leak_check(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a node, actor, thread, task, loop or socket behind.

    Of a coroutine that another plugin runs, tasks and sockets are not looked at: its loop has some of its own.
    """
    if request.config.getini(LEAK_CHECK) == "off":
        yield
        return
    from zfoo_py.testing.ledger import watching  # noqa: PLC0415

    is_foreign = inspect.iscoroutinefunction(getattr(request.node, "obj", None)) and _is_claimed(request.node)
    with watching(loops=not is_foreign) as watch:
        yield
    report = watch.report()
    if report:
        pytest.fail(report, pytrace=False)


@pytest.fixture
def fake_clock(_zfoo_leak_check: None) -> FakeClock:
    """A clock that a test moves, by ``fake_clock.advance(5.0)``; ``zfoo_cluster`` runs by it."""
    from zfoo_py.testing import FakeClock  # noqa: PLC0415

    return FakeClock()


@pytest.fixture
def zfoo_cluster(request: pytest.FixtureRequest, fake_clock: FakeClock) -> Callable[..., Any]:
    """Give `zfoo_py.testing.cluster`, which looks for receivers in the test's module and runs by ``fake_clock``."""
    from zfoo_py.testing import cluster  # noqa: PLC0415

    return functools.partial(cluster, clock=fake_clock, here=request.module)
