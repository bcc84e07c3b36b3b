"""A server whose job stands still, and how it is posted to."""

from __future__ import annotations

from collections.abc import Callable

import requests

from importstats.simulator import (
    ClusterSpec,
    FileSpec,
    JobSpec,
    SimulatorServer,
)

IMPORT = "/v2/vectordb/jobs/import"
JOB = JobSpec(
    collection_name="products",
    files=tuple(FileSpec((f"in/{i}.parquet",), 2**30, 10**6) for i in range(6)),
)
Post = Callable[..., requests.Response]


def still(**options: object) -> SimulatorServer:
    """A server with one job whose clock only moves by hand."""
    return SimulatorServer(ClusterSpec(), [JOB], acceleration=0, **options)  # type: ignore[arg-type]
