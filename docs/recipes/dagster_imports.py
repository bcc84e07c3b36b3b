"""Dagster: a collection as an asset, which is there when its bulk import has completed.

The materialization carries rows, duration and the report, so that Dagster's page of the asset shows
how each import went; the check fails if rows are missing. Address and token are read from
MILVUS_URI and MILVUS_TOKEN.
"""

from datetime import UTC, datetime

import dagster as dg

import importstats
from importstats import Collector, ImportClient, SnapshotStore

STORE = "importstats-store"


class ImportJobConfig(dg.Config):
    """Which job a run waits for."""

    job_id: str
    store: str = STORE
    expected_rows: int | None = None


@dg.asset(check_specs=[dg.AssetCheckSpec("all_rows_arrived", asset="imported_collection")])
def imported_collection(
    context: dg.AssetExecutionContext, config: ImportJobConfig
) -> dg.MaterializeResult:
    """Collect the job until it ends; a failed job is a failure that no retry mends."""
    store = SnapshotStore(config.store)
    with ImportClient() as client:
        collector = Collector(
            client,
            store,
            jobs=[config.job_id],
            on_saved=lambda job: context.log.info(f"snapshot {job.snapshots}: {job.state}"),
        )
        [job] = collector.run().values()
    if job.state != "Completed":
        raise dg.Failure(
            f"import job {config.job_id}: {job.reason or job.error}", allow_retries=False
        )
    jobs = importstats.load_jobs(store, job_id=config.job_id)
    details = importstats.load_details(store, job_id=config.job_id, runs=True)
    [total] = importstats.summary(jobs, details).to_dict("records")
    expected = config.expected_rows if config.expected_rows is not None else total["total_rows"]
    report = importstats.report(jobs, details, at=datetime.now(UTC), form="md")
    return dg.MaterializeResult(
        metadata={
            "rows": int(total["rows"]),
            "duration_s": float(total["duration_s"]),
            "rows_per_s": float(total["rows_per_s"]),
            "report": dg.MetadataValue.md(report),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="all_rows_arrived",
                passed=bool(total["rows"] == expected),
                metadata={"rows": int(total["rows"]), "expected": int(expected)},
            )
        ],
    )


definitions = dg.Definitions(assets=[imported_collection])
