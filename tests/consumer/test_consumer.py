"""The consumer facade: what it checks at the call site, what it orders, how refusals end. Its actor is a recorder."""

from __future__ import annotations

import asyncio
import enum
import threading
import uuid
from typing import Any

import pytest

from tests.support.actors import HANG_S, LoopThread, as_another_thread, recorder, step_runtime
from zfoo_py.actor import CoreRef
from zfoo_py.actor.runtime import BATCH_MESSAGES
from zfoo_py.consumer.consumer import OMITTED, Consumer
from zfoo_py.consumer.messages import SendOrder, TakeStats
from zfoo_py.errors import (
    AskTimeoutError,
    BackpressureError,
    BlockingCallError,
    EncodeError,
    MissingKeyError,
    PacketError,
    SessionClosedError,
    UnmappedPacketError,
)
from zfoo_py.net.messages import AskRecord
from zfoo_py.protocol.msgpack_codec import MsgpackCodec
from zfoo_py.protocol.packet import Ask, Packet, PacketTable, ProtocolModule

TABLE = PacketTable()
keyed = ProtocolModule(10, "keyed", table=TABLE)
loose = ProtocolModule(11, "loose", table=TABLE)


@keyed.packet(1001)
class KeyedAnswer(Packet):
    text: str


@keyed.packet(1000, balance_by="key")
class KeyedAsk(Ask[KeyedAnswer]):
    key: str | None = None
    text: str = ""


@keyed.packet(1002)
class BareAsk(Ask[KeyedAnswer]):
    text: str = ""


@loose.packet(1100)
class LooseNote(Packet):
    text: str = ""


class Unmapped(Packet):
    text: str = ""


class Colour(enum.Enum):
    RED = 1


class FakeRouter:
    """What the facade needs of a router."""

    has_interceptors = False

    def __init__(self):
        self.waits: list[Any] = []
        self.intercepted: list[Any] = []

    def wait(self, answer, packet, timeout_s):
        self.waits.append((answer, packet, timeout_s))
        return "the answer"

    def intercept_ask(self, packet, key, future):
        self.intercepted.append((packet, key, future))


class World:
    """A consumer on a stepped loop; module "keyed" needs a key, module "loose" does not."""

    def __init__(self, *, limit_messages: int = 100, start: bool = True) -> None:
        self.runtime, self.loop = step_runtime(inbox_limit_messages=limit_messages)
        self.kind = recorder()
        self.core = CoreRef(limit_messages, lambda _: None)
        if start:
            ref = self.runtime.spawn(self.kind)
            self.core.ref, self.core.tell, self.core.actor = ref, ref.tell, ref.actor_inbox.actor
        self.router = FakeRouter()
        self.consumer = Consumer(
            self.runtime,
            MsgpackCodec(TABLE),
            self.core,
            self.router,  # type: ignore[arg-type]
            ask_timeout_s=3.0,
            needs_key={"keyed": True, "loose": False},
        )

    def told(self) -> list[Any]:
        """Run everything and return what the actor was told."""
        self.loop.run()
        return self.kind.handled

    def ask(self, *args: Any, **kwargs: Any) -> AskRecord:
        """Ask and return the order that came of it."""
        answer = self.consumer.async_ask(*args, **kwargs)
        record = self.told()[-1]
        assert record.answer is answer
        return record


def test_an_ask_is_encoded_at_once_and_ordered_with_all_that_decides_it():
    world = World()
    record = world.ask(KeyedAsk("k", "text"))
    assert type(record) is AskRecord
    assert record.binding is TABLE.binding(KeyedAsk)
    assert record.head == MsgpackCodec(TABLE).encode(KeyedAsk("k", "text"))
    assert record.key == "k"
    assert record.expects is KeyedAnswer
    assert record.deadline_s == world.loop.clock.time() + 3.0
    assert record.is_default_timeout
    assert record.returns_to is world.core
    assert (record.tries, record.may_have_run) == (0, False)


def test_a_timeout_of_its_own_is_marked_as_such():
    """Even one equal to the default: pending asks rely on the order of default deadlines."""
    world = World()
    record = world.ask(KeyedAsk("k"), timeout_s=3.0)
    assert not record.is_default_timeout
    assert world.ask(KeyedAsk("k"), timeout_s=0.5).deadline_s == world.loop.clock.time() + 0.5


KEYS = [
    "k",
    "",
    0,
    -1,
    2**80,
    True,
    1.5,
    b"bytes",
    uuid.UUID(int=5),
    Colour.RED,
    ("a", 1),
    ("a", ("b", Colour.RED)),
    (),
]


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_every_allowed_key_goes_as_it_is(key):
    world = World()
    assert world.ask(BareAsk(), key=key).key is key
    sent = world.consumer.send(LooseNote(), key=key)
    assert world.told()[-1].key is key
    assert not sent.done()


