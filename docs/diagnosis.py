"""Write ``diagnosis.md`` beside this file from the tables of findings and of reasons.

    python docs/diagnosis.py

A test compares the file with :func:`text`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from importstats.analysis.finding_kinds import FINDING_KINDS, FindingKind
from importstats.analysis.reasons import REASON_KINDS, REASON_PATTERNS
from importstats.analysis.scales import SCALES

TARGET: Final = Path(__file__).with_suffix(".md")

_TEXT: Final = """\
<!-- Made by `python docs/diagnosis.py`; change that instead. -->

# Diagnosis

`importstats.diagnose(jobs, details)` reports what is wrong with a job or only looks wrong: one row
per finding, with its evidence and advice. `info` explains something that is normal or over.
`warning` means that the job will take longer or data is at risk. `critical` means that it has
failed, or will not end unless somebody acts.

The severest finding comes first; findings of the same severity have the order of this page. The
headline, the report and the live view use the first one.

No finding advises you to abort a job, or to import rows again that may be there already. If a job
waits, `history=` (a jobs frame of the store's other jobs) shows how long such jobs took before;
without it a wait is a warning only after a long time, and the advice names the log or metric to
look at.

```python
from importstats import datasets, diagnose

jobs, details = datasets.load("stragglers")
diagnose(jobs, details)[["finding", "severity", "message", "advice"]]
```

## Findings

{findings}

## Reasons

The reason of a failed or running job is recognised by the servers' wording
(`importstats.analysis.reasons`). A job without a reason has the most frequent one of its files.
An unknown reason is quoted, without a guess.

| kind | what it means | advice |
|---|---|---|
{reasons}

## What stands still after the last row

Once all rows are written and the job goes on, its progress stands still for as long as a whole
segment takes. What it waits for depends on the release:

| releases from | stands at | for |
|---|---|---|
{scales}

The release is known from the server's recorded version, from the dialect of its answers, or because
the other scales are impossible. If nothing shows it, the phase is `SortingOrIndexing`. A standstill
is a warning once it lasts

* with earlier jobs of the collection: 1.75 times the longest of theirs or 2.25 times their median,
  whichever is less (of two jobs: twice the longer or 4 times the shorter; of one: 2.25 times); a
  standstill that is over 3 times as long as every other of its job counts as that. Those of jobs
  with fewer rows count as longer, in proportion, up to 4 times; those of jobs with more as shorter,
  down to a half, if progress moved 7 times or more, so that a point of it is many segments. Once
  the job itself has moved 3 times in the phase, 1.5 times its own longest standstill is enough, and
  1.75 times after 2 (ours: of 6,509 such standstills of 776 jobs without a trouble, on tuning
  seeds, 45 were longer than that, and of more than ten minutes 10);
* without: an hour, and 5 times the longest in this phase, or 5 times what it took to write the
  rows.
"""


def text() -> str:
    """The whole page."""
    return _TEXT.format(
        findings="\n\n".join(map(_finding, FINDING_KINDS)),
        reasons="\n".join(
            f"| `{kind}` | {meaning} | {_advice(kind)} |" for kind, meaning in REASON_KINDS.items()
        ),
        scales="\n".join(_waits()),
    )


def _finding(kind: FindingKind) -> str:
    severities = " or ".join(kind.severities)
    evidence = ", ".join(f"`{name}`" for name in kind.evidence)
    return (
        f"### {kind.name}\n\n*{severities}*: {_plain(kind.when)}.\n\n{_plain(kind.advice)}\n\n"
        f"Evidence: {evidence}."
    )


def _plain(words: str) -> str:
    return words.replace("``", "`")


def _advice(kind: str) -> str:
    advice = dict.fromkeys(each.advice for each in REASON_PATTERNS if each.kind == kind)
    return "<br>".join(advice) or "Where to look: the logs of the coordinator and the data nodes."


def _waits() -> list[str]:
    waits = []
    for scale in SCALES:
        for step in scale.steps:
            if step.phase in ("Sorting", "IndexBuilding"):
                at = (
                    f"{step.start:g}"
                    if step.start == step.end
                    else f"{step.start:g} to {step.end:g}"
                )
                waits.append(f"| {scale.name} | {at} % | {step.phase} |")
    return waits


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
