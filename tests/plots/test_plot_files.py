"""Files: each has its row, those that matter have their name, thousands are counted."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from drawn_frames import C, F, I, P, R, axes, day, files, rendered, simulated, title, with_gid
from frames import as_runs
from matplotlib import dates as mdates
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.colors import to_hex

from importstats import plots
from importstats.analysis.gaps import find_gaps
from importstats.analysis.lateness import stragglers
from importstats.analysis.ranking import rank_files, verdict_text
from importstats.plots.files import lateness_text


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
    said = {verdict_text(file) for file in rank_files(late).to_dict("records")}
    assert {text.split(",")[0] for text in verdicts} == said
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


def test_a_verdict_is_said_as_the_headline_says_it():
    assert lateness_text("unknown", 4680.0) == "shows no end, 1 h 18 min late"
    assert lateness_text("unknown", None) == "shows no end, delay unknown"
    assert lateness_text("was unknown", 0.0) == "took long"
    assert lateness_text("was slow", 60.0) == "was slow, 1 min late"


def test_files_that_were_just_seen_at_work_have_no_age():
    frame = files([[P, P, P, I]] * 1100 + [[P, P, I, I]] * 1)
    count = [note.get_text() for note in with_gid(plots.plot_files(frame, ax=axes()), "count")]
    assert count == ["1,081 importing"]
    frame = files([[P, P, P, I]] * 1100 + [[P, P, I, I]] * 40)
    count = [note.get_text() for note in with_gid(plots.plot_files(frame, ax=axes()), "count")]
    assert count == ["1,120 importing, the oldest for 1 min"]


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
    # By start: 0, 2 (name order), 1, and 3, which waits. What is done has no shade.
    expected = [[0, 10, np.nan], [0, -1, -1], [np.nan, 101, 20], [0, 0, 0]]
    np.testing.assert_allclose(image.filled(np.nan), expected)
    (done,) = ax.collections
    left, right, bottom, top = ax.images[0].get_extent()
    (area,) = (path.vertices for path in done.get_paths())
    assert (area[:, 0].min(), area[:, 0].max()) == (left + (right - left) * 2 / 3, right)
    assert (area[:, 1].min(), area[:, 1].max(), top, bottom) == (0, 1, 0, 4)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["done", "retry", "failed"]
    cmap = ax.images[0].get_cmap()
    assert to_hex(cmap(-0.5)) == plots.FILE_STATE_COLORS["failed"].lower()


def test_a_failed_file_among_thousands_is_seen_on_the_heatmap():
    details = files([[I, I, C]] * 4000 + [[I, F, F]])
    ax = plots.plot_file_heatmap(details, zone=UTC, ax=axes())
    image = ax.images[0].get_array()
    assert image.shape[0] == 500
    assert (image == -1).any(axis=1).sum() == 1
    rendered(ax)


def test_the_heatmap_shows_what_is_done_and_what_nobody_saw():
    details = files([[P, I, *[C] * 58]] * 3)
    details = details[~details["snapshot_id"].isin(range(3, 33))]
    ax = plots.plot_file_heatmap(details, zone=UTC, ax=axes())
    (hole,) = (patch for patch in ax.patches if patch.get_gid() == "gap")
    start, end = (day(details["observed_at"].iloc[0] + timedelta(minutes=m)) for m in (2, 33))
    assert (hole.get_x(), hole.get_x() + hole.get_width()) == pytest.approx((start, end))
    assert list(ax.get_xlim()) == ax.images[0].get_extent()[:2]
    runs = as_runs(details)
    assert not plots.plot_file_heatmap(runs, zone=UTC, ax=axes()).patches
    gaps = find_gaps(details["observed_at"].drop_duplicates())
    drawn = plots.plot_file_heatmap(runs, gaps=gaps, zone=UTC, ax=axes())
    assert [patch.get_gid() for patch in drawn.patches] == ["gap"]


def test_stragglers_that_delay_nothing_have_no_axis_of_delays():
    frame = pd.DataFrame(
        {
            "source_uri": "u", "job_id": "7", "file": ["in/a", "in/b"], "delay_s": [0.0, 0.0],
            "score": 1.0, "verdict": "slow", "state": "Completed", "is_straggler": True,
        }
    )  # fmt: skip
    ax = plots.plot_stragglers(frame, ax=axes())
    assert title(ax) == "2 stragglers of 2 files; none delays the end"
    assert (len(ax.get_xticks()), ax.get_xlabel()) == (0, "")
    late = plots.plot_stragglers(frame.assign(delay_s=[0.0, 1.0]), ax=axes())
    assert len(late.get_xticks()) > 1
    assert late.get_xlabel() == "delay (s)"


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
