"""What the rules about clusters share: thresholds of waits, who holds slots, and wording."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from importstats.analysis.cluster_state import AT_WORK, ClusterState
from importstats.analysis.job_history import MINUTE
from importstats.text import printable

#: A shorter wait is only the pace at which coordinators hand out work.
LEAST_WAIT_S: Final = 20.0
WARNED_WAIT_S: Final = 2 * MINUTE


def slots_held(state: ClusterState) -> dict[str, int]:
    """How many slots of data nodes are held by compactions and index builds."""
    if not state.merges_roles:
        return {"compaction": 0, "index": 0}
    plans, builds = state.recent(state.compactions), state.recent(state.builds)
    is_sort = plans["kind"].astype("str").eq("SortCompaction")
    compacting = plans["state"].astype("str").isin(AT_WORK) & ~is_sort
    building = builds["state"].astype("str").isin(AT_WORK)
    return {"compaction": int(compacting.sum()), "index": int(building.sum())}


def setting_text(state: ClusterState, name: str) -> str:
    """A setting's name, with its value if that is known."""
    value = state.settings.get(name)
    return name if value is None else f"{name} (now {printable(value, 40)})"


def seconds(span: pd.Timedelta) -> float:
    """A duration in seconds."""
    return float(span.total_seconds())


def number(value: Any) -> float | None:
    """The number, or None if it is missing."""
    return None if value is None or pd.isna(value) else float(value)


def tasks_text(count: int) -> str:
    """``1 task``, ``2 tasks``."""
    return f"{count:,} task{'s' * (count != 1)}"


def segments_text(count: int) -> str:
    """``1 segment``, ``2 segments``."""
    return f"{count:,} segment{'s' * (count != 1)}"


def wait_verb(count: int) -> str:
    """``waits`` or ``wait``, to go with a count."""
    return "wait" if count != 1 else "waits"


def listed_text(parts: list[str]) -> str:
    """The parts as ``a, b and c``."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)
