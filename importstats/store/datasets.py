"""Recordings to try things on: nine small stores, with simulated jobs and a real server's.

They lie in the source's folder ``data``, whose ``README.md`` says what each shows and how it
was made.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from importstats.errors import StoreError
from importstats.store.frames import load_details, load_jobs

_PACKAGE = Path(__file__).parent.parent


class Recording(NamedTuple):
    """A recording's frames: ``jobs, details = datasets.load(...)``.

    Attributes
    ----------
    jobs, details : DataFrame
        See :mod:`importstats.store.frames`; `details` has runs.
    """

    jobs: pd.DataFrame
    details: pd.DataFrame


def names() -> list[str]:
    """The names of all recordings, sorted.

    Raises
    ------
    StoreError
        This installation has no recordings.

    Examples
    --------
    >>> names()[:5]
    ['failed', 'healthy', 'index_2_4', 'index_bound', 'many_jobs']
    """
    return sorted(marker.parent.name for marker in _folder().glob("*/_importstats.json"))


def path(name: str) -> Path:
    """The folder of a recording's store, for :class:`~importstats.store.SnapshotStore` and others.

    Raises
    ------
    ValueError
        No recording has this name.
    StoreError
        This installation has no recordings.

    Examples
    --------
    >>> path("index_bound").name
    'index_bound'
    """
    if name not in names():
        raise ValueError(f"no recording {name!r}; there are {', '.join(names())}")
    return _folder() / name


def load(name: str) -> Recording:
    """A recording's frames. Raises the errors that :func:`path` raises.

    Examples
    --------
    >>> jobs, details = load("index_bound")
    >>> jobs["state"].iloc[-1], len(details["file"].unique())
    ('Completed', 60)
    """
    store = path(name)
    return Recording(load_jobs(store), load_details(store, runs=True))


def _folder() -> Path:
    """The recordings' folder: in an installed package, or beside it in a source checkout."""
    for folder in (_PACKAGE / "data", _PACKAGE.parent / "data"):
        if (folder / "README.md").exists():
            return folder
    raise StoreError(
        f"no recordings at {_PACKAGE / 'data'}; get the folder data of the source of importstats"
    )
