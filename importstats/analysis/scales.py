"""Progress scales: the meaning of `progress` in each line of releases, and each job's scale.

A server computes ``progress`` from a phase it does not name, and the points of each phase differ
by release (``internal/datacoord/import_util.go`` and ``import_checker.go`` of each). No answer
names its scale, so the scale is *recognised*: whatever a job shows rules scales out. Either those
that are left agree on the phase, or the phase is reported as unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import pandas as pd

from importstats.arrays import Bools, Floats, Ints
from importstats.names import PHASES
from importstats.releases import Release, release_bounds

CODE: Final = {phase: code for code, phase in enumerate(PHASES)}
# How many points a whole-number progress may differ from the share of rows behind it.
ROUNDING: Final = 1.5
# Above 16.7 million rows quotients have single precision: if so little is missing, it may be none.
_ALL_ROWS: Final = 1 - 1e-6
_COMMITTING: Final = 99.0


@dataclass(frozen=True)
class Step:
    """The points of one phase, `start` to `end`; both are equal if progress stands still."""

    phase: str
    start: float
    end: float


@dataclass(frozen=True)
class ProgressScale:
    """A scale, which a line of releases uses.

    Attributes
    ----------
    name : str
        The first release with it.
    since, until : tuple of (int, int, int)
        That release, and the first that no longer has it.
    steps : tuple of Step
        In order. Below the first step a job is Pending.
    opens_from : float
        Above this, progress passes in an instant, while segments are opened: a job that stands
        still there is on another scale.
    commits : bool
        Whether a job stands at 99 while it is committed.
    general : bool
        Whether a general release has it without a setting. The other scales are considered only
        once a job has shown what no general release does.
    """

    name: str
    since: Release
    until: Release
    steps: tuple[Step, ...]
    opens_from: float = 101.0
    commits: bool = False
    general: bool = True

    def step(self, phase: str) -> Step | None:
        """The step of a phase, or None if the scale does not have it."""
        return next((step for step in self.steps if step.phase == phase), None)


_NEVER: Final = (1_000_000, 0, 0)
_TO_40: Final = (Step("PreImporting", 10, 40), Step("Importing", 40, 70))
_SORTED: Final = (*_TO_40, Step("Sorting", 70, 80), Step("IndexBuilding", 80, 90))

#: All scales, the oldest first.
SCALES: Final = (
    ProgressScale(
        "2.4.0-rc.1",
        (2, 4, 0),
        (2, 4, 1),
        (Step("PreImporting", 10, 50), Step("Importing", 50, 90), Step("IndexBuilding", 90, 100)),
        opens_from=91.0,
        general=False,
    ),
    ProgressScale(
        "2.4.0", (2, 4, 0), (2, 4, 13), (*_TO_40, Step("IndexBuilding", 70, 70)), opens_from=71.0
    ),
    ProgressScale("2.4.13", (2, 4, 13), (2, 5, 0), (*_TO_40, Step("IndexBuilding", 70, 90))),
    ProgressScale("2.5.0", (2, 5, 0), (3, 0, 0), _SORTED),
    ProgressScale("3.0.0", (3, 0, 0), _NEVER, _SORTED, commits=True),
    ProgressScale(
        "Import V3",
        (3, 0, 0),
        _NEVER,
        (
            Step("PreImporting", 10, 15),
            Step("Resharding", 15, 45),
            Step("Planning", 45, 45),
            Step("Importing", 50, 60),
            Step("IndexBuilding", 60, 90),
        ),
        commits=True,
        general=False,
    ),
)


@dataclass(frozen=True)
class Shown:
    """The facts of each snapshot, as arrays with one value per snapshot.

    Attributes
    ----------
    progress : ndarray of float64
        0 to 100, NaN if it is not usable.
    imported, total, details : ndarray of float64
        NaN if the server sent none.
    at_work : ndarray of bool
        Whether the state is Importing, which covers all phases of work.
    """

    progress: Floats
    imported: Floats
    total: Floats
    details: Floats
    at_work: Bools

    @cached_property
    def share(self) -> Floats:
        """The share of the rows that are written, NaN if not known."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.total > 0, np.minimum(self.imported / self.total, 1.0), np.nan)

    @cached_property
    def begun(self) -> Bools:
        """Whether there are rows or files, as there are from Importing on."""
        return np.asarray((self.imported > 0) | (self.total > 0) | (self.details > 0))

    @cached_property
    def nothing(self) -> Bools:
        """Whether the server reports that there are none; unreported numbers are not zero."""
        return np.asarray((self.imported == 0) & (self.total == 0) & (self.details == 0))

    def take(self, chosen: Ints | Bools) -> Shown:
        """The chosen snapshots."""
        return Shown(
            self.progress[chosen],
            self.imported[chosen],
            self.total[chosen],
            self.details[chosen],
            self.at_work[chosen],
        )

    def changes(self) -> Bools:
        """Whether each snapshot differs from the one before it.

        Most do not: a job that waits for its indexes is polled hundreds of times.
        """
        found = np.ones(len(self.progress), np.bool_)
        found[1:] = self.at_work[1:] != self.at_work[:-1]
        for column in (self.progress, self.imported, self.total, self.details):
            # Compared as bits, so that NaN equals NaN.
            bits = np.ascontiguousarray(column).view(np.int64)
            found[1:] |= bits[1:] != bits[:-1]
        return found


