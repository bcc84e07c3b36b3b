"""The straight line through ``progress``, which counts where the collection has no history.

A line is wrong by construction: the phases share the points of progress by no measure of time. But
it needs no prior, and without history the priors of the later phases may be wrong by a multiple
either way. So the two are mixed geometrically, each counting half (the combination of forecasts:
Bates & Granger, Operational Research Quarterly 20, 1969), up to the last long phase, of which the
pace says more.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from importstats.arrays import Bools, Floats, floats

#: How much the line counts in the phases up to index building, and in that until it has moved; the
#: rest is the model's.
WEIGHT: Final = 0.5
_PHASES: Final = ("PreImporting", "Importing", "Sorting")


def line_s(seen: pd.DataFrame) -> Floats:
    """What is left at each row of a timeline at the mean pace of progress since the job's queue.

    ``(100 - p) * (t - t0) / (p - p0)``, from the first snapshot that is out of the queue; NaN until
    progress has moved from there.
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
    """Draws of what is left, drawn towards the line where the job has no history: (rows, draws).

    A job that only imports has no later phases that priors could be wrong about.
    """
    line = floats(rows, "line_s")
    alone = alone & ~rows["only_imports"].to_numpy(np.bool_)
    early = rows["phase"].isin(_PHASES).to_numpy(np.bool_)
    unmoved = rows["phase"].eq("IndexBuilding").to_numpy(np.bool_) & ~(floats(rows, "gained") > 0)
    weight = np.where((early | unmoved) & alone & ~np.isnan(line), WEIGHT, 0.0)[:, None]
    other = np.log(np.where(np.isnan(line), 1.0, np.maximum(line, 1.0)))[:, None]
    log = np.log(np.maximum(left_s, 1e-3))
    return np.asarray(np.exp((1 - weight) * log + weight * other), np.float64)
