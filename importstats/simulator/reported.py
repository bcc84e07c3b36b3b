"""Jobs whose durations users have published, to compare simulated durations with them.

===================  ===============================================================================
job                  what was reported
===================  ===============================================================================
``billion_rows``     1,000,000,000 rows on 4 data nodes take 2 h 45 min to 4 h 26 min (milvus issue
                     50452).
``ten_million_rows`` 10,000,000 rows of 1024 dimensions take 274 to 392 s (milvus issue 50593).
``sixty_files``      60 files of together 8,250,000 rows take 8 min 20 s, and 237 to 377 s of that
                     come after the last file (milvus issue 50452).
===================  ===============================================================================

The sizes of files and machines are ours, as the reports lack them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from importstats.simulator.specs import ClusterSpec, FileSpec, JobSpec

_Reported = tuple[ClusterSpec, JobSpec]


def reported_job(name: str, *, seed: int = 0) -> tuple[ClusterSpec, JobSpec]:
    """The cluster and the job of a public report; the seed draws the pace of a run.

    Raises
    ------
    ValueError
        `name` is no key of :data:`REPORTED`.

    Examples
    --------
    >>> cluster, job = reported_job("billion_rows")
    >>> len(cluster.node_speeds), sum(file.rows for file in job.files)
    (4, 1000000000)
    """
    if name not in REPORTED:
        raise ValueError(f"no report {name!r}; there are {', '.join(REPORTED)}")
    rng = np.random.default_rng([seed, list(REPORTED).index(name)])
    return REPORTED[name](math.exp(0.18 * float(rng.standard_normal())))


def _equal_files(count: int, rows: int, bytes_per_row: int) -> tuple[FileSpec, ...]:
    return tuple(
        FileSpec((f"import/part-{place:05d}.parquet",), rows * bytes_per_row, rows)
        for place in range(count)
    )


def _billion_rows(pace: float) -> _Reported:
    four = (1.0,) * 4
    cluster = ClusterSpec(
        node_speeds=four, cores_per_node=16, index_speeds=four, index_slots_per_node=4
    )
    return cluster, JobSpec(
        collection_name="billion",
        files=_equal_files(1000, 1_000_000, 512),
        preimport_bytes_per_s=80e6 * pace,
        import_bytes_per_s=2.3e6 * pace,
        sort_rows_per_s=70e3 * pace,
        index_rows_per_s=8e3 * pace,
        shards=4,
    )


def _ten_million_rows(pace: float) -> _Reported:
    return ClusterSpec(index_speeds=(1.0,) * 4), JobSpec(
        collection_name="wide",
        files=_equal_files(40, 250_000, 4096),
        preimport_bytes_per_s=300e6 * pace,
        import_bytes_per_s=24e6 * pace,
        sort_rows_per_s=60e3 * pace,
        index_rows_per_s=9e3 * pace,
    )


def _sixty_files(pace: float) -> _Reported:
    return ClusterSpec(), JobSpec(
        collection_name="parts",
        files=_equal_files(60, 137_500, 3072),
        preimport_bytes_per_s=200e6 * pace,
        import_bytes_per_s=9.5e6 * pace,
        sort_rows_per_s=60e3 * pace,
        index_rows_per_s=7.6e3 * pace,
    )


#: The functions that make the jobs, by name; their argument is the pace relative to the usual one.
REPORTED: Final[Mapping[str, Callable[[float], _Reported]]] = {
    "billion_rows": _billion_rows,
    "ten_million_rows": _ten_million_rows,
    "sixty_files": _sixty_files,
}
