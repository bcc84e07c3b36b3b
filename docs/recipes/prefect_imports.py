"""Prefect: a flow that waits for a bulk import and keeps its report as an artifact.

Address and token are read from MILVUS_URI and MILVUS_TOKEN.
"""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact

import importstats
from importstats import Collector, ImportClient, SnapshotStore


class ImportFailedError(Exception):
    """The import job failed; the message has the server's reason."""


@task
def wait_for_import(job_id: str, store: str) -> None:
    """Collect the job until it ends. A server that is away is asked again until it is back."""
    logger = get_run_logger()
    with ImportClient() as client:
        collector = Collector(
            client,
            SnapshotStore(store),
            jobs=[job_id],
            on_saved=lambda job: logger.info("snapshot %s: %s", job.snapshots, job.state),
        )
        [job] = collector.run().values()
    if job.state != "Completed":
        raise ImportFailedError(f"import job {job_id}: {job.reason or job.error}")


@task
def keep_report(job_id: str, store: str) -> str:
    """The report as Markdown, also shown in Prefect's pages."""
    report = importstats.report(
        importstats.load_jobs(store, job_id=job_id, gaps=True),
        importstats.load_details(store, job_id=job_id, runs=True),
        at=datetime.now(UTC),
        form="md",
    )
    create_markdown_artifact(report, key=f"import-{job_id}")
    return report


@flow
def import_and_report(job_id: str, store: str = "importstats-store") -> str:
    """Wait for the job, then keep its report, also of one that failed."""
    waited = wait_for_import(job_id, store, return_state=True)
    report = keep_report(job_id, store)
    waited.result()
    return report
