"""Draw the README's picture: a running job with one straggler, on light and on dark paper."""

from datetime import UTC
from pathlib import Path

from importstats import rewind
from importstats.plots import overview, theme
from importstats.plots.themes import ThemeName
from importstats.simulator import make_shape, simulate_job, with_stragglers
from importstats.store.frames import details_frame, jobs_frame

# The light one is shown by whoever shows one only, on whatever paper.
PICTURES: dict[ThemeName, tuple[str, str]] = {
    "light": ("overview.png", "#ffffff"),
    "dark": ("overview_dark.png", "none"),
}
SHAPE, FILES, SEED, PROGRESS_PCT = "steady", 200, 8, 66


def main() -> None:
    """Simulate the job, cut it at that progress, and draw it."""
    cluster, job = make_shape(SHAPE, files=FILES, seed=SEED)
    job = with_stragglers(job, ["slow"], seed=SEED)
    tables = simulate_job((cluster, job), seed=SEED, poll_every_s=20).tables(runs=True)
    jobs, details = jobs_frame(tables[0]), details_frame(tables[1])
    at = jobs.loc[jobs["progress_pct"] >= PROGRESS_PCT, "observed_at"].iloc[0]
    jobs, details = rewind(jobs, at), rewind(details, at, jobs)
    for name, (picture, paper) in PICTURES.items():
        with theme(name):
            figure = overview(jobs, details, at=at, zone=UTC)
            figure.set_size_inches(11, 6)
            figure.savefig(Path(__file__).with_name(picture), dpi=100, facecolor=paper)


if __name__ == "__main__":
    main()
