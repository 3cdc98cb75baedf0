"""Each fact about providers is told once, also when the consumer that tells it is started anew."""

from __future__ import annotations

from zfoo_py.consumer.balancer import Provider
from zfoo_py.consumer.membership import Joined, Left
from zfoo_py.consumer.news import News
from zfoo_py.events import Event, Events


def provider(name):
    return Provider(ring_name=name, text=name, node_id=name, address="", services=frozenset({("m", "m")}))


def telling():
    """News, and a list of what was told: (class, version, node id or "")."""
    told = []
    events = Events()
    events.subscribe(
        Event,
        lambda event: told.append((type(event).__name__, event.membership_version, getattr(event, "node_id", ""))),
    )
    return News(events), told, events


def test_what_happens_is_told_with_its_version():
    news, told, _ = telling()
    a = provider("a")
    news.joined(Joined(a, 1), 1)
    news.membership(1, [])
    news.left(Left(a, 1, "gone"), 2)
    news.membership(2, [])
    assert told == [
        ("ProviderUp", 1, "a"),
        ("MembershipChanged", 1, ""),
        ("ProviderDown", 2, "a"),
        ("MembershipChanged", 2, ""),
    ]


def test_a_successor_tells_only_what_is_new():
    news, told, events = telling()
    for name in ("stays", "goes"):
        news.joined(Joined(provider(name), 1), 1)
    news.membership(1, [])
    told.clear()
    heir = News(events)
    heir.take_over(news)
    heir.joined(Joined(provider("stays"), 1), 3)
    heir.joined(Joined(provider("comes"), 2), 3)
    heir.membership(3, [])
    assert told == [("ProviderUp", 3, "comes"), ("ProviderDown", 3, "goes"), ("MembershipChanged", 3, "")]
    told.clear()
    heir.left(Left(provider("stays"), 1, "gone"), 4)
    assert told == [("ProviderDown", 4, "stays")]


def test_a_successor_that_finds_everything_as_it_was_tells_nothing():
    news, told, events = telling()
    news.joined(Joined(provider("a"), 1), 1)
    news.membership(1, [])
    told.clear()
    heir = News(events)
    heir.take_over(news)
    third = News(events)
    third.take_over(heir)  # that one died before its snapshot
    third.joined(Joined(provider("a"), 1), 1)
    third.membership(1, [])
    assert told == []


def test_what_left_is_not_inherited():
    news, told, events = telling()
    news.joined(Joined(provider("a"), 1), 1)
    news.left(Left(provider("a"), 1, "gone"), 2)
    heir = News(events)
    heir.take_over(news)
    told.clear()
    heir.membership(2, [])
    assert told == [("MembershipChanged", 2, "")]
