"""Who owns which hashes, and the pictures of it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samples.check_cluster import Ring, fnv
from samples.memory import Sample
from samples.story_plot import HASHES, Moment, arcs, draw, is_there, moved_share, shares


def members(*numbers):
    return {f"visits-{n}": f"visits-{n} | 127.0.0.1:{9000 + n} | provider:[visits-visits]" for n in numbers}


def test_arcs_cover_all_hashes_once_and_neighbours_differ():
    found = arcs(members(1, 2, 3))
    assert (found[0].begin, found[-1].end) == (0, HASHES)
    for one, following in pairwise(found):
        assert one.end == following.begin
        assert one.provider != following.provider
    assert sum(shares(found).values()) == pytest.approx(1)
    assert arcs({}) == []


@given(st.text(max_size=12))
def test_an_arcs_owner_is_the_rings(key):
    names = members(1, 2, 3)
    (arc,) = [arc for arc in arcs(names) if arc.begin <= fnv(key) < arc.end]
    assert names[arc.provider] == Ring(names.values()).owner(key)


def test_only_the_share_of_one_who_left_or_joined_moves():
    before, after = arcs(members(1, 2, 3)), arcs(members(1, 3))
    assert moved_share(before, after) == pytest.approx(shares(before)["visits-2"])
    assert moved_share(after, before) == pytest.approx(shares(before)["visits-2"])
    assert moved_share(before, before) == 0


@pytest.mark.skipif(not is_there(), reason="matplotlib is not installed: `make cluster ARGS='--plot DIR'` installs it")
def test_pictures_are_drawn(tmp_path):
    curve = [Sample(float(n), n * 10, n * 1000, max(0, n - 5) * 100, n * 9, 30 << 20) for n in range(20)]
    rings = [("at first", members(1, 2, 3)), ("visits-2 killed", members(1, 3))] * 4
    paths = draw(str(tmp_path), rings, curve, [Moment(5.0, "visits-2 killed")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["memory.png", "ring.png"]
    for path in paths:
        assert Path(path).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "one").mkdir()
    assert len(draw(str(tmp_path / "one"), rings[:1], [], [])) == 1, "no curve of nothing"
