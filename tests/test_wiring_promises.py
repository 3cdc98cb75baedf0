"""What the design promises of the wiring, looked at in nodes that run: pykka, msgpack and sortedcontainers carry it."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import pkgutil

import msgpack
import pykka
import pytest
from sortedcontainers import SortedDict, SortedList

import zfoo_py
from samples.services import Counts, PageAsk, VisitAsk, pages, visits
from tests.support.nodes import TABLE, Tallies, TallyAnswer, TallyAsk, eventually, tallies
from zfoo_py import Node, Session, packet_receiver
from zfoo_py.actor import CoreActor, LoopActor, LoopActorRef, LoopFuture, ThreadActor
from zfoo_py.consumer.alert_actor import AlertActor
from zfoo_py.consumer.connector_actor import ConnectorActor
from zfoo_py.consumer.consumer_actor import ConsumerActor
from zfoo_py.consumer.directory_actor import DirectoryActor
from zfoo_py.consumer.hashing import fnv_hash
from zfoo_py.consumer.policies.cached_consistent_hash import CachedConsistentHashBalancer
from zfoo_py.consumer.policies.consistent_hash import ConsistentHashBalancer
from zfoo_py.consumer.ring import VIRTUAL_NODES, HashRing
from zfoo_py.net.foreign_session_actor import ForeignSessionActor
from zfoo_py.net.registry_actor import RegistryActor
from zfoo_py.net.session_actor import SessionActor
from zfoo_py.net.tcp_io import TcpConnection
from zfoo_py.protocol import msgpack_codec
from zfoo_py.protocol.framing import FrameParser
from zfoo_py.router.worker_actor import WorkerActor

FRAMEWORK_ACTORS = {AlertActor, ConnectorActor, ConsumerActor, DirectoryActor, RegistryActor, SessionActor, WorkerActor}


class Blocking:
    """A provider whose receiver blocks: it needs a worker."""

    @packet_receiver
    def at(self, session: Session, ask: TallyAsk) -> TallyAnswer:
        return TallyAnswer(ask.key, 1, "p")


async def a_cluster(work, served=None):
    """Run a discovery, a provider and a consumer, and do some work on (nodes, consumer)."""
    where = {"address": "127.0.0.1:0", "host": True}
    async with Node(id="d", receivers=[], discovery=where, table=TABLE) as d:
        where = {"address": d.discovery_address}
        async with (
            Node(id="p", provides=[tallies], receivers=[served or Blocking()], discovery=where, table=TABLE) as p,
            Node(id="c", consumes=[tallies], receivers=[], discovery=where, table=TABLE) as c,
        ):
            await c.consumer.async_ask(TallyAsk("a"))
            await work((d, p, c), c.consumer)


def every_module():
    """Import and yield every module of the package."""
    for info in pkgutil.walk_packages(zfoo_py.__path__, "zfoo_py."):
        if not info.name.endswith("__main__"):
            yield importlib.import_module(info.name)


def test_every_class_that_is_called_an_actor_is_a_pykka_actor():
    """And there is none that this file does not know."""
    found = {
        value
        for module in every_module()
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__.startswith("zfoo_py") and name.endswith("Actor")
    }
    assert found == FRAMEWORK_ACTORS | {ForeignSessionActor, CoreActor, LoopActor, ThreadActor}
    assert all(issubclass(kind, pykka.Actor) for kind in found)
    assert issubclass(ThreadActor, pykka.ThreadingActor)
    assert issubclass(LoopActorRef, pykka.ActorRef)
    assert issubclass(LoopFuture, pykka.Future)


def test_every_actor_of_running_nodes_is_a_pykka_actor_and_all_kinds_are_there():
    """On the loop and in threads; each behind a pykka ref, of which the threads' are in pykka's registry."""

    async def look(nodes, _):
        actors = [actor for node in nodes for actor in node._engine.runtime.actors]
        workers = pykka.ActorRegistry.get_by_class(WorkerActor)
        assert {type(actor) for actor in actors} | {ref.actor_class for ref in workers} == FRAMEWORK_ACTORS
        for actor in actors:
            assert isinstance(actor, pykka.Actor)
            assert isinstance(actor.actor_ref, pykka.ActorRef)
            assert actor.actor_ref.is_alive()
        for ref in workers:
            assert issubclass(ref.actor_class, pykka.ThreadingActor)
        assert {type(core.actor) for core in (nodes[0]._engine.registry, nodes[0]._engine.directory)} == {
            RegistryActor,
            DirectoryActor,
        }

    asyncio.run(a_cluster(look))


def test_messages_of_the_framework_arrive_through_pykkas_inboxes():
    """An ask goes through the consumer's and the session's inbox: both are pykka's ``actor_inbox``."""

    async def look(nodes, consumer):
        engine = nodes[2]._engine
        seen = []
        for kind in (ConsumerActor, SessionActor):
            for actor in engine.runtime.actors:
                if type(actor) is kind:
                    put = actor.on_receive

                    def on_receive(message, put=put, kind=kind):
                        seen.append((kind, type(message).__name__))
                        return put(message)

                    actor.on_receive = on_receive
        await consumer.async_ask(TallyAsk("b"))
        assert (ConsumerActor, "AskRecord") in seen
        assert (SessionActor, "Outbound") in seen
        assert (SessionActor, "Received") in seen

    asyncio.run(a_cluster(look))


