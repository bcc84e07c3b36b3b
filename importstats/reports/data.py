"""Data: a job as JSON, for programs, and the counts that all forms of a report share."""

from __future__ import annotations

import json
from datetime import tzinfo
from typing import Any, Final

import pandas as pd

from importstats.analysis.causes import failure_causes
from importstats.show.job import ImportJob
from importstats.show.records import plain, row_dicts

#: The ``format`` of the JSON form. Renaming or removing a key raises the number.
JSON_FORMAT: Final = "importstats.report/1"
_EXAMPLES: Final = 3


def to_json(job: ImportJob, _zone: tzinfo) -> str:
    """The job as one JSON object, see :func:`importstats.report`."""
    return json.dumps(_job_object(job), indent=2, allow_nan=False) + "\n"


def _job_object(job: ImportJob) -> dict[str, Any]:
    latest = job.jobs.iloc[-1]
    estimate = job.eta
    files = last_files(job)
    rate = job.throughput.iloc[-1] if len(job.throughput) else pd.Series(dtype="object")
    return {
        "format": JSON_FORMAT,
        "at": plain(job.at),
        "headline": job.headline,
        "job": {
            "source_uri": job.source_uri,
            **_picked(latest, "db_name", "job_id", "collection_name", "state", "phase"),
            **_picked(latest, "progress_pct", "imported_rows", "total_rows", "file_size_bytes"),
            **_picked(latest, "reason"),
            "first_observed_at": plain(job.jobs["observed_at"].iloc[0]),
            "last_observed_at": plain(latest["observed_at"]),
            "snapshots": len(job.jobs),
        },
        "eta": {
            **{name: plain(estimate[f"eta_{name}"]) for name in ("p10", "p50", "p90")},
            **_picked(estimate, "remaining_p10_s", "remaining_p50_s", "remaining_p90_s"),
            **_picked(estimate, "method", "reason"),
        },
        "throughput": {
            "rows_per_s": plain(rate.get("rows_per_s_window")),
            "bytes_per_s": plain(rate.get("bytes_per_s_window")),
            "rows_per_s_mean": plain(rate.get("rows_per_s_mean")),
        },
        "diagnosis": [
            {
                **_picked(finding, "finding", "severity", "since", "message", "advice"),
                "evidence": json.loads(finding["evidence"]),
            }
            for _, finding in job.diagnosis.iterrows()
        ],
        "phases": row_dicts(
            job.phases, "phase", "start", "end", "duration_s", "uncertainty_s", "snapshots"
        ),
        "files": {"count": len(files), "states": state_counts(files)},
        "stragglers": row_dicts(late_files(job), *_STRAGGLER_KEYS),
        "failures": failures_by_cause(files),
    }


_STRAGGLER_KEYS: Final = (
    "file_index",
    "file",
    "state",
    "verdict",
    "delay_s",
    "remaining_s",
    "elapsed_s",
    "rows_per_s",
    "imported_rows",
    "total_rows",
    "file_size_bytes",
)


def _picked(row: pd.Series[Any], *names: str) -> dict[str, Any]:
    return {name: plain(row.get(name)) for name in names}


def last_files(job: ImportJob) -> pd.DataFrame:
    """Each file's ``file``, ``state`` and ``reason``, as last seen."""
    details = job.details
    if details.empty:
        return pd.DataFrame({"file": [], "state": [], "reason": []}, dtype="str")
    last = "last_observed_at" if "last_observed_at" in details else "observed_at"
    latest = details.sort_values(last, kind="stable").drop_duplicates("file", keep="last")
    columns = {name: latest[name].astype("str") for name in ("file", "state")}
    reason = latest["reason"].astype("str") if "reason" in latest else None
    return pd.DataFrame({**columns, "reason": reason}).reset_index(drop=True)


def state_counts(files: pd.DataFrame) -> dict[str, int]:
    """How many files are in each state."""
    counts = files["state"].fillna("None").value_counts()
    return {str(state): int(count) for state, count in counts.items()}


def failures_by_cause(files: pd.DataFrame) -> list[dict[str, Any]]:
    """Failed files by cause. Reasons that differ only in the file's name are one cause."""
    return [
        {
            "reason": plain(row["cause"]),
            "files": row["files"],
            "culprits": row["culprits"][:_EXAMPLES],
            "examples": row["examples"][:_EXAMPLES],
        }
        for row in failure_causes(files).to_dict("records")
    ]


def late_files(job: ImportJob) -> pd.DataFrame:
    """The stragglers, those that delay the job most first."""
    return job.stragglers[job.stragglers["is_straggler"].astype("bool")]
