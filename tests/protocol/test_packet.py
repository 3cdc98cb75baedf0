"""Packets are declared once, in one place, and every mistake names the places and what to do."""

from __future__ import annotations

import inspect
import re
import sys
import types
from typing import Generic, TypeVar

import pytest

from zfoo_py.errors import ConfigError, PacketError, UnmappedPacketError
from zfoo_py.protocol.common import Error, Message
from zfoo_py.protocol.packet import DEFAULT_TABLE, Ask, Packet, PacketTable, ProtocolModule

HERE = re.escape(__file__)


class Answer(Packet):
    text: str


class Question(Ask[Answer]):
    text: str
    urgent: bool = False


@pytest.fixture
def table():
    return PacketTable()


@pytest.fixture
def visits(table):
    return ProtocolModule(10, "visits", table=table)


def line() -> int:
    return inspect.currentframe().f_back.f_lineno


def python_module(name: str, source: str, monkeypatch) -> types.ModuleType:
    """Make a module of its own, as an import of a file would."""
    module = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(source, f"{name}.py", "exec", dont_inherit=True), vars(module))  # noqa: S102
    return module


class TestPacket:
    def test_is_an_immutable_value(self):
        """Fields by position or name, equal by value, hashable."""
        packet = Question("why", urgent=True)
        assert packet == Question(text="why", urgent=True) != Question("why")
        assert hash(packet) == hash(Question("why", urgent=True))
        with pytest.raises(AttributeError):
            packet.text = "how"
        assert not hasattr(packet, "__dict__")

    def test_may_not_be_made_mutable(self, visits):
        class Loose(Packet, frozen=False):
            text: str

        with pytest.raises(PacketError, match=r"Loose .*frozen=False"):
            visits.packet(200)(Loose)


class TestLookup:
    def test_class_id_and_module_find_each_other(self, table, visits):
        visits.packet(1101)(Answer)
        assert visits.packet(1100, balance_by="text", idempotent=True)(Question) is Question
        binding = table.binding(Question)
        assert table.by_id(1100) is binding
        assert (binding.packet_class, binding.protocol_id, binding.module) == (Question, 1100, visits)
        assert (binding.balance_by, binding.idempotent, binding.answer_class) == ("text", True, Answer)
        assert table.binding(Answer).answer_class is None
        assert binding._find_answer is None  # with it goes the scope of the declaration
        assert table.binding(Answer).balance_by is None
        assert [b.protocol_id for b in table.bindings()] == [1101, 1100]
        assert table.module("visits") is table.module(10) is table.modules["visits"] is visits
        assert visits.table is table
        table.resolve()

    def test_ids_do_not_live_on_the_class(self, table, visits):
        """One class has another id in another table, and none in a third."""
        other, third = PacketTable(), PacketTable()
        visits.packet(1100)(Answer)
        ProtocolModule(20, "visits", table=other).packet(2200)(Answer)
        assert table.binding(Answer).protocol_id == 1100
        assert other.binding(Answer).protocol_id == 2200
        with pytest.raises(UnmappedPacketError):
            third.binding(Answer)

    def test_an_unmapped_class_says_what_to_do(self, table):
        with pytest.raises(
            UnmappedPacketError, match=r"Answer has no protocol id: put @<module>\.packet\(<id>\) above"
        ):
            table.binding(Answer)
        assert table.by_id(1100) is None

    def test_an_unknown_module_names_those_known(self, table, visits):
        with pytest.raises(PacketError, match=r"'visit' .*known modules: visits"):
            table.module("visit")

    def test_the_default_table_is_used_without_table(self):
        assert inspect.signature(ProtocolModule).parameters["table"].default is None
        before = dict(DEFAULT_TABLE.modules)
        module = ProtocolModule(125, "default_table_test")
        try:
            assert module.table is DEFAULT_TABLE
            assert dict(DEFAULT_TABLE.modules) == {**before, "default_table_test": module}
        finally:
            del DEFAULT_TABLE._modules["default_table_test"]

    def test_a_binding_has_no_other_attributes(self, table, visits):
        visits.packet(1100)(Answer)
        with pytest.raises(AttributeError):
            _ = table.binding(Answer).answer

    def test_names_of_built_in_packets_are_free(self, table, visits):
        """An application may have a Message of its own; the built-in one stays what it is."""

        class Message(Packet):
            body: str

        built_in = table.by_id(100)
        visits.packet(1100)(Message)
        assert table.binding(Message).protocol_id == 1100
        assert table.by_id(100) is built_in


