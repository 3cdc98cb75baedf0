"""The link to ZooKeeper through kazoo, in its only file.

Kazoo's threads only hand over what they saw, a state, a watch or an answer, to the node's loop.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import math
import socket
import threading
from typing import TYPE_CHECKING, Any, Final

from kazoo import exceptions as kazoo_errors
from kazoo.client import KazooClient
from kazoo.handlers.threading import SequentialThreadingHandler
from kazoo.protocol.states import EventType, KazooState
from kazoo.security import make_digest_acl

from zfoo_py.consumer.zookeeper_link import GoneError, LinkError, RefusedError, Stat, TakenError
from zfoo_py.fork_io import close_descriptors, socket_id
from zfoo_py.log import InterceptHandler

if TYPE_CHECKING:
    from collections.abc import Callable

    from zfoo_py.discovery_config import DiscoveryConfig

__all__ = ["KazooLink"]

# A server that was restarted is found within this, and one that is away is asked so rarely that it is no burden.
RECONNECT_MIN_S: Final = 0.1
RECONNECT_MAX_S: Final = 1.0
# So many handshakes with a server that takes connections and says nothing (it is being killed, or its way here is cut)
# fit into a session's time-out, and none is longer than a call: when such a server speaks again, who waits for an old
# handshake comes back that much later, and a provider must be back within rejoin_grace_s.
HANDSHAKES: Final = 3
# Kazoo ends in milliseconds, unless a server says nothing: then its sockets are shut, and it gets as long again.
STOP_S: Final = 2.0
# kazoo's errors, and what they mean here; anything else of kazoo's is a LinkError.
ERRORS: Final = (
    (kazoo_errors.NoNodeError, GoneError),
    (kazoo_errors.NodeExistsError, TakenError),
    (kazoo_errors.BadVersionError, TakenError),
    (kazoo_errors.NoAuthError, RefusedError),
)
STATES: Final = {KazooState.CONNECTED: "connected", KazooState.SUSPENDED: "suspended", KazooState.LOST: "lost"}
EVENTS: Final = {
    EventType.CREATED: "created",
    EventType.DELETED: "deleted",
    EventType.CHANGED: "changed",
    EventType.CHILD: "child",
}


class _Handler(SequentialThreadingHandler):  # type: ignore[misc]  # kazoo is untyped
    """Kazoo's threads and sockets, such that no connect waits longer than our calls, and a fork can close them."""

    def __init__(self, call_timeout_s: float) -> None:
        super().__init__()
        self._call_timeout_s = call_timeout_s
        self.sockets: list[socket.socket] = []

    def create_connection(self, *args: Any, timeout: float = 0.0, **kwargs: Any) -> Any:
        """Connect; kazoo's own limit is the session time-out."""
        made = super().create_connection(*args, timeout=min(timeout, self._call_timeout_s), **kwargs)
        self.sockets = [one for one in self.sockets if one.fileno() >= 0] + [made]
        return made

    def create_socket_pair(self) -> Any:
        """Make the pair that wakes kazoo's thread."""
        pair = super().create_socket_pair()
        self.sockets += pair
        return pair

    def hang_up(self) -> None:
        """Wake a thread that waits for a server which says nothing."""
        for one in self.sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def descriptors(self) -> dict[int, int]:
        """Return what is open now."""
        return {one.fileno(): socket_id(one.fileno()) for one in self.sockets if one.fileno() >= 0}


