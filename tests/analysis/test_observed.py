"""What had been seen of a job, of polls a minute apart: each number can be read off its rows."""

import numpy as np
import pandas as pd
import pytest
from frames import jobs_of

from importstats.analysis.forecast.observed import observe

COLUMNS = ["point", "stood_s", "elapsed_s", "reached", "still_s", "gained", "gained_s", "step"]


def seen(*rows, **options):
    """State, progress and percent of the rows at each minute."""
    counted = [(*row, 100 if row[1] >= 40 else 0) for row in rows]
    return observe(jobs_of(counted, **{"detail_count": 1, **options}))


def shown(frame, *columns):
    return frame[list(columns)].round(3).to_numpy().tolist()


WHOLE = [
    ("Pending", 0, 0),
    ("Importing", 10, 0),
    ("Importing", 25, 0),
    ("Importing", 40, 0),
    ("Importing", 55, 50),
    ("Importing", 55, 50),
    ("Importing", 70, 100),
    ("Importing", 80, 100),
    ("Committing", 99, 100),
    ("Completed", 100, 100),
]


def test_a_phase_begins_between_two_polls_and_moves_in_steps():
    assert shown(seen(*WHOLE[:7]), *COLUMNS) == [
        [0.0, 0, 0, 0.0, 0, 0.0, 0, 1.0],
        [1.0, 30, 30, 0.0, 30, 0.0, 0, 1.0],
        # Half came at 90, a minute after the phase began.
        [1.5, 30, 90, 0.5, 30, 0.5, 60, 0.5],
        [2.0, 30, 30, 0.0, 30, 0.0, 0, 1.0],
        [2.5, 30, 90, 0.5, 30, 0.5, 60, 0.5],
        [2.5, 90, 150, 0.5, 90, 0.5, 60, 0.5],
        [3.7, 30, 30, 0.0, 30, 0.0, 0, 1.0],
    ]


def test_what_was_done_before_the_first_sight_was_not_seen_to_be_gained():
    rows = [("Importing", 47, 25), ("Importing", 55, 50), ("Importing", 55, 50)]
    assert shown(seen(*rows), *COLUMNS) == [
        [2.25, 0, 0, 0.25, 0, 0.0, 0, 1.0],
        [2.5, 30, 60, 0.5, 30, 0.25, 30, 0.25],
        [2.5, 90, 120, 0.5, 90, 0.25, 30, 0.25],
    ]


def test_what_was_done_before_the_first_sight_was_gained_since_its_creation_if_that_is_known():
    rows = [("Importing", 47, 25), ("Importing", 55, 50), ("Importing", 55, 50)]
    created = pd.Timestamp("2026-05-18T07:59:00Z")
    assert shown(seen(*rows, create_time=created), *COLUMNS[2:]) == [
        [60, 0.25, 30, 0.25, 30, 0.25],
        [120, 0.5, 30, 0.5, 90, 0.25],
        [180, 0.5, 90, 0.5, 90, 0.25],
    ]


def test_a_job_that_falls_back_is_as_far_as_it_ever_was_and_its_largest_step_counts():
    rows = [("Pending", 0, 0), *[("Importing", p, r) for p, r in ((47, 25), (43, 10), (55, 50))]]
    found = seen(*rows)
    assert found["point"].tolist() == pytest.approx([0, 2.25, 2.25, 2.5])
    assert found["stood_s"].tolist() == [0, 30, 90, 30]
    assert found["reached"].tolist() == pytest.approx([0, 0.25, 0.1, 0.5])
    assert found["step"].tolist() == pytest.approx([1, 0.25, 0.25, 0.4])


def test_phases_that_are_over_took_from_middle_to_middle():
    found = seen(*WHOLE)
    last = found.iloc[-1]
    took = {name: last[f"{name}_s"] for name in ("Pending", "PreImporting", "Importing", "Sorting")}
    assert took == {"Pending": 30, "PreImporting": 120, "Importing": 180, "Sorting": 60}
    # Finishing is Sorting and the builds of indexes together.
    assert (last["Finishing_s"], last["Committing_s"]) == (120, 60)
    gaps = {name: last[f"{name}_gap_s"] for name in ("Pending", "PreImporting", "Finishing")}
    assert gaps == {"Pending": 60, "PreImporting": 120, "Finishing": 120}
    # It is known from the snapshot on that shows the next phase.
    assert found["PreImporting_s"].isna().tolist() == [True] * 3 + [False] * 7
    assert found["Finishing_s"].isna().tolist() == [True] * 8 + [False] * 2


def test_a_phase_between_two_polls_took_a_quarter_of_the_time_between_them():
    last = seen(("Pending", 0, 0), ("Importing", 70, 100), ("Importing", 80, 100)).iloc[-1]
    assert (last["PreImporting_s"], last["Importing_s"]) == (15, 15)
    assert (last["PreImporting_gap_s"], last["Importing_gap_s"]) == (60, 60)
    assert np.isnan(last["Committing_s"])
    # What was before the first sight is not known at all.
    late = seen(("Importing", 70, 100), ("Importing", 80, 100)).iloc[-1]
    assert late[["PreImporting_s", "Importing_s", "Sorting_s"]].isna().all()


def test_two_jobs_do_not_mix():
    both = pd.concat(
        [
            jobs_of([(*row, 100) for row in WHOLE[:5]], detail_count=1, job_id=job)
            for job in ("8", "7")
        ]
    )
    found = observe(both)
    one = shown(found[found["job"].eq(0)], *COLUMNS, "lived_s")
    assert one == shown(found[found["job"].eq(1)], *COLUMNS, "lived_s")
    assert found["poll_s"].isna().tolist() == [True, *[False] * 4] * 2


CREATED = pd.Timestamp("2026-05-18T07:00:00Z")


@pytest.mark.parametrize(
    ("options", "lived_s"),
    [
        ({}, [0, 60]),
        ({"extra": '{"createTime": "2026-05-18T07:00:00Z"}'}, [3600, 3660]),
        ({"extra": '{"createTime": "soon"}'}, [0, 60]),
        ({"create_time": CREATED}, [3600, 3660]),
        # The column counts more; a time after the first sight is that of another clock.
        ({"create_time": CREATED, "extra": '{"createTime": "2026-05-18T06:00Z"}'}, [3600, 3660]),
        ({"create_time": CREATED + pd.Timedelta("2h")}, [0, 60]),
    ],
)
def test_a_job_lives_since_it_was_created_or_first_seen(options, lived_s):
    found = seen(*WHOLE[:2], **options)
    assert found["lived_s"].tolist() == lived_s
    assert found["elapsed_s"].tolist() == [lived_s[0], 30]


def test_indexes_are_timed_from_the_first_sort_on():
    rows = [("Pending", 0, 0), *[("Importing", p, 100) for p in (70, 80, 90)]]
    found = seen(*rows)
    assert found["elapsed_s"].tolist() == [0, 30, 90, 150]
    assert found["phase"].astype("str").tolist()[-1] == "IndexBuilding"
    assert found["reached"].tolist()[-1] == 1
    assert seen().empty
