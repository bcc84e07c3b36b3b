"""What titles and headlines say is so: every one is read back and held against the frames.

Over the recordings in ``data`` and a hundred simulated jobs, each as of one time. What they say is
computed here once more, from the frames and not by the functions that say it.
"""

import re
from collections import Counter
from datetime import UTC
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from importstats import eta, rewind, stragglers, throughput
from importstats.analysis.words import headline
from importstats.plots.files import files_finding
from importstats.plots.rates import rate_finding
from importstats.show.job import ImportJob
from importstats.simulator import simulate_job
from importstats.simulator.shapes import SHAPES
from importstats.store.frames import details_frame, jobs_frame, load_details, load_jobs
from importstats.text import format_duration, format_percent, format_rate

DATA = Path(__file__).parents[2] / "data"
RECORDED = ["healthy", "stragglers", "failed", "index_bound", "node_restart", "index_2_4"]
AT_MINUTES = 20
SMALL = [shape for shape in SHAPES if shape != "huge"]
NO_FINDINGS = pd.DataFrame(
    {
        name: pd.Series(dtype="str")
        for name in ("finding", "severity", "message", "advice", "evidence")
    }
)
WORDS = {"completed": "done", "inprogress": "importing", "pending": "waiting", "none": "waiting"}


@lru_cache(maxsize=1)
def hundred():
    """A hundred small jobs of all shapes as of 20 minutes after their starts, analysed at once."""
    tables = []
    for seed in range(100):
        shape = SMALL[seed % len(SMALL)]
        simulation = simulate_job(shape, files=3 + seed % 4, seed=seed, poll_every_s=240)
        jobs, details = (frame for frame in simulation.tables(runs=True))
        tables.append((jobs_frame(jobs), details_frame(details), str(seed)))
    jobs = pd.concat([jobs.assign(job_id=name) for jobs, _, name in tables], ignore_index=True)
    files = pd.concat([files.assign(job_id=name) for _, files, name in tables], ignore_index=True)
    at = jobs["observed_at"].min() + pd.Timedelta(minutes=AT_MINUTES)
    jobs, files = rewind(jobs, at), rewind(files, at, jobs)
    return jobs, files, eta(jobs, files, at=at), stragglers(files, at=at), at


def of_job(frame, name):
    return frame[frame["job_id"].astype("str").eq(name)].reset_index(drop=True)


def moment(text, near):
    """A time as a title says it, near a time: with its day, or without if that is near."""
    day = re.match(r"\d{4}-\d\d-\d\d", text)
    clock = re.search(r"\d\d:\d\d(:\d\d)?", text)[0]
    found = pd.Timestamp(f"{day[0] if day else near.date()} {clock}", tz="UTC")
    if day:
        return found
    days = [found + pd.Timedelta(days=days) for days in (-1, 0, 1)]
    return min(days, key=lambda time: abs(time - near))


def life(jobs, state):
    """When a job began and ended: as the server says, else as it was first seen."""
    end = jobs[jobs["state"].astype("str").eq(state)].iloc[0]
    begun = end["create_time"] if pd.notna(end.get("create_time")) else jobs["observed_at"].iloc[0]
    ended = end["complete_time"] if pd.notna(end.get("complete_time")) else end["observed_at"]
    return begun, ended


def hold_headline(said, jobs, estimate, files):
    """Fail if a headline says of a job what its frames do not."""
    latest = jobs.iloc[-1]
    if match := re.match(r"Completed at (.+?) UTC after (.+?)(\. |, |$)", said):
        begun, ended = life(jobs, "Completed")
        assert abs(moment(match[1], ended) - ended) < pd.Timedelta(seconds=61)
        assert match[2] == format_duration((ended - begun).total_seconds())
    elif match := re.match(r"Failed at (.+?) UTC, in \w+ at (.+?)(: |$)", said):
        failed = jobs["state"].astype("str").eq("Failed")
        _, ended = life(jobs, "Failed")
        assert abs(moment(match[1], ended) - ended) < pd.Timedelta(seconds=61)
        before = jobs.loc[~failed, "progress_pct"]
        assert match[2] == format_percent(before.iloc[-1] if len(before) else np.nan)
        reason = latest["reason"]
        if pd.notna(reason):
            assert said.split(match[3], 1)[1][:20] in reason
    elif match := re.match(r"(\w[\w ]*), ([\d.]+ %)", said):
        assert match[2] == format_percent(latest["progress_pct"])
        hold_eta(said, estimate.iloc[-1])
    else:
        assert "Unknown" in said or latest["progress_pct"] == 0 or pd.isna(latest["progress_pct"])
    names = set(files["file"].astype("str")) if len(files) else set()
    for name in re.findall(r"\S+/part-\d+\.\w+", said.split(": cannot")[0]):
        assert name in names


