"""The parts of the forecast put together, where each part is given."""

import numpy as np
import pandas as pd
import pytest

from importstats.analysis.forecast import assembly
from importstats.analysis.forecast.assembly import (
    _Belief,
    _first_of_importing,
    _Forecast,
    _interval,
    _model_with_twin,
    _quantiles,
)
from importstats.analysis.forecast.chance import DRAWS
from importstats.analysis.forecast.levels import Earlier
from importstats.analysis.forecast.memory import Memory
from importstats.analysis.forecast.past import Stretch
from importstats.analysis.forecast.priors import PHASES, VARIABLES, shipped_priors
from importstats.analysis.forecast.twin import WEIGHT, twin_quantiles


def rows_of(phase="Importing", *, gained=0.0, step=0.1, line_s=np.nan):
    row = {"phase": phase, "gained": gained, "step": step, "line_s": line_s, "lived_s": 1e6}
    return pd.DataFrame([{**row, "only_imports": False}])


def model(seconds, spread=0.4):
    left = twin_quantiles(np.log([seconds]), np.array([spread]))
    none = np.zeros((1, DRAWS))
    nothing = np.zeros(1)
    return _Forecast(none, none, left, none, nothing, nothing, nothing)


def mixed(rows, model_s, twin_s, *, queue_s=0.0, spread=0.4, has_memory=False, odds=1.0):
    """The median of what is left, how much the twin counts, and how far it is from the model."""
    twin = np.full((1, DRAWS), np.nan)
    if twin_s is not None:
        twin = twin_quantiles(np.log([twin_s]), np.array([spread]))
    queue = np.full((1, DRAWS), queue_s)
    memory, odds = np.array([has_memory]), np.array([odds])
    left, weight, apart = _model_with_twin(rows, model(model_s), twin, queue, memory, odds)
    assert (np.diff(left[0]) >= 0).all()
    return float(np.median(left)), float(weight[0]), float(apart[0])


@pytest.mark.parametrize("phase", ["Pending", "Importing", "Sorting", "IndexBuilding"])
def test_model_and_twin_meet_between_the_two_on_the_log_scale(phase):
    middle, weight, apart = mixed(rows_of(phase), 1000.0, 100.0)
    assert apart == pytest.approx(np.log(10), rel=1e-3)
    assert weight == pytest.approx(WEIGHT[phase], rel=1e-3)
    assert middle == pytest.approx(1000 * 0.1**weight, rel=1e-3)


def test_without_a_twin_the_model_speaks_and_the_line_if_nothing_is_remembered():
    assert mixed(rows_of(), 1000.0, None)[0] == pytest.approx(1000, rel=1e-3)
    lined = rows_of(line_s=100.0)
    assert mixed(lined, 1000.0, None)[0] == pytest.approx(1000 * 0.1**0.5, rel=1e-3)
    assert mixed(lined, 1000.0, None, has_memory=True)[0] == pytest.approx(1000, rel=1e-3)
    assert mixed(lined, 1000.0, 1000.0)[0] == pytest.approx(1000, rel=1e-3)


def test_a_wait_in_the_queue_comes_on_top():
    assert mixed(rows_of("Pending"), 100.0, 100.0, queue_s=50.0)[0] == pytest.approx(150, rel=1e-3)


def test_without_a_twin_nothing_is_apart():
    assert mixed(rows_of(line_s=100.0), 1000.0, None)[2] == 0
    assert mixed(rows_of(), 1000.0, None, odds=9.0)[1] == 0


def test_what_was_learned_multiplies_the_odds_of_the_twin_up_to_nearly_all():
    usual = WEIGHT["Importing"] / (1 - WEIGHT["Importing"])
    _, weight, _ = mixed(rows_of(), 1000.0, 100.0, odds=3.0)
    assert weight / (1 - weight) == pytest.approx(3 * usual, rel=2e-3)
    assert mixed(rows_of(), 1000.0, 100.0, odds=99.0)[1] == 0.95


def test_a_twin_that_the_pace_of_indexes_contradicts_counts_little():
    moved = rows_of("IndexBuilding", gained=0.5)
    assert mixed(moved, 100.0, 100.0)[1] == pytest.approx(WEIGHT["IndexBuilding"], rel=1e-3)
    # So far apart that it counts as a deviation of one.
    other = 100.0 * np.exp(0.5)
    middle, weight, apart = mixed(moved, 100.0, other)
    assert apart == pytest.approx(0.5, rel=1e-3)
    assert weight == pytest.approx(WEIGHT["IndexBuilding"] * np.exp(-0.5), rel=1e-3)
    assert middle == pytest.approx(100 * np.exp(0.5 * weight), rel=1e-3)
    # A first step may be of many builds, so it contradicts nothing.
    _, weight, _ = mixed(rows_of("IndexBuilding", gained=0.5, step=0.5), 100.0, other)
    assert weight == pytest.approx(WEIGHT["IndexBuilding"], rel=1e-3)


