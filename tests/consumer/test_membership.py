"""A provider is a registration: only its first session and its last one are news."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.consumers import registration
from zfoo_py.consumer.membership import Joined, Left, Membership, Refused, Reweighed
from zfoo_py.errors import ConfigError
from zfoo_py.net.messages import ProviderUp
from zfoo_py.protocol.registration import Registration, ServiceName


def up(sid, number=1, *provides, **more):
    return ProviderUp(sid, registration(number, *provides, **more), f"ref {sid}")


def test_what_is_known_of_a_provider_comes_from_its_registration():
    members = Membership()
    [joined] = members.up(up(7, 1, "visits/blue", "visits/green", "pages"))
    provider = joined.provider
    assert joined.sid == 7
    assert provider.ring_name == registration(1, "visits/blue", "visits/green", "pages").ring_name
    assert (provider.node_id, provider.address) == ("app-1", "10.0.0.1:1")
    assert provider.services == {("visits", "blue"), ("visits", "green"), ("pages", "pages")}
    assert provider.modules == ("pages", "visits")
    assert provider.session == "ref 7"


def test_a_registration_without_ring_name_changes_nothing():
    members = Membership()
    with pytest.raises(ConfigError):
        members.up(up(1, address=None))
    assert (members.providers, members.by_sid) == ({}, {})


def test_what_a_snapshot_no_longer_holds():
    members = Membership()
    for sid in (3, 1, 2):
        members.up(up(sid))
    assert members.missing_from([2, 9]) == [1, 3]
    assert members.missing_from([]) == [1, 2, 3]


def test_the_weight_is_what_the_session_that_came_last_has_said():
    """A node that restarts with another weight before its old session is noticed dead; in any order of repetition."""
    members = Membership()
    old, new = up(1), ProviderUp(2, registration(1), "ref 2", 3)
    [joined] = members.up(old)
    assert joined.provider.weight == 1
    assert members.up(new) == [Reweighed(joined.provider)]
    assert joined.provider.weight == 3
    assert members.up(old) == members.up(new) == []
    assert members.up(ProviderUp(2, registration(1), "ref 2", 5)) == [Reweighed(joined.provider)]
    assert members.down(1, "lost") == []
    [left] = members.down(2, "lost")
    assert (left.provider.weight, members._weights) == (5, {})
    [again] = members.up(up(3))
    assert again.provider.weight == 1


# ------------------------------------------------------------------------------- ring_identity = "node-id"
def at(sid, number, address):
    return ProviderUp(sid, Registration(f"app-{number}", address, (ServiceName("visits", "visits"),)), f"ref {sid}")


def test_by_node_id_a_node_is_the_same_at_another_address():
    members = Membership("node-id")
    [first] = members.up(at(1, 7, "10.0.0.1:1"))
    [left] = members.down(1, "lost")
    [again] = members.up(at(2, 7, "10.0.0.9:9"))
    assert first.provider.ring_name == left.provider.ring_name == again.provider.ring_name == "app-7"
    assert again.provider.address == "10.0.0.9:9"


def test_by_node_id_the_second_of_one_id_waits_until_the_first_is_gone():
    members = Membership("node-id")
    one, two, three = (at(sid, 7, f"10.0.0.{sid}:1") for sid in (1, 2, 3))
    [joined] = members.up(one)
    assert members.up(two) == [Refused("app-7", two.registration.text, one.registration.text)]
    assert members.up(two) == [], "as of a snapshot: it is known"
    assert members.up(three) == [Refused("app-7", three.registration.text, one.registration.text)]
    again = ProviderUp(4, two.registration, "ref 4")
    assert members.up(again) == []
    assert list(members.providers.values()) == [joined.provider]
    assert members.missing_from([1]) == [2, 3, 4]
    left, let_in = members.down(1, "lost")
    assert (left.provider, let_in.sid, let_in.provider.address) == (joined.provider, 2, "10.0.0.2:1")
    assert [sid for sid, _ in let_in.provider.sessions] == [2, 4]
    assert members.down(3, "lost") == members.down(2, "lost") == []
    [last] = members.down(4, "lost")
    assert isinstance(last, Left)
    assert (members.providers, members.by_sid, members._refused, members._weights) == ({}, {}, {}, {})


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 8)), max_size=40))
def test_by_node_id_one_registration_has_each_id_and_nobody_is_forgotten(steps):
    """Sids 1 to 4 are two addresses of one id, 5 to 8 of another."""
    members, there = Membership("node-id"), {}
    for is_up, sid in steps:
        if is_up and sid not in there:
            there[sid] = at(sid, (sid - 1) // 4, f"10.0.0.{(sid + 1) // 2}:1")
            members.up(there[sid])
        elif not is_up:
            there.pop(sid, None)
            members.down(sid, "lost")
        alive = {each.registration.id for each in there.values()}
        assert set(members.providers) == alive
        for provider in members.providers.values():
            mine = {sid for sid, each in there.items() if each.registration.text == provider.text}
            assert {sid for sid, _ in provider.sessions} == mine != set()
        assert members.missing_from([]) == sorted(there)


STEPS = st.lists(st.tuples(st.booleans(), st.integers(1, 6)), max_size=40)


@given(STEPS)
def test_after_any_history_a_provider_is_there_exactly_while_it_has_a_session(steps):
    """Sids 1 and 2 reach the first provider, 3 and 4 the second, and so on; ups and downs come twice, too."""
    members, there, balance = Membership(), set(), Counter()
    for is_up, sid in steps:
        changes = members.up(up(sid, (sid + 1) // 2)) if is_up else members.down(sid, "lost")
        before = {(one + 1) // 2 for one in there}
        there = there | {sid} if is_up else there - {sid}
        after = {(one + 1) // 2 for one in there}
        for change in changes:
            assert change.sid == sid
            balance[change.provider.ring_name] += 1 if isinstance(change, Joined) else -1
        assert len(changes) == len(before ^ after)
        assert all(isinstance(change, Joined if is_up else Left) for change in changes)
        assert set(members.by_sid) == there
        assert set(members.providers) == {registration(number).ring_name for number in after}
        assert {name for name, count in balance.items() if count} == set(members.providers)
    for provider in members.providers.values():
        assert provider.session == provider.sessions[0][1]
