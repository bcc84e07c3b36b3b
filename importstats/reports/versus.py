"""Versus: a comparison of two jobs as Markdown."""

from __future__ import annotations

import pandas as pd

from importstats.analysis.side_by_side import SideBySide
from importstats.reports.markdown import md_table, md_text
from importstats.reports.tables import Table
from importstats.text import format_duration


def versus_markdown(found: SideBySide, names: tuple[str, str]) -> str:
    """The comparison of two jobs: the verdict, their phases, and everything else that differs."""
    names = md_text(names[0]), md_text(names[1])
    headings = ["", *names, "difference"]
    times = [
        [
            row["phase"],
            _seen_text(row["a_s"], whole=row["a_whole"]),
            _seen_text(row["b_s"], whole=row["b_whole"]),
            f"{'+' if row['difference_s'] > 0 else ''}{format_duration(row['difference_s'])}",
        ]
        for row in found.phases.to_dict("records")
    ]
    both = found.phases["difference_s"].notna()
    total = found.phases.loc[both, ["a_s", "b_s", "difference_s"]].sum()
    sign = "+" if total["difference_s"] > 0 else ""
    times.append(
        [
            "all" if both.all() else "all seen whole in both",
            format_duration(total["a_s"]),
            format_duration(total["b_s"]),
            f"{sign}{format_duration(total['difference_s'])}",
        ]
    )
    facts = [[row["what"], row["a"], row["b"]] for row in found.facts.to_dict("records")]
    parts = [
        f"**{md_text(found.verdict[:1].upper() + found.verdict[1:])}**",
        md_table(Table(["phase", *headings[1:]], times, numbers=headings[1:])),
        md_table(Table(["", *names], facts, numbers=())),
    ]
    return "\n\n".join(parts) + "\n"


def _seen_text(seconds: float, *, whole: bool) -> str:
    """The time in a phase; "at least" that time if the phase was not seen whole."""
    text = format_duration(seconds)
    return text if whole or pd.isna(seconds) else f"at least {text}"
