"""Receivers: functions and methods that handle packets, found and checked before a node starts."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, overload

import msgspec

from zfoo_py.errors import ReceiverError, UnmappedPacketError
from zfoo_py.protocol.packet import Packet

if TYPE_CHECKING:
    from zfoo_py.protocol.packet import PacketTable, ProtocolModule

__all__ = ["Receiver", "check_provided", "collect_receivers", "packet_receiver"]

F = TypeVar("F", bound=Callable[..., Any])

_MARK = "__zfoo_receiver__"


class ReceiverMark(msgspec.Struct, frozen=True):
    """What `packet_receiver` leaves on a function."""

    reentrant: bool


class Receiver(msgspec.Struct, frozen=True):
    """One checked receiver.

    Attributes:
        function: called with (session, packet) or (session, packet, call).
        packet_class: what it handles.
        is_async: a coroutine function runs on the loop, any other on a worker thread.
        wants_call: it has the third parameter.
        declares_none: its annotation is ``-> None``: zfoo's style, it answers with ``router.send``.
        reentrant: opens the lane's gate: it may run while another receiver of its lane does.
        where: "name (file:line)", for messages.
    """

    function: Callable[..., Any]
    packet_class: type[Packet]
    is_async: bool
    wants_call: bool
    declares_none: bool
    reentrant: bool
    where: str


@overload
def packet_receiver(function: F, /) -> F: ...


@overload
def packet_receiver(*, reentrant: bool = False) -> Callable[[F], F]: ...


def packet_receiver(function: Any = None, /, *, reentrant: bool = False) -> Any:
    """Mark a function or method as the receiver of the packet its second parameter is annotated with.

    It only marks: a node handles what it is given as ``receivers=``. Parameters are ``(session, packet)`` or
    ``(session, packet, call)``. A coroutine function runs on the node's loop, any other function on a worker
    thread. The returned packet is the answer.

    Args:
        function: the function.
        reentrant: let it run while another receiver of the same lane is suspended or at work.
    """

    def mark(marked: F) -> F:
        setattr(marked, _MARK, ReceiverMark(reentrant))
        return marked

    return mark if function is None else mark(function)


def collect_receivers(sources: Iterable[object], table: PacketTable) -> dict[type[Packet], Receiver]:
    """Find the marked functions in modules, among functions and on controller objects, and check them.

    Args:
        sources: modules, functions, or objects with marked methods. Of a class in a module that has marked methods
            and needs no arguments, one object is made here: each node has one of its own, with its own state.
        table: where their packets must be mapped.

    Raises:
        ReceiverError: a receiver is wrong or doubled, or a source holds none; names function and file line.
    """
    receivers: dict[type[Packet], Receiver] = {}
    seen: set[tuple[int, int]] = set()
    for source in sources:
        found = _marked(source)
        for function in found:
            identity = (id(getattr(function, "__func__", function)), id(getattr(function, "__self__", None)))
            if identity in seen:  # the same function, by its module and by its name
                continue
            seen.add(identity)
            receiver = _check(function, table)
            other = receivers.get(receiver.packet_class)
            if other is not None:
                msg = (
                    f"{receiver.packet_class.__name__} has two receivers, {other.where} and {receiver.where}: "
                    f"keep one, or give the packet of the other a class of its own"
                )
                raise ReceiverError(msg)
            receivers[receiver.packet_class] = receiver
    return receivers


def check_provided(receivers: Mapping[type[Packet], Receiver], provided: Iterable[ProtocolModule]) -> None:
    """Check that every provided module has a receiver.

    Raises:
        ReceiverError: a module has none.
    """
    served = {module.table.binding(packet_class).module.name for module in provided for packet_class in receivers}
    for module in provided:
        if module.name not in served:
            msg = (
                f"the node provides module {module.name!r} but has no receiver of any of its packets: mark one with "
                f"@packet_receiver, and give its module to the node as receivers=[...], or an object if its class "
                f"needs arguments"
            )
            raise ReceiverError(msg)


def _marked(source: object) -> list[Callable[..., Any]]:
    if isinstance(source, types.ModuleType):
        # Only what is defined there: an imported receiver belongs to the module it is imported from.
        own = [value for value in vars(source).values() if getattr(value, "__module__", None) == source.__name__]
        kinds = dict.fromkeys(value for value in own if isinstance(value, type) and not issubclass(value, Packet))
        made = [kind() for kind in kinds if _is_controller(kind)]
        return [value for value in own if hasattr(value, _MARK)] + [one for each in made for one in _methods(each)]
    if isinstance(source, type):
        msg = f"receivers=[{source.__name__}]: give an object of that class, {source.__name__}(...), not the class"
        raise ReceiverError(msg)
    if inspect.isroutine(source):
        if not hasattr(source, _MARK):
            msg = f"{_where(source)} is given as a receiver but is not marked: put @packet_receiver above it"
            raise ReceiverError(msg)
        return [source]
    found = _methods(source)
    if not found:
        msg = f"{source!r} is given as a receiver, but no method of {type(source).__name__} has @packet_receiver"
        raise ReceiverError(msg)
    return found


def _methods(source: object) -> list[Callable[..., Any]]:
    return [getattr(source, name) for name in _marked_names(type(source))]


def _marked_names(kind: type) -> list[str]:
    members = inspect.getmembers_static(kind)
    return [name for name, value in members if hasattr(getattr(value, "__func__", value), _MARK)]


def _is_controller(kind: type) -> bool:
    """Return whether a class has marked methods and can be made without arguments."""
    if not _marked_names(kind) or inspect.isabstract(kind):
        return False
    try:
        inspect.signature(kind).bind()
    except (TypeError, ValueError):  # it needs arguments, or has no signature: its objects are given, not found
        return False
    return True


def _check(function: Callable[..., Any], table: PacketTable) -> Receiver:
    where = _where(function)
    plain = getattr(function, "__func__", function)
    mark: ReceiverMark = getattr(plain, _MARK)
    parameters = list(inspect.signature(function).parameters.values())
    positional = [p for p in parameters if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}]
    if len(positional) != len(parameters) or len(positional) not in {2, 3}:
        msg = f"{where} must take (session, packet) or (session, packet, call), not ({', '.join(map(str, parameters))})"
        raise ReceiverError(msg)
    try:
        hints = typing.get_type_hints(plain)
    except Exception as error:
        msg = f"the annotations of {where} cannot be read ({error}): name classes that its module can see"
        raise ReceiverError(msg) from error
    name = positional[1].name
    packet_class = hints.get(name)
    if packet_class is None:
        msg = f"{where}: annotate the parameter {name!r} with the packet class that it receives"
        raise ReceiverError(msg)
    if not (isinstance(packet_class, type) and issubclass(packet_class, Packet)):
        msg = f"{where}: {name!r} is annotated with {packet_class!r}, which is no Packet class"
        raise ReceiverError(msg)
    try:
        binding = table.binding(packet_class)
    except UnmappedPacketError as error:
        msg = f"{where} receives {packet_class.__name__}, which has no protocol id in this node's table: {error}"
        raise ReceiverError(msg) from error
    returns = hints.get("return")  # None: not annotated; `-> None` is NoneType here
    answer = binding.answer_class
    if isinstance(returns, type) and answer is not None and returns not in {answer, type(None)}:
        allowed = f"{answer.__name__} or None"
        msg = f"{where} is annotated -> {returns.__name__}, but {packet_class.__name__} is answered with {allowed}"
        raise ReceiverError(msg)
    return Receiver(
        function=function,
        packet_class=packet_class,
        is_async=inspect.iscoroutinefunction(plain),
        wants_call=len(positional) == 3,
        declares_none=returns is type(None),
        reentrant=mark.reentrant,
        where=where,
    )


def _where(function: Any) -> str:
    plain = inspect.unwrap(getattr(function, "__func__", function))
    code = getattr(plain, "__code__", None)
    name = getattr(plain, "__qualname__", repr(plain))
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code is not None else name
