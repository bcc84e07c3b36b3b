"""Expectations: options for the rows that a job should have, and the check of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pandas as pd
from cyclopts import Parameter
from cyclopts.validators import Number

from importstats.analysis.row_counts import check_rows
from importstats.errors import UsageError
from importstats.store import SnapshotStore
from importstats.store.frames import load_details
from importstats.store.groups import GroupJob
from importstats.store.manifests import read_manifest
from importstats.text import format_count, printable

Expected = int | pd.Series


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Expectation:
    """How many rows a job, or each of its files, should have."""

    expect_rows: Annotated[
        int | None,
        Parameter(
            help="Number of rows that the job should have at its end.", validator=Number(gte=0)
        ),
    ] = None
    manifest: Annotated[
        Path | None,
        Parameter(help="CSV, Parquet or JSON file of the files and rows that the job should have."),
    ] = None
    sources: Annotated[
        str | None,
        Parameter(
            help="Folder or s3:// address that holds the files. If the manifest gives no rows "
            "for a Parquet file, they are read from its footer."
        ),
    ] = None

    def rows(self) -> Expected | None:
        """The job's expected rows, or those of each file; ``None`` if nothing is expected.

        Raises
        ------
        UsageError
            The options do not fit together, or the manifest cannot be read.
        """
        if self.sources is not None and self.manifest is None:
            raise UsageError("--sources needs a --manifest")
        if self.manifest is None:
            return self.expect_rows
        if self.expect_rows is not None:
            raise UsageError("give --expect-rows or --manifest, not both: the manifest has the sum")
        return read_manifest(self.manifest, sources=self.sources).rename(shown_file)


NOTHING = Expectation()


def paths_of_file(file: str) -> list[str]:
    """The paths of an import file; several only if all are NumPy files."""
    parts = file.split(",")
    return parts if all(part.lower().endswith(".npy") for part in parts) else [file]


def shown_file(file: str) -> str:
    """A file as the details name it: the first of a set of NumPy files, and how many follow.

    Examples
    --------
    >>> shown_file("a/x.npy,a/y.npy"), shown_file("a,b.parquet")
    ('a/x.npy +1', 'a,b.parquet')
    """
    first, *others = paths_of_file(file)
    return f"{first} +{len(others)}" if others else file


def rows_of_files(job: GroupJob) -> pd.Series[int] | None:
    """The rows of each of the job's files; ``None`` if the files are not known."""
    if not job.files:
        return None
    names = pd.Index([shown_file(each.file) for each in job.files], dtype="str")
    return pd.Series(pd.array([each.rows for each in job.files], "Int64"), index=names)


def stored_check(
    store: SnapshotStore, job_id: str, source_uri: str, expected: Expected
) -> pd.DataFrame:
    """The :func:`~importstats.check_rows` of a stored job."""
    details = load_details(store, job_id=job_id, source_uri=source_uri, runs=True)
    return check_rows(details, expected)


def is_as_expected(checked: pd.DataFrame) -> bool:
    """Whether exactly the expected rows are known to be there."""
    asked = checked[checked["expected_rows"].notna()]
    return len(checked) > 0 and bool(asked["verdict"].eq("equal").all())


def check_lines(checked: pd.DataFrame) -> list[str]:
    """A line with the check's result, and one for each of the first files that differ."""
    if checked.empty:
        return ["rows: none of the job's files is known, so nothing can be checked"]
    job, files = checked.iloc[0], checked.iloc[1:]
    verdict = str(job["verdict"])
    counts = f"{format_count(job['imported_rows'])} of {format_count(job['expected_rows'])} rows"
    lines = [f"rows: {counts} ({verdict})"]
    differ = files[files["expected_rows"].notna() & files["verdict"].ne("equal")]
    lines += [
        f"rows: {printable(row['file'])}: {format_count(row['imported_rows'])} of "
        f"{format_count(row['expected_rows'])} ({row['verdict']})"
        for row in differ.head(_LINES).to_dict("records")
    ]
    if len(differ) > _LINES:
        lines.append(f"rows: and {len(differ) - _LINES:,} more files")
    return lines


_LINES = 20
