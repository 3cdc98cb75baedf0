"""What the cluster sample replays: web requests, from an access log or made up.

A request makes three asks (`asks_of`): one of `visits` and one of `sessions`, both keyed by the client's
address, and one of `pages`, keyed by the path. The referee, samples/check_cluster.py, derives the same asks
from the same trace, so what is asked does not depend on what the cluster says about it.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

__all__ = ["AccessLog", "Request", "asks_of", "synthetic"]


class Request(NamedTuple):
    """One web request."""

    client: str  # the client's address, as written in the log
    path: str  # without the query string
    bytes_sent: int  # 0 where the log has "-"


class AskRecord(NamedTuple):
    """One ask that a request makes."""

    module: str
    key: str
    bytes_sent: int


def asks_of(request: Request) -> tuple[AskRecord, AskRecord, AskRecord]:
    """Return the asks of a request, in the order in which they are to be asked."""
    client, path, bytes_sent = request
    return (
        AskRecord("visits", client, bytes_sent),
        AskRecord("sessions", client, bytes_sent),
        AskRecord("pages", path, bytes_sent),
    )


# ------------------------------------------------------------------------------------------- access logs
# Common and combined log format up to the size: client, two names, [time], "request", status, size.
# Inside the quotes a server writes \" for a quote. A user name may hold spaces.
LINE = re.compile(r'(\S+) .*?\[[^][]*\] "((?:[^"\\]|\\.)*)" \d{3} (\d+|-)(?: |$)')
ORIGIN = re.compile(r"https?://[^/]*", re.IGNORECASE)
GZIP_MAGIC = b"\x1f\x8b"


def parse_line(line: str) -> Request | None:
    """Return the request of one log line, or None for a line of another shape (a scan, a TLS hello, garbage)."""
    found = LINE.match(line)
    if found is None:
        return None
    client, request, size = found.groups()
    words = request.split(" ")
    # "GET /path HTTP/1.1", and HTTP/0.9's "GET /path"; a target with a raw space has more words.
    if len(words) > 2 and words[-1].startswith("HTTP/"):
        del words[-1]
    if len(words) < 2 or not words[0].isalpha():
        return None
    path = ORIGIN.sub("", " ".join(words[1:]), count=1).partition("?")[0]
    return Request(client, path or "/", 0 if size == "-" else int(size))


class AccessLog:
    r"""The requests of a combined access log, plain or gzip (told by its first bytes, not by its name).

    Bytes that are no UTF-8 come as `\xNN`, so that different paths stay different and every key can be sent.

    Attributes:
        skipped: how many lines of the last reading were no request.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.skipped = 0

    def __iter__(self) -> Iterator[Request]:
        """Read the file from its beginning, a line at a time.

        Raises:
            OSError: it cannot be read.
            ValueError: it is a damaged gzip file.
        """
        self.skipped = 0
        with self.path.open("rb") as raw:
            packed = raw.read(2) == GZIP_MAGIC
            raw.seek(0)
            lines = gzip.GzipFile(fileobj=raw) if packed else raw
            try:
                for line in lines:
                    request = parse_line(line.decode("utf-8", "backslashreplace").rstrip("\r\n"))
                    if request is not None:
                        yield request
                    elif line.strip():
                        self.skipped += 1
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise ValueError(f"{self.path} is a damaged gzip file: {error}") from error


# ------------------------------------------------------------------------------------------- a made-up one
# Shares of requests with a client or a path never seen before: about those of a small site's log (17 % of
# 10,000 requests there are a client's first). So new keys come for ever, and most of them never come again.
NEW_CLIENT_SHARE = 0.1
NEW_PATH_SHARE = 0.05
# A site that has been there for a while: so many clients and paths are known when the trace begins.
FIRST_CLIENTS = 1_000
FIRST_PATHS = 200
MEAN_BYTES = 12_000


def client_name(number: int) -> str:
    """Return the address of the number-th client, from 1; different for the first 4 billion."""
    return ".".join(str((number >> shift) + first & 255) for shift, first in ((24, 10), (16, 0), (8, 0), (0, 0)))


def synthetic(seed: int) -> Iterator[Request]:
    """Yield requests without end, the same ones for the same seed; needs no memory that grows.

    Known clients and paths return by Zipf's law (the k-th known has a share of about 1/k), new ones keep coming.
    """
    random = Random(seed).random
    clients, paths = FIRST_CLIENTS, FIRST_PATHS
    while True:
        # x ** u with u uniform in [0, 1) is 1/k-distributed over 1..x.
        client = int(clients ** random())
        if random() < NEW_CLIENT_SHARE:
            clients += 1
            client = clients
        path = int(paths ** random())
        if random() < NEW_PATH_SHARE:
            paths += 1
            path = paths
        yield Request(client_name(client), f"/pages/{path}", int(MEAN_BYTES * 2 * random()))
