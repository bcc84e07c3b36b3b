"""What is believed of an import job before any of it was seen, as numbers shipped in a file.

``priors.json`` is made by ``python benchmarks/fit_priors.py`` from simulated jobs; its docstring
says of which. :mod:`importstats.analysis.forecast.levels` says what the numbers mean.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

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
        Of :data:`VARIABLES`.
    fleet, cluster, collection, job : ndarray of float64, (variables, variables)
        Covariance of what is common to all jobs that can be seen, to those of one cluster, to
        those of one collection, and to none.
    pace_variance : ndarray of float64, (phases,)
        Variance of the logarithm of a phase's time, by its pace, when half of it is done.
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
        It is of other phases than this release's.
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
