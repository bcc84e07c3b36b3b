"""Phases at their edges: exactly the points, times and shares where one answer becomes another."""

import numpy as np
import pandas as pd
import pytest
from test_phase import START, jobs_frame

from importstats.analysis.phase import phases, with_phase

ALL = (1000, 1000, 3)
NONE = (0, 0, 0)
NAN = np.nan


@pytest.mark.parametrize(
    ("row", "phase", "fraction"),
    [
        (("Pending", 10, *NONE), "Pending", 1.0),
        (("Pending", 11, *NONE), "Pending", NAN),
        (("Pending", 0, *NONE), "Pending", 0.0),
        (("Pending", -1, *NONE), "Pending", NAN),
        (("Importing", 9, *NONE), "PreImporting", NAN),
        (("Importing", 10, *NONE), "PreImporting", 0.0),
        (("Importing", 20, 1, 1000, 3), "Importing", 0.001),
        (("Importing", 101, *ALL), "SortingOrIndexing", NAN),
        ((None, 0, *ALL), "Unknown", NAN),
        ((None, 1, *ALL), "SortingOrIndexing", NAN),
        ((None, 100, *ALL), "Unknown", NAN),
        (("Importing", None, 999, 1000, 3), "Importing", 0.999),
        (("Importing", None, 0, None, 0), "PreImporting", NAN),
        (("Importing", None, 0, 0, 1), "Importing", NAN),
        (("Importing", None, 0, 1, 0), "Importing", 0.0),
    ],
)
def test_a_phase_begins_exactly_at_its_edge(row, phase, fraction):
    found = with_phase(jobs_frame([row])).iloc[0]
    assert (found["phase"], found["phase_fraction"]) == (
        phase,
        pytest.approx(fraction, nan_ok=True),
    )


@pytest.mark.parametrize(("progress", "fraction"), [(45, 0.5), (90, 1.0), (95, 1.0), (0, 0.0)])
def test_a_bulk_insert_has_read_its_rows_at_90(progress, fraction):
    jobs = jobs_frame([("Importing", progress, *ALL)]).assign(extra='{"api": "bulk_insert"}')
    found = with_phase(jobs).iloc[0]
    assert (found["phase"], found["phase_fraction"]) == ("Importing", pytest.approx(fraction))


@pytest.mark.parametrize(
    ("completed_s", "end_s"),
    [(-1.1, 300), (-1, 0), (-0.5, 0), (0, 0), (599, 599), (600, 600), (601, 300)],
)
def test_the_servers_end_counts_from_a_second_before_the_last_poll_to_the_next(completed_s, end_s):
    jobs = jobs_frame([("Importing", 85, *ALL), ("Completed", 100, *ALL)], every_s=600)
    jobs.loc[1, "complete_time"] = START + pd.Timedelta(seconds=completed_s)
    found = phases(jobs)
    assert (found["end"].iloc[0] - START).total_seconds() == end_s
    assert (found["start"].iloc[1] - START).total_seconds() == end_s


def test_snapshots_of_one_time_are_in_the_order_of_their_ids_or_else_of_the_frame():
    rows = [("Importing", 60, 700, 1000, 3), ("Completed", 100, *ALL)]
    jobs = jobs_frame(rows, every_s=0)
    assert phases(jobs)["phase"].tolist() == ["Importing", "Completed"]
    turned = jobs.assign(snapshot_id=[2, 1])
    assert phases(turned)["phase"].tolist() == ["Completed", "Importing"]
    without = jobs.drop(columns="snapshot_id")
    assert phases(without)["phase"].tolist() == ["Importing", "Completed"]
    # A snapshot without an id comes before those that have one.
    unnumbered = jobs.assign(snapshot_id=pd.array([0, pd.NA], "Int64"))
    assert phases(unnumbered)["phase"].tolist() == ["Completed", "Importing"]


def test_the_first_run_of_each_job_has_no_start_and_the_last_no_end():
    rows = [("Pending", 5, *NONE), ("Importing", 20, *NONE), ("Importing", 20, *NONE)]
    both = pd.concat([jobs_frame(rows), jobs_frame(rows[1:], job_id="8")])
    found = phases(both)
    assert found["run"].tolist() == [0, 1, 0]
    assert found["start_earliest"].isna().tolist() == [True, False, True]
    assert found["end"].isna().tolist() == [False, True, True]
    assert found["end_earliest"].isna().tolist() == [False, True, True]
    assert found["end_latest"].isna().tolist() == [False, True, True]
    assert found["snapshots"].tolist() == [1, 2, 2]
    assert found["duration_s"].tolist() == [5, 15, 10]
    assert found["uncertainty_s"].tolist() == pytest.approx([NAN, 10, NAN], nan_ok=True)


@pytest.mark.parametrize(
    ("columns", "phase"),
    [
        # With both 2.5.0 and 3.0.0 left, what stands at 100 is either's.
        ({"create_time": START}, "Unknown"),
        ({"extra": '{"createTime": "2026-05-18"}'}, "Unknown"),
        ({"server_version": "3.0.0"}, "Committing"),
        ({"server_version": "2.6.5"}, "IndexBuilding"),
        ({"status": 200}, "IndexBuilding"),
    ],
)
def test_what_an_answer_says_of_its_release_leaves_only_the_scales_it_can_have(columns, phase):
    found = with_phase(jobs_frame([("Importing", 100, *ALL)]).assign(**columns))
    assert found["phase"].tolist() == [phase]
