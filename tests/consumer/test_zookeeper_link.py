"""What fails on a link is told apart, and each is a LinkError."""

from zfoo_py.consumer.zookeeper_link import GoneError, LinkError, RefusedError, Stat, TakenError


def test_whoever_catches_a_link_error_catches_all():
    for kind in (GoneError, TakenError, RefusedError):
        assert issubclass(kind, LinkError)
    assert Stat(1, 2)._asdict() == {"version": 1, "owner": 2}
