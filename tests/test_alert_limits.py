"""The table [alerts]: where it is set, and that nonsense is refused."""

from __future__ import annotations

import math

import msgspec
import pytest

from zfoo_py.alert_limits import AlertLimits
from zfoo_py.config import NodeConfig
from zfoo_py.errors import ConfigError


def test_file_environment_and_argument_are_layers_of_one_table():
    data = {"alerts": {"interval_s": 1.0, "repeat_s": 2.0, "gone_entries_s": 3.0}}
    env = {"ZFOO_ALERTS__REPEAT_S": "20", "ZFOO_ALERTS__GONE_ENTRIES_S": "30"}
    alerts = NodeConfig.build(data, env, alerts={"gone_entries_s": 300.0}).alerts
    assert (alerts.interval_s, alerts.repeat_s, alerts.gone_entries_s) == (1.0, 20.0, 300.0)
    assert NodeConfig.build(alerts=AlertLimits(interval_s=9.0)).alerts == AlertLimits(interval_s=9.0)
    assert NodeConfig.build().alerts == AlertLimits()


@pytest.mark.parametrize("name", AlertLimits.__struct_fields__)
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_a_threshold_is_a_finite_number_greater_than_zero(name, value):
    with pytest.raises(ConfigError, match=f"^alerts.{name}: must be a finite number greater than 0"):
        NodeConfig.build(alerts={name: value})


def test_a_wrong_name_is_told_the_nearest():
    with pytest.raises(ConfigError) as caught:
        NodeConfig.build({"alerts": {"intervall_s": 1}})
    assert caught.value.nearest == "interval_s"


def test_the_thresholds_are_the_documented_ones():
    assert msgspec.structs.asdict(AlertLimits()) == {
        "interval_s": 5.0,
        "repeat_s": 300.0,
        "gone_entries_s": 10.0,
        "min_hit_ratio": 0.05,
        "low_hits_s": 60.0,
        "memory_window_s": 600.0,
        "memory_growth_mib": 64.0,
        "flat_load": 0.2,
    }
