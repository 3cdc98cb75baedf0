"""A real ZooKeeper on loopback for tests: Debian's, in a folder and at a port of its own.

::

    with ZooKeeperServer.start(tmp_path) as server:
        node = Node(provides=[visits], discovery={"kind": "zookeeper", "address": server.address})

`why_missing` says how to get it. Linux and other POSIX systems.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from zfoo_py.errors import ConfigError, NotReadyError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

__all__ = ["ZooKeeperServer", "ensemble", "free_ports", "why_missing"]

# Where Debian and Ubuntu keep it; its manifest names the rest.
JAR: Final = Path("/usr/share/java/zookeeper.jar")
# Where another one is: a jar, or a class path.
JAR_VARIABLE: Final = "TEST_ZOOKEEPER_JAR"
# A tick is the unit of ZooKeeper's times: sessions last 2 to 20 of them, here 1 to 10 s.
TICK_MS: Final = 500
# Java starts in about a second; ten times that on a machine that does three at once and much else.
START_S: Final = 20.0
# Small and quick to start; with a third of it, some hundred writes of 900 kB ended the server.
JAVA_OPTIONS: Final = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
MAIN: Final = "org.apache.zookeeper.server.quorum.QuorumPeerMain"


def why_missing() -> str:
    """Return what is missing for a server on this machine, and how to get it; "" if nothing is."""
    if shutil.which("java") is None or not (os.environ.get(JAR_VARIABLE) or JAR.is_file()):
        return (
            "no ZooKeeper on this machine: on Debian, Ubuntu and WSL run `sudo apt-get install -y "
            f"--no-install-recommends zookeeper`; elsewhere install Java, and put ZooKeeper's classes in {JAR_VARIABLE}"
        )
    return ""


class ZooKeeperServer:
    """One server process.

    Args:
        folder: for its data, configuration and log.
        port: where clients connect.
        peers: of an ensemble, the lines ``server.N=…``; empty: it stands alone.
        number: which of them it is.

    Attributes:
        address: "host:port" for clients.
        pid: of its process; 0: it does not run.
    """

    def __init__(self, folder: Path, port: int, peers: Sequence[str] = (), number: int = 1) -> None:
        self.folder = folder
        self.address = f"127.0.0.1:{port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._data = folder / "data"
        self._is_stopped = False
        folder.mkdir(parents=True, exist_ok=True)
        lines = [
            f"tickTime={TICK_MS}",
            f"dataDir={self._data}",
            f"clientPort={port}",
            "clientPortAddress=127.0.0.1",
            "maxClientCnxns=0",
            "admin.enableServer=false",
            "initLimit=20",
            "syncLimit=10",
            *peers,
        ]
        (folder / "zoo.cfg").write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._number = number
        self._peers = peers

    @classmethod
    def start(cls, folder: Path, port: int = 0) -> Self:
        """Run one server, and wait until it answers.

        Raises:
            ConfigError: there is no ZooKeeper on this machine.
            NotReadyError: it did not start.
        """
        server = cls(folder, port or free_ports(1)[0])
        server.run()
        server.wait()
        return server

    @property
    def pid(self) -> int:
        """Return the process's number, 0 for none."""
        return 0 if self._process is None else self._process.pid

    def run(self) -> None:
        """Start the process, and do not wait.

        Raises:
            ConfigError: there is no ZooKeeper on this machine.
        """
        if why := why_missing():
            raise ConfigError(why)
        self._data.mkdir(exist_ok=True)
        if self._peers:
            (self._data / "myid").write_text(f"{self._number}\n", encoding="utf-8")
        classes = os.environ.get(JAR_VARIABLE) or str(JAR)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [shutil.which("java") or "java", *JAVA_OPTIONS, "-cp", classes, MAIN, str(self.folder / "zoo.cfg")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in a test is for the test
            )

    def wait(self, limit_s: float = START_S) -> None:
        """Wait until it serves.

        Raises:
            NotReadyError: it does not, in time.
        """
        end_s = time.monotonic() + limit_s
        while time.monotonic() < end_s:
            if self._process is not None and self._process.poll() is not None:
                break
            if self.serves():
                return
            time.sleep(0.05)
        log = (self.folder / "log").read_text(encoding="utf-8", errors="replace")[-2000:]
        raise NotReadyError(f"ZooKeeper at {self.address} does not serve within {limit_s:g} s: {log}")

    def serves(self) -> bool:
        """Tell whether it takes requests now; of an ensemble: whether it has a leader."""
        host, _, port = self.address.rpartition(":")
        try:
            with socket.create_connection((host, int(port)), timeout=1.0) as connection:
                connection.sendall(b"srvr")
                return b"Mode:" in connection.recv(4096)
        except OSError:
            return False

    def kill(self) -> None:
        """End it as a power cut does. Idempotent."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Let it do nothing, while its connections stand (SIGSTOP)."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    def wipe(self) -> None:
        """Kill it, and remove all it knew."""
        self.kill()
        shutil.rmtree(self._data, ignore_errors=True)

    def restart(self) -> None:
        """Kill it if it runs, run it again, and wait until it serves."""
        self.kill()
        self.run()
        self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()


def ensemble(folder: Path, size: int = 3) -> list[ZooKeeperServer]:
    """Run servers that are one ZooKeeper together, and wait until each serves.

    Raises:
        ConfigError: there is no ZooKeeper on this machine.
        NotReadyError: they did not start.
    """
    ports = free_ports(3 * size)
    peers = [f"server.{n}=127.0.0.1:{ports[3 * n - 2]}:{ports[3 * n - 1]}" for n in range(1, size + 1)]
    servers = [ZooKeeperServer(folder / str(n), ports[3 * n - 3], peers, n) for n in range(1, size + 1)]
    try:
        for server in servers:
            server.run()
        for server in servers:
            server.wait()
    except BaseException:
        for server in servers:
            server.kill()
        raise
    return servers


def free_ports(count: int) -> list[int]:
    """Return ports on loopback that are free now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports
