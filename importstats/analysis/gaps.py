"""Gaps: the times without snapshots."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

#: A pause is a gap if it is at least this many times the usual pause.
GAP_POLLS: Final = 5.0
_LEAST_S: Final = 60.0


def find_gaps(times: pd.Series[Any], polls: float = GAP_POLLS) -> pd.DataFrame:
    """The pauses between snapshots in which nobody knows what happened.

    A pause is a gap if it is `polls` times longer than nine tenths of all pauses, and longer than
    a minute (the rule of the finding ``collector_gap``).

    Parameters
    ----------
    times : Series of datetime64
        When one job was observed, in any order, repeated or not.
    polls : float
        See above.

    Returns
    -------
    DataFrame
        ``start`` and ``end``: the snapshots before and after each gap, in order of time.

    Examples
    --------
    >>> minutes = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 30, 31]
    >>> times = pd.Timestamp("2026-05-18", tz="UTC") + pd.to_timedelta(minutes, unit="min")
    >>> find_gaps(pd.Series(times))["end"].dt.minute.tolist()
    [30]
    """
    seen = times.dropna().drop_duplicates().sort_values()
    pause = seen.diff().dt.total_seconds().to_numpy()[1:]
    if not len(pause):
        return pd.DataFrame({"start": seen.iloc[:0], "end": seen.iloc[:0]})
    long = np.flatnonzero(pause > max(polls * float(np.quantile(pause, 0.9)), _LEAST_S))
    return pd.DataFrame(
        {
            "start": seen.iloc[long].reset_index(drop=True),
            "end": seen.iloc[long + 1].reset_index(drop=True),
        }
    )
