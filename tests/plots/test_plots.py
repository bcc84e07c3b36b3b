"""Plots: the axes hold the data they should, the titles say what was found, no name does harm."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from io import BytesIO
from zoneinfo import ZoneInfo

import matplotlib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import dates as mdates
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from importstats import plots
from importstats.analysis.findings import diagnose
from importstats.analysis.forecast import eta
from importstats.analysis.lateness import VERDICTS, stragglers
from importstats.analysis.phase import phases
from importstats.analysis.rates import throughput
from importstats.analysis.scoring import backtest
from importstats.analysis.totals import summary
from importstats.analysis.words import headline
from importstats.names import PHASES
from importstats.plots.style import wrapped
from importstats.simulator import simulate_job
from importstats.store.frames import details_frame, jobs_frame

HOSTILE_NAMES = [
    "$x$ and $\\frac{1}",
    "$",
    "a\\$b_{c}^{d}",
    "\x1b[31mred\x1b[0m\a\b",
    "\u202egnp.exe\u200f",
    "日本語の名前.parquet",
    "👍.parquet",
    "line\nbreak\ttab\r",
    "\ud800".encode("utf-16", "surrogatepass").decode("utf-16", "replace"),
    "",
    " ",
    "<script>alert(1)</script>",
    "%s %(x)s {0} {}",
    "x" * 1_000_000,
    "/" * 500,
]


@lru_cache(maxsize=16)
def simulated(shape="stragglers", files=40, seed=4, share=1.0, runs=True, signal=None):
    """Jobs and details frames of a simulated job until a share of its polls."""
    simulation = simulate_job(shape, files=files, seed=seed, poll_every_s=20, signal=signal)
    tables = simulation.tables(runs=runs)
    jobs, details = jobs_frame(tables[0]), details_frame(tables[1])
    at = jobs["observed_at"].iloc[max(int(len(jobs) * share) - 1, 0)]
    return jobs[jobs["observed_at"] <= at], details[details["observed_at"] <= at], at


def job(states, progress, **columns):
    count = len(states)
    start = datetime(2026, 5, 18, 8, tzinfo=UTC)
    return pd.DataFrame(
        {
            "snapshot_id": range(count),
            "observed_at": pd.date_range(start, periods=count, freq="60s").astype(
                "datetime64[us, UTC]"
            ),
            "source_uri": "http://localhost:19530",
            "job_id": "7",
            "collection_name": "products",
            "state": pd.array(states, "str"),
            "progress_pct": np.array(progress, float),
            "imported_rows": pd.array([0] * count, "Int64"),
            "total_rows": pd.array([0] * count, "Int64"),
            "file_size_bytes": pd.array([0] * count, "Int64"),
            "detail_count": pd.array([0] * count, "Int64"),
            "reason": pd.array([None] * count, "str"),
        }
    ).assign(**columns)


def files(states, names=None, **columns):
    """A details frame: `states` has one list per file, one state per snapshot, or None."""
    start = datetime(2026, 5, 18, 8, tzinfo=UTC)
    rows = [
        {
            "snapshot_id": poll,
            "observed_at": start + timedelta(minutes=poll),
            "source_uri": "http://localhost:19530",
            "job_id": "7",
            "file_index": place,
            "file": names[place] if names else f"in/2026/{place:05}.parquet",
            "file_name": f"[{names[place] if names else place}]",
            "state": state,
            "progress_pct": 100.0 if state == "Completed" else 10.0 * poll,
            "imported_rows": poll,
            "total_rows": 10,
            "file_size_bytes": 100,
            "reason": None,
        }
        for place, own in enumerate(states)
        for poll, state in enumerate(own)
        if state is not None
    ]
    frame = pd.DataFrame(rows).assign(**columns)
    return frame.sort_values(["snapshot_id", "file_index"], ignore_index=True).astype(
        {"observed_at": "datetime64[us, UTC]", "state": "str", "reason": "str"}
    )


def axes():
    return Figure(figsize=(9, 4), layout="constrained").subplots()


def rendered(ax, form="png"):
    """The bytes of the figure: whatever is wrong with a text comes up only when it is drawn."""
    buffer = BytesIO()
    ax.get_figure().savefig(buffer, format=form, dpi=50)
    return buffer.getvalue()


def title(ax):
    return " ".join(ax.get_title(loc="left").split())


def with_gid(ax, prefix):
    artists = [*ax.patches, *ax.lines, *ax.collections, *ax.texts]
    return [artist for artist in artists if str(artist.get_gid() or "").startswith(prefix)]


def day(time):
    return mdates.date2num(time)


# -- Palette and texts ----------------------------------------------------------------------------


def test_every_phase_and_verdict_has_one_colour_of_its_own():
    assert set(plots.PHASE_COLORS) == set(PHASES)
    assert len(set(plots.PHASE_COLORS.values())) == len(PHASES)
    assert set(plots.VERDICT_COLORS) == set(VERDICTS)
    assert len(set(plots.VERDICT_COLORS.values())) == len(VERDICTS)


@given(st.text(), st.integers(2, 80))
def test_a_label_is_short_drawable_and_never_mathtext(text, limit):
    shown = plots.label(text, limit)
    assert shown.count("$") == shown.count(r"\$")
    plain = shown.replace(r"\$", "$")
    assert len(plain) <= limit
    assert plain.isprintable()
    font = matplotlib.font_manager.get_font(matplotlib.font_manager.findfont("DejaVu Sans"))
    assert {ord(c) for c in plain} <= set(font.get_charmap())


def test_a_long_label_keeps_its_end():
    assert plots.label("exports/2026/part-00001.parquet", 14) == "…00001.parquet"


# -- Progress -------------------------------------------------------------------------------------


def test_progress_has_the_sent_values_on_bands_of_all_phases():
    jobs, _, _ = simulated("index_bound", share=0.9)
    ax = plots.plot_progress(jobs, zone=UTC, ax=axes())
    x, y = ax.lines[0].get_data()
    np.testing.assert_allclose(y, jobs["progress_pct"])
    np.testing.assert_allclose(x, mdates.date2num(jobs["observed_at"].to_numpy()))
    runs = phases(jobs)
    bands = with_gid(ax, "phase:")
    assert [band.get_gid() for band in bands] == [f"phase:{phase}" for phase in runs["phase"]]
    for band, run in zip(bands, runs.itertuples(), strict=True):
        assert to_hex(band.get_facecolor()).upper() == plots.PHASE_COLORS[run.phase]
        assert band.get_x() == pytest.approx(day(run.start))
    named = [text.get_text() for text in ax.texts]
    named += [text.get_text() for text in ax.get_legend().get_texts()]
    assert set(runs["phase"]) <= set(named)


def test_the_cone_ends_at_the_quantiles_of_the_eta():
    jobs, details, at = simulated(share=0.5)
    estimate = eta(jobs, details, at=at)
    ax = plots.plot_progress(jobs, estimate, zone=UTC, ax=axes())
    [cone] = with_gid(ax, "eta-interval")
    [median] = with_gid(ax, "eta-median")
    now, progress = day(at), jobs["progress_pct"].iloc[-1]
    p10, p50, p90 = (day(estimate[f"eta_{name}"].iloc[0]) for name in ("p10", "p50", "p90"))
    np.testing.assert_allclose(cone.get_xy()[:3], [[now, progress], [p10, 100], [p90, 100]])
    np.testing.assert_allclose(median.get_xydata(), [[now, progress], [p50, 100]])
    assert title(ax) == headline(jobs, estimate, zone=UTC)


def test_a_far_end_does_not_press_the_past_against_the_axis():
    jobs = job(["Pending", "Importing", "Importing"], [5, 40, 41], detail_count=[0, 3, 3])
    last = jobs["observed_at"].iloc[-1]
    times = [last + timedelta(days=days) for days in (300, 20_000, 36_000)]
    estimate = pd.DataFrame([times], columns=["eta_p10", "eta_p50", "eta_p90"]).assign(
        observed_at=last, phase="Importing", reason=None
    )
    ax = plots.plot_progress(jobs, estimate, zone=UTC, ax=axes())
    left, right = ax.get_xlim()
    assert (day(last) - left) / (right - left) > 0.3
    assert any("→" in text.get_text() for text in ax.texts)
    rendered(ax)


def test_a_failed_job_keeps_the_progress_it_was_last_seen_with():
    jobs = job(["Importing", "Importing", "Failed"], [40, 62, 0], detail_count=3)
    ax = plots.plot_progress(jobs, zone=UTC, ax=axes())
    drawn = np.concatenate([line.get_ydata() for line in ax.lines if line.get_gid() is None])
    assert 0 not in drawn[np.isfinite(drawn)]
    [cross] = [line for line in ax.lines if line.get_marker() == "X"]
    assert cross.get_ydata()[0] == 62
    assert title(ax) == "Failed at 08:02:00 UTC, in Importing at 62 %: the server gives no reason"


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kolkata"])
def test_times_are_shown_in_the_zone_that_the_axis_names(zone):
    jobs = job(["Importing"] * 3, [40, 41, 42], detail_count=3)
    ax = plots.plot_progress(jobs, zone=ZoneInfo(zone), ax=axes())
    rendered(ax)
    local = jobs["observed_at"].dt.tz_convert(zone)
    assert ax.get_xlabel() == f"time ({local.iloc[0].tzname()})"
    ticks = [text.get_text() for text in ax.get_xticklabels()]
    assert local.iloc[1].strftime("%H:%M") in ticks


def test_the_zone_is_the_readers_by_default(monkeypatch):
    import time

    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        ax = plots.plot_progress(job(["Pending"], [5]), ax=axes())
        assert ax.get_xlabel() == "time (JST)"
        assert headline(job(["Completed"], [100])) == "Completed at 17:00:00 JST"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_several_jobs_on_one_progress_plot_are_refused():
    two = pd.concat([job(["Pending"], [5]), job(["Pending"], [5], job_id="8")])
    with pytest.raises(ValueError, match="one job and the frame holds 2"):
        plots.plot_progress(two, ax=axes())


# -- ETA ------------------------------------------------------------------------------------------


def test_predictions_over_time_with_the_true_end():
    jobs, details, _ = simulated("steady", files=20)
    estimates = eta(jobs, details)
    ax = plots.plot_eta(estimates, zone=UTC, ax=axes())
    at_work = estimates[estimates["eta_p50"].notna() & estimates["phase"].ne("Completed")]
    predicted, true = (
        next(line for line in ax.lines if line.get_label() == name)
        for name in ("predicted end", "true end")
    )
    np.testing.assert_allclose(
        predicted.get_ydata(), mdates.date2num(at_work["eta_p50"].to_numpy())
    )
    end = estimates.loc[estimates["phase"].eq("Completed"), "eta_p50"].iloc[0]
    assert true.get_ydata()[0] == pytest.approx(day(end))
    held = ((at_work["eta_p10"] <= end) & (end <= at_work["eta_p90"])).mean()
    assert f"at {round(100 * held)} % of the snapshots" in title(ax)
    assert ax.get_ylabel() == "predicted end (UTC)"


def test_where_there_is_no_eta_the_plot_says_why():
    ax = plots.plot_eta(eta(job(["Pending"], [5])), zone=UTC, ax=axes())
    assert title(ax) == "No ETA: pending: no history"


def test_errors_of_methods_over_the_life_of_jobs():
    jobs, details, _ = simulated("steady", files=20)
    scores = backtest(jobs, details, ["eta", "linear"]).by_tenth
    ax = plots.plot_eta_error(scores, ax=axes())
    answered = scores[scores["support"].eq("answered")]
    for method in ("eta", "linear"):
        line = next(line for line in ax.lines if line.get_label() == method)
        own = answered[answered["method"].eq(method)].dropna(subset="median_relative_error")
        np.testing.assert_allclose(line.get_ydata(), own["median_relative_error"])
    errors = answered.pivot_table("median_relative_error", "tenth", "method", observed=True)
    wins = errors.idxmin(axis="columns").astype("str").value_counts()
    assert title(ax) == f"{wins.index[0]} is closest in {wins.iloc[0]} of {len(errors)} tenths"
    rendered(ax)


def test_calibration_counts_how_often_the_truth_came_before_each_quantile():
    predictions = pd.DataFrame(
        {
            "method": pd.Categorical(["eta"] * 4 + ["point"]),
            "true_remaining_s": [5.0, 15.0, 25.0, 35.0, 5.0],
            "remaining_p10_s": [10.0, 10.0, 10.0, 10.0, np.nan],
            "remaining_p50_s": [20.0, 20.0, 20.0, 20.0, 5.0],
            "remaining_p90_s": [30.0, 30.0, 30.0, 30.0, np.nan],
        }
    )
    ax = plots.plot_calibration(predictions, ax=axes())
    line = next(line for line in ax.lines if line.get_label() == "eta")
    assert list(line.get_ydata()) == [0.25, 0.5, 0.75]
    assert title(ax) == "The 80 % interval held the truth: eta 50 % of 4 times"


# -- Throughput -----------------------------------------------------------------------------------


def test_throughput_of_a_job_is_its_windowed_rate():
    jobs, _, _ = simulated(share=0.6)
    rates = throughput(jobs)
    ax = plots.plot_throughput(rates, zone=UTC, ax=axes())
    np.testing.assert_allclose(ax.lines[0].get_ydata(), rates["rows_per_s_window"])
    assert ax.get_ylabel() == "rows per second"
    rendered(ax)


def test_throughput_of_few_files_names_each_and_of_many_shows_their_spread():
    _, details, _ = simulated("steady", files=6)
    few = throughput(details, by="file")
    ax = plots.plot_throughput(few, zone=UTC, ax=axes())
    assert len(ax.lines) == 6
    means = few.groupby("file", observed=True)["rows_per_s_mean"].last()
    assert title(ax).startswith(f"Throughput of 6: {means.idxmin().rsplit('/', 1)[1]} is slowest")
    _, details, _ = simulated(runs=False, signal="smooth")
    many = throughput(details, by="file")
    ax = plots.plot_throughput(many, zone=UTC, ax=axes())
    [line] = ax.lines
    medians = (
        many[many["rows_per_s_window"] > 0].groupby("observed_at")["rows_per_s_window"].median()
    )
    medians.index = mdates.date2num(medians.index.to_numpy())
    assert 100 < len(line.get_xdata()) <= 200
    np.testing.assert_allclose(line.get_ydata(), medians.loc[line.get_xdata()])


def test_files_that_are_sampled_at_other_times_are_in_the_median_too():
    start = datetime(2026, 5, 18, 8, tzinfo=UTC)
    rates = pd.DataFrame(
        [
            {"observed_at": start + timedelta(minutes=m), "file_index": f, "rows_per_s_window": r}
            for f in range(9)
            # The last file has no sample between its first and its last.
            for m, r in ([(0, np.nan), (4, 90.0)] if f == 8 else [(m, 10.0 * f) for m in range(5)])
        ]
    ).assign(source_uri="u", job_id="7", rows_per_s=0.0)
    rates["rows_per_s_mean"] = rates["rows_per_s_window"]
    rates["file"] = rates["file_index"].astype("str")
    ax = plots.plot_throughput(rates, zone=UTC, ax=axes())
    assert ax.lines[0].get_ydata().tolist() == [40.0, 45.0, 45.0, 45.0, 45.0]


def test_throughput_before_any_row_says_so():
    ax = plots.plot_throughput(throughput(job(["Pending"], [5])), zone=UTC, ax=axes())
    assert title(ax) == "No throughput yet: it takes two snapshots with rows"


# -- Files ----------------------------------------------------------------------------------------

P, I, R, C, F = "Pending", "InProgress", "Retry", "Completed", "Failed"  # noqa: E741


def boxes(ax, state):
    """Left, right and row of each box of a state."""
    collections = [c for c in ax.collections if c.get_gid() == f"state:{state}"]
    paths = [path.vertices for collection in collections for path in collection.get_paths()]
    minutes = [(v - mdates.date2num(datetime(2026, 5, 18, 8, tzinfo=UTC))) * 1440 for v in paths]
    return sorted(
        (round(m[:, 0].min()), round(m[:, 0].max()), round(v[:, 1].mean()))
        for m, v in zip(minutes, paths, strict=True)
    )


def test_each_file_has_a_row_of_its_states():
    details = files([[P, P, I, I, C], [I, R, I, F, F], [None, None, P, P, P]])
    ax = plots.plot_files(details, zone=UTC, ax=axes())
    # Rows are in the order of starts; a state lasts until the next is first seen.
    assert [text.get_text() for text in ax.get_yticklabels()] == [
        "00001.parquet", "00000.parquet", "00002.parquet"
    ]  # fmt: skip
    assert boxes(ax, "pending") == [(0, 2, 1), (2, 4, 2)]
    assert boxes(ax, "inprogress") == [(0, 1, 0), (2, 3, 0), (2, 4, 1)]
    assert boxes(ax, "retry") == [(1, 2, 0)]
    assert boxes(ax, "failed") == [(3, 4, 0)]
    assert boxes(ax, "completed") == [(4, 4, 1)]
    assert ax.get_ylabel() == "files in\nin/2026/"
    assert title(ax) == "3 files: 1 done, 1 failed, 1 waiting"


def test_no_two_states_are_drawn_alike_but_for_their_colour():
    details = files([[P, I, R, I, F], [P, P, C, C, C], [I, "Elsewhere", I, I, I]])
    ax = plots.plot_files(details, zone=UTC, ax=axes())
    looks = {
        c.get_gid(): (c.get_hatch(), round(np.ptp(c.get_paths()[0].vertices[:, 1]), 2))
        for c in ax.collections
        if isinstance(c, PolyCollection)
    }
    assert len(looks) == 7
    assert len(set(looks.values())) == 7
    keys = {handle.get_label(): handle for handle in ax.get_legend().legend_handles}
    assert keys["failed"].get_hatch() == looks["state:failed"][0] == "xxxx"
    assert keys["waiting"].get_linewidth() > keys["done"].get_linewidth()


def test_a_file_done_between_two_polls_has_a_bar_in_between():
    ax = plots.plot_files(files([[P, P, C, C], [P, I, I, C]]), zone=UTC, ax=axes())
    assert boxes(ax, "pending") == [(0, 1, 0), (0, 1, 1)]
    assert boxes(ax, "unseen") == [(1, 2, 0)]


def test_a_file_that_a_reason_names_is_marked_as_the_culprit():
    frame = files([[I, F]] * 40)
    reason = 'error: EOF, file: id:9 paths:"in/2026/00017.parquet"'
    frame["reason"] = pd.array(np.where(frame["state"] == "Failed", reason, None), "str")
    ax = plots.plot_files(frame, stragglers(frame), zone=UTC, named=30, ax=axes())
    assert ax.get_yticklabels()[0].get_text() == "00017.parquet"
    assert ax.texts[0].get_text() == "failed: its reason names this file"


def spans_with(ax, gid):
    """The extents of the artists of a kind, in minutes since 8:00."""
    start = mdates.date2num(datetime(2026, 5, 18, 8, tzinfo=UTC))
    boxes = [
        artist.get_path().get_extents(artist.get_patch_transform())
        for artist in ax.patches
        if artist.get_gid() == gid
    ]
    return [(round((b.x0 - start) * 1440), round((b.x1 - start) * 1440)) for b in boxes]


def test_over_a_gap_lines_break_and_every_panel_over_time_is_hatched():
    jobs = job(
        ["Importing"] * 40,
        np.linspace(41, 69, 40),
        imported_rows=range(0, 4000, 100),
        total_rows=9000,
        detail_count=2,
    )
    details = files([[I] * 40] * 2)
    jobs = jobs.drop(index=range(15, 34))
    details = details[~details["snapshot_id"].isin(range(15, 34))]
    figure = plots.overview(jobs, details, zone=UTC)
    assert [spans_with(ax, "gap") for ax in figure.axes] == [[(14, 34)]] * 3
    progress, rates, _ = figure.axes
    for ax in (progress, rates):
        line = max(ax.lines, key=lambda line: len(line.get_xdata()))
        x = (np.asarray(line.get_xdata()) - day(jobs["observed_at"].iloc[0])) * 1440
        assert np.isnan(np.asarray(line.get_ydata(), float)[np.round(x) == 14]).any()


def luminance(color):
    parts = np.array(to_rgb(color))
    linear = np.where(parts <= 0.03928, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("paper", ["#ffffff", "#15191f"])
def test_every_colour_is_seen_on_light_and_on_dark_paper(paper):
    colors = {**plots.PHASE_COLORS, **plots.FILE_STATE_COLORS, **plots.VERDICT_COLORS}
    for name, color in colors.items():
        low, high = sorted([luminance(color), luminance(paper)])
        assert (high + 0.05) / (low + 0.05) >= 3, name


def test_a_number_stays_with_its_unit():
    for width in np.linspace(1, 9, 40):
        lines = wrapped("38.5 k rows/s on average, 121 k rows/s at most, in 15 min 2 s", width, 11)
        for line in lines.split("\n")[1:]:
            assert not line.startswith(("k ", "rows/s", "min", "s"))


def test_runs_and_expanded_rows_draw_the_same():
    drawn = []
    for runs in (True, False):
        _, details, _ = simulated(runs=runs)
        ax = plots.plot_files(details, zone=UTC, ax=axes())
        collections = [c for c in ax.collections if isinstance(c, PolyCollection)]
        drawn.append({c.get_gid(): [p.vertices for p in c.get_paths()] for c in collections})
    assert drawn[0].keys() == drawn[1].keys()
    for state in drawn[0]:
        np.testing.assert_allclose(drawn[0][state], drawn[1][state])


def test_what_was_seen_later_is_left_out():
    details = files([[I, I, C, C], [I, I, I, F]])
    ax = plots.plot_files(details, at=datetime(2026, 5, 18, 8, 1, tzinfo=UTC), zone=UTC, ax=axes())
    assert title(ax) == "2 files: 2 importing"
    assert boxes(ax, "inprogress") == [(0, 1, 0), (0, 1, 1)]


def test_stragglers_are_marked_and_named_with_their_verdict():
    _, details, at = simulated(share=0.6)
    judged = stragglers(details, at=at)
    late = judged[judged["is_straggler"]]
    assert len(late)
    ax = plots.plot_files(details, judged, at=at, zone=UTC, ax=axes())
    [marks] = [c for c in ax.collections if isinstance(c, PathCollection)]
    names = [text.get_text() for text in ax.get_yticklabels()]
    marked = [names[round(row)] for _, row in marks.get_offsets()]
    assert sorted(marked) == sorted(name.rsplit("/", 1)[1] for name in late["file"])
    bold = [text.get_text() for text in ax.get_yticklabels() if text.get_fontweight() == "bold"]
    assert sorted(bold) == sorted(marked)
    verdicts = [text.get_text() for text in with_gid(ax, "verdict")]
    assert {verdict.split(",")[0] for verdict in verdicts} == set(late["verdict"].astype("str"))
    plural = "s" if len(late) > 1 else ""
    assert title(ax).endswith(f"{len(late)} straggler{plural}")
    # Their words fit in.
    right = ax.get_xlim()[1]
    assert all(text.xy[0] < right for text in with_gid(ax, "verdict"))


def test_of_many_files_the_worst_are_named_and_all_are_drawn():
    count = 300
    states = [[I, I, C]] * (count - 2) + [[I, I, I], [I, F, F]]
    details = files(states)
    ax = plots.plot_files(details, zone=UTC, ax=axes())
    labels = [text.get_text() for text in ax.get_yticklabels()]
    assert labels[0] == f"{count - 1:05}.parquet"
    assert labels[-1] == f"{count - 20:,} other files,\nby start"
    assert len(labels) == 21
    assert len(boxes(ax, "inprogress")) == count
    assert all(c.get_rasterized() for c in ax.collections if isinstance(c, PolyCollection))
    assert title(ax).startswith(f"{count:,} files: {count - 2:,} done")
    # As an SVG the page it is on stays small.
    assert len(rendered(ax, "svg")) < 500_000


def test_of_thousands_the_worst_are_named_and_the_others_counted():
    begun = [[P, I, C, C]] * 3000 + [[I, I, I, C]] * 1000 + [[I, I, I, I]] * 1200
    waits = [[P, P, P, P]] * 2500 + [[P, P, I, I]] * 300
    failed = [[I, I, I, F]]
    ax = plots.plot_files(files([*begun, *waits, *failed]), zone=UTC, ax=axes())
    labels = [text.get_text() for text in ax.get_yticklabels()]
    assert labels[0] == "08000.parquet"
    assert labels[-1] == "7,981 other files,\ncounted"
    # Those that took longest have a row each: here 19 of the thousand that are done by now.
    assert [note.get_text() for note in with_gid(ax, "count")] == [
        "3,981 done",
        "1,500 importing, the oldest for 3 min",
        "2,500 waiting",
    ]
    bands = {
        c.get_gid(): c.get_paths()[0].get_extents()
        for c in ax.collections
        if len(c.get_paths()) == 1
    }
    shares = {name: box.y1 - box.y0 for name, box in bands.items()}
    assert shares["state:pending"] > 0
    rendered(ax)


def test_a_state_that_is_not_known_is_drawn_and_named():
    ax = plots.plot_files(files([[I, "Defragmenting"], [I, I]]), zone=UTC, ax=axes())
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "importing",
        "defragmenting",
    ]


def test_the_heatmap_is_progress_by_file_and_time():
    details = files([[I, I, C], [None, R, I], [I, F, F], [P, P, P]])
    ax = plots.plot_file_heatmap(details, zone=UTC, ax=axes())
    image = ax.images[0].get_array()
    assert image.shape == (4, 3)
    # By start: 0, 2 (name order), 1, and 3, which waits.
    expected = [[0, 10, 100], [0, -1, -1], [np.nan, 101, 20], [0, 0, 0]]
    np.testing.assert_allclose(image.filled(np.nan), expected)
    cmap = ax.images[0].get_cmap()
    assert to_hex(cmap(-0.5)) == plots.FILE_STATE_COLORS["failed"].lower()


def test_a_failed_file_among_thousands_is_seen_on_the_heatmap():
    details = files([[I, I, C]] * 4000 + [[I, F, F]])
    ax = plots.plot_file_heatmap(details, zone=UTC, ax=axes())
    image = ax.images[0].get_array()
    assert image.shape[0] == 500
    assert (image == -1).any(axis=1).sum() == 1
    rendered(ax)


def test_stragglers_are_ranked_by_how_late_they_are():
    frame = pd.DataFrame(
        {
            "source_uri": "u", "job_id": "7", "file": ["in/a", "in/b", "in/c", "in/d"],
            "delay_s": [60.0, 720.0, 5.0, np.nan], "score": [1.0, 2.0, 0.0, 3.0],
            "verdict": ["slow", "big", "ok", "stuck"], "state": "InProgress",
            "is_straggler": [True, True, False, True],
        }
    )  # fmt: skip
    ax = plots.plot_stragglers(frame, ax=axes())
    assert [text.get_text() for text in ax.get_yticklabels()] == ["d", "b", "a"]
    assert [patch.get_width() for patch in ax.patches][1:] == [12.0, 1.0]
    unknown, known = ax.patches[:2]
    assert (unknown.get_hatch(), known.get_hatch()) == ("////", None)
    assert to_hex(known.get_facecolor()).upper() == plots.VERDICT_COLORS["big"]
    assert title(ax) == ("3 stragglers of 4 files; the first to look at is d: stuck, delay unknown")
    none = plots.plot_stragglers(frame.assign(is_straggler=False), ax=axes())
    assert title(none) == "No stragglers among 4 files"


# -- Several jobs ---------------------------------------------------------------------------------


def test_jobs_are_stacked_by_phase_the_longest_first():
    short = job(["Pending", "Importing", "Completed"], [5, 80, 100])
    long = job(["Pending", *["Importing"] * 8, "Completed"], [5, *[80] * 8, 100], job_id="8")
    runs = phases(pd.concat([short, long]))
    ax = plots.plot_comparison(runs, ax=axes())
    assert [text.get_text() for text in ax.get_yticklabels()] == ["8", "7"]
    width = {}
    for patch in ax.patches:
        row = round(patch.get_y() + patch.get_height() / 2)
        width[row] = width.get(row, 0) + patch.get_width()
    assert width == {0: pytest.approx(8.5), 1: pytest.approx(1.5)} or width == {
        0: pytest.approx(9), 1: pytest.approx(2)
    }  # fmt: skip
    assert title(ax).startswith("Job 8 took")
    assert title(ax).endswith("of it in IndexBuilding")


def test_compared_jobs_are_named_with_collection_and_server():
    jobs = pd.concat(
        [
            job(["Pending", "Importing", "Completed"], [5, 80, 100]),
            job(["Pending", *["Importing"] * 8, "Completed"], [5, *[80] * 8, 100], job_id="8"),
        ]
    )
    names = [
        text.get_text()
        for text in plots.plot_comparison(phases(jobs), summary(jobs), ax=axes()).get_yticklabels()
    ]
    assert names == ["8 products", "7 products"]
    jobs["source_uri"] = jobs["job_id"].map({"7": "http://a", "8": "http://b"})
    ax = plots.plot_comparison(phases(jobs), summary(jobs), ax=axes())
    assert ax.get_yticklabels()[0].get_text() == "8 products on b"


# -- Overview -------------------------------------------------------------------------------------


def test_the_overview_has_all_panels_on_one_time_axis():
    jobs, details, at = simulated(seed=7, share=0.6)
    figure = plots.overview(jobs, details, zone=UTC)
    progress, rates, timeline = figure.axes
    assert progress.get_xlim() == rates.get_xlim() == timeline.get_xlim()
    assert (progress.get_xlabel(), timeline.get_xlabel()) == ("", "time (UTC)")
    known = (eta(jobs, details, at=at), stragglers(details, at=at), diagnose(jobs, details, at=at))
    said = headline(jobs, *known, zone=UTC)
    assert " ".join(figure.get_suptitle().split()) == said


def test_an_old_recording_shows_where_now_is():
    jobs, details, at = simulated(share=0.6)
    figure = plots.overview(jobs, details, at=at + timedelta(hours=2), zone=UTC)
    assert "now" in [text.get_text() for text in figure.axes[0].texts]
    assert figure.axes[0].get_xlim()[1] > day(at + timedelta(hours=2))


@pytest.mark.parametrize("shape", ["failing", "stuck_file", "two_phase_commit", "wrong_totals"])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_overview_draws_every_kind_of_job_at_any_time(shape, share):
    jobs, details, _ = simulated(shape, files=12, share=share)
    rendered(plots.overview(jobs, details, zone=UTC).axes[0])


def test_the_overview_of_nothing_says_so():
    jobs, details, _ = simulated()
    figure = plots.overview(jobs.iloc[:0], details.iloc[:0], zone=UTC)
    assert title(figure.axes[0]) == "No snapshots yet"


def test_nothing_is_left_with_pyplot():
    from matplotlib import pyplot

    jobs, details, _ = simulated(share=0.6)
    before = pyplot.get_fignums()
    plots.overview(jobs, details, zone=UTC)
    plots.plot_progress(jobs, zone=UTC, ax=axes())
    assert pyplot.get_fignums() == before
    ax = plots.plot_progress(jobs, zone=UTC)
    assert pyplot.get_fignums() == [*before, ax.get_figure().number]
    pyplot.close(ax.get_figure())


def test_frames_are_not_changed():
    jobs, details, _ = simulated(share=0.6)
    copies = jobs.copy(deep=True), details.copy(deep=True)
    plots.overview(jobs, details, zone=UTC)
    pd.testing.assert_frame_equal(jobs, copies[0])
    pd.testing.assert_frame_equal(details, copies[1])


@pytest.mark.parametrize("form", ["png", "svg"])
def test_no_file_name_does_harm(form):
    states = [[I, I, I] for _ in HOSTILE_NAMES] + [[I, I, F]]
    details = files(states, [*HOSTILE_NAMES, "$last$"])
    judged = stragglers(details).assign(is_straggler=True, verdict="slow", delay_s=60.0)
    rendered(plots.plot_files(details, judged, zone=UTC, ax=axes()), form)
    rendered(plots.plot_stragglers(judged, ax=axes()), form)
    rendered(plots.plot_file_heatmap(details, zone=UTC, ax=axes()), form)
    rendered(plots.plot_throughput(throughput(details, by="file"), zone=UTC, ax=axes()), form)
    few = details[details["file_index"] < 4]
    rendered(plots.plot_throughput(throughput(few, by="file"), zone=UTC, ax=axes()), form)


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
def test_no_reason_state_or_job_id_does_harm(name):
    jobs = job(["Importing", "Failed"], [40, 0], reason=[None, name], job_id=name)
    rendered(plots.plot_progress(jobs, zone=UTC, ax=axes()))
    rendered(plots.plot_comparison(phases(jobs), ax=axes()))
    odd = job(["Importing", name], [40, 50])
    rendered(plots.plot_progress(odd, zone=UTC, ax=axes()))


@pytest.mark.parametrize(
    "draw",
    [
        lambda jobs, details, ax: plots.plot_progress(jobs, ax=ax),
        lambda jobs, details, ax: plots.plot_eta(eta(jobs, details), ax=ax),
        lambda jobs, details, ax: plots.plot_throughput(throughput(jobs), ax=ax),
        lambda jobs, details, ax: plots.plot_files(details, stragglers(details), ax=ax),
        lambda jobs, details, ax: plots.plot_file_heatmap(details, ax=ax),
        lambda jobs, details, ax: plots.plot_stragglers(stragglers(details), ax=ax),
        lambda jobs, details, ax: plots.plot_comparison(phases(jobs), ax=ax),
    ],
)
@pytest.mark.parametrize("rows", [0, 1])
def test_empty_and_one_row_frames_are_drawn(draw, rows):
    jobs, details, _ = simulated()
    ax = axes()
    assert draw(jobs.iloc[:rows], details.iloc[:rows], ax) is ax
    assert title(ax)
    rendered(ax)
