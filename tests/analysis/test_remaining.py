"""The rest of a phase by its pace, and the phases after it, where hardly anything is uncertain."""

import numpy as np
import pandas as pd
import pytest

from importstats.analysis.forecast.chance import DRAWS
from importstats.analysis.forecast.priors import PHASES, VARIABLES, Priors
from importstats.analysis.forecast.remaining import (
    current_variable,
    later_phases,
    observe_pace,
    phase_places,
    rest_by_pace,
    shows_pace,
    weighted,
)

SIZE = len(VARIABLES)
IMPORTING, SORTING, FINISHING = (
    PHASES.index(name) for name in ("Importing", "Sorting", "Finishing")
)


def seen(**values):
    defaults = {
        "phase": "Importing",
        "gained": 0.0,
        "gained_s": 0.0,
        "reached": 0.0,
        "step": 1.0,
        "still_s": 0.0,
        "elapsed_s": 0.0,
        "poll_s": 0.0,
        "only_imports": False,
    }
    return pd.DataFrame([{**defaults, **values}])


def belief(variance=1e-8, **whole_s):
    """Of a job whose phases take so long; the others take a second each."""
    mean = np.full((1, SIZE), np.log1p(1.0))
    for phase, took_s in whole_s.items():
        mean[0, PHASES.index(phase)] = np.log1p(took_s)
    return mean, np.array([variance * np.eye(SIZE)])


def test_phases_have_places_and_the_rest_of_sorting_is_that_of_finishing():
    names = ["Pending", "PreImporting", "Importing", "Sorting", "IndexBuilding", "Committing"]
    places = phase_places(pd.DataFrame({"phase": names}))
    assert places.tolist() == [-1, 0, 1, 2, 3, 4]
    assert current_variable(places).tolist() == [-1, 0, 1, 3, 3, 4]


@pytest.mark.parametrize(
    ("phase", "gained", "shown"),
    [
        ("IndexBuilding", 0.0, False),
        ("IndexBuilding", 0.3, False),
        ("IndexBuilding", 0.31, True),
        ("Importing", 0.9, False),
    ],
)
def test_indexes_show_their_pace_from_the_second_step_on(phase, gained, shown):
    assert shows_pace(seen(phase=phase, gained=gained, step=0.3)).tolist() == [shown]


@pytest.mark.parametrize(
    ("values", "rest_s", "next_s"),
    [
        # A phase of 1,000 s of which nothing was seen to move.
        ({}, 1000, 1000),
        ({"still_s": 400}, 600, 1000),
        # Half is done, a tenth at a time, and the last step was 30 s ago.
        ({"gained": 0.5, "reached": 0.5, "step": 0.1, "still_s": 30}, 470, 100),
        # The last step is what is left at most.
        ({"gained": 0.95, "reached": 0.95, "step": 0.1}, 50, 50),
        # What was done before the first sight is done as well.
        ({"gained": 0.1, "reached": 0.8, "step": 0.1}, 200, 100),
    ],
)
def test_what_is_left_of_a_phase_goes_on_at_its_pace(values, rest_s, next_s):
    mean, covariance = belief(Importing=1000)
    rest, until_next = rest_by_pace(seen(**values), np.array([IMPORTING]), mean, covariance)
    assert rest.shape == until_next.shape == (1, DRAWS)
    assert np.median(rest) == pytest.approx(rest_s, rel=0.02)
    assert np.median(until_next) == pytest.approx(next_s, rel=0.02)


def test_the_share_of_sorting_is_none_of_finishing():
    mean, covariance = belief(Finishing=1000, Sorting=10)
    row = seen(phase="Sorting", gained=0.5, reached=0.5, step=0.1, still_s=1, elapsed_s=300)
    rest, until_next = rest_by_pace(row, np.array([SORTING]), mean, covariance)
    assert np.median(rest) == pytest.approx(700, rel=0.02)
    assert np.median(until_next) == pytest.approx(1000, rel=0.02)


def test_a_step_that_is_overdue_makes_the_phase_longer():
    mean, covariance = belief(Importing=1000)
    row = seen(gained=0.5, reached=0.5, step=0.1, still_s=500)
    rest, _ = rest_by_pace(row, np.array([IMPORTING]), mean, covariance)
    # A tenth took 500 s and more, so all five take 2,500 and more.
    assert 2000 < np.median(rest) < 2200


def test_a_phase_that_is_over_by_all_that_is_believed_lasts_a_little_longer():
    mean, covariance = belief(Importing=1)
    rest, _ = rest_by_pace(seen(still_s=1e6), np.array([IMPORTING]), mean, covariance)
    # One to two hundredths of its time so far, on the log scale.
    assert rest.min() == pytest.approx(1.01e4, rel=0.05)
    assert rest.max() == pytest.approx(2.02e4, rel=0.05)


