"""zfoo's protocol.xml: what it says, what is refused, and how it maps Python's packets."""

from __future__ import annotations

import re
from types import ModuleType

import pytest

from zfoo_py import Ask, Node, Packet, PacketTable, ProtocolModule
from zfoo_py.errors import ConfigError, PacketError
from zfoo_py.protocol.protocol_xml import declare_xml, packets_of, read_protocol_xml

WHOLE = """<?xml version="1.0" encoding="UTF-8"?>
<protocols author="somebody">
    <module id="1" name="native">
        <protocol id="0" location="com.zfoo.net.packet.SignalAttachment" enhance="false"/>
    </module>
    <module id="10" name="visits">
        <!-- a comment -->
        <protocol id="1100" location="com.example.VisitAsk"/>
        <protocol location="com.example.VisitAnswer"/>
        <protocol location="com.example.packet"/>
        <protocol id="1109" location="com.example.OnlyInJava"/>
    </module>
</protocols>
"""


class VisitAnswer(Packet):
    """Mapped by the tests."""

    count: int


class VisitAsk(Ask[VisitAnswer]):
    """Mapped by the tests."""

    client: str


def read(text):
    return read_protocol_xml(text.encode(), "p.xml")


def module_of(*things, name="mine"):
    module = ModuleType(name)
    for thing in things:
        setattr(module, thing.__name__, thing)
    return module


def test_it_says_modules_ids_and_places():
    native, visits = read(WHOLE)
    assert (native.id, native.name, native.is_zfoo) == (1, "native", True)
    assert (visits.id, visits.name, visits.is_zfoo, visits.where) == (10, "visits", False, "p.xml:6")
    assert [(one.simple_name, one.protocol_id, one.where) for one in visits.protocols] == [
        ("VisitAsk", 1100, "p.xml:8"),
        ("VisitAnswer", None, "p.xml:9"),
        ("packet", None, "p.xml:10"),
        ("OnlyInJava", 1109, "p.xml:11"),
    ]


@pytest.mark.parametrize("encoding", ["GBK", "utf-7", "nonsense", "base64"])
def test_an_encoding_that_cannot_be_read_is_an_error_of_the_file(encoding):
    content = f"<?xml version='1.0' encoding='{encoding}'?><protocols/>".encode()
    with pytest.raises(ConfigError, match=r"p\.xml: is in an encoding that cannot be read .*: save it as UTF-8"):
        read_protocol_xml(content, "p.xml")


@pytest.mark.parametrize(
    ("inside", "text"),
    [
        ("<module", "p.xml:1: is no XML"),
        ("<module name='a'/>", "a module has no id"),
        ("<module id='x' name='a'/>", "id='x' of a module is no whole number"),
        ("<module id='0' name='a'/>", "outside of Java's range 1..126"),
        ("<module id='127' name='a'/>", "outside of Java's range 1..126"),
        ("<module id='10'/>", "module 10 has no name"),
        ("<module id='10' name='a'/><module id='10' name='b'/>", "module id 10 is there twice: first at p.xml:1"),
        ("<module id='10' name='a'/>\n<module id='11' name='a'/>", "p.xml:2: module name a is there twice"),
        ("<module id='10' name='a'><protocol id='300'/></module>", "a protocol has no location"),
        ("<module id='10' name='a'><protocol id='32767' location='p.A'/></module>", "outside of Java's range 0..32766"),
        (
            "<module id='10' name='a'><protocol id='300' location='p.A'/><protocol id='300' location='p.B'/></module>",
            "protocol id 300 is there twice",
        ),
        (
            "<module id='10' name='a'><protocol id='300' location='p.A'/><protocol location='p.A'/></module>",
            "location p.A is there twice",
        ),
        (
            "<module id='10' name='a' minId='400' maxId='499'><protocol id='300' location='p.A'/></module>",
            "protocol id 300 of p.A is outside of its module's range 400..499",
        ),
    ],
)
def test_what_java_refuses_is_refused_with_its_line(inside, text):
    with pytest.raises(ConfigError) as caught:
        read(f"<protocols>{inside}</protocols>")
    assert text in str(caught.value)
    assert re.match(r"p\.xml:\d+: ", str(caught.value))


