"""tools/bootstrap.py, the Makefile and .ci/run: nothing is installed here, the interpreters are small scripts."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tools" / "bootstrap.py"
BENCHMARKS = ("bench", "bench-ring", "bench-growth", "bench-sessions", "bench-kinds")
LATE = ("drill-zookeeper", "ci-short")
TARGETS = ("install", "cluster", "test", "test-zookeeper", "check", *BENCHMARKS, "soak", "drill", *LATE)
PYTHON = sys.executable  # the fixture `machine` hides it


@pytest.fixture(scope="module")
def bootstrap():
    """Load the script as a module."""
    spec = importlib.util.spec_from_file_location("bootstrap", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def machine(monkeypatch, tmp_path, bootstrap):
    """Return a function that puts a program on an otherwise empty PATH."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PYENV_ROOT", raising=False)
    monkeypatch.setattr(bootstrap.sys, "executable", "")

    def put(name, text):
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return str(path)

    return put


def python(put, name, version, *, venv=1, pip=1):
    """Put a Python on the path that answers the probe so."""
    return put(name, f'echo {version.replace(".", " ")} {venv} {pip} "$0"')


def sentence(capsys, call, *args):
    """Return what the script says when it gives up."""
    with pytest.raises(SystemExit) as stopped:
        call(*args)
    assert stopped.value.code == 1
    text = capsys.readouterr().err.strip()
    assert text.count("\n") == 0
    return text


# ------------------------------------------------------------------------------------------ the text of it
def test_it_parses_on_python_3_8_and_imports_the_standard_library_only():
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 8))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names <= sys.stdlib_module_names
    assert not names & {"tomllib", "zoneinfo", "graphlib"}, "newer than 3.8"


def test_each_make_target_is_one_line_over_it():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in TARGETS:
        assert re.search(
            rf"^{target}:\n\t@\$\(PYTHON\) tools/bootstrap\.py {target} -- \$\(ARGS\)$", makefile, re.MULTILINE
        )


def test_its_targets_need_groups_that_pyproject_has(bootstrap):
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups, extras = set(pyproject["dependency-groups"]), set(pyproject["project"]["optional-dependencies"])
    groups.remove("peers")  # only who compares gets them
    assert set(bootstrap.TARGETS) == set(TARGETS)
    assert set(bootstrap.EXTRAS) == extras
    assert not groups & extras, "both are read into one table"
    assert {group for needed in bootstrap.TARGETS.values() for group in needed} == groups | extras
    assert set(bootstrap.TARGETS["install"]) == groups | extras
    assert set(bootstrap.TARGETS["check"]) == groups | extras, "mypy reads every file"


def test_who_only_watches_the_cluster_gets_no_packages_of_tests_benchmarks_and_plots(bootstrap):
    assert bootstrap.groups_of("cluster", ["--json", "--trace", "plot"]) == ("story",)


@pytest.mark.parametrize("target", ["cluster", "bench", "bench-growth", "soak"])
@pytest.mark.parametrize("args", [["--plot", "out"], ["--json", "--plot=out"]])
def test_who_draws_gets_the_group_for_plots_too(bootstrap, target, args):
    assert bootstrap.groups_of(target, args) == (*bootstrap.TARGETS[target], "plot")
    assert "plot" not in bootstrap.groups_of("test", args)


def test_the_cluster_on_zookeeper_gets_its_client(bootstrap):
    assert bootstrap.groups_of("cluster", ["--discovery", "zookeeper"]) == ("story", "zookeeper")


def test_who_compares_gets_the_peers(bootstrap):
    assert bootstrap.groups_of("bench", ["--peers", "--rounds", "1"]) == ("bench", "peers")
    assert bootstrap.groups_of("bench-ring", ["--peers"]) == ("bench",)


def test_ci_ends_with_the_tests():
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert "set -euo pipefail" in lines
    made = [line.split()[1] for line in lines if line.startswith("make ")]
    assert made == ["check", "ci-short", "test-zookeeper", "test"]
    assert "TEST_ZOOKEEPER=required" in "".join(lines), "there a missing server is a failure"
    assert all("</dev/null" in line for line in lines if line.startswith("make "))
    assert lines[-1].startswith("make test"), "so that the last line printed is pytest's"


