"""What a cluster remembers of its jobs, from metrics with round numbers."""

import numpy as np
import pandas as pd
import pytest
from clusters import at, cluster, gauge

from importstats.analysis.forecast.memory import (
    LATENCY,
    Memory,
    cluster_memories,
    condition_on_memory,
)
from importstats.analysis.forecast.priors import PHASES, Priors


def latency(stage, total_s, count, *, second=0, process="p"):
    """The two gauges of a stage: milliseconds in all, and of how many jobs."""
    return [
        (second, second, gauge(f"{LATENCY}_sum", 1000.0 * total_s, process, import_stage=stage)),
        (second, second, gauge(f"{LATENCY}_count", float(count), process, import_stage=stage)),
    ]


def memory(*rows, second=0):
    gauges = cluster(gauges=[each for row in rows for each in row]).gauges
    return Memory.from_gauges(gauges, at(second))


def known(found):
    pairs = zip(PHASES, found.mean_s, found.jobs, strict=True)
    return {phase: (mean, jobs) for phase, mean, jobs in pairs if jobs}


def test_a_phase_has_the_mean_of_its_stages_and_the_jobs_of_the_least():
    found = memory(
        latency("preimport", 40, 4),
        latency("import", 90, 3),
        latency("stats", 20, 2),
        latency("build_index", 100, 1),
    )
    assert known(found) == {
        "PreImporting": (10.0, 4.0),
        "Importing": (30.0, 3.0),
        "Sorting": (10.0, 2.0),
        "Finishing": (110.0, 1.0),
    }
    assert found.known_s == at(0).timestamp()
    assert np.isnan(found.mean_s[PHASES.index("Committing")])


@pytest.mark.parametrize(
    ("rows", "finishing"),
    [
        # 2.4 sorts nothing.
        ([latency("build_index", 100, 1)], (100.0, 1.0)),
        ([latency("stats", 0, 0), latency("build_index", 100, 1)], (100.0, 1.0)),
        # Without indexes what was sorted says nothing of the rest.
        ([latency("stats", 20, 2)], None),
        ([latency("stats", 20, 2), latency("build_index", 0, 0)], None),
        ([], None),
    ],
)
def test_nothing_is_remembered_before_a_job_was_indexed(rows, finishing):
    found = memory(*rows)
    assert (None if found is None else known(found)["Finishing"]) == finishing


def test_the_processes_of_a_cluster_are_summed_each_by_its_last_look():
    found = memory(
        latency("build_index", 100, 1),
        latency("build_index", 300, 2, second=5),
        latency("build_index", 100, 2, process="q"),
        latency("build_index", 9000, 9, second=11),
        second=10,
    )
    assert known(found) == {"Finishing": (100.0, 4.0)}
    assert found.known_s == at(10).timestamp()


def test_a_look_after_the_job_was_first_seen_is_better_than_none():
    found = memory(
        latency("build_index", 100, 1, second=20), latency("build_index", 900, 3, second=30)
    )
    assert known(found) == {"Finishing": (100.0, 1.0)}
    assert found.known_s == at(20).timestamp()


def test_each_job_has_the_memory_of_its_own_server():
    frames = cluster(gauges=latency("build_index", 100, 1))
    seen = pd.DataFrame(
        {"job": [3, 3, 4], "source_uri": ["u", "u", "v"], "observed_at": [at(5), at(9), at(5)]}
    )
    found = cluster_memories(seen, frames)
    assert {job: each.known_s for job, each in found.items()} == {3: at(5).timestamp()}


@pytest.mark.parametrize(
    ("jobs", "moved", "left"),
    [
        # Of one job: as uncertain as that job is, 1 + 0.1 of the 1.1 that clusters share.
        (1, 0.5, 2.1 - 0.55),
        (1e9, 1.1 / 1.2, 2.1 - 1.1 * 1.1 / 1.2),
    ],
)
def test_a_mean_of_many_jobs_moves_a_belief_further_than_one_job(jobs, moved, left):
    count = len(PHASES) + 1
    one = np.eye(count)
    priors = Priors(np.zeros(count), 0.6 * one, 0.5 * one, 0.5 * one, 0.5 * one, np.ones(5))
    mean_s, of_jobs = np.full(len(PHASES), np.nan), np.zeros(len(PHASES))
    mean_s[1], of_jobs[1] = np.expm1(4.0), jobs
    mean, covariance = np.zeros((2, count)), np.array([2.1 * one, 2.1 * one])
    known_memory = Memory(0.0, mean_s, of_jobs)
    condition_on_memory(priors, known_memory, np.array([1]), mean, covariance)
    # The log of a mean is above the mean of logs by half the variance, but not for a single job.
    assert mean[1] == pytest.approx([0, moved * (4 - (1 - 1 / jobs) / 2), 0, 0, 0, 0])
    assert np.diag(covariance[1]) == pytest.approx([2.1, left, 2.1, 2.1, 2.1, 2.1])
    assert (mean[0] == 0).all()
    assert (covariance[0] == 2.1 * one).all()


def test_how_single_jobs_go_together_says_nothing_of_a_mean_of_very_many():
    count = len(PHASES) + 1
    one = np.eye(count)
    mean_s, of_jobs = np.full(len(PHASES), np.nan), np.zeros(len(PHASES))
    mean_s[1:4], of_jobs[1:4] = np.expm1(4.0), 1e9
    found = []
    for together in (0.0, 0.4):
        own = one + together * (1 - one)
        priors = Priors(np.zeros(count), one, 0 * one, own, 0 * one, np.ones(5))
        mean, covariance = np.zeros((1, count)), np.array([own + one])
        condition_on_memory(priors, Memory(0.0, mean_s, of_jobs), np.array([0]), mean, covariance)
        found.append(mean[0])
    assert found[0] == pytest.approx(found[1])
