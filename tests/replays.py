"""Public reports rebuilt as what the server answered, and what every analysis says of them."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import pandas as pd

from importstats import diagnose, eta, phases, report, stragglers, summary
from importstats.analysis.words import headline
from importstats.errors import ImportStatsError
from importstats.sources.answers import parse_response
from importstats.sources.snapshot import Snapshot
from importstats.store.frames import flatten_details, flatten_jobs

CASES = Path(__file__).parent / "cases" / "data"
URI = "http://milvus:19530"


def answers_of(name):
    """The ``(time, http status, answer)`` of a case by its number."""
    (path,) = CASES.glob(f"{name}-*.json")
    return [tuple(line) for line in json.loads(path.read_text())]


def minutes(*answers, start=datetime(2026, 5, 18, 8, tzinfo=UTC)):
    """Answers of a job, each a minute number and its data, as a case."""
    times = [start.timestamp() + 60 * minute for minute, _ in answers]
    return [
        (datetime.fromtimestamp(time, UTC).isoformat(), 200, {"code": 0, "data": data})
        for time, (_, data) in zip(times, answers, strict=True)
    ]


@dataclass(frozen=True)
class Replay:
    """A case replayed through the Python API."""

    answers: list

    @classmethod
    def load(cls, name):
        return cls(answers_of(name))

    @cached_property
    def snapshots(self):
        found = []
        for number, (time, _, answer) in enumerate(self.answers):
            body = answer if isinstance(answer, str) else json.dumps(answer)
            try:
                parsed = parse_response(body)
            except ImportStatsError:
                continue
            observed = datetime.fromisoformat(time)
            job_id = parsed.data.job_id or "7"
            found.append(Snapshot(observed, job_id, URI, parsed, snapshot_id=number + 1))
        return found

    @cached_property
    def jobs(self):
        return flatten_jobs(self.snapshots)

    @cached_property
    def details(self):
        return flatten_details(self.snapshots)

    @cached_property
    def phases(self):
        return phases(self.jobs)["phase"].tolist()

    @cached_property
    def findings(self):
        return diagnose(self.jobs, self.details).set_index("finding")

    @cached_property
    def texts(self):
        """All that the findings say, and what they advise."""
        return " ".join([*self.findings["message"], *self.findings["advice"]])

    @cached_property
    def eta(self):
        return eta(self.jobs, self.details).iloc[-1]

    @cached_property
    def headline(self):
        late = stragglers(self.details) if len(self.details) else None
        findings = self.findings.reset_index()
        return headline(self.jobs, eta(self.jobs, self.details), late, findings, zone=UTC)

    @cached_property
    def summary(self):
        return summary(self.jobs, self.details).iloc[0]

    @cached_property
    def report(self):
        at = self.jobs["observed_at"].max()
        return report(self.jobs, self.details, at=at, form="md", zone=UTC)

    def severity(self, finding):
        return str(self.findings.loc[finding, "severity"])

    @property
    def warned(self):
        """The findings that are more than information."""
        return set(self.findings.index[self.findings["severity"].astype("str").ne("info")])


def time_of(text):
    return pd.Timestamp(f"2026-05-18T{text}Z")
