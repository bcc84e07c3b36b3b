"""What clusters do, as frames that a test can read: who was at what, from which second to which."""

import json
from functools import cache

import pandas as pd
import pyarrow as pa

from importstats.analysis.cluster_state import ClusterState
from importstats.analysis.job_history import job_histories
from importstats.store.cluster_frames import cluster_frame, no_cluster
from importstats.store.cluster_schema import CLUSTER_SCHEMAS

START = pd.Timestamp("2026-05-18T08:00:00Z")
HOUR = 3600
NOTHING = no_cluster()


def at(second):
    return START + pd.Timedelta(second, "s")


def cluster(**tables):
    """Frames of runs, each of which says from when to when, in seconds, it was listed so."""
    frames = {}
    for name, rows in tables.items():
        made = []
        for first, last, values in rows:
            times = {"observed_at": at(first), "last_observed_at": at(last), "source_uri": "u"}
            made.append({**times, **values})
        frames[name] = cluster_frame(pa.Table.from_pylist(made, CLUSTER_SCHEMAS[name]))
    return NOTHING._replace(**frames)


def state(second, **tables):
    return ClusterState.from_cluster(cluster(**tables), "u", at(second))


@cache
def history(phase_state="Importing", progress=50.0, **columns):
    frame = pd.DataFrame(
        {
            "observed_at": [START, at(60)],
            "source_uri": "u",
            "job_id": "7",
            "collection_name": "c",
            "snapshot_id": [0, 1],
            "state": [phase_state] * 2,
            "progress_pct": [progress] * 2,
            "imported_rows": 0,
            "total_rows": 1000,
            "detail_count": 3,
        }
    ).assign(**columns)
    (found,) = job_histories(frame, None)
    return found


def task(name, what, job="7", node=None, kind="ImportTask"):
    task_of = {"task_id": name, "job_id": job, "collection_id": "c", "kind": kind}
    return {**task_of, "state": what, "node_id": node}


def build(name, what, node=None, collection="c", **values):
    known = {"build_id": name, "segment_id": f"s{name}", "collection_id": collection}
    return {**known, "state": what, "node_id": node, **values}


def gauge(name, value, process="p", **labels):
    return {"process": process, "name": name, "labels": json.dumps(labels), "value": value}


IMPORT = (0, HOUR, task("1", "Completed"))
NODE = (0, HOUR, {"node_id": "n", "kind": "datanode"})
