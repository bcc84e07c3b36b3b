"""The end of a job: :func:`~importstats.analysis.forecast.ends.eta` and its parts."""

from importstats.analysis.forecast.ends import METHODS, eta

__all__ = ["METHODS", "eta"]
