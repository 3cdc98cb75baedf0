"""A policy of the user's own, behind a guard: it may be wrong, slow, or raise, and harms no other service type.

A policy is any object with ``pick(view, key)`` that returns one of ``view.providers``; it may have ``on_up(provider)``
and ``on_down(provider)``, the attributes ``needs_key``, ``keeps_keys`` and
``counts_in_flight``, and whatever else `Balancer` has. It
is called in the turns of the consumer, so nothing else of the node happens meanwhile, and it sees providers read-only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import msgspec

from zfoo_py.consumer.balancer import Balancer, BalancerOptions, BalancerStats, Provider, ServiceView
from zfoo_py.consumer.explain import Decision
from zfoo_py.consumer.hashing import Key
from zfoo_py.consumer.in_flight import InFlight
from zfoo_py.consumer.orders import text_of
from zfoo_py.errors import BalancerError

__all__ = ["ProviderView", "UserPolicy", "made"]

# A turn of the consumer is to take 2 ms at most: all service types of the node wait for it.
SLOW_S = 0.002
# A slow policy is slow all the time, so it is said once a minute, with the worst of it.
WARN_EVERY_S = 60.0
# The sweep is called again and again until it is done: for the 100,000 entries of a cache 200 times, 1,600 in a node of
# 8 service types. One that never ends would take a whole core; after so many it waits for the next tick.
SWEEPS_PER_TICK = 5_000

# What is read of a policy before it is called; also a property may raise.
_LOOKED_UP = ("pick", "needs_key", "keeps_keys", "counts_in_flight")


class ProviderView:
    """A provider as a user's policy sees it: the same object from its ``on_up`` to its ``on_down``, for reading only.

    Attributes:
        ring_name: its identity.
        text: its registration as announced.
        node_id, address, services, weight: of the registration.
        in_flight: asks on the way to it, for a policy that sets ``counts_in_flight = True``; else 0.
    """

    __slots__ = ("_in_flight", "_provider")

    def __init__(self, provider: Provider, in_flight: InFlight[Provider]) -> None:
        self._provider = provider
        self._in_flight = in_flight

    ring_name = property(lambda self: self._provider.ring_name)
    text = property(lambda self: self._provider.text)
    node_id = property(lambda self: self._provider.node_id)
    address = property(lambda self: self._provider.address)
    services = property(lambda self: self._provider.services)
    weight = property(lambda self: self._provider.weight)
    in_flight = property(lambda self: self._in_flight.counts.get(self._provider, 0))

    def __repr__(self) -> str:
        return f"<ProviderView {self._provider.ring_name!r}>"


def made(
    name: str,
    make: Callable[..., Any],
    options: BalancerOptions,
    *,
    clock: Callable[[], float],
    warn: Callable[[str], None],
) -> Balancer:
    """Return a policy that is safe to call: zfoo_py's own as it is, any other behind its guard.

    One whose constructor raises, or that has no ``pick``, answers every ask of its service type with a `BalancerError`.

    Args:
        name: of the policy, for texts.
        make: called with the options; a class without constructor, without.
        options: of the consumer.
        clock: seconds, finer than a millisecond.
        warn: takes a text for the log.
    """
    policy: Any = None
    fault = ""
    what = "its constructor"
    try:
        is_plain = isinstance(make, type) and not any("__init__" in vars(one) for one in make.__mro__[:-1])
        policy = make() if is_plain else make(options)
        for what in _LOOKED_UP:
            getattr(policy, what, None)
    except Exception as error:  # noqa: BLE001 - the user's
        policy = None
        fault = f"raised {text_of(error)} in {what}: mend it and restart the node"
    # Looked up in the class itself: who changes one of our policies is guarded again.
    if isinstance(policy, Balancer) and not vars(type(policy)).get("is_guarded", True):
        return policy
    if not fault and not callable(getattr(policy, "pick", None)):
        fault = f"is a {type(policy).__name__} without pick(view, key): define it and restart the node"
    if fault:
        warn(f"the balancer {name!r} {fault}; until then every ask of its service type is a BalancerError")
    return UserPolicy(name, policy, fault, clock=clock, warn=warn)


class UserPolicy(Balancer):
    """Calls a user's policy, checks what it returns, takes the time, and turns what it raises into `BalancerError`.

    Args:
        name: of the policy, for texts.
        policy: the user's.
        fault: why there is none; "" if there is.
        clock, warn: as of `made`.
    """

    def __init__(
        self, name: str, policy: Any, fault: str = "", *, clock: Callable[[], float], warn: Callable[[str], None]
    ) -> None:
        self._name = name
        self._clock = clock
        self._warn = warn
        self._warned_s = -WARN_EVERY_S
        self._slow_calls = 0
        self._worst_s = 0.0
        self._sweeps = 0
        self._never_swept_s = -WARN_EVERY_S
        self.in_flight = InFlight()
        self._views: dict[Provider, ProviderView] = {}
        self._real: dict[ProviderView, Provider] = {}
        self._seen: ServiceView | None = None  # what the view below was made of
        self._view: ServiceView | None = None
        self._fault = fault
        self._policy = policy
        self.needs_key = bool(getattr(policy, "needs_key", True))  # type: ignore[misc]
        self.keeps_keys = bool(getattr(policy, "keeps_keys", True))  # type: ignore[misc]
        self.counts_in_flight = bool(getattr(policy, "counts_in_flight", False))  # type: ignore[misc]

    def pick(self, view: ServiceView, key: Key | None) -> Provider | None:
        """What the policy picks.

        Raises:
            BalancerError: it raised, or returned none of the view's providers; says what to mend.
        """
        picked = self._call("pick", self._read_only(view), key)
        real = self._real.get(picked) if picked.__class__ is ProviderView else None
        if real is None and (picked is not None or view.providers):
            raise BalancerError(self._wrong(picked, view), module=view.module)
        return real

    def on_up(self, provider: Provider) -> None:
        """Tell the policy, if it wants to know; the provider may be picked even if it raises."""
        handle = ProviderView(provider, self.in_flight)
        self._views[provider] = handle
        self._real[handle] = provider
        self.in_flight.join(provider)
        self._call("on_up", handle)

    def on_down(self, provider: Provider) -> None:
        """Tell the policy, if it wants to know; the provider is no right pick any more even if it raises."""
        handle = self._views.pop(provider)
        del self._real[handle]
        self.in_flight.leave(provider)
        self._call("on_down", handle)

    def on_weight(self, provider: Provider) -> None:
        """As of `Balancer`, if the policy has it; else ``on_down`` and ``on_up`` again."""
        handle = self._views[provider]
        if hasattr(self._policy, "on_weight"):
            self._call("on_weight", handle)
            return
        self._call("on_down", handle)
        self._call("on_up", handle)

    def follows(self, view: ServiceView) -> bool:
        """Whether it could be told of exactly the view's providers."""
        return self._views.keys() == set(view.providers)

    def tick(self, now_s: int) -> None:
        """As of `Balancer`, if the policy has it."""
        self._sweeps = 0
        self._call("tick", now_s)

    def sweep(self, budget_entries: int) -> bool:
        """As of `Balancer`, if the policy has it; one that does not end goes on with the next tick."""
        if self._call("sweep", budget_entries) is not False:
            return True
        self._sweeps += 1
        if self._sweeps < SWEEPS_PER_TICK:
            return False
        now_s = self._clock()
        if now_s - self._never_swept_s >= WARN_EVERY_S:
            self._never_swept_s = now_s
            self._warn(
                f"balancer {self._name!r} has swept {self._sweeps} times since the last tick and still returns False: "
                f"it goes on with the next tick; return True when nothing is left to sweep"
            )
        return True

    def explain(self, view: ServiceView, key: Key | None) -> Decision:  # noqa: ARG002
        """Only that it is the user's: nobody else knows whether asking it again would change something."""
        return Decision(
            None, (f"the policy {self._name!r} is one of your own: zfoo_py cannot look into it",), is_certain=False
        )

    def stats(self) -> BalancerStats:
        """As of `Balancer`, if the policy has it."""
        stats = self._call("stats")
        return stats if isinstance(stats, BalancerStats) else BalancerStats()

    def _call(self, what: str, *args: Any) -> Any:
        """Call a method of the policy; what it need not have is not called.

        Raises:
            BalancerError: it raised, or there is no policy.
        """
        if self._fault:
            if what == "pick":
                raise BalancerError(self._fault)
            return None
        began_s = self._clock()
        try:
            method = getattr(self._policy, what, None)
            return None if method is None else method(*args)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also SystemExit or CancelledError, which would end the consumer for all types
            raise BalancerError(f"raised {text_of(error)} in {what}: mend the policy") from error
        finally:
            took_s = self._clock() - began_s
            if took_s > SLOW_S:
                self._slow(what, took_s, began_s + took_s)

    def _slow(self, what: str, took_s: float, now_s: float) -> None:
        self._slow_calls += 1
        self._worst_s = max(self._worst_s, took_s)
        if now_s - self._warned_s < WARN_EVERY_S:
            return
        self._warn(
            f"balancer {self._name!r} is slow: {what} took {took_s * 1e3:.1f} ms, and every service type of this node "
            f"waits meanwhile ({self._slow_calls} calls over {SLOW_S * 1e3:.0f} ms since the last such line, "
            f"the worst {self._worst_s * 1e3:.1f} ms): do what takes time in on_up and on_down, or elsewhere"
        )
        self._warned_s, self._slow_calls, self._worst_s = now_s, 0, 0.0

    def _read_only(self, view: ServiceView) -> ServiceView:
        if view is not self._seen:
            self._seen = view
            handles = tuple(self._views[provider] for provider in view.providers if provider in self._views)
            self._view = msgspec.structs.replace(view, providers=cast("tuple[Provider, ...]", handles))
        assert self._view is not None
        return self._view

    def _wrong(self, picked: object, view: ServiceView) -> str:
        if picked is None:
            what = f"None, where {len(view.providers)} providers serve the module"
        elif isinstance(picked, ProviderView):
            what = f"{picked.ring_name!r}, which does not serve the module now: forget a provider in on_down"
        else:
            what = f"a {type(picked).__name__}, which is no provider"
        return f"returned {what}; return one of view.providers"
