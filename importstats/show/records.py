"""Records: frames as JSON and CSV, for programs that read a command's output."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd


def plain(value: Any) -> Any:
    """A value for JSON: times as ISO 8601, null for what is missing or not finite.

    Examples
    --------
    >>> plain(pd.Timestamp("2026-05-18T08:00", tz="Asia/Tokyo")), plain(float("nan")), plain(7)
    ('2026-05-17T23:00:00Z', None, 7)
    """
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def row_dicts(frame: pd.DataFrame, *names: str) -> list[dict[str, Any]]:
    """A frame's rows as plain dictionaries, with all columns or with those named that it has."""
    known = [name for name in names if name in frame] if names else list(frame.columns)
    rows = frame[known].astype("object").itertuples(index=False, name=None)
    return [dict(zip(known, map(plain, row), strict=True)) for row in rows]


def as_json(form: str, tables: Mapping[str, pd.DataFrame]) -> str:
    """Tables as one JSON object, under their names, with a ``format`` that programs can check.

    Examples
    --------
    >>> print(as_json("importstats.jobs/1", {"jobs": pd.DataFrame({"job_id": ["7"]})}))
    {
      "format": "importstats.jobs/1",
      "jobs": [
        {
          "job_id": "7"
        }
      ]
    }
    """
    data = {"format": form, **{name: row_dicts(frame) for name, frame in tables.items()}}
    return json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False)


def as_csv(frame: pd.DataFrame) -> str:
    """A frame as CSV with a header; missing values are empty, times are ISO 8601 in UTC."""
    return pd.DataFrame(row_dicts(frame), columns=list(frame.columns)).to_csv(index=False)
