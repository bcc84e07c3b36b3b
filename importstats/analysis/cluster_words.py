"""Thresholds of waits, slots held and wording that the rules about clusters share."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from importstats.analysis.cluster_state import ClusterState, entries_at_work
from importstats.analysis.job_history import MINUTE
from importstats.text import printable

#: A shorter wait is only the pace at which coordinators hand out work.
LEAST_WAIT_S: Final = 20.0
WARNED_WAIT_S: Final = 2 * MINUTE


def slots_held(state: ClusterState) -> dict[str, int]:
    """The number of the data nodes' slots that compactions and index builds hold, by kind."""
    if not state.merges_roles:
        return {"compaction": 0, "index": 0}
    plans = entries_at_work(state.recent(state.compactions))
    compacting = ~plans["kind"].astype("str").eq("SortCompaction")
    building = entries_at_work(state.recent(state.builds))
    return {"compaction": int(compacting.sum()), "index": len(building)}


def setting_text(state: ClusterState, name: str) -> str:
    """A setting's name, with its value if that is known."""
    value = state.settings.get(name)
    return name if value is None else f"{name} (now {printable(value, 40)})"


def number(value: Any) -> float | None:
    """The number, or None if it is missing."""
    return None if value is None or pd.isna(value) else float(value)


def wait_verb(count: int) -> str:
    """``waits`` or ``wait``, to go with a count."""
    return "wait" if count != 1 else "waits"


def listed_text(parts: list[str]) -> str:
    """The parts as ``a, b and c``."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)
