"""Every error of zfoo_py, in one small tree.

::

    ZfooError
    ├── DeclarationError (TypeError)        your code: packets, modules, receivers, keys
    │   ├── PacketError                       a packet class, module or id is declared wrongly
    │   │   └── UnmappedPacketError             a class without protocol id was sent or received
    │   ├── ReceiverError                     a receiver is declared wrongly
    │   └── MissingKeyError                   an ask of a keyed service type was made without key
    ├── ConfigError (ValueError)            your configuration: unknown key, wrong type, contradiction
    ├── BlockingCallError (RuntimeError)    a blocking call was made where an event loop runs
    ├── ForkedError (RuntimeError)          a forked child used a node of its parent
    ├── AlreadyAnsweredError (RuntimeError) a receiver answered one ask twice
    ├── NotReadyError (TimeoutError)        a node found no provider of a consumed module in time
    ├── ActorError                          the actor runtime
    │   ├── InboxFullError                    a bounded inbox refused a message
    │   └── IllegalTransitionError            a state machine was driven off its table
    ├── ProtocolError                       the bytes; says whose fault it is
    │   ├── LocalProtocolError                we broke a rule
    │   └── RemoteProtocolError               the peer broke a rule
    │       ├── FrameError                      no frame, or one over the limit: the session closes
    │       ├── DecodeError (ValueError)        a frame whose packet cannot be decoded
    │       └── HelloError                      the peer's Hello is missing, late or of another version
    └── CallError                           an ask or send; says whether the receiver can have run
        ├── EncodeError (ValueError)          the packet cannot be encoded; nothing was sent
        ├── NoProviderError (LookupError)     nobody serves the module
        ├── AskTimeoutError (TimeoutError)    no answer before the deadline
        ├── SessionClosedError (ConnectionError)  the session was lost or was never there
        ├── BackpressureError                 a bounded buffer is full
        ├── BalancerError                     a balancing policy or a key raised
        ├── AskCycleError                     the ask waits for an ask that waits for it
        ├── RemoteError                       the provider answered with an Error packet
        └── UnexpectedPacketError             the answer is of another class than asked for

`CallError.may_have_run` is the honest answer to "may I retry?": False means that the receiver has
certainly not run, True that it may have. An ask that was cancelled (its awaiting task, or `Answer.cancel`)
ends with ``asyncio.CancelledError``, which is no error of this tree. Foreign exceptions are translated once,
at the edge, with ``from``. All of these may be raised on any thread.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "ActorError",
    "AlreadyAnsweredError",
    "AskCycleError",
    "AskTimeoutError",
    "BackpressureError",
    "BalancerError",
    "BlockingCallError",
    "CallError",
    "ConfigError",
    "DeclarationError",
    "DecodeError",
    "EncodeError",
    "ForkedError",
    "FrameError",
    "HelloError",
    "IllegalTransitionError",
    "InboxFullError",
    "LocalProtocolError",
    "MissingKeyError",
    "NoProviderError",
    "NotReadyError",
    "PacketError",
    "ProtocolError",
    "ReceiverError",
    "RemoteError",
    "RemoteProtocolError",
    "SessionClosedError",
    "UnexpectedPacketError",
    "UnmappedPacketError",
    "ZfooError",
]


class ZfooError(Exception):
    """Root of every error that zfoo_py raises on purpose."""


class DeclarationError(ZfooError, TypeError):
    """What was declared in code is wrong; the text names the place and what to write instead."""


class PacketError(DeclarationError):
    """A packet class, protocol id or protocol module is declared wrongly."""


class UnmappedPacketError(PacketError):
    """A packet class without protocol id was sent, received or named by a receiver."""


class ReceiverError(DeclarationError):
    """A receiver is declared wrongly, twice, or not at all."""


class MissingKeyError(DeclarationError):
    """An ask of a service type that is balanced by key was made without a key."""


class ConfigError(ZfooError, ValueError):
    """The configuration is wrong.

    Attributes:
        path: the key's path, such as ``consumer[0].balancer``, or "" if no single key is to blame.
        nearest: the valid name closest to what was written, or None.
    """

    def __init__(self, message: str, *, path: str = "", nearest: str | None = None) -> None:
        self.path = path
        self.nearest = nearest
        hint = f" (did you mean {nearest!r}?)" if nearest else ""
        super().__init__(f"{path}: {message}{hint}" if path else f"{message}{hint}")


def nearest_name(name: str, valid: Iterable[str]) -> str | None:
    """Return the valid name that looks most like ``name``, or None. O(valid)."""
    import difflib  # noqa: PLC0415 - only who made a mistake needs it

    as_written = {one.lower(): one for one in valid}
    return next((as_written[found] for found in difflib.get_close_matches(name.lower(), as_written, n=1)), None)


class BlockingCallError(ZfooError, RuntimeError):
    """A call that waits was made on a thread where an event loop runs; it would hang the loop."""


class ForkedError(ZfooError, RuntimeError):
    """A forked child process used a node that lives in its parent."""


class AlreadyAnsweredError(ZfooError, RuntimeError):
    """A receiver answered one ask twice."""


class NotReadyError(ZfooError, TimeoutError):
    """A node found no provider of a consumed module within ``ready_timeout_s``.

    Attributes:
        missing: names of the modules without provider.
    """

    def __init__(self, message: str, *, missing: Iterable[str] = ()) -> None:
        self.missing = tuple(missing)
        super().__init__(message)


class ActorError(ZfooError):
    """The actor runtime refused something."""


class InboxFullError(ActorError):
    """A bounded inbox refused a message told from outside the loop; try later or send less.

    Attributes:
        limit_messages: the inbox's bound.
    """

    def __init__(self, actor: str, limit_messages: int) -> None:
        self.limit_messages = limit_messages
        super().__init__(f"the inbox of {actor} is full ({limit_messages} messages): send less, or retry later")


class IllegalTransitionError(ActorError):
    """A state machine was driven off its table: a bug, reported instead of guessed around."""


class ProtocolError(ZfooError):
    """The bytes on a session broke a rule; the subclass says whose fault it is."""


class LocalProtocolError(ProtocolError):
    """We broke a rule of the wire."""


class RemoteProtocolError(ProtocolError):
    """The peer broke a rule of the wire."""


class FrameError(RemoteProtocolError):
    """The stream holds no frame, or one over the limit; the session closes."""


class DecodeError(RemoteProtocolError, ValueError):
    """A frame holds no packet that we can decode.

    Attributes:
        signal_id: the ask's signal id, if the attachment was readable and asked for an answer; else None.
        answers: the signal id of the ask that it answers, if it is an answer; else None.
    """

    def __init__(self, message: str, *, signal_id: int | None = None, answers: int | None = None) -> None:
        self.signal_id = signal_id
        self.answers = answers
        super().__init__(message)


class HelloError(RemoteProtocolError):
    """The peer's Hello is missing, late, of another version, or does not match its announcement."""