@pytest.mark.parametrize(
    ("values", "moves"),
    [
        ({"gained": 0.5, "gained_s": 500}, True),
        ({"gained": 0.0, "gained_s": 500}, False),
        ({"gained": 0.5, "gained_s": 0}, False),
    ],
)
def test_a_pace_is_an_observation_of_the_whole_phase(values, moves):
    of = Priors(np.zeros(SIZE), *[np.eye(SIZE)] * 4, np.full(len(PHASES), 0.4))
    # Nobody knows, and half of it took 500 s.
    mean, covariance = belief(variance=1e6, Importing=10)
    before = mean.copy()
    observe_pace(of, seen(**values), np.array([IMPORTING]), mean, covariance)
    others = np.arange(SIZE) != IMPORTING
    assert (mean[0, others] == before[0, others]).all()
    if moves:
        assert np.expm1(mean[0, IMPORTING]) == pytest.approx(1000, rel=1e-4)
        assert covariance[0, IMPORTING, IMPORTING] == pytest.approx(0.4 + 0.003, rel=1e-3)
    else:
        assert mean[0, IMPORTING] == before[0, IMPORTING]
        assert covariance[0, IMPORTING, IMPORTING] == 1e6


@pytest.mark.parametrize(("poll_s", "more"), [(0, 0), (np.nan, 0), (60, 0.12**2 / 12), (50_000, 2)])
def test_a_pace_between_rare_looks_is_less_certain(poll_s, more):
    of = Priors(np.zeros(SIZE), *[np.eye(SIZE)] * 4, np.full(len(PHASES), 0.4))
    mean, covariance = belief(variance=1e6)
    row = seen(gained=0.75, gained_s=500, poll_s=poll_s)
    observe_pace(of, row, np.array([IMPORTING]), mean, covariance)
    assert covariance[0, IMPORTING, IMPORTING] == pytest.approx(0.4 / 3 + 0.003 + more, rel=1e-3)


def later(phase, place, rest_s=10.0, **values):
    mean, covariance = belief(
        PreImporting=5, Importing=100, Sorting=40, Finishing=200, Committing=3
    )
    row = seen(phase=phase, **values)
    rest = np.full((1, DRAWS), rest_s)
    return float(np.median(later_phases(row, np.array([place]), mean, covariance, rest)))


@pytest.mark.parametrize(
    ("phase", "place", "only_imports", "later_s"),
    [
        # Sorting is a part of Finishing, and counts for nothing of its own.
        ("Pending", -1, False, 5 + 100 + 200 + 3),
        ("PreImporting", 0, False, 100 + 200 + 3),
        ("Importing", 1, False, 200 + 3),
        ("Sorting", 2, False, 3),
        ("IndexBuilding", 3, False, 3),
        ("Committing", 4, False, 0),
        # A bulk insert of 2.3 has no phase after Importing.
        ("Pending", -1, True, 100),
        ("Importing", 1, True, 0),
    ],
)
def test_what_comes_later_is_each_phase_that_is_ahead(phase, place, only_imports, later_s):
    # What the current phase took is as believed, so it says nothing new.
    found = later(phase, place, rest_s=100.0 if place == 1 else 10.0, only_imports=only_imports)
    assert found == pytest.approx(later_s, rel=0.03, abs=0.03)


def test_a_phase_that_takes_longer_than_believed_makes_those_longer_that_go_with_it():
    mean, covariance = belief(variance=1.0, Importing=99, Finishing=99, Committing=0)
    covariance[0, IMPORTING, FINISHING] = covariance[0, FINISHING, IMPORTING] = 0.999
    row, rest = seen(elapsed_s=149.0), np.full((1, DRAWS), 50.0)
    # Twice as long as believed, both of them.
    found = later_phases(row, np.array([IMPORTING]), mean, covariance, rest)
    assert np.median(found) == pytest.approx(200, rel=0.05)
    # Half was done before the first sight: four times as long.
    row = seen(elapsed_s=149.0, reached=0.75, gained=0.25)
    found = later_phases(row, np.array([IMPORTING]), mean, covariance, rest)
    assert np.median(found) == pytest.approx(400, rel=0.05)


def test_draws_that_last_longer_than_a_job_has_lived_count_less():
    half = np.repeat([10.0, 1000.0], DRAWS // 2)
    young = weighted(half[None, :], np.array([0.0]))
    old = weighted(half[None, :], np.array([1e9]))
    assert (young < 100).mean() > 0.9
    np.testing.assert_allclose(old, half[None, :], rtol=1e-4)
    # In any order, and never before its age.
    np.testing.assert_allclose(weighted(half[None, ::-1], np.array([-5.0])), young)


@pytest.mark.parametrize(("lived_s", "more"), [(0.0, 2.0), (1.0, 1.5), (-9.0, 2.0)])
def test_a_draw_weighs_by_the_time_that_the_job_would_have_lived(lived_s, more):
    # Draws of 1 and 2 seconds: with a power of 0.6, so many times as likely is the shorter one.
    left = np.repeat([1.0, 2.0], DRAWS // 2)[None, :]
    short = (weighted(left, np.array([lived_s])) < 1.4).mean()
    assert short == pytest.approx(more**0.6 / (1 + more**0.6), abs=0.01)
