"""What the user has fixed: actors are Pykka's, frames go through msgpack, ring points live in sortedcontainers."""

from __future__ import annotations

import asyncio

import msgpack
import pykka
from sortedcontainers import SortedDict

from samples.services import Counts, VisitAsk, visits
from zfoo_py.consumer.ring import HashRing
from zfoo_py.protocol import msgpack_codec
from zfoo_py.protocol.framing import FrameParser
from zfoo_py.router.worker_actor import WorkerActor
from zfoo_py.testing import cluster

CORE = {"RegistryActor", "ConsumerActor", "ConnectorActor", "SessionActor"}


def test_every_framework_actor_is_a_pykka_actor():
    """Those that live while a node runs, and the workers."""

    async def main():
        async with cluster(provides=[visits], receivers=lambda name: [Counts(name)], providers=2) as c:
            await c.consumer.async_ask(VisitAsk("a", 1))
            actors = [actor for node in (c.node, c.discovery) for actor in node._engine.runtime.actors]
            assert {type(actor).__name__ for actor in actors} == CORE | {"DirectoryActor"}
            assert all(isinstance(actor, pykka.Actor) for actor in actors)
            assert all(isinstance(actor.actor_ref, pykka.ActorRef) for actor in actors)

    asyncio.run(main())
    assert issubclass(WorkerActor, pykka.ThreadingActor)


def test_every_default_codec_frame_goes_through_msgpack(monkeypatch):
    """Each body on the wire is one msgpack array of four; and each decode is msgpack's unpackb."""
    unpacked, written = [], []
    unpack = msgpack_codec._unpack
    assert unpack is msgpack.unpackb

    def spy(body, **how):
        unpacked.append(bytes(body))
        return unpack(body, **how)

    monkeypatch.setattr(msgpack_codec, "_unpack", spy)

    async def main():
        async with cluster(provides=[visits], receivers=lambda name: [Counts(name)], providers=1) as c:
            actors = [actor for node in (c.node, *c.providers.values()) for actor in node._engine.runtime.actors]
            for actor in actors:
                if hasattr(actor, "session"):
                    connection = actor._connection
                    write = connection.write
                    connection.write = lambda data, write=write: (written.append(data), write(data))
            await c.consumer.async_ask(VisitAsk("a", 1))
            await c.consumer.send(VisitAsk("a", 1))

    asyncio.run(main())
    bodies = [bytes(body) for data in written for body in FrameParser(1 << 20).feed(data)]
    assert len(bodies) >= 3
    for body in bodies:
        protocol_id, fields, *attachment = msgpack.unpackb(body)
        assert isinstance(protocol_id, int)
        assert isinstance(fields, list)
        assert len(attachment) == 2
        assert body in unpacked


def test_every_ring_point_lives_in_a_sortedcontainers_structure():
    """The SortedDict is the truth: emptied behind the ring's back, a rebuilt index finds nobody."""
    ring = HashRing()
    for name in ("a", "b", "c"):
        ring.add(name)
    parts = [getattr(ring, name) for name in getattr(type(ring), "__slots__", ()) or vars(ring)]
    points = [part for part in parts if isinstance(part, SortedDict)]
    assert len(points) == 1
    assert len(points[0]) == len(ring) > 590
    owners = {ring.owner_of_hash(point) for point in points[0]}
    assert owners == {"a", "b", "c"}
