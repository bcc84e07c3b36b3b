"""Quotas: while a running job reports that one is reached, no pace leads to an end."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from importstats.analysis.reasons import kind_of_reason
from importstats.arrays import Bools, Ints
from importstats.names import JOB_KEY

_NEVER: Final = -1


def at_quota(seen: pd.DataFrame, details: pd.DataFrame | None) -> Bools:
    """Per timeline row, whether the job or an unfinished file gives a quota as its reason.

    Parameters
    ----------
    seen : DataFrame
        A :func:`~importstats.analysis.forecast.timeline.ordered_snapshots`.
    details : DataFrame or None
        A details frame, as runs or single snapshots.
    """
    found = _gives_quota(seen)
    if details is None or not len(details):
        return found
    files = details[_gives_quota(details)]
    files = files[files["state"].astype("str").str.lower() != "completed"]
    if not len(files):
        return found
    jobs = seen[[*JOB_KEY, "job"]].drop_duplicates("job").astype(dict.fromkeys(JOB_KEY, "str"))
    index = pd.MultiIndex.from_frame(jobs[JOB_KEY])
    place = index.get_indexer(pd.MultiIndex.from_frame(files[JOB_KEY].astype("str")))
    job = np.where(place >= 0, jobs["job"].to_numpy()[place], _NEVER)
    first = files["snapshot_id"].to_numpy(np.int64)
    last = files["last_snapshot_id"] if "last_snapshot_id" in files else files["snapshot_id"]
    inside = _within_snapshots(seen, job, first, last.to_numpy(np.int64))
    return np.asarray(found | inside, np.bool_)


def _gives_quota(frame: pd.DataFrame) -> Bools:
    if "reason" not in frame:
        return np.zeros(len(frame), np.bool_)
    found = np.array(frame["reason"].notna(), np.bool_)
    # Most files never have a reason, and there may be millions of rows.
    texts = frame["reason"].to_numpy(object)[found]
    codes, kinds = pd.factorize(texts)
    found[found] = np.array([kind_of_reason(text) == "quota" for text in kinds], np.bool_)[codes]
    return np.asarray(found, np.bool_)


def _within_snapshots(seen: pd.DataFrame, job: Ints, first: Ints, last: Ints) -> Bools:
    """Whether each row lies within the snapshots `first` to `last` of one of these jobs."""
    snapshot = seen["snapshot_id"].to_numpy(np.int64)
    order = np.lexsort((snapshot, seen["job"].to_numpy()))
    least = min(int(snapshot.min()), int(first.min()))
    span = max(int(snapshot.max()), int(last.max())) - least + 1
    keys = seen["job"].to_numpy()[order] * span + snapshot[order] - least
    known = job != _NEVER
    change = np.zeros(len(seen) + 1, np.int64)
    begin = np.searchsorted(keys, job[known] * span + first[known] - least, side="left")
    stop = np.searchsorted(keys, job[known] * span + last[known] - least, side="right")
    np.add.at(change, begin, 1)
    np.add.at(change, stop, -1)
    found = np.zeros(len(seen), np.bool_)
    found[order] = np.cumsum(change)[:-1] > 0
    return found
