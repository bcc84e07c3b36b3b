"""What the benchmarks have in common: fleets of both kinds, scores by group, verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from importstats.analysis.baselines import Method

JOB = ["source_uri", "job_id"]
SNAPSHOT = [*JOB, "snapshot_id"]
QUANTILES = ["remaining_p10_s", "remaining_p50_s", "remaining_p90_s"]
#: Seeds below are for choosing; those from here on are for what is published.
FRESH = 50_000


def scored_snapshots(
    jobs: pd.DataFrame, truth: pd.DataFrame, phases: pd.DataFrame, per_job: int
) -> pd.DataFrame:
    """Up to so many snapshots of each job before its true end, evenly spread, with the truth."""
    rows = jobs[[*SNAPSHOT, "observed_at"]].astype(dict.fromkeys(JOB, "str"))
    rows = rows.merge(truth[truth["end"].notna()], on=JOB)
    rows["true_remaining_s"] = (rows["end"] - rows["observed_at"]).dt.total_seconds()
    rows = rows[rows["true_remaining_s"] > 0].sort_values([*JOB, "observed_at"])
    place = rows.groupby(JOB).cumcount()
    size = rows.groupby(JOB)["snapshot_id"].transform("size")
    kept = (place * per_job // size) != ((place - 1) * per_job // size)
    rows = rows[kept | (size <= per_job)].sort_values("observed_at")
    starts = phases[phases["phase"].ne("Completed")].sort_values("start")
    rows = pd.merge_asof(
        rows, starts[[*JOB, "start", "phase"]], left_on="observed_at", right_on="start", by=JOB
    )
    lived = (rows["observed_at"] - rows["created_at"]).dt.total_seconds()
    rows["life"] = lived / (lived + rows["true_remaining_s"])
    return rows.drop(columns="start").sort_values([*JOB, "observed_at"], ignore_index=True)


def predictions(
    scored: pd.DataFrame,
    jobs: pd.DataFrame,
    details: pd.DataFrame,
    methods: Mapping[str, Method],
) -> pd.DataFrame:
    """What each method says at the scored snapshots, one row per method and snapshot."""
    parts = []
    for name, method in methods.items():
        said = method(jobs, details).astype(dict.fromkeys(JOB, "str"))
        columns = [column for column in QUANTILES if column in said]
        part = scored.merge(said[[*SNAPSHOT, *columns]], on=SNAPSHOT, how="left", validate="1:1")
        parts.append(part.assign(method=name))
    table = pd.concat(parts, ignore_index=True)
    for column in QUANTILES:
        if column not in table:
            table[column] = np.nan
    table["method"] = pd.Categorical(table["method"], list(methods))
    missed = (table["remaining_p50_s"] - table["true_remaining_s"]).abs()
    table["relative_error"] = missed / table["true_remaining_s"]
    ratio = table["remaining_p50_s"].clip(lower=1) / table["true_remaining_s"].clip(lower=1)
    table["log_error"] = np.abs(np.log(ratio))
    low, high = table["remaining_p10_s"], table["remaining_p90_s"]
    table["width"] = (high - low) / table["true_remaining_s"]
    inside = table["true_remaining_s"].between(low, high).astype("float64")
    table["inside"] = inside.where(low.notna() & high.notna())
    return table


def scores(table: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Scores of each method where it answers, over all or by columns."""
    answered = table[table["remaining_p50_s"].notna()]
    grouped = answered.groupby([*by, "method"], observed=True)
    every = table.groupby([*by, "method"], observed=True).size()
    found = pd.DataFrame(
        {
            "snapshots": grouped.size(),
            "jobs": grouped.apply(lambda rows: len(rows[JOB].drop_duplicates())),
            "median": grouped["relative_error"].median(),
            "p90": grouped["relative_error"].quantile(0.9),
            "log": grouped["log_error"].median(),
            "bias": grouped.apply(
                lambda rows: (rows["remaining_p50_s"] / rows["true_remaining_s"] - 1).median()
            ),
            "holds": grouped["inside"].mean(),
            "width": grouped["width"].mean(),
            "median_width": grouped["width"].median(),
        }
    )
    found["silent"] = 1 - found["snapshots"] / every
    return found.reset_index()


def bootstrap(
    table: pd.DataFrame, of: Callable[[pd.DataFrame], float], rounds: int = 200, seed: int = 0
) -> tuple[float, float]:
    """The 95 % interval of a number over clusters drawn anew, and jobs of each, with replacement.

    Jobs of a cluster share its luck, so drawing jobs alone would promise too much (the two-stage
    bootstrap; Davison & Hinkley, *Bootstrap Methods and their Application*, 1997, section 3.8).
    """
    rng = np.random.default_rng(seed)
    jobs = table.groupby(JOB, observed=True).indices
    clusters: dict[str, list[npt.NDArray[np.int64]]] = {}
    for (uri, _), places in jobs.items():
        clusters.setdefault(str(uri), []).append(places)
    groups = list(clusters.values())
    if not groups:
        return np.nan, np.nan

    def drawn() -> npt.NDArray[np.int64]:
        chosen = [groups[i] for i in rng.integers(len(groups), size=len(groups))]
        return np.concatenate(
            [of_[i] for of_ in chosen for i in rng.integers(len(of_), size=len(of_))]
        )

    values = [of(table.iloc[drawn()]) for _ in range(rounds)]
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)


