"""A person who has never heard of zfoo_py: an empty HOME, a bare environment, a folder; and no network if wanted."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

__all__ = ["LIMIT_S", "FailedError", "SkippedError", "Stranger", "check", "last_json", "network_refused", "plain"]

LIMIT_S: Final = 300.0  # of all steps together; whatever runs then is ended
# What a machine needs to reach its packages, and nothing else that the person has set.
KEPT: Final = re.compile(
    r"PATH|LANG|LC_ALL|TMPDIR|(HTTPS?|ALL|NO)_PROXY|(PIP|REQUESTS|CURL|SSL)_(CERT|CA_BUNDLE|CERT_FILE|CERT_DIR)"
    r"|PIP_(INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|TRUSTED_HOST)|UV_(DEFAULT_INDEX|INDEX|FIND_LINKS|NATIVE_TLS)",
    re.IGNORECASE,
)
# Where no network namespace can be had: neither pip nor uv gets anywhere with these.
REFUSED: Final = {
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9"),
    "PIP_NO_INDEX": "1",
    "UV_OFFLINE": "1",
}
# In a new network namespace even loopback is down. Raises its flags (SIOCSIFFLAGS), then becomes the command.
LOOPBACK_UP: Final = """
import fcntl, os, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH22x", b"lo", 0x41))
os.execvp(sys.argv[1], sys.argv[1:])
"""
ONLY_LOOPBACK: Final = """
import socket
assert [name for _, name in socket.if_nameindex()] == ["lo"], socket.if_nameindex()
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname(), 5).close()
"""
INSTALLED: Final = """
import importlib.metadata as metadata, json
print(json.dumps({dist.name: dist.requires or [] for dist in metadata.distributions()}))
"""
INSTALLERS: Final = ("pip", "setuptools", "wheel")


class FailedError(Exception):
    """A step failed; the text is what to show."""


class SkippedError(Exception):
    """A step has nothing to do here; the text says why."""


def check(holds: object, text: str) -> None:
    """Fail the step with this text unless something holds."""
    if not holds:
        raise FailedError(text)


def plain(requirement: str) -> str:
    """Return the name of a distribution or requirement, in the one spelling that can be compared."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s\[;<>=!~(]", requirement, maxsplit=1)[0]).lower()


def last_json(text: str) -> dict[str, Any]:
    """Return the object in the last line of a program's output."""
    try:
        found = json.loads(text.strip().splitlines()[-1])
    except (ValueError, IndexError) as error:
        raise FailedError(f"the last line is no JSON object:\n{text}") from error
    check(isinstance(found, dict), f"the last line is no JSON object:\n{text}")
    return dict(found)


class Stranger:
    """A person with an empty HOME, in a folder of their own, until a deadline."""

    def __init__(self, folder: Path, environ: Mapping[str, str], limit_s: float = LIMIT_S) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        self.clone = folder / "zfoo_py"
        self.env = {name: value for name, value in environ.items() if KEPT.fullmatch(name)} | {"HOME": str(self.home)}
        self.uv = shutil.which("uv", path=self.env.get("PATH"))
        self.deadline_s = time.monotonic() + limit_s

    def run(
        self,
        *command: str | Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        codes: Sequence[int] = (0,),
    ) -> str:
        """Run a command, in a process group of its own without input, and return its stdout.

        Raises:
            FailedError: it ended with another code than `codes` have, or the time for all steps is over.
        """
        words = [str(word) for word in command]
        shown = " ".join(word if "\n" not in word else "..." for word in words)
        ending = f"was still running when the {LIMIT_S:.0f} s of all steps were over"
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
            try:
                process = subprocess.Popen(
                    words,
                    cwd=cwd or self.folder,
                    env={**self.env, **(env or {})},
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=errors,
                    start_new_session=True,
                )
            except OSError as error:
                raise FailedError(f"$ {shown}\n{error}") from error
            try:
                ending = f"ended with {process.wait(max(self.deadline_s - time.monotonic(), 0.1))}"
            except subprocess.TimeoutExpired:
                pass  # the ending says so
            finally:  # also after Ctrl-C
                if process.returncode is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            out.seek(0)
            errors.seek(0)
            printed = out.read().decode(errors="replace")
            if process.returncode not in codes:
                said = errors.read().decode(errors="replace")
                raise FailedError(f"$ {shown}\n{printed}{said}\n... {ending}")
        return printed

    def fresh_folder(self, name: str) -> Path:
        """Make an empty folder and return it."""
        (self.folder / name).mkdir()
        return self.folder / name

    def venv_with(self, name: str, python: str, wheel: Path) -> Path:
        """Make an environment with nothing but this wheel and what it asks for; return its folder of programs."""
        path = self.folder / name
        if self.uv:
            self.run(self.uv, "venv", "--python", python, path)
        else:
            self.run(python, "-m", "venv", path)
        self.install(path / "bin" / "python", wheel)
        return path / "bin"

    def install(self, python: Path, what: str | Path) -> None:
        """Install a distribution into the environment of this Python."""
        if self.uv:
            self.run(self.uv, "pip", "install", "--python", python, what)
        else:
            self.run(python, "-m", "pip", "install", "--disable-pip-version-check", what)

    def packages(self, python: Path) -> dict[str, list[str]]:
        """Return name → requirements of what an environment has, without its installers."""
        found = last_json(self.run(python, "-I", "-c", INSTALLED))
        return {plain(name): wants for name, wants in found.items() if plain(name) not in INSTALLERS}

    def pyproject(self) -> dict[str, Any]:
        """Return the clone's pyproject.toml."""
        return tomllib.loads((self.clone / "pyproject.toml").read_text(encoding="utf-8"))


def network_refused(stranger: Stranger) -> tuple[list[str], dict[str, str], str]:
    """Return what goes before a command and into its environment so that it has no network, and what that is."""
    for options in (["-rn"], ["-n"]):
        prefix = ["unshare", *options, sys.executable, "-c", LOOPBACK_UP]
        try:
            stranger.run(*prefix, sys.executable, "-c", ONLY_LOOPBACK)
        except FailedError:
            continue
        return prefix, {}, f"unshare {' '.join(options)}: a network namespace with nothing but loopback"
    return [], dict(REFUSED), "unshare does not work here: proxies at a closed port, PIP_NO_INDEX, UV_OFFLINE"
