"""A service type is an identity, and its view is replaced."""

from __future__ import annotations

from zfoo_py.consumer.balancer import Balancer, ServiceView
from zfoo_py.consumer.service import Service


def test_two_of_the_same_values_are_two():
    one, two = (Service("visits", "visits", "mine", Balancer(), ServiceView("visits")) for _ in range(2))
    assert one != two
    one.view = ServiceView("visits", applied_version=2)
    assert (one.view.applied_version, two.view.applied_version) == (2, 0)