class CallError(ZfooError):
    """An ask or a send failed.

    Attributes:
        may_have_run: whether the receiver can have run. False: certainly not, so a retry is safe.
        module: name of the protocol module (service type), or "".
        packet: name of the packet class, or "".
        provider: ring name of the chosen provider, or "".
        sid: id of the session used, or None if none was.
        elapsed_s: seconds from the ask to its end; 0.0 for what was refused at the call site.
        timeout_s: seconds that the ask was given, by its caller, the node, or the ask in whose receiver it was
            made; None for a send, and for what was refused at the call site.
    """

    may_have_run: bool = False
    elapsed_s: float = 0.0
    timeout_s: float | None = None

    def __init__(
        self,
        message: str,
        *,
        may_have_run: bool | None = None,
        module: str = "",
        packet: str = "",
        provider: str = "",
        sid: int | None = None,
    ) -> None:
        super().__init__(message)
        if may_have_run is not None:
            self.may_have_run = may_have_run
        self.module = module
        self.packet = packet
        self.provider = provider
        self.sid = sid


class EncodeError(CallError, ValueError):
    """The packet cannot be encoded, or a field has a wrong type; nothing was sent."""


class NoProviderError(CallError, LookupError):
    """No provider serves the module; nothing was sent."""


class AskTimeoutError(CallError, TimeoutError):
    """No answer came before the deadline; a later one is counted and dropped."""

    may_have_run = True


class SessionClosedError(CallError, ConnectionError):
    """The session was lost with the ask in flight, or was not up when it should have been sent."""

    may_have_run = True


class BackpressureError(CallError):
    """A bounded buffer is full; nothing was sent."""


class BalancerError(CallError):
    """A balancing policy raised, or a key could not be turned into text; nothing was sent."""


class AskCycleError(CallError):
    """The ask can only begin when an ask ends that waits for it: each would wait for the other until its deadline.

    Attributes:
        path: the asks that wait for one another, the first one first; the last is the refused one. Each is
            ``node:life.number Packet``.
    """

    def __init__(
        self,
        message: str,
        *,
        path: Iterable[str] = (),
        may_have_run: bool | None = None,
        module: str = "",
        packet: str = "",
        provider: str = "",
        sid: int | None = None,
    ) -> None:
        self.path = tuple(path)
        super().__init__(message, may_have_run=may_have_run, module=module, packet=packet, provider=provider, sid=sid)


class RemoteError(CallError):
    """The provider answered with an Error packet: its receiver raised, or it refused the ask.

    Attributes:
        code: the code of the Error packet; `zfoo_py.protocol.common` lists zfoo_py's own.
        remote_type: name of the exception's class, if its receiver raised; else "".
        remote_message: what the exception, or else the Error packet, says; cut after 1,000 characters.
        remote_traceback: of the exception, if the provider sends them (``limits.send_tracebacks``); else "".
    """

    may_have_run = True

    def __init__(
        self,
        code: int,
        remote_message: str,
        *,
        remote_type: str = "",
        remote_traceback: str = "",
        advice: str = "",
        may_have_run: bool | None = None,
        module: str = "",
        packet: str = "",
        provider: str = "",
        sid: int | None = None,
    ) -> None:
        self.code = code
        self.remote_type = remote_type
        self.remote_message = remote_message
        self.remote_traceback = remote_traceback
        said = ": ".join(part for part in (remote_type, remote_message) if part)
        text = f"{packet or 'the ask'} was answered with error {code}: {said}"
        super().__init__(
            f"{text}; {advice}" if advice else text,
            may_have_run=may_have_run,
            module=module,
            packet=packet,
            provider=provider,
            sid=sid,
        )


class UnexpectedPacketError(CallError):
    """The answer is of another class than the one asked for; the receiver has run."""

    may_have_run = True
