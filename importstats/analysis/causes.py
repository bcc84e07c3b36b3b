"""Causes: why files failed, and which file is to blame.

When a task fails, all its files fail, and when a job fails, all its files do, each with the reason
of the file that was bad. The text may name that file (``file: id:4 paths:"in/7.parquet"``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import pandas as pd

_TOKEN: Final = re.compile(r"[^\s\"'\[\](),;=]+")
# How a set of several paths is called: by its first, and how many more there are.
_OTHER_PATHS: Final = re.compile(r" \+\d+$")
_ID: Final = re.compile(r"\bid:\d+")


def failure_causes(files: pd.DataFrame) -> pd.DataFrame:
    """The failed files by cause, the most frequent first.

    Reasons that differ only in the name of a file are the same cause.

    Parameters
    ----------
    files : DataFrame
        One row per file: ``file``, ``state`` and ``reason``, as last seen.

    Returns
    -------
    DataFrame
        ``cause`` : str
            The reason with ``FILE`` in place of the file's name; missing if no reason was given.
        ``files`` : int64
        ``culprits`` : list of str
            The failed files that a reason names.
        ``examples`` : list of str
            All files that failed of this cause, the culprits first.

    Examples
    --------
    >>> files = pd.DataFrame({
    ...     "file": ["in/1", "in/2", "in/3"], "state": "Failed",
    ...     "reason": ["cannot read in/2: EOF", "cannot read in/2: EOF", "cannot read in/3: EOF"]})
    >>> failure_causes(files)[["cause", "files", "culprits"]].to_dict("records")
    [{'cause': 'cannot read FILE: EOF', 'files': 3, 'culprits': ['in/2', 'in/3']}]
    """
    failed = files[files["state"].astype("str").str.lower().eq("failed")]
    names = failed["file"].astype("str")
    reason = failed["reason"].astype("str").where(failed["reason"].notna())
    known = names_in_reasons(names)
    texts = {text: _without_files(text, known) for text in reason.dropna().unique()}
    cause = reason.map(lambda text: texts[text][0], na_action="ignore")
    blamed = {name for _, found in texts.values() for name in found}
    found = []
    for text, own in names.groupby(cause, sort=False, dropna=False):
        culprits = [name for name in own if name in blamed]
        others = [name for name in own if name not in blamed]
        found.append(
            {
                "cause": None if pd.isna(text) else str(text),
                "files": len(own),
                "culprits": culprits,
                "examples": [*culprits, *others],
            }
        )
    table = pd.DataFrame(found, columns=["cause", "files", "culprits", "examples"])
    return table.sort_values("files", ascending=False, kind="stable", ignore_index=True)


def names_in_reasons(files: Iterable[str]) -> dict[str, str]:
    """The names that a reason may have for each file: path, last part, or folder of a set.

    Examples
    --------
    >>> names_in_reasons(["in/1.json"])
    {'1.json': 'in/1.json', 'in/1.json': 'in/1.json'}
    >>> names_in_reasons(["in/2/id.npy +1"])
    {'in/2/id.npy': 'in/2/id.npy +1', 'in/2/': 'in/2/id.npy +1'}
    """
    known: dict[str, str] = {}
    for name in files:
        path = _OTHER_PATHS.sub("", name)
        folder, _, last = path.rpartition("/")
        if path == name:
            known |= {last: name, name: name}
        else:
            # Of two sets in one folder nobody knows which of them a further path belongs to.
            known |= {path: name, f"{folder}/": "" if f"{folder}/" in known else name}
    return known


def file_called(path: str, known: dict[str, str]) -> str | None:
    """The file of :func:`names_in_reasons` that a path in a reason is, or is part of."""
    folder, _, last = path.rpartition("/")
    called = (known.get(name) for name in (path, last, f"{folder}/" if folder else ""))
    return next(filter(None, called), None)


def _without_files(text: str, known: dict[str, str]) -> tuple[str, list[str]]:
    """A reason without the names of files, and these names."""
    found: list[str] = []

    def replaced(token: re.Match[str]) -> str:
        word = token[0]
        bare = word.rstrip(":.").removeprefix("paths:").lstrip("/")
        name = file_called(bare, known)
        if name is None:
            return word
        found.append(name)
        return word.replace(bare, "FILE")

    return _ID.sub("id:N", _TOKEN.sub(replaced, text)), found
