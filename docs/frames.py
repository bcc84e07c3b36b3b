"""Write ``frames.md`` beside this file: the columns of each frame that a public function returns.

    python docs/frames.py

The docstrings are the one source. A test compares the page with :func:`text`, and the columns and
dtypes of real frames with :func:`promised`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from inspect import getdoc
from pathlib import Path
from typing import Final

import importstats

TARGET: Final = Path(__file__).with_suffix(".md")
FUNCTIONS: Final = (
    "with_phase",
    "phases",
    "throughput",
    "eta",
    "stragglers",
    "diagnose",
    "check_rows",
    "summary",
    "compare",
    "infer_tasks",
)
#: The unit that the end of a column's name gives, the longest end first.
UNITS: Final = {
    "_per_s_per_file": "rows/s per file",
    "bytes_per_s": "bytes/s",
    "rows_per_s": "rows/s",
    "_bytes": "bytes",
    "_pct": "%",
    "_fraction": "0 to 1",
    "_s": "s",
}
_COLUMN: Final = re.compile(r"^( *)(``\w+``(?:, ``\w+``)*) : (.+)$")
_TEXT: Final = """\
<!-- Made by `python docs/frames.py` from the docstrings; change those instead. -->

# Frames

The columns of each frame that a public function returns, with their dtypes in pandas. A time is
`datetime64[us, UTC]`, and a count that may be missing is `Int64`. Tests compare these tables with
the frames themselves.

{tables}
"""


@dataclass(frozen=True)
class Column:
    """A column that a docstring promises.

    Attributes
    ----------
    name, dtype, meaning : str
        As the docstring says them; `meaning` on one line.
    """

    name: str
    dtype: str
    meaning: str

    @property
    def always(self) -> bool:
        """Whether every such frame has it."""
        return "only if" not in self.meaning

    @property
    def unit(self) -> str:
        """What its name says of its unit; empty if that is nothing."""
        if self.dtype.startswith("datetime64"):
            return "UTC"
        # The window, the quantile and what else may follow a unit.
        name = re.sub(r"_(window|mean|spread|p\d+)$", "", self.name)
        if re.search(r"_to_(best|median)$", name):
            return "ratio"
        found = (unit for end, unit in UNITS.items() if f"_{name}".endswith(end))
        return next(found, "")


def promised(function: str) -> list[Column]:
    """The columns that the docstring of a public function promises, in its order."""
    lines = _joined(getdoc(getattr(importstats, function)) or "").splitlines()
    lines = lines[lines.index("Returns") :]
    columns: list[Column] = []
    for place, line in enumerate(lines):
        if found := _COLUMN.match(line):
            indent = f"{found[1]} "
            following = (each for each in lines[place + 1 :])
            meaning = []
            for each in following:
                if not each.startswith(indent):
                    break
                meaning.append(each.strip())
            names = re.findall(r"``(\w+)``", found[2])
            columns += [Column(name, found[3], " ".join(meaning)) for name in names]
    return columns


def _joined(docstring: str) -> str:
    """The docstring with a list of names on one line, where it takes several."""
    return re.sub(r"``,\n +``", "``, ``", docstring)


def text() -> str:
    """The content of ``frames.md``."""
    return _TEXT.format(tables="\n\n".join(map(_table, FUNCTIONS)))


def _table(function: str) -> str:
    first = (getdoc(getattr(importstats, function)) or "").splitlines()[0]
    rows = [
        f"| `{column.name}` | {column.dtype} | {column.unit} | {_plain(column.meaning)} |"
        for column in promised(function)
    ]
    head = ["| column | pandas | unit | |", "|---|---|---|---|"]
    return "\n".join([f"## {function}", "", first, "", *head, *rows])


def _plain(docstring: str) -> str:
    """Text of a docstring as Markdown: roles and double backticks are code."""
    named = re.sub(r":\w+:`~?(?:importstats\.)?(?:\w+\.)*(\w+)`", r"`\1`", docstring)
    return named.replace("``", "`").replace("|", "\\|")


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