def test_the_quantiles_of_draws_are_those_of_a_tenth_a_half_and_nine_tenths():
    found = _quantiles(np.array([np.arange(101.0), np.full(101, -5.0)]))
    assert found[0].tolist() == [10, 50, 90]
    assert found[1].tolist() == [0.001] * 3
    assert _quantiles(np.zeros((0, DRAWS))).shape == (0, 3)


def belief(same_collection):
    nothing = np.zeros(1)
    no = np.zeros(1, np.bool_)
    return _Belief(nothing, nothing, no, np.array([float(same_collection)]), no)


def test_an_interval_is_narrower_with_history_and_once_indexes_are_built():
    left = model(100.0).left_s

    def width(rows, earlier):
        low, middle, high = _interval(rows, left, np.zeros(1), belief(earlier), np.ones(1))[0]
        assert middle == pytest.approx(100, rel=1e-3)
        return np.log(high / low)

    moved = rows_of("IndexBuilding", gained=0.2)
    assert width(rows_of(), 1) < width(rows_of(), 0)
    assert width(moved, 1) < width(rows_of("IndexBuilding"), 1)
    assert width(rows_of(gained=0.2), 1) == width(rows_of(), 1)


@pytest.mark.parametrize(
    ("asked", "first"),
    [([], []), ([0], []), ([2], [1]), ([1], [1]), ([2, 5], [1, 4]), ([5], [4]), ([3, 6], [])],
)
def test_the_first_snapshot_in_importing_is_needed_by_each_later_one(asked, first):
    phases = ["Pending", "Importing", "Importing", "Sorting", "Importing", "Importing", "Sorting"]
    seen = pd.DataFrame({"phase": phases, "job": [0, 0, 0, 0, 1, 1, 1]})
    needed = np.isin(np.arange(7), asked)
    assert _first_of_importing(seen, needed).tolist() == first


def earlier(*clusters):
    keys = np.arange(len(clusters))
    values = np.tile(shipped_priors().mean, (len(clusters), 1))
    ended = np.zeros(len(clusters))
    places = np.array(clusters, np.int64)
    return Earlier(keys, places, places, ended, values, np.full_like(values, 0.01))


@pytest.mark.parametrize(
    ("clusters", "seconds_later", "is_used"),
    [((), 0, True), ((), -1, False), ((1,), 0, False), ((2,), 0, True)],
)
def test_a_cluster_is_remembered_where_none_of_its_jobs_is_known(clusters, seconds_later, is_used):
    stretch = Stretch(np.array([0]), earlier(*clusters), 1, 1)
    found = _Belief.from_priors(shipped_priors(), [stretch], 1)
    assert found.any_history.tolist() == [len(clusters) > 0]
    assert found.same_collection.tolist() == [clusters.count(1)]
    before = found.mean.copy()
    mean_s = np.full(len(PHASES), np.nan)
    mean_s[1] = 1e6
    memory = Memory(100.0, mean_s, np.full(len(PHASES), 9.0))
    rows = pd.DataFrame({"job": [7], "now_s": [100.0 + seconds_later]})
    found.remember(shipped_priors(), rows, [stretch], {7: memory})
    assert found.has_memory.tolist() == [is_used]
    assert (found.mean != before).any() == is_used
    assert found.mean.shape == (1, len(VARIABLES))


def test_two_earlier_jobs_of_the_cluster_or_more_teach(monkeypatch):
    replayed = []

    def note(priors, past, stretch, near):
        replayed.append(near.tolist())
        return {"": float(len(near)), "Sorting": 0.5}, {"": 7.0, "Sorting": 8.0}

    monkeypatch.setattr(assembly, "_replayed", note)
    few, enough, many = earlier(1, 2, 2), earlier(2, 1, 1), earlier(*[1] * 12)
    stretches = [
        Stretch(np.array([place]), jobs, 1, 1)
        for place, jobs in enumerate([few, enough, enough, many, many])
    ]
    phases = ["Importing", "Importing", "Sorting", "Importing", "Sorting", "Importing"]
    rows = pd.concat([rows_of(phase) for phase in phases], ignore_index=True)
    found, odds = assembly._learned(shipped_priors(), None, stretches, rows)
    # Of the same jobs once, of very many the latest ten, and of each phase its own.
    assert found.tolist() == [1, 2, 0.5, 10, 0.5, 1]
    assert odds.tolist() == [1, 7, 8, 7, 8, 1]
    assert replayed == [[1, 2], list(range(2, 12))]
