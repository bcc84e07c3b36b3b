"""ImportJob: one job as an object, from frames and from a store."""

from dataclasses import replace
from datetime import UTC, timedelta
from html.parser import HTMLParser

import pandas as pd
import pytest

from importstats.analysis.findings import diagnose
from importstats.analysis.forecast import eta
from importstats.analysis.lateness import stragglers
from importstats.analysis.phase import phases
from importstats.analysis.ranking import delay_text, verdict_text
from importstats.analysis.rates import throughput
from importstats.analysis.words import headline
from importstats.show.job import ImportJob
from importstats.simulator import simulate_job
from importstats.store import SnapshotStore
from importstats.store.frames import details_frame, jobs_frame, load_details, load_jobs


@pytest.fixture(scope="module")
def simulation():
    return simulate_job("stragglers", files=40, seed=4, poll_every_s=20)


@pytest.fixture(scope="module")
def frames(simulation):
    jobs, details = simulation.tables(runs=True)
    return jobs_frame(jobs), details_frame(details)


@pytest.fixture(scope="module")
def half(frames):
    jobs, details = frames
    at = jobs["observed_at"].iloc[int(len(jobs) * 0.6)]
    return ImportJob(jobs, details, at, zone=UTC), jobs[jobs["observed_at"] <= at], details, at


@pytest.fixture(scope="module")
def store(simulation, tmp_path_factory):
    store = SnapshotStore(tmp_path_factory.mktemp("store"))
    store.append(simulation.snapshots())
    other = simulate_job("small_and_quick", seed=1, source_uri="http://other:19530")
    store.append(replace(each, job_id=simulation.job_id) for each in other.snapshots())
    return store


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text, self.depth = [], [], [], 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.depth += 1

    def handle_endtag(self, tag):
        self.depth -= 1

    def handle_data(self, data):
        self.text.append(data)


def test_the_view_is_the_analyses_as_of_a_time(half):
    job, jobs, details, at = half
    latest = jobs.iloc[-1]
    assert (job.state, job.progress_pct) == (latest["state"], latest["progress_pct"])
    assert (job.source_uri, job.job_id) == (latest["source_uri"], latest["job_id"])
    assert job.collection_name == latest["collection_name"]
    assert job.phase == "Importing"
    pd.testing.assert_frame_equal(job.phases, phases(jobs))
    pd.testing.assert_frame_equal(job.throughput, throughput(jobs))
    pd.testing.assert_frame_equal(job.diagnosis, diagnose(jobs, details, at=at))
    pd.testing.assert_series_equal(job.eta, eta(jobs, details, at=at).iloc[-1])
    assert len(job.eta_history) == len(jobs)
    judged = stragglers(details, at=at)
    assert sorted(job.stragglers["file"]) == sorted(judged["file"])
    ranked = job.stragglers[job.stragglers["is_straggler"]]
    assert len(ranked) == judged["is_straggler"].sum() > 0
    assert ranked.index.tolist() == list(range(len(ranked)))
    assert ranked["delay_s"].dropna().is_monotonic_decreasing


def test_nothing_of_later_snapshots_is_known(frames, half):
    job, jobs, details, at = half
    cut = ImportJob(jobs, details[details["observed_at"] <= at], zone=UTC)
    assert cut.at == at
    assert repr(cut) == repr(job)
    assert cut._repr_html_() == job._repr_html_()


def test_the_plain_form_is_the_headline(half):
    job, jobs, details, at = half
    known = (eta(jobs, details, at=at), stragglers(details, at=at), diagnose(jobs, details, at=at))
    said = headline(jobs, *known, zone=UTC)
    assert repr(job) == f"<ImportJob {job.job_id}: {said}>"
    assert job.headline == said


def test_the_html_form_shows_state_bar_phase_eta_and_the_worst_stragglers(half):
    job, *_ = half
    parsed = Tags(job._repr_html_())
    text = " ".join(" ".join(parsed.text).split())
    assert parsed.depth == 0
    assert job.headline in text
    assert f"state {job.state}, phase {job.phase}" in text
    assert ("role", "progressbar") in parsed.attributes
    assert ("aria-valuenow", str(job.progress_pct)) in parsed.attributes
    late = job.stragglers[job.stragglers["is_straggler"]]
    shown = [file in text for file in late["file"]]
    assert shown == [place < 5 for place in range(len(late))]
    for file in late.head(5).to_dict("records"):
        assert f"{file['file']} {verdict_text(file)} {delay_text(file['delay_s'])}" in text
    assert str(job.diagnosis["message"].iloc[0]) in text


