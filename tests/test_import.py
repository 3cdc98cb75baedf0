"""What `import zfoo_py` brings along: no timing here, that is benchmarks/import_time.py."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
RUNTIME = {"loguru", "msgpack", "msgspec", "pykka", "sortedcontainers"}
# msgspec imports the first where it is installed, and works without; msgpack's extension module makes the second.
BY_OTHERS = {"typing_extensions", "cython_runtime"}
# Each costs milliseconds or megabytes, and is for what few processes do, or do once: reading TOML, errors, commands.
# fmt: off
LATER = (
    "argparse", "asyncio.__main__", "concurrent.futures.process", "ctypes", "difflib", "email", "http", "http.client",
    "importlib.metadata", "multiprocessing.pool", "pydoc", "sqlite3", "tomllib", "unittest", "urllib.request", "xml",
    "uvloop", "kazoo", "prometheus_client", "rich", "matplotlib", "numpy", "psutil", "pytest", "zmq",
    "zfoo_py.cli", "zfoo_py.testing", "zfoo_py.extras",
)
# fmt: on
PROGRAM = """
import json, sys
before = set(sys.modules)
import zfoo_py
print(json.dumps(sorted(set(sys.modules) - before)))
"""


@pytest.fixture(scope="module")
def brought() -> set[str]:
    """Return the modules that a fresh interpreter has after `import zfoo_py` and had not before."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True, cwd=ROOT)
    return set(json.loads(done.stdout))


def test_third_party_packages_are_the_runtime_dependencies(brought):
    tops = {name.partition(".")[0] for name in brought} - sys.stdlib_module_names - {"zfoo_py"}
    # With an underscore: what extension modules share, and the interpreter's own.
    assert {name for name in tops if not name.startswith("_")} - BY_OTHERS == RUNTIME


@pytest.mark.parametrize("name", LATER)
def test_what_is_heavy_or_optional_comes_when_it_is_used(brought, name):
    assert name not in brought


def test_what_an_ask_runs_is_imported_with_the_package(brought):
    """So no import statement need run inside an ask."""
    assert {f"zfoo_py.{name}" for name in ("engine", "consumer.consumer_actor", "net.session_actor")} <= brought


def test_an_import_starts_nothing():
    """No thread, no socket, no task, no event loop: an import in a library, or before a fork, is free."""
    program = """
import asyncio, gc, os, sys, threading
before = sorted(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else []
import zfoo_py, zfoo_py.engine, zfoo_py.cli.main, zfoo_py.testing
after = sorted(os.listdir("/proc/self/fd")) if before else []
loops = [one for one in gc.get_objects() if isinstance(one, (asyncio.AbstractEventLoop, asyncio.Future))]
print(threading.active_count(), len(after) - len(before), len(loops))
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split() == ["1", "0", "0"]
