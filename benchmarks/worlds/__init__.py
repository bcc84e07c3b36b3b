"""Fleets of import jobs made independently of the product's simulator, to measure it by.

:func:`fleet` draws clusters of up to eleven families, collections on each and a campaign of jobs
on each of these, lets the jobs run on a small model of what servers do (see :mod:`worlds.nodes` and
:mod:`worlds.job`), polls them as a recorder would, and returns frames as a store gives them beside
what really happened. Nothing of ``importstats.simulator`` is in it.

Seeds from 1 to 999 are for whatever is chosen (priors, thresholds, methods); those from 50,000 on
are for figures that are published, and nothing is ever chosen on them.

    >>> from worlds import fleet
    >>> made = fleet(seed=1, families=["tiny"], jobs=3)
    >>> len(made.truth), sorted(set(made.jobs["state"]))[0]
    (3, 'Completed')
"""

from .families import FAMILIES
from .fleet import TROUBLES, Fleet, fleet, one_job

__all__ = ["FAMILIES", "TROUBLES", "Fleet", "fleet", "one_job"]
