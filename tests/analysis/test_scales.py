"""Scales: each release's points are read as its phases, and a job is on one only if it shows it."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_phase import START, jobs_frame

from importstats.analysis.phase import with_phase
from importstats.analysis.scales import SCALES, Shown, scales_of_version

ALL = (1000, 1000, 3)
NONE = (0, 0, 0)


def phases_of(rows, **columns):
    phased = with_phase(jobs_frame([("Importing", *row) for row in rows]).assign(**columns))
    return phased["phase"].tolist()


@pytest.mark.parametrize(
    ("version", "scale"),
    [
        ("2.4.0-rc.1", "2.4.0-rc.1"),
        ("v2.4.0", "2.4.0"),
        ("2.4.12", "2.4.0"),
        ("v2.4.13-gpu", "2.4.13"),
        ("2.4.23", "2.4.13"),
        ("2.5.0-beta", "2.5.0"),
        ("2.6.20", "2.5.0"),
        ("Import V3", "Import V3"),
    ],
)
def test_a_version_has_one_scale(version, scale):
    fits = scales_of_version(version)
    assert [each.name for each, yes in zip(SCALES, fits, strict=True) if yes] == [scale]


def test_a_version_that_names_no_release_rules_nothing_out():
    assert scales_of_version("master-20240311-1f3b1b3").all()


@pytest.mark.parametrize(
    ("version", "phase", "fraction"),
    [
        ("2.4.1", "IndexBuilding", np.nan),
        ("2.4.15", "IndexBuilding", 0.0),
        ("2.5.4", "Sorting", 0.0),
        ("3.0.1", "Sorting", 0.0),
        ("Import V3", "IndexBuilding", 1 / 3),
        (None, "SortingOrIndexing", np.nan),
    ],
)
@pytest.mark.parametrize("recorded", [True, False])
def test_what_stands_at_70_with_all_rows_depends_on_the_release(version, phase, fraction, recorded):
    jobs = jobs_frame([("Importing", 70, *ALL)])
    if recorded:
        phased = with_phase(jobs.assign(server_version=pd.array([version], "str")))
    else:
        phased = with_phase(jobs, server_version=version)
    assert phased["phase"].tolist() == [phase]
    assert phased["phase_fraction"].tolist() == pytest.approx([fraction], nan_ok=True)


@pytest.mark.parametrize(
    ("columns", "phase"),
    [
        ({"extra": '{"createTime":"2026-05-18T08:00:00Z"}'}, "Sorting"),
        ({"create_time": START}, "Sorting"),
        ({"server_version": "<2.4.14"}, "IndexBuilding"),
        ({"server_version": ">=2.4.14"}, "SortingOrIndexing"),
        ({"server_version": "cloud"}, "SortingOrIndexing"),
        ({"status": 200}, "IndexBuilding"),
        ({"status": 200, "source_uri": "https://in01.zillizcloud.com"}, "SortingOrIndexing"),
        ({"status": 0}, "SortingOrIndexing"),
    ],
)
def test_the_dialect_of_an_answer_shows_the_release(columns, phase):
    assert phases_of([(70, *ALL)], **columns) == [phase]


def test_import_v3_is_recognised_by_rows_before_40_and_all_rows_below_70():
    rows = [(12, *NONE), (18, 100, 1000, 3), (45, 1000, 1000, 3), (52, *ALL), (66, *ALL)]
    rows += [(75, *ALL), (89, *ALL), (99, *ALL)]
    assert phases_of(rows) == [
        "PreImporting",
        "Resharding",
        "Planning",
        "Importing",
        "IndexBuilding",
        "IndexBuilding",
        "IndexBuilding",
        "Committing",
    ]
    assert phases_of([(66, *ALL)]) == ["IndexBuilding"]


def test_99_is_committing_where_nothing_is_opened():
    assert phases_of([(75, *ALL), (99, *ALL)]) == ["SortingOrIndexing", "Committing"]
    assert phases_of([(75, *ALL), (99, *ALL)], server_version="3.0.0")[0] == "Sorting"


def test_what_no_scale_explains_is_unknown_and_says_nothing_about_the_rest():
    assert phases_of([(85, 300, 1000, 3)]) == ["Unknown"]
    assert phases_of([(60, *NONE)]) == ["Unknown"]
    assert phases_of([(55, 500, 1000, 3), (85, 300, 1000, 3), (80, *ALL)]) == [
        "Importing",
        "Unknown",
        "IndexBuilding",
    ]


def test_a_sequence_of_two_scales_is_unknown_from_the_second_on():
    v3_then_candidate = [(66, *ALL), (94, *ALL), (75, *ALL)]
    assert phases_of(v3_then_candidate) == ["IndexBuilding", "Unknown", "Unknown"]


def test_rows_that_were_not_sent_are_not_no_rows():
    assert phases_of([(60, None, None, 0)]) == ["Importing"]


def test_importing_lasts_while_no_rows_were_counted():
    assert phases_of([(70, 0, 0, 2)]) == ["Importing"]
    assert phases_of([(40, 0, 500, 2)]) == ["Importing"]


@given(
    st.lists(st.tuples(st.integers(10, 100), st.integers(0, 10), st.integers(0, 10)), max_size=8),
    st.sampled_from([None, "2.4.1", "2.4.20", "2.5.1", "3.0.0", "Import V3"]),
)
def test_no_snapshot_depends_on_what_came_later(rows, version):
    jobs = jobs_frame([("Importing", p, min(i, t), t, 2) for p, i, t in rows])
    whole = with_phase(jobs, server_version=version)
    for count in range(len(jobs)):
        cut = with_phase(jobs.head(count), server_version=version)
        pd.testing.assert_frame_equal(cut, whole.head(count))


def test_a_known_version_never_gives_a_phase_that_its_release_has_not():
    rows = [(p, *ALL) for p in range(10, 101)]
    assert "Sorting" not in set(phases_of(rows, server_version="2.4.18"))
    assert "SortingOrIndexing" not in set(phases_of(rows, server_version="2.6.2"))


@given(st.lists(st.sampled_from([(0, 10), (500, 55), (1000, 66), (1000, 82), (1000, 94)])))
def test_a_snapshot_that_repeats_the_one_before_has_its_phase(shown):
    rows = [("Importing", progress, written, 1000, 3) for written, progress in shown]
    twice = [row for row in rows for _ in range(2)]
    once, found = with_phase(jobs_frame(rows)), with_phase(jobs_frame(twice))
    for name in ("phase", "phase_fraction"):
        assert found[name].iloc[::2].reset_index(drop=True).equals(once[name])
        assert found[name].iloc[1::2].reset_index(drop=True).equals(once[name])


def test_only_what_differs_from_the_snapshot_before_is_a_change():
    missing = np.full(6, np.nan)
    rows = np.array([np.nan, np.nan, 5.0, 5.0, 5.0, 5.0])
    at_work = np.array([True, True, True, True, False, False])
    shown = Shown(missing, rows, missing, missing, at_work)
    assert shown.changes().tolist() == [True, False, True, False, True, False]
