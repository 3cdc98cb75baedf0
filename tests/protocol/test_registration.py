"""The text form against Java's own answers (data/register.json), and what is refused before it gets there."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zfoo_py.errors import ConfigError
from zfoo_py.names import check_name
from zfoo_py.protocol.registration import Registration, ServiceName, Subscription, parse, ring_name

JAVA = json.loads((Path(__file__).parent.parent / "data" / "register.json").read_text(encoding="utf-8"))


def as_java_shows_it(registration: Registration | None) -> dict | None:
    """Write a registration as register.json does."""
    if registration is None:
        return None
    modules = [{"module": module, "provider": name} for module, name in registration.provides]
    consumes = [{"loadBalancer": balancer, "consumer": name} for balancer, name in registration.consumes]
    return {
        "id": registration.id,
        "provider": {"address": registration.address, "modules": modules} if modules else None,
        "consumer": consumes or None,
    }


def built(case: dict) -> Registration:
    """Make the registration that a "built" case describes."""

    def pairs(text: str | None) -> list[list[str]]:
        return [item.split(":") for item in text.split(",")] if text else []

    provides = tuple(ServiceName(*pair) for pair in pairs(case["providers"]))
    consumes = tuple(Subscription(*pair) for pair in pairs(case["consumers"]))
    return Registration(case["id"], case["address"], provides, consumes)


def test_the_vectors_are_all_there():
    assert (len(JAVA["parse"]), len(JAVA["built"]), len(JAVA["providerHasConsumer"])) == (42, 10, 5)


@pytest.mark.parametrize("case", JAVA["parse"], ids=lambda case: repr(case["input"]))
def test_parse_understands_what_java_understands(case):
    registration = parse(case["input"])
    assert as_java_shows_it(registration) == case["parsed"]
    if registration is None:
        assert case["input"] is None or ring_name(case["input"]) is None
    elif "toString" in case:
        assert registration.text == ring_name(case["input"]) == case["toString"]
        assert (registration.text == case["input"]) == case["roundTrip"]
    else:
        assert "address" in case["toStringError"]
        assert ring_name(case["input"]) is None
        with pytest.raises(ConfigError, match="has no address"):
            _ = registration.text


# Java prints empty lists, which no zfoo can read back ("parsedBack": null); here nobody can make them.
@pytest.mark.parametrize(
    "case", [case for case in JAVA["built"] if case["id"] != "emptyModules"], ids=lambda case: case["id"]
)
def test_texts_are_built_as_java_builds_them(case):
    registration = built(case)
    if "error" in case:
        with pytest.raises(ConfigError, match="has no address"):
            _ = registration.text
        return
    assert registration.text == case["toString"] == case["toProviderString"]
    assert registration.simple_text == case["toProviderSimple"]
    uuid_hex = case["consumerUuidSample"]
    assert registration.consumer_text(uuid_hex) == case["toConsumerStringPrefix"] + uuid_hex
    back = parse(registration.text)
    assert as_java_shows_it(back) == case["parsedBack"]
    assert as_java_shows_it(parse(registration.consumer_text(uuid_hex))) == case["parsedFromConsumerString"]
    assert (registration == back) == case["equalsParsedBack"]


@pytest.mark.parametrize("case", JAVA["providerHasConsumer"], ids=lambda case: case["consumer"])
def test_consumers_find_the_providers_that_java_finds(case):
    assert parse(case["consumer"]).subscribes_to(parse(case["provider"])) is case["subscribes"]


def test_the_ring_name_is_the_text_unless_java_cuts_it():
    plain = Registration("a", "1.2.3.4:5", (ServiceName("m", "p"),), (Subscription("random", "x"),))
    assert plain.ring_name == plain.text
    cut = Registration("a", "1.2.3.4:5", (ServiceName("m", "p"),), (Subscription("cached-consistent-hash", "x"),))
    assert cut.text.endswith("consumer:[cached-consistent-hash-x]")
    assert cut.ring_name == ring_name(cut.text) == "a | 1.2.3.4:5 | provider:[m-p] | consumer:[cached-consistent]"


def test_a_ring_name_that_no_node_can_compute_is_refused():
    with pytest.raises(ConfigError, match="begins with 'provider'"):
        _ = Registration("a", "provider.host:5", (ServiceName("m", "p"),)).ring_name


def test_an_address_without_provided_modules_is_not_announced():
    assert Registration("a", "1.2.3.4:5").text == "a"


def test_the_address_is_the_last_one_before_the_list_of_modules():
    assert parse("a | x | y | provider:[m-p] | z").address == "y"
    assert parse("a | x | provider:[m-p] | y | provider:[n-q]").address == "y"


def test_a_list_of_commas_announces_nothing():
    assert parse("a | 1.2.3.4:5 | provider:[,]") is None


def test_a_registration_cannot_be_changed():
    registration = Registration("a")
    with pytest.raises(AttributeError):
        registration.id = "b"
    assert isinstance(registration, msgspec.Struct)
    assert hash(registration) == hash(Registration("a"))


def accepts(what: str):
    """Return a predicate: does check_name let a text through?"""

    def accepted(text: str) -> bool:
        try:
            check_name(text, what)
        except ConfigError:
            return False
        return True

    return accepted


# Marks come often, so that a rule that is too lenient is found.
CHARACTERS = st.one_of(st.characters(), st.sampled_from("|/,[]- :pm\x00\x1f\u3000"))
TEXTS = st.text(CHARACTERS, max_size=8)


def names(what: str) -> st.SearchStrategy[str]:
    """Generate whatever check_name lets through; characters are sieved first, so that few texts are thrown away."""
    is_accepted = accepts(what)
    inner = CHARACTERS.filter(lambda character: is_accepted(f"a{character}b"))
    return st.text(inner, min_size=1, max_size=8).filter(is_accepted)


NAMES = {what: names(what) for what in ("id", "module", "provider", "balancer")}
ADDRESSES = st.sampled_from(["1.2.3.4:5", "[::1]:65535", "host.example:1"])


@given(
    NAMES["id"],
    ADDRESSES,
    st.lists(st.tuples(NAMES["module"], NAMES["provider"]), min_size=1, max_size=3),
    st.lists(st.tuples(NAMES["balancer"], NAMES["provider"]), max_size=3),
)
def test_what_check_lets_through_survives_the_text(node_id, address, provides, consumes):
    registration = Registration(
        node_id,
        address,
        tuple(ServiceName(*pair) for pair in provides),
        tuple(Subscription(*pair) for pair in consumes),
    ).check()
    back = parse(registration.text)
    assert back is not None
    assert (back.id, back.address, back.provides) == (node_id, address, registration.provides)
    assert "/" not in registration.text
    assert registration.ring_name == back.text
    if not any("-" in balancer for balancer, _ in consumes):
        assert back == registration


@given(st.one_of(TEXTS, st.lists(TEXTS, max_size=5).map("|provider:[m-".join), st.text()))
def test_any_text_is_understood_or_not_but_never_raises(text):
    registration = parse(text)
    if registration is None or (registration.provides and not registration.address):
        assert ring_name(text) is None
    else:
        assert ring_name(text) == registration.text


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("web-1", "id"),
        ("中文 id", "id"),
        ("provider-1", "id"),
        ("a,b[c]", "id"),
        ("cached-consistent-hash", "balancer"),
    ],
)
def test_names_that_java_carries_are_let_through(name, what):
    assert check_name(name, what) == name


@pytest.mark.parametrize(
    ("registration", "path"),
    [
        (Registration("a|b"), "node.id"),
        (Registration("a", "host"), "server.address"),
        (Registration("a", None, (ServiceName("m", "p"),)), "server.address"),
        (Registration("a", "h:1", (ServiceName("m", "p"), ServiceName("m-n", "p"))), "provider[1].module"),
        (Registration("a", "h:1", (ServiceName("m", "p,q"),)), "provider[0].name"),
        (Registration("a", None, (), (Subscription("ran]dom", "p"),)), "consumer[0].balancer"),
        (Registration("a", None, (), (Subscription("random", "p-q"),)), "consumer[0].provider"),
    ],
)
def test_check_names_the_part_at_fault(registration, path):
    with pytest.raises(ConfigError) as caught:
        registration.check()
    assert caught.value.path == path
