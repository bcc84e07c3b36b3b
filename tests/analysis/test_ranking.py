"""Which file to look at first, and what is said of it."""

import numpy as np
import pandas as pd
import pytest

from importstats.analysis.ranking import (
    delay_text,
    file_sentence,
    rank_files,
    stragglers_text,
    verdict_text,
)

UNKNOWN = np.nan


def files(*rows, **columns):
    """Name, state, verdict, delay, score and whether it is late of each file."""
    names = ["file", "state", "verdict", "delay_s", "score", "is_straggler"]
    return pd.DataFrame(rows, columns=names).assign(**columns)


def test_failed_files_come_first_then_what_is_late_now_then_what_was():
    ranked = rank_files(
        files(
            ("ok", "InProgress", "ok", 0.0, 0.0, False),
            ("was", "Completed", "slow", 900.0, 9.0, True),
            ("now", "InProgress", "slow", 60.0, 8.0, True),
            ("more", "InProgress", "slow", 61.0, 1.0, True),
            ("stuck", "InProgress", "stuck", 0.0, 7.0, True),
            ("unknown", "InProgress", "slow", UNKNOWN, 9.0, True),
            ("failed", "Failed", "ok", 0.0, 0.0, False),
            ("fails", "InProgress", "failed", UNKNOWN, 0.0, False),
        )
    )
    order = ["fails", "failed", "unknown", "stuck", "more", "now", "was", "ok"]
    assert ranked["file"].tolist() == order
    assert ranked["matters"].tolist() == ["failed"] * 2 + ["now"] * 4 + ["was", "no"]
    # Nobody knows when a stuck file goes on.
    assert np.isnan(ranked["delay_s"].iloc[3])


def test_files_alike_come_by_their_score_and_then_as_they_were():
    late = [(name, "InProgress", "slow", 60.0, score, True) for name, score in
            (("a", 1.0), ("b", 2.0), ("c", 2.0), ("d", UNKNOWN))]  # fmt: skip
    assert rank_files(files(*late))["file"].tolist() == ["b", "c", "a", "d"]
    without = files(*late).drop(columns="score")
    assert rank_files(without)["file"].tolist() == ["a", "b", "c", "d"]
    said = files(*late, when=["was", "now", "was", "was"])
    assert rank_files(said)["file"].tolist() == ["b", "c", "a", "d"]
    assert rank_files(said)["matters"].tolist() == ["now", "was", "was", "was"]
    assert rank_files(files()).empty


@pytest.mark.parametrize(
    ("delay_s", "text"),
    [(0.0, "nothing"), (1.0, "1 s"), (480.0, "8 min"), (UNKNOWN, "unknown"), (None, "unknown")],
)
def test_a_delay_is_a_time_nothing_or_unknown(delay_s, text):
    assert delay_text(delay_s) == text


@pytest.mark.parametrize(
    ("verdict", "matters", "text"),
    [
        ("slow", "now", "slow"),
        ("slow", "was", "was slow"),
        ("goes back", "was", "goes back"),
        ("ok", "no", "ok"),
    ],
)
def test_a_verdict_has_a_tense(verdict, matters, text):
    assert verdict_text({"verdict": verdict, "matters": matters}) == text


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        (("slow", "now", 480.0, None), "a is slow and delays the end by 8 min"),
        (("slow", "was", 480.0, None), "a was slow and delayed the end by 8 min"),
        (("slow", "now", 0.9, None), "a is slow, which does not delay the end"),
        (("slow", "was", 0.9, None), "a was slow, which did not delay the end"),
        (("slow", "now", 1.0, None), "a is slow and delays the end by 1 s"),
        (
            ("stuck", "now", 480.0, 60.0),
            "a is stuck, idle for 1 min and delays the end by at least 8 min",
        ),
        (("stuck", "was", 480.0, 60.0), "a was stuck and delayed the end by 8 min"),
        (
            ("unknown", "now", UNKNOWN, None),
            "a shows no end; how much it delays the end is unknown",
        ),
        (("unknown", "was", UNKNOWN, None), "a took long"),
        (("failed", "failed", 480.0, None), "a failed"),
        (("unheard", "now", 480.0, None), "a is unheard and delays the end by 8 min"),
    ],
)
def test_a_file_is_described_in_a_sentence(file, sentence):
    verdict, matters, delay_s, idle_s = file
    row = {"file": "a", "verdict": verdict, "matters": matters, "delay_s": delay_s}
    assert file_sentence({**row, "idle_s": idle_s}) == sentence
    assert file_sentence({**row, "idle_s": idle_s}, name="it") == "it" + sentence[1:]


SLOW = ("b", "InProgress", "slow", 60.0, 1.0, True)
LESS = ("c", "InProgress", "slow", 59.0, 1.0, True)
PAST = ("d", "Completed", "slow", 99.0, 1.0, True)
FREE = ("e", "InProgress", "slow", 0.5, 1.0, True)
DEAD = ("f", "Failed", "failed", UNKNOWN, 1.0, False)
FINE = ("g", "InProgress", "ok", 0.0, 0.0, False)


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([], ""),
        ([FINE, FREE], ""),
        ([SLOW, FREE, FINE], "b is slow and delays the end by 1 min"),
        ([LESS, SLOW], "b is slow and delays the end by 1 min; 1 more is late"),
        ([SLOW, LESS, LESS], "b is slow and delays the end by 1 min; 2 more are late"),
        ([PAST], "d was slow and delayed the end by 1 min 39 s"),
        ([PAST, PAST], "d was slow and delayed the end by 1 min 39 s; 1 more was late"),
        ([DEAD, DEAD, DEAD], "f failed; 2 more failed"),
    ],
)
def test_the_first_late_file_is_named_and_the_others_are_counted(rows, text):
    assert stragglers_text(files(*rows)).startswith(text)
    if not text:
        assert stragglers_text(files(*rows)) == ""
    tasks = files(*rows).assign(task=0, job_id="7")
    if len(rows) > 1 and text:
        assert "more" not in stragglers_text(tasks)
