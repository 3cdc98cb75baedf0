"""The rules of the house, checked on the source text: nothing of zfoo_py is imported here.

Each rule is a function from a tree to a list of faults. It is applied to the real tree, and tried on a small
broken one, so that a rule which can no longer fail is noticed. The layers are checked by import-linter
(pyproject.toml).
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE_DIRS = ("zfoo_py", "samples", "tests", "tools", "benchmarks")
LONGEST_FILE_LINES = 500

# Files, and packages (with a slash), that are neither pure nor named for what they are not: they wire the others.
WIRING = (
    "zfoo_py/actor/",
    "zfoo_py/node.py",
    "zfoo_py/program.py",
    "zfoo_py/engine.py",
    "zfoo_py/doors.py",
    "zfoo_py/signals.py",
    "zfoo_py/slow_turns.py",
    "zfoo_py/supervisor.py",
    "zfoo_py/admin.py",
    "zfoo_py/loop_thread.py",
    "zfoo_py/cli/",
    "zfoo_py/config.py",
    "zfoo_py/testing/",
    "zfoo_py/log.py",
    "zfoo_py/router/router.py",
    "zfoo_py/router/dispatcher.py",
    "zfoo_py/router/drivers.py",
    "zfoo_py/router/hooks.py",
    "zfoo_py/router/replies.py",
    "zfoo_py/consumer/consumer.py",
    "zfoo_py/consumer/discoveries.py",
    "zfoo_py/consumer/zookeeper.py",
)
# I/O, clocks, threads, randomness, and the libraries that bring them.
# fmt: off
IMPURE = frozenset((
    "asyncio", "threading", "_thread", "concurrent", "multiprocessing", "subprocess", "signal", "select",
    "selectors", "socket", "ssl", "time", "random", "secrets", "logging", "pykka", "kazoo", "loguru",
    "uvloop",
))
# fmt: on
# Wiring that pure files may import all the same. (And what `zfoo_py.actor` exports: messages carry actor refs and
# futures, and say with its base class that they overtake. Its files by themselves are impure.)
NAMEABLE = {"zfoo_py/config.py": "its checks of names and addresses are functions of their arguments"}
# (file, module) → why this pure file may import it.
PURITY_EXCEPTIONS = {
    ("zfoo_py/protocol/msgpack_codec.py", "threading"): "one Packer per thread; threading.local holds them",
}
# Package → the only file of zfoo_py that may import it, or the only package of ours (with a slash).
ONLY_IMPORTER = {
    "pykka": "zfoo_py/actor/",
    "msgpack": "zfoo_py/protocol/msgpack_codec.py",
    "sortedcontainers": "zfoo_py/consumer/ring.py",
    "prometheus_client": "zfoo_py/metrics.py",
    "kazoo": "zfoo_py/consumer/zookeeper_io.py",
}
# What judges the cluster sample, and so must know nothing of zfoo_py.
REFEREE = ("samples/check_cluster.py", "samples/journal.py", "samples/trace.py")
# The names `zfoo_py` promises. Whoever adds or removes one changes the promise, and this file with it.
PUBLIC_NAMES = ROOT / "tests" / "data" / "public_names.txt"

# Somebody's machine, or a package registry. (As a pattern it does not match itself.)
FOREIGN_TEXT = re.compile(
    r"(?<![\w./~-])/(?:work|root)/\w|(?<![\w./])/home/[a-z_][\w-]*/|(?<![\w./])/Users/\w+/|\b[A-Z]:\\Users\\"
    r"|\bpypi\.(?:org|python\.org)|\bpythonhosted\.|\bregistry\.npm|\bconda\.anaconda\."
)


# ------------------------------------------------------------------------------------------------ reading
def files(root: Path, *dirs: str) -> dict[str, Path]:
    """Return the Python files below the given folders, by their path from the root."""
    found = (path for name in dirs for path in sorted((root / name).rglob("*.py")))
    return {path.relative_to(root).as_posix(): path for path in found if "data" not in path.parts}


def is_type_checking(node: ast.stmt) -> bool:
    """Tell whether this is `if TYPE_CHECKING:`."""
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def imports(tree: ast.Module, *, typing_too: bool = False) -> Iterator[str]:
    """Yield the full names that a file imports, at any depth; those for type checkers only if asked."""
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.stmt) and is_type_checking(node) and not typing_too:
            assert isinstance(node, ast.If)
            todo += node.orelse
        else:
            todo += ast.iter_child_nodes(node)


def is_pure(name: str) -> bool:
    """Tell whether a file of zfoo_py belongs to the pure kind."""
    stem = name.rsplit("/", 1)[-1].removesuffix(".py")
    return not (name.startswith(WIRING) or stem.endswith(("_actor", "_io")) or stem.startswith("__"))


def parse(path: Path) -> ast.Module:
    """Parse one file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def assigned(tree: ast.Module, name: str) -> ast.expr | None:
    """Return what a module assigns to a name at its top level."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return node.value  # type: ignore[attr-defined]
    return None


def top_level_names(tree: ast.Module) -> set[str]:
    """Return the names a module binds at its top level, `if` and `try` included."""
    names: set[str] = set()
    todo: list[ast.stmt] = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.If | ast.Try):
            todo += [*node.body, *node.orelse]
            todo += [line for handler in getattr(node, "handlers", ()) for line in handler.body]
        else:
            names |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return names


# ------------------------------------------------------------------------------------------------- rules
def impure_imports(root: Path) -> list[str]:
    """A pure file imports nothing that touches the world, neither a library nor an impure file of ours."""
    faults = []
    for name, path in files(root, "zfoo_py").items():
        if not is_pure(name):
            continue
        for target in imports(parse(path)):
            if target.split(".")[0] in IMPURE and (name, target.split(".")[0]) not in PURITY_EXCEPTIONS:
                faults.append(f"{name} is pure and imports {target}")
            ours = {"/".join(target.split(".")[:end]) + ".py" for end in (2, 3)} - NAMEABLE.keys()
            if any((root / file).is_file() and not is_pure(file) for file in ours):
                faults.append(f"{name} is pure and imports the impure {target}")
    return faults


def stale_exceptions(root: Path) -> list[str]:
    """An exception from purity goes when its file no longer needs it."""
    return [
        f"{name} no longer imports {module}: drop the exception"
        for name, module in PURITY_EXCEPTIONS
        if (root / name).is_file() and module not in {t.split(".")[0] for t in imports(parse(root / name))}
    ]


def second_importers(root: Path) -> list[str]:
    """Some packages are imported in exactly one place, also for typing."""
    return [
        f"{name} imports {target}; only {ONLY_IMPORTER[package]} may"
        for name, path in files(root, "zfoo_py").items()
        for target in imports(parse(path), typing_too=True)
        if (package := target.split(".")[0]) in ONLY_IMPORTER and not name.startswith(ONLY_IMPORTER[package])
    ]


def untested_files(root: Path) -> list[str]:
    """Each source file has a test file of its name, in the same place of the tree."""
    faults = []
    for name in files(root, "zfoo_py"):
        folder, _, stem = name.removeprefix("zfoo_py").rpartition("/")
        if not stem.startswith("__") and not (root / f"tests{folder}/test_{stem}").is_file():
            faults.append(f"{name} has no tests{folder}/test_{stem}")
    return faults


def long_files(root: Path) -> list[str]:
    """A file has at most 500 lines."""
    counts = {name: len(path.read_bytes().splitlines()) for name, path in files(root, *SOURCE_DIRS).items()}
    return [
        f"{name} has {count} lines; split it by responsibility"
        for name, count in counts.items()
        if count > LONGEST_FILE_LINES
    ]


def logic_in_init(root: Path) -> list[str]:
    """An `__init__` holds a docstring, imports, `__all__` and `__version__`, nothing else."""
    faults = []
    for name, path in files(root, "zfoo_py", "samples").items():
        if not name.endswith("__init__.py"):
            continue
        for node in parse(path).body:
            text = ast.unparse(node)
            docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            if not (docstring or isinstance(node, ast.Import | ast.ImportFrom) or re.match("__(all|version)__ ", text)):
                faults.append(f"{name}:{node.lineno} is no place for: {text.splitlines()[0]}")
    return faults


def bad_exports(root: Path) -> list[str]:
    """Each `__all__` lists names that exist, once; that of an `__init__` has all it imports."""
    faults = []
    for name, path in files(root, "zfoo_py").items():
        tree = parse(path)
        value = assigned(tree, "__all__")
        if value is None:
            continue
        listed = ast.literal_eval(value)
        known = top_level_names(tree)
        faults += [f"{name}: __all__ names {word}, which it does not have" for word in set(listed) - known]
        if len(set(listed)) != len(listed):
            faults.append(f"{name}: __all__ names something twice")
        if name.endswith("__init__.py"):
            hidden = {word for word in known if not word.startswith("_")} - {"annotations", *listed}
            faults += [f"{name}: {word} is imported and not in __all__" for word in sorted(hidden)]
    return faults


def changed_promises(root: Path, pinned: Path) -> list[str]:
    """The public names are those of the pinned list."""
    init = root / "zfoo_py" / "__init__.py"
    value = assigned(parse(init), "__all__") if init.is_file() else None
    if value is None:
        return []
    now = set(ast.literal_eval(value))
    then = set(pinned.read_text(encoding="utf-8").split()) if pinned.is_file() else set()
    where = pinned.name
    return [f"zfoo_py.{word} is new: add it to {where}" for word in sorted(now - then)] + [
        f"zfoo_py.{word} is gone: take it out of {where}, and say so in CHANGELOG.md" for word in sorted(then - now)
    ]


def tracked(root: Path) -> list[Path]:
    """Return the files git knows or would add; without git, all of them."""
    command = ["git", "-C", str(root), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        done = subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return [path for path in root.rglob("*") if path.is_file() and ".venv" not in path.parts]
    return [path for word in done.stdout.decode().split("\0") if word and (path := root / word).is_file()]


def foreign_text(root: Path) -> list[str]:
    """No file names a folder of somebody's machine, or a package registry's host."""
    faults = []
    for path in tracked(root):
        lines = path.read_bytes().decode("utf-8", "replace").splitlines()
        for number, line in enumerate(lines, start=1):
            if hit := FOREIGN_TEXT.search(line):
                faults.append(f"{path.relative_to(root)}:{number} holds {hit.group()!r}")
    return faults


def outward_imports(root: Path) -> list[str]:
    """The package imports neither its samples nor its tests; the samples' referee imports nothing of the package."""
    faults = []
    for name, path in files(root, "zfoo_py", "samples").items():
        heads = {target.split(".")[0] for target in imports(parse(path), typing_too=True)}
        if name.startswith("zfoo_py/"):
            faults += [f"{name} imports {head}" for head in heads & {"samples", "tests", "benchmarks", "tools"}]
        elif name in REFEREE:
            faults += [f"{name} imports {head}" for head in heads & {"zfoo_py", "tests"}]
    return faults


