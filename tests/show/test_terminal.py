"""The terminal view: what is known is shown, what is not is called unknown."""

import io
import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from frames import simulated
from rich.cells import cell_len
from rich.console import Console

from importstats import diagnose, stragglers
from importstats.analysis.ranking import delay_text, rank_files
from importstats.analysis.scoring import backtest
from importstats.analysis.totals import summary
from importstats.show.attention import looks
from importstats.show.job import ImportJob
from importstats.show.panel import job_view
from importstats.show.terminal import print_job_list, print_scores, print_summary
from importstats.simulator import simulate_job
from importstats.sources.answers import parse_response
from importstats.sources.snapshot import Snapshot
from importstats.store.frames import details_frame, flatten_details, flatten_jobs, jobs_frame

HOSTILE = "[red]x[/red] \x1b]0;owned\x07\x1b[31m\u202egnp.exe\n" + "long" * 10_000


@pytest.fixture
def console():
    return Console(width=110, record=True, markup=False, file=io.StringIO())


def frames_until(shape, share, **options):
    """The frames of a simulated job, cut at a share of its life, and the time of the cut."""
    jobs, details = simulated(shape, runs=False, seed=3, poll_every_s=30, **options)
    cut = jobs["observed_at"].iloc[int(share * (len(jobs) - 1))]
    return jobs[jobs["observed_at"] <= cut], details[details["observed_at"] <= cut], cut


def shown(console, renderable):
    console.print(renderable)
    return console.export_text()


def test_a_running_job_shows_its_end_what_to_look_at_and_its_slowest_files(console):
    jobs, details, at = frames_until("stragglers", 0.5)
    job = ImportJob(jobs, details, at, zone=UTC)
    text = " ".join(shown(console, job_view(jobs, details, at=at, zone=UTC)).split())
    assert " left (" in text
    assert "Importing" in text
    assert "rows/s" in text
    assert "needs" in text
    worst = job.stragglers.iloc[0]
    assert worst["file"] in text
    assert delay_text(worst["delay_s"]) in text


@pytest.mark.parametrize("signal", ["whole", "smooth"])
def test_columns_of_which_nothing_is_known_are_not_there(console, signal):
    jobs, details, at = frames_until("steady", 0.6, files=12, signal=signal)
    text = shown(console, job_view(jobs, details, at=at, zone=UTC))
    [heads] = (line.strip("│ ").split() for line in text.splitlines() if "needs" in line)
    known = [name in heads for name in ("verdict", "idle", "needs", "rate", "rows")]
    assert known == [True, signal == "smooth", True, signal == "smooth", True]


def test_a_file_with_an_unknown_delay_stands_first(console):
    files = pd.DataFrame(
        {
            "file": ["late", "stuck"], "file_index": [0, 1], "state": "InProgress",
            "verdict": ["slow", "stuck"], "delay_s": [480.0, np.nan], "idle_s": [0.0, 509.0],
            "remaining_s": [900.0, np.nan], "rows_per_s": [5.0, np.nan], "imported_rows": 1,
            "total_rows": 2, "is_straggler": True, "score": [9.0, 1.0],
        }
    )  # fmt: skip
    found = looks(rank_files(files), diagnose(frames_until("steady", 0.2)[0]), running=True)
    assert [look.file_index for look in found][:2] == [1, 0]
    assert found[0].text.startswith("stuck is stuck, idle for 8 min 29 s; how much it delays")
    assert delay_text(np.nan) == "unknown"
    assert not looks(rank_files(files), diagnose(frames_until("steady", 0.2)[0]), running=False)


def test_a_file_whose_rows_are_all_there_is_not_among_those_at_work(console):
    jobs, details, at = frames_until("stragglers", 0.7)
    files = stragglers(details, at=at)
    at_work = files[files["state"].astype("str").eq("InProgress")]
    done = at_work["verdict"].astype("str").eq("done")
    assert done.sum() == 9
    text = shown(console, job_view(jobs, details, at=at, zone=UTC))
    table = text[text.index("needs") :]
    parts = re.findall(r"part-\d+", table)
    assert sorted(parts) == sorted(at_work.loc[~done, "file"].str.extract(r"(part-\d+)")[0])


def test_a_job_that_was_not_seen_for_long_is_described_in_the_past(console):
    jobs, details, at = frames_until("stragglers", 0.5)
    view = job_view(jobs, details, at=at + timedelta(days=9), zone=UTC)
    text = " ".join(shown(console, view).split())
    seen = f"{at.day} {at:%B}"
    assert f"Was Importing, {jobs['progress_pct'].iloc[-1]:.0f} %, when last seen on {seen}" in text
    assert " left (" not in text
    assert "ends " not in text
    assert "import/" not in text, "no file is late now"
    job = ImportJob(jobs, details, at + timedelta(days=9), zone=UTC)
    assert "stale" not in repr(job)
    assert "when last seen on" in repr(job)


