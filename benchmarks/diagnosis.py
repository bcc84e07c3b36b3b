"""Does the diagnosis cry wolf, and does it see one? ``python benchmarks/diagnosis.py``.

Jobs of :mod:`worlds` are diagnosed as they run, with the recordings of the earlier jobs of their
server. Healthy ones (nothing injected, no task went back, no queue, no file that delays the end by
a tenth) are looked at eight times and at the end of each phase: a warning or worse is false. Jobs
with a trouble are looked at every minute or two from the first poll on that was made after its
beginning, since nobody can see it sooner; what is counted is whether, and after how long, a finding
names it that was not there before. A third of a server's jobs have
one, so most of what is known of earlier jobs is healthy, as on servers that people use. A pause of
the indexes is counted if a job of its collection had completed before.

Beside it stands an oracle that knows when the server would have reported each task had nothing gone
wrong, and names a trouble once three tasks are overdue, or all that have not ended if they are
fewer. A pause of the indexes it names once progress would have risen. No rule that goes by the ends
of files, or by progress, can be expected to be quicker. It needs no ends to compare with; how many
jobs had shown none when their trouble began is counted as well, and how many of the oracle's names
come within the time that is asked, and of these how many of the diagnosis.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from measures import FRESH, JOB, Limit, markdown, verdicts
from worlds import FAMILIES, TROUBLES, Fleet, fleet

from importstats import diagnose, rewind

OUTPUT = Path(__file__).parent / "results"
LOOKS = 8
#: The share of jobs with a trouble in a fleet of such.
TROUBLED = 1 / 3
#: After how many minutes it is looked at, from the first poll within the trouble.
MINUTES = (1, 2, 4, 6, 8, 10, 12, 15, 20, 25, 30, 45, 60, 90, 120, 180)
#: How many tasks must be overdue for the oracle; one alone may be slow.
OVERDUE = 3
DELAYS = ("median_delay_min", "slowest_min", "oracle_median_min")
#: The findings of which one has to name a trouble.
NAMED_BY = {
    "stuck": {"stalled", "one_file_holds_up"},
    "slow_node": {"one_file_holds_up", "slow_node", "throughput_collapsed"},
    "no_slot": {"no_free_slot"},
    "collapse": {"throughput_collapsed", "stalled", "one_file_holds_up"},
    "index_pause": {"waiting_for_index", "waiting_for_sorting", "stalled"},
    "cluster_pause": {
        "stalled",
        "waiting_for_index",
        "waiting_for_sorting",
        "throughput_collapsed",
        "no_free_slot",
    },
}
#: Which share has to be found, and within how many minutes (none: before it is over).
ASKED = {
    "cluster_pause": (0.8, 25),
    "no_slot": (0.9, 6),
    "index_pause": (0.9, 15),
    "stuck": (0.4, None),
    "slow_node": (0.7, None),
    "collapse": (0.7, None),
}


@dataclass(frozen=True)
class Known:
    """One job's frames, and the jobs frame of the others of its server."""

    jobs: pd.DataFrame
    details: pd.DataFrame
    others: pd.DataFrame

    @classmethod
    def of(cls, made: Fleet, job: pd.Series) -> Known:
        jobs, details = made.job(job["source_uri"], job["job_id"])
        history, _ = made.cluster(job["source_uri"])
        others = history[history["job_id"].ne(job["job_id"])]
        return cls(_alone(jobs), _alone(details), _alone(others))

    def diagnosed(self, at: pd.Timestamp) -> pd.DataFrame:
        """What is found in the job at a time, with what was known of its server by then."""
        seen = rewind(self.jobs, at)
        if seen.empty:
            return pd.DataFrame(columns=["finding", "severity", "message"])
        return diagnose(seen, rewind(self.details, at), at=at, history=rewind(self.others, at))


def _alone(frame: pd.DataFrame) -> pd.DataFrame:
    """The same without the categories of the rest of the fleet, which cost time at every look."""
    named = frame.select_dtypes("category")
    return frame.assign(**{name: named[name].cat.remove_unused_categories() for name in named})


def warns(found: pd.DataFrame) -> pd.Series:
    """Which findings warn of the job; a gap in the recording is there, whatever the job does."""
    return found["severity"].ne("info") & found["finding"].ne("collector_gap")


