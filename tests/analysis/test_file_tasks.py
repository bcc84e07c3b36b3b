"""Files and their tasks, against the truth of a simulated cluster."""

import culprits
import numpy as np
import pandas as pd
import pytest

from importstats.analysis.file_tasks import tasks_of_files
from importstats.simulator import ClusterSpec
from importstats.store.frames import flatten_details


@pytest.fixture(scope="module")
def watched():
    job = culprits.job_of(np.random.default_rng(8), import_bytes_per_s=8e6, noise=0.4)
    seen = culprits.Watched(culprits.Case(ClusterSpec(slots_per_node=3), job), 8)
    while seen.cluster.describe(seen.job_id).phase != "IndexBuilding":
        seen.poll()
    return seen


def test_a_file_has_the_node_that_imported_it(watched):
    details = flatten_details(watched.snapshots)
    found = tasks_of_files(details, watched.watch.frames().tasks)
    truth = watched.cluster.truth(watched.job_id).files.sort_values("file_index")
    assert found["file_index"].tolist() == truth["file_index"].tolist()
    known = found["node_id"].notna().to_numpy()
    assert known.sum() >= len(found) / 2
    expected = (101 + truth["node"]).astype("str").to_numpy()
    assert (found["node_id"].to_numpy()[known] == expected[known]).all()
    sure = found[found["certainty"].eq(1)]
    assert len(sure) >= 2
    # Files of one task have one task, those of different tasks never the same.
    own = truth.set_index("file_index")["task"].reindex(sure["file_index"])
    assert pd.Series(sure["task_id"].to_numpy()).nunique() == own.nunique()


def test_files_that_look_alike_are_not_guessed_at(watched):
    details, tasks = flatten_details(watched.snapshots), watched.watch.frames().tasks
    waits = details["state"].eq("Pending").groupby(details["observed_at"]).transform("sum")
    at = details.loc[waits >= 2, "observed_at"].min()
    found = tasks_of_files(details[details["observed_at"] <= at], tasks[tasks["observed_at"] <= at])
    waiting = found[found["state"].eq("Pending")]
    assert len(waiting) > 1
    assert waiting["task_id"].isna().all()
    assert (waiting["certainty"] < 1).all()


def test_without_tasks_nothing_is_known(watched):
    details = flatten_details(watched.snapshots)
    found = tasks_of_files(details, watched.watch.frames().tasks.iloc[:0])
    assert found["task_id"].isna().all()
    assert found["certainty"].isna().all()


def test_a_node_is_named_if_all_tasks_that_it_may_be_had_it():
    key = {"source_uri": "u", "job_id": "7", "complete_time": pd.NaT, "observed_at": pd.NaT}
    start = pd.Timestamp("2026-05-18", tz="UTC")
    key |= {"observed_at": start, "complete_time": pd.Timestamp(None, tz="UTC")}
    files = pd.DataFrame([{**key, "file_index": 0, "state": "InProgress"}])
    for nodes, node, certainty in (
        (["11"], "11", 1.0),
        (["11", "11"], "11", 0.5),
        (["11", "12"], None, 0.5),
        (["11", None], None, 0.5),
        ([None], None, 1.0),
    ):
        tasks = pd.DataFrame(
            [
                {
                    **key,
                    "task_id": f"{n}",
                    "kind": "ImportTask",
                    "state": "InProgress",
                    "node_id": node,
                }
                for n, node in enumerate(nodes)
            ]
        )
        for frame in (files, tasks):
            frame["complete_time"] = pd.to_datetime(frame["complete_time"], utc=True)
        found = tasks_of_files(files, tasks.astype({"node_id": "str"})).iloc[0]
        assert (found["node_id"] if pd.notna(found["node_id"]) else None) == node
        assert found["certainty"] == certainty