def test_index_building_says_why_the_job_stands_at_80(console):
    jobs, details, at = frames_until("index_bound", 0.8)
    text = shown(console, job_view(jobs, details, at=at, zone=UTC))
    assert "IndexBuilding" in text
    assert "needs" not in text


def test_an_ended_job_has_an_end_and_no_eta(console):
    jobs, details, at = frames_until("steady", 1.0)
    text = shown(console, job_view(jobs, details, at=at + timedelta(hours=1), zone=UTC))
    assert "Completed at" in text
    assert "ago" not in text
    assert "left" not in text


def test_a_failed_job_shows_its_reason_and_how_far_it_came(console):
    jobs, details, at = frames_until("failing", 1.0)
    text = shown(console, job_view(jobs, details, at=at, zone=UTC))
    assert "Failed at" in text
    assert "reason" in text


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_no_number_and_no_id_is_cut_however_narrow_the_terminal(width):
    jobs, details, at = frames_until("stragglers", 0.5)
    narrow = Console(width=width, record=True, markup=False, file=io.StringIO())
    print_summary(narrow, summary(jobs))
    narrow.print(job_view(jobs, details, at=at, zone=UTC))
    text = narrow.export_text()
    assert all(cell_len(line) <= width for line in text.splitlines())
    assert text.split()[text.split().index("job") :].count(jobs["job_id"].iloc[0])
    job = text.splitlines()[1]
    wide = Console(width=300, record=True, markup=False, file=io.StringIO())
    print_summary(wide, summary(jobs))
    whole = wide.export_text().splitlines()[1]
    for number in re.findall(r"[\d.,]+", job):
        assert re.search(rf"(?<![\d.,]){re.escape(number)}(?![\d.,])", whole)
    table = text[text.index("needs") :] if "needs" in text else ""
    assert "…" not in re.sub(r"…\S+\.(json|npy)", "", table)


def test_before_the_first_snapshot_it_waits(console):
    empty = flatten_jobs([])
    text = shown(console, job_view(empty, flatten_details([]), at=datetime.now(UTC)))
    assert "waiting" in text


def test_a_job_of_which_nothing_is_known_has_nothing_but_unknowns(console):
    answer = parse_response('{"code": 0, "data": {"jobId": "7", "state": "Importing"}}')
    now = datetime(2026, 5, 18, tzinfo=UTC)
    snapshot = Snapshot(now, "7", "http://x", answer)
    text = shown(
        console, job_view(flatten_jobs(snapshot), flatten_details(snapshot), at=now, zone=UTC)
    )
    assert text.count("unknown") >= 4
    assert "0 rows/s" not in text


def hostile_snapshot():
    data = {"jobId": HOSTILE, "collectionName": HOSTILE, "state": HOSTILE, "reason": HOSTILE}
    file = {"fileName": HOSTILE, "state": "InProgress", "importedRows": 1, "totalRows": 9}
    answer = parse_response({"code": 0, "data": {**data, "details": [file, file]}})
    return Snapshot(datetime(2026, 5, 18, tzinfo=UTC), HOSTILE, "http://x", answer)


def test_hostile_names_neither_style_nor_steer_the_terminal(console):
    snapshot = hostile_snapshot()
    jobs, details = flatten_jobs(snapshot), flatten_details(snapshot)
    console.print(job_view(jobs, details, at=snapshot.observed_at, zone=UTC))
    print_summary(console, summary(jobs))
    names = dict.fromkeys(["job_id", "collection_name", "state", "reason"], HOSTILE)
    listed = pd.DataFrame([{**names, "progress_pct": 5.0, "ahead": pd.NA}])
    print_job_list(console, listed, empty="none")
    text = console.export_text()
    assert "[red]x[/red]" in text, "shown as it is, not taken for markup"
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
    assert len(text) < 20_000


def test_tables_of_nothing_say_so(console):
    print_summary(console, summary(flatten_jobs([])))
    print_job_list(console, pd.DataFrame(columns=["ahead"]), empty="none listed")
    text = console.export_text()
    assert "no jobs" in text
    assert "none listed" in text


def test_scores_are_a_table_of_methods(console):
    jobs, details = simulate_job("steady", seed=2, poll_every_s=60).tables()
    result = backtest(jobs_frame(jobs), details_frame(details), ["eta", "linear"], per_job=10)
    print_scores(console, result)
    text = console.export_text()
    assert "eta" in text
    assert "linear" in text
    assert "IndexBuilding" in text
