"""Standstills of a job while it writes rows: nothing has moved for an unusually long time.

If files are known, they show more (:mod:`importstats.analysis.silence`).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import pandas as pd

from importstats.analysis.habits import TIMES_LONGEST
from importstats.analysis.job_history import FILE_PHASES, HOUR, MINUTE, Finding, JobHistory
from importstats.text import format_duration, format_percent

_LEAST_S: Final = 10 * MINUTE
_LEAST_POLLS: Final = 3
# While files are counted, their sizes are unknown; those before may have been smaller.
_OF_ANY_SIZE: Final = 3.0
# After this many moves a job has a habit of its own.
_OWN_MOVES: Final = 3


def stalled(job: JobHistory, factor: float, *, files_tell: bool) -> Finding | None:
    """Nothing moved for far longer than ever in this phase, in this job or in earlier ones."""
    if job.phase not in ("PreImporting", "Planning", *FILE_PHASES) or job.files.only_deletes:
        return None
    idle_s, longest_s, moves = job.standstill
    limit_s = job.limit_s
    # Before there are rows, progress counts files whatever their size: the last may take any time.
    habit = moves >= _OWN_MOVES and job.phase in FILE_PHASES and not files_tell
    known = not math.isnan(limit_s)
    if known and job.phase == "PreImporting":
        limit_s = max(_OF_ANY_SIZE * limit_s, HOUR)
    if known:
        limit_s = max(limit_s, TIMES_LONGEST * np.nan_to_num(longest_s), _LEAST_S)
    else:
        limit_s = max(factor * longest_s, _LEAST_S) if habit else 6 * HOUR
    if not idle_s > max(limit_s, (_LEAST_POLLS if known else 10) * job.poll_s):
        return None
    before = f", {idle_s / longest_s:.0f} times longer than before" if habit else ""
    # Only time can show it if the job has not moved before; a restore may wait for hours.
    sure = habit and not job.files.restore
    return Finding(
        job,
        "stalled",
        "critical" if sure else "warning",
        job.last_seen - pd.Timedelta(seconds=idle_s),
        f"Nothing has moved in {job.phase} for {format_duration(idle_s)}{before}{job.usual_text}, "
        f"at {format_percent(job.last['progress_pct'])}",
        {
            "idle_s": idle_s,
            "longest_before_s": longest_s,
            "limit_s": limit_s,
            "usual_s": job.usual_s,
            "phase": job.phase,
        },
    )
