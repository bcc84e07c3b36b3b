"""The first screen: what it says to look at, and the file that it leads to."""

from datetime import UTC

import pytest
from frames import simulated

from importstats.show.first_screen import looks_of
from importstats.show.job import ImportJob


def test_where_no_warning_was_found_the_first_screen_says_what_the_headline_says():
    jobs, details = simulated("stragglers", files=300, seed=3, poll_every_s=20)
    at = jobs["observed_at"].iloc[926]
    job = ImportJob(jobs, details, at, zone=UTC)
    assert job.looks == []
    [look] = looks_of(job)
    late = job.stragglers.iloc[0]
    assert look["severity"] == "info"
    assert look["text"].startswith("All 1.51 G rows are in; the job has been building indexes for")
    assert look["text"].endswith(f"{late['file']} was big and delayed the end by 25 min 9 s.")
    assert look["text"].rstrip(".") in job.headline
    assert look["file"] == late["file"]
    early = ImportJob(jobs, details, jobs["observed_at"].iloc[3], zone=UTC)
    nothing = {"text": "Nothing in particular: no warning was found.", "severity": "info"}
    assert looks_of(early) == [{**nothing, "file": None}]


@pytest.mark.parametrize(("delay_s", "named"), [(2600.0, True), (2400.0, False)])
def test_the_first_screen_names_the_file_that_will_end_last_by_far(delay_s, named):
    jobs, details = simulated("stragglers", files=40, seed=5, poll_every_s=20, signal="smooth")
    job = ImportJob(jobs, details, jobs["observed_at"].iloc[len(jobs) // 2], zone=UTC)
    ok = job.stragglers.assign(
        verdict="ok", matters="no", is_straggler=False, delay_s=0.0, elapsed_s=4e3, remaining_s=6e3
    )
    place = ok.index[ok["idle_s"].notna()][-1]
    ok.loc[place, "delay_s"] = delay_s
    job.stragglers, job.diagnosis, job.looks = ok, job.diagnosis.iloc[:0], []
    name = ok.loc[place, "file"]
    text = f"{name} will end last and delays the end by 43 min 20 s."
    other = "Nothing in particular: no warning was found."
    [look] = looks_of(job)
    assert look["text"] == (text if named else other)
    assert look["file"] == (name if named else None)
