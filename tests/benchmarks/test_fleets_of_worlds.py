"""The worlds that the product is measured by say what servers say, and know what happened."""

import pandas as pd
import pytest
from worlds import FAMILIES, fleet

JOB = ["source_uri", "job_id"]


@pytest.fixture(scope="module")
def made():
    return fleet(7, jobs=22)


def test_the_same_seed_gives_the_same_fleet(made):
    again = fleet(7, jobs=22)
    pd.testing.assert_frame_equal(again.jobs, made.jobs)
    pd.testing.assert_frame_equal(again.details, made.details)
    pd.testing.assert_frame_equal(again.truth, made.truth)


def test_another_seed_gives_another(made):
    assert not fleet(8, jobs=22).jobs["observed_at"].equals(made.jobs["observed_at"])


def test_every_family_is_in_a_fleet(made):
    assert set(made.truth["family"]) == set(FAMILIES)


def test_runs_of_a_file_follow_each_other_without_a_hole(made):
    details = made.details.sort_values([*JOB, "file_index", "snapshot_id"])
    following = details.groupby([*JOB, "file_index"], observed=True)["snapshot_id"].shift(-1)
    known = following.notna()
    assert (following[known] == details["last_snapshot_id"][known] + 1).all()


def test_the_files_of_one_task_share_state_and_progress(made):
    files = made.files[[*JOB, "file_index", "task"]]
    details = made.details.astype(dict.fromkeys(JOB, "str")).merge(files, on=[*JOB, "file_index"])
    grouped = details.groupby([*JOB, "task", "snapshot_id"])["progress_pct"]
    assert grouped.max().equals(grouped.min())


def test_a_task_of_one_file_goes_from_nothing_to_all(made):
    counts = made.files.groupby([*JOB, "task"])["file_index"].transform("size")
    alone = made.files[(counts == 1) & made.files["goes"].eq(1)]
    plain = made.truth[made.truth["release"].ne("v3")][JOB]
    alone = alone.merge(plain, on=JOB)[[*JOB, "file_index"]]
    details = made.details.astype(dict.fromkeys(JOB, "str")).merge(alone, on=[*JOB, "file_index"])
    assert len(details)
    assert set(details["progress_pct"]) == {0.0, 100.0}


def test_smooth_rows_grow_while_a_file_is_at_work():
    smooth = fleet(7, families=["media"], jobs=1, signal="smooth", troubles=0)
    running = smooth.details[smooth.details["state"].eq("InProgress")]
    assert running["progress_pct"].between(1, 99).mean() > 0.5


def test_an_ended_job_ends_when_its_server_says_so(made):
    ended = made.truth[made.truth["end"].notna()]
    last = made.jobs.groupby(JOB, observed=True).tail(1).astype(dict.fromkeys(JOB, "str"))
    both = ended.merge(last, on=JOB)
    assert both["state"].eq("Completed").all()
    assert both["progress_pct"].eq(100).all()
    assert (both["observed_at"] >= both["end"]).all()


def test_progress_never_falls_without_a_task_that_goes_back(made):
    calm = made.truth[made.truth["went_back"].eq(0)]
    jobs = made.jobs.astype(dict.fromkeys(JOB, "str")).merge(calm[JOB], on=JOB)
    assert (jobs.groupby(JOB)["progress_pct"].diff().dropna() >= 0).all()


def test_every_trouble_comes_up_and_is_dated():
    rough = fleet(9, families=["retail", "media"], jobs=36, troubles=1.0)
    assert set(rough.truth["trouble"]) >= {"stuck", "no_slot", "collapse", "cluster_pause"}
    troubled = rough.truth[rough.truth["trouble"].ne("")]
    assert troubled["trouble_start"].notna().all()
    assert not troubled["healthy"].any()


def test_an_unknown_signal_is_refused():
    with pytest.raises(ValueError, match="no signal 'wavy'"):
        fleet(1, jobs=1, signal="wavy")
