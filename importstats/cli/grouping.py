"""The command for a load of many jobs: ``group``."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Final

import pandas as pd
from cyclopts import Parameter

from importstats.analysis.findings import diagnose
from importstats.analysis.grouped import GroupProgress, group_progress
from importstats.cli.expecting import rows_of_files
from importstats.cli.options import (
    DEFAULT_STORE,
    LoadFile,
    Output,
    Store,
    in_a_folder,
    output_console,
    print_tables,
)
from importstats.cli.outcomes import EXIT_JOB_FAILED, EXIT_ROWS_DIFFER
from importstats.cli.stored import Server, known_source
from importstats.errors import JobNotFoundError, UsageError
from importstats.show import terminal
from importstats.store import SnapshotStore
from importstats.store.cluster_frames import ClusterFrames, load_cluster_of
from importstats.store.files import Files
from importstats.store.frames import load_details, load_jobs
from importstats.store.groups import GroupJob, read_group
from importstats.text import printable

_PAGES: Final = (".html", ".htm")
_WILD: Final = frozenset("*?[")


def show_group(
    *jobs: Annotated[str, Parameter(help="Job ids, or patterns of them such as '4498*'.")],
    file: LoadFile = None,
    collection: Annotated[
        str | None,
        Parameter(help="All jobs of this collection, or of all collections that match: 'sales_*'."),
    ] = None,
    server: Server = None,
    out: Annotated[
        Path | None,
        Parameter(
            name=("--out", "-o"),
            validator=in_a_folder,
            help="Write the report to this file: .md, or .html with a page for every job.",
        ),
    ] = None,
    store: Store = DEFAULT_STORE,
    output: Output = "table",
) -> int:
    """Show many jobs of a store as one: one progress, one ETA, one list of findings."""
    if out is not None and out.suffix.lower() not in (".md", *_PAGES):
        raise UsageError(
            f"the report of a group is Markdown or a page: name the file {out.stem}.md or .html"
        )
    manifest = [] if file is None else read_group(file).jobs
    opened = SnapshotStore(store)
    source = known_source(opened, server)
    every = load_jobs(opened, source_uri=source, gaps=True)
    own = _chosen(every, jobs, manifest, collection, opened.uri)
    at = datetime.now(UTC)
    details = _details_of(opened, own)
    answered = own[own["error"].isna()]
    planned = _planned(manifest) if manifest else None
    group = group_progress(answered, details, at=at, history=every, planned=planned)
    findings = _findings(own, details, every, manifest, at, load_cluster_of(opened, own))
    if output == "table":
        terminal.print_group(output_console(), group, findings, at=at)
    else:
        tables = {"jobs": group.jobs, "group": _as_table(group), "findings": findings}
        print_tables(output, "importstats.group/1", tables)
    if out is not None and out.suffix.lower() in _PAGES:
        from importstats.reports.group import write_group

        count = write_group(group, findings, opened, out, at=at, zone=UTC)
        print(f"wrote {out} and the pages of {count:,} jobs", file=sys.stderr)
    elif out is not None:
        from importstats.reports.group import group_markdown

        text = group_markdown(group, findings, at=at, zone=UTC)
        absolute = out.absolute()
        Files(absolute.parent, None).put(absolute.name, text.encode())
    if group.failed:
        return EXIT_JOB_FAILED
    differ = findings["finding"].astype("str").eq("rows_differ").any()
    return EXIT_ROWS_DIFFER if differ else 0


def _chosen(
    every: pd.DataFrame,
    patterns: Sequence[str],
    manifest: Sequence[GroupJob],
    collection: str | None,
    store: str,
) -> pd.DataFrame:
    """The snapshots of the group's jobs."""
    if not (patterns or manifest or collection):
        raise UsageError("name the jobs of the group: ids or patterns, --file or --collection")
    ids = every["job_id"].astype("str")
    wanted = {job.job_id for job in manifest}
    fits = {each for each in ids.unique() if any(fnmatchcase(each, one) for one in patterns)}
    chosen = ids.isin(wanted | fits)
    if collection is not None:
        names = every["collection_name"].astype("str")
        fit = [name for name in names.dropna().unique() if fnmatchcase(name, collection)]
        chosen |= ids.isin(set(ids[names.isin(fit)]))
    missing = [each for each in patterns if not _WILD & set(each) and each not in fits]
    if missing or not (chosen & every["error"].isna()).any():
        what = f"job {printable(missing[0])}" if missing else "any job of the group"
        raise JobNotFoundError(f"{store} holds no snapshot of {what}")
    own = every[chosen]
    servers = own.groupby(own["job_id"].astype("str"), observed=True)["source_uri"].nunique()
    if servers.gt(1).any():
        job = servers.index[servers.gt(1)][0]
        raise UsageError(f"{store} holds job {printable(job)} of several servers; see --source")
    return own


def _details_of(store: SnapshotStore, own: pd.DataFrame) -> pd.DataFrame:
    keys = own[["source_uri", "job_id"]].astype("str").drop_duplicates()
    parts = [
        load_details(store, job_id=job_id, source_uri=source_uri, runs=True)
        for source_uri, job_id in keys.itertuples(index=False)
    ]
    return pd.concat(parts, ignore_index=True)


def _planned(manifest: Sequence[GroupJob]) -> pd.Series[int]:
    """The rows expected of each job; missing if they are unknown for one of its files."""
    rows = [rows_of_files(job) for job in manifest]
    totals = [None if each is None else each.sum(skipna=False) for each in rows]
    ids = pd.Index([job.job_id for job in manifest], dtype="str")
    return pd.Series(pd.array(totals, "Int64"), index=ids)


def _findings(
    own: pd.DataFrame,
    details: pd.DataFrame,
    every: pd.DataFrame,
    manifest: Sequence[GroupJob],
    at: datetime,
    cluster: ClusterFrames,
) -> pd.DataFrame:
    """The jobs' findings, the severest first, also about rows if their number is known."""
    found = [diagnose(own, details, history=every, at=at, cluster=cluster)]
    for job in manifest:
        rows = rows_of_files(job)
        if rows is None or rows.isna().all():
            continue
        mine, files = (frame[frame["job_id"].eq(job.job_id)] for frame in (own, details))
        if len(mine):
            checked = diagnose(mine, files, expected=rows, at=at)
            found.append(checked[checked["finding"].eq("rows_differ")])
    return pd.concat(found, ignore_index=True).sort_values(
        ["severity", "source_uri", "job_id", "finding"],
        ascending=[False, True, True, True],
        ignore_index=True,
    )


def _as_table(group: GroupProgress) -> pd.DataFrame:
    """The group's numbers as a frame with one row."""
    names = [each.name for each in dataclasses.fields(group) if each.name != "jobs"]
    return pd.DataFrame([{name: getattr(group, name) for name in names}])
