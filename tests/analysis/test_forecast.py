"""The ETA: what it may know, what it must never say, and that it beats straight lines."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from frames import jobs_of, simulated
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from importstats.analysis.baselines import BASELINES
from importstats.analysis.forecast import METHODS, eta
from importstats.analysis.forecast.levels import Earlier, given_earlier
from importstats.analysis.forecast.observed import observe
from importstats.analysis.forecast.priors import VARIABLES, parse_priors, shipped_priors
from importstats.analysis.forecast.timeline import expand_details, ordered_snapshots
from importstats.analysis.scoring import backtest
from importstats.simulator import SHAPES, Polling

URI = "http://localhost:19530"
QUANTILES = ["remaining_p10_s", "remaining_p50_s", "remaining_p90_s"]
TIMES = ["eta_p10", "eta_p50", "eta_p90"]


def recording(shape="steady", seed=1, *, files=12, poll_every_s=60.0, **options):
    polling = Polling(every_s=poll_every_s, most=400)
    return simulated(shape, seed=seed, files=files, polling=polling, **options)


def frame(rows, **columns):
    """A jobs frame, one snapshot a minute, of (state, progress, imported, total)."""
    midnight = pd.Timestamp("2026-05-18", tz="UTC")
    known = {"source_uri": URI, "file_size_bytes": None, "detail_count": 0}
    return jobs_of(rows, start=midnight, **{**known, **columns})


WHOLE_JOB = [
    ("Pending", 5, 0, 0),
    ("Importing", 25, 0, 0),
    ("Importing", 40, 0, 1000),
    ("Importing", 55, 500, 1000),
    ("Importing", 65, 800, 1000),
    ("Importing", 75, 1000, 1000),
    ("Importing", 80, 1000, 1000),
    ("Importing", 85, 1000, 1000),
    ("Completed", 100, 1000, 1000),
]


def assert_sound(answer):
    """What holds for every answer, whatever the input."""
    remaining = answer[QUANTILES].to_numpy()
    given_one = ~np.isnan(remaining[:, 1])
    assert (np.isnan(remaining).all(axis=1) | ~np.isnan(remaining).any(axis=1)).all()
    assert (remaining[given_one] >= 0).all()
    assert (np.diff(remaining[given_one], axis=1) >= 0).all()
    assert (answer.loc[given_one, "reason"].isna()).all()
    assert (answer.loc[~given_one, "reason"].notna()).all()
    assert (answer["eta_p50"].notna().to_numpy() == given_one).all()
    open_ = given_one & answer["method"].ne("ended").to_numpy()
    for column in TIMES:
        assert (answer.loc[open_, column] >= answer.loc[open_, "observed_at"]).all()
    assert answer["method"].cat.categories.tolist() == list(METHODS)


def test_columns_and_dtypes():
    answer = eta(frame(WHOLE_JOB))
    assert {name: str(dtype) for name, dtype in answer.dtypes.items()} == {
        "source_uri": "str",
        "job_id": "str",
        "snapshot_id": "int64",
        "observed_at": "datetime64[us, UTC]",
        "phase": "category",
        **dict.fromkeys(TIMES, "datetime64[us, UTC]"),
        **dict.fromkeys(QUANTILES, "float64"),
        "method": "category",
        "reason": "str",
    }
    assert len(answer) == len(WHOLE_JOB)
    assert_sound(answer)


@pytest.mark.parametrize("jobs", [frame(WHOLE_JOB).iloc[:0], recording()[0].iloc[:0]])
def test_no_snapshots(jobs):
    answer = eta(jobs)
    assert len(answer) == 0
    assert list(answer.columns) == list(eta(frame(WHOLE_JOB)).columns)
    assert str(answer["eta_p50"].dtype) == "datetime64[us, UTC]"


@pytest.mark.parametrize("shape", [name for name in SHAPES if name != "many_small_files"])
def test_every_shape_is_sound(shape):
    jobs, details = recording(shape)
    answer = eta(jobs, details)
    assert len(answer) == jobs["snapshot_id"].nunique()
    assert_sound(answer)


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(
    shape=st.sampled_from(["steady", "retry_storm", "wrong_totals", "two_phase_commit"]),
    seed=st.integers(0, 3),
    share=st.floats(0.05, 0.95),
    runs=st.booleans(),
)
def test_the_future_changes_nothing(shape, seed, share, runs):
    jobs, details = recording(shape, seed, runs=runs)
    whole = eta(jobs, details, history=jobs)
    cut = jobs["observed_at"].iloc[int(share * (len(jobs) - 1))]
    seen_jobs = jobs[jobs["observed_at"] <= cut]
    part = eta(seen_jobs, details[details["observed_at"] <= cut], history=seen_jobs)
    before = whole[whole["observed_at"] <= cut].reset_index(drop=True)
    pd.testing.assert_frame_equal(part, before, rtol=1e-9)


def test_at_is_the_last_snapshot_by_then():
    jobs, details = recording()
    cut = jobs["observed_at"].iloc[len(jobs) // 2]
    answer = eta(jobs, details, at=cut + pd.Timedelta("1s"))
    expected = eta(jobs, details)
    expected = expected[expected["observed_at"] == cut].reset_index(drop=True)
    pd.testing.assert_frame_equal(answer, expected, rtol=1e-9)
    assert len(eta(jobs, details, at=jobs["observed_at"].min() - pd.Timedelta("1s"))) == 0


def test_runs_and_expanded_details_agree():
    jobs, runs = recording("retry_storm", runs=True)
    _, expanded = recording("retry_storm", runs=False)
    plain = expanded.drop(columns=["last_snapshot_id", "last_observed_at"])
    for details in (expanded, plain):
        pd.testing.assert_frame_equal(eta(jobs, runs), eta(jobs, details), rtol=1e-9)


def test_details_in_another_order_every_time():
    jobs, details = recording("retry_storm", runs=False)
    rng = np.random.default_rng(0)
    shuffled = details.assign(
        file_index=details.groupby("snapshot_id")["file_index"].transform(rng.permutation)
    )
    pd.testing.assert_frame_equal(eta(jobs, details), eta(jobs, shuffled), rtol=1e-9)


def test_repeated_and_unordered_snapshots():
    jobs, details = recording()
    twice = pd.concat([jobs, jobs.iloc[::3]]).sample(frac=1.0, random_state=1)
    pd.testing.assert_frame_equal(eta(twice, details), eta(jobs, details), rtol=1e-9)


def test_recorded_gaps_are_no_snapshots():
    jobs = frame(WHOLE_JOB, error=[None, None, "timed out", *[None] * 6])
    assert eta(jobs)["snapshot_id"].tolist() == [1, 2, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("place", range(1, len(WHOLE_JOB)))
def test_a_single_snapshot_of_any_phase(place):
    answer = eta(frame(WHOLE_JOB).iloc[[place]])
    assert_sound(answer)
    assert answer["remaining_p50_s"].notna().all()


def test_many_jobs_at_once_do_not_mix():
    parts = [recording("steady", seed) for seed in (1, 2)]
    # The same job id on another cluster is another job.
    jobs = [p[0].assign(source_uri=uri, job_id="1") for p, uri in zip(parts, "ab", strict=True)]
    files = [p[1].assign(source_uri=uri, job_id="1") for p, uri in zip(parts, "ab", strict=True)]
    together = eta(pd.concat(jobs), pd.concat(files))
    alone = pd.concat([eta(j, f) for j, f in zip(jobs, files, strict=True)], ignore_index=True)
    pd.testing.assert_frame_equal(together, alone, rtol=1e-9)


def test_the_end_is_the_end():
    end = pd.Timestamp("2026-05-18T00:07:30Z")
    jobs = frame(WHOLE_JOB, complete_time=pd.to_datetime([None] * 8 + [end], utc=True))
    last = eta(jobs).iloc[-1]
    assert last[QUANTILES].tolist() == [0, 0, 0]
    assert last[TIMES].tolist() == [end] * 3
    assert last["method"] == "ended"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (("Failed", 0, 0, 0), "job failed"),
        (("Pending", 5, 0, 0), "pending: no history"),
        (("Uncommitted", 99, 1000, 1000), "waits for the user's commit"),
        (("Sleeping", 50, 10, 1000), "the answer does not show the phase"),
        ((None, np.nan, None, None), "the answer does not show the phase"),
    ],
)
def test_no_number_without_a_reason_to(row, reason):
    answer = eta(frame([*WHOLE_JOB[1:4], row])).iloc[-1]
    assert answer["reason"] == reason
    assert answer["method"] == "none"
    assert answer[TIMES].isna().all()
    assert answer[QUANTILES].isna().all()


QUOTA = "quota exceeded[reason=disk quota exceeded, please allocate more resources]"


def test_a_running_job_at_a_quota_has_no_end():
    reasons = [None, None, None, None, QUOTA, QUOTA, "rpc error: connection reset by peer"]
    answer = eta(frame(WHOLE_JOB[:7], reason=reasons))
    at_quota = answer["reason"].str.startswith("a quota is reached").fillna(False)
    assert at_quota.tolist() == [False] * 4 + [True] * 2 + [False]
    assert answer.loc[at_quota, QUANTILES].isna().all(axis=None)
    assert answer.loc[[3, 6], "remaining_p50_s"].notna().all()


@pytest.mark.parametrize("state", ["InProgress", "Pending", "Completed"])
def test_a_file_at_a_quota_leaves_its_job_without_an_end(state):
    jobs, files = recording("steady", 1)
    done = files["state"].eq("Completed")
    some = files[~done & files["progress_pct"].lt(100)].iloc[[-1]].assign(reason=QUOTA, state=state)
    answer = eta(jobs, pd.concat([files, some], ignore_index=True))
    first, last = some["snapshot_id"].iloc[0], some["last_snapshot_id"].iloc[0]
    within = answer["snapshot_id"].between(first, last)
    at_quota = answer["reason"].str.startswith("a quota is reached").fillna(False)
    assert at_quota.tolist() == (within & (state != "Completed")).tolist()
    assert within.any()


def test_a_bulk_insert_ends_with_its_rows():
    """Jobs of Milvus up to 2.3 have no phase after Importing."""
    rows = [("Importing", 9 * minute, 1000 * minute, 10_000) for minute in range(1, 9)]
    job = frame(rows)
    bulk = eta(job.assign(extra='{"api":"bulk_insert"}')).iloc[-1]
    by_rows = eta(job.assign(progress_pct=np.nan)).iloc[-1]
    assert by_rows["phase"] == "Importing"
    assert bulk["remaining_p50_s"] < 0.9 * by_rows["remaining_p50_s"]
    assert 45 < bulk["remaining_p50_s"] < 180


def test_never_nearly_done_at_80_percent():
    job = frame([*WHOLE_JOB[:7]])
    at_80 = eta(job).iloc[-1]
    assert at_80["phase"] == "IndexBuilding"
    assert at_80["remaining_p50_s"] > 10
    assert at_80["remaining_p90_s"] > 60


def test_a_standstill_makes_it_later():
    moving = eta(frame(WHOLE_JOB[:5])).iloc[-1]
    still = eta(frame([*WHOLE_JOB[:5], *[WHOLE_JOB[4]] * 60])).iloc[-1]
    assert still["remaining_p50_s"] > 2 * moving["remaining_p50_s"]


def test_missing_and_wrong_totals():
    jobs, details = recording("wrong_totals", 3)
    for totals in (pd.NA, 1, 10**15):
        lied = jobs.assign(total_rows=pd.array([totals] * len(jobs), "Int64"))
        assert_sound(
            eta(lied, details.assign(total_rows=pd.array([totals] * len(details), "Int64")))
        )
    bare = jobs.drop(columns=["total_rows", "imported_rows", "file_size_bytes", "detail_count"])
    assert_sound(eta(bare))


@pytest.mark.filterwarnings("error")
def test_absurd_sizes_and_progress():
    jobs, details = recording()
    slow = details["progress_pct"].where(details["progress_pct"].eq(0), 3e-303)
    for size in (1, 2**62):
        absurd = details.assign(
            file_size_bytes=pd.array([size] * len(details), "Int64"), progress_pct=slow
        )
        assert_sound(eta(jobs, absurd))


def test_no_progress_at_all():
    jobs, details = recording()
    answer = eta(jobs.assign(progress_pct=np.nan), details)
    assert_sound(answer)
    assert answer["remaining_p50_s"].notna().sum() > len(jobs) / 2


def earlier_jobs(count, *, day=-10, uri=URI, collection="products", factor=1.0):
    """Completed recordings of WHOLE_JOB, a minute a row, or `factor` times slower."""
    parts = []
    for number in range(count):
        job = frame(WHOLE_JOB, job_id=f"earlier-{uri}-{number}", source_uri=uri)
        start = job["observed_at"].iloc[0]
        late = start + (job["observed_at"] - start) * factor + pd.Timedelta(days=day + number)
        job["observed_at"] = late.astype(job["observed_at"].dtype)
        parts.append(job.assign(collection_name=collection))
    return pd.concat(parts, ignore_index=True)


def test_history_is_learned_from():
    job = frame(WHOLE_JOB[:7])
    before = eta(job)
    slow, quick = (eta(job, history=earlier_jobs(6, factor=f)) for f in (30.0, 1.0))
    assert (slow["remaining_p50_s"] > quick["remaining_p50_s"]).all()
    width = [np.log(a["remaining_p90_s"] / a["remaining_p10_s"]).median() for a in (quick, before)]
    assert width[0] < 0.8 * width[1]
    assert quick["method"].eq("history").all()
    assert before["method"].tolist() == ["none", *["priors"] * 6]


def test_pending_with_history():
    answer = eta(frame(WHOLE_JOB[:1]), history=earlier_jobs(6))
    assert 0 < answer["remaining_p10_s"].iloc[0] < 480 < answer["remaining_p90_s"].iloc[0]


def test_nearer_history_counts_more():
    job = frame(WHOLE_JOB[:3])
    none = eta(job).iloc[-1]["remaining_p50_s"]
    slow = {
        "collection": earlier_jobs(4, factor=30.0),
        "cluster": earlier_jobs(4, factor=30.0, collection="other"),
        "elsewhere": earlier_jobs(4, factor=30.0, uri="http://elsewhere:1"),
    }
    medians = [eta(job, history=past).iloc[-1]["remaining_p50_s"] for past in slow.values()]
    assert medians[0] > medians[1] > medians[2] > none


@pytest.mark.parametrize(
    "leak",
    [
        frame(WHOLE_JOB),  # The job itself, with its end.
        earlier_jobs(3, day=1),  # Jobs that ended later.
        earlier_jobs(3)[lambda past: past["state"].ne("Completed")],  # Jobs that did not end.
        earlier_jobs(3).replace({"state": {"Completed": "Failed"}}),
    ],
)
def test_history_does_not_leak(leak):
    job = frame(WHOLE_JOB[:7])
    pd.testing.assert_frame_equal(eta(job, history=leak), eta(job))
    known = earlier_jobs(2, day=-30)
    both = pd.concat(
        [known, leak.assign(job_id=leak["job_id"] + "*") if leak["job_id"].iloc[0] != "7" else leak]
    )
    pd.testing.assert_frame_equal(eta(job, history=both), eta(job, history=known))


def test_history_counts_from_its_end_on():
    job = frame(WHOLE_JOB[:7])
    ends_within = earlier_jobs(1, day=0)
    shift = pd.Timedelta("5min")
    ends_within["observed_at"] -= shift  # Ends with the job's fourth snapshot.
    answer = eta(job, history=ends_within)
    assert answer["method"].tolist() == ["none", "priors", "priors", *["history"] * 4]


def test_history_as_several_frames_and_twice():
    job = frame(WHOLE_JOB[:7])
    past = earlier_jobs(4)
    halves = [part for _, part in past.groupby(past["job_id"].isin(past["job_id"].unique()[:2]))]
    expected = eta(job, history=past)
    pd.testing.assert_frame_equal(eta(job, history=[*halves, past]), expected)


def test_inputs_are_left_alone():
    jobs, details = recording()
    copies = jobs.copy(), details.copy()
    eta(jobs, details, history=jobs)
    pd.testing.assert_frame_equal(jobs, copies[0])
    pd.testing.assert_frame_equal(details, copies[1])


def test_conditioning_on_history_is_the_textbook_one():
    """One earlier job of the collection, against the formula written out."""
    priors = shipped_priors()
    size = len(VARIABLES)
    seen = priors.mean + np.linspace(-1, 1, size)
    noise = np.full(size, 0.01)
    one = np.zeros(1, np.int64)
    earlier = Earlier(one, one, one, np.zeros(1), seen[None], noise[None])
    mean, covariance = given_earlier(priors, earlier, 0, 0)
    shared = priors.fleet + priors.cluster + priors.collection
    gain = shared @ np.linalg.inv(shared + priors.job + np.diag(noise))
    np.testing.assert_allclose(mean, priors.mean + gain @ (seen - priors.mean), rtol=1e-6)
    expected = shared + priors.job - gain @ shared
    np.testing.assert_allclose(covariance, expected, rtol=1e-5, atol=1e-6)


def test_pace_is_taken_between_steps():
    jobs = frame(
        [("Pending", 5, 0, 0)]
        + [("Importing", 10 + 3 * (minute // 2), 0, 0) for minute in range(7)]
    )
    last = observe(jobs).iloc[-1]
    # Begins between minutes 0 and 1; steps of a tenth two minutes apart, the last at 6.5 min.
    assert last["phase_fraction"] == pytest.approx(0.3)
    assert last["gained"] == pytest.approx(0.3)
    assert last["gained_s"] == pytest.approx(360)
    assert last["still_s"] == pytest.approx(30)
    assert last["elapsed_s"] == pytest.approx(390)


def test_expanded_details_hand_made():
    jobs = frame(WHOLE_JOB[:4])
    runs = pd.DataFrame(
        {
            "source_uri": URI,
            "job_id": "7",
            "snapshot_id": [2, 2, 4],
            "last_snapshot_id": [4, 3, 4],
            "file_index": [0, 1, 1],
            "file_name": ["a", "b", "b"],
            "file_size_bytes": 10,
            "state": ["Pending", "InProgress", "Completed"],
            "progress_pct": [0.0, 50.0, 100.0],
        }
    )
    files = expand_details(ordered_snapshots(jobs), runs)
    assert files[["row", "file", "progress_pct"]].to_numpy().tolist() == [
        [1, 0, 0],
        [1, 1, 50],
        [2, 0, 0],
        [2, 1, 50],
        [3, 0, 0],
        [3, 1, 100],
    ]


def test_priors_survive_their_text():
    priors = shipped_priors()
    again = parse_priors(priors.to_json())
    for name, value in vars(priors).items():
        np.testing.assert_allclose(getattr(again, name), value)
        assert np.isfinite(value).all()
    with pytest.raises(ValueError, match="another release"):
        parse_priors(priors.to_json().replace('"Sorting"', '"Waiting"', 1))


def test_priors_are_covariances():
    priors = shipped_priors()
    for matrix in (priors.fleet, priors.cluster, priors.collection, priors.job):
        np.testing.assert_allclose(matrix, matrix.T, atol=1e-4)
        assert np.linalg.eigvalsh(matrix).min() > -1e-3


def test_beats_a_straight_line():
    """Twenty jobs of the simulator, whose recordings taught the priors nothing."""
    parts = []
    for shape in ["steady", "few_big_files", "index_bound", "varying_load", "slow_nodes"]:
        for seed in range(4):
            jobs, details = recording(shape, seed, family="elastic_cloud", files=30)
            methods = {"eta": eta, "linear": BASELINES["linear"]}
            found = backtest(jobs, details, methods, per_job=15).predictions
            parts.append(found.dropna(subset=["relative_error"]))
    errors = pd.concat(parts).groupby("method", observed=True)["relative_error"].median()
    assert errors["eta"] < errors["linear"]


def test_erratic_history_widens_the_interval():
    job = frame(WHOLE_JOB[:7])

    def width(factors):
        parts = [
            earlier_jobs(1, day=-20 + day, factor=factor).assign(job_id=f"earlier-{day}")
            for day, factor in enumerate(factors)
        ]
        answer = eta(job, history=parts)
        return np.log(answer["remaining_p90_s"] / answer["remaining_p10_s"])

    steady, erratic = width([2.0] * 8), width([0.4, 8.0] * 4)
    assert (erratic > 1.3 * steady).all()