class TestDuplicates:
    def test_id_taken_names_both_places(self, visits):
        first = line() + 1
        visits.packet(1100)(Answer)
        second = line() + 2
        with pytest.raises(PacketError) as caught:
            visits.packet(1100)(Question)
        text = str(caught.value)
        assert f"Question ({__file__}:{second}) takes protocol id 1100" in text
        assert f"Answer is protocol 1100 of module 'visits' ({__file__}:{first})" in text

    def test_class_name_taken_in_the_table(self, table, visits):
        """Even by another module's packet."""
        visits.packet(1100)(Answer)
        taken = type(Packet)("Answer", (Packet,), {"__annotations__": {"n": int}, "__module__": __name__})
        with pytest.raises(PacketError, match=rf"Answer \({HERE}:\d+\) has a class name .*Answer is .*\({HERE}:\d+\)"):
            ProtocolModule(11, "other", table=table).packet(1200)(taken)

    def test_class_mapped_twice(self, visits):
        visits.packet(1100)(Answer)
        with pytest.raises(PacketError, match=r"Answer .*is already mapped: Answer is protocol 1100"):
            visits.packet(1200)(Answer)

    @pytest.mark.parametrize(("number", "name", "same"), [(10, "other", "id 10"), (11, "visits", "name")])
    def test_module_taken(self, table, visits, number, name, same):
        with pytest.raises(
            PacketError, match=rf"{name}' \({HERE}:\d+\) and module 'visits' \({HERE}:\d+\).*same {same}"
        ):
            ProtocolModule(number, name, table=table)

    def test_the_same_line_twice_is_explained(self, table):
        """A reload, or a file that is __main__ and imported."""
        for expected in (None, "same line twice: its module was reloaded, or is imported under two names"):
            if expected is None:
                declare_module(table)
            else:
                with pytest.raises(PacketError, match=expected):
                    declare_module(table)

    def test_the_same_class_line_twice_is_explained(self, visits):
        def declare():
            @visits.packet(1100)
            class Reloaded(Packet):
                text: str

        declare()
        with pytest.raises(PacketError, match=r"takes protocol id 1100.*same line twice"):
            declare()

    def test_a_refused_class_leaves_nothing_behind(self, table, visits):
        class Bad(Packet):
            what: object

        with pytest.raises(PacketError):
            visits.packet(1100)(Bad)
        visits.packet(1100)(Answer)
        table.resolve()
        with pytest.raises(UnmappedPacketError):
            table.binding(Bad)


def declare_module(table):
    return ProtocolModule(30, "again", table=table)


class TestReserved:
    @pytest.mark.parametrize("number", [-1, 0, 100, 199, 32700, 32767, 1 << 20])
    def test_protocol_ids(self, visits, number):
        with pytest.raises(PacketError, match=rf"Answer .* is {number}: yours are 200\.\.32699"):
            visits.packet(number)(Answer)

    @pytest.mark.parametrize("number", [200, 32699])
    def test_protocol_ids_at_the_edge(self, visits, number):
        visits.packet(number)(Answer)

    @pytest.mark.parametrize("number", [-1, 0, 1, 2, 126, 127])
    def test_module_ids(self, table, number):
        with pytest.raises(PacketError, match=rf"'mine' .* is {number}: yours are 3\.\.125"):
            ProtocolModule(number, "mine", table=table)

    @pytest.mark.parametrize("number", ["10", 10.0, True, None])
    def test_ids_are_whole_numbers(self, table, visits, number):
        with pytest.raises(PacketError, match="must be a whole number"):
            ProtocolModule(number, "mine", table=table)
        with pytest.raises(PacketError, match="must be a whole number"):
            visits.packet(number)(Answer)

    @pytest.mark.parametrize("name", ["native", "common", "zfoo_py"])
    def test_module_names(self, table, name):
        with pytest.raises(PacketError, match="built-in"):
            ProtocolModule(10, name, table=table)

    @pytest.mark.parametrize("name", ["", " ", "a-b", "a|b", "a/b", "a,b", "a]", " a", 5])
    def test_module_names_that_cannot_be_announced(self, table, name):
        with pytest.raises(PacketError, match=HERE):
            ProtocolModule(10, name, table=table)

    def test_a_module_of_another_table(self, visits):
        with pytest.raises(PacketError, match="not in this table"):
            PacketTable().add(visits, Answer, 1100)


