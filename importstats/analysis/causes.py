"""Causes: why files failed, and which file is to blame.

When a task fails, all its files fail, and when a job fails, all its files do, each with the reason
of the file that was bad. The text may name that file (``file: id:4 paths:"in/7.parquet"``).
"""

from __future__ import annotations

import re
from typing import Final

import pandas as pd

_TOKEN: Final = re.compile(r"[^\s\"'\[\](),;=]+")
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
    known = {
        **{name.rsplit("/", 1)[-1]: name for name in names},
        **dict(zip(names, names, strict=True)),
    }
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


def _without_files(text: str, known: dict[str, str]) -> tuple[str, list[str]]:
    """A reason without the names of files, and these names."""
    found: list[str] = []

    def replaced(token: re.Match[str]) -> str:
        word = token[0]
        bare = word.rstrip(":.").removeprefix("paths:").lstrip("/")
        for name in (bare, bare.rsplit("/", 1)[-1]):
            if name in known:
                found.append(known[name])
                return word.replace(bare, "FILE")
        return word

    return _ID.sub("id:N", _TOKEN.sub(replaced, text)), found
