"""Inputs: a caller's frame becomes the frame that an analysis expects, or one clear error.

Every public function that takes a jobs or a details frame has this door (:func:`at_the_door`). It
takes pandas, polars and Arrow frames, also such as were written to CSV and read again, and returns
the answer in the caller's kind. Inside, an analysis need not doubt a dtype.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, ParamSpec, TypeVar

import pandas as pd
import pyarrow as pa

from importstats.names import JOB_KEY
from importstats.store.frames import details_frame, jobs_frame
from importstats.store.schema import DETAILS_SCHEMA, JOBS_SCHEMA

Kind = Literal["jobs", "details", "either"]
Back = Callable[[pd.DataFrame], Any]
P = ParamSpec("P")
R = TypeVar("R")

_NEEDED: Final = (*JOB_KEY, "observed_at")
_OF_FILES: Final = ("file_index", "file_name")
_MAKERS: Final = {
    "jobs": "importstats.load_jobs or importstats.flatten_jobs",
    "details": "importstats.load_details or importstats.flatten_details",
    "either": "importstats.load_jobs or importstats.load_details",
}
#: The parameters of public functions that are frames, with their kinds.
PARAMETERS: Final[Mapping[str, Kind]] = {
    "jobs": "jobs",
    "details": "details",
    "history": "jobs",
    "frame": "either",
}


def at_the_door(function: Callable[P, R]) -> Callable[P, R]:
    """The function with its frames normalised on the way in, and its answer in the caller's kind.

    The columns ``source_uri`` and ``job_id`` of a pandas answer have the dtype that they have in
    the first frame given, so that the two merge, and the answer has the ``attrs`` of that frame.

    Raises
    ------
    TypeError
        An argument is no frame, but must be one.
    ValueError
        A frame lacks a column, is of the other kind, or has a column that cannot be read; the
        message names argument, column and remedy.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def with_normalised_frames(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = signature.bind(*args, **kwargs)
        first: Back | None = None
        for name, kind in PARAMETERS.items():
            given = bound.arguments.get(name)
            if given is None:
                continue
            if isinstance(given, list | tuple):
                bound.arguments[name] = [normalised(each, kind, name)[0] for each in given]
                continue
            bound.arguments[name], back = normalised(given, kind, name)
            first = first or back
        try:
            answer = function(*bound.args, **bound.kwargs)
        except KeyError as error:
            for name, kind in PARAMETERS.items():
                _refuse_lacking(bound.arguments.get(name), kind, name, error)
            raise
        if first is not None and isinstance(answer, pd.DataFrame):
            return first(answer)  # type: ignore[no-any-return]
        return answer

    return with_normalised_frames


def _refuse_lacking(frame: Any, kind: Kind, name: str, error: KeyError) -> None:
    """Raise a ValueError that names the column, if the error is about one that the frame lacks."""
    if not isinstance(frame, pd.DataFrame):
        return
    schema = DETAILS_SCHEMA if _has_files(frame) else JOBS_SCHEMA
    for column in schema.names:
        if column not in frame.columns and repr(column) in str(error):
            raise _no_column(column, kind, name) from error


def _no_column(column: str, kind: Kind, name: str) -> ValueError:
    return ValueError(f"{name} has no column {column!r}; make the frame with {_MAKERS[kind]}")


def normalised(given: Any, kind: Kind, name: str) -> tuple[pd.DataFrame, Back]:
    """A frame as an analysis expects it, and a function that makes an answer the caller's kind.

    Parameters
    ----------
    given : DataFrame
        Of pandas, polars (eager or lazy) or Arrow.
    kind : {"jobs", "details", "either"}
        The kind that it has to be.
    name : str
        The argument's name, for errors.

    Returns
    -------
    frame : pandas.DataFrame
        `given` itself if nothing had to be changed.
    back : callable
        Turns a pandas answer into a frame of the caller's kind.

    Examples
    --------
    >>> import polars
    >>> jobs = polars.DataFrame({
    ...     "source_uri": ["http://localhost:19530"], "job_id": ["7"], "state": ["Importing"],
    ...     "observed_at": ["2026-05-18T08:00:00Z"]})
    >>> frame, back = normalised(jobs, "jobs", "jobs")
    >>> str(frame["observed_at"].dtype), type(back(frame)).__module__.split(".")[0]
    ('datetime64[us, UTC]', 'polars')
    """
    frame, back = _as_pandas(given, kind, name)
    _check_kind(frame, kind, name)
    schema = JOBS_SCHEMA if kind == "jobs" or not _has_files(frame) else DETAILS_SCHEMA
    changed = {
        column: values
        for column in frame.columns
        if column in schema.names
        and (values := _column(frame[column], schema.field(column).type, name)) is not None
    }
    frame = frame.assign(**changed) if changed else frame
    return _each_snapshot_once(frame), back


def _each_snapshot_once(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame; a jobs frame without the rows that two overlapping reads of a store repeat."""
    if _has_files(frame) or "snapshot_id" not in frame:
        return frame
    again = frame.duplicated([*JOB_KEY, "snapshot_id", "observed_at"])
    again &= frame["snapshot_id"].notna()
    return frame[~again] if again.any() else frame


def _as_pandas(given: Any, kind: Kind, name: str) -> tuple[pd.DataFrame, Back]:
    if isinstance(given, pd.DataFrame):
        return given, functools.partial(_with_input_keys, given)
    table = _as_arrow(given)
    if table is None:
        raise TypeError(
            f"{name} must be a pandas, polars or Arrow frame, not {type(given).__name__}; "
            f"make one with {_MAKERS[kind]}"
        )
    keys = {key: table.schema.field(key).type for key in JOB_KEY if key in table.column_names}
    to_kind = _to_arrow if isinstance(given, pa.Table | pa.RecordBatch) else _to_polars
    has_files = "file_name" in table.column_names
    if has_files and "file" in table.column_names:
        table = table.drop_columns("file")  # It is made anew from file_name.
    table = _with_plain_text(table, DETAILS_SCHEMA if has_files else JOBS_SCHEMA)
    frame = details_frame(table) if has_files else jobs_frame(table)
    return frame, functools.partial(to_kind, keys)


def _as_arrow(given: Any) -> pa.Table | None:
    # Imported here, so that callers with pandas frames need not wait for it.
    import narwhals as nw

    try:
        native = nw.from_native(given)
    except TypeError:
        return None
    if isinstance(native, nw.LazyFrame):
        native = native.collect()
    return native.to_arrow() if isinstance(native, nw.DataFrame) else None


def _with_plain_text(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with one type of text, and with all-null columns in the schema's types."""
    for place, field in enumerate(table.schema):
        if field.name not in schema.names:
            continue
        type_ = schema.field(field.name).type
        if pa.types.is_null(field.type) or pa.types.is_string(type_):
            table = table.set_column(place, field.name, table.column(place).cast(type_))
    return table


def _with_input_keys(given: pd.DataFrame, answer: pd.DataFrame) -> pd.DataFrame:
    keys = {
        key: given[key].dtype
        for key in JOB_KEY
        if key in given and key in answer and given[key].dtype != answer[key].dtype
    }
    if any(isinstance(dtype, pd.CategoricalDtype) or dtype == "str" for dtype in keys.values()):
        answer = answer.astype(keys)
    if given.attrs and answer is not given:
        answer.attrs = {**given.attrs, **answer.attrs}
    return answer


def _to_arrow(keys: Mapping[str, pa.DataType], answer: pd.DataFrame) -> Any:
    table = pa.Table.from_pandas(answer, preserve_index=False)
    for key in keys.keys() & set(table.column_names):
        place = table.column_names.index(key)
        text = table.column(place).cast(pa.string())
        table = table.set_column(place, key, text.cast(keys[key]))
    return table


def _to_polars(keys: Mapping[str, pa.DataType], answer: pd.DataFrame) -> Any:
    import narwhals as nw

    return nw.from_native(_to_arrow(keys, answer), eager_only=True).to_polars()


def _has_files(frame: pd.DataFrame) -> bool:
    return any(column in frame.columns for column in _OF_FILES)


def _check_kind(frame: pd.DataFrame, kind: Kind, name: str) -> None:
    missing = [column for column in _NEEDED if column not in frame.columns]
    if missing:
        raise _no_column(missing[0], kind, name)
    if kind == "jobs" and _has_files(frame):
        raise ValueError(
            f"{name} has the column {next(c for c in _OF_FILES if c in frame.columns)!r}, so it is "
            f"a details frame; a jobs frame comes from {_MAKERS['jobs']}"
        )
    if kind == "details" and not _has_files(frame):
        raise ValueError(
            f"{name} has no column 'file_index', so it is a jobs frame; a details frame comes from "
            f"{_MAKERS['details']}"
        )


def _column(values: pd.Series[Any], type_: pa.DataType, name: str) -> pd.Series[Any] | None:
    """The column with the dtype that an analysis expects, or ``None`` if it has it already."""
    if pa.types.is_timestamp(type_):
        return _as_utc(values, name)
    if pa.types.is_integer(type_):
        return _as_integers(values, name)
    if pa.types.is_floating(type_):
        return _as_numbers(values, name)
    return _as_texts(values)


def _as_utc(values: pd.Series[Any], name: str) -> pd.Series[Any] | None:
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        return None if str(values.dt.tz) == "UTC" else values.dt.tz_convert("UTC")
    where = f"{name}[{values.name!r}]"
    if values.isna().all():
        return pd.to_datetime(values, utc=True)
    if pd.api.types.is_datetime64_dtype(values.dtype) or pd.api.types.is_numeric_dtype(
        values.dtype
    ):
        raise ValueError(
            f"{where} has no time zone; say which it is in: "
            f"{name}[{values.name!r}].dt.tz_localize('UTC')"
        )
    text = values.dropna().astype("str")
    has_zone = text.str.contains(r"(?:Z|[+-]\d\d:?\d\d)$")
    if not has_zone.all():
        raise ValueError(
            f"{where} has times without a zone, such as {text[~has_zone].iloc[0]!r}; "
            f"write them as 2026-05-18T08:00:00Z"
        )
    times = pd.to_datetime(values, utc=True, format="ISO8601", errors="coerce")
    unread = text[times.isna()[text.index]]
    if len(unread):
        raise ValueError(
            f"{where} has values that are no times, such as {unread.iloc[0]!r}; "
            f"write them as 2026-05-18T08:00:00Z"
        )
    return times


def _as_integers(values: pd.Series[Any], name: str) -> pd.Series[Any] | None:
    if pd.api.types.is_integer_dtype(values.dtype):
        return None
    try:
        # Text is read as whole numbers if it can be: an id has more digits than a float.
        numbers = pd.to_numeric(values, dtype_backend="numpy_nullable").where(values.notna())
        whole = numbers.astype("Int64")
        if (whole != numbers).any():
            raise ValueError
        return whole
    except (TypeError, ValueError):
        raise ValueError(
            f"{name}[{values.name!r}] must hold whole numbers or be missing; "
            f"it is {values.dtype} and holds others"
        ) from None


def _as_numbers(values: pd.Series[Any], name: str) -> pd.Series[Any] | None:
    if pd.api.types.is_numeric_dtype(values.dtype):
        return None
    try:
        return pd.to_numeric(values).astype("float64")
    except (TypeError, ValueError):
        raise ValueError(
            f"{name}[{values.name!r}] must hold numbers; it is {values.dtype} and holds others"
        ) from None


def _as_texts(values: pd.Series[Any]) -> pd.Series[Any] | None:
    if isinstance(values.dtype, pd.CategoricalDtype) or values.dtype == "str":
        return None
    if values.isna().all():
        return values.astype("str").where(values.notna())
    if pd.api.types.is_numeric_dtype(values.dtype):
        # An id of digits comes back from CSV as a number.
        return values.astype("Int64").astype("str").where(values.notna())
    return values.astype("str").where(values.notna())
