"""The one ranking of files by what needs a look, for headlines, tables and pages."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

import numpy as np
import pandas as pd

from importstats.analysis.samples import DONE_STATES
from importstats.text import UNKNOWN, format_duration, printable

_PRESENT: Final = {
    "stuck": "is stuck",
    "slow": "is slow",
    "big": "is big",
    "unknown": "shows no end",
    "goes back": "went back to the queue",
    "waiting": "waits",
    "waiting behind a batch": "waits behind a batch",
    "failed": "failed",
}
_PAST: Final = {
    "stuck": "was stuck",
    "slow": "was slow",
    "big": "was big",
    "unknown": "took long",
    "goes back": "went back to the queue",
    "failed": "failed",
}
#: The values of ``matters`` in :func:`rank_files`.
MATTERS_DTYPE: Final[pd.CategoricalDtype[str]] = pd.CategoricalDtype(
    ["failed", "now", "was", "no"], ordered=True
)
# A shorter delay is not worth a word in a headline.
_LEAST_DELAY_S: Final = 1.0


def rank_files(verdicts: pd.DataFrame) -> pd.DataFrame:
    """The files, those that matter most first.

    Failed files come first. Then come the stragglers that are at work *now*: those with an unknown
    delay (because they are stuck), then the others by delay. Then come those that *were* late and
    have ended, by the time they cost, and then all others. An unknown delay never counts as zero.

    Parameters
    ----------
    verdicts : DataFrame
        The :func:`~importstats.stragglers` of any number of jobs.

    Returns
    -------
    DataFrame
        With the columns of `verdicts`, in the order above, and ``matters``: an ordered category,
        ``failed``, ``now``, ``was`` or ``no``.

    Examples
    --------
    >>> files = pd.DataFrame({
    ...     "file": ["a", "b", "c", "d"], "state": ["Completed"] + ["InProgress"] * 3,
    ...     "verdict": ["slow", "ok", "slow", "stuck"], "delay_s": [900.0, 0.0, 60.0, np.nan],
    ...     "score": [9.0, 0.0, 8.0, 7.0], "is_straggler": [True, False, True, True]})
    >>> rank_files(files)[["file", "delay_s", "matters"]]
      file  delay_s matters
    0    d      NaN     now
    1    c     60.0     now
    2    a    900.0     was
    3    b      0.0      no
    """
    # Frames that were concatenated can have duplicate index values.
    verdicts = verdicts.reset_index(drop=True)
    state = verdicts["state"].astype("str").str.lower()
    verdict = verdicts["verdict"].astype("str")
    late = verdicts["is_straggler"].fillna(False).astype("bool")
    ended = state.isin(DONE_STATES)
    failed = verdict.eq("failed") | state.eq("failed")
    now = ~ended if "when" not in verdicts else verdicts["when"].astype("str").eq("now")
    code = np.select([failed, late & now, late], [0, 1, 2], 3)
    delay = verdicts["delay_s"].astype("float64")
    # Nobody knows when a stuck file goes on, so a delay of 0 if it went on now means nothing.
    delay = delay.mask((code == 1) & verdict.eq("stuck") & delay.eq(0))
    order = pd.DataFrame(
        {
            "code": code,
            "known": delay.notna() & (code == 1),
            "delay": -delay.fillna(np.inf if len(delay) else 0.0).where(code < 3, 0.0),
            "score": -verdicts["score"].astype("float64").fillna(-np.inf)
            if "score" in verdicts
            else 0.0,
        },
        index=verdicts.index,
    ).sort_values(["code", "known", "delay", "score"], kind="stable")
    matters = pd.Categorical.from_codes(code, dtype=MATTERS_DTYPE)
    return verdicts.assign(matters=matters, delay_s=delay).loc[order.index].reset_index(drop=True)


def delay_text(delay_s: float | None) -> str:
    """A file's delay of the job in words, for a table.

    Examples
    --------
    >>> [delay_text(s) for s in (0.0, 480.0, float("nan"))]
    ['nothing', '8 min', 'unknown']
    """
    if delay_s is None or pd.isna(delay_s):
        return UNKNOWN
    return "nothing" if delay_s == 0 else format_duration(delay_s)


def verdict_text(file: pd.Series[Any] | dict[Hashable, Any]) -> str:
    """The verdict of a ranked file, in the present or the past tense, for a table.

    Examples
    --------
    >>> verdict_text({"verdict": "slow", "matters": "was"})
    'was slow'
    """
    verdict = str(file["verdict"])
    past = str(file["matters"]) == "was"
    return f"was {verdict}" if past and verdict != "goes back" else verdict


def file_sentence(file: pd.Series[Any] | dict[Hashable, Any], *, name: str | None = None) -> str:
    """A file's trouble in a sentence without a full stop.

    Parameters
    ----------
    file : Series or dict
        A row of :func:`rank_files`.
    name : str, optional
        The file's name in the sentence, by default its ``file``.

    Examples
    --------
    >>> file_sentence({"file": "a", "verdict": "stuck", "matters": "now", "idle_s": 509.0,
    ...                "delay_s": float("nan")})
    'a is stuck, idle for 8 min 29 s; how much it delays the end is unknown'
    >>> file_sentence({"file": "a", "verdict": "slow", "matters": "now", "delay_s": 480.0})
    'a is slow and delays the end by 8 min'
    >>> file_sentence({"file": "a", "verdict": "slow", "matters": "was", "delay_s": 891.0})
    'a was slow and delayed the end by 14 min 51 s'
    """
    name = name or printable(str(file["file"]), 80)
    verdict, now = str(file["verdict"]), str(file["matters"]) == "now"
    text = f"{name} {(_PRESENT if now else _PAST).get(verdict, f'is {verdict}')}"
    if verdict == "failed":
        return text
    delay, idle = file.get("delay_s"), file.get("idle_s")
    if now and verdict == "stuck" and idle is not None and pd.notna(idle):
        text += f", idle for {format_duration(float(idle))}"
    if delay is None or pd.isna(delay):
        return f"{text}; how much it delays the end is unknown" if now else text
    if delay < _LEAST_DELAY_S:
        return f"{text}, which {'does' if now else 'did'} not delay the end"
    least = "at least " if now and verdict == "stuck" else ""
    return f"{text} and {'delays' if now else 'delayed'} the end by {least}{format_duration(delay)}"


def stragglers_text(verdicts: pd.DataFrame) -> str:
    """The files that matter in a few words: the first by name, the others as a count.

    It is empty if no file matters or none costs time. Files of one task are late together and count
    as one.

    Examples
    --------
    >>> files = pd.DataFrame({
    ...     "file": ["in/a", "in/b"], "state": "InProgress", "verdict": ["slow", "stuck"],
    ...     "delay_s": [480.0, np.nan], "idle_s": [0.0, 509.0], "is_straggler": True})
    >>> stragglers_text(files)
    'in/b is stuck, idle for 8 min 29 s; how much it delays the end is unknown; 1 more is late'
    """
    if verdicts.empty:
        return ""
    ranked = rank_files(verdicts)
    matters = ranked["matters"].astype("str")
    # A file that costs no time is not mentioned; an unknown delay may be a long one.
    delay = ranked["delay_s"].astype("float64")
    costs = delay.ge(_LEAST_DELAY_S) | (delay.isna() & matters.eq("now"))
    own = ranked[matters.eq("failed") | (matters.ne("no") & costs)]
    if own.empty:
        return ""
    if "task" in own:
        own = own.drop_duplicates(
            [name for name in ("source_uri", "job_id", "task") if name in own]
        )
    first = own.iloc[0]
    text = file_sentence(first, name=printable(str(first["file"]), 60))
    kind = str(first["matters"])
    alike = int(own["matters"].astype("str").eq(kind).sum()) - 1
    if alike:
        verb = {"failed": "failed", "now": "is late" if alike == 1 else "are late"}.get(
            kind, "was late" if alike == 1 else "were late"
        )
        text += f"; {alike:,} more {verb}"
    return text
