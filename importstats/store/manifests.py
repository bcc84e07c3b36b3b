"""Manifests: a load's source files, and how many rows are in each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from importstats.errors import StoreError, UsageError
from importstats.store.files import Files
from importstats.text import excerpt

_FILE_NAMES: Final = ("file", "path", "file_name", "filename", "uri", "url", "object")
_ROW_NAMES: Final = ("rows", "row_count", "num_rows", "total_rows", "count", "records")


def read_manifest(path: str | Path, *, sources: str | None = None) -> pd.Series[int]:
    r"""The rows of each file that a manifest names.

    Parameters
    ----------
    path : str or Path
        A CSV or Parquet file with a column for the file (``file``, ``path``, ...) and one for its
        rows (``rows``, ``row_count``, ...); or JSON: an object of rows by file, or a list of
        objects with these fields, or of paths.
    sources : str, optional
        Folder or URI (``s3://bucket``) of the files. If it is given, the rows of a Parquet file
        that the manifest does not say are read from its footer.

    Returns
    -------
    Series of Int64
        By file; missing if the rows are not known.

    Raises
    ------
    UsageError
        It cannot be read, or has none of these forms; the message says what is wrong with it.

    Examples
    --------
    >>> import tempfile
    >>> manifest = Path(tempfile.mkdtemp(), "load.csv")
    >>> _ = manifest.write_text("file,rows\na.parquet,500\nb.parquet,\n")
    >>> print(read_manifest(manifest).tolist())
    [500, <NA>]
    """
    path = Path(path)
    try:
        rows = _rows_by_file(path)
    except OSError as error:
        raise UsageError(f"cannot read the manifest {path}: {error.strerror or error}") from None
    except (ValueError, TypeError, OverflowError, pa.ArrowException) as error:
        raise UsageError(f"{path} is not a manifest: {excerpt(str(error), 200)}") from None
    if rows.empty:
        raise UsageError(f"the manifest {path} names no file")
    if rows.index.has_duplicates:
        twice = rows.index[rows.index.duplicated()][0]
        raise UsageError(f"the manifest {path} names {excerpt(str(twice))} twice")
    if (rows < 0).any():
        raise UsageError(f"the manifest {path} has a count of rows below 0")
    return rows if sources is None else _counted(rows, sources)


def count_rows(path: str) -> int:
    """The rows of a Parquet file on disk or in a bucket, from its footer.

    Raises
    ------
    StoreError
        The file cannot be reached, or is no Parquet file.
    """
    folder, _, name = path.rpartition("/")
    files = Files(folder or ".", None)
    with (
        files.explained("count the rows of", name),
        files.filesystem.open_input_file(files.full(name)) as opened,
    ):
        return int(pq.read_metadata(opened).num_rows)


def _counted(rows: pd.Series[int], sources: str) -> pd.Series[int]:
    rows = rows.copy()
    for file in rows.index[rows.isna()]:
        if str(file).lower().endswith(".parquet"):
            where = str(file) if "://" in str(file) else f"{sources.rstrip('/')}/{file}"
            try:
                rows[file] = count_rows(where)
            except StoreError as error:
                raise UsageError(f"{error}; check where the sources are") from None
    return rows


def _rows_by_file(path: Path) -> pd.Series[int]:
    ending = path.suffix.lower()
    if ending == ".parquet":
        return _counts_in_table(pq.read_table(path).to_pandas())
    if ending in (".json", ".jsonl", ".ndjson"):
        text = path.read_text(encoding="utf-8")
        lines = [json.loads(line) for line in text.splitlines() if line.strip()]
        return _counts_in_json(lines if ending != ".json" else json.loads(text))
    if ending in (".csv", ".tsv", ".txt"):
        delimiter = "\t" if ending == ".tsv" else ","
        table = pacsv.read_csv(path, parse_options=pacsv.ParseOptions(delimiter=delimiter))
        return _counts_in_table(table.to_pandas())
    raise ValueError(f"its ending is {ending or 'none'}, and not .csv, .parquet or .json")


def _counts_in_json(value: Any) -> pd.Series[int]:
    if isinstance(value, Mapping) and isinstance(value.get("files"), list):
        value = value["files"]
    if isinstance(value, Mapping):
        return _series(list(value), list(value.values()))
    if not isinstance(value, list):
        raise ValueError("the JSON is neither an object nor a list")
    if all(isinstance(each, str) for each in value):
        return _series(value, [None] * len(value))
    if not all(isinstance(each, Mapping) for each in value):
        raise ValueError("its list holds neither paths nor objects")
    return _counts_in_table(pd.DataFrame.from_records(value))


def _counts_in_table(frame: pd.DataFrame) -> pd.Series[int]:
    by_name = {str(name).strip().lower(): name for name in frame.columns}
    file = next((by_name[name] for name in _FILE_NAMES if name in by_name), None)
    count = next((by_name[name] for name in _ROW_NAMES if name in by_name), None)
    if file is None:
        raise ValueError(f"it has no column for the file ({', '.join(_FILE_NAMES[:3])}, ...)")
    rows = [None] * len(frame) if count is None else frame[count].tolist()
    return _series(frame[file].astype("str").tolist(), rows)


def _series(files: list[str], rows: list[Any]) -> pd.Series[int]:
    counts = pd.to_numeric(pd.Series(rows, dtype="object"), errors="raise").astype("Int64")
    return pd.Series(counts.array, index=pd.Index(files, dtype="str"), dtype="Int64")
