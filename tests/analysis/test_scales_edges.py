"""Scales at their edges: what each release shows, and half a point or one row beyond it."""

import numpy as np
import pandas as pd
import pytest

from importstats.analysis.scales import (
    SCALES,
    Shown,
    fitting,
    phase_by_scales,
    scales_of_version,
    scales_of_versions,
)
from importstats.names import PHASES

ALL = (1000, 1000, 3)
NONE = (0, 0, 0)
NAN = np.nan
UP_TO_70 = ["2.4.0", "2.4.13", "2.5.0", "3.0.0"]
EVERY = ["2.4.0-rc.1", *UP_TO_70, "Import V3"]


def shown(row):
    return Shown(*(np.array([value], np.float64) for value in row), np.array([True]))


def names(fits):
    return [scale.name for scale, yes in zip(SCALES, fits, strict=True) if yes]


@pytest.mark.parametrize(
    ("row", "scales"),
    [
        # A progress below 10 says nothing.
        ((9.9, 300, 1000, 3), EVERY),
        # Without rows or files progress counts files: up to 40, to 50, or to 15.
        ((10, *NONE), EVERY),
        ((40.5, *NONE), [*EVERY[:5]]),
        ((40.6, *NONE), ["2.4.0-rc.1"]),
        ((50.5, *NONE), ["2.4.0-rc.1"]),
        ((50.6, *NONE), []),
        # A part of no rows counts as done.
        ((68.4, *NONE), []),
        ((68.5, *NONE), UP_TO_70),
        # Files are listed once their rows are on their way.
        ((39, 0, 1000, 3), [*UP_TO_70, "Import V3"]),
        ((38.9, 0, 1000, 3), ["Import V3"]),
        # Half of the rows is 55 of 40 to 70, 70 of 50 to 90, and 30 of 15 to 45.
        ((55, 500, 1000, 3), UP_TO_70),
        ((56.6, 500, 1000, 3), UP_TO_70),
        ((70, 500, 1000, 3), ["2.4.0-rc.1"]),
        ((71.5, 500, 1000, 3), ["2.4.0-rc.1"]),
        ((71.6, 500, 1000, 3), []),
        ((30, 500, 1000, 3), ["Import V3"]),
        ((31.5, 500, 1000, 3), ["Import V3"]),
        ((31.6, 500, 1000, 3), UP_TO_70),
        # All rows are in from 70 on, from 90 on, or from 45 on.
        ((41.5, *ALL), UP_TO_70),
        ((41.6, *ALL), []),
        ((43.4, *ALL), []),
        ((43.5, *ALL), ["Import V3"]),
        ((68.4, *ALL), ["Import V3"]),
        ((68.5, *ALL), [*UP_TO_70, "Import V3"]),
        ((88.4, *ALL), [*UP_TO_70, "Import V3"]),
        ((88.6, *ALL), EVERY),
        ((75, 999_999, 1_000_000, 3), [*UP_TO_70, "Import V3"]),
        ((75, 999_998, 1_000_000, 3), []),
        # Nothing stands between 90 and 100, but committing at 99 and, early on, index building.
        ((90, *ALL), EVERY),
        ((90.1, *ALL), ["2.4.0-rc.1", "2.4.0"]),
        ((98.9, *ALL), ["2.4.0-rc.1", "2.4.0"]),
        ((99, *ALL), ["2.4.0-rc.1", "2.4.0", "3.0.0", "Import V3"]),
        ((99.1, *ALL), ["2.4.0-rc.1", "2.4.0"]),
        ((100, *ALL), EVERY),
    ],
)
def test_a_snapshot_fits_the_scales_that_explain_it(row, scales):
    assert names(fitting(shown(row))[0]) == scales


