"""The admin socket: a running node answers questions about itself on a Unix socket, to its own user only.

It speaks the node's own protocol: sessions, frames and the default codec, with the packets of `zfoo_py.protocol.common`
that begin with Admin. A client here reaches no receiver of the application. Its asks in work, its connections and what
it leaves unread are bounded, so a slow one waits and nobody else does.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from loguru import logger

from zfoo_py.actor import ActorDeadError
from zfoo_py.errors import ConfigError, InboxFullError, ZfooError
from zfoo_py.fork_io import socket_id
from zfoo_py.net.messages import Reply
from zfoo_py.net.tcp_io import TcpConnection
from zfoo_py.protocol.attachment import SignalAttachment
from zfoo_py.protocol.common import AdminAnswer, Error, ErrorCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from zfoo_py.actor import LoopActorRef, Runtime
    from zfoo_py.net.seams import SessionEnv
    from zfoo_py.net.session import Session
    from zfoo_py.protocol.msgpack_codec import MsgpackCodec
    from zfoo_py.protocol.packet import Binding, Packet

    Handler = Callable[[Any], Awaitable[Any]]

__all__ = ["AdminSocket"]

# A person, a `stats --watch` and a collector of metrics; and one more.
MAX_CONNECTIONS: Final = 4
# Each takes the figures of the node once, some ten microseconds.
MAX_IN_WORK: Final = 4
# Linux takes 107 bytes, macOS 103; asyncio's own message for a longer one names neither the limit nor the way out.
MAX_PATH_BYTES: Final = 103


class AdminSocket:
    """A listening Unix socket and the questions of those who connect; implements `zfoo_py.net.seams.Listening`.

    On the loop's thread.

    Args:
        path: where; mode 0600 from the first moment.
        runtime, codec, env: of the node.
        spawn: makes the session actor of a connection.
        handlers: packet class → what answers it, with something that `json` can write.
    """

    def __init__(
        self,
        path: str,
        runtime: Runtime,
        codec: MsgpackCodec,
        env: SessionEnv,
        spawn: Callable[[SessionEnv, TcpConnection], LoopActorRef[Any]],
        handlers: Mapping[type[Packet], Handler],
    ) -> None:
        self.address = path
        self.sockets: dict[int, int] = {}
        self._runtime = runtime
        self._codec = codec
        self._spawn = spawn
        self._handlers = dict(handlers)
        self._limits = msgspec.structs.replace(env.limits, max_in_work_per_session=MAX_IN_WORK)
        self._env = msgspec.structs.replace(env, receive=self._receive, limits=self._limits)
        self._sessions: list[LoopActorRef[Any]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._inode = 0

    async def open(self) -> None:
        """Listen; a socket that a dead node left behind is taken over.

        Raises:
            ConfigError: the path cannot be used, or somebody answers there.
        """
        sock, self._inode = _bind(self.address)
        try:
            self._server = await asyncio.get_running_loop().create_unix_server(self._make, sock=sock)
            self.sockets = {sock.fileno(): socket_id(sock.fileno())}
        except BaseException:
            sock.close()
            _remove(self.address, self._inode)
            raise

    async def close(self) -> None:
        """Accept no more connections and take the socket's file away; idempotent. Sessions end with the node's."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        self.sockets = {}
        _remove(self.address, self._inode)

    async def stop(self) -> None:
        """Cancel the answers that are still being made; after `close`."""
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _make(self) -> TcpConnection:
        return TcpConnection(
            self._runtime, self._limits.max_client_frame_bytes, self._limits.outbox_limit_bytes, self._accepted
        )

    def _accepted(self, connection: TcpConnection) -> LoopActorRef[Any] | None:
        connection.peer = "admin"
        self._sessions = [ref for ref in self._sessions if ref.is_alive()]
        if len(self._sessions) >= MAX_CONNECTIONS:
            self._env.warn("admin", f"refused a connection to {self.address}: {MAX_CONNECTIONS} are open")
            return None
        ref = self._spawn(self._env, connection)
        self._sessions.append(ref)
        return ref

    # --- questions

    def _receive(self, session: Session, binding: Binding, packet: Packet, attachment: Any) -> bool:
        """Take a packet, in the turn of its session; True if it is in work now."""
        del binding
        if not isinstance(attachment, SignalAttachment):
            return False  # nobody waits for an answer
        handler = self._handlers.get(type(packet))
        if handler is None:
            text = f"the admin socket does not answer {type(packet).__name__}"
            self._tell(session, Reply(attachment.signal_id, self._error(text), finishes=False))
            return False
        work = self._answer(session, attachment.signal_id, handler, packet)
        task = self._runtime.loop.create_task(work, name=f"zfoo_py {type(packet).__name__}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _answer(self, session: Session, signal_id: int, handler: Handler, packet: Packet) -> None:
        try:
            head = self._codec.encode(AdminAnswer(json.dumps(await handler(packet))))
        except (ZfooError, TypeError) as error:
            head = self._error(str(error))
        except Exception as error:  # noqa: BLE001 - whoever asks is to hear of it, whatever it is
            logger.opt(exception=error).error("the answer to {} could not be made", type(packet).__name__)
            head = self._error(f"{type(error).__name__}: {error}")
        self._tell(session, Reply(signal_id, head, finishes=True))

    def _error(self, text: str) -> bytes:
        return self._codec.encode(Error(ErrorCode.RECEIVER_RAISED, text.encode("utf-8", "backslashreplace").decode()))

    def _tell(self, session: Session, reply: Reply) -> None:
        with suppress(ActorDeadError, InboxFullError):  # the asker has gone
            session.ref.tell(reply)


def _remove(path: str, inode: int) -> None:
    """Take our socket's file away, unless another node has the place now."""
    with suppress(OSError):
        if Path(path).stat().st_ino == inode:
            Path(path).unlink()


def _bind(path: str) -> tuple[socket.socket, int]:
    """Return a socket that is bound to a path with mode 0600, and the file's inode."""
    where = "node.admin_path"
    if not hasattr(socket, "AF_UNIX"):
        raise ConfigError("this system has no Unix sockets: remove it", path=where)
    size = len(os.fsencode(path))
    if size > MAX_PATH_BYTES:
        raise ConfigError(f"{path!r} has {size} bytes, and a socket's path at most {MAX_PATH_BYTES}", path=where)
    _clear(path, where)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        # A chmod after bind would leave a moment in which others may connect. The mask is the process's: a file that
        # another thread creates within these microseconds is private, too.
        before = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(before)
    except OSError as error:
        sock.close()
        raise ConfigError(
            f"cannot listen at {path} ({error.strerror or error}): choose another place", path=where
        ) from error
    return sock, Path(path).stat().st_ino


def _clear(path: str, where: str) -> None:
    """Take away what a dead node left at a path; refuse what is no socket, or answers."""
    try:
        mode = Path(path).lstat().st_mode
    except OSError:  # nothing is there; what else is wrong, bind says
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"there is something at {path} that is no socket: choose another place", path=where)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        found = probe.connect_ex(path)
    if found not in (errno.ECONNREFUSED, errno.ENOENT):
        raise ConfigError(f"somebody answers at {path}: each node needs an admin_path of its own", path=where)
    Path(path).unlink(missing_ok=True)
