"""ZooKeeper in memory: what a `Link` sees of it, with sessions that end and servers that vanish when a test says so."""

from __future__ import annotations

import asyncio
import itertools

from zfoo_py.consumer.zookeeper_link import GoneError, LinkError, RefusedError, Stat, TakenError


class Node:
    def __init__(self, data, owner, closed_for):
        self.data, self.owner, self.closed_for = data, owner, closed_for
        self.version = 0


class FakeZooKeeper:
    """The servers: nodes by path."""

    def __init__(self):
        self.nodes = {"/": Node(b"", 0, None)}
        self.links = []
        self.sessions = itertools.count(1)
        self.is_up = True
        self.calls = 0

    def link(self, user=None):
        made = FakeLink(self, user)
        self.links.append(made)
        return made

    def names(self, path):
        return sorted(node.rpartition("/")[2] for node in self.nodes if node != "/" and node.rpartition("/")[0] == path)

    def put(self, path, data=b"", owner=0, closed_for=None):
        self.nodes[path] = Node(data, owner, closed_for)
        self.changed(path, "created")

    def remove(self, path):
        if self.nodes.pop(path, None) is not None:
            self.changed(path, "deleted")

    def changed(self, path, kind):
        parent = path.rpartition("/")[0] or "/"
        for link in self.links:
            link.fire(("node", path), kind, path)
            if kind != "changed":
                link.fire(("children", parent), "child", parent)
            if kind == "deleted":
                link.fire(("children", path), kind, path)

    def expire(self, session):
        for path in [path for path, node in self.nodes.items() if node.owner == session]:
            self.remove(path)

    def wipe(self):
        self.nodes = {"/": Node(b"", 0, None)}

    def down(self):
        self.is_up = False
        for link in self.links:
            link.suspend()

    def up(self, *, new_sessions=False):
        self.is_up = True
        for link in self.links:
            link.resume(new_session=new_sessions)


class FakeLink:
    """One client."""

    def __init__(self, servers, user):
        self.servers, self.user = servers, user
        self.id = 0
        self.watches = set()
        self.is_connected = self.is_stopped = False
        self.fail_next = []  # errors for the next calls; after "done:" the call is made all the same
        self.forked = False

    def start(self, on_state, on_watch):
        self.loop = asyncio.get_running_loop()
        self.on_state, self.on_watch = on_state, on_watch
        if self.servers.is_up:
            self.resume(new_session=True)

    def resume(self, *, new_session=False):
        if self.is_stopped or not hasattr(self, "loop"):
            return
        if new_session or not self.id:
            if self.id:
                self.state("lost")
            self.id = next(self.servers.sessions)
        self.is_connected = True
        self.state("connected")

    def suspend(self):
        self.is_connected = False
        self.watches.clear()
        self.state("suspended")

    def state(self, name):
        self.loop.call_soon(self.on_state, name)

    def fire(self, key, kind, path):
        if key in self.watches:
            self.watches.discard(key)
            self.loop.call_soon(self.on_watch, kind, path)

    async def stop(self):
        self.is_stopped = True
        self.is_connected = False
        if self.id:
            self.servers.expire(self.id)
        return ""

    def after_fork(self):
        self.forked = True

    def session(self):
        return self.id

    async def call(self, path=None, *, parent=False):
        self.servers.calls += 1
        await asyncio.sleep(0)
        if self.fail_next:
            raise self.fail_next.pop(0)
        if not self.is_connected:
            raise LinkError("not connected")
        node = self.servers.nodes.get((path.rpartition("/")[0] or "/") if parent else path)
        if path is not None and node is not None and node.closed_for not in (None, self.user):
            raise RefusedError(path)
        return node

    async def catch_up(self):
        await self.call()

    async def children(self, path):
        if await self.call(path) is None:
            raise GoneError(path)
        self.watches.add(("children", path))
        return self.servers.names(path)

    async def read(self, path):
        node = await self.call(path)
        if node is None:
            raise GoneError(path)
        self.watches.add(("node", path))
        return node.data

    async def stat(self, path):
        await self.call()
        node = self.servers.nodes.get(path)
        self.watches.add(("node", path))
        return None if node is None else Stat(node.version, node.owner)

    async def is_closed(self, path):
        return (await self.call(path)).closed_for == self.user

    async def ensure(self, path):
        await self.call()
        parts = path.split("/")[1:]
        for end in range(1, len(parts) + 1):
            one = "/" + "/".join(parts[:end])
            if one not in self.servers.nodes:
                self.servers.put(one)

    async def create(self, path, data, *, ephemeral, closed):
        if await self.call(path, parent=True) is None:
            raise GoneError(path)
        if path in self.servers.nodes:
            raise TakenError(path)
        self.servers.put(path, data, self.id if ephemeral else 0, self.user if closed else None)

    async def replace(self, path, version, data, *, closed):
        await self.call(path, parent=True)
        node = self.servers.nodes.get(path)
        if node is None or node.version != version:
            raise TakenError(path)
        self.servers.remove(path)
        self.servers.put(path, data, self.id, self.user if closed else None)

    async def write(self, path, data):
        node = await self.call(path)
        if node is None:
            raise GoneError(path)
        node.data = data
        node.version += 1
        self.servers.changed(path, "changed")

    async def delete(self, path, version):
        node = await self.call(path)
        if node is None:
            raise GoneError(path)
        if node.version != version:
            raise TakenError(path)
        self.servers.remove(path)
