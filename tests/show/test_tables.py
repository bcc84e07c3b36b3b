"""The tables of the terminal as a whole, each at a moment when it has rows."""

import io
import time
from datetime import UTC, datetime
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from importstats.analysis.grouped import group_progress
from importstats.analysis.totals import summary
from importstats.show import terminal

NA = pd.NA
TIMES = pd.to_datetime(["2026-05-18T08:00Z", "2026-05-18T08:10Z", "2026-05-18T08:20Z"])


def printed(show, *args, width=140, **options):
    """What is printed, without the space at the ends of lines."""
    console = Console(width=width, record=True, markup=False, file=io.StringIO())
    show(console, *args, **options)
    return "\n".join(line.rstrip() for line in console.export_text().splitlines()) + "\n"


def jobs():
    """Two jobs on two servers: one has completed, one waits."""
    done = pd.DataFrame(
        {
            "source_uri": "http://a:19530",
            "job_id": "7",
            "collection_name": "books",
            "observed_at": TIMES,
            "state": ["Importing", "Importing", "Completed"],
            "progress_pct": [40.0, 55.0, 100.0],
            "imported_rows": [0, 600_000, 1_200_000],
            "total_rows": 1_200_000,
            "detail_count": 3,
            "file_size_bytes": 5_000_000_000,
        }
    )
    waits = done.iloc[:1].assign(
        source_uri="http://b:19530",
        job_id="8",
        collection_name=None,
        state="Pending",
        progress_pct=5.0,
        total_rows=0,
        detail_count=0,
        file_size_bytes=0,
    )
    return pd.concat([done, waits], ignore_index=True)


SUMMARY = """\
server          job  collection  phase       done  files   rows  bytes   rows/s  duration  snapshots
http://a:19530  7    books       Completed  100 %      3  1.2 M   5 GB    1,333    15 min          3
http://b:19530  8    unknown     Pending      5 %      0      0    0 B  unknown       0 s          1
"""


def test_a_summary_has_a_line_for_each_job():
    assert printed(terminal.print_summary, summary(jobs())) == SUMMARY


NARROW_SUMMARY = """\
server          job                 collection  phase       done  duration
…/m-west:19530  8                   unknown     Pending      5 %       0 s
…us-east:19530  456165502745803595  books       Completed  100 %    15 min
"""


def test_a_narrow_summary_shortens_servers_before_it_drops_numbers():
    names = {"http://a:19530": "http://milvus-east:19530", "http://b:19530": "http://m-west:19530"}
    frame = jobs().replace({"source_uri": names, "job_id": {"7": "456165502745803595"}})
    assert printed(terminal.print_summary, summary(frame), width=76) == NARROW_SUMMARY


ONE_SERVER = """\
job  collection  phase       done  files   rows  bytes  rows/s  duration  snapshots
7    books       Completed  100 %      3  1.2 M   5 GB   1,333    15 min          3
"""


def test_a_summary_of_one_server_does_not_name_it():
    assert printed(terminal.print_summary, summary(jobs().iloc[:3])) == ONE_SERVER


LISTED = """\
job  collection  state      progress    ahead  reason
7    books       Importing    57.5 %  unknown
8    unknown     Pending         5 %        1
9    films       Failed          0 %  unknown  no such bucket
"""


def test_a_list_of_jobs_has_what_is_ahead_and_reasons():
    listed = pd.DataFrame(
        {
            "job_id": ["7", "8", "9"],
            "collection_name": ["books", None, "films"],
            "state": ["Importing", "Pending", "Failed"],
            "progress_pct": [57.55, 5.0, 0.0],
            "ahead": pd.array([NA, 1, NA], "Int64"),
            "reason": [None, "", "no such bucket"],
        }
    )
    assert printed(terminal.print_job_list, listed, empty="none") == LISTED
    nobody_waits = listed.assign(ahead=pd.array([NA] * 3, "Int64"))
    assert "ahead" not in printed(terminal.print_job_list, nobody_waits, empty="none")


SCORES = """\

overall
method  snapshots  median error  P90 error  80 % interval holds  silent
eta         1,234        12.5 %       50 %               81.2 %     3 %
linear      1,234        12.5 %       50 %              unknown     3 %

by phase
phase      method  snapshots  median error  P90 error  80 % interval holds  silent
Importing  eta         1,234        12.5 %       50 %               81.2 %     3 %
"""


def test_scores_are_shown_overall_and_by_phase_of_what_was_answered():
    row = {
        "support": "answered",
        "method": "eta",
        "snapshots": 1234,
        "median_relative_error": 0.125,
        "p90_relative_error": 0.5,
        "coverage_80": 0.8125,
        "silent_share": 0.03,
    }
    other = {**row, "method": "linear", "coverage_80": np.nan}
    result = SimpleNamespace(
        overall=pd.DataFrame([row, other, {**row, "support": "all"}]),
        by_phase=pd.DataFrame([{**row, "phase": "Importing"}]),
    )
    assert printed(terminal.print_scores, result) == SCORES


