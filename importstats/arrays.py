"""Columns as numpy arrays, and the operations on groups of them that analyses share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]

Ints = npt.NDArray[np.int64]

Bools = npt.NDArray[np.bool_]

#: Microseconds in a second.
US_PER_S: Final = 1e6

# numpy sorts 16 bits by counting.
_RADIX: Final = 1 << 16


def starts(key: Ints) -> Ints:
    """The place at which each key of a sorted array begins."""
    new = np.ones(len(key), np.bool_)
    new[1:] = key[1:] != key[:-1]
    return np.flatnonzero(new)


def ends(first: Ints, length: int) -> Ints:
    """The last place of each key, from the places at which the keys begin and the array ends."""
    return np.append(first[1:], length)[: len(first)] - 1


def dense(code: Ints) -> Ints:
    """The codes of a sorted array renumbered from 0 without holes."""
    new = np.zeros(len(code), np.int64)
    new[1:] = code[1:] != code[:-1]
    return np.cumsum(new)


def order_by(code: Ints, then: Ints) -> Ints:
    """The stable order by a code of 0 and above, and within a code by `then`."""
    order = stable_order(code)
    falls = np.diff(then[order]) < 0
    falls &= np.diff(code[order]) == 0
    return np.lexsort((then, code)) if falls.any() else order


def stable_order(code: Ints) -> Ints:
    """The stable order by a code of 0 and above."""
    if len(code) < 2 or (np.diff(code) >= 0).all():
        return np.arange(len(code))
    if code.max() >= _RADIX**2:
        return np.argsort(code, kind="stable")
    # numpy sorts 16 bits in one pass of counting, which is several times faster than 64.
    order = np.argsort((code % _RADIX).astype(np.uint16), kind="stable")
    if code.max() >= _RADIX:
        high = (code // _RADIX).astype(np.uint16)
        order = order[np.argsort(high[order], kind="stable")]
    return order


def floats(frame: pd.DataFrame, name: str) -> Floats:
    """A column as floats; NaN for missing values, and for all if there is no such column."""
    if name not in frame:
        return np.full(len(frame), np.nan)
    column = frame[name]
    if column.dtype == "object":
        column = column.astype("Float64")
    return np.array(column.to_numpy(np.float64, na_value=np.nan))


def microseconds(frame: pd.DataFrame, name: str) -> tuple[Ints, Bools]:
    """A column of times as microseconds since 1970, and whether each is known."""
    time = frame[name].to_numpy(dtype="datetime64[us]")
    return time.astype(np.int64), ~np.isnat(time)


def whole_counts(frame: pd.DataFrame, name: str) -> pd.Series[int]:
    """A column of counts with all digits; missing values if there is no such column."""
    if name not in frame:
        return pd.Series(pd.array([pd.NA] * len(frame), "Int64"))
    return frame[name].astype("Int64").reset_index(drop=True)


def with_columns(frame: pd.DataFrame, columns: Mapping[str, Any]) -> pd.DataFrame:
    """The frame with more columns after its own, all added at once.

    ``assign`` makes the index of the columns anew for each, which takes longer than most columns.
    """
    all_columns: dict[Any, Any] = {name: frame[name].array for name in frame}
    all_columns.update(columns)
    return pd.DataFrame(all_columns, index=range(len(frame)), copy=False)


def timestamps(time: Ints) -> pd.Series[pd.Timestamp]:
    """Microseconds since 1970 as UTC times."""
    return pd.Series(time.astype("datetime64[us]")).dt.tz_localize("UTC")


def whole_numbers(values: Floats, missing: Bools | None = None) -> pd.arrays.IntegerArray:
    """The values as Int64; NaN, what no int64 can hold, and the `missing` ones are missing."""
    known = np.abs(values) < 2.0**63
    mask = ~known if missing is None else ~known | missing
    return pd.arrays.IntegerArray(np.rint(np.where(known, values, 0)).astype(np.int64), mask)


def count_before(flags: Bools, first: Ints) -> Ints:
    """For each value, how many earlier ones of its group are true; `first` has the groups' starts.

    Examples
    --------
    >>> count_before(np.array([True, True, False, True, False]), np.array([0, 3])).tolist()
    [0, 1, 2, 0, 1]
    """
    running: Ints = np.cumsum(flags, dtype=np.int64) - flags
    return running - np.repeat(running[first], np.diff(np.append(first, len(flags))))


def compact(code: Ints) -> Ints:
    """The codes renumbered from 0 without holes, in their order."""
    bound = int(code.max()) + 1 if len(code) else 0
    if bound > 4 * len(code) + _RADIX:
        return np.unique(code, return_inverse=True)[1]
    used = np.zeros(bound, np.bool_)
    used[code] = True
    return (np.cumsum(used) - 1)[code]


def carried(values: Floats, key: Ints) -> Floats:
    """The values, with each missing one replaced by the value before it of the same key."""
    place = np.where(np.isnan(values), 0, np.arange(len(values)))
    first = starts(key)
    place[first] = first
    return values[np.maximum.accumulate(place)]


def summed(group: Ints, values: Floats | Bools, count: int) -> Floats:
    """The sum of the values of each of `count` groups."""
    return np.bincount(group, weights=values, minlength=count).astype(np.float64, copy=False)


def running_total(values: Floats) -> npt.NDArray[np.longdouble]:
    """The sum up to each value, over all groups at once.

    It has more digits than the values: one server's absurd count must not cost all jobs after it
    their last digits.
    """
    return np.cumsum(values, dtype=np.longdouble)


def grouped_quantile(values: Floats, group: Ints, count: int, quantile: float = 0.5) -> Floats:
    """A quantile of the values of each group, NaN left out, between the two nearest values.

    Examples
    --------
    >>> grouped_quantile(np.array([1.0, 3.0, np.nan, 5.0]), np.array([0, 0, 0, 2]), 3).tolist()
    [2.0, nan, 5.0]
    """
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.lexsort((values[known], group[known]))]
    sizes = np.bincount(group[known], minlength=count)
    place = np.cumsum(sizes) - sizes + np.maximum(sizes - 1, 0) * quantile
    found = np.full(count, np.nan)
    some = sizes > 0
    low = np.floor(place[some]).astype(np.int64)
    high = np.ceil(place[some]).astype(np.int64)
    part = place[some] - low
    ordered = values[order]
    found[some] = ordered[low] * (1 - part) + ordered[high] * part
    return found


def seconds(rows: pd.DataFrame) -> Floats:
    """``observed_at`` in seconds since 1970."""
    times = rows["observed_at"].to_numpy(dtype="datetime64[us]")
    return np.asarray(times.astype(np.int64) / US_PER_S, dtype=np.float64)
