"""Whole texts and tables that compare jobs, phases, groups, counts of rows, parts of clusters."""

from datetime import UTC

import numpy as np
import pandas as pd
import pytest
from frames import jobs_of

from importstats.analysis.cluster_cut import cluster_between
from importstats.analysis.group_words import group_headline
from importstats.analysis.grouped import GroupProgress
from importstats.analysis.row_counts import RowCheck, check_rows, row_checks
from importstats.analysis.side_by_side import compare_two_jobs
from importstats.analysis.spent import spent_text, time_spent
from importstats.analysis.waiting_line import counts_ahead, jobs_ahead
from importstats.store.cluster_frames import no_cluster

START = pd.Timestamp("2026-05-18T08:00Z")
NA = float("nan")


def at(second):
    return START + pd.Timedelta(second, "s")


def job(job_id="7", seconds=(0, 60, 120, 180), states=None, **columns):
    count = len(seconds)
    states = states or ["Pending", "Importing", "Importing", "Completed"][-count:]
    return pd.DataFrame(
        {
            "source_uri": "u",
            "job_id": job_id,
            "collection_name": "books",
            "snapshot_id": range(count),
            "observed_at": pd.to_datetime([at(second) for second in seconds]),
            "state": states,
            "progress_pct": [5.0, 45.0, 60.0, 100.0][-count:],
            "imported_rows": [0, 90, 500, 900][-count:],
            "total_rows": [0, 900, 900, 900][-count:],
            "detail_count": 3,
            "file_size_bytes": 9000,
        }
    ).assign(**columns)


# --- Two jobs -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [
        (
            (0, 120, 240, 360),
            "job 8 took 2 times as long as job 7 (5 min instead of 2 min 30 s), "
            "80 % of the difference in Importing",
        ),
        # The other way round, and where another phase was shorter.
        (
            (0, 60, 90, 120),
            "job 7 took 1.4 times as long as job 8 (2 min 30 s instead of 1 min 45 s), "
            "100 % of the difference in Importing",
        ),
        (
            (0, 30, 180, 360),
            "job 8 took 1.8 times as long as job 7 (4 min 30 s instead of 2 min 30 s), "
            "all of the difference in Importing",
        ),
        (
            (0, 60, 120, 194),
            "job 8 took about as long as job 7 (2 min 37 s and 2 min 30 s)",
        ),
    ],
)
def test_which_of_two_jobs_took_longer_and_where(seconds, verdict):
    assert compare_two_jobs(job(), job("8", seconds)).verdict == verdict


def test_nothing_is_compared_with_a_job_that_was_seen_once():
    found = compare_two_jobs(job(), job("8", (0,)))
    assert found.verdict == "nothing to compare: one of the jobs has no phase of known duration"


def test_the_phases_and_facts_of_two_jobs():
    done = pd.DataFrame(
        {
            "source_uri": "u",
            "job_id": "7",
            "file_index": [0, 0, 1],
            "file": ["a", "a", "b"],
            "file_name": ["a", "a", "b"],
            "file_size_bytes": pd.array([1, 1, 1], "Int64"),
            "imported_rows": pd.array([5, 5, 5], "Int64"),
            "total_rows": pd.array([5, 5, 5], "Int64"),
            "progress_pct": 100.0,
            "state": ["Completed", "completed", "Completed"],
            "observed_at": [at(60), at(120), at(100)],
        }
    )
    b = job("8", (0, 120, 240, 360), server_version="v2.6.4")
    found = compare_two_jobs(job(), b, done)
    assert found.phases.to_dict("list") == {
        "phase": ["Pending", "Importing"],
        "a_s": [30.0, 120.0],
        "a_whole": [True, True],
        "b_s": [60.0, 240.0],
        "b_whole": [True, True],
        "difference_s": [30.0, 120.0],
    }
    unknown = found.facts["a"].iloc[2]
    assert found.facts.to_numpy().tolist() == [
        ["state", "Completed", "Completed"],
        ["server", "u", "u"],
        ["server version", unknown, "v2.6.4"],
        ["collection", "books", "books"],
        ["files", "3", "3"],
        ["rows", "900", "900"],
        ["bytes in files", "9 kB", "9 kB"],
        [
            "rate in Importing",
            "7.5 rows/s (5 rows/s to 15 rows/s)",
            "3.75 rows/s (2.5 rows/s to 7.5 rows/s)",
        ],
        ["rate over all phases", "6 rows/s", "3 rows/s"],
        # From 100 s, when the second file was first seen done, to the middle of 120 and 180 s.
        ["after the last file", "50 s", unknown],
    ]


