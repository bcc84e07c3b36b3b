"""Facts that a job's files show about the job: a restore, deletes only, bytes, reasons."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from importstats.analysis.reasons import known_reasons
from importstats.arrays import floats
from importstats.names import JOB_KEY

_INSERTS: Final = "insert_log/"
_DELETES: Final = "delta_log/"


@dataclass(frozen=True)
class FileFacts:
    """Facts about one job's files, as last seen.

    Attributes
    ----------
    count : int
        How many files are listed; 0 if there are no details.
    size_bytes : float
        Bytes of all files, NaN if not known.
    restore, only_deletes : bool
        Whether their paths are those of binlogs, and whether all are delete logs.
    reason : str or None
        The most frequent reason among files that have not completed, and how many have it.
    reason_files : int
    twice : str or None
        A file that is listed more than once, and how often.
    times : int
    fell : int
        Completed files whose progress or rows went down.
    fell_at : Timestamp or None
        When that was first seen.
    """

    count: int = 0
    size_bytes: float = math.nan
    restore: bool = False
    only_deletes: bool = False
    reason: str | None = None
    reason_files: int = 0
    twice: str | None = None
    times: int = 0
    fell: int = 0
    fell_at: pd.Timestamp | None = None

    @classmethod
    def of_jobs(cls, details: pd.DataFrame | None) -> dict[tuple[str, str], FileFacts]:
        """The facts about each job in a details frame, by ``source_uri`` and ``job_id``."""
        if details is None or not len(details):
            return {}
        rows = _ordered(details)
        last = rows[~rows.duplicated(["job", "file_index"], keep="last")]
        facts = (
            _path_facts(last)
            .join(_commonest_reason(last))
            .join(_names_listed_twice(last))
            .join(_fallen_files(rows))
        )
        keys = rows.groupby("job")[JOB_KEY].first().astype("str")
        found = {}
        for row in facts.join(keys).to_dict("records"):
            found[row["source_uri"], row["job_id"]] = cls(
                int(row["count"]),
                float(row["size_bytes"]),
                bool(row["restore"]),
                bool(row["only_deletes"]),
                row["reason"] if isinstance(row["reason"], str) else None,
                0 if math.isnan(row["reason_files"]) else int(row["reason_files"]),
                row["twice"] if isinstance(row["twice"], str) else None,
                0 if math.isnan(row["times"]) else int(row["times"]),
                0 if math.isnan(row["fell"]) else int(row["fell"]),
                row["fell_at"] if isinstance(row["fell_at"], pd.Timestamp) else None,
            )
        return found


def _ordered(details: pd.DataFrame) -> pd.DataFrame:
    """The rows by job, file and time, with the job's number and the file's name as text."""
    names = [*JOB_KEY, "file_index", "observed_at", "state"]
    rows = details[names].copy()
    rows["job"] = details.groupby(JOB_KEY, observed=True, dropna=False).ngroup()
    rows["name"] = details.get("file_name", details["file_index"]).astype("category")
    rows["file"] = details["file"] if "file" in details else rows["name"]
    for name in ("file_size_bytes", "progress_pct", "imported_rows"):
        rows[name] = floats(details, name)
    rows["reason"] = known_reasons(details["reason"]) if "reason" in details else None
    order = np.lexsort(
        (
            rows["observed_at"].to_numpy(dtype="datetime64[us]"),
            rows["file_index"].to_numpy(np.int64),
            rows["job"].to_numpy(np.int64),
        )
    )
    return rows.iloc[order]


def _path_facts(last: pd.DataFrame) -> pd.DataFrame:
    names = pd.Series(last["name"].cat.categories.astype("str"))
    code = last["name"].cat.codes.to_numpy()
    inserts = np.append(names.str.contains(_INSERTS, regex=False).to_numpy(np.bool_), False)[code]
    deletes = np.append(names.str.contains(_DELETES, regex=False).to_numpy(np.bool_), False)[code]
    each = last.assign(restore=inserts | deletes, only_deletes=deletes & ~inserts)
    return each.groupby("job").agg(
        count=("file_index", "size"),
        size_bytes=("file_size_bytes", lambda sizes: sizes.sum(min_count=1)),
        restore=("restore", "any"),
        only_deletes=("only_deletes", "all"),
    )


def _commonest_reason(last: pd.DataFrame) -> pd.DataFrame:
    done = last["state"].astype("str").str.lower().eq("completed")
    given = last[last["reason"].notna() & ~done.fillna(False)]
    counted = given.groupby(["job", "reason"]).size().rename("reason_files").reset_index()
    ranked = counted.sort_values("reason_files", ascending=False, kind="stable")
    return ranked.drop_duplicates("job").set_index("job")


def _names_listed_twice(last: pd.DataFrame) -> pd.DataFrame:
    """Names that several files have, as they were listed at the same time."""
    named = last[last["name"].notna()].groupby(["job", "name"], observed=True)
    counted = named.agg(times=("file", "size"), twice=("file", "first")).reset_index()
    ranked = counted[counted["times"] > 1].sort_values("times", ascending=False, kind="stable")
    found = ranked.drop_duplicates("job").drop(columns="name").set_index("job")
    return found.astype({"twice": "str"})


def _fallen_files(rows: pd.DataFrame) -> pd.DataFrame:
    """Files whose numbers went down while they stayed completed."""
    done = rows["state"].astype("str").str.lower().eq("completed").fillna(False).to_numpy(np.bool_)
    job, file = rows["job"].to_numpy(np.int64), rows["file_index"].to_numpy(np.int64)
    same = np.zeros(len(rows), np.bool_)
    same[1:] = (job[1:] == job[:-1]) & (file[1:] == file[:-1]) & done[1:] & done[:-1]
    fell = np.zeros(len(rows), np.bool_)
    for name in ("progress_pct", "imported_rows"):
        values = floats(rows, name)
        fell[1:] |= values[1:] < values[:-1]
    found = rows[same & fell]
    return found.groupby("job").agg(fell=("file_index", "nunique"), fell_at=("observed_at", "min"))
