"""What the story asks."""

from __future__ import annotations

from itertools import islice

from samples.story_trace import StoryTrace, marked
from samples.trace import synthetic


def test_without_the_crawler_it_is_the_made_up_trace():
    assert list(islice(StoryTrace(7), 500)) == list(islice(synthetic(7), 500))


def test_the_crawler_may_come_at_any_moment_and_the_trace_can_be_told_again():
    trace = StoryTrace(7)
    told = list(islice(trace, 300))
    trace.crawl_from = trace.begun
    told += islice(trace, 400)
    assert trace.begun == 700
    assert told == list(islice(StoryTrace(7, crawl_from=300), 700))
    crawled = [request for request in told if request.path.startswith("/new/")]
    assert len(crawled) == 350
    assert told[:300] == list(islice(synthetic(7), 300))
    assert [r for r in told if r not in crawled] == list(islice(synthetic(7), 350))
    before = {request.client for request in told} - {request.client for request in crawled}
    assert len({request.client for request in crawled} - before) == len({r.path for r in crawled}) == 350


def test_marked_requests_are_the_same_with_keys_of_their_own():
    (request,) = islice(synthetic(7), 1)
    (other,) = marked(iter([request]), "(old)")
    assert other == (f"{request.client} (old)", f"{request.path} (old)", request.bytes_sent)