def healthy(family: str, seed: int, jobs: int, signal: str) -> pd.DataFrame:
    """The warnings of healthy jobs: one row per job, with what was said falsely if anything."""
    made = fleet(seed, [family], jobs, signal=signal, troubles=0)
    rows = []
    for _, job in made.truth[made.truth["healthy"]].iterrows():
        phases = made.phases[made.phases[JOB].eq(job[JOB]).all(axis=1)]
        known = Known.of(made, job)
        polls = known.jobs["observed_at"]
        looks = polls.iloc[np.linspace(0, len(polls) - 1, LOOKS + 1).astype(int)[1:]]
        ends = phases["end"].dropna() - pd.Timedelta(1, "s")
        warned: dict[str, str] = {}
        for at in sorted({*looks, *ends}):
            found = known.diagnosed(at)
            for row in found[warns(found)].itertuples():
                warned.setdefault(str(row.finding), f"{at:%m-%d %H:%M:%S} {row.message}")
        rows.append({**job[[*JOB, "family", "release"]], "warned": warned})
    return pd.DataFrame(rows)


def troubled(family: str, seed: int, jobs: int, signal: str) -> pd.DataFrame:
    """One row per job with a trouble: whether and when it was named."""
    made = fleet(seed, [family], round(jobs / TROUBLED), signal=signal, troubles=TROUBLED)
    rows = []
    for _, job in made.truth[made.truth["trouble"].ne("")].iterrows():
        known = Known.of(made, job)
        polls = known.jobs["observed_at"]
        start, end = job["trouble_start"], job["trouble_end"]
        end = polls.iloc[-1] if pd.isna(end) else min(end, polls.iloc[-1])
        seen = polls[(polls > start) & (polls <= end)]
        # Neither who looks away nor a trouble that passes within minutes can be held against it.
        first = seen.min()
        if len(seen) < 3 or end - first < pd.Timedelta(5, "min"):
            continue
        lasts_min = (end - first).total_seconds() / 60
        before = known.diagnosed(start)
        already = set(before.loc[warns(before), "finding"].astype("str"))
        named = np.nan
        for minutes in MINUTES:
            if minutes > lasts_min:
                break
            found = known.diagnosed(first + pd.Timedelta(minutes, "min"))
            warned = set(found.loc[warns(found), "finding"].astype("str"))
            if warned & NAMED_BY[job["trouble"]] - already:
                named = float(minutes)
                break
        rows.append(
            {
                **job[[*JOB, "family", "release", "trouble", "poll_s"]],
                "lasts_min": lasts_min,
                "earlier": completed_before(made, job),
                "named_after_min": named,
                **known_to_oracle(made, job, first, lasts_min),
            }
        )
    return pd.DataFrame(rows)


def known_to_oracle(
    made: Fleet, job: pd.Series, first: pd.Timestamp, lasts_min: float
) -> dict[str, object]:
    """After how long the oracle names a trouble, and whether a task had ended before it."""
    mine = made.files[JOB].eq(job[JOB]).all(axis=1)
    tasks = made.files[mine].drop_duplicates("task")
    due = (tasks["due_at"] - first).dt.total_seconds() / 60
    reported = (tasks["reported_at"] - first).dt.total_seconds() / 60
    reported = reported.fillna(np.inf)
    after = np.nan
    rise = (job["rise_due_at"] - first).total_seconds() / 60
    for minutes in MINUTES:
        left = int((reported > minutes).sum())
        overdue = int(((due <= minutes) & (reported > minutes)).sum())
        indexing = job["trouble"] == "index_pause"
        if minutes > lasts_min or (left == 0 and not indexing):
            break
        if minutes >= rise if indexing else overdue >= min(OVERDUE, left):
            after = float(minutes)
            break
    ended_before = tasks["reported_at"] < job["trouble_start"]
    return {"oracle_after_min": after, "nothing_ended": not ended_before.any()}


def completed_before(made: Fleet, job: pd.Series) -> int:
    """How many jobs of its collection had completed before it was created."""
    truth = made.truth
    same = truth["source_uri"].eq(job["source_uri"])
    same &= truth["collection_name"].eq(job["collection_name"])
    return int((same & (truth["end"] < job["created_at"])).sum())


