"""Frames: what comes out never depends on how the bytes were cut."""

from __future__ import annotations

import itertools
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zfoo_py.errors import FrameError
from zfoo_py.protocol.framing import HEADER_BYTES, FrameParser, frame

LIMIT = 2 * 1024 * 1024


def header(length: int) -> bytes:
    return length.to_bytes(HEADER_BYTES, "big")


def feed_all(parser: FrameParser, chunks: list[bytes]) -> list[bytes]:
    return [bytes(body) for chunk in chunks for body in parser.feed(chunk)]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def test_a_frame_is_its_length_and_the_body():
    assert frame(b"abc") == b"\x00\x00\x00\x03abc"


def test_all_frames_of_a_chunk_come_at_once_and_the_rest_later():
    parser = FrameParser(LIMIT)
    assert parser.feed(frame(b"a") + frame(b"bc") + b"\x00\x00") == [b"a", b"bc"]
    assert parser.feed(b"\x00\x01") == []
    assert parser.feed(b"d" + frame(b"e")) == [b"d", b"e"]
    assert parser.error is None


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=12),
    st.lists(st.integers(0, 1 << 20), max_size=40),
    st.booleans(),
)
def test_the_result_is_independent_of_chunking(bodies, places, one_by_one):
    stream = b"".join(map(frame, bodies))
    chunks = [stream[i : i + 1] for i in range(len(stream))] if one_by_one else cut(stream, places)
    parser = FrameParser(40)
    assert feed_all(parser, chunks) == bodies
    assert parser.error is None


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    st.sampled_from([0, 41, 1000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF]),
    st.binary(max_size=60),
    st.lists(st.integers(0, 1 << 20), max_size=20),
)
def test_a_bad_header_ends_the_stream_wherever_it_is_cut(bodies, length, after, places):
    """The frames before the fault come, nothing after it does, and the fault is the same for every chunking."""
    parser, whole = FrameParser(40), FrameParser(40)
    stream = b"".join(map(frame, bodies)) + header(length) + after
    assert feed_all(parser, cut(stream, places)) == bodies
    assert whole.feed(stream) == bodies
    assert isinstance(parser.error, FrameError)
    assert str(parser.error) == str(whole.error)
    assert parser.feed(frame(b"more")) == []


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (0, "length zero"),
        (LIMIT + 1, f"{LIMIT + 1} bytes is over the limit of {LIMIT}"),
        (0x7FFF_FFFF, "over the limit"),
        (0x8000_0000, r"negative length \(-2147483648\)"),
        (0xFFFF_FFFF, r"negative length \(-1\)"),
    ],
)
def test_a_bad_length_is_refused_by_its_header_alone(length, text):
    parser = FrameParser(LIMIT)
    assert parser.feed(header(length)) == []
    with pytest.raises(FrameError, match=text):
        raise parser.error


@pytest.mark.parametrize(
    "stream", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"]
)
def test_other_protocols_are_no_frames(stream):
    """An HTTP request and a TLS hello read as absurd lengths."""
    parser = FrameParser(LIMIT)
    assert parser.feed(stream) == []
    assert parser.error is not None


def test_the_longest_frame_is_taken():
    parser = FrameParser(8)
    assert feed_all(parser, [frame(b"12345678")]) == [b"12345678"]
    parser.feed(header(9))
    assert parser.error is not None


def test_a_new_limit_holds_for_the_next_header():
    parser = FrameParser(8)
    parser.feed(header(8) + b"1234")
    parser.max_frame_bytes = 4
    assert feed_all(parser, [b"5678" + frame(b"abcd")]) == [b"12345678", b"abcd"]
    parser.feed(header(5))
    assert parser.error is not None


def test_a_huge_frame_is_gathered_once():
    """64 KiB chunks are appended to one buffer that is handed out as it is; nothing is copied again per chunk."""
    body = b"x" * LIMIT
    chunks = cut(frame(body) + frame(b"next"), list(range(0, LIMIT, 65536)))
    parser = FrameParser(LIMIT)
    tracemalloc.start()
    try:
        assert parser.feed(chunks[1]) == []
        buffer = parser._body
        for chunk in chunks[2:-1]:
            assert parser.feed(chunk) == []
            assert parser._body is buffer
        bodies = parser.feed(chunks[-1])
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [bytes(b) for b in bodies] == [body, b"next"]
    assert isinstance(bodies[0], memoryview)
    assert bodies[0].obj is buffer
    assert peak_bytes < 1.5 * LIMIT


def test_a_long_length_reserves_nothing():
    """A peer that only claims a long frame costs a few bytes."""
    parser = FrameParser(LIMIT)
    tracemalloc.start()
    try:
        parser.feed(header(LIMIT) + b"x")
        assert tracemalloc.get_traced_memory()[1] < 10_000
    finally:
        tracemalloc.stop()


def test_bodies_stay_valid_after_the_next_feed():
    parser = FrameParser(LIMIT)
    parser.feed(header(6) + b"abc")
    (first,) = parser.feed(b"def")
    parser.feed(header(6) + b"ghi")
    parser.feed(b"jkl")
    assert bytes(first) == b"abcdef"
