"""tools/ci_short.py: its judgements, on small made-up clones and wheels; nothing is installed or downloaded."""

import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from tools import bootstrap, ci_short
from tools.stranger import FailedError, SkippedError, Stranger

PYPROJECT = """
[project.optional-dependencies]
metrics = ["prometheus-client"]
[dependency-groups]
tests = ["pytest>=8"]
story = ["rich"]
"""
BOOTSTRAP = """
import os, subprocess, sys
{before}
os.execv(sys.executable, [sys.executable, "-c", "print('{{\\"verdict\\": \\"{verdict}\\", \\"asks\\": 9}}')"])
"""


@pytest.fixture
def stranger(tmp_path):
    """Return a person whose clone holds a bootstrap.py of ours, and whose python3 is this one."""
    (tmp_path / "zfoo_py" / "tools").mkdir(parents=True)
    (tmp_path / "zfoo_py" / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "zfoo_py" / "README.md").write_text("# zfoo_py\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(sys.executable)
    return Stranger(tmp_path, {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"})


def bootstrap_that(stranger, before="", verdict="right"):
    """Write the clone's bootstrap.py."""
    text = BOOTSTRAP.format(before=before, verdict=verdict)
    (stranger.clone / "tools" / "bootstrap.py").write_text(text)


# --------------------------------------------------------------------------------------------- the cluster
def test_a_right_verdict_passes_and_another_does_not(stranger):
    bootstrap_that(stranger)
    assert ci_short.cluster(stranger) == "verdict right, 9 asks"
    bootstrap_that(stranger, verdict="wrong")
    with pytest.raises(FailedError, match="verdict is not right"):
        ci_short.cluster(stranger)


@pytest.mark.parametrize(("found", "wrong"), [({"rich": []}, False), ({"rich": [], "pytest": []}, True)])
def test_the_first_run_installs_nothing_of_other_groups(stranger, monkeypatch, found, wrong):
    bootstrap_that(stranger)
    monkeypatch.setattr(Stranger, "packages", lambda self, python: found)
    if wrong:
        with pytest.raises(FailedError, match=r"does not need: \['pytest'\]"):
            ci_short.first_run(stranger)
    else:
        assert "1 packages" in ci_short.first_run(stranger)


def test_the_second_run_starts_no_program_but_the_cluster(stranger, monkeypatch):
    monkeypatch.setattr(ci_short, "network_refused", lambda stranger: ([], {}, "not at all"))
    bootstrap_that(stranger)
    said = ci_short.without_network(stranger)
    assert "no installer started, the cluster began after 0." in said
    assert said.endswith("(not at all)")


def test_the_second_run_is_caught_when_it_starts_an_installer(stranger, monkeypatch):
    monkeypatch.setattr(ci_short, "network_refused", lambda stranger: ([], {}, "not at all"))
    bootstrap_that(stranger, before="subprocess.call([sys.executable, '-c', 'pip'])")
    with pytest.raises(FailedError, match=r"although nothing had changed: .* -c pip'"):
        ci_short.without_network(stranger)


# ----------------------------------------------------------------------------------------------- the wheel
METADATA = (
    "Metadata-Version: 2.4\nName: zfoo_py\nProvides-Extra: metrics\n"
    "Description-Content-Type: text/markdown\n\n# zfoo_py\n"
)


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        ({}, None),
        ({"zfoo_py/py.typed": None}, "py.typed is not in the wheel"),
        ({"samples/cluster.py": ""}, r"more than the package: \['samples/cluster.py'\]"),
        ({"zfoo_py-1.dist-info/METADATA": METADATA + "x"}, "not README"),
        ({"zfoo_py-1.dist-info/METADATA": METADATA.replace("markdown", "plain")}, "not marked as Markdown"),
        ({"zfoo_py-1.dist-info/METADATA": METADATA.replace("metrics", "kazoo")}, r"extras: \['kazoo'\]"),
    ],
)
def test_what_is_in_the_wheel_is_judged(stranger, monkeypatch, files, fault):
    whole = {"zfoo_py/__init__.py": "", "zfoo_py/py.typed": "", "zfoo_py-1.dist-info/METADATA": METADATA} | files

    def build(*_):
        with zipfile.ZipFile(stranger.folder / "dist" / "zfoo_py-1-py3-none-any.whl", "w") as archive:
            for name, text in whole.items():
                if text is not None:
                    archive.writestr(name, text)

    monkeypatch.setattr(stranger, "run", build)
    if fault is None:
        assert ci_short.wheel(stranger) == "zfoo_py-1-py3-none-any.whl, 0 KiB, extras metrics"
    else:
        with pytest.raises(FailedError, match=fault):
            ci_short.wheel(stranger)


@pytest.fixture
def installed(stranger, monkeypatch):
    """Return a person for whom each environment is there already, and what it has."""
    found = {"zfoo-py": ["msgspec>=0.20", "kazoo>=2; extra == 'zookeeper'"], "msgspec": []}
    monkeypatch.setattr(Stranger, "packages", lambda self, python: found)
    monkeypatch.setattr(ci_short, "wheel_of", lambda stranger: stranger.folder / "a.whl")
    monkeypatch.setattr(Stranger, "venv_with", lambda self, name, python, wheel: self.folder / name / "bin")
    said = {"--help": "usage: zfoo-py", "--version": "Python 3.12.1\n"}
    where = f"{stranger.folder}/new/lib/zfoo_py/__init__.py"
    monkeypatch.setattr(Stranger, "run", lambda self, *command, cwd=None: said.get(command[-1], where))
    return found


def test_an_installed_wheel_brings_its_runtime_dependencies(stranger, installed):
    assert ci_short.try_wheel(stranger, "new", "python3") == "Python 3.12.1: msgspec, zfoo-py"


@pytest.mark.parametrize("name", ["pytest", "kazoo"])
def test_an_installed_wheel_that_brings_more_is_caught(stranger, installed, name):
    installed[name] = []
    with pytest.raises(FailedError, match=name):
        ci_short.try_wheel(stranger, "new", "python3")


def test_an_installed_wheel_that_was_shadowed_by_the_clone_is_caught(stranger, installed):
    with pytest.raises(FailedError, match="zfoo_py came from"):
        ci_short.try_wheel(stranger, "other", "python3")


def test_the_newest_python_is_a_newer_stable_one_or_none(stranger, monkeypatch):
    tried = []

    def machine_with(*versions):
        pythons = {
            f"p{minor}": bootstrap.Python(f"p{minor}", (3, minor), makes_venv=True, has_pip=True) for minor in versions
        }
        monkeypatch.setattr(bootstrap, "candidates", lambda: list(pythons))
        monkeypatch.setattr(bootstrap, "probe", pythons.get)

    monkeypatch.setattr(ci_short, "try_wheel", lambda stranger, name, python: tried.append(python) or "Python: x")
    monkeypatch.setattr(ci_short.sys, "version_info", (3, 11, 7))
    machine_with(11, 12, bootstrap.NEWEST[1], bootstrap.NEWEST[1] + 1)
    assert "without quick start" in ci_short.newest_python(stranger)
    assert tried == [f"p{bootstrap.NEWEST[1]}"]
    machine_with(9, 11)
    with pytest.raises(SkippedError, match=r"no newer Python than 3\.11"):
        ci_short.newest_python(stranger)


# --------------------------------------------------------------------------------------- the steps together
def test_each_step_prints_a_line_and_the_first_that_fails_ends_it(stranger, capsys):
    def first_run(stranger):
        return "done"

    def soak(stranger):
        raise SkippedError("there is none")

    def wheel(stranger):
        raise FailedError("$ pip\nno space left")

    def clean(stranger):
        raise AssertionError

    assert ci_short.run_steps(stranger, [first_run, soak]) == 0
    assert ci_short.run_steps(stranger, [first_run, soak, wheel, clean]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["first run           0.0 s  ok: done", "soak                0.0 s  skipped: there is none"]
    assert lines[4:] == ["wheel               0.0 s  FAILED: what it saw:", "$ pip", "no space left"]


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_what_is_not_committed_is_said(tmp_path):
    with pytest.raises(FailedError, match="is no git clone"):
        ci_short.not_committed(tmp_path)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    assert ci_short.not_committed(tmp_path) == []
    (tmp_path / "new.py").touch()
    assert ci_short.not_committed(tmp_path) == ["?? new.py"]


def test_the_steps_go_from_the_clone_to_what_it_left():
    names = [step.__name__ for step in ci_short.STEPS]
    assert (names[0], names[-1]) == ("clone", "clean")
    assert names.index("wheel") < names.index("install") < names.index("quick_start")
    assert {"first_run", "without_network", "missing_extras", "newest_python", "soak", "drill"} < set(names)
