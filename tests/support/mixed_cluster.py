"""A cluster on ZooKeeper whose nodes speak msgpack, zfoo-java or both, and what each must see of the others."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack

from samples.services import Counts, VisitAsk, visits
from tests.support.nodes import eventually
from zfoo_py import Node
from zfoo_py.consumer.ring import HashRing

JAVA_LISTENER = ("127.0.0.1:0", "zfoo-java")
PROVIDERS = {
    "both": {"listen": [JAVA_LISTENER]},
    "msgpack": {"codecs": ["msgpack"]},
    "java": {"codecs": ["zfoo-java"], "listen": [JAVA_LISTENER]},  # stands for a process of Java zfoo
}
CONSUMERS = {
    "of-all": ({}, {"both", "msgpack", "java"}),
    "of-java": ({"codecs": ["zfoo-java"]}, {"both", "java"}),
    "of-msgpack": ({"codecs": ["msgpack"]}, {"both", "msgpack"}),
}
LISTED = "provider:[visits-visits]"


async def play(discovery, read):
    """Start them all, and look at everything.

    Args:
        discovery: the table of each node, with the root "/mixed".
        read: from a path to name → data of what stands below it.
    """
    async with AsyncExitStack() as stack:
        nodes = {}
        for name, told in PROVIDERS.items():
            node = Node(id=name, provides=[visits], receivers=[Counts(name)], discovery=discovery, **told)
            nodes[name] = await stack.enter_async_context(node)
        for name, (told, _) in CONSUMERS.items():
            consumer = Node(id=name, consumes=[visits], receivers=[], discovery=discovery, **told)
            nodes[name] = await stack.enter_async_context(consumer)
        listeners = {name: nodes[name].listeners for name in PROVIDERS}
        assert {name: set(own) for name, own in listeners.items()} == {
            "both": {"msgpack", "zfoo-java"},
            "msgpack": {"msgpack"},
            "java": {"zfoo-java"},
        }

        # One identity each; what Java nodes see has a zfoo-java listener, and its address.
        identity = {name: own.get("zfoo-java") or own["msgpack"] for name, own in listeners.items()}
        texts = {name: f"{name} | {address} | {LISTED}" for name, address in identity.items()}
        in_msgpack = json.dumps({"listeners": {"msgpack": listeners["both"]["msgpack"]}}, separators=(",", ":"))
        assert await read("/mixed/provider") == {texts["both"]: in_msgpack.encode(), texts["java"]: b""}
        assert await read("/mixed/zfoo_py/provider") == {texts["msgpack"]: b""}

        for name, (told, reached) in CONSUMERS.items():
            node, codecs = nodes[name], told.get("codecs", ["msgpack", "zfoo-java"])
            view = node._engine.service("visits").view
            await eventually(lambda view=view, reached=reached: len(view.providers) == len(reached))
            sessions = {record.node_id: record.peer for record in await node.sessions()}
            spoken = {one: next(codec for codec in codecs if codec in listeners[one]) for one in reached}
            assert sessions == {one: listeners[one][codec] for one, codec in spoken.items()}
            ring = HashRing()
            for one in reached:
                ring.add(texts[one])
            keys = [f"{name}-{number}" for number in range(60)]
            answers = await asyncio.gather(*(node.consumer.async_ask(VisitAsk(key, 1)) for key in keys))
            assert [texts[answer.served_by] for answer in answers] == [ring.owner(key) for key in keys]
            assert {answer.served_by for answer in answers} == reached

        # Consumers stand where Java's do, and list whom they have a session to, as Java does.
        for _ in range(100):
            found = await read("/mixed/consumer")
            if sorted(data.count(b" | ") for data in found.values()) == sorted(
                len(own) for _, own in CONSUMERS.values()
            ):
                break
            await asyncio.sleep(0.05)
        for text, data in found.items():
            name, subscribed, uuid = text.split(" | ")
            assert (subscribed, len(uuid)) == ("consumer:[cached-consistent-hash-visits]", 32)
            assert json.loads(data) == sorted(f"{one} | {identity[one]}" for one in CONSUMERS[name][1])
        assert len(found) == len(CONSUMERS)
