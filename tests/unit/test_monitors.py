"""Collapse alarms: windows, patience, hysteresis and resume."""

import json
import math

import pytest

from azrl.config.monitors import Alarm
from azrl.config.monitors import Monitors as Settings
from azrl.selfplay.monitors import SIGNALS, Monitors

LIMIT = 96


def monitors(window: int = 1, patience: int = 3, **alarm) -> Monitors:
    bounds = alarm or {"minimum": 0.5}
    return Monitors(Settings(window=window, entropy=Alarm(patience=patience, **bounds)), LIMIT)


def rung_at(watched: Monitors, values) -> list[int]:
    """The steps, from 1, at which the entropy alarm began to ring."""
    return [step for step, value in enumerate(values, 1) if watched.observe(step, {"entropy": value})]


def test_every_alarm_of_the_config_is_watched():
    assert set(SIGNALS) == set(Settings.model_fields) - {"window"}


def test_an_alarm_rings_once_after_its_patience_and_says_what_it_saw():
    watched = monitors(action="novelty", minimum=0.5)
    assert watched.observe(1, {"entropy": 0.4}) == []
    assert watched.observe(2, {"entropy": 0.3}) == []
    [event] = watched.observe(3, {"entropy": 0.2})
    assert (event.name, event.value, event.bound, event.action) == ("entropy", 0.2, 0.5, "novelty")
    assert str(event) == "entropy 0.2 is below 0.5 (action: novelty)"
    assert watched.observe(4, {"entropy": 0.1}) == []
    assert watched.ringing == {"entropy"}


def test_one_good_step_starts_the_patience_anew():
    assert rung_at(monitors(), [0.1, 0.1, 0.9, 0.1, 0.1, 0.9, 0.1, 0.1, 0.1]) == [9]


def test_the_bound_itself_is_in_range():
    assert rung_at(monitors(minimum=0.5, maximum=0.5), [0.5] * 20) == []


def test_a_maximum_rings_from_above():
    assert rung_at(monitors(maximum=1.0), [0.9, 1.1, 1.1, 1.1]) == [4]


def test_an_alarm_that_rings_is_armed_again_only_by_as_long_a_recovery():
    ring, short, long = [0.1] * 3, [0.9] * 2, [0.9] * 3
    assert rung_at(monitors(), ring + short + ring) == [3]
    assert rung_at(monitors(), ring + long + ring) == [3, 9]


def test_values_that_hover_around_the_bound_ring_nothing():
    assert rung_at(monitors(), [0.49, 0.51] * 50) == []


def test_the_window_averages_so_one_outlier_rings_nothing_and_a_trend_does():
    assert rung_at(monitors(window=4, patience=1), [1.0, 1.0, 1.0, 0.0, 1.0, 1.0]) == []
    # means of the last four: 1, 1, 1, 1, .75, .5, .25
    assert rung_at(monitors(window=4, patience=1), [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0]) == [7]


@pytest.mark.parametrize("missing", [{}, {"entropy": math.nan}, {"entropy": math.inf}])
def test_a_missing_value_neither_helps_nor_harms(missing):
    watched = monitors()
    assert rung_at(watched, [0.1, 0.1]) == []
    for step in range(3, 10):
        assert watched.observe(step, missing) == []
    assert len(watched.observe(10, {"entropy": 0.1})) == 1


def test_length_is_given_in_tokens_and_judged_as_a_share_of_the_longest():
    watched = Monitors(Settings(window=1, length=Alarm(maximum=0.95, patience=1)), LIMIT)
    assert watched.observe(1, {"length": 0.95 * LIMIT}) == []
    [event] = watched.observe(2, {"length": 96.0})
    assert event.value == 1.0


def test_the_default_config_catches_a_collapse_to_one_program_and_lets_a_healthy_run_pass():
    healthy = {
        "unique_rate": 0.8, "admitted": 0.5, "program_size": 2.0, "type_mix": 0.3, "entropy": 0.6,
        "length": 30.0, "format": 0.9,
    }  # fmt: skip
    watched = Monitors(Settings(), LIMIT)
    assert [e for step in range(50) for e in watched.observe(step, healthy)] == []
    collapsed = healthy | {"unique_rate": 0.05}
    events = [e for step in range(50, 80) for e in watched.observe(step, collapsed)]
    assert [(e.name, e.action) for e in events] == [("unique_rate", "novelty")]


def test_an_unknown_signal_is_a_mistake():
    with pytest.raises(ValueError, match="no alarm watches entorpy"):
        monitors().observe(1, {"entorpy": 0.1})


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_resumed_run_rings_at_the_same_steps(cut):
    values = [0.9, 0.2, 0.1, 0.1, 0.3, 0.9, 0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1]
    whole = rung_at(monitors(window=2), values)
    assert len(whole) == 2
    first = monitors(window=2)
    before = rung_at(first, values[:cut])
    second = monitors(window=2)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert second.ringing == first.ringing
    assert before + [cut + step for step in rung_at(second, values[cut:])] == whole


def test_a_state_that_is_none_is_refused():
    with pytest.raises(ValueError, match="not a state"):
        monitors().load_state_dict({"entropy": {}})