@pytest.mark.parametrize(
    ("scale", "row", "phase", "fraction"),
    [
        ("2.4.0-rc.1", (49, *NONE), "PreImporting", 0.975),
        ("2.4.0-rc.1", (50, 100, 1000, 3), "Importing", 0.1),
        ("2.4.0-rc.1", (90, 999, 1000, 3), "Importing", 0.999),
        ("2.4.0-rc.1", (90, *ALL), "IndexBuilding", 0.0),
        ("2.4.0-rc.1", (95, *ALL), "IndexBuilding", 0.5),
        ("2.4.0", (70, *ALL), "IndexBuilding", NAN),
        ("2.4.0", (71, *ALL), "IndexBuilding", NAN),
        ("2.4.13", (75, *ALL), "IndexBuilding", 0.25),
        ("2.5.0", (40, *NONE), "PreImporting", 1.0),
        ("2.5.0", (40, 0, 0, 1), "Importing", 0.0),
        ("2.5.0", (39, 0, 1, 0), "PreImporting", 29 / 30),
        # Rows are the finer measure up to a tenth away.
        ("2.5.0", (55, 600, 1000, 3), "Importing", 0.6),
        ("2.5.0", (55, 601, 1000, 3), "Importing", 0.5),
        ("2.5.0", (55, 400, 1000, 3), "Importing", 0.4),
        ("2.5.0", (55, 399, 1000, 3), "Importing", 0.5),
        ("2.5.0", (70, 0, 0, 1), "Importing", 1.0),
        ("2.5.0", (70, NAN, NAN, NAN), "Sorting", 0.0),
        ("2.5.0", (70, 1, 0, 1), "Sorting", 0.0),
        ("2.5.0", (71, 999, 1000, 3), "Sorting", 0.1),
        ("2.5.0", (80, 999, 1000, 3), "IndexBuilding", 0.0),
        ("2.5.0", (99, *ALL), "IndexBuilding", 1.0),
        ("3.0.0", (98.9, *ALL), "IndexBuilding", 0.89 / 0.89),
        ("3.0.0", (99, *ALL), "Committing", NAN),
        ("Import V3", (15, *NONE), "PreImporting", 1.0),
        ("Import V3", (15, 0, 1000, 3), "Resharding", 0.0),
        ("Import V3", (18, 100, 1000, 3), "Resharding", 0.1),
        ("Import V3", (45, 999, 1000, 3), "Resharding", 0.999),
        ("Import V3", (45, 9_999_995, 10_000_000, 3), "Planning", NAN),
        ("Import V3", (45, *ALL), "Planning", NAN),
        ("Import V3", (50, *ALL), "Importing", 0.0),
        ("Import V3", (55, *ALL), "Importing", 0.5),
        ("Import V3", (60, *ALL), "IndexBuilding", 0.0),
        ("Import V3", (60, 999, 1000, 3), "Importing", 1.0),
    ],
)
def test_a_scale_is_read_by_its_points(scale, row, phase, fraction):
    possible = scales_of_version(scale).reshape(1, -1)
    if scale == "2.4.0-rc.1":
        possible = np.array([[name == scale for name in EVERY]])
    code, found = phase_by_scales(shown(row), possible)
    assert PHASES[code[0]] == phase
    assert found[0] == pytest.approx(fraction, nan_ok=True)


@pytest.mark.parametrize(
    ("progress", "scales", "phase", "fraction"),
    [
        (80, UP_TO_70, "IndexBuilding", 0.0),
        (85, ["2.4.13", "2.5.0"], "IndexBuilding", 0.5),
        (75, ["2.4.13", "2.5.0"], "SortingOrIndexing", NAN),
        (75, ["2.5.0", "Import V3"], "Sorting", 0.5),
        (65, ["2.4.0-rc.1", "Import V3"], "Unknown", NAN),
        # Index building of 2.4.0 passes in an instant, and so is left out, from 71 on.
        (71, ["2.4.0", "2.5.0"], "Sorting", 0.1),
        (70, ["2.4.0", "2.5.0"], "SortingOrIndexing", NAN),
        (91, ["2.4.0-rc.1", "Import V3"], "IndexBuilding", 1.0),
        (90, ["2.4.0-rc.1", "Import V3"], "IndexBuilding", 0.0),
        (80, [], "Unknown", NAN),
    ],
)
def test_scales_that_are_left_agree_on_the_phase_or_it_is_not_known(
    progress, scales, phase, fraction
):
    possible = np.array([[name in scales for name in EVERY]])
    code, found = phase_by_scales(shown((progress, *ALL)), possible)
    assert PHASES[code[0]] == phase
    assert found[0] == pytest.approx(fraction, nan_ok=True)


def test_a_general_scale_is_considered_before_those_that_need_a_setting():
    possible = np.array([[name in ("2.4.0-rc.1", "2.5.0") for name in EVERY]])
    code, _ = phase_by_scales(shown((45, *ALL)), possible)
    assert PHASES[code[0]] == "Importing"


@pytest.mark.parametrize(
    ("version", "scales"),
    [
        ("2.4.0", ["2.4.0"]),
        ("2.4.0-rc.1", ["2.4.0-rc.1"]),
        ("2.4.1-rc.1", ["2.4.0"]),
        ("2.5.0-rc.1", ["2.5.0"]),
        ("3.0.0-rc.1", ["3.0.0", "Import V3"]),
        ("3.1.0", ["3.0.0", "Import V3"]),
        ("import v3", ["Import V3"]),
    ],
)
def test_a_version_leaves_the_scales_of_its_release(version, scales):
    assert names(scales_of_version(version)) == scales


def test_versions_of_a_column_are_read_row_by_row_and_none_leaves_every_scale():
    column = pd.Series(["2.5.1", None, "2.4.20"], dtype="str")
    assert [names(row) for row in scales_of_versions(column)] == [["2.5.0"], EVERY, ["2.4.13"]]
