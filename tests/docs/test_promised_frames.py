"""Frames have the columns and dtypes that docstrings, and so the page, promise."""

import runpy
from functools import lru_cache
from pathlib import Path

import pandas as pd
import pytest

import importstats
from importstats import datasets

DOCS = Path(__file__).parents[2] / "docs"
PAGE = runpy.run_path(str(DOCS / "frames.py"))
KEY = ["source_uri", "job_id"]


@lru_cache
def recorded(name):
    """A recording as far as its middle, for what a job at work shows."""
    jobs, details = datasets.load(name)
    at = jobs["observed_at"].quantile(0.5)
    return importstats.rewind(jobs, at), importstats.rewind(details, at, jobs)


#: How to make each frame, and the columns that it has of its input.
MADE = {
    "with_phase": (lambda jobs, _: importstats.with_phase(jobs), lambda jobs, _: list(jobs)),
    "phases": (lambda jobs, _: importstats.phases(jobs), None),
    "throughput": (lambda jobs, _: importstats.throughput(jobs), lambda *_: KEY),
    "eta": (
        lambda jobs, details: importstats.eta(jobs.tail(2), details, explain=True),
        None,
    ),
    "stragglers": (lambda _, details: importstats.stragglers(details), None),
    "diagnose": (lambda jobs, details: importstats.diagnose(jobs, details), None),
    "check_rows": (lambda _, details: importstats.check_rows(details, 7), None),
    "summary": (lambda jobs, details: importstats.summary(jobs, details), None),
    "compare": (
        lambda jobs, details: importstats.compare(jobs, details),
        lambda *frames: list(importstats.summary(*frames)),
    ),
    "infer_tasks": (lambda _, details: importstats.infer_tasks(details), None),
}


def fits(dtype, text):
    """Whether a dtype is what a docstring calls so."""
    if text == "ordered category":
        return isinstance(dtype, pd.CategoricalDtype) and dtype.ordered
    if text == "category":
        return isinstance(dtype, pd.CategoricalDtype)
    return any(str(dtype) == one for one in text.split(" or "))


def test_every_function_of_the_page_is_tried():
    assert tuple(MADE) == PAGE["FUNCTIONS"]


@pytest.mark.parametrize("rows", ["some", "none"])
@pytest.mark.parametrize("recording", ["stragglers", "failed"])
@pytest.mark.parametrize("function", MADE)
def test_a_frame_is_as_its_docstring_promises(function, recording, rows):
    frames = recorded(recording)
    if rows == "none":
        frames = tuple(frame.iloc[:0] for frame in frames)
    make, of_input = MADE[function]
    frame = make(*frames)
    columns = PAGE["promised"](function)
    columns = [column for column in columns if column.always or column.name in frame]
    kept = of_input(*frames) if of_input else []
    assert sorted(frame) == sorted([*kept, *(column.name for column in columns)])
    wrong = {
        column.name: (column.dtype, str(frame[column.name].dtype))
        for column in columns
        if not fits(frame[column.name].dtype, column.dtype)
    }
    assert wrong == {}


def test_the_page_is_current():
    page = (DOCS / "frames.md").read_text(encoding="utf-8")
    assert PAGE["text"]() == page, "run: python docs/frames.py"


def test_units_are_those_of_the_names():
    units = {column.name: column.unit for column in PAGE["promised"]("summary")}
    assert units["duration_s"] == "s"
    assert units["bytes_per_s"] == "bytes/s"
    assert units["progress_pct"] == "%"
    assert units["started_at"] == "UTC"
    assert units["files"] == ""
    assert {column.unit for column in PAGE["promised"]("compare")} == {"ratio"}
