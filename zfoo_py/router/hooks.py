"""What an application hangs around asks and receives: zfoo's before/after hooks, called in order."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from loguru import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from zfoo_py.net.session import Session
    from zfoo_py.protocol.packet import Packet

__all__ = ["Hooks", "Interceptor"]


class Interceptor(Protocol):
    """zfoo's before/after hooks around asks and receives. Called on the loop or the asking thread; must not wait.

    A hook that raises in ``before_…`` fails the ask, or answers it with an error; in ``after_…`` it is logged. Whose
    ``before_…`` has run hears ``after_…``, also when ``before_…`` of a later one raised.
    """

    def before_ask(self, packet: Packet, key: object) -> None:
        """Run before a packet is asked."""

    def after_ask(self, packet: Packet, answer: Packet | None, error: BaseException | None) -> None:
        """Run when an ask has ended."""

    def before_receive(self, session: Session, packet: Packet) -> None:
        """Run before a packet goes to its receiver."""

    def after_receive(self, session: Session, packet: Packet, error: BaseException | None) -> None:
        """Run when the receiver has ended."""


class Hooks:
    """The interceptors of one node."""

    def __init__(self, interceptors: Sequence[Interceptor]) -> None:
        self._all = tuple(interceptors)

    def before_ask(self, packet: Packet, key: object, answer: Any) -> None:
        """Run the hooks before an ask, and see to those after it. On the asking thread. Raises what a hook raises."""
        self._run_before(
            lambda one: one.before_ask(packet, key),
            lambda error, one: one.after_ask(packet, None, error),
        )
        answer.add_done_callback(
            lambda done: _run_after(
                self._all, lambda one: one.after_ask(packet, done.value(), done.exception()), "after_ask"
            )
        )

    def before_receive(self, session: Session, packet: Packet) -> None:
        """Run the hooks before a receiver. Raises what a hook raises: then the receiver must not run."""
        self._run_before(
            lambda one: one.before_receive(session, packet),
            lambda error, one: one.after_receive(session, packet, error),
        )

    def after_receive(self, session: Session, packet: Packet, error: BaseException | None) -> None:
        """Run the hooks after a receiver."""
        _run_after(self._all, lambda one: one.after_receive(session, packet, error), "after_receive")

    def _run_before(
        self, before: Callable[[Interceptor], None], after: Callable[[BaseException, Interceptor], None]
    ) -> None:
        for number, interceptor in enumerate(self._all):
            try:
                before(interceptor)
            except BaseException as error:
                _run_after(self._all[:number], partial(after, error), "after_…")
                raise


def _run_after(interceptors: tuple[Interceptor, ...], after: Callable[[Interceptor], None], what: str) -> None:
    for interceptor in interceptors:
        try:
            after(interceptor)
        except Exception as error:  # noqa: BLE001 - what it is about has ended; whoever waits must hear of that
            logger.opt(exception=error).error("{} of {!r} raised", what, interceptor)