def longer(job_id, ended="Completed", **columns):
    """A job of 2 min in Pending, 10 in Importing and 10 in IndexBuilding, seen each minute."""
    states = ["Pending"] * 2 + ["Importing"] * 20 + [ended]
    frame = pd.DataFrame({"state": states, "observed_at": [at(60 * n) for n in range(23)]})
    progress = [5.0] * 2 + [55.0] * 10 + [83.0] * 10 + [100.0 * (ended == "Completed")]
    rows = [0] * 2 + [500] * 10 + [900] * 11
    known = {"source_uri": "u", "job_id": job_id, "snapshot_id": range(23), "total_rows": 900}
    known |= {"progress_pct": progress, "imported_rows": rows, "detail_count": 3}
    return frame.assign(**known, collection_name="books", file_size_bytes=9000, **columns)


def test_only_what_was_seen_whole_of_both_jobs_is_compared():
    late = longer("8").iloc[7:]
    found = compare_two_jobs(longer("7"), late)
    assert found.verdict == (
        "in IndexBuilding, all that was seen whole of both: "
        "job 8 took about as long as job 7 (10 min and 10 min)"
    )
    table = found.phases.set_index("phase")
    assert table["a_s"].tolist() == [90.0, 600.0, 600.0]
    assert np.isnan(table.loc["Pending", "b_s"])
    assert table["b_s"].tolist()[1:] == [270.0, 600.0]
    assert table["b_whole"].tolist() == [False, False, True]
    assert table["difference_s"].isna().tolist() == [True, True, False]
    swapped = compare_two_jobs(late, longer("7")).phases
    assert swapped["a_whole"].tolist() == [False, False, True]


def test_both_can_have_been_joined_late_and_their_creation_shows_it():
    pair = [longer(name, create_time=at(0)).iloc[7:] for name in "78"]
    found = compare_two_jobs(*pair)
    assert found.phases["difference_s"].isna().tolist() == [True, False]
    soon = [longer(name, create_time=at(7 * 60 - 60)).iloc[7:] for name in "78"]
    assert compare_two_jobs(*soon).phases["difference_s"].notna().all()
    early = [longer(name, create_time=at(7 * 60 - 61)).iloc[7:] for name in "78"]
    assert not compare_two_jobs(*early).phases["difference_s"].notna().all()


def test_the_phase_in_which_a_job_failed_or_is_has_no_known_length():
    for other in (longer("8", ended="Failed"), longer("8").iloc[:18]):
        found = compare_two_jobs(longer("7"), other)
        assert found.verdict.startswith("in Pending, Importing, all that was seen whole of both: ")
        assert found.phases["b_whole"].tolist() == [True, True, False]
    begun = compare_two_jobs(longer("7"), longer("8").iloc[:9])
    assert np.isnan(begun.phases["b_s"].iloc[-1]), "it is still to come"


def test_jobs_of_one_id_are_named_with_their_servers():
    found = compare_two_jobs(job(), job("7", (0, 120, 240, 360), source_uri="v"))
    assert found.verdict.startswith("job 7 on v took 2 times as long as job 7 on u (")


def test_rows_that_were_there_when_recording_began_count_for_no_rate():
    late = job("8").iloc[1:].assign(imported_rows=[300, 500, 900])
    facts = compare_two_jobs(job(), late).facts.set_index("what")["b"]
    # 600 rows in the 90 seconds from the first snapshot to the middle before the end.
    assert facts["rate in Importing"].startswith("6.67 rows/s")
    # Nor if the job goes back later: 700 rows in 90 and 60 seconds.
    rows = [(45, 300), (60, 700), (70, 1000), (60, 700), (70, 1000)]
    back = jobs_of([("Importing", *row, 1000) for row in rows], detail_count=3)
    facts = compare_two_jobs(job(), back).facts.set_index("what")["b"]
    assert facts["rate in Importing"].startswith("4.67 rows/s")


# --- Phases ---------------------------------------------------------------------------------------


