"""What to look at first: a job's findings and files, in one order."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from importstats.analysis.causes import file_called, names_in_reasons
from importstats.analysis.ranking import file_sentence

# A file that delays the end by less than this is not worth a first look.
_LEAST_DELAY_S: Final = 60.0
_MOST_FILES: Final = 3
_FILE_FINDINGS: Final = frozenset({"one_file_holds_up"})


@dataclass(frozen=True)
class Look:
    """A finding or file to look at, in words."""

    #: What it is and what to do, in sentences.
    text: str
    #: critical, warning or info.
    severity: str
    #: The file that it is about, if any.
    file_index: int | None = None


def looks(files: pd.DataFrame, findings: pd.DataFrame, *, running: bool) -> list[Look]:
    """What to look at, the most important first; empty if nothing needs attention.

    Critical findings come first, then the files that are late now (none if the job is not running),
    then other warnings. A finding about a file that is late now is part of that file's entry.
    `files` are those of :func:`~importstats.analysis.ranking.rank_files`, and the severest of the
    findings is the first.
    """
    late = _late_now(files) if running else files.iloc[:0]
    of_files = findings["finding"].astype("str").isin(_FILE_FINDINGS)
    said = dict.fromkeys(findings.index[of_files]) if len(late) else {}
    others = findings.drop(index=list(said))
    critical = others["severity"].astype("str").eq("critical")
    warning = others["severity"].astype("str").eq("warning")
    found = [_finding_look(row, files) for row in others[critical].to_dict("records")]
    stalled = others.loc[critical, "finding"].astype("str").tolist()[:1] == ["stalled"]
    if stalled and len(late):
        # The first sentence says what holds the job up and where to look.
        first = late.iloc[0]
        text = f"{found[0].text} {file_sentence(first)}."
        found[0] = Look(text, "critical", int(first["file_index"]))
        late = late.iloc[1:]
    for place, file in enumerate(late.head(_MOST_FILES).to_dict("records")):
        text = f"{file_sentence(file)}."
        if place == 0 and said:
            text = f"{text} {sentences(findings.loc[next(iter(said)), 'advice'])}"
        found.append(Look(text, "warning", int(file["file_index"])))
    return found + [_finding_look(row, files) for row in others[warning].to_dict("records")]


def _late_now(files: pd.DataFrame) -> pd.DataFrame:
    delay = files["delay_s"].astype("float64")
    now = files["matters"].astype("str").eq("now")
    return files[now & (delay.isna() | (delay >= _LEAST_DELAY_S))]


def _finding_look(finding: dict[Any, Any], files: pd.DataFrame) -> Look:
    text = sentences(finding["message"], finding["advice"])
    return Look(text, str(finding["severity"]), _named_file(str(finding["evidence"]), files))


def _named_file(evidence: str, files: pd.DataFrame) -> int | None:
    """The file that a finding is about or blames, if it names one of the job's files."""
    said = json.loads(evidence)
    path = said.get("culprit", said.get("file"))
    if path is None:
        return None
    names = files["file"].astype("str")
    name = file_called(str(path), names_in_reasons(names)) or str(path)
    own = files.loc[names.eq(name), "file_index"]
    return int(own.iloc[0]) if len(own) else None


def sentences(*texts: object) -> str:
    """The texts joined, each with a full stop."""
    known = [str(text) for text in texts if not pd.isna(text)]  # type: ignore[call-overload]
    return " ".join(f"{text.rstrip(' .')}." for text in known)
