"""Receivers are found and checked before a node starts; every fault names function, file and line."""

from __future__ import annotations

import types
from typing import Any

import pytest

from tests.support.packets import TABLE, PageAnswer, PageAsk, VisitAnswer, VisitAsk, VisitNote, pages, visits
from zfoo_py.errors import ReceiverError
from zfoo_py.protocol.packet import Packet
from zfoo_py.router.call import Call
from zfoo_py.router.receivers import check_provided, collect_receivers, packet_receiver

HERE = __file__


@packet_receiver
async def at_ask(session: Any, ask: VisitAsk) -> VisitAnswer:
    return VisitAnswer(ask.text)


@packet_receiver(reentrant=True)
def at_note(session: Any, note: VisitNote, call: Call) -> None:
    pass


def unmarked(session: Any, note: VisitNote) -> None:
    pass


class Controller:
    """Receivers as methods, of every kind."""

    def __init__(self, name: str = "c") -> None:
        self.name = name

    @packet_receiver
    async def at_ask(self, session: Any, ask: VisitAsk) -> VisitAnswer:
        return VisitAnswer(self.name)

    @staticmethod
    @packet_receiver
    def at_note(session: Any, note: VisitNote) -> None:
        pass

    @classmethod
    @packet_receiver
    def at_page(cls, session: Any, ask: PageAsk) -> PageAnswer:
        return PageAnswer(cls.__name__)

    def helper(self, session: Any, note: VisitNote) -> None:
        pass


def one(function):
    return collect_receivers([function], TABLE).popitem()[1]


def line_of(function):
    return f"{function.__qualname__} ({HERE}:{function.__code__.co_firstlineno})"


def test_functions_are_read():
    """Everything a node must know of a receiver is in its signature and its mark."""
    ask, note = one(at_ask), one(at_note)
    assert (ask.packet_class, ask.is_async, ask.wants_call, ask.declares_none, ask.reentrant) == (
        VisitAsk,
        True,
        False,
        False,
        False,
    )
    assert (note.packet_class, note.is_async, note.wants_call, note.declares_none, note.reentrant) == (
        VisitNote,
        False,
        True,
        True,
        True,
    )
    assert ask.where == line_of(at_ask)


def test_the_mark_leaves_the_function_as_it_is():
    """A receiver can be called and tested as any function."""
    assert at_ask.__name__ == "at_ask"
    assert at_note(None, VisitNote("x"), None) is None


def test_methods_of_an_object_are_bound_to_it():
    """Methods, static methods and class methods alike."""
    found = collect_receivers([Controller("me")], TABLE)
    assert set(found) == {VisitAsk, VisitNote, PageAsk}
    coroutine = found[VisitAsk].function(None, VisitAsk("q"))
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    assert ended.value.value == VisitAnswer("me")
    assert found[PageAsk].function(None, PageAsk("q")) == PageAnswer("Controller")
    assert found[VisitNote].function(None, VisitNote("q")) is None


def test_inherited_receivers_count_and_overridden_ones_are_replaced():
    """As Python itself has it."""

    class Child(Controller):
        @packet_receiver
        async def at_ask(self, session: Any, ask: VisitAsk) -> VisitAnswer:
            return VisitAnswer("child")

    found = collect_receivers([Child()], TABLE)
    assert set(found) == {VisitAsk, VisitNote, PageAsk}
    assert "Child.at_ask" in found[VisitAsk].where


def module_of(**members):
    module = types.ModuleType("a_module")
    vars(module).update(members)
    return module


def test_a_module_gives_what_is_defined_in_it():
    """What it imports belongs to where it comes from, so importing a provider makes nobody a provider."""

    @packet_receiver
    async def own(session: Any, ask: VisitAsk) -> VisitAnswer:
        return VisitAnswer("")

    own.__module__ = "a_module"
    assert set(collect_receivers([module_of(own=own, at_note=at_note, text="x")], TABLE)) == {VisitAsk}
    assert collect_receivers([module_of(at_ask=at_ask)], TABLE) == {}


def test_of_a_class_in_a_module_each_node_gets_an_object_of_its_own():
    """So state is per node. Classes that need arguments are not guessed at, and imported ones belong elsewhere."""

    class Counting:
        def __init__(self) -> None:
            self.count = 0

        @packet_receiver
        async def at_ask(self, session: Any, ask: VisitAsk) -> VisitAnswer:
            self.count += 1
            return VisitAnswer(str(self.count))

    class NeedsName(Counting):
        def __init__(self, name: str) -> None:
            super().__init__()

    class Plain:
        pass

    Counting.__module__ = NeedsName.__module__ = Plain.__module__ = "a_module"
    module = module_of(Counting=Counting, Alias=Counting, NeedsName=NeedsName, Plain=Plain, Controller=Controller)
    first, second = (collect_receivers([module], TABLE)[VisitAsk].function.__self__ for _ in range(2))
    assert type(first) is type(second) is Counting
    assert first is not second


