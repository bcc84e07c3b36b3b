"""How each line of releases turns what it did into `progress`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from .pace import Floats

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Scale:
    """Where each phase begins and how many points it has; None where it has no part.

    `keeps_rows` says whether a task that goes back keeps its rows, `cap_bytes` how large a task
    may be, `create_time` whether the server sends one.
    """

    release: str
    pre: tuple[int, int]
    importing: tuple[int, int]
    sorting: tuple[int, int] | None
    index: tuple[int, int] | None
    keeps_rows: bool
    cap_bytes: float
    create_time: bool = False
    commits: bool = False
    resharding: tuple[int, int] | None = None


GIB: Final = 2.0**30
SCALES: Final = {
    scale.release: scale
    for scale in (
        Scale("2.4.5", (10, 30), (40, 30), None, None, True, 6 * GIB),
        Scale("2.4.17", (10, 30), (40, 30), None, (70, 20), True, 6 * GIB),
        Scale("2.5.10", (10, 30), (40, 30), (70, 10), (80, 10), True, 6 * GIB),
        Scale("2.6.3", (10, 30), (40, 30), (70, 10), (80, 10), True, 16 * GIB),
        Scale("2.6.19", (10, 30), (40, 30), (70, 10), (80, 10), False, 16 * GIB, True),
        Scale("3.0.1", (10, 30), (40, 30), (70, 10), (80, 10), False, 16 * GIB, True, True),
        Scale("v3", (10, 5), (50, 10), None, (60, 30), False, 16 * GIB, True, True, (15, 30)),
    )
}


def cut(points: int, done: Floats | Ints, of: float) -> Ints:
    """Whole points of a part that is done, by a single-precision quotient; all if there is none."""
    if of <= 0:
        return np.full(np.shape(done), points, np.int64)
    share = np.asarray(done, np.float32) / np.float32(of)
    return np.asarray(np.float32(points) * share).astype(np.int64)
