"""Resident memory: of the right order, and 0 where nobody says."""

from __future__ import annotations

from pathlib import Path

import pytest

from zfoo_py.consumer import memory_io


@pytest.mark.skipif(not memory_io.STATM.exists(), reason="there is no /proc here")
def test_it_is_of_the_right_order_and_grows_with_what_is_held():
    before = memory_io.resident_bytes()
    held = bytearray(b"x" * (64 * 1024 * 1024))
    assert 5_000_000 < before < 10**11
    assert memory_io.resident_bytes() - before > 0.8 * len(held)


def test_it_is_unknown_elsewhere(monkeypatch, tmp_path):
    monkeypatch.setattr(memory_io, "STATM", Path(tmp_path) / "none")
    assert memory_io.resident_bytes() == 0
    (tmp_path / "none").write_text("odd")
    assert memory_io.resident_bytes() == 0