def test_the_same_function_may_be_given_twice_but_two_objects_are_two():
    """Once by its object and once by its name is one receiver."""
    assert set(collect_receivers([at_ask, at_ask], TABLE)) == {VisitAsk}
    controller = Controller()
    assert len(collect_receivers([controller, controller, controller.at_ask], TABLE)) == 3
    with pytest.raises(ReceiverError, match="VisitAsk has two receivers"):
        collect_receivers([Controller("a"), Controller("b")], TABLE)


def test_postponed_and_string_annotations_are_resolved():
    """They are read as their module sees them."""

    @packet_receiver
    def at_quoted(session: "Any", ask: "VisitAsk") -> "VisitAnswer":  # noqa: UP037
        return VisitAnswer("")

    assert one(at_quoted).packet_class is VisitAsk


# --- faults


def fault_of(function, *marks):
    marked = packet_receiver(function)
    with pytest.raises(ReceiverError) as caught:
        collect_receivers([marked], TABLE)
    text = str(caught.value)
    assert f"({HERE}:{function.__code__.co_firstlineno})" in text
    assert function.__name__ in text
    return text


def test_unannotated():
    """The annotation says which packet it is for."""

    def receiver(session, ask):
        pass

    assert "annotate the parameter 'ask'" in fault_of(receiver)


@pytest.mark.parametrize("annotation", [int, "int", list[VisitAsk], VisitAsk | None, Any, None])
def test_no_packet(annotation):
    """Only a Packet class can come over a session."""

    def receiver(session, ask):
        pass

    receiver.__annotations__["ask"] = annotation
    assert "is no Packet class" in fault_of(receiver)


def test_an_annotation_that_cannot_be_read():
    """It fails at the start of the node, and says why."""

    def receiver(session, ask):
        pass

    receiver.__annotations__["ask"] = "Nowhere"
    assert "cannot be read (name 'Nowhere' is not defined)" in fault_of(receiver)


def test_unmapped():
    """A packet without protocol id would never arrive."""

    class Stray(Packet):
        text: str

    def receiver(session, ask):
        pass

    receiver.__annotations__["ask"] = Stray
    assert "Stray, which has no protocol id" in fault_of(receiver)


def test_wrong_parameters():
    """Two or three positional ones, and nothing else."""

    def none():
        pass

    def one_only(ask: VisitAsk):
        pass

    def four(session, ask: VisitAsk, call, more):
        pass

    def starred(session, ask: VisitAsk, *rest):
        pass

    def keyword(session, ask: VisitAsk, *, call):
        pass

    for receiver in (none, one_only, four, starred, keyword):
        assert "must take (session, packet) or (session, packet, call)" in fault_of(receiver)


def test_a_wrong_answer_is_found_and_a_right_one_or_none_is_not():
    """The packet says what answers it; None is zfoo's style."""

    def receiver(session, ask):
        pass

    receiver.__annotations__.update(ask=VisitAsk, **{"return": PageAnswer})
    text = fault_of(receiver)
    assert "is annotated -> PageAnswer, but VisitAsk is answered with VisitAnswer or None" in text
    for right in (VisitAnswer, None, VisitAnswer | None):
        receiver.__annotations__["return"] = right
        assert one(receiver).packet_class is VisitAsk


def test_doubled_names_both():
    """Who has to choose must know both places."""

    @packet_receiver
    async def second(session: Any, ask: VisitAsk) -> VisitAnswer:
        return VisitAnswer("")

    with pytest.raises(ReceiverError) as caught:
        collect_receivers([at_ask, second], TABLE)
    assert line_of(at_ask) in str(caught.value)
    assert line_of(second) in str(caught.value)


def test_a_class_instead_of_an_object():
    """Its methods would lack their ``self``."""
    with pytest.raises(ReceiverError, match=r"give an object of that class, Controller\(\.\.\.\), not the class"):
        collect_receivers([Controller], TABLE)


def test_an_unmarked_function_names_its_place():
    """Forgetting the decorator is the commonest fault."""
    with pytest.raises(ReceiverError) as caught:
        collect_receivers([unmarked], TABLE)
    assert line_of(unmarked) in str(caught.value)
    assert "put @packet_receiver above it" in str(caught.value)


def test_an_object_without_receivers():
    """It can only be a mistake."""
    with pytest.raises(ReceiverError, match="no method of dict has @packet_receiver"):
        collect_receivers([{}], TABLE)


def test_a_provided_module_without_any_receiver():
    """It would be announced, and every ask refused."""
    found = collect_receivers([at_ask], TABLE)
    check_provided(found, [visits])
    check_provided({}, [])
    with pytest.raises(
        ReceiverError, match=r"provides module 'pages' but has no receiver .* receivers=\[...\], or an object"
    ):
        check_provided(found, [visits, pages])
