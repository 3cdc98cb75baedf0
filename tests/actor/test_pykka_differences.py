"""Where our runtime differs from Pykka's on purpose, and every private name of Pykka that it stands on."""

from __future__ import annotations

import ast
import asyncio
import importlib
from pathlib import Path

import pykka
import pytest

from tests.support.actors import HANG_S, Died, LoopThread, as_another_thread, fail, recorder, step_runtime
from zfoo_py import actor as actor_package
from zfoo_py.errors import BlockingCallError, InboxFullError


def test_loop_actors_are_started_by_a_runtime_or_within_a_turn():
    with pytest.raises(RuntimeError, match=r"Runtime\.spawn"):
        recorder().start()
    with LoopThread() as thread:
        child = recorder()
        parent = thread.spawn(recorder())
        ref = parent.ask(lambda _: child.start(), timeout=HANG_S)
        assert ref.ask("ping", timeout=HANG_S) == "ping"
        assert ref.ask(lambda actor: actor.runtime, timeout=HANG_S) is thread.runtime


def test_a_tell_in_a_turn_to_a_dead_or_full_actor_is_given_back_and_does_not_raise():
    with LoopThread() as thread:
        dead, full = recorder(), recorder(inbox_limit_messages=0)
        gone, crowded, sender = thread.spawn(dead), thread.spawn(full), thread.spawn(recorder())
        gone.stop(timeout=HANG_S)
        sender.ask(lambda _: (gone.tell("late"), crowded.tell("too much")), timeout=HANG_S)
        assert sender.is_alive()
        assert (dead.undelivered, full.undelivered) == (["late"], ["too much"])
        assert thread.runtime.undelivered == 2


def test_a_tell_from_elsewhere_to_a_full_actor_raises_and_an_ask_fails():
    with LoopThread() as thread:
        ref = thread.spawn(recorder(inbox_limit_messages=0))
        for tell in (lambda: ref.tell("x"), lambda: thread.call(ref.tell, "x"), lambda: ref.ask("x", timeout=HANG_S)):
            with pytest.raises(InboxFullError, match="Recorder is full"):
                tell()
        assert isinstance(ref.ask("x", block=False).exception(), InboxFullError)
        assert ref.stop(timeout=HANG_S) is True, "stop is never refused"


