"""States of jobs as the server sent them, each as an index into the few names there are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from importstats.arrays import Bools, Ints


class States(NamedTuple):
    """The state of each snapshot as an index into `names`.

    Names are in lower case, ``""`` if there is none (the server's word for that is None).

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
        # A missing state has the code -1, which is the last name.
        return cls(state.cat.codes.to_numpy().astype(np.int64), [*names, ""])

    def is_in(self, names: Collection[str]) -> Bools:
        """Whether each state is one of `wanted`."""
        return np.array([name in names for name in self.names])[self.places]

    def coded(self, codes: Mapping[str, int], *, otherwise: int) -> Ints:
        """The value for each snapshot's state."""
        return np.array([codes.get(name, otherwise) for name in self.names])[self.places]
