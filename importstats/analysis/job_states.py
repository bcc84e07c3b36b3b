"""States of jobs as they were sent, each snapshot's as a place among the few names there are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from importstats.arrays import Bools, Ints


class States(NamedTuple):
    """The state of each snapshot as a place in `names`.

    Names are in lower case, ``""`` where there is none (the server's word for none is None).

    Examples
    --------
    >>> state = States.from_jobs(pd.DataFrame({"state": ["Importing", None, "Failed", "None"]}))
    >>> state.is_in(["failed", ""]).tolist()
    [False, True, True, True]
    """

    places: Ints
    names: list[str]

    @classmethod
    def from_jobs(cls, jobs: pd.DataFrame) -> States:
        """The states of a jobs frame."""
        state = jobs["state"].astype("category")
        names = [str(name).lower() for name in state.cat.categories]
        names = ["" if name == "none" else name for name in names]
        # A missing one is at -1, the last.
        return cls(state.cat.codes.to_numpy().astype(np.int64), [*names, ""])

    def is_in(self, names: Collection[str]) -> Bools:
        """Whether each is one of these."""
        return np.array([name in names for name in self.names])[self.places]

    def coded(self, codes: Mapping[str, int], *, otherwise: int) -> Ints:
        """The code of each."""
        return np.array([codes.get(name, otherwise) for name in self.names])[self.places]
