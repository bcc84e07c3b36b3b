"""The sum of several jobs' curves, although each was sampled at different times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from importstats.analysis.samples import Curve
from importstats.analysis.spreading import grown, running_within
from importstats.arrays import US_PER_S, Bools, Floats, Ints, dense, running_total, starts, summed


def add_up(curve: Curve, group: Ints) -> Curve:
    """One curve per group: the sum of its keys' curves at each time when any has a sample.

    `group` is the group of each point. A key's rows are assumed to grow evenly between two of its
    samples; rows without an interval to grow in appear as a jump.
    """
    grid = _Grid.from_curve(curve, group)
    key = grid.key
    first = starts(curve.key)
    initial = np.zeros(len(group))
    initial[first] = curve.rows[first]

    whole = np.diff(np.round(running_total(grid.spread(curve.gain))), prepend=0.0).astype(
        np.float64
    )
    loss = grid.at_samples(curve.loss)
    net = running_total(whole - loss + grid.at_samples(initial))
    before = np.append(0.0, net)[starts(key)]
    open_groups = summed(key, grid.at_samples(curve.open), int(key.max(initial=0)) + 1) > 0
    return Curve(
        key=key,
        time=grid.time,
        moment=np.zeros(len(key), np.int64),
        rows=np.maximum(net - before[dense(key)], 0).astype(np.float64),
        gain=whole,
        loss=loss,
        byte_gain=grid.spread(curve.byte_gain),
        sized=grid.at_samples(curve.sized) > 0,
        shown=grid.at_samples(curve.shown) > 0,
        spread=running_within(key, grid.spread(grown(curve.spread, curve.key))),
        byte_spread=running_within(key, grid.spread(grown(curve.byte_spread, curve.key))),
        since=np.zeros(len(key), np.int64),
        open=open_groups[key],
    )


@dataclass(frozen=True)
class _Grid:
    """The distinct times of all samples of each group, in order.

    Two jobs sampled at 0 s, 10 s and at 5 s, 10 s share the grid 0, 5, 10 s. What the first wrote
    between its samples is spread over the steps that end at 5 s and 10 s.
    """

    key: Ints
    """Per grid point its group."""
    time: Ints
    """Per grid point microseconds since 1970."""
    begin: Ints
    """Per sample the grid point of the sample before it, or its own if it is the first."""
    here: Ints
    """Per sample its own grid point."""
    seconds: Floats
    """Per sample the seconds since the sample before it."""

    @classmethod
    def from_curve(cls, curve: Curve, group: Ints) -> _Grid:
        """The grid for a curve's points; `group` is the group of each."""
        begin = np.append(0, curve.time[:-1])[: len(curve.time)]
        first = starts(curve.key)
        begin[first] = curve.time[first]
        time = np.concatenate([begin, curve.time])
        key = np.concatenate([group, group])
        order = np.lexsort((time, key))
        time, key = time[order], key[order]
        new = np.ones(len(key), np.bool_)
        new[1:] = (key[1:] != key[:-1]) | (time[1:] != time[:-1])
        point = np.empty(len(key), np.int64)
        point[order] = np.cumsum(new) - 1
        seconds = (curve.time - begin) / US_PER_S
        return cls(key[new], time[new], point[: len(group)], point[len(group) :], seconds)

    def at_samples(self, values: Floats | Bools) -> Floats:
        """The sum of the samples' values at each grid point."""
        return summed(self.here, values, len(self.time))

    def spread(self, gain: Floats) -> Floats:
        """The gain in each grid step, if each sample's gain grew evenly since the sample before.

        The slope of each sample is added where it begins and taken off where it ends, so a running
        sum gives the slope of all in every step.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = np.where(self.seconds > 0, gain / self.seconds, 0.0)
        jump = np.where(self.seconds > 0, 0.0, gain)
        borders = np.concatenate([self.begin, self.here])
        changes = summed(borders, np.concatenate([slope, -slope]), len(self.time))
        running = np.append(0.0, np.cumsum(changes)[:-1])[: len(self.time)]
        step = np.diff(self.time, prepend=0) / US_PER_S
        step[starts(self.key)] = 0.0
        even: Floats = np.maximum(running, 0.0) * step
        return even + self.at_samples(jump)