def hold_eta(said, estimate):
    match = re.search(r": ends (.+?) UTC(?: \((.+?) to (.+?)\))?", said)
    if match is None:
        assert pd.isna(estimate["eta_p50"]) or "end unknown" not in said
        return
    for text, name in zip(match.groups(), ("eta_p50", "eta_p10", "eta_p90"), strict=True):
        if text is not None:
            true = estimate[name]
            assert abs(moment(text, true) - true) <= pd.Timedelta(seconds=61)


def hold_files(said, details, files):
    """Fail if the title of a timeline counts other files than the last of each file's rows."""
    last = details.sort_values("last_observed_at", kind="stable").drop_duplicates(
        ["file_index", "file"], keep="last"
    )
    states = last["state"].astype("str").where(last["state"].notna(), "none").str.lower()
    counted = Counter(WORDS.get(state, state) for state in states)
    whole, parts = said.split(";")[0].split(": ")
    assert int(whole.split()[0].replace(",", "")) == len(last)
    found = {p.split(" ", 1)[1]: int(p.split()[0].replace(",", "")) for p in parts.split(", ")}
    assert found == counted
    late = int(files["is_straggler"].sum())
    expected = f"{late} straggler{'s' * (late != 1)}" if late else "no stragglers"
    assert said.split("; ")[1] == expected


def hold_rate(said, rates):
    """Fail if the title of a throughput is not what its windows are."""
    window = rates["rows_per_s_window"].astype("float64")
    if not window.gt(0).any():
        assert said.startswith(("No rows written yet", "No throughput yet"))
        return
    numbers = re.findall(r"([\d.]+ [kMG]?)\s?rows/s", said)
    most = format_rate(window.max(), "rows")
    mean = rates["rows_per_s_mean"].astype("float64").dropna().iloc[-1]
    assert f"{format_rate(mean, 'rows')} on average" in said
    assert mean <= window.max() * (1 + 1e-9)
    assert (f"{most} at most" in said) == (most != format_rate(mean, "rows"))
    assert len(numbers) == 1 + (" at most" in said) + (" at last" in said)
    if " at last" in said:
        assert said.startswith(format_rate(window.iloc[-1], "rows"))
        assert rates["rows_per_s"].iloc[-1] > 0


def test_the_headlines_and_the_file_titles_of_a_hundred_jobs_are_so():
    jobs, details, estimates, files, at = hundred()
    kinds = Counter()
    for name in sorted(jobs["job_id"].astype("str").unique()):
        own, own_details = of_job(jobs, name), of_job(details, name)
        own_files, estimate = of_job(files, name), of_job(estimates, name)
        said = headline(own, estimate, own_files, NO_FINDINGS, at=at, zone=UTC)
        hold_headline(said, own, estimate, own_files)
        kinds[said.split()[0].strip(",")] += 1
        if len(own_details):
            last = own_details.assign(state=own_details["state"].astype("str").str.lower())
            last = last.drop_duplicates("file", keep="last")[["file", "state"]]
            hold_files(files_finding(last, own_files), own_details, own_files)
    assert kinds.total() == 100
    assert min(kinds["Completed"], kinds["Importing"]) >= 10
    assert kinds["Failed"] >= 1


def test_the_rates_of_a_hundred_jobs_are_so():
    jobs, *_ = hundred()
    rates = throughput(jobs, by="job")
    for name in sorted(jobs["job_id"].astype("str").unique()):
        own = of_job(rates, name)
        hold_rate(rate_finding(own, "rows_per_s_window", "rows", UTC), own)


@pytest.mark.parametrize("share", [0.6, 1.0])
@pytest.mark.parametrize("name", RECORDED)
def test_the_titles_of_a_recording_are_so(name, share):
    jobs = load_jobs(DATA / name)
    jobs = jobs[jobs["job_id"] == jobs["job_id"].iloc[0]]
    at = jobs["observed_at"].iloc[int(share * (len(jobs) - 1))]
    details = load_details(DATA / name, job_id=jobs["job_id"].iloc[0], runs=True)
    job = ImportJob(jobs, details, at, zone=UTC)
    hold_headline(job.headline, job.jobs, job.eta_frame, job.stragglers)
    figure = job.plot()
    assert " ".join(figure.get_suptitle().split())[:60] == job.headline[:60]
    titles = [" ".join(ax.get_title(loc="left").split()) for ax in figure.axes]
    if len(job.details):
        hold_files(titles[-1], job.details, job.stragglers)
    if job.throughput["rows_per_s_window"].gt(0).any():
        hold_rate(titles[1], job.throughput)
