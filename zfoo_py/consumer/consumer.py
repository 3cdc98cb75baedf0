"""The consumer: what application code calls to ask the providers of a service type."""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from zfoo_py.actor import ActorDeadError, refuse_blocking
from zfoo_py.consumer.hashing import check_key
from zfoo_py.consumer.messages import Explain, ExplainChange, SendOrder, TakeStats
from zfoo_py.errors import (
    BackpressureError,
    ConfigError,
    InboxFullError,
    MissingKeyError,
    PacketError,
    SessionClosedError,
)
from zfoo_py.net.failures import fail
from zfoo_py.net.messages import AskRecord
from zfoo_py.protocol.packet import Ask, Packet, ProtocolModule
from zfoo_py.router.answer import Answer, asked, check_timeout
from zfoo_py.router.call import current_call

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zfoo_py.actor import CoreRef, Runtime
    from zfoo_py.consumer.change_log import ChangeReport
    from zfoo_py.consumer.explain import Explanation
    from zfoo_py.consumer.hashing import Key
    from zfoo_py.protocol.msgpack_codec import MsgpackCodec
    from zfoo_py.protocol.packet import Binding
    from zfoo_py.router.call import Call
    from zfoo_py.router.router import Router

__all__ = ["OMITTED", "Consumer"]

A = TypeVar("A", bound=Packet)


class _Omitted:
    """The key that was not given: not None, which asks for a random provider."""

    def __repr__(self) -> str:
        return "<omitted>"


OMITTED: Final = _Omitted()

# Keys of these exact types need no look at their insides.
_PLAIN_KEYS = frozenset({int, str, bytes, float, bool, type(None)})


