"""Frames for plots to draw, and what is found on axes."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from io import BytesIO

import numpy as np
import pandas as pd
from matplotlib import dates as mdates
from matplotlib.figure import Figure

from importstats.simulator import simulate_job
from importstats.store.frames import details_frame, jobs_frame

P, I, R, C, F = "Pending", "InProgress", "Retry", "Completed", "Failed"  # noqa: E741


@lru_cache(maxsize=16)
def simulated(shape="stragglers", files=40, seed=4, share=1.0, runs=True, signal=None):
    """Jobs and details frames of a simulated job until a share of its polls."""
    simulation = simulate_job(shape, files=files, seed=seed, poll_every_s=20, signal=signal)
    tables = simulation.tables(runs=runs)
    jobs, details = jobs_frame(tables[0]), details_frame(tables[1])
    at = jobs["observed_at"].iloc[max(int(len(jobs) * share) - 1, 0)]
    return jobs[jobs["observed_at"] <= at], details[details["observed_at"] <= at], at


def job(states, progress, **columns):
    count = len(states)
    start = datetime(2026, 5, 18, 8, tzinfo=UTC)
    return pd.DataFrame(
        {
            "snapshot_id": range(count),
            "observed_at": pd.date_range(start, periods=count, freq="60s").astype(
                "datetime64[us, UTC]"
            ),
            "source_uri": "http://localhost:19530",
            "job_id": "7",
            "collection_name": "products",
            "state": pd.array(states, "str"),
            "progress_pct": np.array(progress, float),
            "imported_rows": pd.array([0] * count, "Int64"),
            "total_rows": pd.array([0] * count, "Int64"),
            "file_size_bytes": pd.array([0] * count, "Int64"),
            "detail_count": pd.array([0] * count, "Int64"),
            "reason": pd.array([None] * count, "str"),
        }
    ).assign(**columns)


def files(states, names=None, **columns):
    """A details frame: `states` has one list per file, one state per snapshot, or None."""
    start = datetime(2026, 5, 18, 8, tzinfo=UTC)
    rows = [
        {
            "snapshot_id": poll,
            "observed_at": start + timedelta(minutes=poll),
            "source_uri": "http://localhost:19530",
            "job_id": "7",
            "file_index": place,
            "file": names[place] if names else f"in/2026/{place:05}.parquet",
            "file_name": f"[{names[place] if names else place}]",
            "state": state,
            "progress_pct": 100.0 if state == "Completed" else 10.0 * poll,
            "imported_rows": poll,
            "total_rows": 10,
            "file_size_bytes": 100,
            "reason": None,
        }
        for place, own in enumerate(states)
        for poll, state in enumerate(own)
        if state is not None
    ]
    frame = pd.DataFrame(rows).assign(**columns)
    return frame.sort_values(["snapshot_id", "file_index"], ignore_index=True).astype(
        {"observed_at": "datetime64[us, UTC]", "state": "str", "reason": "str"}
    )


def axes():
    return Figure(figsize=(9, 4), layout="constrained").subplots()


def rendered(ax, form="png"):
    """The bytes of the figure: whatever is wrong with a text comes up only when it is drawn."""
    buffer = BytesIO()
    ax.get_figure().savefig(buffer, format=form, dpi=50)
    return buffer.getvalue()


def title(ax):
    return " ".join(ax.get_title(loc="left").split())


def with_gid(ax, prefix):
    artists = [*ax.patches, *ax.lines, *ax.collections, *ax.texts]
    return [artist for artist in artists if str(artist.get_gid() or "").startswith(prefix)]


def day(time):
    return mdates.date2num(time)