def scales_between(least: Release, end: Release | None) -> Bools:
    """Whether each scale fits the releases from `least` up to `end`."""
    return np.array(
        [(end is None or scale.since < end) and least < scale.until for scale in SCALES]
    )


def scales_of_version(server_version: str) -> Bools:
    """Whether each scale fits a server's version, or has the name that is given instead.

    Examples
    --------
    >>> [scale.name for scale, fits in zip(SCALES, scales_of_version("2.4.14")) if fits]
    ['2.4.13']
    """
    named = np.array([scale.name.lower() == server_version.lower() for scale in SCALES])
    if named.any():
        return named
    least, end = release_bounds(server_version)
    found = scales_between(least, end)
    if (least, end) == ((2, 4, 0), (2, 4, 1)):
        candidate = "rc" in server_version.lower()
        found &= np.array([candidate == (scale is SCALES[0]) for scale in SCALES])
    return found


def fitting(shown: Shown) -> Bools:
    """Whether each scale explains each snapshot on its own: (snapshots, scales).

    A job that is not at work shows nothing about its scale, nor does a progress below 10.
    """
    changes = shown.changes()
    fits: Bools = _fits_each_scale(shown.take(changes))[np.cumsum(changes) - 1]
    return fits


def _fits_each_scale(shown: Shown) -> Bools:
    fits = np.stack([_fits_scale(scale, shown) for scale in SCALES], axis=1)
    exact = np.stack([_fits_scale_exactly(scale, shown) for scale in SCALES], axis=1)
    # Rows and progress of one snapshot may be moments apart, so a mismatch alone rules nothing out.
    # But if another scale explains them exactly, it is that one.
    general = np.array([scale.general for scale in SCALES])
    distinct = (exact & ~general).any(axis=1) & ~(exact & general).any(axis=1)
    fits &= ~distinct.reshape(-1, 1) | exact
    silent = ~(shown.at_work & (shown.progress >= 10))
    return np.asarray(fits | silent.reshape(-1, 1))


def _fits_scale(scale: ProgressScale, shown: Shown) -> Bools:
    progress, share = shown.progress, shown.share
    importing = scale.step("Importing")
    assert importing is not None  # noqa: S101 -- every scale has it
    written = scale.step("Resharding") or importing
    wrong = (share < _ALL_ROWS) & (progress > written.end + ROUNDING)
    all_there = share >= _ALL_ROWS
    wrong |= all_there & (progress > written.start + ROUNDING) & (progress < written.end - ROUNDING)
    # A part without rows counts as done, but the files of Resharding are listed anyway.
    empty = shown.nothing & (progress > written.start + 0.5)
    wrong |= empty & ((progress < importing.end - ROUNDING) | (written is not importing))
    # No file is listed before its rows are being written.
    counted = (shown.total > 0) & (shown.imported == 0) & (shown.details > 0)
    wrong |= counted & (progress < written.start - 1)
    if not scale.general:
        wrong |= all_there & (progress < written.end - ROUNDING)
        wrong |= (shown.imported > 0) & (share < _ALL_ROWS) & ~_fits_scale_exactly(scale, shown)
    between = [
        (before.end, after.start)
        for before, after in zip(scale.steps, scale.steps[1:], strict=False)
        if after.start > before.end
    ]
    last = scale.steps[-1].end if scale.opens_from > 100 else 100.0
    end = _COMMITTING if scale.commits else 100.0
    for low, high in [*between, (last, end), (end, 100.0)]:
        wrong |= (progress > low) & (progress < high)
    return np.asarray(~wrong)


def _fits_scale_exactly(scale: ProgressScale, shown: Shown) -> Bools:
    """Whether the progress is exactly the one that the scale computes from the rows."""
    step = scale.step("Resharding") or scale.step("Importing")
    assert step is not None  # noqa: S101 -- every scale has one
    off = np.abs(shown.progress - step.start - (step.end - step.start) * shown.share)
    return np.asarray((off <= ROUNDING) & (shown.imported > 0) & (shown.share < _ALL_ROWS))