def test_another_document_and_entities_are_refused():
    with pytest.raises(ConfigError, match=r"^p\.xml:1: begins with <beans>"):
        read("<beans/>")
    with pytest.raises(ConfigError, match=r"^p\.xml:1: declares an entity"):
        read('<!DOCTYPE protocols [<!ENTITY a "b">]><protocols/>')


def test_a_negative_id_is_none():
    (module,) = read("<protocols><module id='10' name='a'><protocol id='-1' location='p.A'/></module></protocols>")
    assert module.protocols[0].protocol_id is None


def test_packets_of_python_modules_get_its_modules_and_ids():
    table = PacketTable()
    ProtocolModule(10, "visits", table=table).packet(1101)(VisitAnswer)
    packets = packets_of([module_of(VisitAsk, VisitAnswer, Packet, Ask)])
    (visits,) = declare_xml(table, read(WHOLE), packets)
    assert table.modules["visits"] is visits
    assert [(one.packet_class, one.protocol_id, one.where) for one in table.bindings()] == [
        (VisitAnswer, 1101, table.binding(VisitAnswer).where),
        (VisitAsk, 1100, "p.xml:8"),
    ]


def test_what_is_mapped_otherwise_is_refused():
    table = PacketTable()
    ProtocolModule(10, "visits", table=table).packet(1200)(VisitAsk)
    with pytest.raises(ConfigError, match=r"p\.xml:8: makes VisitAsk protocol 1100 of module 'visits'; it is protocol"):
        declare_xml(table, read(WHOLE), packets_of([module_of(VisitAsk)]))


def test_a_class_without_any_id_is_refused():
    with pytest.raises(ConfigError, match=r"p\.xml:9: gives com\.example\.VisitAnswer no id"):
        declare_xml(PacketTable(), read(WHOLE), packets_of([module_of(VisitAnswer)]))


def test_a_module_id_that_is_another_ones_is_refused():
    table = PacketTable()
    ProtocolModule(10, "others", table=table)
    with pytest.raises(PacketError, match="others"):
        declare_xml(table, read(WHOLE), {})


def test_a_built_in_packet_with_another_id_is_refused():
    xml = "<protocols><module id='2' name='common'><protocol id='7' location='com.zfoo.net.packet.common.Error'/>"
    with pytest.raises(ConfigError, match="the id 7; in zfoo_py it is 101"):
        declare_xml(PacketTable(), read(xml + "</module></protocols>"), {})


def test_two_python_classes_of_one_name_are_refused():
    other = type("VisitAsk", (Packet,), {"__module__": "other"})
    with pytest.raises(ConfigError, match="both have a packet VisitAsk"):
        packets_of([module_of(VisitAsk), module_of(other, name="other")])


def test_a_node_takes_it_from_its_configuration(tmp_path, monkeypatch):
    (tmp_path / "xml_packets.py").write_text(
        "from zfoo_py import Packet\nclass VisitAsk(Packet):\n    client: str\n", encoding="utf-8"
    )
    (tmp_path / "p.xml").write_text(WHOLE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    table = PacketTable()
    arguments = {"table": table, "receivers": [], "imports": ["xml_packets"]}
    Node(id="n", protocol_xml=str(tmp_path / "p.xml"), **arguments)
    (binding,) = table.bindings()
    assert (binding.packet_class.__name__, binding.protocol_id, binding.module.name) == ("VisitAsk", 1100, "visits")
    with pytest.raises(ConfigError, match=r"app\.protocol_xml: cannot read gone\.xml"):
        Node(id="n", protocol_xml="gone.xml", **arguments)