def limits(calm: pd.DataFrame, rough: pd.DataFrame) -> list[Limit]:
    false = calm["warned"].map(bool).mean() if len(calm) else np.nan
    found = [Limit("false warnings per healthy job", false, 0.01)]
    for trouble, (share, within) in ASKED.items():
        mine = rough[rough["trouble"].eq(trouble)] if len(rough) else rough
        if trouble == "index_pause" and len(mine):
            mine = mine[mine["earlier"] > 0]
        if len(mine) == 0:
            continue
        late = np.inf if within is None else float(within)
        # One that was over sooner could not be found later: it counts if it was found at all.
        named = mine["named_after_min"].le(late).mean()
        when = "before it is over" if within is None else f"within {within} min"
        known = " with history" if trouble == "index_pause" else ""
        found.append(Limit(f"{trouble}{known} ({len(mine)}) named {when}", named, None, share))
    return found


def by_trouble(rough: pd.DataFrame) -> pd.DataFrame:
    """How many troubles of each kind were named, and what the oracle says of them."""
    troubles = rough.groupby("trouble", observed=True)
    named, oracle = troubles["named_after_min"], troubles["oracle_after_min"]
    asked = rough["trouble"].map({name: within or np.inf for name, (_, within) in ASKED.items()})
    asked = asked.astype("float64")
    in_time = rough["oracle_after_min"].le(asked)
    both = in_time & rough["named_after_min"].le(asked)
    table = pd.DataFrame(
        {
            "jobs": troubles.size(),
            "named": named.count(),
            "median_delay_min": named.median(),
            "slowest_min": named.max(),
            "by_oracle": oracle.count(),
            "by_oracle_in_time": in_time.groupby(rough["trouble"], observed=True).sum(),
            "of_these_in_time": both.groupby(rough["trouble"], observed=True).sum(),
            "oracle_median_min": oracle.median(),
            "nothing_ended": troubles["nothing_ended"].sum(),
        }
    )
    return table.reset_index()


def report(calm: pd.DataFrame, rough: pd.DataFrame, signal: str, seed: int) -> str:
    warned = calm[calm["warned"].map(bool)]
    parts = [
        f"# The diagnosis on {len(calm)} healthy jobs and {len(rough)} with a trouble, of "
        f"{calm['family'].nunique()} families, signal `{signal}`",
        f"Seed {seed:,}. {len(warned)} of {len(calm)} healthy jobs are warned of.",
        "## What must hold",
        verdicts(limits(calm, rough)),
    ]
    if len(rough):
        parts += ["## Troubles", markdown(by_trouble(rough), dict.fromkeys(DELAYS, 0))]
        cells = rough.assign(named=rough["named_after_min"].notna())
        shown = cells.pivot_table(
            index="family",
            columns="trouble",
            values="named",
            aggfunc=lambda named: f"{named.sum()} of {len(named)}",
            fill_value="",
        )
        parts += ["## By family", markdown(shown.reset_index())]
    if len(warned):
        lines = [
            f"* {row.family} {row.release}, {finding}: {message}"
            for row in warned.itertuples()
            for finding, message in row.warned.items()
        ]
        parts += ["## False warnings", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=18, help="how many of each family")
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=list(FAMILIES))
    parser.add_argument("--seed", type=int, default=FRESH)
    parser.add_argument("--signal", choices=["files", "smooth"], default="files")
    parser.add_argument("--smoke", action="store_true", help="a few seconds: nothing is written")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if options.smoke:
        options.jobs, options.families, options.seed = 3, ["standalone", "graphics"], 1
    began = time.monotonic()
    kind = {"seed": options.seed, "jobs": options.jobs, "signal": options.signal}
    with ProcessPoolExecutor(options.workers) as pool:
        calm = pd.concat(pool.map(partial(healthy, **kind), options.families), ignore_index=True)
        rough = pd.concat(pool.map(partial(troubled, **kind), options.families), ignore_index=True)
    assert set(rough.get("trouble", [])) <= set(TROUBLES)
    text = report(calm, rough, options.signal, options.seed)
    if not options.smoke:
        options.output.mkdir(parents=True, exist_ok=True)
        name = "diagnosis" if options.signal == "files" else f"diagnosis_{options.signal}"
        (options.output / f"{name}.md").write_text(text)
    print(text)
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