class TestBalanceBy:
    def test_names_a_field(self, visits):
        with pytest.raises(
            PacketError, match=rf"'txt' is no field of Question \({HERE}:\d+\); its fields: text, urgent"
        ):
            visits.packet(1100, balance_by="txt")(Question)

    def test_the_field_is_a_key(self, table, visits):
        class Listed(Packet):
            names: list[str]
            pair: tuple[int, str]
            maybe: bytes | None

        with pytest.raises(PacketError, match=r"balance_by='names' .* is list\[str\], which is no key"):
            visits.packet(1100, balance_by="names")(Listed)
        visits.packet(1100, balance_by="pair")(Listed)


class TestNoPackets:
    @pytest.mark.parametrize("thing", [int, object(), Packet, Ask, "Answer", list[Answer]])
    def test_are_refused(self, visits, thing):
        with pytest.raises(PacketError, match="derive it from Packet or Ask"):
            visits.packet(1100)(thing)


A = TypeVar("A", bound=Packet)
K = TypeVar("K")


class Keyed(Ask[A], Generic[K, A]):
    """An application's own base of asks."""


class Nested(Keyed[int, Answer]):
    n: int


class Inherited(Question):
    more: int = 0


class Swapped(Keyed[A, Answer], Generic[A]):
    pass


class TestAnswers:
    @pytest.mark.parametrize("ask", [Question, Nested, Inherited])
    def test_are_found_through_any_bases(self, table, visits, ask):
        visits.packet(1100)(ask)
        assert table.binding(ask).answer_class is Answer

    def test_a_type_variable_between_is_followed(self, table, visits):
        class Last(Swapped[Message]):
            n: int

        visits.packet(1100)(Last)
        assert table.binding(Last).answer_class is Answer

    def test_may_be_defined_later(self, table, monkeypatch):
        module = python_module(
            "later_answer",
            """
from zfoo_py.protocol.packet import Ask, Packet, PacketTable, ProtocolModule
table = PacketTable()
visits = ProtocolModule(10, "visits", table=table)
@visits.packet(1100)
class Early(Ask["Late"]):
    n: int
@visits.packet(1102)
class Never(Ask["Nowhere"]):
    n: int
try:
    table.binding(Early).answer_class
except Exception as error:
    too_early = error
@visits.packet(1101)
class Late(Packet):
    n: int
""",
            monkeypatch,
        )
        assert isinstance(module.too_early, PacketError)
        assert module.table.binding(module.Early).answer_class is module.Late
        with pytest.raises(PacketError, match=r"Never \(later_answer.py:8\) names an answer.*Nowhere"):
            module.table.resolve()

    def test_may_be_the_ask_itself_or_local(self, table, visits):
        @visits.packet(1100)
        class Echo(Ask["Echo"]):
            n: int

        @visits.packet(1102)
        class LocalAsk(Ask["LocalAnswer"]):
            n: int

        @visits.packet(1101)
        class LocalAnswer(Packet):
            n: int

        assert table.binding(Echo).answer_class is Echo
        assert table.binding(LocalAsk).answer_class is LocalAnswer

    @pytest.mark.parametrize("answer", [int, Packet, "Answer | Message", "int"])
    def test_must_be_packets(self, visits, answer):
        class Odd(Ask[answer]):
            n: int

        with pytest.raises(PacketError, match=r"Odd .*write class Odd\(Ask\[TheAnswerClass\]\)"):
            visits.packet(1100)(Odd)

    def test_must_be_named(self, visits):
        class Mute(Ask):
            n: int

        with pytest.raises(PacketError, match="Mute does not say which packet answers it"):
            visits.packet(1100)(Mute)

    def test_must_be_mapped_when_the_node_starts(self, table, visits):
        visits.packet(1100)(Question)
        with pytest.raises(UnmappedPacketError, match=r"Question .* is answered with Answer, which has no protocol id"):
            table.resolve()
        visits.packet(1101)(Answer)
        table.resolve()

    def test_may_be_built_in(self, table, visits):
        class Try(Ask[Error]):
            n: int

        visits.packet(1100)(Try)
        table.resolve()


