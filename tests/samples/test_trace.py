"""Access logs, plain, packed and odd; and the made-up trace."""

import gzip
from collections import Counter
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samples.trace import FIRST_PATHS, NEW_PATH_SHARE, AccessLog, Request, asks_of, client_name, parse_line, synthetic

COMBINED = '10.0.0.7 - - [17/May/2015:10:05:03 +0000] "GET /a.html HTTP/1.1" 200 203 "http://x/" "Mozilla (X; [y])"'
LINES = [
    (COMBINED, Request("10.0.0.7", "/a.html", 203)),
    ('::1 - ada [17/May/2015:10:05:03 +0000] "HEAD /b?x=1&y=2 HTTP/1.0" 304 -', Request("::1", "/b", 0)),
    ('h - ada "the" first [1/May/2015] "POST http://site:80/c%20d HTTP/1.1" 201 5', Request("h", "/c%20d", 5)),
    ('h - - [x] "GET https://site HTTP/1.1" 200 1', Request("h", "/", 1)),
    ('h - - [x] "GET /with space HTTP/1.1" 400 9 "-" "-"', Request("h", "/with space", 9)),
    ('h - - [x] "GET /old" 200 9', Request("h", "/old", 9)),
    ('h - - [x] "GET /\\"quoted\\" HTTP/1.1" 200 9 "-" "-"', Request("h", '/\\"quoted\\"', 9)),
    ('h - - [x] "OPTIONS * HTTP/1.1" 200 9', Request("h", "*", 9)),
    ('h - - [x] "-" 408 0 "-" "-"', None),
    ('h - - [x] "\\x16\\x03\\x01" 400 226', None),
    ('h - - [x] "GET /a HTTP/1.1" 200', None),
    ("garbage", None),
]


@pytest.mark.parametrize(("line", "request_"), LINES)
def test_a_line_gives_its_request_or_none(line, request_):
    assert parse_line(line) == request_


@given(st.text(max_size=200))
def test_no_line_raises(line):
    parse_line(line)
    parse_line(f'h - - [x] "{line}" 200 7')


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_log_is_read_plain_or_packed_and_odd_lines_are_counted(tmp_path, pack):
    path = tmp_path / "log"
    raw = "\n".join(line for line, _ in LINES).encode() + b'\r\n\nh - - [x] "GET /\xff\xe9 HTTP/1.1" 200 7'
    path.write_bytes(pack(raw))
    log = AccessLog(path)
    wanted = [request for _, request in LINES if request] + [Request("h", "/\\xff\\xe9", 7)]
    assert list(log) == wanted
    assert log.skipped == 4
    assert list(log) == wanted, "a log can be read again"
    assert log.skipped == 4


def test_a_damaged_gzip_log_is_said_to_be_one(tmp_path):
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(COMBINED.encode() * 100)[:-12])
    with pytest.raises(ValueError, match="damaged gzip"):
        list(AccessLog(path))


def test_a_request_makes_three_asks_in_order():
    assert asks_of(Request("10.0.0.7", "/a", 5)) == (
        ("visits", "10.0.0.7", 5),
        ("sessions", "10.0.0.7", 5),
        ("pages", "/a", 5),
    )


def test_the_synthetic_trace_depends_on_the_seed_alone():
    first, again, other = (list(islice(synthetic(seed), 500)) for seed in (1, 1, 2))
    assert first == again != other


def test_the_synthetic_trace_brings_new_keys_for_ever_and_old_ones_by_rank():
    requests = list(islice(synthetic(3), 20_000))
    for pick in (0, 1):
        early = {request[pick] for request in requests[:15_000]}
        late = {request[pick] for request in requests[15_000:]} - early
        assert len(late) > 100
        times = Counter(request[pick] for request in requests)
        (_, first), (_, second), (_, third) = times.most_common(3)
        assert first > second > third > 100
        assert sum(count == 1 for count in times.values()) > len(times) / 5
    newest = max(int(request.path.removeprefix("/pages/")) for request in requests)
    assert (newest - FIRST_PATHS) / len(requests) == pytest.approx(NEW_PATH_SHARE, rel=0.1)


def test_client_names_are_addresses_and_differ():
    names = {client_name(number) for number in (*range(1, 1000), 2**16, 2**24, 2**24 + 1, 2**31, 2**32 - 1)}
    assert len(names) == 999 + 5
    assert {"10.0.0.1", "10.1.0.0", "11.0.0.0", "9.255.255.255"} <= names
