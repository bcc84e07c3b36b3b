"""A table that fits its terminal: it drops columns and shortens names, but no numbers or ids."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from importstats.text import UNKNOWN, printable

Kind = Literal["id", "name", "number", "text"]

_GAP: Final = 2
_LEAST_NAME: Final = 12
_LEAST_TEXT: Final = 24
_IDS: Final = re.compile(r"[0-9]{1,20}(?:,[0-9]{1,20})*")


def name_text(name: object) -> Text:
    """A server's text as a cell: without markup for rich and without terminal escapes."""
    return Text(printable(name, 120) if isinstance(name, str) else UNKNOWN)


def id_text(job_id: object) -> Text:
    """A job's id as a cell, never cut; for a bulk insert it is the list of its tasks' ids."""
    if isinstance(job_id, str) and _IDS.fullmatch(job_id):
        return Text(job_id)
    return name_text(job_id)


@dataclass(frozen=True)
class Column:
    """A column of a :class:`FittingTable`."""

    heading: str
    cells: Sequence[str | Text]
    #: An id or a number is never cut, but a list of ids wraps between them. A name is shortened at
    #: its front, where names are alike. A text wraps.
    kind: Kind = "number"
    #: If there is not enough room, columns with the lowest number go first.
    keep: int = 5

    @cached_property
    def texts(self) -> list[Text]:
        """The cells as texts."""
        return [cell if isinstance(cell, Text) else Text(cell) for cell in self.cells]

    def width(self) -> int:
        """The width that needs no cut."""
        return max([cell_len(self.heading), *(text.cell_len for text in self.texts)])

    def least(self) -> int:
        """The width below which the column cannot be shown."""
        if self.kind == "id":
            parts = (part for text in self.texts for part in _id_parts(text))
            return max([cell_len(self.heading), *map(cell_len, parts)])
        least = {"name": _LEAST_NAME, "text": _LEAST_TEXT}.get(self.kind)
        return self.width() if least is None else min(self.width(), least)


@dataclass(frozen=True)
class FittingTable:
    """Columns side by side, as many as there is room for, the most important first."""

    columns: Sequence[Column]
    #: A style for each row.
    styles: Sequence[str] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The table, as wide as the options allow."""
        shown = self.columns_that_fit(options.max_width)
        widths = _widths(shown, options.max_width)
        table = Table(box=None, padding=(0, _GAP, 0, 0), header_style="dim", pad_edge=False)
        for column, width in zip(shown, widths, strict=True):
            table.add_column(
                column.heading,
                justify="right" if column.kind == "number" else "left",
                width=width,
                no_wrap=column.kind == "name",
                overflow="fold",
            )
        for row in range(len(self.columns[0].cells) if self.columns else 0):
            style = self.styles[row] if self.styles else ""
            cells = [
                _fitted_cell(column.texts[row], column.kind, width)
                for column, width in zip(shown, widths, strict=True)
            ]
            table.add_row(*cells, style=style or None)
        yield table

    def columns_that_fit(self, width: int) -> list[Column]:
        """The columns that fit, at least one."""
        shown = list(self.columns)
        while len(shown) > 1 and _total_width([column.least() for column in shown]) > width:
            shown.remove(min(reversed(shown), key=lambda column: column.keep))
        return shown


def _total_width(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * len(widths)


def _widths(columns: Sequence[Column], room: int) -> list[int]:
    """Each column's width: names, texts and lists of ids share what the others leave."""
    widths = [column.width() for column in columns]
    elastic = [place for place, column in enumerate(columns) if column.kind != "number"]
    excess = _total_width(widths) - room
    while excess > 0:
        shrinkable = [place for place in elastic if widths[place] > columns[place].least()]
        if not shrinkable:
            break
        widest = max(shrinkable, key=lambda place: widths[place])
        widths[widest] -= 1
        excess -= 1
    if excess > 0 and len(columns) == 1:
        widths[0] = max(room - _GAP, 1)
    return widths


def _fitted_cell(cell: Text, kind: Kind, width: int) -> Text:
    if kind == "name":
        return _shortened(cell, width)
    return _wrapped_ids(cell, width) if kind == "id" else cell


def _id_parts(cell: Text) -> list[str]:
    """The ids of a list; all but the last keep their comma."""
    ids = cell.plain.split(",")
    return [f"{job_id}," for job_id in ids[:-1]] + ids[-1:]


def _wrapped_ids(cell: Text, width: int) -> Text:
    """The cell, on several lines of whole ids if it is wider than `width`."""
    if cell.cell_len <= width:
        return cell
    lines = [""]
    for part in _id_parts(cell):
        if lines[-1] and cell_len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return Text("\n".join(lines), style=cell.style)


def _shortened(cell: Text, width: int) -> Text:
    """The cell, with its front cut off if it is too long."""
    if cell.cell_len <= width:
        return cell
    plain = cell.plain
    while plain and cell_len(plain) > width - 1:
        plain = plain[1:]
    return Text(f"…{plain}", style=cell.style)