class TestForwardReferences:
    def test_self_and_later_classes_in_a_module(self, monkeypatch):
        module = python_module(
            "forward",
            """
from __future__ import annotations
from zfoo_py.protocol.packet import Packet, PacketTable, ProtocolModule
table = PacketTable()
forest = ProtocolModule(10, "forest", table=table)
@forest.packet(1100)
class Tree(Packet):
    children: list[Tree]
    leaf: Leaf | None = None
class Leaf(Packet):
    tree: "Tree"
""",
            monkeypatch,
        )
        module.table.resolve()
        assert module.table.fields(module.Tree)["children"].items[0].packet is module.Tree
        assert module.table.fields(module.Leaf)["tree"].packet is module.Tree

    def test_are_read_at_first_use_even_without_resolve(self, table, visits):
        @visits.packet(1100)
        class Early(Packet):
            late: Late

        @visits.packet(1101)
        class Late(Packet):
            n: int

        assert table.fields(Early)["late"].packet is Late

    def test_local_classes_without_mapping(self, table, visits):
        class Inner(Packet):
            n: int

        @visits.packet(1100)
        class Outer(Packet):
            inner: Inner
            me: Outer | None

        assert table.fields(Outer)["inner"].packet is Inner
        assert list(table.fields(Inner)) == ["n"]
        with pytest.raises(UnmappedPacketError):
            table.binding(Inner)

    def test_a_name_that_never_comes(self, table, visits):
        @visits.packet(1100)
        class Lost(Packet):
            x: list[Nowhere]  # noqa: F821

        for use in (table.resolve, lambda: table.fields(Lost)):
            with pytest.raises(PacketError, match=rf"Lost \({HERE}:\d+\) cannot be found: name 'Nowhere'"):
                use()

    def test_a_bad_type_behind_a_forward_reference(self, table, visits):
        @visits.packet(1100)
        class Early(Packet):
            late: Late2
            what: object

        class Late2(Packet):
            n: int

        vars(sys.modules[__name__])["Late2"] = Late2
        try:
            with pytest.raises(PacketError, match=r"what .*object is not supported"):
                table.resolve()
        finally:
            del vars(sys.modules[__name__])["Late2"]


class TestDeclare:
    """The same as decorators, out of a TOML file."""

    def declared(self, **protocols):
        return {"visits": {"id": 10, "protocols": protocols}}

    def test_maps_classes_by_their_path(self, table):
        (module,) = table.declare(
            self.declared(
                **{
                    "1101": f"{__name__}:Answer",
                    "1100": {"class": f"{__name__}:Question", "balance_by": "text", "idempotent": True},
                }
            )
        )
        assert (module.id, module.name, module.table) == (10, "visits", table)
        binding = table.binding(Question)
        assert (binding.protocol_id, binding.module, binding.balance_by, binding.idempotent) == (
            1100,
            module,
            "text",
            True,
        )
        assert binding.answer_class is Answer
        assert "modules.visits.protocols.1100" in binding.where

    def test_the_same_again_changes_nothing(self, table):
        """Two nodes of one process may read one file."""
        once = self.declared(**{"1101": f"{__name__}:Answer"})
        assert table.declare(once) == table.declare(once)
        assert len(list(table.bindings())) == 1

    def test_a_difference_is_a_duplicate(self, table):
        table.declare(self.declared(**{"1101": f"{__name__}:Answer"}))
        with pytest.raises(PacketError, match=r"Answer \(modules.visits.protocols.1102.*is already mapped.*1101"):
            table.declare(self.declared(**{"1102": f"{__name__}:Answer"}))
        with pytest.raises(PacketError, match="same name"):
            table.declare({"visits": {"id": 11}})

    def test_completes_a_module_declared_in_code(self, table, visits):
        assert table.declare(self.declared(**{"1101": f"{__name__}:Answer"})) == [visits]

    def test_without_id(self, table):
        with pytest.raises(PacketError, match=r"id of module 'visits' \(modules.visits\) must be a whole number"):
            table.declare({"visits": {}})

    def test_a_class_that_is_no_packet(self, table):
        with pytest.raises(PacketError, match=r"modules.visits.protocols.1100.*derive it from Packet"):
            table.declare(self.declared(**{"1100": "decimal:Decimal"}))

    def test_faults_of_the_declaration_are_config_errors(self, table):
        with pytest.raises(ConfigError, match=r"modules.visits.protocols.1100: .*cannot be imported"):
            table.declare(self.declared(**{"1100": "no_such_module:Answer"}))
