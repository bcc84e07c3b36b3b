"""What is believed of an import job before any of it was seen, as numbers shipped in a file.

``importstats/analysis/forecast/priors.json`` is made by ``python benchmarks/fit_priors.py`` from
simulated jobs; its
docstring says of which. :mod:`importstats.analysis.forecast.model` says what the numbers mean.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from importstats.arrays import Floats
from importstats.names import WORK_PHASES

#: What the model knows of the size of a job.
SIZES: Final = ("file_size_bytes", "total_rows", "detail_count")
#: The variables of the model: ``log(1 + seconds)`` of each phase and ``log(1 + size)``.
VARIABLES: Final = (*WORK_PHASES, *SIZES)
#: The estimates of the pace of a phase, see :func:`importstats.analysis.forecast.timeline.observe`.
PACES: Final = ("mean_s", "recent_s", "schedule_s")
#: Borders of the fraction of a phase between which errors are taken to be alike.
BINS: Final = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97)
#: The quantiles that are predicted.
QUANTILES: Final = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class Priors:
    """The parameters of the ETA model.

    Attributes
    ----------
    mean : ndarray of float64, (9,)
        Of :data:`VARIABLES` over all jobs.
    fleet, cluster, collection, job : ndarray of float64, (9, 9)
        Covariance of what is common to all jobs that can be seen, to those of one cluster, to
        those of one collection, and to none.
    drift_bias, drift : ndarray of float64, (6, 12)
        Per phase and stratum, mean and variance of the log of the time the phase would take at the
        pace of its rest, against what it takes.
    pace_bias : ndarray of float64, (6, 12, 3)
        Per phase, stratum and pace, the mean error of the log of the estimate.
    pace_cov : ndarray of float64, (6, 12, 3, 3)
        The covariance of these errors.
    calibration : ndarray of float64, (2, 6, 12, 3)
        Without and with history, per phase and stratum: how many of its own standard deviations
        above the model's median the 10, 50 and 90 % quantiles of the true remaining time lie, on
        the log scale.
    """

    mean: Floats
    fleet: Floats
    cluster: Floats
    collection: Floats
    job: Floats
    drift_bias: Floats
    drift: Floats
    pace_bias: Floats
    pace_cov: Floats
    calibration: Floats

    def to_json(self) -> str:
        """As text, rounded to 4 decimals."""
        rounded = {name: np.round(value, 4).tolist() for name, value in vars(self).items()}
        return json.dumps({"variables": VARIABLES, "bins": BINS, **rounded}, indent=None) + "\n"


#: One stratum for a phase that has not moved yet, and one per bin of its fraction.
STRATA: Final = len(BINS) + 2


def stratum(fraction: Floats, moved: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """The stratum of a snapshot: 0 before the phase has moved, else 1 + its bin.

    Examples
    --------
    >>> stratum(np.array([0.0, 0.0, 0.4, 1.0]), np.array([False, True, True, True]))
    array([ 0,  1,  6, 11])
    """
    return np.where(moved, 1 + np.digitize(fraction, BINS), 0)


def parse_priors(text: str) -> Priors:
    """The priors in a text that :meth:`Priors.to_json` wrote.

    Raises
    ------
    ValueError
        It is of other variables or bins than this release's.
    """
    content: dict[str, Any] = json.loads(text)
    if tuple(content.pop("variables")) != VARIABLES or tuple(content.pop("bins")) != BINS:
        raise ValueError("these priors are of another release: fit them anew")
    return Priors(**{name: np.array(value, np.float64) for name, value in content.items()})


@cache
def shipped_priors() -> Priors:
    """The priors of this release.

    Examples
    --------
    >>> shipped_priors().job.shape
    (9, 9)
    """
    return parse_priors(
        resources.files("importstats.analysis.forecast").joinpath("priors.json").read_text()
    )
