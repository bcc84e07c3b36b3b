"""Draw the picture of a cluster in why.md: the demo of why, from its begin to its end."""

from datetime import UTC
from pathlib import Path

from importstats.cli.demo_why import demo_cluster
from importstats.plots import draw_cluster
from importstats.simulator import SimulatedCluster
from importstats.simulator.watching import SimulatedWatch

SEED, POLL_S = 6, 15.0


def main() -> None:
    """Watch the simulated cluster until the job has ended, and draw what was seen."""
    spec, job = demo_cluster()
    cluster = SimulatedCluster(spec, seed=SEED)
    cluster.advance(0.0)
    job_id = cluster.create(job)
    watch = SimulatedWatch(cluster)
    while not cluster.describe(job_id).ended:
        cluster.advance(cluster.now_s + POLL_S)
        watch.look()
    draw_cluster(watch.frames(), zone=UTC).savefig(Path(__file__).with_suffix(".png"), dpi=100)


if __name__ == "__main__":
    main()
