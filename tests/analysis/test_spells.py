"""The spells of files: when each began to wait, to work and to be done, as polls show it."""

import numpy as np
import pandas as pd
import pytest
from frames import frame_of

from importstats.analysis.forecast.observed import observe
from importstats.analysis.forecast.spells import (
    ENDED,
    WAITS,
    WORKS,
    Spells,
    _snapshot_before,
)

START = pd.Timestamp("2026-05-18T00:00:00Z")
KINDS = {WAITS: "waits", WORKS: "works", ENDED: "ended"}


def spells_of(*polls, done_at=None, size=None, rows=None, job="7", seen_job="7"):
    """The spells of the files of one job, of which each poll, a minute apart, says a letter."""
    states = {"P": ("Pending", 0.0), "R": ("InProgress", 0.0), "H": ("InProgress", 50.0),
              "C": ("Completed", 100.0), "F": ("Failed", 50.0)}  # fmt: skip
    listed = [
        (START + pd.Timedelta(minutes=number), number, index, *states[letter])
        for number, letters in enumerate(polls)
        for index, letter in enumerate(letters)
    ]
    names = ("observed_at", "snapshot_id", "file_index", "state", "progress_pct")
    details = frame_of(listed, names, total_rows=rows, file_size_bytes=size, job_id=job)
    details = details.assign(
        file_name=details["file_index"].astype("str"),
        imported_rows=details["state"].eq("Completed").astype("Int64") * 100,
        state=details["state"].astype("category"),
    )
    if done_at is not None:
        done = START + pd.Timedelta(done_at, "s")
        details["complete_time"] = pd.Series(done, details.index).where(
            details["state"].eq("Completed")
        )
    jobs = frame_of(
        [(START + pd.Timedelta(minutes=n), n, "Importing", 50.0) for n in range(len(polls))],
        ("observed_at", "snapshot_id", "state", "progress_pct"),
        imported_rows=0, total_rows=100, detail_count=1, job_id=seen_job,
    )  # fmt: skip
    return Spells.from_details(observe(jobs), details)


def shown(spells, *names):
    """What each is, its share, and some of its times in seconds since the first poll."""
    times = [getattr(spells, name) - START.timestamp() for name in names]
    rows = zip(
        spells.kind.tolist(), spells.share.tolist(), *(t.tolist() for t in times), strict=True
    )
    return [
        (KINDS[kind], share, *(None if np.isnan(each) else each for each in found))
        for kind, share, *found in rows
    ]


def test_a_spell_lasts_until_the_poll_that_sees_the_next():
    found = spells_of("P", "P", "R", "R", "H", "C", "C")
    assert shown(found, "after_s", "since_s", "until_s") == [
        ("waits", 0, None, 0, 120),
        ("works", 0, 60, 120, 240),
        ("works", 0.5, 180, 240, 300),
        ("ended", 0, 240, 300, np.inf),
    ]
    assert found.back.tolist() == [False] * 4


def test_a_file_was_handed_over_where_its_work_follows_a_wait():
    found = spells_of("P", "R", "H", "C")
    assert shown(found, "handed_after_s", "handed_by_s") == [
        ("waits", 0, None, 0),
        ("works", 0, 0, 60),
        ("works", 0.5, 0, 60),
        ("ended", 0, 0, 60),
    ]
    # A file that was never seen to work was handed over between the polls around its end.
    quick = spells_of("P", "C")
    assert shown(quick, "handed_after_s", "handed_by_s")[1] == ("ended", 0, 0, 60)
    begun = spells_of("R", "C")
    assert shown(begun, "handed_after_s", "handed_by_s") == [
        ("works", 0, None, 0),
        ("ended", 0, None, 0),
    ]


def test_a_file_that_goes_back_waits_or_works_again_and_is_handed_over_anew():
    found = spells_of("P", "R", "H", "P", "R")
    assert [each[0] for each in shown(found)] == ["waits", "works", "works", "waits", "works"]
    assert found.back.tolist() == [False, False, False, True, False]
    assert shown(found, "handed_by_s")[-1] == ("works", 0, 240)
    anew = spells_of("P", "H", "R")
    assert anew.back.tolist() == [False, False, True]
    assert shown(anew, "handed_after_s", "handed_by_s")[-1] == ("works", 0, 60, 120)


@pytest.mark.parametrize(
    ("done_at_s", "after_s"),
    # Written up to five seconds late, within the polls around it.
    [(100, 95), (62, 60), (64.5, 60), (66, 61), (120, 115), (59, 60), (121, 60), (None, 60)],
)
def test_the_servers_time_of_an_end_is_believed_within_the_polls_around_it(done_at_s, after_s):
    found = spells_of("P", "R", "C", done_at=done_at_s)
    assert shown(found, "after_s", "since_s")[-1] == ("ended", 0, after_s, 120)


@pytest.mark.parametrize(
    ("size", "rows", "known"),
    [(500, 9, 500), (None, 9, 9 * 1024), (0, 9, 9 * 1024), (None, None, 1024), (0, 0, 1024)],
)
def test_a_file_has_its_bytes_or_a_kilobyte_a_row_or_a_kilobyte(size, rows, known):
    assert spells_of("P", "R", size=size, rows=rows).size.tolist() == [known] * 2


def test_several_files_stand_one_after_the_other_and_of_other_jobs_none():
    found = spells_of("PP", "RP", "RR")
    assert [each[0] for each in shown(found)] == ["waits", "works", "waits", "works"]
    assert shown(found, "since_s")[-1] == ("works", 0, 120)
    assert len(found.of_job(0)) == 4
    assert len(found.of_job(1)) == 0
    assert len(spells_of("PP", "RP", seen_job="8")) == 0


@pytest.mark.parametrize(
    ("job", "second", "before"),
    [(0, 0, None), (0, 1, 0), (0, 60, 0), (0, 61, 60), (0, 999, 60), (1, 30, None), (1, 31, 30)],
)
def test_the_snapshot_before_a_time_is_of_the_same_job(job, second, before):
    seen = pd.DataFrame(
        {"job": [0, 0, 1], "observed_at": START + pd.to_timedelta([0, 60, 30], "s")}
    )
    at = np.array([START.timestamp() + second])
    (found,) = _snapshot_before(seen, np.array([job]), at) - START.timestamp()
    assert (None if np.isnan(found) else found) == before
    assert len(_snapshot_before(seen.iloc[:0], np.array([0]), at)) == 1