class KazooLink:
    """A `zfoo_py.consumer.zookeeper_link.Link`.

    Args:
        config: the table ``[discovery]``.
        post: runs a function on the loop, from any thread; nothing on a loop that is closed.
    """

    def __init__(self, config: DiscoveryConfig, post: Callable[..., None]) -> None:
        self._config = config
        self._post = post
        self._acl = [make_digest_acl(config.user, config.password, all=True)] if config.user else None
        self._client: Any = None
        self._handler = _Handler(config.call_timeout_s)

    def start(self, on_state: Callable[[str], None], on_watch: Callable[[str, str], None]) -> None:
        """Begin to connect."""
        config = self._config
        self._loop = asyncio.get_running_loop()
        self._on_state = on_state
        self._on_watch = on_watch
        log = logging.getLogger("zfoo_py.kazoo")  # what matters of it, discovery says in its own words
        log.propagate = False
        if not log.handlers:
            log.addHandler(_Quiet())
        self._client = KazooClient(
            hosts=_hosts(config),
            timeout=config.session_timeout_s,
            handler=self._handler,
            connection_retry={"max_tries": -1, "delay": RECONNECT_MIN_S, "backoff": 2, "max_delay": RECONNECT_MAX_S},
            auth_data=[("digest", f"{config.user}:{config.password}")] if config.user else None,
            logger=log,
        )
        self._client.add_listener(self._state_seen)
        self._client.start_async()

    # --- kazoo's threads

    def _state_seen(self, state: str) -> None:
        if state == KazooState.SUSPENDED:
            # A server that has lost its data refuses who has seen more than it has, for ever. All is read anew after a
            # reconnection, so it may know less.
            self._client.last_zxid = 0
        self._post(self._on_state, STATES[state])

    def _watch_seen(self, event: Any) -> None:
        if event.type in EVENTS:
            self._post(self._on_watch, EVENTS[event.type], event.path)

    # --- calls

    async def _call(self, start: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        future: asyncio.Future[Any] = self._loop.create_future()
        try:
            start(*args, **kwargs).rawlink(lambda done: self._post(_settle, future, done))
            async with asyncio.timeout(self._config.call_timeout_s):
                return await future
        except TimeoutError as error:
            raise LinkError(f"no answer within {self._config.call_timeout_s:g} s") from error
        except kazoo_errors.KazooException as error:
            text = str(error) or type(error).__name__
            raise next((ours for its, ours in ERRORS if isinstance(error, its)), LinkError)(text) from error

    def session(self) -> int:
        """Return the id of the session, 0 for none."""
        found = self._client.client_id
        return 0 if found is None else int(found[0])

    async def catch_up(self) -> None:
        """Let the server we are at be no older than the one before it."""
        await self._call(self._client.sync_async, "/")

    async def children(self, path: str) -> list[str]:
        """Return the names below a node, and watch them."""
        found: list[str] = await self._call(self._client.get_children_async, path, watch=self._watch_seen)
        return found

    async def read(self, path: str) -> bytes:
        """Return a node's data, and watch it."""
        found: bytes
        found, _ = await self._call(self._client.get_async, path, watch=self._watch_seen)
        return found

    async def stat(self, path: str) -> Stat | None:
        """Return how a node stands, None if it does not, and watch that."""
        found = await self._call(self._client.exists_async, path, watch=self._watch_seen)
        return None if found is None else Stat(found.version, found.ephemeralOwner)

    async def is_closed(self, path: str) -> bool:
        """Tell whether exactly our user may use a node."""
        acl, _ = await self._call(self._client.get_acls_async, path)
        return list(acl) == self._acl

    async def ensure(self, path: str) -> None:
        """Create a node and its parents where they are missing, open to all."""
        await self._call(self._client.ensure_path_async, path)

    async def create(self, path: str, data: bytes, *, ephemeral: bool, closed: bool) -> None:
        """Create a node."""
        acl = self._acl if closed else None
        await self._call(self._client.create_async, path, data, acl=acl, ephemeral=ephemeral)

    async def replace(self, path: str, version: int, data: bytes, *, closed: bool) -> None:
        """Delete this version of a node and create it as ours, in one step."""
        change = self._client.transaction()
        change.delete(path, version)
        change.create(path, data, acl=self._acl if closed else None, ephemeral=True)
        outcomes = await self._call(change.commit_async)
        if any(isinstance(outcome, kazoo_errors.NoAuthError) for outcome in outcomes):
            raise RefusedError(path)
        if any(isinstance(outcome, Exception) for outcome in outcomes):
            raise TakenError(path)

    async def write(self, path: str, data: bytes) -> None:
        """Set a node's data."""
        await self._call(self._client.set_async, path, data)

    async def delete(self, path: str, version: int) -> None:
        """Delete this version of a node."""
        await self._call(self._client.delete_async, path, version)

    # --- the end

    async def stop(self) -> str:
        """End the session, within four seconds whatever ZooKeeper does; return what went wrong, or ""."""
        done: asyncio.Future[str] = self._loop.create_future()

        def close() -> None:
            fault = ""
            try:
                self._client.stop()
                self._client.close()
            except Exception as error:  # noqa: BLE001 - a library's goodbye; the session ends by itself
                fault = f"kazoo did not stop well: {error!r}"
            self._post(_end, done, fault)

        thread = threading.Thread(target=close, name="zfoo_py ZooKeeper stop", daemon=True)
        thread.start()
        for _ in range(2):
            if (await asyncio.wait({done}, timeout=STOP_S))[0]:
                thread.join()  # it has nothing more to do
                return done.result()
            self._handler.hang_up()
        return f"kazoo did not stop within {2 * STOP_S:g} s: its threads are abandoned"

    def after_fork(self) -> None:
        """Close a forked child's copies of kazoo's sockets: the session is its parent's."""
        atexit.unregister(self._handler.stop)
        close_descriptors(self._handler.descriptors())


class _Quiet(logging.Handler):
    """Hands kazoo's lines to loguru at level DEBUG: what matters of them, this file says in its own words."""

    def __init__(self) -> None:
        super().__init__()
        self._to_loguru = InterceptHandler()

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on. Any thread."""
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        self._to_loguru.emit(record)


def _end(future: asyncio.Future[str], fault: str) -> None:
    if not future.done():
        future.set_result(fault)


def _hosts(config: DiscoveryConfig) -> list[str]:
    """Return the addresses: often enough, since kazoo waits session time-out / their number for a handshake."""
    addresses = [address.strip() for address in config.address.split(",")]
    handshakes = max(HANDSHAKES, math.ceil(config.session_timeout_s / config.call_timeout_s))
    return addresses * math.ceil(handshakes / len(addresses))


def _settle(future: asyncio.Future[Any], done: Any) -> None:
    if future.done():
        return
    if done.exception is not None:
        future.set_exception(done.exception)
    else:
        future.set_result(done.value)
