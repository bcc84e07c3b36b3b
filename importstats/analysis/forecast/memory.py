"""The mean times of phases that a cluster's metrics remember from the jobs it ran.

``milvus_datacoord_import_job_latency`` (2.4.13 and later; a histogram of milliseconds by
``import_stage``) counts each job of the cluster since its coordinator began, whatever its
collection and size. So it says little about one job, but it helps if none of these jobs is in the
store.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from importstats.analysis.cluster_state import Cluster
from importstats.analysis.forecast.priors import PHASES, Priors
from importstats.arrays import Floats, Ints

LATENCY: Final = "datacoord_import_job_latency"
_FINISHING: Final = PHASES.index("Finishing")
#: The metric's stages that make up a phase of the model; the last stage must be there.
_STAGES: Final = {
    "PreImporting": ("preimport",),
    "Importing": ("import",),
    "Sorting": ("stats",),
    "Finishing": ("stats", "build_index"),
}


@dataclass(frozen=True)
class Memory:
    """The mean times of the phases of one cluster's earlier jobs.

    Attributes
    ----------
    known_s : float
        When the metrics were read, in seconds since 1970.
    mean_s, jobs : ndarray of float64, (phases,)
        For each of :data:`~importstats.analysis.forecast.priors.PHASES`, the mean time in seconds,
        NaN if none is known, and the number of jobs.

    Examples
    --------
    >>> labels = ['{"import_stage": "import"}'] * 2 + ['{"import_stage": "build_index"}'] * 2
    >>> gauges = pd.DataFrame({"observed_at": pd.Timestamp("2026-05-18", tz="UTC"),
    ...     "process": "http://proxy:9091", "labels": labels,
    ...     "name": [f"{LATENCY}_sum", f"{LATENCY}_count"] * 2, "value": [90e3, 3.0, 800e3, 2.0]})
    >>> memory = Memory.from_gauges(gauges, pd.Timestamp("2026-05-18 00:01", tz="UTC"))
    >>> memory.mean_s.tolist(), memory.jobs.tolist()
    ([nan, 30.0, nan, 400.0, nan], [0.0, 3.0, 0.0, 2.0, 0.0])
    """

    known_s: float
    mean_s: Floats
    jobs: Floats

    @classmethod
    def from_gauges(cls, gauges: pd.DataFrame, at: pd.Timestamp) -> Memory | None:
        """The memory at a time, or at the first poll after it; None before any job was indexed.

        How fast jobs were read and written says little about how long their indexes took, so that
        alone is not used.

        Parameters
        ----------
        gauges : DataFrame
            Of one server.
        at : Timestamp
            When the job of interest was first seen, since what its own phases add later says
            nothing new.
        """
        own = gauges[gauges["name"].isin([f"{LATENCY}_sum", f"{LATENCY}_count"])]
        if not len(own):
            return None
        at_s = max(at, own["observed_at"].min())
        then = own[own["observed_at"] <= at_s].sort_values("observed_at", kind="stable")
        last = then.drop_duplicates(["process", "name", "labels"], keep="last")
        stage = last["labels"].map(lambda labels: json.loads(labels).get("import_stage"))
        value = last["value"].groupby([stage, last["name"]]).sum()

        def counts(stage: str) -> float:
            return float(value.get((stage, f"{LATENCY}_count"), 0.0))

        mean, jobs = np.full(len(PHASES), np.nan), np.zeros(len(PHASES))
        for phase, stages in _STAGES.items():
            parts = [(value.get((each, f"{LATENCY}_sum"), 0.0), counts(each)) for each in stages]
            # 2.4 sorts nothing.
            known = [(total, count) for total, count in parts if count > 0]
            if known and parts[-1][1] > 0:
                place = PHASES.index(phase)
                mean[place] = sum(total / count for total, count in known) / 1000
                jobs[place] = min(count for _, count in known)
        return cls(at_s.timestamp(), mean, jobs) if jobs[_FINISHING] else None


def cluster_memories(seen: pd.DataFrame, cluster: Cluster) -> dict[int, Memory]:
    """The clusters' memories from when each job was first seen, by job number.

    Parameters
    ----------
    seen : DataFrame
        Of :func:`importstats.analysis.forecast.observed.observe`.
    cluster : ClusterFrames
        See :func:`~importstats.store.cluster_frames.load_cluster`.
    """
    gauges = cluster.gauges
    servers = gauges["source_uri"].astype("str")
    first = seen.drop_duplicates("job")[["job", "source_uri", "observed_at"]]
    found = {
        int(job): Memory.from_gauges(gauges[servers.eq(str(uri))], at)
        for job, uri, at in first.itertuples(index=False)
    }
    return {job: memory for job, memory in found.items() if memory is not None}


def condition_on_memory(
    priors: Priors, memory: Memory, rows: Ints, mean: Floats, covariance: Floats
) -> None:
    """Condition in place on the mean phase times of a cluster's earlier jobs.

    The mean over `n` jobs has the cluster's common part and ``1 / n`` of the jobs' own variance.
    The logarithm of a mean of log-normal times is above the mean of the logarithms by half of their
    variance, or less for few jobs, and its variance is that of Fenton (1960).

    Parameters
    ----------
    priors : Priors
    memory : Memory
    rows : ndarray of int64
        Rows of jobs of that cluster, if none of its jobs is known otherwise.
    mean, covariance : ndarray of float64, (rows, variables) and (rows, variables, variables)
        The belief about each row's job.
    """
    own = priors.collection + priors.job
    known = np.flatnonzero(~np.isnan(memory.mean_s))
    jobs = memory.jobs[known]
    variance = np.diag(own)[known]
    seen = np.log1p(memory.mean_s[known]) - variance / 2 * (1 - 1 / jobs)
    noise = own[np.ix_(known, known)] / np.sqrt(jobs[:, None] * jobs[None, :])
    noise[np.diag_indices(len(known))] = np.log1p(np.expm1(variance) / jobs) + _LEAST_VARIANCE
    for row in rows.tolist():
        shared = (covariance[row] - own)[:, known]
        gain = np.linalg.solve(shared[known] + noise, shared.T).T
        mean[row] += gain @ (seen - mean[row, known])
        moved = covariance[row] - gain @ shared.T
        covariance[row] = (moved + moved.T) / 2


#: A cluster's jobs change with time, even if very many are counted (ours).
_LEAST_VARIANCE: Final = 0.1
