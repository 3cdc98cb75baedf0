"""Discovery on ZooKeeper: the same nodes as zfoo's.

One task does everything, again and again, until what stands in ZooKeeper and what this node wants are the same. So
nothing is done twice at a time, and a call that failed, or whose answer was lost, is made good by the next round.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Final

from zfoo_py.consumer.messages import MSGPACK, Announced, DiscoverySilent, Target
from zfoo_py.consumer.zookeeper_link import GoneError, LinkError, RefusedError, TakenError
from zfoo_py.consumer.zookeeper_nodes import (
    ByName,
    Complaints,
    Paths,
    consumer_data,
    provider_data,
    read_provider,
)
from zfoo_py.errors import ConfigError, NotReadyError
from zfoo_py.fork_io import watch as watch_forks
from zfoo_py.listen_config import CODECS
from zfoo_py.protocol.registration import Registration, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from zfoo_py.consumer.zookeeper_link import Link
    from zfoo_py.discovery_config import DiscoveryConfig

__all__ = ["ZooKeeperDiscovery", "read_zookeeper"]

# zfoo's, after what a person must mend; what passes by itself, such as a quicker neighbour, is looked at sooner.
RETRY_S: Final = 5.0
SOON_S: Final = 0.2
LINK_RETRY_S: Final = 1.0
# A ZooKeeper that runs answers within milliseconds: one that has not by then is worth a line.
AWAY_S: Final = 2.0
# Goodbye takes some milliseconds; a ZooKeeper that is slower than this drops our nodes when the session ends.
LEAVE_S: Final = 2.0
# People look at a consumer's list: twice a second is enough, while hundreds of providers join.
CONSUMER_WRITE_S: Final = 0.5
# So many answers are awaited together.
READS_AT_ONCE: Final = 256
# A node that is there, then not, then there again while it is created: another process fights for it.
CREATE_TRIES: Final = 5


class _Fault(Exception):  # noqa: N818 - no error of a caller's
    """Something is wrong in ZooKeeper that a person must mend."""


class _Mine:
    """A node of our own: what it is to say, and in which session it was ours last."""

    __slots__ = ("data", "held_in", "is_wanted", "path")

    def __init__(self, path: str, data: bytes) -> None:
        self.path = path
        self.data = data
        self.is_wanted = True
        self.held_in = 0


class ZooKeeperDiscovery:
    """Announces and learns registrations through ZooKeeper. Everything runs on the node's loop.

    Args:
        config: the table ``[discovery]``.
        registration: of this node; a consumer's node is named after it.
        link: the client.
        warn: writes one log line.
        reads_only: nothing is written there, and nothing need be there yet.
        codecs: what this node speaks; who speaks none of them is not announced.
    """

    def __init__(
        self,
        config: DiscoveryConfig,
        registration: Registration,
        *,
        link: Link,
        warn: Callable[[str], None],
        reads_only: bool = False,
        codecs: Collection[str] = CODECS,
    ) -> None:
        self._config = config
        self._paths = Paths(config.root)
        self._closes_all = config.acl == "all"
        self._link = link
        self._warn = warn
        self._reads_only = reads_only
        self._codecs = codecs
        self._announce: Callable[[Announced | DiscoverySilent], None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()  # everything wanted stands, as far as known
        self._retry: asyncio.TimerHandle | None = None
        self._is_connected = False
        self._is_missed = False  # its coming is worth a line
        self._is_stopped = False
        self._fault = ""
        self._complaints = Complaints()
        # What the next round must do; a reconnection asks for all of it.
        self._has_folders = False
        self._is_snapshot_due = True
        self._folders_to_read = set(self._paths.providers)
        self._known = ByName(self._paths.providers)
        self._announced: dict[Target, int] = {}
        self._mine: dict[str, _Mine] = {}
        self._consumer = _Mine(f"{self._paths.consumers}/{registration.consumer_text(uuid.uuid4().hex)}", b"[]")
        self._linked: set[Target] = set()

    # --- what a node says

    async def start(self, announce: Callable[[Announced | DiscoverySilent], None], *, watch: bool) -> None:
        """Begin to connect.

        Raises:
            NotReadyError: ZooKeeper is required, and is not there within ``call_timeout_s``, or refuses us.
        """
        self._loop = asyncio.get_running_loop()
        if watch:
            self._announce = announce
        if watch and not self._reads_only:
            self._mine[self._consumer.path] = self._consumer
        watch_forks(self)
        self._link.start(self._state_changed, self._watched)
        self._task = self._loop.create_task(self._work(), name="zfoo_py ZooKeeper")
        self._no_answer = self._loop.call_later(AWAY_S, self._say_that_it_is_away)
        if not self._config.required:
            return
        try:
            async with asyncio.timeout(self._config.call_timeout_s):
                await self._settled.wait()
        except TimeoutError as error:
            why = self.trouble()
            await self.stop()
            raise NotReadyError(f"{why} (discovery.required)") from error

    def register(self, text: str, *, weight: int = 1, listeners: Mapping[str, str] | None = None) -> None:
        """Announce this node's registration and weight, now and after every reconnection."""
        registration = parse(text)
        address = (registration.address if registration is not None else None) or ""
        listeners = {MSGPACK: address} if listeners is None else listeners
        path = self._paths.of_provider(text, listeners)
        mine = self._mine.setdefault(path, _Mine(path, b""))
        mine.data = provider_data(text, weight, listeners)
        mine.is_wanted = True
        self._do_more()

    def connected(self, target: Target, *, is_up: bool) -> None:
        """Show in this consumer's node to whom it has a session."""
        (self._linked.add if is_up else self._linked.discard)(target)
        if self._task is not None:
            self._do_more(CONSUMER_WRITE_S)

    async def leave(self) -> None:
        """Say goodbye: delete the registrations, unless ZooKeeper is away, for at most two seconds."""
        for mine in self._mine.values():
            mine.is_wanted = False
        holds_nothing = self._fault and not any(mine.held_in for mine in self._mine.values())
        if self._is_connected and not holds_nothing:  # refused from the start: nobody to say goodbye to
            self._do_more()
            try:
                async with asyncio.timeout(LEAVE_S):
                    await self._settled.wait()
            except TimeoutError:
                self._warn(f"{self._where()} took no goodbye within {LEAVE_S:g} s; the session's end does it")

    async def stop(self) -> None:
        """End the session, within four seconds whatever ZooKeeper does. Idempotent."""
        self._is_stopped = True
        self._announce = None
        if self._task is not None:
            self._no_answer.cancel()
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None
            if self._retry is not None:
                self._retry.cancel()
            fault = await self._link.stop()
            if fault:
                self._warn(f"{self._where()}: {fault}")

    def trouble(self) -> str:
        """Return what is wrong right now and what to do about it, or ""."""
        if not self._is_connected:
            return f"no ZooKeeper answers at {self._config.address}: start it, or set discovery.address"
        return self._fault

    def after_fork(self) -> None:
        """Be dead in a forked child: the session is its parent's."""
        self._is_stopped = True
        self._link.after_fork()

    # --- facts, on the loop

    def _state_changed(self, state: str) -> None:
        if self._is_stopped:
            return
        if state == "connected":
            self._no_answer.cancel()
            if self._is_missed or self._fault:
                self._warn(f"{self._where()} is back")
            self._is_connected = self._is_missed = True
            self._fault = ""
            self._has_folders = False
            self._is_snapshot_due = True
            self._do_more()
            return
        if self._is_connected:
            self._is_connected = False
            self._warn(f"lost {self._where()}; what is known stays, and every session goes on")
            if self._announce is not None:
                self._announce(DiscoverySilent())
        if state == "lost":
            self._warn(f"the session at {self._where()} has expired; this node registers again in a new one")

    def _watched(self, kind: str, path: str) -> None:
        folder, _, name = path.rpartition("/")
        if path in self._paths.providers:
            self._folders_to_read.add(path)
            self._has_folders = self._has_folders and kind != "deleted"
        elif folder in self._paths.providers and kind == "changed":
            self._known.forget(folder, name)
            self._folders_to_read.add(folder)
        self._do_more()

    def _say_that_it_is_away(self) -> None:
        self._is_missed = True
        self._warn(f"{self.trouble()}; this node tries again and again")

    def _do_more(self, wait_s: float = 0.0) -> None:
        self._settled.clear()
        if not wait_s:
            self._wake.set()
        elif self._retry is None and not self._is_stopped:
            self._retry = self._loop.call_later(wait_s, self._retry_now)

    def _retry_now(self) -> None:
        self._retry = None
        self._wake.set()

    # --- the one task

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not self._is_connected:
                continue  # the reconnection asks for everything
            try:
                await self._round()
            except (TakenError, GoneError):  # somebody was quicker: look again
                self._has_folders = False
                self._do_more(SOON_S)
            except RefusedError:
                self._failed(
                    f"{self._where()} does not let this node write below {self._config.root}: give discovery.user and "
                    f"discovery.password as the other nodes have them"
                )
            except LinkError as error:
                if self._is_connected:
                    self._failed(f"{self._where()} did not do what it was asked ({error})", LINK_RETRY_S)
            except _Fault as fault:
                self._failed(str(fault))
            except Exception as error:  # noqa: BLE001 - discovery must outlive a surprise
                self._failed(f"{self._where()}: unexpected {error!r}")
            else:
                self._fault = ""
                if not self._wake.is_set():
                    self._settled.set()

    def _failed(self, text: str, wait_s: float = RETRY_S) -> None:
        if text != self._fault:
            self._fault = text
            self._warn(f"{text}; this node tries again and again")
        self._do_more(wait_s)

    async def _round(self) -> None:
        if not self._has_folders and not self._reads_only:
            await self._make_folders()
        if self._announce is not None:
            await self._read()
        for mine in list(self._mine.values()):
            if mine is not self._consumer:
                await (self._hold(mine) if mine.is_wanted else self._give_up(mine))
        if self._consumer.path in self._mine:
            shown = {(registration := parse(one.text)) and registration.simple_text for one in self._linked}
            self._consumer.data = consumer_data(text for text in shown if text)
            await (self._hold(self._consumer) if self._consumer.is_wanted else self._give_up(self._consumer))

    async def _make_folders(self) -> None:
        link, config = self._link, self._config
        await link.catch_up()
        center = config.center.encode()
        parent = config.root.rpartition("/")[0]
        if parent:
            await link.ensure(parent)
        try:
            await link.create(config.root, center, ephemeral=False, closed=True)
        except TakenError:
            found = await link.read(config.root)
            if found != center:
                shown = found[:100].decode(errors="replace")
                raise _Fault(
                    f"{config.root} at {self._where()} belongs to something else: its data is {shown!r}, not "
                    f"{config.center!r}; set discovery.root or discovery.center"
                ) from None
            if config.user and not await link.is_closed(config.root):
                raise _Fault(
                    f"{config.root} at {self._where()} is not closed for user {config.user!r} alone: delete it while "
                    f"no node runs, or use another discovery.root"
                ) from None
        for path in self._paths.folders:
            try:
                await link.create(path, b"", ephemeral=False, closed=self._closes_all)
            except TakenError:
                continue
        self._has_folders = True
        self._folders_to_read.update(self._paths.providers)

    async def _hold(self, mine: _Mine) -> None:
        """Let our node stand, with its data, in the session that we have now."""
        link, path = self._link, mine.path
        for _ in range(CREATE_TRIES):
            session = link.session()
            stat = await link.stat(path)
            try:
                if stat is None:
                    await link.create(path, mine.data, ephemeral=True, closed=self._closes_all)
                elif stat.owner == session:
                    if await link.read(path) != mine.data:
                        await link.write(path, mine.data)
                    mine.held_in = session
                    return
                elif mine.held_in == session:
                    name = path.rpartition("/")[2]
                    raise _Fault(
                        f"another process has announced itself as {name!r} at {self._where()} and taken the node over: "
                        f"give each node its own id and address"
                    )
                else:
                    # It is of an earlier life of this node. In one step, so that nobody sees us gone, and such that
                    # only the version that was looked at is deleted.
                    await link.replace(path, stat.version, mine.data, closed=self._closes_all)
            except (TakenError, GoneError):
                if not self._has_folders:
                    raise
                continue  # it has changed since: look again
        raise TakenError(path)

    async def _give_up(self, mine: _Mine) -> None:
        stat = await self._link.stat(mine.path)
        if stat is not None and stat.owner == self._link.session():
            await self._link.delete(mine.path, stat.version)
        self._mine.pop(mine.path, None)

    async def _read(self) -> None:
        """Read the folders that have changed, and announce what differs; everything after a reconnection."""
        is_snapshot, self._is_snapshot_due = self._is_snapshot_due, False
        folders, self._folders_to_read = self._folders_to_read, set()
        if is_snapshot:
            self._known = ByName(self._paths.providers)
            folders = set(self._paths.providers)
        try:
            for folder in folders:
                try:
                    names = await self._link.children(folder)
                except GoneError:
                    if not self._reads_only:
                        raise
                    names = []
                new = self._known.missing(folder, names)
                for start in range(0, len(new), READS_AT_ONCE):
                    await asyncio.gather(*(self._read_one(folder, name) for name in new[start : start + READS_AT_ONCE]))
        except BaseException:
            self._is_snapshot_due = self._is_snapshot_due or is_snapshot
            self._folders_to_read |= folders
            raise
        self._tell(self._known.providers(), is_snapshot=is_snapshot)

    async def _read_one(self, folder: str, name: str) -> None:
        try:
            data = await self._link.read(f"{folder}/{name}")
        except GoneError:
            return  # gone again; the folder's watch says so
        found = read_provider(name, data, is_java=folder == self._paths.java, codecs=self._codecs)
        if not isinstance(found, str):
            self._known.put(folder, name, found)
            return
        self._known.put(folder, name, None)
        line = self._complaints.line(name, found, self._loop.time())
        if line:
            self._warn(line)

    def _tell(self, now: dict[Target, int], *, is_snapshot: bool) -> None:
        before, self._announced = self._announced, now
        joined = now if is_snapshot else {each: weight for each, weight in now.items() if before.get(each) != weight}
        lost = () if is_snapshot else tuple(before.keys() - now.keys())
        if self._announce is not None and (is_snapshot or joined or lost):
            self._announce(
                Announced(
                    joined=tuple(joined),
                    lost=lost,
                    snapshot=is_snapshot,
                    weights={target: weight for target, weight in joined.items() if weight != 1},
                    grace_s=self._config.grace_s,
                )
            )

    def _where(self) -> str:
        return f"ZooKeeper at {self._config.address}"


async def read_zookeeper(config: DiscoveryConfig, link: Link, wait_s: float) -> dict[Target, int]:
    """Return the providers that are registered now, with their weights, for a command that is no node.

    Raises:
        ConfigError: ZooKeeper does not answer within ``wait_s`` seconds, or refuses us; the text says what to do.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[dict[Target, int]] = loop.create_future()

    def announce(news: Announced | DiscoverySilent) -> None:
        if isinstance(news, Announced) and not found.done():
            found.set_result({target: news.weights.get(target, 1) for target in news.joined})

    reader = ZooKeeperDiscovery(config, Registration("zfoo-py"), link=link, warn=lambda _: None, reads_only=True)
    try:
        await reader.start(announce, watch=True)
        async with asyncio.timeout(wait_s):
            return await found
    except TimeoutError as error:
        raise ConfigError(
            reader.trouble() or f"ZooKeeper at {config.address} did not answer in {wait_s:g} s"
        ) from error
    finally:
        await reader.stop()