RULES = (
    impure_imports,
    stale_exceptions,
    second_importers,
    untested_files,
    long_files,
    logic_in_init,
    bad_exports,
    foreign_text,
    outward_imports,
)


# ------------------------------------------------------------------------------------------ the real tree
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_tree_keeps_the_rule(rule):
    faults = rule(ROOT)
    assert not faults, f"{rule.__doc__}\n  " + "\n  ".join(faults)


def test_the_public_names_are_the_pinned_ones():
    faults = changed_promises(ROOT, PUBLIC_NAMES)
    assert not faults, "\n  ".join(faults)


def test_the_version_is_the_same_in_both_places():
    init = ROOT / "zfoo_py" / "__init__.py"
    value = assigned(parse(init), "__version__") if init.is_file() else None
    if isinstance(value, ast.Constant):
        assert f'version = "{value.value}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()


# ----------------------------------------------------------------------------------- the rules themselves
def tree(root: Path, texts: dict[str, str]) -> Path:
    """Write a small tree of files."""
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


BROKEN = [
    (impure_imports, {"zfoo_py/net/pending.py": "import asyncio"}, "imports asyncio"),
    (impure_imports, {"zfoo_py/net/pending.py": "def f():\n    from time import monotonic"}, "imports time.monotonic"),
    (impure_imports, {"zfoo_py/a.py": "if X:\n    pass\nelse:\n    import os.path, socket"}, "imports socket"),
    (impure_imports, {"zfoo_py/a.py": "from concurrent.futures import Future"}, "imports concurrent.futures.Future"),
    (
        impure_imports,
        {"zfoo_py/a.py": "if TYPE_CHECKING:\n    import time\nelse:\n    import random"},
        "imports random",
    ),
    (
        impure_imports,
        {"zfoo_py/a.py": "from zfoo_py.net.tcp_io import Link", "zfoo_py/net/tcp_io.py": ""},
        "imports the impure zfoo_py.net.tcp_io.Link",
    ),
    (impure_imports, {"zfoo_py/a.py": "from zfoo_py import node", "zfoo_py/node.py": ""}, "impure zfoo_py.node"),
    (impure_imports, {"zfoo_py/router/lanes.py": "import loguru"}, "imports loguru"),
    (
        impure_imports,
        {"zfoo_py/a.py": "from zfoo_py.actor.ref import R", "zfoo_py/actor/ref.py": ""},
        "imports the impure zfoo_py.actor.ref.R",
    ),
    (stale_exceptions, {"zfoo_py/protocol/msgpack_codec.py": "import msgpack"}, "drop the exception"),
    (second_importers, {"zfoo_py/node.py": "import pykka"}, "only zfoo_py/actor/ may"),
    (second_importers, {"zfoo_py/a.py": "if TYPE_CHECKING:\n    from msgpack import Packer"}, "imports msgpack.Packer"),
    (second_importers, {"zfoo_py/consumer/x.py": "import sortedcontainers"}, "only zfoo_py/consumer/ring.py may"),
    (untested_files, {"zfoo_py/net/pending.py": "", "tests/test_pending.py": ""}, "no tests/net/test_pending.py"),
    (long_files, {"zfoo_py/a.py": "\n" * 501}, "501 lines"),
    (long_files, {"tests/test_a.py": "x\n" * 501}, "501 lines"),
    (logic_in_init, {"zfoo_py/net/__init__.py": "import os\nx = os.getpid()"}, "__init__.py:2 is no place for: x ="),
    (logic_in_init, {"samples/__init__.py": "def f(): pass"}, "no place for: def f()"),
    (bad_exports, {"zfoo_py/a.py": "__all__ = ['gone']"}, "names gone, which it does not have"),
    (bad_exports, {"zfoo_py/a.py": "__all__ = ['x', 'x']\nx = 1"}, "names something twice"),
    (bad_exports, {"zfoo_py/__init__.py": "from a import b, c\n__all__ = ['b']"}, "c is imported and not in __all__"),
    (foreign_text, {"README.md": "see " + "/ro" + "ot/x"}, "README.md:1 holds"),
    (foreign_text, {"a.toml": "\nindex = https://py" + "pi.org/simple"}, "a.toml:2 holds"),
    (foreign_text, {"a.txt": "/ho" + "me/ada/x"}, "a.txt:1 holds"),
    (outward_imports, {"zfoo_py/a.py": "import samples.trace"}, "imports samples"),
    (outward_imports, {"samples/check_cluster.py": "from zfoo_py.consumer import ring"}, "imports zfoo_py"),
]