FLEET = """\
1 failed, 2 running

running now
cluster         job  collection  phase      done                      ETA             90 % sure by
http://a:19530  7    books       Importing  55 %  2026-05-18 08:20:00 UTC  2026-05-18 09:20:00 UTC
http://a:19530  8    unknown     Pending     5 %                  unknown                  unknown
job 7: Nothing has moved

slowest collections
cluster         collection  jobs  failed  rows     median           rate
http://a:19530  books         12       1   3 G  1 h 2 min  12.3 k rows/s
http://a:19530  books         12       1   3 G  1 h 2 min  12.3 k rows/s
http://a:19530  books         12       1   3 G  1 h 2 min  12.3 k rows/s
http://a:19530  books         12       1   3 G  1 h 2 min  12.3 k rows/s
http://a:19530  books         12       1   3 G  1 h 2 min  12.3 k rows/s
http://a:19530  books         12       1   3 G  1 h 2 min  12.3 k rows/s
http://a:19530  books         12       1   3 G  1 h 2 min  12.3 k rows/s
http://a:19530  books         12       1   3 G  1 h 2 min  12.3 k rows/s
http://a:19530  books         12       1   3 G  1 h 2 min  12.3 k rows/s
http://a:19530  books         12       1   3 G  1 h 2 min  12.3 k rows/s

failure causes
jobs  phase                            last  cause
   2  PreImporting  2026-05-18 08:20:00 UTC  no such bucket

throughput by day (UTC) and cluster
day         cluster         jobs   rows  bytes  importing     rate
2026-05-18  http://a:19530     3  5,000   7 GB     10 min  unknown

phases
cluster         phase      jobs    time   share
http://a:19530  Importing     3  10 min  62.5 %
http://a:19530  Sorting       2   6 min  37.5 %
"""


def fleet():
    server, collection = "http://a:19530", "books"
    at = TIMES[2]
    return SimpleNamespace(
        jobs=pd.DataFrame({"status": pd.Categorical(["running", "failed", "running"])}),
        running=pd.DataFrame(
            {
                "source_uri": server,
                "job_id": ["7", "8"],
                "collection_name": [collection, None],
                "phase": ["Importing", "Pending"],
                "progress_pct": [55.0, 5.0],
                "eta_p50": [at, pd.NaT],
                "eta_p90": [at + pd.Timedelta("1h"), pd.NaT],
                "severity": ["warning", None],
                "message": ["Nothing has moved", None],
            }
        ),
        collections=pd.DataFrame(
            [[server, collection, 12, 1, 3e9, 3725.0, 12_345.0]] * 11,
            columns=[
                *("source_uri", "collection_name", "jobs", "failed", "rows"),
                *("median_duration_s", "rows_per_s"),
            ],
        ),
        failures=pd.DataFrame(
            [[2, "PreImporting", at, "no such bucket"]],
            columns=["jobs", "phase", "last_failed_at", "cause"],
        ),
        throughput=pd.DataFrame(
            [[at, server, 3, 5_000, 7e9, 600.0, np.nan]],
            columns=["day", "source_uri", "jobs", "rows", "bytes", "importing_s", "rows_per_s"],
        ),
        phases=pd.DataFrame(
            [[server, "Importing", 3, 600.0, 0.625], [server, "Sorting", 2, 360.0, 0.375]],
            columns=["source_uri", "phase", "jobs", "duration_s", "share"],
        ),
    )


def test_a_fleet_is_shown_as_five_tables():
    assert printed(terminal.print_fleet, fleet(), zone=UTC) == FLEET


def test_a_narrow_fleet_keeps_the_rates_that_its_tables_are_about():
    narrow = printed(terminal.print_fleet, fleet(), zone=UTC, width=60).splitlines()
    heads = {line: row.split()[-1] for line, row in pairwise(narrow) if row}
    assert heads["slowest collections"] == "rate"
    assert heads["throughput by day (UTC) and cluster"] == "rate"
    assert heads["phases"] == "share"


EMPTY_FLEET = """\
0 failed, 0 running

running now
none

slowest collections
none

failure causes
none

throughput by day (UTC) and cluster
none

phases
none
"""


def test_a_fleet_of_nothing_has_tables_that_say_none():
    full = vars(fleet())
    none = SimpleNamespace(**{name: frame.iloc[:0] for name, frame in full.items()})
    assert printed(terminal.print_fleet, none, zone=UTC) == EMPTY_FLEET


GROUP = """\
2 jobs: 2 completed; 2.4 M of 2.4 M rows (100 %), 2.67 k rows/s; ended at 08:15:00 UTC after 15 min

job  collection  phase       done   rows  duration                        end
7    books       Completed  100 %  1.2 M    15 min  2026-05-18 08:15:00 UTC *
8    books       Completed  100 %  1.2 M    15 min  2026-05-18 08:15:00 UTC *
warning: job 7: It is late 0.
warning: job 7: It is late 1.
warning: job 7: It is late 2.
warning: job 7: It is late 3.
warning: job 7: It is late 4.
warning: job 7: It is late 5.
warning: job 7: It is late 6.
warning: job 7: It is late 7.
warning: job 7: It is late 8.
warning: job 7: It is late 9.
and 1 more finding: see --out or --output json
"""


@pytest.fixture
def _in_utc(monkeypatch):
    """A group is shown in the reader's zone."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_in_utc")
def test_a_group_has_a_headline_a_line_for_each_job_and_ten_findings():
    findings = pd.DataFrame(
        {"severity": "warning", "job_id": "7", "message": [f"It is late {n}." for n in range(11)]}
    )
    done = jobs().iloc[:3].assign(snapshot_id=range(3))
    group = group_progress(pd.concat([done, done.assign(job_id="8")], ignore_index=True))
    now = datetime(2026, 5, 18, 8, 20, tzinfo=UTC)
    assert printed(terminal.print_group, group, findings, at=now) == GROUP


LISTED_IDS = """\
job         collection  phase       done  files   rows  bytes  rows/s  duration  snapshots
1000,1001,  books       Completed  100 %      3  1.2 M   5 GB   1,333    15 min          3
1002,1003,
1004
"""


def test_the_ids_of_a_bulk_insert_wrap_between_them():
    one = jobs().iloc[:3].assign(job_id="1000,1001,1002,1003,1004")
    console = Console(width=92, record=True, markup=False, file=io.StringIO())
    terminal.print_summary(console, summary(one))
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    assert "\n".join(lines) + "\n" == LISTED_IDS