def coverage(table: pd.DataFrame, by: str) -> pd.DataFrame:
    """How often the interval holds in each group, ``holds``, and its 95 % interval."""
    said = table.dropna(subset=["inside"])[[*JOB, by, "inside"]]
    rows = [
        (name, part["inside"].mean(), *bootstrap(part, lambda rows: float(rows["inside"].mean())))
        for name, part in said.groupby(by, observed=True)
    ]
    return pd.DataFrame(rows, columns=[by, "holds", "low", "high"])


def difference(table: pd.DataFrame, ours: str, other: str) -> tuple[float, float, float, int]:
    """Our median error less another's where both answer, and its 95 % interval."""
    wide = table[table["method"].isin([ours, other])].pivot_table(
        index=SNAPSHOT, columns="method", values="relative_error", observed=True
    )
    if ours not in wide or other not in wide:
        return np.nan, np.nan, np.nan, 0
    wide = wide.dropna().reset_index()
    if wide.empty:
        return np.nan, np.nan, np.nan, 0

    def less(rows: pd.DataFrame) -> float:
        return float(rows[ours].median() - rows[other].median())

    return (less(wide), *bootstrap(wide, less), len(wide))


def jumps(table: pd.DataFrame) -> pd.DataFrame:
    """Per method and job: the worst jump of the predicted end, and whether it settles.

    A jump is how many times longer or shorter the whole job is said to take than one scored
    snapshot before. A job is settled if from the middle of its life on the predicted end stays
    within 20 % of its duration from the true one.
    """
    rows = table[table["remaining_p50_s"].notna()].sort_values(["method", *JOB, "observed_at"])
    lived = (rows["observed_at"] - rows["created_at"]).dt.total_seconds()
    total = lived + rows["remaining_p50_s"]
    true = lived + rows["true_remaining_s"]
    step = np.log(total.clip(lower=1)).groupby(
        [rows["method"], *(rows[k] for k in JOB)], observed=True
    )
    rows = rows.assign(
        jump=np.exp(step.diff().abs()),
        within=(total / true - 1).abs() <= 0.2,
    )
    late = rows[rows["life"] >= 0.5]
    keys = ["method", *JOB]
    found = pd.DataFrame(
        {
            "worst_jump": rows.groupby(keys, observed=True)["jump"].max(),
            "settled": late.groupby(keys, observed=True)["within"].all(),
        }
    )
    return found.reset_index()


@dataclass(frozen=True)
class Limit:
    """One line that must hold.

    Attributes
    ----------
    name, found, most, least
        What was found, and between what it must be.
    highest, lowest
        What it may be by chance, at most and at least, if that was estimated.
    """

    name: str
    found: float
    most: float | None = None
    least: float | None = None
    highest: float | None = None
    lowest: float | None = None

    @property
    def verdict(self) -> str:
        """Whether it holds, or fails but perhaps by chance; what is not known does not hold."""
        if _between(self.found, self.found, self):
            return "holds"
        low = self.found if self.lowest is None else self.lowest
        high = self.found if self.highest is None else self.highest
        chance = np.isfinite(self.found) and _between(low, high, self)
        return "within chance" if chance else "FAILS"

    def line(self) -> str:
        """As a row of a Markdown table."""
        asked = " and ".join(
            f"{word} {bound:g}"
            for word, bound in (("at least", self.least), ("at most", self.most))
            if bound is not None
        )
        return f"| {self.name} | {self.found:.3g} | {asked} | {self.verdict} |"


def _between(low: float, high: float, limit: Limit) -> bool:
    """Whether a number from `low` to `high` may be within the limit."""
    above = limit.least is None or high >= limit.least
    below = limit.most is None or low <= limit.most
    return bool(np.isfinite(low) and np.isfinite(high) and above and below)


def verdicts(limits: Sequence[Limit]) -> str:
    """All lines as a Markdown table."""
    return "\n".join(
        ["| what | found | asked | |", "|---|---|---|---|", *(limit.line() for limit in limits)]
    )


def standing(ratio: float) -> str:
    """Where we stand beside another, given our time divided by its time."""
    return "ahead" if ratio < LEVEL[0] else "level" if ratio <= LEVEL[1] else "behind"


# Ratios between which nobody would notice, nor a busy machine tell.
LEVEL = (0.95, 1.05)


def markdown(table: pd.DataFrame, digits: Mapping[str, int] | None = None) -> str:
    """A frame as a Markdown table."""
    shown = table.copy()
    for name in shown.select_dtypes("number"):
        places = (digits or {}).get(name, 0 if pd.api.types.is_integer_dtype(shown[name]) else 3)
        shown[name] = ["" if pd.isna(value) else f"{value:,.{places}f}" for value in shown[name]]
    head = "| " + " | ".join(map(str, shown.columns)) + " |"
    rows = ["| " + " | ".join(map(str, row)) + " |" for row in shown.itertuples(index=False)]
    return "\n".join([head, "|---" * len(shown.columns) + "|", *rows])
