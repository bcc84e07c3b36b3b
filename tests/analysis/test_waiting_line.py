"""The waiting line: who is ahead, by ids of more digits than a float has."""

import pandas as pd

from importstats.analysis.waiting_line import jobs_ahead, latest_states


def test_ids_that_differ_in_the_last_of_eighteen_digits_are_distinguished():
    ids = ["454366314212367664", "454366314212367665", "454366314212367666"]
    listed = pd.DataFrame({"job_id": ids[::-1], "state": "Importing"})
    assert jobs_ahead(listed, ids[1])["job_id"].tolist() == ids[:1]
    assert jobs_ahead(listed, ids[2])["job_id"].tolist() == ids[:2]


def test_jobs_of_other_servers_and_jobs_that_ended_are_not_ahead():
    listed = pd.DataFrame(
        {
            "job_id": ["1", "2", "3", "4"],
            "state": ["Importing", "Completed", "ImportFailed", None],
            "source_uri": ["v", "u", "u", "u"],
        }
    )
    assert jobs_ahead(listed, "9", source_uri="u")["job_id"].tolist() == ["4"]
    assert jobs_ahead(listed, "9")["job_id"].tolist() == ["1", "4"]


def test_ids_that_are_no_numbers_have_no_order():
    listed = pd.DataFrame({"job_id": ["job-1", "job-2"], "state": "Pending"})
    assert len(jobs_ahead(listed, "job-2")) == 0
    assert len(jobs_ahead(listed, "7")) == 0


def test_the_last_answer_of_each_job_counts():
    jobs = pd.DataFrame(
        {
            "source_uri": "u",
            "job_id": ["7", "7", "7"],
            "observed_at": pd.to_datetime(["2026-05-18", "2026-05-20", "2026-05-19"], utc=True),
            "state": ["Pending", None, "Importing"],
            "error": [None, "no answer", None],
        }
    )
    assert latest_states(jobs)["state"].tolist() == ["Importing"]