def read(scale: ProgressScale, shown: Shown) -> tuple[Ints, Floats]:
    """Phase and fraction of jobs at work, from their progress on a scale.

    At a border it is the later phase: a phase that is done lasts only until the server's next
    check, one that has begun lasts until its first part is done. Importing is not over while rows
    are missing or none were counted (a part without rows counts as done), and PreImporting is not
    over while there are neither rows nor files.
    """
    progress, share = shown.progress, shown.share
    starts = np.array([step.start for step in scale.steps])
    place = np.searchsorted(starts, np.nan_to_num(progress, nan=-1.0), side="right") - 1
    place = np.maximum(place, 0)
    at_border = (progress == starts[place]) & (place > 0)
    back = at_border & (place == 1) & ~shown.begun
    names = [step.phase for step in scale.steps]
    importing = names.index("Importing")
    unwritten = (share < 1) | ((shown.total == 0) & ~(shown.imported > 0))
    back |= at_border & (place == importing + 1) & unwritten
    if "Resharding" in names:
        back |= at_border & (place == names.index("Resharding") + 1) & (share < _ALL_ROWS)
    # More than 16.7 million rows are divided with so few digits that a few seem to be missing at
    # the end.
    place = np.where(back, place - 1, place)
    ends = np.array([step.end for step in scale.steps])
    width = ends[place] - starts[place]
    with np.errstate(divide="ignore", invalid="ignore"):
        fraction = np.where(width > 0, (progress - starts[place]) / width, np.nan)
    fraction = np.clip(fraction, 0, 1)
    # Rows are the finer measure, as long as they and the progress agree.
    by_rows = names.index("Resharding") if "Resharding" in names else importing
    close = (place == by_rows) & (np.abs(share - fraction) <= 0.1)
    fraction = np.where(close, share, fraction)
    code = np.array([CODE[name] for name in names], np.int64)[place]
    if scale.commits:
        committing = progress >= _COMMITTING
        code = np.where(committing, CODE["Committing"], code)
        fraction = np.where(committing, np.nan, fraction)
    return code, fraction


def phase_by_scales(shown: Shown, possible: Bools) -> tuple[Ints, Floats]:
    """The phase and fraction on which each snapshot's possible scales agree.

    Parameters
    ----------
    shown : Shown
    possible : ndarray of bool
        (snapshots, scales): which scales the job can be on, by everything that is known.

    Returns
    -------
    code : ndarray of int64
        Index in :data:`~importstats.names.PHASES`: ``SortingOrIndexing`` if scales with and without
        sorting are left, ``Unknown`` if none is left or those left do not agree.
    fraction : ndarray of float64
        The smallest if the scales differ in it; NaN if they differ in the phase.
    """
    changes = shown.changes()
    changes[1:] |= (possible[1:] != possible[:-1]).any(axis=1)
    code, fraction = _phase_by_scales(shown.take(changes), possible[changes])
    same = np.cumsum(changes) - 1
    return code[same], fraction[same]


def _phase_by_scales(shown: Shown, possible: Bools) -> tuple[Ints, Floats]:
    general = np.array([scale.general for scale in SCALES])
    plain = possible & general
    considered = np.where(plain.any(axis=1, keepdims=True), plain, possible)
    opens = np.stack([shown.progress >= scale.opens_from for scale in SCALES], axis=1)
    lasting = considered & ~opens
    considered = np.where(lasting.any(axis=1, keepdims=True), lasting, considered)
    found = [read(scale, shown) for scale in SCALES]
    codes = np.stack([code for code, _ in found], axis=1)
    fractions = np.stack([fraction for _, fraction in found], axis=1)
    low = np.where(considered, codes, len(PHASES)).min(axis=1)
    high = np.where(considered, codes, -1).max(axis=1)
    code = np.where(low == high, low, CODE["Unknown"])
    either = (low == CODE["Sorting"]) & (high == CODE["IndexBuilding"])
    code = np.where(either, CODE["SortingOrIndexing"], code)
    least = np.where(considered, fractions, np.inf).min(axis=1)
    fraction = np.where((low == high) & np.isfinite(least), least, np.nan)
    return code.astype(np.int64), fraction


def scales_of_versions(column: pd.Series[str]) -> Bools:
    """Whether each scale fits each version in a column: (rows, scales); all fit a missing one."""
    codes, versions = pd.factorize(column, use_na_sentinel=True)
    allowed = [scales_of_version(str(version)) for version in versions]
    allowed.append(np.ones(len(SCALES), np.bool_))
    return np.stack(allowed)[codes]
