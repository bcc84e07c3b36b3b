"""The frames that tests make: jobs and their files by hand, and those of a simulated job."""

import numpy as np
import pandas as pd

from importstats.simulator import simulate_job
from importstats.store.frames import details_frame, jobs_frame

MB = 10**6
NAMED = {None: "Pending", "done": "Completed", "failed": "Failed"}
START = pd.Timestamp("2026-05-18T08:00:00Z")
UNITS = {"second": "s", "minute": "min", "day": "D"}
COUNTS = ("imported_rows", "total_rows", "file_size_bytes", "detail_count")
TEXTS = ("state", "reason", "error", "file_name")


def times(numbers, unit="s", start=START):
    """The times so long after the start."""
    offsets = pd.to_timedelta(pd.Series(numbers, dtype="float64"), unit=unit)
    return (start + offsets).dt.as_unit("us")


def typed(frame):
    """The frame with the dtypes that the store gives these columns."""
    kinds = {**dict.fromkeys(COUNTS, "Int64"), **dict.fromkeys(TEXTS, "str")}
    kinds |= {"progress_pct": "float64", "file_index": "int64"}
    return frame.astype({name: kind for name, kind in kinds.items() if name in frame})


def frame_of(rows, fields, *, every_s=60.0, start=START, **columns):
    """A frame with a line for each row, whose values are `fields`, and `columns` beside them.

    A field ``second``, ``minute`` or ``day`` is the time of a row after the start; without one a
    row is `every_s` after the one before.
    """
    frame = pd.DataFrame([*rows], columns=[*fields])
    unit = next((name for name in UNITS if name in frame), None)
    if unit is None:
        observed_at = times(np.arange(len(frame)) * every_s, start=start)
    else:
        observed_at = times(frame.pop(unit), UNITS[unit], start)
    known = {"source_uri": "u", "job_id": "7", "observed_at": observed_at, **columns}
    return typed(frame.assign(**{name: known[name] for name in known if name not in fields}))


def jobs_of(rows, fields=("state", "progress_pct", "imported_rows", "total_rows"), **options):
    """A jobs frame with a snapshot for each row; see :func:`frame_of`."""
    numbers = range(1, len(rows) + 1)
    return frame_of(
        rows, fields, **{"collection_name": "products", "snapshot_id": numbers, **options}
    )


def simulated(shape="stragglers", *, runs=True, **options):
    """The jobs and details frames of a simulated job."""
    jobs, details = simulate_job(shape, **options).tables(runs=runs)
    return jobs_frame(jobs), details_frame(details)


def recording(polls, sizes, *, ended=None, rows=100):
    """A details frame of ``{second: [progress or state of each file]}``.

    A number is the progress of a file at work, ``None`` a file that waits, ``"done"`` and
    ``"failed"`` its end; a pair is a state and a progress. `ended` is per file the second
    of its ``complete_time``.
    """
    lines = []
    for second, shown in polls.items():
        for place, what in enumerate(shown):
            done = what == "done"
            state = NAMED.get(what, "InProgress")
            if isinstance(what, tuple):
                state, what = what
            progress = 100.0 if done else float(what) if isinstance(what, int | float) else 0.0
            end_s = (ended or {}).get(place)
            lines.append(
                {
                    "observed_at": START + pd.Timedelta(second, "s"),
                    "source_uri": "u",
                    "job_id": "7",
                    "file_index": place,
                    "file": f"{place}.parquet",
                    "file_name": f"[{place}.parquet]",
                    "state": state,
                    "progress_pct": progress,
                    "file_size_bytes": sizes[place],
                    "imported_rows": int(progress * rows / 100),
                    "total_rows": rows,
                    "complete_time": START + pd.Timedelta(end_s, "s")
                    if done and end_s is not None
                    else pd.NaT,
                }
            )
    frame = pd.DataFrame(lines)
    for name in ("observed_at", "complete_time"):
        frame[name] = pd.to_datetime(frame[name], utc=True).dt.as_unit("us")
    counts = ["file_size_bytes", "imported_rows", "total_rows"]
    return frame.astype(dict.fromkeys(counts, "Int64"))


def seconds(times):
    """Seconds since the start of a recording."""
    return [round(float(time - START.timestamp()), 3) for time in times]


def as_runs(details):
    """The same as runs of equal values, each with its first and last snapshot."""
    ordered = details.sort_values(["file_index", "observed_at"], ignore_index=True)
    values = ordered.drop(columns="observed_at").astype("str").fillna("missing")
    changes = values.ne(values.shift()).any(axis=1)
    run = changes.cumsum()
    last = ordered.groupby(run)["observed_at"].transform("max")
    return ordered.assign(last_observed_at=last)[changes].reset_index(drop=True)


def scheduled(spans, until, *, sizes=None, every=30, smooth=False, back=None):
    """Files that are handed over and end at these seconds, polled until a time.

    `back` are pairs of seconds in which a file waits again. With `smooth` rows grow.
    """
    polls = {}
    for second in range(0, until + 1, every):
        shown = []
        for place, (begin, end) in enumerate(spans):
            gone = any(low <= second < high for low, high in (back or {}).get(place, []))
            if gone or second < begin:
                shown.append(None)
            elif second >= end:
                shown.append("done")
            elif smooth:
                shown.append(int(100 * (second - begin) / (end - begin)))
            else:
                shown.append(0)
        polls[second] = shown
    ended = {place: end for place, (_, end) in enumerate(spans)}
    # Sizes of their own, so that files that end together are not taken for one task.
    sizes = sizes or [100 * MB + place for place in range(len(spans))]
    return recording(polls, sizes, ended=ended)


#: Three waves of four files of 120 s or so, each handed over when one before has ended.
HEALTHY = [
    (120 * wave + 2 * slot + 1, 120 * (wave + 1) + 2 * slot - 3 * (slot % 2))
    for wave in range(3)
    for slot in range(4)
]


def job_of(details):
    """The jobs frame beside a details frame of :func:`scheduled`."""
    by_poll = details.groupby("observed_at")
    rows, total = by_poll["imported_rows"].sum(), by_poll["total_rows"].sum()
    return pd.DataFrame(
        {
            "source_uri": "u",
            "job_id": "7",
            "collection_name": "products",
            "snapshot_id": range(1, len(rows) + 1),
            "observed_at": rows.index,
            "state": "Importing",
            "progress_pct": (40 + 30 * rows / total).astype("float64").to_numpy() // 1,
            "imported_rows": rows.to_numpy(),
            "total_rows": total.to_numpy(),
            "detail_count": by_poll.size().to_numpy(),
        }
    )
