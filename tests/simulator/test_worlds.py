"""The worlds of the simulator: families, public durations and campaigns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from importstats.simulator import (
    FAMILIES,
    REPORTED,
    ClusterSpec,
    make_campaign,
    make_shape,
    reported_job,
    simulate_job,
)


@pytest.mark.parametrize(
    ("name", "low_s", "high_s"),
    [
        ("billion_rows", 2.75 * 3600, 4 * 3600 + 26 * 60),
        ("ten_million_rows", 274, 392),
        ("sixty_files", 500, 500),
    ],
)
def test_public_durations_lie_in_what_is_simulated(name, low_s, high_s):
    truths = [whole(reported_job(name, seed=seed), seed) for seed in range(16)]
    took = np.array([truth.duration_s for truth in truths])
    assert took.min() <= 1.05 * low_s
    assert took.max() >= 0.95 * high_s
    assert low_s * 0.8 < np.median(took) < high_s * 1.2
    if name == "sixty_files":
        tails = [(truth.end - truth.files["finished_at"].max()).total_seconds() for truth in truths]
        assert min(tails) <= 1.1 * 237
        assert max(tails) >= 0.95 * 377
        assert 237 < np.median(tails) < 377


def whole(shape, seed=0):
    """The truth of a job that is watched to its end, but seldom."""
    return simulate_job(shape, seed=seed, poll_every_s=1800).truth


def test_reports_are_named():
    assert set(REPORTED) == {"billion_rows", "ten_million_rows", "sixty_files"}
    with pytest.raises(ValueError, match="no report"):
        reported_job("none")


def lasts_s(shape, family="steady_cluster", seeds=4, **options):
    return [
        whole(make_shape(shape, seed=seed, family=family, **options), seed).duration_s
        for seed in range(seeds)
    ]


def test_tiny_jobs_take_seconds_and_huge_ones_most_of_a_day():
    tiny = [s for family in FAMILIES for s in lasts_s("tiny", family)]
    assert 5 < np.median(tiny) < 40
    huge = lasts_s("huge", files=20_000, seeds=1)
    assert 8 * 3600 < huge[0] < 48 * 3600


def test_a_queue_before_the_job_lasts_18_minutes_to_2_hours():
    for seed in range(6):
        phases = whole(make_shape("waiting", seed=seed, files=6), seed).phases.set_index("phase")
        waited = (phases.loc["Pending", "end"] - phases.loc["Pending", "start"]).total_seconds()
        assert 18 * 60 <= waited <= 2 * 3600 + 4


def test_pauses_cost_their_length():
    for shape in ("paused", "index_paused"):
        for seed in range(3):
            cluster, job = make_shape(shape, seed=seed, files=12)
            calm = replace(cluster, load=(), index_load=())
            paused = [
                later[0] - earlier[0]
                for earlier, later in zip(
                    cluster.load + cluster.index_load,
                    (cluster.load + cluster.index_load)[1:],
                    strict=False,
                )
                if earlier[1] == 0
            ]
            assert paused
            extra = whole((cluster, job), seed).duration_s - whole((calm, job), seed).duration_s
            assert extra <= sum(paused) + 60


def test_equal_lognormal_and_pareto_files():
    def spread(family, seed):
        sizes = np.array(
            [
                f.size_bytes
                for f in make_shape("steady", files=300, seed=seed, family=family)[1].files
            ]
        )
        return sizes.max() / np.median(sizes)

    spreads = {name: np.median([spread(name, seed) for seed in range(5)]) for name in FAMILIES}
    assert spreads["equal_shards"] < 1.1
    assert 1.5 < spreads["steady_cluster"] < 15
    assert spreads["elastic_cloud"] > 8


def test_loads_differ_by_family():
    night, day = [], []
    for seed in range(5):
        load = dict(make_shape("day_and_night", seed=seed)[0].load)
        night.append(max(load.values()))
        day.append(min(load.values()))
    assert min(night) > 0.95
    assert max(day) < 0.55
    neighbours = [len(make_shape("noisy_neighbours", seed=seed)[0].node_load) for seed in range(5)]
    assert min(neighbours) >= 1
    added = [make_shape("added_nodes", seed=seed)[0].added_nodes for seed in range(5)]
    assert all(added)


@pytest.mark.parametrize("change", ["index", "cluster", None])
def test_a_campaign_changes_in_the_middle(change):
    campaign = make_campaign(seed=3, jobs=8, change=change)
    simulations = campaign.simulate(seed=3, polls_per_job=30)
    assert len(simulations) == 8
    assert len({simulation.polls[0].state.collection_name for simulation in simulations}) == 1
    starts = [simulation.truth.phases["start"].min() for simulation in simulations]
    assert starts == sorted(starts)
    assert all(20 <= len(simulation.polls) <= 45 for simulation in simulations)

    def pace(simulation, phase):
        spans = simulation.truth.phases.set_index("phase")
        seconds = (spans.loc[phase, "end"] - spans.loc[phase, "start"]).total_seconds()
        return seconds / simulation.truth.files["total_rows"].sum()

    ratios = {}
    for phase in ("Importing", "IndexBuilding"):
        paces = [pace(simulation, phase) for simulation in simulations]
        ratio = np.median(paces[4:]) / np.median(paces[:4])
        ratios[phase] = max(ratio, 1 / ratio)
    if change is None:
        assert max(ratios.values()) < 1.8
        assert campaign.changed_at is None
    elif change == "index":
        assert ratios["IndexBuilding"] > 1.8 > ratios["Importing"]
    else:
        assert min(ratios.values()) > 1.8


def test_a_campaign_is_decided_by_its_seed():
    assert make_campaign(seed=5, change="index") == make_campaign(seed=5, change="index")
    assert make_campaign(seed=5) != make_campaign(seed=6)
    loaded = make_campaign(seed=1, family="shared_warehouse")
    assert len({cluster.load for cluster, _ in loaded.jobs}) > 4
    assert isinstance(loaded.jobs[0][0], ClusterSpec)
    assert pd.Timestamp(loaded.starts[1]) > pd.Timestamp(loaded.starts[0])
