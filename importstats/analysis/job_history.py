"""One job's snapshots and phases until now, and what a rule finds in them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from importstats.analysis.phase import phases, with_phase
from importstats.names import END_PHASES, JOB_KEY

MINUTE: Final = 60.0
HOUR: Final = 3600.0

#: Phases in which tasks work on files: hashing them, with Import V3, or writing their rows.
FILE_PHASES: Final = ("Resharding", "Importing")

Severity = Literal["info", "warning", "critical"]


@dataclass(frozen=True)
class Finding:
    """What a rule finds in a job, with the numbers it rests on."""

    job: JobHistory
    finding: str
    severity: Severity
    since: pd.Timestamp
    message: str
    advice: str
    evidence: dict[str, Any]


@dataclass(frozen=True)
class JobHistory:
    """One job's answered snapshots until now, its phases, and how it was polled."""

    key: tuple[str, str]
    snapshots: pd.DataFrame
    runs: pd.DataFrame
    now: pd.Timestamp
    poll_s: float

    @property
    def phase(self) -> str:
        """The phase the job was last seen in, Unknown if none was."""
        return str(self.runs["phase"].iloc[-1]) if len(self.runs) else "Unknown"

    @property
    def ended(self) -> bool:
        """Whether that is an end."""
        return self.phase in END_PHASES

    @property
    def phase_since(self) -> pd.Timestamp:
        """When that phase began."""
        since: pd.Timestamp = self.runs["start"].iloc[-1]
        return since

    @property
    def last_seen(self) -> pd.Timestamp:
        """When the job was last seen."""
        seen: pd.Timestamp = self.snapshots["observed_at"].iloc[-1]
        return seen

    def seconds_since(self, time: pd.Timestamp) -> float:
        """Until the job was last seen."""
        return float((self.last_seen - time).total_seconds())


def job_histories(jobs: pd.DataFrame, at: pd.Timestamp | None) -> list[JobHistory]:
    """The history of each job of a jobs frame, as known at a time."""
    answered = jobs[jobs["error"].isna()] if "error" in jobs else jobs
    if not len(answered):
        return []
    told = with_phase(answered).sort_values("observed_at", kind="stable")
    runs = phases(answered)
    runs_of = dict(iter(runs.groupby(JOB_KEY, observed=True)))
    histories = []
    for key, snapshots in told.groupby(JOB_KEY, observed=True):
        seen = snapshots["observed_at"]
        gaps = seen.diff().dt.total_seconds().to_numpy()[1:]
        histories.append(
            JobHistory(
                (str(key[0]), str(key[1])),
                snapshots,
                runs_of.get(key, runs.iloc[:0]),
                seen.iloc[-1] if at is None else at,
                # A collector may poll less often in a long phase, which is usual as well.
                float(np.quantile(gaps, 0.9)) if len(gaps) else math.nan,
            )
        )
    return histories
