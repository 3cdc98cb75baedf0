"""A service type: who serves it, and what an event says of its providers."""

from __future__ import annotations

from tests.support.consumers import service
from zfoo_py.consumer.balancer import Balancer, Provider, ServiceView
from zfoo_py.consumer.service import Service, membership_of


def test_module_and_group_decide_who_serves_it():
    blue = service("visits", group="blue")
    for services, expected in [
        ({("visits", "blue")}, True),
        ({("visits", "green")}, False),
        ({("pages", "blue")}, False),
        ({("visits", "green"), ("visits", "blue")}, True),
        (set(), False),
    ]:
        assert blue.is_served_by(Provider("p", services=frozenset(services))) == expected


def test_membership_names_each_modules_providers():
    visits, pages = service("visits"), service("pages")
    visits.view = visits.view.joined(Provider("b", node_id="2"), 1).joined(Provider("a", node_id="1"), 2)
    assert membership_of([visits, pages]) == {"visits": (("a", "1"), ("b", "2")), "pages": ()}


def test_two_of_the_same_values_are_two():
    one, two = (Service("visits", "visits", "mine", Balancer(), ServiceView("visits")) for _ in range(2))
    assert one != two
    one.view = ServiceView("visits", applied_version=2)
    assert (one.view.applied_version, two.view.applied_version) == (2, 0)