def test_every_frame_of_the_default_codec_goes_through_msgpack(monkeypatch):
    """What is written was packed by msgpack's Packer, and what is read is unpacked by msgpack's unpackb."""
    packed, unpacked, written = [], [], []
    unpackb, write = msgpack.unpackb, TcpConnection.write

    class Packer(msgpack.Packer):
        def pack(self, value):
            packed.append(super().pack(value))
            return packed[-1]

    def spy_unpack(body, **options):
        unpacked.append(bytes(body))
        return unpackb(body, **options)

    def spy_write(self, data):
        written.append((self, data))
        write(self, data)

    monkeypatch.setattr(msgpack_codec.msgpack, "Packer", Packer)
    monkeypatch.setattr(msgpack_codec, "_unpack", spy_unpack)
    monkeypatch.setattr(TcpConnection, "write", spy_write)

    async def work(_, consumer):
        for answer in [consumer.async_ask(TallyAsk(f"{n}")) for n in range(100)]:
            await answer

    asyncio.run(a_cluster(work, Tallies("p")))
    parsers: dict[object, FrameParser] = {}
    bodies = [
        bytes(body)
        for connection, data in written
        for body in parsers.setdefault(connection, FrameParser(1 << 30)).feed(data)
    ]
    assert len(bodies) > 200
    heads = set(packed)
    for body in bodies:
        protocol_id, fields, *_ = unpackb(body, strict_map_key=False)
        packed_id, packed_fields = msgpack.packb(protocol_id), msgpack.packb(fields)
        assert {packed_id, packed_fields} <= heads
        assert body.startswith(b"\x94" + packed_id + packed_fields)
    assert unpacked
    assert set(unpacked) <= set(bodies)
    assert len(unpacked) > 200


@pytest.mark.parametrize("balancer", ["cached-consistent-hash", "consistent-hash"])
def test_every_ring_point_lives_in_a_sorted_dict(balancer):
    """Of every ring of a running consumer, before and after a provider has left; a lookup uses those points."""

    async def main():
        where = {"address": "127.0.0.1:0", "host": True}
        async with Node(id="d", receivers=[], discovery=where) as d:
            where = {"address": d.discovery_address}
            ids = ("a", "b", "c")
            nodes = [Node(id=i, provides=[visits, pages], receivers=[Counts(i)], discovery=where) for i in ids]
            for node in nodes:
                await node.start()
            consumes = [(module, module, balancer) for module in ("visits", "pages")]
            async with Node(id="consumer", consumes=consumes, receivers=[], discovery=where) as c:
                services = c._engine._services
                for count in (3, 2, 1):
                    await eventually(
                        lambda count=count: all(len(service.view.providers) == count for service in services)
                    )
                    for service in services:
                        assert isinstance(service.balancer, ConsistentHashBalancer)
                        assert isinstance(service.balancer, CachedConsistentHashBalancer) == ("cached" in balancer)
                        look_at(service.balancer.ring, count)
                    for n in range(20):
                        await c.consumer.async_ask(VisitAsk(f"{n}", 1))
                        await c.consumer.async_ask(PageAsk(f"/{n}"))
                    await nodes[count - 1].stop()

    asyncio.run(main())


def look_at(ring: HashRing, providers: int) -> None:
    """Every point lives in a sorted list of sortedcontainers, and what lookups use is exactly these points."""
    lists = list(ring._points_of.values())
    assert len(lists) == providers
    assert all(type(points) is SortedList and len(points) == VIRTUAL_NODES for points in lists)
    points = SortedDict(ring.points())
    assert set(points) == {point for one in lists for point in one}
    assert len(points) == len(ring)
    for key in (f"key {n}" for n in range(200)):
        at = points.bisect_left(fnv_hash(key))
        assert ring.owner(key) == points.peekitem(min(at, len(points) - 1))[1]