def test_help_and_an_unknown_target():
    done = subprocess.run([sys.executable, SCRIPT, "--help"], capture_output=True, text=True, check=True)
    assert "make cluster" in done.stdout
    done = subprocess.run([sys.executable, SCRIPT, "clutser"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        f"zfoo_py: there is no target 'clutser'; there are: {', '.join(TARGETS)}\n",
    )


# -------------------------------------------------------------------------------------------- which Python
def test_a_python_that_is_new_enough_is_found_behind_one_that_is_not(bootstrap, machine):
    python(machine, "python3", "3.8")
    machine("python3.12", "exit 1")  # a pyenv shim of a version that is not active
    found = python(machine, "python3.11", "3.11")
    assert bootstrap.find_python(None) == found


def test_a_python_of_pyenv_is_found(bootstrap, machine, tmp_path):
    python(machine, "python3", "3.8")
    for version in ("3.9.18", "3.12.1"):
        folder = tmp_path / ".pyenv" / "versions" / version / "bin"
        folder.mkdir(parents=True)
        made = Path(python(machine, "made", version.rsplit(".", 1)[0]))
        made.rename(folder / "python3")
    assert bootstrap.find_python(None).endswith("3.12.1/bin/python3")


def test_without_a_new_python_one_sentence_names_the_command(bootstrap, machine, monkeypatch, capsys):
    python(machine, "python3", "3.8")
    monkeypatch.setattr(bootstrap.sys, "platform", "linux")
    monkeypatch.setattr(
        bootstrap.os, "uname", lambda: os.uname_result(("Linux", "h", "6.1.0", "v", "m")), raising=False
    )
    said = sentence(capsys, bootstrap.find_python, None)
    assert said.startswith(
        "zfoo_py: Python 3.11 or newer is needed, and the newest one found is 3.8: on Debian, Ubuntu"
    )
    assert "apt-get install -y python3 python3-venv; on macOS: brew install python@3.13" in said


def test_on_debian_the_newest_python_there_is_is_named(bootstrap, machine, monkeypatch, capsys):
    python(machine, "python3", "3.10")
    machine("apt-get", "exit 0")
    machine("apt-cache", "echo 'python3.10-venv - x'; echo 'python3.11-venv - y'; echo 'python3.9-venv - z'")
    monkeypatch.setattr(bootstrap.os, "geteuid", lambda: 1000, raising=False)
    monkeypatch.setattr(bootstrap.sys, "platform", "linux")
    monkeypatch.setattr(
        bootstrap.os, "uname", lambda: os.uname_result(("Linux", "h", "6.1.0", "v", "m")), raising=False
    )
    said = sentence(capsys, bootstrap.find_python, None)
    assert "run: sudo apt-get update && sudo apt-get install -y python3.11 python3.11-venv" in said


@pytest.mark.parametrize(
    ("platform", "release", "words"),
    [
        ("darwin", "23.0", "on macOS run: brew install python@3.13"),
        ("linux", "5.15-microsoft-standard-WSL2", "in WSL run: "),
    ],
)
def test_each_system_gets_its_own_command(bootstrap, machine, monkeypatch, capsys, platform, release, words):
    monkeypatch.setattr(bootstrap.sys, "platform", platform)
    monkeypatch.setattr(bootstrap.os, "uname", lambda: os.uname_result(("S", "h", release, "v", "m")), raising=False)
    assert words in sentence(capsys, bootstrap.find_python, None)


def test_a_python_without_venv_names_the_package(bootstrap, machine, capsys):
    python(machine, "python3", "3.13", venv=0)
    said = sentence(capsys, bootstrap.find_python, None)
    assert "has no working venv module" in said
    assert "python3.13-venv" in said


def test_uv_needs_no_venv_module_and_brings_a_python_where_there_is_none(bootstrap, machine):
    assert bootstrap.find_python("uv") == ">=3.11"
    found = python(machine, "python3", "3.13", venv=0)
    assert bootstrap.find_python("uv") == found


# ----------------------------------------------------------------------------------------- the environment
@pytest.fixture
def project(tmp_path, bootstrap, machine, monkeypatch):
    """Make a project whose .venv is made by a fake Python that writes down what it was asked."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "pyproject.toml").write_text(
        '[project.optional-dependencies]\njava = ["tree-sitter"]\nmetrics = ["prometheus-client"]\n'
        'zookeeper = ["kazoo"]\n'
        '[dependency-groups]\ntests = ["pytest"]\nlint = ["ruff", "mypy"]\nstory = ["rich"]\n'
        'bench = ["psutil"]\nplot = ["matplotlib"]\n'
    )
    log = tmp_path / "asked"
    inner = (
        f'case "$*" in *tomllib*) exec {PYTHON} "$@";; *"import sys"*) echo 3 13 1 1 "$0";;\n'
        f'*) echo "$@" >>{log}; test ! -e {tmp_path}/refuse || {{ cat {tmp_path}/refuse; exit 1; }};; esac'
    )
    (tmp_path / "inner").write_text(f"#!/bin/sh\n{inner}\n")
    (tmp_path / "inner").chmod(0o755)
    machine(
        "python3",
        'if test "$2" = venv; then /bin/mkdir -p "$3/bin"; /bin/cp ' + f'{tmp_path}/inner "$3/bin/python"; '
        'else echo 3 13 1 1 "$0"; fi',
    )
    monkeypatch.setenv("PATH", os.environ["PATH"] + ":/bin:/usr/bin")
    monkeypatch.setattr(bootstrap, "PYTHON_NAMES", ("python3",))
    monkeypatch.setattr(bootstrap, "find_uv", lambda: None)
    environment = bootstrap.Environment(root)

    def installed(target, *args):
        """Install for a target; return the packages pip was asked for."""
        bootstrap.install(environment, target, bootstrap.groups_of(target, args))
        asked = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [line.partition(f"-e {root}")[2].split() for line in asked if "pip install" in line]

    environment.installed = installed
    return environment


def test_a_target_installs_its_own_groups_once(project, capsys):
    assert project.installed("cluster") == [["rich"]]
    assert "making .venv" in capsys.readouterr().err
    assert project.installed("cluster") == []
    assert project.installed("cluster", "--plot", "out") == [["matplotlib"]]
    assert project.installed("test") == [["pytest", "tree-sitter", "prometheus-client", "kazoo"]], "rich is there"
    assert project.installed("check") == [["ruff", "mypy", "psutil"]]
    capsys.readouterr()
    for target in ("cluster", "test", "check"):
        assert project.installed(target) == []
    assert capsys.readouterr() == ("", ""), "an environment that is complete is not talked about"
    assert not (project.root / ".venv.log").exists()


def test_a_changed_pyproject_installs_again(project):
    project.installed("test")
    with (project.root / "pyproject.toml").open("a") as file:
        file.write("\n")
    assert project.installed("test") == [["pytest", "rich", "tree-sitter", "prometheus-client", "kazoo"]]
    assert project.installed("test") == []


def test_a_moved_folder_makes_its_environment_anew(project, bootstrap, capsys):
    project.installed("cluster")
    (project.path / "kept").touch()
    moved = project.root.rename(project.root.parent / "moved")
    bootstrap.install(bootstrap.Environment(moved), "cluster", ())
    assert capsys.readouterr().err.count("making .venv") == 2
    assert not (moved / ".venv" / "kept").exists()


def test_a_broken_environment_is_made_anew(project, capsys):
    project.installed("cluster")
    (project.bin / "python").unlink()
    project.installed("cluster")
    assert capsys.readouterr().err.count("making .venv") == 2


def test_without_network_one_sentence_says_so_and_the_next_run_tries_again(project, tmp_path, capsys, bootstrap):
    (tmp_path / "refuse").write_text("WARNING: Temporary failure in name resolution\nERROR: No matching distribution\n")
    with pytest.raises(SystemExit):
        project.installed("cluster")
    said = capsys.readouterr().err.splitlines()[-1]
    assert "no network" in said
    assert "python3 tools/bootstrap.py cluster" in said
    (tmp_path / "refuse").unlink()
    (tmp_path / "asked").unlink()
    assert project.installed("cluster") == [["rich"]]


def test_another_failure_shows_the_last_lines(project, tmp_path, capsys):
    (tmp_path / "refuse").write_text("error: command 'gcc' failed\n")
    with pytest.raises(SystemExit):
        project.installed("cluster")
    assert "error: command 'gcc' failed" in capsys.readouterr().err


# --------------------------------------------------------------------------------------------- the targets
def test_what_each_target_runs(bootstrap, tmp_path):
    environment = bootstrap.Environment(tmp_path)
    python_, bin_ = environment.python, environment.bin
    assert bootstrap.commands(environment, "install", []) == []
    assert bootstrap.commands(environment, "cluster", ["--json"]) == [[python_, "-m", "samples.cluster", "--json"]]
    assert bootstrap.commands(environment, "soak", ["--seconds", "3"]) == [
        [python_, "-m", "samples.soak", "--seconds", "3"]
    ]
    assert bootstrap.commands(environment, "ci-short", []) == [[python_, "-m", "tools.ci_short"]]
    in_two = [python_, "-m", "pytest", "-n", "2", "--dist", "worksteal"]
    assert bootstrap.commands(environment, "test", ["-k", "ring"]) == [[*in_two, "-k", "ring"]]
    assert bootstrap.commands(environment, "bench", []) == [[python_, str(tmp_path / "benchmarks" / "run.py")]]
    names = [Path(command[0]).name for command in bootstrap.commands(environment, "check", [])]
    assert names == ["ruff", "ruff", "mypy", "lint-imports", "python"]
    assert bootstrap.commands(environment, "check", [])[0][0] == str(bin_ / "ruff")


def test_check_runs_all_its_parts_and_fails_if_one_does(bootstrap, tmp_path, monkeypatch, capfd):
    environment = bootstrap.Environment(tmp_path)
    script = "import sys; print(sys.argv[1], flush=True); sys.exit(sys.argv[1] == 'b')"
    parts = [[sys.executable, "-c", script, name] for name in "abc"]
    monkeypatch.setattr(bootstrap, "commands", lambda *_: parts)
    monkeypatch.chdir(tmp_path)
    assert bootstrap.run(environment, "check", []) == 1
    out, err = capfd.readouterr()
    assert out.split() == ["a", "b", "c"]
    assert [line for line in err.splitlines() if "failed" in line] == [
        f"zfoo_py: failed: {Path(sys.executable).name} -c {script} b"
    ]
