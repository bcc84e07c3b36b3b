"""Files: every file's states over time, one row each."""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.text import Annotation

from importstats.analysis.causes import failure_causes
from importstats.analysis.cut import rewind
from importstats.analysis.gaps import find_gaps
from importstats.analysis.ranking import rank_files, verdict_text
from importstats.analysis.samples import FileSamples
from importstats.arrays import timestamps
from importstats.plots.file_states import STATE_WORDS, draw_counts, draw_rows, state_swatches
from importstats.plots.hatching import paper
from importstats.plots.style import (
    OTHER_COLOR,
    VERDICT_COLORS,
    add_legend_above,
    axes_or_new,
    common_folder,
    days,
    hatch_gaps,
    label,
    leave_empty,
    require_one_job,
    set_time_axis,
    set_title,
    short_name,
    width_in,
    write_beside,
    zone_at,
)
from importstats.text import format_duration

# How many files can each have a row and a name of their own.
_NAMED_FILES: Final = 60
_ROW_IN: Final = 0.2
# Rows of more files than this would be thinner than a line of the picture.
_MOST_ROWS: Final = 1000


def plot_files(
    details: pd.DataFrame,
    verdicts: pd.DataFrame | None = None,
    *,
    at: datetime | None = None,
    gaps: pd.DataFrame | None = None,
    named: int = _NAMED_FILES,
    zone: tzinfo | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw every file's states over time, one row each; stragglers are named and marked.

    Up to `named` files have a row and a name each. If there are more, only a third of `named` do:
    the worst stragglers and failed files (or, without `verdicts`, those that took longest). All
    others are thin lines below them, in the order in which they started; if these are more than a
    thousand, the plot shows how many are in each state instead. The axis names the folder that all
    files share, so that the names need not.

    Parameters
    ----------
    details : DataFrame
        A details frame of one job, expanded or runs.
    verdicts : DataFrame, optional
        Its :func:`~importstats.stragglers`, for marks and verdicts.
    at : datetime, optional
        Leave out what was seen later.
    gaps : DataFrame, optional
        Times without snapshots: the :func:`~importstats.analysis.gaps.find_gaps` of the jobs
        frame. By default they are found in an expanded frame; runs do not show them.
    named : int
        How many files can have a row each.
    zone, ax
        As for :func:`plot_progress`.
    """
    require_one_job(details)
    details = details if at is None else rewind(details, at)
    samples = FileSamples.from_details(details)
    files, spans = state_spans(samples)
    gaps = shown_gaps(samples, details) if gaps is None else gaps
    if files.empty:
        return leave_empty(
            axes_or_new(ax, (9, 3)), "No files yet: the server lists them when it imports"
        )
    judged = _with_culprits(_judged(files, verdicts), details)
    worth, rest = _split_files(judged, named)
    folded = _folded_rows(len(rest))
    rest_top = len(worth) + 0.5 * bool(len(worth)) - 0.5
    bottom = rest_top + folded if len(rest) else len(worth) - 0.4
    ax = axes_or_new(ax, (9, files_height(details, verdicts, named=named)))
    zone = zone_at(zone, spans["end"].max())

    counted = len(rest) > _MOST_ROWS
    top, height = np.full(len(files), np.nan), np.full(len(files), 0.72)
    top[worth.index] = np.arange(len(worth)) - 0.36
    if len(rest) and not counted:
        height[rest.index] = folded / len(rest)
        top[rest.index] = rest_top + folded / len(rest) * np.arange(len(rest))
    draw_rows(ax, spans, top, height, rasterized=len(rest) > 0 and not counted)
    if counted:
        own = spans[spans["key"].isin(rest.index)]
        draw_counts(ax, own, len(rest), rest_top, folded)
    prefix = common_folder(files["file"])
    labels = [short_name(name, prefix) for name in worth["file"]]
    ticks = [float(row) for row in range(len(worth))]
    if len(rest):
        ticks.append(rest_top + folded / 2)
        how = "counted" if counted else "by start"
        labels.append(f"{len(rest):,} {'other ' * bool(len(worth))}files,\n{how}")
    ax.set_yticks(ticks, labels=labels, fontsize="small")
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(bottom, -0.6)
    _span_limits(ax, spans)
    _mark_stragglers(ax, worth, spans)
    _make_room_for_counts(ax)
    if prefix:
        figure = ax.get_figure(root=True)
        tall = 3.0 if figure is None else figure.get_figheight() * ax.get_position().height
        ax.set_ylabel(f"files in\n{label(prefix, max(8, int(13 * tall)))}", fontsize="small")
    if gaps is not None:
        hatch_gaps(ax, gaps)
    set_time_axis(ax, zone)
    swatches = state_swatches(list(dict.fromkeys(spans["state"])), rows=not len(rest))
    taken = add_legend_above(ax, swatches) if len(swatches) > 1 else 0.0
    set_title(ax, files_finding(files, verdicts), taken_in=taken)
    return ax


def shown_gaps(samples: FileSamples, details: pd.DataFrame) -> pd.DataFrame | None:
    """The gaps that a details frame shows; None if its rows are runs, which do not show them."""
    if "last_observed_at" in details:
        return None
    return find_gaps(timestamps(samples.moment_time))


def files_height(
    details: pd.DataFrame, verdicts: pd.DataFrame | None = None, *, named: int = _NAMED_FILES
) -> float:
    """The height in inches that lets the rows of :func:`plot_files` be read.

    Parameters are those of :func:`plot_files`.

    Examples
    --------
    >>> details = pd.DataFrame({"file_index": range(10_000)})
    >>> round(files_height(details.head(30))), round(files_height(details))
    (7, 8)
    """
    count = len(details["file_index"].unique())
    if count <= named:
        return 1.0 + _ROW_IN * count
    own = named // 3
    if verdicts is not None:
        matters = rank_files(verdicts)["matters"].astype("str").ne("no")
        own = min(own, int(matters.sum()))
    return 1.0 + _ROW_IN * (own + _folded_rows(count - own))


def state_spans(samples: FileSamples) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The files, and the time that each spent in each state.

    Files: ``file_index``, ``file``, ``start``, ``end`` (of its work; NaT if none was seen),
    ``state`` (the last one). Spans: ``key`` (row of the file), ``state``, ``start``, ``end``.
    A state lasts until the next is first seen.
    """
    key, time = samples.key, samples.time
    code, names = samples.states
    new = np.ones(len(key), np.bool_)
    new[1:] = (key[1:] != key[:-1]) | (code[1:] != code[:-1])
    first = np.flatnonzero(new)
    following = np.append(first[1:], len(key))[: len(first)]
    goes_on = np.zeros(len(first), np.bool_)
    goes_on[:-1] = key[first[1:]] == key[first[:-1]]
    stop = np.where(goes_on, time[np.minimum(following, len(key) - 1)], time[following - 1])
    spans = pd.DataFrame(
        {
            "key": key[first],
            "state": np.array(names, dtype=object)[code[first]],
            "start": timestamps(time[first]),
            "end": timestamps(stop),
        }
    )
    # A file that waited at one poll and was done at the next worked unseen in between.
    waits = spans["state"].isin(["", "none", "pending"]).to_numpy()
    done_next = np.zeros(len(first), np.bool_)
    done_next[:-1] = goes_on[:-1] & spans["state"].eq("completed").to_numpy()[1:]
    jumps = np.flatnonzero(waits & done_next)
    if len(jumps):
        stopped = timestamps(time[following[jumps] - 1]).array
        unseen = spans.iloc[jumps].assign(state="unseen", start=stopped)
        spans.loc[jumps, "end"] = unseen["start"]
        spans = pd.concat([spans, unseen]).sort_values(["key", "start"], kind="stable")
        spans = spans.reset_index(drop=True)
    works = ~spans["state"].isin(["", "none", "pending", "completed"])
    by_file = spans[works].groupby("key")
    files = samples.keys()[["file_index", "file"]]
    files = files.assign(
        file=files["file"].astype("str"),
        start=by_file["start"].min(),
        end=by_file["end"].max(),
        state=spans.groupby("key")["state"].last(),
    )
    return files, spans


def _judged(files: pd.DataFrame, verdicts: pd.DataFrame | None) -> pd.DataFrame:
    """The files with their name, verdict and delay, and whether they deserve a row of their own."""
    if verdicts is None:
        taken = (files["end"] - files["start"]).dt.total_seconds()
        return files.assign(
            verdict="",
            delay_s=np.nan,
            matters="no",
            marked=False,
            weight=taken.fillna(0).where(files["state"].ne("failed"), np.inf),
        )
    # A file that left the list keeps its old place, which another file now has.
    columns = ["file_index", "file"]
    ranked = rank_files(verdicts)
    own = ranked[[*columns, "verdict", "delay_s", "matters"]].assign(
        weight=-np.arange(len(ranked), dtype=np.float64)
    )
    own = own.astype({"file": "str"}).drop_duplicates(columns)
    judged = files.merge(own, on=columns, how="left")
    verdict = judged["verdict"].astype("str").where(judged["verdict"].notna(), "")
    marked = judged["matters"].notna() & judged["matters"].astype("str").ne("no")
    delay = judged["delay_s"].astype("float64")
    weight = judged["weight"].where(marked)
    return judged.assign(verdict=verdict, delay_s=delay, marked=marked, weight=weight)


def _with_culprits(files: pd.DataFrame, details: pd.DataFrame) -> pd.DataFrame:
    """The files; those that a failure's reason names have the verdict ``culprit``."""
    if "reason" not in details or not files["state"].eq("failed").any():
        return files
    latest = details.drop_duplicates("file", keep="last")[["file", "state", "reason"]]
    named = {name for names in failure_causes(latest)["culprits"] for name in names}
    blamed = files["file"].isin(named)
    return files.assign(
        verdict=files["verdict"].mask(blamed, "failed: its reason names this file"),
        marked=files["marked"] | blamed,
        weight=files["weight"].mask(blamed, np.inf),
    )


def _split_files(files: pd.DataFrame, named: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The files that get a row and a name, and the others, each in the order of their rows."""
    if len(files) <= named:
        return files.sort_values(ROW_ORDER, kind="stable"), files.iloc[:0]
    worth = files[files["weight"].notna()].sort_values("weight", ascending=False, kind="stable")
    worth = worth.head(max(named // 3, 1))
    return worth, files.drop(worth.index).sort_values(ROW_ORDER, kind="stable")


def _folded_rows(count: int) -> float:
    """How many rows high the files without a row of their own are drawn."""
    return float(np.clip(count / 25, 8, 14)) if count else 0.0


ROW_ORDER: Final = ["start", "file", "file_index"]


def _span_limits(ax: Axes, spans: pd.DataFrame) -> None:
    left, right = float(days(spans["start"]).min()), float(days(spans["end"]).max())
    margin = 0.02 * (right - left) or 30 / 86_400
    ax.set_xlim(left - margin, right + margin)


def _mark_stragglers(ax: Axes, named: pd.DataFrame, spans: pd.DataFrame) -> None:
    """Mark each straggler: a diamond and its verdict at the end of its bar, its name in bold."""
    rows = np.flatnonzero(named["marked"])
    if not len(rows):
        return
    marked = named.iloc[rows]
    last_seen = spans.groupby("key")["end"].max()
    x = days(marked["end"].fillna(last_seen.reindex(marked.index)))
    colors = [
        VERDICT_COLORS.get(verdict.split(":")[0], OTHER_COLOR) for verdict in marked["verdict"]
    ]
    ax.scatter(x, rows, marker="D", s=26, c=colors, edgecolors=paper(), lw=0.7, zorder=5)
    texts = [
        lateness_text(verdict_text(file), file["delay_s"]) for file in marked.to_dict("records")
    ]
    left, right = ax.get_xlim()
    for row, end, text in zip(rows, x, texts, strict=True):
        box = {"facecolor": paper(), "pad": 0.6, "lw": 0}
        write_beside(ax, text, (end, float(row)), "verdict", bbox=box)
        ax.get_yticklabels()[row].set_fontweight("bold")
        right = max(right, with_room(ax, left, end, text))
    ax.set_xlim(left, right)


def _make_room_for_counts(ax: Axes) -> None:
    left, right = ax.get_xlim()
    for note in ax.texts:
        if isinstance(note, Annotation) and note.get_gid() == "count":
            right = max(right, with_room(ax, left, note.xy[0], note.get_text()))
    ax.set_xlim(left, right)


def with_room(ax: Axes, left: float, end: float, text: str) -> float:
    """Where the time axis must end so that a text fits to the right of a bar."""
    share = min(0.02 + 0.085 * len(text) / width_in(ax), 0.5)
    return left + (end - left) / (1 - share)


_NO_END: Final = {"unknown": "shows no end", "was unknown": "took long"}
# An unknown delay is worth a word for these verdicts; a file that failed or waits has none.
_DELAYING: Final = frozenset(
    {"stuck", "slow", "big", "unknown", "goes back", "was stuck", "was slow", "was big"}
)


def lateness_text(verdict: str, delay_s: float | None) -> str:
    """A verdict, and by how much the file delays the job if that is known."""
    text = _NO_END.get(verdict, verdict)
    if delay_s is None or pd.isna(delay_s):
        return f"{text}, delay unknown" if verdict in _DELAYING else text
    return text if delay_s <= 0 else f"{text}, {format_duration(delay_s)} late"


def files_finding(files: pd.DataFrame, verdicts: pd.DataFrame | None) -> str:
    """A sentence: how many files there are, in which states, and how many are behind."""
    words = files["state"].map(lambda state: STATE_WORDS.get(state, state))
    counts = words.value_counts()
    total = "1 file" if len(files) == 1 else f"{len(files):,} files"
    parts = ", ".join(f"{count:,} {label(word, 30)}" for word, count in counts.items())
    if verdicts is None:
        return f"{total}: {parts}"
    late = int(verdicts["is_straggler"].sum())
    tail = f"{late:,} straggler{'s' * (late != 1)}" if late else "no stragglers"
    return f"{total}: {parts}; {tail}"