@pytest.mark.parametrize(("rule", "texts", "fault"), BROKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_a_rule_finds_its_fault(rule, texts, fault, tmp_path):
    (found,) = rule(tree(tmp_path, texts))
    assert fault in found


SOUND = {
    "README.md": "make cluster; /usr/bin/env; http://example.org/work/x and ../work/main",
    "zfoo_py/__init__.py": '"""Doc."""\nfrom zfoo_py.a import b\n__all__ = ["b"]\n__version__ = "1"',
    "zfoo_py/a.py": "if TYPE_CHECKING:\n    import asyncio\n    from zfoo_py.node import Node\nb = 1\n__all__ = ['b']",
    "zfoo_py/b.py": "from zfoo_py.actor import Control",
    "zfoo_py/actor/ref.py": "import pykka, asyncio",
    "zfoo_py/net/tcp_io.py": "import socket",
    "zfoo_py/consumer/ring.py": "from sortedcontainers import SortedDict",
    "zfoo_py/node.py": "import asyncio",
    "zfoo_py/protocol/msgpack_codec.py": "import msgpack, threading",
    **{
        f"tests/{name}": ""
        for name in ("test_a.py", "test_b.py", "actor/test_ref.py", "test_node.py", "net/test_tcp_io.py")
    },
    **{f"tests/{name}": "" for name in ("consumer/test_ring.py", "protocol/test_msgpack_codec.py")},
    "tests/test_long.py": "\n" * 500,
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_rule_finds_nothing_in_a_sound_tree(rule, tmp_path):
    assert rule(tree(tmp_path, SOUND)) == []


def test_each_rule_has_a_tree_that_breaks_it():
    assert {rule for rule, _, _ in BROKEN} == set(RULES)


def test_a_changed_promise_is_found(tmp_path):
    tree(tmp_path, SOUND | {"names.txt": "a\n"})
    assert changed_promises(tmp_path, tmp_path / "names.txt") == [
        "zfoo_py.b is new: add it to names.txt",
        "zfoo_py.a is gone: take it out of names.txt, and say so in CHANGELOG.md",
    ]
    (tmp_path / "names.txt").write_text("b\n")
    assert changed_promises(tmp_path, tmp_path / "names.txt") == []
