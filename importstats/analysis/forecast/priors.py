"""The belief about an import job before any of it was seen, as numbers from a file.

``python benchmarks/fit_priors.py`` makes ``priors.json`` from the simulated jobs that its docstring
lists. :mod:`importstats.analysis.forecast.levels` explains what the numbers mean.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

import numpy as np

from importstats.arrays import Floats

#: The phases whose times have a size, in their order. (A wait in Pending has none.) Finishing is
#: Sorting and IndexBuilding together, of which Sorting is a part.
PHASES: Final = ("PreImporting", "Importing", "Sorting", "Finishing", "Committing")
#: The variables of the model: ``log(1 + seconds)`` of each phase, and the log of the job's bytes.
VARIABLES: Final = (*PHASES, "bytes")
#: The quantiles that are predicted.
QUANTILES: Final = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class Priors:
    """The parameters of the ETA model.

    Attributes
    ----------
    mean : ndarray of float64, (variables,)
        The mean of each of the :data:`VARIABLES`.
    fleet, cluster, collection, job : ndarray of float64, (variables, variables)
        Covariance of the part that all jobs in sight share, that jobs of one cluster share, that
        jobs of one collection share, and that no jobs share.
    pace_variance : ndarray of float64, (phases,)
        Variance of the logarithm of a phase's time, from its pace, when half of it is done.
    """

    mean: Floats
    fleet: Floats
    cluster: Floats
    collection: Floats
    job: Floats
    pace_variance: Floats

    def to_json(self) -> str:
        """The priors as JSON, rounded to 4 decimals."""
        rounded = {name: np.round(value, 4).tolist() for name, value in vars(self).items()}
        return json.dumps({"phases": PHASES, **rounded}, indent=None) + "\n"


def parse_priors(text: str) -> Priors:
    """The priors in a text that :meth:`Priors.to_json` wrote.

    Raises
    ------
    ValueError
        It has other phases than this release has.
    """
    content: dict[str, Any] = json.loads(text)
    if tuple(content.pop("phases", ())) != PHASES:
        raise ValueError("these priors are of another release: fit them anew")
    return Priors(**{name: np.array(value, np.float64) for name, value in content.items()})


@cache
def shipped_priors() -> Priors:
    """The priors of this release.

    Examples
    --------
    >>> shipped_priors().job.shape
    (6, 6)
    """
    return parse_priors(resources.files(__package__).joinpath("priors.json").read_text())
