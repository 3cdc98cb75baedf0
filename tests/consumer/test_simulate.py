"""A simulation says what then happens, and adds up."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zfoo_py.consumer.ring import HashRing
from zfoo_py.consumer.simulate import names_of, simulate
from zfoo_py.errors import ConfigError

LABELS = {f"app-{n} | 10.0.0.{n}:1 | provider:[visits-visits]": f"app-{n}" for n in range(8)}
NAMES = list(LABELS)
KEYS = [f"10.0.0.{n % 40}" for n in range(400)] + ["hot"] * 200


def some(*numbers):
    return {NAMES[n]: LABELS[NAMES[n]] for n in numbers}


def owners(names, points=None):
    ring = HashRing()
    for name in names:
        ring.add(name, (points or {}).get(name, 200))
    return ring


@given(st.sets(st.integers(0, 3)), st.sets(st.integers(4, 7)), st.data())
def test_it_says_what_the_rings_then_do(there, come, data):
    go = data.draw(st.sets(st.sampled_from(sorted(there)))) if there else set()
    found = simulate("visits", some(*there), some(*come), [NAMES[n] for n in go], KEYS)
    old, new = owners(NAMES[n] for n in there), owners(NAMES[n] for n in (there | come) - go)
    moved = [key for key in set(KEYS) if old.owner(key) != new.owner(key)]
    assert (found.moved_keys, found.moved_asks) == (len(moved), sum(KEYS.count(key) for key in moved))
    before = [one.share_before for one in found.providers if one.share_before is not None]
    after = [one.share_after for one in found.providers if one.share_after is not None]
    assert (len(before), len(after)) == (len(there), len((there | come) - go))
    assert sum(before) == pytest.approx(int(bool(there)))
    assert sum(after) == pytest.approx(int(bool((there | come) - go)))
    changed = sum(abs((one.share_after or 0) - (one.share_before or 0)) for one in found.providers)
    if before and after:
        # Nothing moves between two that stay, if only one side comes or goes.
        assert found.moved_share >= changed / 2 - 1e-9
        if not go or not come:
            assert found.moved_share == pytest.approx(changed / 2)
    assert sum(one.asks_after or 0 for one in found.providers) == (len(KEYS) if after else 0)
    assert json.loads(json.dumps(found.as_dict())) == found.as_dict()
    assert str(found)


def test_ideal_shares():
    assert simulate("visits", some(0, 1, 2, 3), some(4), []).ideal_share == pytest.approx(1 / 5)
    assert simulate("visits", some(0, 1, 2, 3), {}, NAMES[:1]).ideal_share == pytest.approx(1 / 4)
    assert simulate("visits", some(0, 1), some(4), NAMES[:1]).ideal_share == pytest.approx(1 / 2)
    assert simulate("visits", {}, some(4), []).ideal_share == 1.0
    assert simulate("visits", some(0), {}, []).ideal_share == simulate("visits", {}, {}, []).ideal_share == 0.0


def test_weights_are_points():
    points = {NAMES[4]: 600}
    found = simulate("visits", some(0, 1, 2), some(4), [], points=points)
    heavy = next(one for one in found.providers if one.ring_name == NAMES[4])
    assert found.ideal_share == pytest.approx(1 / 2)
    assert 0.4 < heavy.share_after < 0.6
    assert found.balance_after < 1.3  # by weight


def test_the_moved_share_is_near_the_ideal_one():
    found = simulate("visits", some(0, 1, 2, 3), some(4), [])
    assert abs(found.moved_share - found.ideal_share) < 0.06
    assert found.balance_before > 1.0


def test_the_text_reads_well():
    text = str(simulate("visits", some(0, 1, 2), some(4), [NAMES[2]], KEYS))
    lines = text.splitlines()
    assert lines[0] == "visits: 3 → 3 providers"
    assert lines[2].split() == ["provider", "before", "after", "change", "asks", "before", "asks", "after"]
    assert [line.split()[0] for line in lines[3:7]] == ["app-0", "app-1", "app-2", "app-4"]
    assert "leaves" in lines[5]
    assert "joins" in lines[6]
    assert any(line.startswith("moved      ") and "on an even ring" in line for line in lines)
    hottest = lines[lines.index("hottest keys") + 1]
    assert hottest.split()[:4] == ["hot", "33.3", "%", "200"]
    assert max(len(line) for line in lines) <= 100


def test_without_keys_and_without_providers():
    found = simulate("visits", {}, {}, [])
    assert (found.moved_share, found.balance_before, found.keys, found.hottest) == (0.0, None, 0, ())
    assert "balance    - → -" in str(found)


def test_names_and_labels():
    assert names_of(["app-1", NAMES[2]], LABELS) == [NAMES[1], NAMES[2]]
    with pytest.raises(ConfigError, match="'app-11' is no provider here"):
        names_of(["app-11"], LABELS)
    with pytest.raises(ConfigError, match="names 2 providers: say the whole ring name"):
        names_of(["same"], {"a": "same", "b": "same"})


def test_a_key_that_moves_between_two_of_one_label_is_seen_to_move():
    twin = "app-0 | 10.0.9.9:1 | provider:[visits-visits]"
    found = simulate("visits", some(0, 1), {twin: "app-0"}, [NAMES[0]], KEYS)
    assert {one.label for one in found.providers} == {NAMES[0], "app-1", twin}
    assert {(one.before, one.after) for one in found.hottest} <= {
        (NAMES[0], twin),
        (NAMES[0], "app-1"),
        ("app-1",) * 2,
        ("app-1", twin),
    }
    assert any(one.after == twin for one in found.hottest)


def test_who_is_there_cannot_join_and_who_is_not_cannot_leave():
    with pytest.raises(ConfigError, match="is a provider already"):
        simulate("visits", some(0), some(0), [])
    with pytest.raises(ConfigError, match="is no provider: it cannot leave"):
        simulate("visits", some(0), {}, [NAMES[1]])