def test_time_is_compared_with_jobs_of_the_collection_that_completed_before():
    begin = 10_000
    mine = job("7", tuple(begin + second for second in (0, 60, 120, 180)))
    history = [
        job("1"),
        job("2", (0, 60, 240, 300)),
        job("other collection", collection_name="films"),
        job("other server", source_uri="v"),
        job("failed", states=["Pending", "Importing", "Importing", "Failed"]),
        job("not yet", tuple(begin + second for second in (0, 60, 120, 180))),
    ]
    table = time_spent(mine, history)
    assert table.to_dict("list") == {
        "phase": ["Pending", "Importing"],
        "duration_s": [30.0, 120.0],
        "share": [0.2, 0.8],
        "earlier_s": [30.0, 180.0],
        "earlier_jobs": [2, 2],
    }
    # The collection is the one that the last answer names.
    late = mine.assign(collection_name=[None, None, "films", "books"])
    assert time_spent(late, history)["earlier_jobs"].tolist() == [2, 2]
    for nothing in (None, [], job("1").iloc[:0], [job("x", collection_name="films")]):
        alone = time_spent(mine, nothing)
        assert alone["earlier_s"].isna().all()
        assert alone["earlier_jobs"].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("spent", "earlier", "text"),
    [
        ([690.0, 310.0], [700.0, 100.0], "; Sorting took 3.1 times as long as in earlier jobs"),
        ([690.0, 310.0], [NA, NA], ""),
        ([690.0, 150.0], [700.0, 100.0], "; Sorting took 1.5 times as long as in earlier jobs"),
        ([690.0, 149.0], [700.0, 100.0], ""),
        # By what it took more, not by how many times.
        ([690.0, 40.0], [400.0, 10.0], "; Importing took 1.7 times as long as in earlier jobs"),
    ],
)
def test_the_longest_phase_and_the_one_that_took_far_longer_than_earlier(spent, earlier, text):
    table = pd.DataFrame(
        {
            "phase": ["Importing", "Sorting"],
            "duration_s": spent,
            "share": [0.69, 0.31],
            "earlier_s": earlier,
            "earlier_jobs": 3,
        }
    )
    assert spent_text(table) == f"69 % Importing (11 min 30 s){text}"
    assert spent_text(table.iloc[:0]) == spent_text(table.assign(duration_s=0.0)) == ""


# --- Groups ---------------------------------------------------------------------------------------


def group(counts, rows, total, *, estimated=False, ended=None, etas=(None,) * 3, reason=None):
    times = [pd.NaT if each is None else at(each) for each in (ended, *etas)]
    return GroupProgress(
        pd.DataFrame(), *counts, rows, total, estimated, 7.5, START, *times, reason
    )


@pytest.mark.parametrize(
    ("progress", "headline"),
    [
        (
            group((1, 0, 0, 0), 900, 900.0, ended=120),
            "1 job: 1 completed; 900 of 900 rows (100 %), 7.5 rows/s; "
            "ended at 08:02:00 UTC after 2 min",
        ),
        (
            group((1, 2, 3, 4), 90, 900.0, estimated=True, etas=(60, 120, 180)),
            "10 jobs: 1 completed, 2 failed, 3 at work, 4 waiting; 90 of about 900 rows (10 %), "
            "7.5 rows/s; the last ends about 08:02:00 UTC (80 % sure: 08:01:00 UTC to "
            "08:03:00 UTC)",
        ),
        (
            group((0, 0, 0, 2), 0, NA, estimated=True, reason="jobs wait"),
            "2 jobs: 2 waiting; 0 of unknown rows, 7.5 rows/s; no ETA: jobs wait",
        ),
        (
            group((0, 0, 1, 0), 901, 900.0, reason="x"),
            "1 job: 1 at work; 901 of 900 rows (100 %), 7.5 rows/s; no ETA: x",
        ),
    ],
)
def test_the_headline_of_a_group(progress, headline):
    assert group_headline(progress, at=START, zone=UTC) == headline


def test_a_headline_names_the_day_if_the_last_job_may_end_on_another():
    progress = group((0, 0, 1, 0), 9, 90.0, etas=(0, 60, 16 * 3600))
    text = group_headline(progress, at=START, zone=UTC)
    assert text.count("2026-05-1") == 3 or text.count("May") == 3


