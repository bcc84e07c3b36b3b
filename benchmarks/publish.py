"""Put the measured figures into the documentation: ``python benchmarks/publish.py``.

Takes what the benchmarks wrote to ``benchmarks/results``, and replaces what stands between the
marks ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->`` in the documentation and the README, so
no figure is copied by hand.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from scaling.tables import growth, report

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
METHODS = {
    "eta_history": "**importstats, with earlier jobs in the store**",
    "eta": "**importstats, first job of a store**",
    "twin": "what was left of earlier jobs at equal progress",
    "survival": "earlier jobs that took longer so far",
    "history_median": "median duration of earlier jobs",
    "linear": "a line through `progress`",
    "tqdm": "tqdm's moving average of `progress`",
    "rows_rate": "a line through the rows",
    "late": "LATE, the slowest file (OSDI 2008)",
}
#: What the figures of which file are of, in the documentation.
ETA_FILES = {
    "eta": "Rows reported when a whole file has ended, as public servers do",
    "eta_smooth": "Rows that grow while a file is at work",
    "eta_simulator": "On the product's own simulator",
}


def results(name: str) -> str | None:
    path = RESULTS / f"{name}.md"
    return path.read_text() if path.exists() else None


def section(text: str, title: str) -> str:
    """What stands below a heading of the second level."""
    found = re.search(rf"^## {re.escape(title)}\n\n(.*?)(?=^## |\Z)", text, re.S | re.M)
    if found is None:
        raise SystemExit(f"there is no section {title!r}")
    return found.group(1).strip()


def opening(text: str) -> tuple[str, str]:
    """The title, and what stands below it before the first section."""
    title, _, rest = text.partition("\n\n")
    return title.removeprefix("# "), rest.partition("\n## ")[0].strip()


def rows_of(table: str) -> list[dict[str, str]]:
    lines = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")]
    names = [name.strip() for name in lines[0]]
    return [dict(zip(names, map(str.strip, line), strict=True)) for line in lines[2:]]


def replaced(text: str, name: str, content: str) -> str:
    """The text with this between the marks of a name."""
    marks = rf"(<!-- {name}: begin -->\n).*?(<!-- {name}: end -->)"
    new, count = re.subn(marks, lambda m: f"{m[1]}\n{content}\n\n{m[2]}", text, flags=re.S)
    if count != 1:
        raise SystemExit(f"the mark {name!r} is there {count} times")
    return new


def eta_section() -> str:
    parts = []
    for name, about in ETA_FILES.items():
        text = results(name)
        if text is None:
            continue
        title, rest = opening(text)
        parts += [f"### {about}", f"{title}. {rest}", section(text, "What must hold")]
        if name == "eta":
            for by in ("By family", "By phase"):
                parts += [f"#### {by}", section(text, by)]
    return "\n\n".join(parts)


def readme_table(text: str) -> str:
    """The methods, best first, and a line that says of what the figures are."""
    found = {row["method"]: row for row in rows_of(opening(text)[1])}
    order = ["eta_history", "eta"]
    order += sorted(set(found) - set(order), key=lambda name: (float(found[name]["median"]), name))
    lines = [
        "| method | median error | 90th percentile | 80 % interval holds | silent |",
        "|---|---|---|---|---|",
    ]
    for name in order:
        row = found[name]
        holds = f"{float(row['holds']):.0%}" if row["holds"] else "no interval"
        median = f"{float(row['median']):.0%}".replace("%", " %")
        if name in ("eta", "eta_history"):
            median = f"**{median}**"
        cells = [METHODS[name], median, f"{float(row['p90']):.0%}", holds]
        cells.append(f"{float(row['silent']):.0%}")
        lines.append("| " + " | ".join(re.sub(r"(?<=\d)%", " %", cell) for cell in cells) + " |")
    title = opening(text)[0]
    snapshots = found["eta"]["snapshots"]
    jobs = re.search(r"on (\d+) jobs of (\d+) families", title)
    assert jobs is not None
    about = (
        f"(Error of the remaining time, over {snapshots} snapshots of {jobs[1]} jobs of {jobs[2]} "
        "kinds of installations, each predicted by priors of the other kinds; lines that need "
        "history are of jobs that have some. `python benchmarks/eta.py`.)"
    )
    return "\n".join(lines) + "\n\n" + about


def stragglers_section() -> str:
    parts = []
    for name, about in (("stragglers", "whole files"), ("stragglers_smooth", "smooth rows")):
        text = results(name)
        if text is None:
            continue
        title, rest = opening(text)
        parts += [f"**{about.capitalize()}.** {title}. {rest}"]
        if name == "stragglers":
            parts.append(section(text, "Recall by a straggler's life"))
        parts.append(section(text, "What must hold"))
    return "\n\n".join(parts)


def diagnosis_section() -> str:
    parts = []
    for name, about in (("diagnosis", "whole files"), ("diagnosis_smooth", "smooth rows")):
        text = results(name)
        if text is not None:
            parts.append(f"**{about.capitalize()}.** {opening(text)[0]}. {opening(text)[1]}")
            parts += [section(text, "What must hold"), section(text, "Troubles")]
    return "\n\n".join(parts)


def scale_section() -> str:
    found = json.loads((RESULTS / "scale.json").read_text())
    stores, results = found["stores"], found["results"]
    tasks = list(dict.fromkeys(result["task"] for result in results))
    results = sorted(results, key=lambda result: tasks.index(result["task"]))
    engines = ("importstats", "duckdb", "polars", "pyarrow")
    return "\n".join([*report(stores, results, engines), *growth(stores, results)])


def main() -> None:
    changes = {
        "docs/eta.md": {"eta scores": eta_section()},
        "docs/stragglers.md": {
            "straggler scores": stragglers_section(),
            "diagnosis scores": diagnosis_section(),
        },
        "docs/fleet.md": {"scale": scale_section()},
        "README.md": {"eta table": readme_table(results("eta") or "")},
    }
    for name, sections in changes.items():
        path = ROOT / name
        text = path.read_text()
        for mark, content in sections.items():
            text = replaced(text, mark, content)
        path.write_text(text)
        print(f"{name}: {', '.join(sections)}")
    shutil.copy(RESULTS / "eta.png", ROOT / "docs" / "images" / "eta_error.png")


if __name__ == "__main__":
    main()
