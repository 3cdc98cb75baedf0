"""What the story asks: the made-up requests, and from some moment on a crawler among them. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from samples.trace import Request, synthetic

__all__ = ["StoryTrace", "marked"]

# Of so many requests all but one are the crawler's.
CRAWL_CYCLE = 8
CRAWLED_BYTES = 900


class StoryTrace:
    """Requests without end; the same for the same seed and `crawl_from`.

    Args:
        seed: of the ordinary requests.
        crawl_from: from this request on most come from a client, and ask for a page, never seen before; None: none.

    Attributes:
        begun: how many requests were given.
    """

    def __init__(self, seed: int, crawl_from: int | None = None) -> None:
        self._ordinary = synthetic(seed)
        self.begun = 0
        self.crawl_from = crawl_from

    def __iter__(self) -> Iterator[Request]:
        return self

    def __next__(self) -> Request:
        number = self.begun
        self.begun += 1
        if self.crawl_from is not None and number >= self.crawl_from and (number - self.crawl_from) % CRAWL_CYCLE:
            return Request(
                f"192.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", f"/new/{number}", CRAWLED_BYTES
            )
        return next(self._ordinary)


def marked(requests: Iterator[Request], mark: str) -> Iterator[Request]:
    """Yield the same requests with keys of their own, so that providers count them apart."""
    for client, path, size in requests:
        yield Request(f"{client} {mark}", f"{path} {mark}", size)