def test_the_plot_is_the_overview(half):
    job, *_ = half
    figure = job.plot()
    assert len(figure.axes) == 3
    assert " ".join(figure.get_suptitle().split()) == job.headline


def test_a_job_without_details(frames):
    job = ImportJob(frames[0], zone=UTC)
    assert job.stragglers.empty
    assert job.state == "Completed"
    assert "straggler" not in job._repr_html_()
    assert len(job.plot().axes) == 2


def test_a_failed_job_shows_how_far_it_was():
    jobs, details = simulate_job("failing", files=12, seed=6, poll_every_s=20).tables()
    job = ImportJob(jobs_frame(jobs), details_frame(details), zone=UTC)
    assert job.phase == "Failed"
    assert job.progress_pct == 0
    assert job.last_at_work["progress_pct"] > 0
    assert f'aria-valuenow="{job.last_at_work["progress_pct"]}"' in job._repr_html_()
    assert job.reason


def test_recorded_gaps_are_no_snapshots_but_are_diagnosed(frames):
    jobs = frames[0].iloc[:20]
    gap = jobs.iloc[[-1]].assign(
        observed_at=jobs["observed_at"].iloc[-1] + timedelta(hours=1),
        error="connection refused",
        **dict.fromkeys(["imported_rows", "total_rows", "file_size_bytes", "detail_count"], pd.NA),
        progress_pct=float("nan"),
    )
    gap["state"] = pd.Series([None], dtype="category", index=gap.index)
    job = ImportJob(pd.concat([jobs.astype({"state": "str"}), gap.astype({"state": "str"})]))
    assert len(job.jobs) == 20
    assert job.state == jobs["state"].iloc[-1]
    assert job.at == gap["observed_at"].iloc[0]
    job._repr_html_()


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "\x1b[2J\u202e", "x" * 10**5],
    ids=["script", "attribute", "control", "long"],
)
def test_no_text_of_a_server_becomes_markup(half, name):
    job, jobs, details, at = half
    columns = ["job_id", "source_uri", "collection_name"]
    of_job, of_files = (pd.Categorical([name] * len(frame)) for frame in (jobs, details))
    hostile = ImportJob(
        jobs.assign(**dict.fromkeys([*columns, "reason"], of_job)),
        details.assign(**dict.fromkeys([*columns, "file"], of_files)),
        at,
        zone=UTC,
    )
    mine, plain = Tags(hostile._repr_html_()), Tags(job._repr_html_())
    assert mine.tags == plain.tags
    assert {key for key, _ in mine.attributes} == {key for key, _ in plain.attributes}
    assert all(c.isprintable() or c == "\n" for c in "".join(mine.text))
    assert repr(hostile).isprintable()
    assert len(hostile._repr_html_()) < 20_000


def test_loading_from_a_store(store, simulation):
    job = ImportJob.load(store, simulation.job_id, source_uri=simulation.source_uri, zone=UTC)
    assert len(job.jobs) == len(load_jobs(store, source_uri=simulation.source_uri))
    runs = load_details(store, source_uri=simulation.source_uri, runs=True)
    assert len(job.details) == len(runs)
    assert job.state == "Completed"
    again = ImportJob.load(store.uri, simulation.job_id, source_uri=simulation.source_uri, zone=UTC)
    assert repr(again) == repr(job)


def test_loading_as_of_a_time(store, simulation):
    at = simulation.polls[10].observed_at
    job = ImportJob.load(
        store, simulation.job_id, source_uri=simulation.source_uri, at=at, zone=UTC
    )
    assert len(job.jobs) == 11
    assert job.at == at


def test_a_job_that_the_store_lacks_or_has_twice_is_refused(store, simulation):
    with pytest.raises(ValueError, match="no answer about a job: check source_uri and job_id"):
        ImportJob.load(store, "1")
    with pytest.raises(ValueError, match="snapshots of 2 jobs"):
        ImportJob.load(store, simulation.job_id)