# --- Rows -----------------------------------------------------------------------------------------


def files(*rows):
    """Files of (name, state, rows)."""
    name, state, imported = zip(*rows, strict=True)
    return pd.DataFrame(
        {
            "source_uri": "u",
            "job_id": "7",
            "file_index": range(len(rows)),
            "file": name,
            "state": state,
            "observed_at": START,
            "imported_rows": pd.array(imported, "Int64"),
        }
    )


def test_rows_are_compared_for_the_job_and_for_each_file():
    details = files(
        ("in/a", "Completed", 5), ("in/b", "Completed", 4), ("in/c", "Completed", 7),
        ("in/d", "InProgress", 1), ("in/e", "Completed", None), ("in/f", "Completed", 1),
    )  # fmt: skip
    expected = {"a": 5, "/b": 5, "in/c": 5, "d": 5, "e": 5, "gone": 9}
    checked = check_rows(details, expected)
    assert checked[["file", "verdict"]].fillna("job").to_numpy().tolist() == [
        ["job", "not completed"],
        ["in/a", "equal"],
        ["in/b", "fewer"],
        ["in/c", "more"],
        ["in/d", "not completed"],
        ["in/e", "unknown"],
        ["in/f", "unknown"],
        ["gone", "not listed"],
    ]
    assert checked["difference"].tolist()[1:4] == [0, -1, 2]
    found = row_checks(checked)["u", "7"]
    assert (found.wrong, found.wrong_files, found.worst_file) == (True, 3, "gone")
    assert found.expected == 34
    assert np.isnan(found.imported)


def test_a_file_counts_with_the_most_rows_that_it_showed_and_is_found_by_one_end_alone():
    early, late = files(("x/a", "InProgress", 3)), files(("x/a", "Completed", 5))
    merged = files(("x/a", "Completed", 0))
    details = pd.concat(
        [late.assign(observed_at=at(1)), merged.assign(observed_at=at(2)), early],
        ignore_index=True,
    )
    checked = check_rows(details, 5)
    assert checked["verdict"].tolist() == ["equal"]
    assert row_checks(checked)["u", "7"] == RowCheck(5.0, 5.0, False, 0, None)
    assert check_rows(details, 6)["verdict"].tolist() == ["fewer"]
    assert row_checks(check_rows(details, 4))["u", "7"].wrong
    twice = files(("x/a", "Completed", 5), ("y/a", "Completed", 5))
    assert check_rows(twice, {"a": 5})["verdict"].tolist()[1:] == ["unknown"] * 2 + ["not listed"]
    assert check_rows(twice, {"y/a": 5})["verdict"].tolist()[1:] == ["unknown", "equal"]


# --- Clusters and lines ---------------------------------------------------------------------------


def test_a_cluster_is_cut_to_a_time_with_both_its_ends():
    nodes = pd.DataFrame(
        {
            "source_uri": ["u"] * 5 + ["v"],
            "node_id": list("abcdef"),
            "observed_at": [at(s) for s in (0, 0, 15, 20, 21, 10)],
            "last_observed_at": [at(s) for s in (9, 10, 16, 99, 99, 20)],
        }
    )
    part = cluster_between(no_cluster()._replace(nodes=nodes), "u", at(10), at(20))
    assert part.nodes["node_id"].tolist() == ["b", "c", "d"]
    assert part.nodes["observed_at"].tolist() == [at(10), at(15), at(20)]
    assert part.nodes["last_observed_at"].tolist() == [at(10), at(16), at(20)]
    assert part.tasks.empty


def test_the_jobs_ahead_are_the_earlier_ones_that_have_not_ended():
    listed = pd.DataFrame(
        {
            "job_id": ["30", "9", "20", "40", "x"],
            "state": ["Pending", "importing", "COMPLETED", "ImportPending", "Pending"],
        }
    )
    assert jobs_ahead(listed, "40")["job_id"].tolist() == ["9", "30"]
    assert jobs_ahead(listed, "x").empty
    assert jobs_ahead(listed.assign(source_uri="u"), "40", source_uri="v").empty
    assert counts_ahead(listed).astype("object").where(lambda n: n.notna(), None).tolist() == [
        *(1, None, None, 2, None),
    ]
