"""The straight line through ``progress``, which counts if the collection has no history.

A line is wrong by construction: the points of the phases do not measure time. But it needs no
prior, and without history the priors of the later phases may be wrong by a large factor either way.
So the two are mixed geometrically with equal weights (the combination of forecasts: Bates &
Granger, Operational Research Quarterly 20, 1969), until the pace of the last long phase is seen,
which says more. In a job's first moments the line counts more: if it has come far within seconds,
the server's rounds take most of its time, of which priors of long jobs know nothing (ours).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from importstats.analysis.forecast.remaining import shows_pace
from importstats.arrays import Bools, Floats, floats

#: The phases in which the line counts; in index building it does until its pace is seen.
PHASES: Final = ("PreImporting", "Importing", "Sorting", "IndexBuilding")
#: How much the line counts; the rest is the model's. Equal weights are hard to beat.
WEIGHT: Final = 0.5
# The time in which what is left to the model grows to 63 % of its full weight.
_FIRST_MOMENTS_S: Final = 45.0


def line_s(seen: pd.DataFrame) -> Floats:
    """The time left at each timeline row, at the mean pace of progress since the queue.

    ``(100 - p) * (t - t0) / (p - p0)``, from the first snapshot after the queue; NaN until progress
    has moved from there.
    """
    job, now, progress = seen["job"].to_numpy(), floats(seen, "now_s"), floats(seen, "progress_pct")
    begun = (seen["place"].to_numpy() > 0) & ~np.isnan(progress)
    both = pd.DataFrame({"now": np.where(begun, now, np.nan), "progress": progress})
    first = both.where(both["now"].notna()).groupby(job).transform("first").to_numpy(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        done = progress - first[:, 1]
        left = (100 - progress) * (now - first[:, 0]) / done
    return np.where(begun & (done > 0) & (left > 0), left, np.nan)


def with_line(rows: pd.DataFrame, left_s: Floats, alone: Bools) -> Floats:
    """Draws of the time left, moved towards the line without history: (rows, draws).

    Their spread stays the model's. A job that only imports has no later phases about which priors
    could be wrong.
    """
    line = floats(rows, "line_s")
    alone = alone & rows["phase"].isin(PHASES).to_numpy(np.bool_) & ~np.isnan(line)
    alone = alone & ~rows["only_imports"].to_numpy(np.bool_) & ~shows_pace(rows)
    young = np.exp(-np.maximum(floats(rows, "lived_s"), 0.0) / _FIRST_MOMENTS_S)
    weight = np.where(alone, WEIGHT + (1 - WEIGHT) * young, 0.0)[:, None]
    log = np.log(np.maximum(left_s, 1e-3))
    middle = np.median(log, axis=1, keepdims=True)
    to = np.where(np.isnan(line), 1.0, np.maximum(line, 1.0))[:, None]
    return np.asarray(np.exp(log + weight * (np.log(to) - middle)), np.float64)
