"""Draw the picture of a cluster in why.md: the demo of why, from its begin to its end."""

from datetime import UTC
from pathlib import Path

from importstats.cli.demo_why import demo_cluster
from importstats.plots import draw_cluster
from importstats.simulator.watching import WatchedJob

SEED, POLL_S = 6, 15.0


def main() -> None:
    """Watch the simulated cluster until the job has ended, and draw what was seen."""
    watched = WatchedJob(*demo_cluster(), seed=SEED)
    while watched.poll(POLL_S):
        pass
    draw_cluster(watched.watch.frames(), zone=UTC).savefig(
        Path(__file__).with_suffix(".png"), dpi=100
    )


if __name__ == "__main__":
    main()
