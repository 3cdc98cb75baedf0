"""ZooKeeper discovery against a ZooKeeper in memory: what it writes, what it says, what it does after each trouble."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.support.consumers import registration
from tests.support.zookeeper import FakeZooKeeper
from zfoo_py.consumer.messages import JAVA, Announced, DiscoverySilent, Target
from zfoo_py.consumer.zookeeper import ZooKeeperDiscovery, read_zookeeper
from zfoo_py.consumer.zookeeper_link import LinkError
from zfoo_py.discovery_config import DiscoveryConfig
from zfoo_py.errors import ConfigError, NotReadyError

OWN, JAVAS, CONSUMERS = "/zfoo/zfoo_py/provider", "/zfoo/provider", "/zfoo/consumer"
A, B = registration(1), registration(2)


class World:
    """A ZooKeeper, and discoveries that use it."""

    def __init__(self):
        self.servers = FakeZooKeeper()
        self.made = []

    async def join(self, of=A, *, watch=False, registered=True, user="", **config):
        config = DiscoveryConfig(kind="zookeeper", user=user, password="p" if user else "", **config)
        one = Member(config, of, self.servers.link(user or None))
        self.made.append(one)
        await one.discovery.start(one.news.append, watch=watch)
        if registered:
            one.discovery.register(of.text)
        await self.rest()
        return one

    async def rest(self):
        """Let everything come to rest that waits for no clock."""
        for _ in range(300):
            await asyncio.sleep(0)

    async def later(self, seconds):
        await asyncio.sleep(seconds)
        await self.rest()


class Member:
    def __init__(self, config, of, link):
        self.news, self.lines, self.link = [], [], link
        self.discovery = ZooKeeperDiscovery(config, of, link=link, warn=self.lines.append)

    def known(self):
        """Return the texts that a listener would hold now, by what was announced."""
        known = set()
        for each in self.news:
            if isinstance(each, Announced):
                known = set() if each.snapshot else known
                known |= {target.text for target in each.joined}
                known -= {target.text for target in each.lost}
        return known


def run(scenario):
    async def main():
        world = World()
        try:
            async with asyncio.timeout(20):
                await scenario(world)
        finally:
            for one in world.made:
                await one.discovery.stop()

    asyncio.run(main())


# --------------------------------------------------------------------------------------------------- what it writes
def test_the_nodes_are_zfoos_and_msgpack_providers_stand_where_no_java_node_dials():
    async def scenario(world):
        await world.join(A, watch=True)
        nodes = world.servers.nodes
        assert nodes["/zfoo"].data == b"zookeeper"
        assert world.servers.names("/zfoo") == ["consumer", "provider", "zfoo_py"]
        assert (world.servers.names(OWN), world.servers.names(JAVAS)) == ([A.text], [])
        assert nodes[f"{OWN}/{A.text}"].data == b""
        (consumer,) = world.servers.names(CONSUMERS)
        text, _, uuid = consumer.rpartition(" | ")
        assert (text, len(uuid), bool(int(uuid, 16))) == (A.text, 32, True)
        assert {nodes[f"{OWN}/{A.text}"].owner, nodes[f"{CONSUMERS}/{consumer}"].owner} == {1}

    run(scenario)


def test_a_java_listener_stands_where_java_nodes_dial_with_its_msgpack_address_in_the_data():
    async def scenario(world):
        both = await world.join(A, registered=False)
        watcher = await world.join(B, watch=True, registered=False)
        both.discovery.register(A.text, weight=2, listeners={JAVA: A.address, "msgpack": "10.0.0.9:9"})
        await world.rest()
        assert (world.servers.names(OWN), world.servers.names(JAVAS)) == ([], [A.text])
        data = json.loads(world.servers.nodes[f"{JAVAS}/{A.text}"].data)
        assert data == {"listeners": {"msgpack": "10.0.0.9:9"}, "weight": 2}
        target = Target(A.text, "10.0.0.9:9")
        assert watcher.news[-1] == Announced(joined=(target,), weights={target: 2}, grace_s=45.0)

    run(scenario)


def test_a_java_provider_is_announced_as_one():
    async def scenario(world):
        watcher = await world.join(B, watch=True, registered=False)
        world.servers.put(f"{JAVAS}/{A.text}")
        await world.rest()
        assert watcher.news[-1].joined == (Target(A.text, A.address, JAVA),)

    run(scenario)


@pytest.mark.parametrize(("acl", "below"), [("all", "me"), ("root", None)])
def test_with_a_user_everything_is_closed_or_as_in_zfoo_the_root_alone(acl, below):
    async def scenario(world):
        await world.join(A, watch=True, user="me", acl=acl)
        closed = {path: node.closed_for for path, node in world.servers.nodes.items() if path != "/"}
        assert closed.pop("/zfoo") == "me"
        assert set(closed.values()) == {below}

    run(scenario)


def test_the_consumers_node_shows_its_sessions_and_is_cleared_when_there_are_none():
    async def scenario(world):
        member = await world.join(B, watch=True, registered=False)
        path = f"{CONSUMERS}/{world.servers.names(CONSUMERS)[0]}"
        assert world.servers.nodes[path].data == b"[]"
        target = Target(A.text, A.address)
        member.discovery.connected(target, is_up=True)
        await world.later(0.6)
        assert json.loads(world.servers.nodes[path].data) == [A.simple_text]
        member.discovery.connected(target, is_up=False)
        await world.later(0.6)
        assert world.servers.nodes[path].data == b"[]"

    run(scenario)


@pytest.mark.parametrize(
    ("data", "closed_for", "user", "says"),
    [(b"eureka", None, "", "'eureka'"), (b"zookeeper", None, "me", "not closed"), (b"", "you", "", "discovery.user")],
)
def test_a_root_that_is_not_ours_is_not_touched_and_said_once(data, closed_for, user, says):
    async def scenario(world):
        world.servers.put("/zfoo", data, closed_for=closed_for)
        member = await world.join(A, user=user)
        assert says in member.discovery.trouble()
        assert len([line for line in member.lines if says in line]) == 1
        assert world.servers.names("/zfoo") == []
        async with asyncio.timeout(1):
            await member.discovery.leave()  # nothing stands there: no goodbye to wait for
        assert not any("no goodbye" in line for line in member.lines)

    run(scenario)


# ------------------------------------------------------------------------------------------------------ who is there
def test_joins_leaves_and_weights_are_announced_and_nothing_twice():
    async def scenario(world):
        watcher = await world.join(B, watch=True, registered=False)
        assert watcher.news == [Announced(snapshot=True, grace_s=45.0)]
        a = await world.join(A)
        target = Target(A.text, A.address)
        a.discovery.register(A.text, weight=3)
        await world.rest()
        await a.discovery.leave()
        await world.rest()
        assert watcher.news[1:] == [
            Announced(joined=(target,), grace_s=45.0),
            Announced(joined=(target,), weights={target: 3}, grace_s=45.0),
            Announced(lost=(target,), grace_s=45.0),
        ]
        await a.discovery.stop()
        await world.rest()
        assert len(watcher.news) == 4

    run(scenario)


def test_silence_is_told_and_after_it_all_is_read_anew():
    async def scenario(world):
        watcher = await world.join(B, watch=True, registered=False)
        await world.join(A)
        world.servers.down()
        await world.rest()
        assert isinstance(watcher.news[-1], DiscoverySilent)
        world.servers.expire(world.made[1].link.id)
        before = len(watcher.news)
        world.servers.links[1].is_stopped = True  # the provider has gone for ever
        world.servers.up()
        await world.rest()
        assert watcher.news[before:] == [Announced(snapshot=True, grace_s=45.0)]
        assert any("lost" in line for line in watcher.lines)
        assert any("is back" in line for line in watcher.lines)

    run(scenario)


def test_malformed_and_huge_names_are_skipped_with_a_line_each_and_spoil_nothing():
    async def scenario(world):
        watcher = await world.join(B, watch=True, registered=False)
        strange = ["no registration", "x" * 100_000, "a | b | provider:[visits]", "\x1b[31m | y", "a | 1.2.3.4:99999 |"]
        for name in strange:
            world.servers.put(f"{OWN}/{name}")
        world.servers.put(f"{OWN}/{registration(7).text}", b'{"weight": 1000}')
        world.servers.put(f"{OWN}/{registration(8).text}", b"\xff{")
        world.servers.put(f"{OWN}/{A.text}")
        world.servers.put(f"{JAVAS}/{A.text}")  # a duplicate
        await world.rest()
        assert watcher.known() == {A.text}
        lines = [line for line in watcher.lines if "is skipped" in line]
        assert len(lines) == len(strange) + 2
        assert all(len(line) < 600 and "\x1b" not in line for line in lines)
        for _ in range(3):
            world.servers.remove(f"{OWN}/{strange[0]}")
            await world.rest()
            world.servers.put(f"{OWN}/{strange[0]}")
            await world.rest()
        assert len([line for line in watcher.lines if "is skipped" in line]) == len(lines)

    run(scenario)


# ---------------------------------------------------------------------------------------- our own node, come what may
def test_a_registration_comes_back_after_expiry_wipe_and_deletion():
    async def scenario(world):
        member = await world.join(A)
        path = f"{OWN}/{A.text}"
        world.servers.remove(path)
        await world.rest()
        assert world.servers.nodes[path].owner == 1

        world.servers.down()
        world.servers.expire(1)
        world.servers.up(new_sessions=True)
        await world.rest()
        assert world.servers.nodes[path].owner == 2

        world.servers.down()
        world.servers.wipe()
        world.servers.up(new_sessions=True)
        await world.rest()
        assert world.servers.nodes[path].owner == 3
        assert world.servers.nodes["/zfoo"].data == b"zookeeper"
        assert member.discovery.trouble() == ""

    run(scenario)


def test_a_tree_that_is_removed_while_we_are_connected_is_made_anew():
    async def scenario(world):
        await world.join(A, watch=True)
        for path in sorted(world.servers.nodes, reverse=True):
            if path != "/":
                world.servers.remove(path)
        await world.later(0.5)
        assert world.servers.names(OWN) == [A.text]
        assert len(world.servers.names(CONSUMERS)) == 1

    run(scenario)


def test_the_stale_node_of_an_earlier_life_is_taken_over_at_once_and_never_our_own_new_one():
    async def scenario(world):
        for path, data in (("/zfoo", b"zookeeper"), ("/zfoo/zfoo_py", b""), (OWN, b"")):
            world.servers.put(path, data)
        world.servers.put(f"{OWN}/{A.text}", owner=999)
        seen = []
        watcher = await world.join(B, watch=True, registered=False)
        world.servers.links.append(type("Spy", (), {"fire": lambda _, key, kind, path: seen.append((key[0], kind))})())
        await world.join(A)
        world.servers.links.pop()
        assert world.servers.nodes[f"{OWN}/{A.text}"].owner == 2
        assert [kind for key, kind in seen if key == "node" and kind != "changed"] == ["deleted", "created"]
        world.servers.expire(999)
        await world.rest()
        assert watcher.known() == {A.text}

    run(scenario)


def test_a_create_whose_answer_was_lost_leaves_one_node_that_is_ours():
    async def scenario(world):
        member = await world.join(A, registered=False)
        create = member.link.create

        async def create_and_lose(*args, **kwargs):
            member.link.create = create
            await create(*args, **kwargs)
            raise LinkError("no answer")

        member.link.create = create_and_lose
        member.discovery.register(A.text)
        await world.later(1.1)
        assert world.servers.nodes[f"{OWN}/{A.text}"].owner == 1
        assert member.discovery.trouble() == ""

    run(scenario)


def test_two_living_processes_with_one_registration_do_not_fight():
    async def scenario(world):
        first, second = await world.join(A), await world.join(A)
        await world.rest()
        assert world.servers.nodes[f"{OWN}/{A.text}"].owner == second.link.id
        assert "its own id" in first.discovery.trouble()
        calls = world.servers.calls
        await world.rest()
        assert world.servers.calls == calls

    run(scenario)


def test_leave_deletes_what_is_ours_and_nothing_of_a_successor():
    async def scenario(world):
        first = await world.join(A)
        world.servers.nodes[f"{OWN}/{A.text}"].owner = 999  # a successor has it
        await first.discovery.leave()
        assert world.servers.names(OWN) == [A.text]
        second = await world.join(B)
        await second.discovery.leave()
        assert world.servers.names(OWN) == [A.text]

    run(scenario)


# ---------------------------------------------------------------------------------------------- start, stop, and waits
def test_without_zookeeper_it_starts_says_so_and_goes_on_trying():
    async def scenario(world):
        world.servers.is_up = False
        member = await world.join(A, watch=True)
        assert "no ZooKeeper answers at" in member.discovery.trouble()
        await world.later(2.1)
        assert len([line for line in member.lines if "tries again" in line]) == 1
        await member.discovery.leave()  # does not wait for who is away
        member.discovery.register(A.text)
        world.servers.up()
        await world.rest()
        assert world.servers.names(OWN) == [A.text]
        assert member.lines[-1].endswith("is back")

    run(scenario)


def test_required_it_fails_in_time_and_with_what_to_do():
    async def scenario(world):
        world.servers.is_up = False
        with pytest.raises(NotReadyError, match=r"no ZooKeeper answers .*start it.*discovery.required"):
            await world.join(A, required=True, call_timeout_s=0.05)
        world.servers.is_up = True
        member = await world.join(A, required=True, call_timeout_s=5.0)
        assert member.discovery.trouble() == ""

    run(scenario)


def test_stop_is_idempotent_and_ends_a_goodbye_that_nobody_takes(monkeypatch):
    monkeypatch.setattr("zfoo_py.consumer.zookeeper.LEAVE_S", 0.05)

    async def scenario(world):
        member = await world.join(A)

        async def never(*_, **__):
            await asyncio.Event().wait()

        member.link.stat = never
        await member.discovery.leave()
        assert any("no goodbye" in line for line in member.lines)
        await member.discovery.stop()
        await member.discovery.stop()

    run(scenario)


def test_a_fork_closes_the_link():
    async def scenario(world):
        member = await world.join(A)
        member.discovery.after_fork()
        assert member.link.forked

    run(scenario)


def test_a_command_reads_and_writes_nothing():
    async def scenario(world):
        config = DiscoveryConfig(kind="zookeeper")
        assert await read_zookeeper(config, world.servers.link(), 1.0) == {}
        assert list(world.servers.nodes) == ["/"]
        await world.join(A)
        before = set(world.servers.nodes)
        assert await read_zookeeper(config, world.servers.link(), 1.0) == {Target(A.text, A.address): 1}
        assert set(world.servers.nodes) == before
        world.servers.is_up = False
        with pytest.raises(ConfigError, match="no ZooKeeper answers"):
            await read_zookeeper(config, world.servers.link(), 0.05)

    run(scenario)