@pytest.mark.parametrize("key", [[1], {"a": 1}, object(), {1}, (1, [2]), bytearray(b"x"), 1j])
def test_what_is_no_key_is_a_type_error_at_the_call_site(key):
    world = World()
    with pytest.raises(TypeError):
        world.consumer.async_ask(BareAsk(), key=key)
    with pytest.raises(TypeError):
        world.consumer.send(LooseNote(), key=key)
    assert world.told() == []


def test_the_key_comes_from_the_packet_unless_it_is_given():
    world = World()
    assert world.ask(KeyedAsk("from the packet")).key == "from the packet"
    assert world.ask(KeyedAsk("from the packet"), key="given").key == "given"
    assert world.ask(KeyedAsk("from the packet"), key=None).key is None
    world.consumer.send(KeyedAsk("sent"))
    assert world.told()[-1].key == "sent"


def test_a_forgotten_key_is_an_error_where_keys_count_and_random_elsewhere():
    world = World()
    for call in (world.consumer.async_ask, world.consumer.send):
        with pytest.raises(MissingKeyError, match=r"BareAsk has no key.*'keyed'.*key=.*balance_by.*key=None"):
            call(BareAsk())
        with pytest.raises(MissingKeyError, match=r"KeyedAsk has no key.*set KeyedAsk\.key, which is None.*key=None"):
            call(KeyedAsk(None))
    assert world.told() == []
    assert world.ask(BareAsk(), key=None).key is None
    assert world.ask(KeyedAsk(None), key=None).key is None
    assert world.ask(LooseNote(), KeyedAnswer).key is None
    assert repr(OMITTED) == "<omitted>"


def test_the_answer_class_is_the_asks_or_the_given_one():
    world = World()
    assert world.ask(LooseNote(), KeyedAnswer).expects is KeyedAnswer
    assert world.ask(KeyedAsk("k"), LooseNote).expects is LooseNote
    with pytest.raises(
        PacketError, match=r"which class answers LooseNote\?.*Ask\[Answer\].*async_ask\(packet, Answer\)"
    ):
        world.consumer.async_ask(LooseNote())  # type: ignore[call-overload]
    assert len(world.told()) == 2


def test_what_cannot_be_sent_is_an_error_at_the_call_site():
    world = World()
    for call in (
        lambda packet: world.consumer.async_ask(packet, KeyedAnswer, key=1),
        lambda packet: world.consumer.send(packet, key=1),
    ):
        with pytest.raises(EncodeError, match=r"BareAsk\.text"):
            call(BareAsk(5))  # type: ignore[arg-type]
        with pytest.raises(UnmappedPacketError, match="Unmapped has no protocol id"):
            call(Unmapped())
    assert world.told() == []


def test_a_send_orders_the_packet_and_hands_out_its_outcome():
    world = World()
    sent = world.consumer.send(KeyedAsk("k", "text"))
    [order] = world.told()
    assert type(order) is SendOrder
    assert (order.binding, order.key, order.tries) == (TABLE.binding(KeyedAsk), "k", 0)
    assert order.head == MsgpackCodec(TABLE).encode(KeyedAsk("k", "text"))
    assert order.sent is sent


def test_interceptors_are_told_only_if_there_are_any():
    world = World()
    world.consumer.async_ask(KeyedAsk("k"))
    assert world.router.intercepted == []
    world.router.has_interceptors = True
    answer = world.consumer.async_ask(KeyedAsk("k"), key="given")
    assert world.router.intercepted == [(KeyedAsk("k"), "given", answer)]


def test_an_interceptor_that_raises_keeps_the_ask_from_being_sent():
    world = World()
    world.router.has_interceptors = True
    world.router.intercept_ask = lambda *_: 1 / 0  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        world.consumer.async_ask(KeyedAsk("k"))
    assert world.told() == []


def test_asks_of_a_coroutine_are_run_in_batches():
    """After so many the actors run, without waiting for the loop: the peer is to work meanwhile."""
    world = World()
    for number in range(BATCH_MESSAGES):
        assert world.kind.handled == []
        world.consumer.async_ask(KeyedAsk(f"{number}"))
    assert len(world.kind.handled) == BATCH_MESSAGES