@pytest.mark.parametrize("error", [Died(), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
@pytest.mark.parametrize("how", ["tell", "ask"])
def test_a_base_exception_ends_nobody_but_its_actor(error, how):
    bystander = pykka.ThreadingActor.start()
    with LoopThread() as thread:
        neighbour, victim = thread.spawn(recorder()), thread.spawn(recorder())
        if how == "tell":
            victim.tell(fail(error))
        else:
            with pytest.raises(pykka.ActorDeadError, match="died") as caught:
                victim.ask(fail(error), timeout=HANG_S)
            assert caught.value.__cause__ is error
        assert victim.actor_stopped.wait(HANG_S)
        assert neighbour.ask("ping", timeout=HANG_S) == "ping"
        assert bystander.is_alive()
    assert bystander.stop(timeout=HANG_S) is True


def test_loop_actors_are_not_in_pykkas_registry_and_stop_all_leaves_them_alone():
    with LoopThread() as thread:
        ref = thread.spawn(recorder())
        assert pykka.ActorRegistry.get_by_urn(ref.actor_urn) is None
        pykka.ActorRegistry.stop_all(timeout=HANG_S)
        assert ref.is_alive()


def test_what_a_thread_tells_may_arrive_after_what_the_loop_tells_later():
    """Order is kept per sender; between senders Pykka's inbox keeps it, too, and ours does not promise it."""
    runtime, loop = step_runtime()
    cls = recorder()
    ref = runtime.spawn(cls)
    with as_another_thread(runtime):
        ref.tell("thread 1")
        ref.tell("thread 2")
    ref.tell("loop 1")
    ref.tell("loop 2")
    runtime.drain()
    loop.run()
    assert cls.handled == ["loop 1", "loop 2", "thread 1", "thread 2"]


def test_blocking_calls_raise_where_a_loop_runs():
    with LoopThread() as thread:
        ref = thread.spawn(recorder(add=lambda actor: actor.actor_urn, step=1))

        async def main():
            proxy = ref.proxy()
            for call in (lambda: ref.ask("x"), ref.stop, lambda: proxy.add().get(), lambda: setattr(proxy, "step", 2)):
                with pytest.raises(BlockingCallError, match="await"):
                    call()
            return await proxy.step

        assert asyncio.run(main()) == 1, "nothing but add() was sent"


# ------------------------------------------------------------------------------------ what the pin is for
# Module → its private names that zfoo_py/actor imports.
PRIVATE_IMPORTS = {"pykka._envelope": {"Envelope"}, "pykka.messages": {"_ActorStop"}}
# Private names of Pykka's classes that zfoo_py/actor overrides or uses.
PRIVATE_ATTRIBUTES = {
    "_actor_ref",
    "_create_actor_inbox",
    "_create_future",
    "_get_hook",
    "_handle_receive",
    "_start_actor_loop",
    "_stop",
}
TREES = [
    ast.parse(source.read_text(encoding="utf-8"))
    for source in sorted(Path(str(actor_package.__file__)).parent.glob("*.py"))
]


def private_names_of_pykka() -> set[str]:
    classes = (pykka.Actor, pykka.ThreadingActor, pykka.ActorRef, pykka.Future)
    names = {name for each in classes for base in each.__mro__ for name in vars(base).get("__annotations__", ())}
    names |= {name for each in classes for name in vars(each)} | {"_actor_weakref"}
    return {name for name in names if name.startswith("_") and not name.startswith(("__", "_abc_"))}


def test_every_private_import_is_listed_and_there():
    found: dict[str, set[str]] = {}
    for node in (node for tree in TREES for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)):
        if (node.module or "").startswith("pykka"):
            private = {alias.name for alias in node.names if alias.name.startswith("_") or "._" in str(node.module)}
            found.setdefault(str(node.module), set()).update(private)
    assert {module: names for module, names in found.items() if names} == PRIVATE_IMPORTS
    for module, names in PRIVATE_IMPORTS.items():
        assert all(hasattr(importlib.import_module(module), name) for name in names)


def test_every_private_attribute_is_listed_and_pykkas():
    used = set()
    for node in (node for tree in TREES for node in ast.walk(tree)):
        if isinstance(node, ast.Attribute):
            used.add(node.attr)
        elif isinstance(node, ast.FunctionDef):
            used.add(node.name)
    assert used & private_names_of_pykka() == PRIVATE_ATTRIBUTES


def test_pykkas_loop_calls_the_hooks_that_we_override():
    """Pykka's own runtime sends each message through `_handle_receive`, and a stop through `_stop`."""
    seen = []

    class Watched(pykka.ThreadingActor):
        def _handle_receive(self, message):
            seen.append(message)
            return super()._handle_receive(message)

        def _stop(self):
            seen.append("stop")
            super()._stop()

    ref = Watched.start()
    ref.ask(pykka.messages.ProxyGetAttr(("actor_urn",)), timeout=HANG_S)
    ref.stop(timeout=HANG_S)
    assert seen == [(("actor_urn",),), pykka.messages._ActorStop(), "stop"]


def test_envelopes_and_refs_have_the_shape_we_rely_on():
    envelope = pykka._envelope.Envelope("message", reply_to=None)
    assert (envelope.message, envelope.reply_to) == ("message", None)
    with LoopThread() as thread:
        ref = thread.spawn(recorder())
        actor = ref._actor_weakref()
        assert actor._actor_ref is actor.actor_ref is ref
        for name in ("actor_urn", "actor_inbox", "actor_stopped"):
            assert getattr(actor, name) is getattr(ref, name)


def test_pykka_is_pinned_to_the_line_that_was_read():
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert '"pykka>=4.5,<5"' in text
