"""Row counts: whether a job, and each of its files, has the expected rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from importstats.arrays import Ints, floats
from importstats.names import JOB_KEY

#: The verdicts on a count of rows.
ROW_VERDICTS = ("equal", "fewer", "more", "not completed", "unknown", "not listed")


@dataclass(frozen=True)
class RowCheck:
    """The result of :func:`check_rows` for one job, in short."""

    expected: float
    imported: float
    wrong: bool
    wrong_files: int
    worst_file: str | None


def check_rows(
    details: pd.DataFrame, expected: int | Mapping[str, int] | pd.Series[int]
) -> pd.DataFrame:
    """Whether each job and each file has the expected rows.

    A file counts with the most rows that it ever showed: the rows of completed files fall to 0
    hours later, when their old segments are deleted, but nothing is lost.

    Parameters
    ----------
    details : DataFrame
        A details frame of any number of jobs, see :mod:`importstats.store.frames`.
    expected : int, or mapping or Series of int
        Rows of the whole job, or rows by file, missing if not known. A file is found by its path,
        or by the end of its path from a slash on if only one file has that end.

    Returns
    -------
    DataFrame
        Ordered by job; the job itself comes first, then its files by ``file_index``. If `expected`
        is a number there is only the job.

        ``source_uri``, ``job_id`` : category or str
            As in the input.
        ``file`` : str
            Missing in the job's row.
        ``expected_rows``, ``imported_rows`` : Int64
            Missing if nothing was expected or nothing is known. A job's imported rows are known
            once those of all its files are.
        ``difference`` : Int64
            Imported minus expected.
        ``verdict`` : category
            ``equal``, ``fewer``, ``more``, ``not completed``, ``unknown``, or ``not listed``: the
            job does not have a file that was expected.

    Examples
    --------
    >>> details = pd.DataFrame({
    ...     "source_uri": "http://localhost:19530", "job_id": "7", "file_index": [0, 1],
    ...     "file": ["in/a.parquet", "in/b.parquet"], "state": "Completed",
    ...     "observed_at": pd.Timestamp("2026-05-18", tz="UTC"),
    ...     "imported_rows": [500, 400], "progress_pct": 100.0})
    >>> checked = check_rows(details, {"a.parquet": 500, "b.parquet": 500})
    >>> checked[["file", "expected_rows", "imported_rows", "verdict"]]
               file  expected_rows  imported_rows verdict
    0           NaN           1000            900   fewer
    1  in/a.parquet            500            500   equal
    2  in/b.parquet            500            400   fewer
    """
    files = _file_rows(details)
    whole = files.groupby(JOB_KEY, as_index=False).agg(
        imported=("imported", lambda rows: rows.sum(skipna=False)), done=("done", "all")
    )
    whole = whole.assign(file=None, file_index=-1, listed=True)
    if isinstance(expected, int | np.integer):
        parts = [whole.assign(expected=pd.array([int(expected)] * len(whole), "Int64"))]
    else:
        wanted = pd.Series(dict(expected), dtype="Int64")
        lost = _match(files, wanted)
        # If the rows of one file are not known, neither are the job's.
        total = pd.array([wanted.sum(skipna=False)] * len(whole), "Int64")
        parts = [whole.assign(expected=total), files, lost]
    rows = pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)
    rows = rows.sort_values([*JOB_KEY, "file_index"], kind="stable", ignore_index=True)
    imported, want = rows["imported"].astype("Int64"), rows["expected"].astype("Int64")
    conditions = [
        ~rows["listed"].astype("bool"),
        want.isna(),
        ~rows["done"].astype("bool"),
        imported.isna(),
        imported.eq(want).fillna(False).astype("bool"),
        imported.lt(want).fillna(False).astype("bool"),
    ]
    verdict = np.select(
        conditions, ["not listed", "unknown", "not completed", "unknown", "equal", "fewer"], "more"
    )
    return pd.DataFrame(
        {
            "source_uri": rows["source_uri"].astype("str"),
            "job_id": rows["job_id"].astype("str"),
            "file": rows["file"].astype("str"),
            "expected_rows": want,
            "imported_rows": imported,
            "difference": imported - want,
            "verdict": pd.Categorical(verdict, ROW_VERDICTS),
        }
    )


def row_checks(checked: pd.DataFrame) -> dict[tuple[str, str], RowCheck]:
    """The result of :func:`check_rows` in short, by ``source_uri`` and ``job_id``."""
    found = {}
    for key, rows in checked.groupby(JOB_KEY):
        job, files = rows.iloc[0], rows.iloc[1:]
        wrong = files[files["verdict"].isin(["fewer", "more", "not listed"])]
        off = wrong["difference"].abs().fillna(wrong["expected_rows"])
        worst = (
            str(wrong["file"].iloc[int(off.to_numpy(np.float64).argmax())]) if len(wrong) else None
        )
        differs = str(job["verdict"]) in ("fewer", "more") or len(wrong) > 0
        expected, imported = (floats(rows, name)[0] for name in ("expected_rows", "imported_rows"))
        found[str(key[0]), str(key[1])] = RowCheck(
            float(expected), float(imported), differs, len(wrong), worst
        )
    return found


def _file_rows(details: pd.DataFrame) -> pd.DataFrame:
    """One row per file: its name, the most rows it showed, and whether it has completed."""
    frame = details[[*JOB_KEY, "file_index"]].astype(dict.fromkeys(JOB_KEY, "str"))
    name = "file" if "file" in details else "file_name"
    frame["file"] = details[name].astype("str")
    frame["imported"] = details["imported_rows"].astype("Int64")
    frame["state"] = details["state"].astype("str").str.lower()
    frame = frame.iloc[np.argsort(details["observed_at"].to_numpy("datetime64[us]"), kind="stable")]
    grouped = frame.groupby([*JOB_KEY, "file_index"], as_index=False)
    files = grouped.agg(
        file=("file", "last"), imported=("imported", "max"), state=("state", "last")
    )
    return files.assign(done=files["state"].eq("completed"), listed=True).drop(columns="state")


def _match(files: pd.DataFrame, wanted: pd.Series[int]) -> pd.DataFrame:
    """Add the expected rows to each file, and return rows for expectations without a file."""
    files["expected"] = pd.array([pd.NA] * len(files), "Int64")
    missing = []
    for key, mine in files.groupby(JOB_KEY):
        names = mine["file"].fillna("").to_numpy(dtype=object)
        place = _places_by_path(names, wanted.index.to_numpy(dtype=object))
        found = place >= 0
        files.loc[mine.index[place[found]], "expected"] = wanted.array[found]
        lost = wanted[~found]
        missing.append(
            pd.DataFrame(
                {
                    "source_uri": key[0],
                    "job_id": key[1],
                    "file": lost.index.to_numpy(dtype=object),
                    "file_index": np.iinfo(np.int64).max,
                    "expected": lost.array,
                    "imported": pd.array([pd.NA] * len(lost), "Int64"),
                    "done": False,
                    "listed": False,
                }
            )
        )
    return pd.concat(missing, ignore_index=True) if missing else files.iloc[:0]


def _places_by_path(names: npt.NDArray[np.object_], wanted: npt.NDArray[np.object_]) -> Ints:
    """The index in the names of each wanted file, by the whole path or its end; -1 for none."""
    by_path = {name: place for place, name in reversed(list(enumerate(names)))}
    by_end: dict[str, int] = {}
    depths = {str(name).count("/") for name in wanted}
    for place, name in enumerate(names):
        parts = str(name).split("/")
        for depth in depths:
            if depth + 1 < len(parts):
                end = "/".join(parts[-depth - 1 :])
                by_end[end] = -1 if end in by_end else place
    return np.array(
        [by_path.get(name, by_end.get(str(name).lstrip("/"), -1)) for name in wanted], np.int64
    )
