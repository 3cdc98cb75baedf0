"""The processes of samples/java_cluster, and what they are to print."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from zfoo_py.consumer.ring import HashRing

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "samples" / "java_cluster"
USERS = (7, 8, 7_000_000_000)
# A process starts in about a second.
LIMIT_S = 30
COMMAND = (sys.executable, "-m", "zfoo_py", "run", "samples.java_cluster.provider")


class Programs:
    """The sample's processes, with some variables; ended with the test."""

    def __init__(self):
        self.running = []

    def environment(self, more):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ZFOO_")}
        return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **more}

    def provide(self, name, port, **more):
        """Start a provider, and return when it is up."""
        process = subprocess.Popen(
            [*COMMAND, "--config", str(SAMPLE / "provider.toml"), "--id", name],
            cwd=ROOT,
            env=self.environment({**more, "ZFOO_LISTEN": f'[{{address = "127.0.0.1:{port}", codec = "zfoo-java"}}]'}),
            text=True,
            stderr=subprocess.PIPE,
        )
        self.running.append(process)
        for line in process.stderr:
            if "is up" in line:
                return process
        raise AssertionError(process.wait())

    def consume(self, **more):
        done = subprocess.run(
            [sys.executable, "-m", "samples.java_cluster.consumer"],
            cwd=ROOT,
            env=self.environment(more),
            text=True,
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.running:
            process.kill()
            process.wait()
            process.stderr.close()


def registrations(ports):
    """Return what two providers register as, by their ids, in zfoo's text form."""
    return {
        name: f"{name} | 127.0.0.1:{port} | provider:[scores-scoreService]"
        for name, port in zip(("p1", "p2"), ports, strict=True)
    }


def expected(texts):
    """Return what the consumer prints: each user's owner by Java's ring of these texts, and its counts."""
    ring = HashRing()
    for text in texts.values():
        ring.add(text)
    names = {text: name for name, text in texts.items()}
    return "".join(f"{user} {n * 10} {n} {names[ring.owner(user)]}\n" for user in USERS for n in (1, 2))