def test_a_full_inbox_refuses_typed():
    world = World(limit_messages=2)
    taken = [world.consumer.async_ask(KeyedAsk(f"{n}")) for n in range(2)]
    refused = world.consumer.async_ask(KeyedAsk("late"))
    sent = world.consumer.send(LooseNote())
    assert not any(answer.done() for answer in taken)
    for outcome, name, module in ((refused, "KeyedAsk", "keyed"), (sent, "LooseNote", "loose")):
        error = outcome.exception()
        assert isinstance(error, BackpressureError)
        assert (error.packet, error.module, error.may_have_run) == (name, module, False)
        assert "2 orders wait" in str(error)
    assert len(world.told()) == 2


def test_a_full_inbox_refuses_threads_typed():
    world = World(limit_messages=1)
    with as_another_thread(world.runtime):
        first, second = world.consumer.async_ask(KeyedAsk("1")), world.consumer.async_ask(KeyedAsk("2"))
    assert isinstance(second.exception(), BackpressureError)
    assert not first.done()
    assert len(world.told()) == 1


def test_a_stopped_node_refuses_typed():
    world = World()
    world.core.ref.actor_inbox.actor._end(None)
    for outcome in (world.consumer.async_ask(KeyedAsk("1")), world.consumer.send(KeyedAsk("1"))):
        error = outcome.exception()
        assert isinstance(error, SessionClosedError)
        assert (error.packet, error.module, error.may_have_run) == ("KeyedAsk", "keyed", False)
        assert "the node has stopped" in str(error)


def test_figures_are_asked_for_and_wait_for_an_actor_that_is_not_there():
    world = World()
    stats = world.consumer.stats()
    assert world.told() == [TakeStats()]
    assert stats.done()
    assert not World(start=False).consumer.stats().done()


def test_a_time_out_without_end_is_refused_and_nothing_is_told():
    world = World()
    for seconds in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="timeout_s must be at most"):
            world.consumer.async_ask(KeyedAsk("k"), timeout_s=seconds)
    assert world.told() == []


def test_a_blocking_ask_waits_as_long_as_the_ask_lives():
    world = World()
    assert world.consumer.sync_ask(KeyedAsk("k"), timeout_s=0.5) == "the answer"
    [(answer, packet, timeout_s)] = world.router.waits
    assert (packet, timeout_s) == (KeyedAsk("k"), 0.5)
    assert world.told()[-1].answer is answer


def test_a_blocking_ask_is_refused_where_a_loop_runs_and_sends_nothing():
    world = World()

    async def main():
        with pytest.raises(BlockingCallError, match=r"sync_ask\(\).*await async_ask\(\)"):
            world.consumer.sync_ask(KeyedAsk("k"))

    asyncio.run(main())
    assert world.told() == []


def test_errors_at_the_call_site_are_the_same_for_blocking_asks():
    world = World()
    with pytest.raises(MissingKeyError):
        world.consumer.sync_ask(BareAsk())
    with pytest.raises(EncodeError):
        world.consumer.sync_ask(KeyedAsk("k", 5))  # type: ignore[arg-type]
    assert world.router.waits == []


def test_threads_ask_at_the_same_time():
    """Every order arrives, one thread's in order, each with a packet that was encoded in that thread."""
    kind = recorder()
    with LoopThread() as thread:
        ref = thread.spawn(kind)
        core = CoreRef(10, lambda _: None)
        core.tell = ref.tell
        codec = MsgpackCodec(TABLE)
        consumer = Consumer(
            thread.runtime,
            codec,
            core,
            FakeRouter(),  # type: ignore[arg-type]
            ask_timeout_s=3.0,
            needs_key={"keyed": True},
        )
        count = 300

        def ask(name):
            for number in range(count):
                consumer.async_ask(KeyedAsk("k", name * 50), key=(name, number))

        threads = [threading.Thread(target=ask, args=(name,)) for name in ("a", "b", "c")]
        for each in threads:
            each.start()
        for each in threads:
            each.join(HANG_S)
        thread.call(thread.runtime.drain)
        thread.call(thread.runtime.drain)
        assert len(kind.handled) == 3 * count
        for name in ("a", "b", "c"):
            mine = [record for record in kind.handled if record.key[0] == name]
            assert [record.key[1] for record in mine] == list(range(count))
            assert all(name.encode() * 50 in record.head for record in mine)


def test_no_answer_class_is_needed_to_read_a_timeout():
    """An answer is an ordinary future: whatever settles it ends it, whoever awaits it."""
    world = World()
    answer = world.consumer.async_ask(KeyedAsk("k"))
    answer.settle(error=AskTimeoutError("late"))

    async def main():
        with pytest.raises(AskTimeoutError):
            await answer
        with pytest.raises(TimeoutError):
            await answer

    asyncio.run(main())
