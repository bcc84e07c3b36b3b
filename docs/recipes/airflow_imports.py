"""Airflow: wait for a bulk import without a worker, and keep a report of it.

``ImportJobSensor`` gives its worker back at once. The triggerer asks the server every ten seconds,
stores each answer, and wakes the task when the job has ended. Address and token are read from
MILVUS_URI and MILVUS_TOKEN where the triggerer runs: no secret goes through Airflow's database.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import BaseSensorOperator, dag, task
from airflow.sdk.exceptions import AirflowFailException
from airflow.triggers.base import BaseTrigger, TriggerEvent

import importstats
from importstats import Collector, ImportClient, SnapshotStore, UnreachableError


class ImportJobTrigger(BaseTrigger):
    """Fires when an import job has ended, with its state and reason."""

    def __init__(self, job_id: str, store: str, poll_s: float = 10.0) -> None:
        super().__init__()
        self.job_id = job_id
        self.store = store
        self.poll_s = poll_s

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The trigger as Airflow's database keeps it."""
        kind = type(self)
        options = {"job_id": self.job_id, "store": self.store, "poll_s": self.poll_s}
        return f"{kind.__module__}.{kind.__qualname__}", options

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until the job has ended."""
        while True:
            ended = await asyncio.to_thread(self.polled)
            if ended is not None:
                yield TriggerEvent(ended)
                return
            await asyncio.sleep(self.poll_s)

    def polled(self) -> dict[str, str] | None:
        """One snapshot, stored; state and reason if the job has ended."""
        try:
            with ImportClient() as client:
                store = SnapshotStore(self.store)
                [job] = Collector(client, store, jobs=[self.job_id], once=True).run().values()
        except UnreachableError as error:
            self.log.warning("%s; asking again in %g s", error, self.poll_s)
            return None
        if not job.ended:
            return None
        return {"state": job.state or "unknown", "reason": job.reason or str(job.error or "")}


class ImportJobSensor(BaseSensorOperator):
    """Waits for an import job; fails at once, without retries, if the job has failed.

    Parameters
    ----------
    job_id : str
    store : str
        Where the snapshots go: a bucket, if worker and triggerer do not share a disk.
    poll_s : float
        Seconds between two polls.
    """

    template_fields = ("job_id", "store")

    def __init__(self, *, job_id: str, store: str, poll_s: float = 10.0, **options: Any) -> None:
        super().__init__(**options)
        self.job_id = job_id
        self.store = store
        self.poll_s = poll_s

    def execute(self, context: Any) -> None:
        """Leave the waiting to the triggerer."""
        trigger = ImportJobTrigger(self.job_id, self.store, self.poll_s)
        self.defer(trigger=trigger, method_name="finish", timeout=timedelta(seconds=self.timeout))

    def finish(self, context: Any, event: dict[str, str]) -> str:
        """The job's id, for the next task."""
        if event["state"] != "Completed":
            raise AirflowFailException(
                f"import job {self.job_id}: {event['state']}, {event['reason']}"
            )
        return self.job_id


@dag(schedule=None, params={"job_id": "", "store": "importstats-store"}, catchup=False)
def import_and_report() -> None:
    """Wait for the job of the run's parameters, then write its report beside the store."""

    @task
    def write_report(job_id: str, store: str) -> str:
        page = importstats.report(
            importstats.load_jobs(store, job_id=job_id, gaps=True),
            importstats.load_details(store, job_id=job_id, runs=True),
            at=datetime.now(UTC),
        )
        target = Path(f"import-{job_id}.html")
        target.write_text(page, encoding="utf-8")
        return str(target)

    waited = ImportJobSensor(
        task_id="wait_for_import",
        job_id="{{ params.job_id }}",
        store="{{ params.store }}",
        timeout=24 * 3600,
    )
    write_report(waited.output, "{{ params.store }}")


imports = import_and_report()