class Consumer:
    """Asks the providers of the consumed service types; every method may be called from any thread.

    A key decides which provider gets a packet and which lane handles it there: the same key reaches the same
    provider until membership changes, and its packets are handled in order. It is given as ``key=``, or taken
    from the field named by ``balance_by``. For a policy that hashes, an omitted key is `MissingKeyError`;
    ``key=None`` asks for a random provider on purpose.
    """

    def __init__(
        self,
        runtime: Runtime,
        codec: MsgpackCodec,
        actor: CoreRef,
        router: Router,
        *,
        ask_timeout_s: float,
        needs_key: Mapping[str, bool],
    ) -> None:
        self._time = runtime.time
        self._runtime = runtime
        self._encode = codec.encode
        self._binding = codec.table.binding
        self._actor = actor
        self._router = router
        self._ask_timeout_s = ask_timeout_s
        self._needs_key = dict(needs_key)

    @overload
    def async_ask(
        self, packet: Ask[A], answer: None = None, *, key: Key | None = ..., timeout_s: float | None = None
    ) -> Answer[A]: ...

    @overload
    def async_ask(
        self, packet: Packet, answer: type[A], *, key: Key | None = ..., timeout_s: float | None = None
    ) -> Answer[A]: ...

    def async_ask(
        self,
        packet: Packet,
        answer: type[Any] | None = None,
        *,
        key: Any = OMITTED,
        timeout_s: float | None = None,
    ) -> Answer[Any]:
        """Ask the provider of a key; the ask is on its way when this returns.

        Args:
            packet: the question; its class decides the service type.
            answer: class of the answer; None takes it from ``Ask[Answer]``.
            key: int, str, bool, float, bytes, UUID, Enum or a tuple of these; None: a random provider, no lane.
            timeout_s: seconds until `AskTimeoutError`, at most 49 days; None: the node's ``ask_timeout_s``.

        Returns:
            The answer to come: await it on any loop, or use its ``when_complete``. It ends with the packet, or
            with `NoProviderError`, `AskTimeoutError`, `SessionClosedError`, `RemoteError`,
            `UnexpectedPacketError`, `BackpressureError` or `BalancerError`.

        Raises:
            EncodeError, UnmappedPacketError, PacketError, MissingKeyError, TypeError, ValueError: at once, at the
                call site; nothing was sent.
        """
        binding = self._binding(packet.__class__)
        expects = answer if answer is not None else binding.answer_class
        if expects is None:
            raise _no_answer_class(packet)
        if key is OMITTED:
            key = self._own_key(binding, packet)
        if key.__class__ not in _PLAIN_KEYS:
            check_key(key)
        head = self._encode(packet)
        given_s = self._ask_timeout_s if timeout_s is None else check_timeout(timeout_s)
        future: Answer[Any] = Answer(self._runtime)
        within = current_call.get()
        if within is None:
            deadline_s = self._time() + given_s
            record = AskRecord(
                binding, head, key, deadline_s, expects, future, self._actor, timeout_s is None, timeout_s=given_s
            )
        else:  # its time is the asker's, and it says who waits for it
            record = self._ask_within(within, binding, head, key, expects, future, given_s)
        if self._router.has_interceptors:
            self._router.intercept_ask(packet, key, future)
        runtime = self._runtime
        try:
            if get_ident() != runtime.thread_ident:
                self._actor.tell(record)
            elif runtime.is_quiet and not runtime.in_turn:
                runtime.tell_at_once(self._actor, record)
            else:
                self._actor.tell(record)
                runtime.drain_batch()
        except (ActorDeadError, InboxFullError) as error:
            fail(record, _not_taken(packet, binding, error))
        return future

    def _ask_within(
        self, call: Call, binding: Binding, head: bytes, key: Any, expects: Any, future: Answer[Any], own_s: float
    ) -> AskRecord:
        given_s, chain = call.lends(own_s)
        deadline_s = self._time() + given_s
        is_default = given_s == self._ask_timeout_s
        return AskRecord(
            binding, head, key, deadline_s, expects, future, self._actor, is_default, timeout_s=given_s, chain=chain
        )

    @overload
    def sync_ask(
        self, packet: Ask[A], answer: None = None, *, key: Key | None = ..., timeout_s: float | None = None
    ) -> A: ...

    @overload
    def sync_ask(
        self, packet: Packet, answer: type[A], *, key: Key | None = ..., timeout_s: float | None = None
    ) -> A: ...

    def sync_ask(self, packet: Any, answer: Any = None, *, key: Any = OMITTED, timeout_s: float | None = None) -> Any:
        """Ask and wait in this thread; otherwise as `async_ask`, whose errors are raised here.

        Raises:
            BlockingCallError: an event loop runs in this thread; await `async_ask` there.
        """
        refuse_blocking("sync_ask()", "await async_ask()")
        return self._router.wait(self.async_ask(packet, answer, key=key, timeout_s=timeout_s), packet, timeout_s)

    def send(self, packet: Packet, *, key: Any = OMITTED) -> Answer[None]:
        """Send one way to the provider of a key.

        Returns:
            A future that ends when the packet is in the outbox of a session, or cannot be: awaiting it is
            optional, and a failure nobody awaits is published as `zfoo_py.events.Undelivered`.

        Raises:
            EncodeError, UnmappedPacketError, MissingKeyError, TypeError: at once; nothing was sent.
        """
        binding = self._binding(packet.__class__)
        if key is OMITTED:
            key = self._own_key(binding, packet)
        if key.__class__ not in _PLAIN_KEYS:
            check_key(key)
        sent: Answer[None] = Answer(self._runtime)
        order = SendOrder(binding, self._encode(packet), key, sent)
        try:
            self._actor.tell(order)
        except (ActorDeadError, InboxFullError) as error:
            sent.settle(error=_not_taken(packet, binding, error))
        return sent

    def stats(self) -> Answer[dict[str, Any]]:
        """Ask for the figures of all consumed service types; awaitable, and ``get(timeout=…)`` in threads."""
        answer: Answer[dict[str, Any]] = self._question(TakeStats())
        return answer

    def explain(self, about: str | ProtocolModule | type[Packet] | Packet, key: Any = OMITTED) -> Answer[Explanation]:
        """Ask why a key goes where it goes; changes nothing. Awaitable, and ``get(timeout=…)`` in threads.

        Args:
            about: the service type: a module or its name, a packet class, or a packet, whose ``balance_by`` field
                gives the key if none is given.
            key: as of `async_ask`.

        Returns:
            The explanation to come: `str()` it, or take its ``as_dict()``.

        Raises:
            ConfigError: at once; this node does not consume the module.
            MissingKeyError, UnmappedPacketError, TypeError: at once.
        """
        if isinstance(about, Packet):
            binding = self._binding(type(about))
            module = binding.module.name
            key = self._own_key(binding, about) if key is OMITTED else key
        elif isinstance(about, type):
            module = self._binding(about).module.name
        else:
            module = about.name if isinstance(about, ProtocolModule) else about
        if module not in self._needs_key:
            consumed = ", ".join(sorted(self._needs_key)) or "none"
            msg = f"this node does not consume module {module!r}; it consumes {consumed}"
            raise ConfigError(msg)
        if key is OMITTED and self._needs_key[module]:
            msg = f"which key of module {module!r} is to be explained? Give one: explain({module!r}, key)"
            raise MissingKeyError(msg)
        key = None if key is OMITTED else key
        if key.__class__ not in _PLAIN_KEYS:
            check_key(key)
        answer: Answer[Explanation] = self._question(Explain(module, key))
        return answer

    def explain_change(self, version: int | None = None) -> Answer[tuple[ChangeReport, ...]]:
        """Ask what a membership version did: who came and left, what moved, and that nothing else did.

        Args:
            version: of the membership; None: the last change of each consumed module.

        Returns:
            A report per consumed module that it changed. Ends with `ConfigError` if the version is not among the
            last 64 changes.
        """
        answer: Answer[tuple[ChangeReport, ...]] = self._question(ExplainChange(version))
        return answer

    def _question(self, question: Any) -> Any:
        return asked(self._runtime, self._actor, question)

    def _own_key(self, binding: Binding, packet: Packet) -> Any:
        field = binding.balance_by
        if field is not None and (key := getattr(packet, field)) is not None:
            return key
        module = binding.module.name
        if self._needs_key.get(module):
            name = packet.__class__.__name__
            how = f'declare balance_by="<field>" on {name}' if field is None else f"set {name}.{field}, which is None"
            msg = (
                f"{name} has no key, and module {module!r} is balanced by key: give key=…, or {how}; "
                f"for a random provider say key=None"
            )
            raise MissingKeyError(msg)
        return None


def _no_answer_class(packet: Packet) -> PacketError:
    name = packet.__class__.__name__
    msg = f"which class answers {name}? Declare class {name}(Ask[Answer]), or ask with async_ask(packet, Answer)"
    return PacketError(msg)


def _not_taken(packet: Packet, binding: Binding, error: Exception) -> SessionClosedError | BackpressureError:
    about: dict[str, Any] = {"module": binding.module.name, "packet": packet.__class__.__name__}
    if isinstance(error, InboxFullError):
        msg = f"{about['packet']} was not sent: {error.limit_messages} orders wait in this node's consumer: ask less"
        return BackpressureError(msg, **about)
    return SessionClosedError(f"{about['packet']} was not sent: the node has stopped", may_have_run=False, **about)
