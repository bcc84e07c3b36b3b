"""The width of the interval, so that it holds what it promises.

A model is surer than it should be. On recordings of families that it was not fitted on, errors say
by how much its interval has to be stretched in each phase: split conformal prediction (Vovk,
Gammerman & Shafer, *Algorithmic Learning in a Random World*, 2005).

A cluster that differs is followed online: with every ended job the interval of the next is
stretched if the job's snapshots lay outside of theirs too often, and shrunk if too seldom (Gibbs &
Candes, *Adaptive Conformal Inference Under Distribution Shift*, NeurIPS 2021)::

    log(stretch) += step * (share outside - 0.2)
"""

from __future__ import annotations

from typing import Final

import numpy as np

from importstats.arrays import Bools, Floats

#: How much the interval is stretched, below and above the median, without and with history.
STRETCH: Final = {
    "Pending": ((1.0, 1.0), (1.0, 1.0)),
    "PreImporting": ((1.0, 1.0), (1.0, 1.0)),
    "Importing": ((1.0, 1.0), (1.0, 1.0)),
    "Sorting": ((1.0, 1.0), (1.0, 1.0)),
    "IndexBuilding": ((1.0, 1.0), (1.0, 1.0)),
    "Committing": ((1.0, 1.0), (1.0, 1.0)),
}
_MISSES: Final = 0.2
_STEP: Final = 0.6
_BOUNDS: Final = (0.5, 3.0)


def stretched(quantiles: Floats, phase: list[str], history: Bools, stretch: Floats) -> Floats:
    """The 10, 50 and 90 % quantiles stretched on the log scale around the median, (rows, 3)."""
    table = np.array([STRETCH[name] for name in phase]).reshape(-1, 2, 2)
    factor = table[np.arange(len(phase)), history.astype(np.int64)] * stretch[:, None]
    log = np.log(np.maximum(quantiles, 1e-6))
    low = log[:, 1] + factor[:, 0] * (log[:, 0] - log[:, 1])
    high = log[:, 1] + factor[:, 1] * (log[:, 2] - log[:, 1])
    return np.asarray(np.exp(np.column_stack([low, log[:, 1], high])), np.float64)


def next_stretch(stretch: float, outside: float) -> float:
    """The stretch after a job of whose snapshots such a share lay outside of their interval.

    Examples
    --------
    >>> next_stretch(1.0, 0.2), next_stretch(1.0, 1.0) > 1, next_stretch(1.0, 0.0) < 1
    (1.0, True, True)
    """
    return float(np.clip(stretch * np.exp(_STEP * (outside - _MISSES)), *_BOUNDS))
