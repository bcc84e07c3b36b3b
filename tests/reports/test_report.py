"""Reports: complete in themselves, true to the frames, and safe whatever a server sent."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from html.parser import HTMLParser
from importlib import resources
from urllib.parse import parse_qs
from zoneinfo import ZoneInfo

import frames
import matplotlib
import numpy as np
import pandas as pd
import pytest

from importstats.analysis.findings import diagnose
from importstats.analysis.forecast import eta
from importstats.analysis.lateness import stragglers
from importstats.analysis.phase import phases
from importstats.analysis.words import headline
from importstats.reports import JSON_FORMAT, report
from importstats.simulator import make_shape

VOID = {"meta", "img", "br", "hr", "link", "input"}
HOSTILE_NAMES = [
    "<script>alert('x')</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></svg><svg onload=alert(1)>",
    "javascript:alert(1)",
    "{{ 7 * 7 }} {% raw %}",
    "\x1b]0;pwned\x07\x1b[2J",
    "\u202egnp.exe\u2066",
    "$x$ &amp; &#x3c;b>",
    "`|` | ``` | **b** [a](http://evil) <b> @all",
    "日本語.parquet",
    "]]> --> <!--",
    "x" * 1_000_000,
]
SUMS = {
    "uPlot.min.css": "df630c6a8d6f8eea",
    "uPlot.iife.min.js": "19c8d4c6ad88929a",
    "signals-core.min.js": "657713baba02cd95",
}
FRAGMENTS = ["name-" + str(index) for index in range(len(HOSTILE_NAMES))]


class Page(HTMLParser):
    """The page, taken apart; tags that do not match are an error."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text, self.problems = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            self.problems.append(f"an attribute twice in {tag}")
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"unmatched </{tag}>")

    def handle_data(self, data):
        self.text.append(data)

    def find(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@lru_cache(maxsize=16)
def simulated(shape="stragglers", files=40, share=0.6, seed=7):
    jobs, details = frames.simulated(shape, files=files, seed=seed, poll_every_s=20)
    at = jobs["observed_at"].iloc[max(int(len(jobs) * share) - 1, 0)]
    return jobs[jobs["observed_at"] <= at], details[details["observed_at"] <= at], at


@lru_cache(maxsize=16)
def page(shape="stragglers", files=40, share=0.6):
    jobs, details, at = simulated(shape, files, share)
    return report(jobs, details, at=at)


def renamed(names, **texts):
    """A recorded job whose files have these names, and whose other texts are replaced too."""
    cluster, job = make_shape("failing", files=len(names), seed=6)
    files = tuple(replace(file, error_phase="import") for file in job.files)
    jobs, details, at = simulated((cluster, replace(job, files=files)), share=1.0, seed=6)
    assert len(details)
    jobs = jobs.assign(**{name: text for name, text in texts.items() if name in jobs})
    own = {name: text for name, text in texts.items() if name in details}
    place = details["file_index"].to_numpy()
    shown = np.array(names, dtype=object)[place]
    details = details.assign(file=shown, file_name=shown, **own)
    return jobs, details, at


def failed_files(count=6):
    """A job with failed files of two causes."""
    start = datetime(2026, 5, 18, 8, tzinfo=UTC)
    key = {"source_uri": "u", "job_id": "7", "collection_name": "c"}
    times = pd.date_range(start, periods=3, freq="60s").astype("datetime64[us, UTC]")
    jobs = pd.DataFrame(
        {
            **key, "snapshot_id": [1, 2, 3], "observed_at": times,
            "state": ["Importing", "Importing", "Failed"], "progress_pct": [40.0, 55.0, 0.0],
            "imported_rows": [0, 500, 0], "total_rows": [1000, 1000, 0], "detail_count": count,
            "file_size_bytes": 1000, "reason": [None, None, "file 0 is bad"],
        }
    )  # fmt: skip
    rows = [
        {
            **key, "snapshot_id": poll + 1, "observed_at": times[poll], "file_index": place,
            "file": f"in/{place}.parquet", "file_name": f"[in/{place}.parquet]",
            "state": "Failed" if poll == 2 and place else "InProgress", "progress_pct": 50.0,
            "imported_rows": 5, "total_rows": 10, "file_size_bytes": 10,
            "reason": (f"cannot read in/{place}.parquet: EOF" if place > 1 else "no space")
            if poll == 2 and place else None,
        }
        for poll in range(3)
        for place in range(count)
    ]  # fmt: skip
    return jobs, pd.DataFrame(rows), times[2]


# -- HTML -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["stragglers", "failing", "small_and_quick"])
@pytest.mark.parametrize("share", [0.0, 0.6, 1.0])
def test_the_page_is_well_formed_and_refers_to_nothing_outside(shape, share):
    parsed = Page(page(shape, 12, share))
    assert parsed.problems == []
    assert parsed.open == []
    assert [attrs.get("src") for attrs in parsed.find("script")] == [None, None]
    assert not parsed.find("link")
    for tag, attrs in parsed.tags:
        for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            value = attrs.get(name) or ""
            assert value == "" or value.startswith("#"), (tag, value)
        assert "style" not in attrs
        assert not [name for name in attrs if name.startswith("on")]
    text = page(shape, 12, share)
    [css] = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert not re.search(r"@import|@font-face|url\(", css)


def test_only_the_style_and_the_script_of_the_page_itself_are_allowed():
    text = page()
    [policy] = [attrs["content"] for attrs in Page(text).find("meta")
                if attrs.get("http-equiv") == "Content-Security-Policy"]  # fmt: skip
    [style] = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    [script] = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    for name, part in (("style", style), ("script", script)):
        code = base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{code}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "connect-src 'none'" in policy
    assert "unsafe" not in policy


def test_the_libraries_in_the_page_are_the_released_files_with_their_licences():
    folder = resources.files("importstats.show") / "vendor"
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16]
            for path in folder.iterdir() if path.name.endswith((".js", ".css"))}  # fmt: skip
    assert sums == SUMS
    for name in ("uPlot.LICENSE", "signals-core.LICENSE"):
        assert "MIT" in (folder / name).read_text(encoding="utf-8")


def test_the_page_can_be_read_without_seeing_it():
    parsed = Page(page())
    assert [attrs for _, attrs in parsed.tags if attrs.get("lang") == "en"]
    assert len(parsed.find("h1")) == 1
    pictures = [attrs for _, attrs in parsed.tags if attrs.get("role") == "img"]
    assert len(pictures) == 3
    assert all(len(picture["aria-label"]) > 30 for picture in pictures)
    assert all(attrs.get("scope") in ("col", "row") for attrs in parsed.find("th"))


def test_ids_are_unique_and_links_lead_to_files():
    parsed = Page(page())
    ids = [attrs["id"] for _, attrs in parsed.tags if "id" in attrs]
    assert ids
    assert len(ids) == len(set(ids))
    _, details, _ = simulated()
    links = {attrs["href"] for attrs in parsed.find("a")}
    named = {parse_qs(link.removeprefix("#"))["file"][0] for link in links}
    assert named <= set(details["file"])


def test_the_page_has_a_dark_and_a_printed_form():
    assert "prefers-color-scheme: dark" in page()
    assert "@media print" in page()


def test_the_verdict_is_the_headline_and_what_to_look_at_first():
    jobs, details, at = simulated("failing", 12, 1.0)
    text = " ".join(Page(page("failing", 12, 1.0)).text)
    findings = diagnose(jobs, details, at=at)
    said = headline(jobs, eta(jobs, details, at=at), findings=findings, zone=UTC)
    assert said in text
    assert "Failed at" in said
    assert 'class="verdict critical"' in page("failing", 12, 1.0)
    assert "Look at first: Failed in" in " ".join(text.split())
    # The file to blame is a click away, and its reason is there once.
    culprit = json.loads(findings["evidence"].iloc[0])["culprit"]
    link = Page(page("failing", 12, 1.0)).find("a")[0]["href"].removeprefix("#")
    assert parse_qs(link) == {"file": [f"{culprit} +1"]}
    assert "Why it failed" not in text


def test_all_phases_and_the_worst_stragglers_are_in_the_tables():
    jobs, details, at = simulated()
    text = " ".join(Page(page()).text)
    assert all(phase in text for phase in phases(jobs)["phase"])
    judged = stragglers(details, at=at)
    late = judged[judged["is_straggler"]]
    assert 0 < len(late) <= 20
    assert all(file in text for file in late["file"])


def test_times_are_in_the_zone_asked_for():
    jobs, details, at = simulated()
    text = report(jobs, details, at=at, zone=ZoneInfo("Asia/Tokyo"))
    assert at.astimezone(ZoneInfo("Asia/Tokyo")).strftime("%Y-%m-%d %H:%M:%S JST") in text
    assert "UTC" not in re.sub(r"<script.*?</script>|<style.*?</style>", "", text, flags=re.DOTALL)


def test_what_came_later_is_left_out():
    jobs, details, _ = simulated(share=1.0)
    early = jobs["observed_at"].iloc[20]
    until = report(
        jobs[jobs["observed_at"] <= early],
        details[details["observed_at"] <= early],
        at=early,
        form="json",
    )
    assert json.loads(report(jobs, details, at=early, form="json")) == json.loads(until)


def test_the_page_of_ten_thousand_files_is_small():
    text = page("many_small_files", 10_000, 0.97)
    assert "10,000" in text
    assert len(text.encode()) < 1_000_000


def test_the_page_of_a_long_recording_is_small():
    count = 8_000
    start = datetime(2026, 5, 18, 8, tzinfo=UTC)
    rows = np.arange(count) * 1000 + np.random.default_rng(1).integers(0, 999, count)
    jobs = pd.DataFrame(
        {
            "source_uri": "u", "job_id": "7", "collection_name": "c", "snapshot_id": range(count),
            "observed_at": pd.date_range(start, periods=count, freq="2s").astype(
                "datetime64[us, UTC]"
            ),
            "state": "Importing", "progress_pct": 40 + 30 * rows // rows.max(),
            "imported_rows": rows, "total_rows": rows.max() + 1, "detail_count": 3,
            "file_size_bytes": 10**9,
        }
    )  # fmt: skip
    text = report(jobs, at=jobs["observed_at"].iloc[-1])
    assert len(text.encode()) < 1_000_000
    assert Page(text).problems == []


def test_no_text_of_a_server_becomes_markup():
    hostile = renamed(
        HOSTILE_NAMES,
        job_id=HOSTILE_NAMES[0],
        source_uri=HOSTILE_NAMES[1],
        collection_name=HOSTILE_NAMES[2],
        db_name=HOSTILE_NAMES[3],
        reason=HOSTILE_NAMES[3] + HOSTILE_NAMES[9] * 30,
    )
    harmless = renamed(
        FRAGMENTS, job_id="j", source_uri="u", collection_name="c", db_name="d", reason="r" * 2000
    )
    pages = [Page(report(jobs, details, at=at)) for jobs, details, at in (hostile, harmless)]
    assert pages[0].problems == []
    tags = [{tag for tag, _ in parsed.tags} for parsed in pages]
    attributes = [{name for _, attrs in parsed.tags for name in attrs} for parsed in pages]
    assert tags[0] == tags[1]
    assert attributes[0] == attributes[1]
    text = " ".join(pages[0].text)
    assert HOSTILE_NAMES[0] in text
    assert all(c.isprintable() or c in "\n\t" for c in text)
    assert len(report(*hostile[:2], at=hostile[2]).encode()) < 1_000_000


def test_names_in_other_scripts_are_on_the_page():
    names = [f"資料/{place}.parquet" for place in range(len(HOSTILE_NAMES))]
    jobs, details, at = renamed(names)
    assert all(name in report(jobs, details, at=at) for name in names)


def test_the_page_is_the_same_each_time_and_nothing_is_changed():
    jobs, details, at = simulated()
    copies = jobs.copy(deep=True), details.copy(deep=True)
    settings = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 30}):
        assert report(jobs, details, at=at) == page()
    assert dict(matplotlib.rcParams) == settings
    pd.testing.assert_frame_equal(jobs, copies[0])
    pd.testing.assert_frame_equal(details, copies[1])


# -- JSON -----------------------------------------------------------------------------------------


def no_constants(name):
    raise AssertionError(f"{name} is no JSON")


def loaded(jobs, details, at):
    return json.loads(report(jobs, details, at=at, form="json"), parse_constant=no_constants)


@pytest.mark.parametrize("share", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("shape", ["stragglers", "failing", "small_and_quick"])
def test_json_has_the_documented_keys_at_any_time(shape, share):
    data = loaded(*simulated(shape, 12, share))
    assert list(data) == [
        "format", "at", "headline", "job", "eta", "throughput", "diagnosis", "phases", "files",
        "stragglers", "failures",
    ]  # fmt: skip
    assert data["format"] == JSON_FORMAT
    documented = set(re.findall(r"``(\w+)``", report.__doc__))
    said = {key for part in data.values() if isinstance(part, dict) for key in part}
    said |= {key for name in ("diagnosis", "phases", "stragglers", "failures")
             for row in data[name] for key in row}  # fmt: skip
    assert said <= documented


def test_json_holds_the_values_of_the_analyses():
    jobs, details, at = simulated()
    data = loaded(jobs, details, at)
    latest = jobs.iloc[-1]
    assert data["job"]["imported_rows"] == latest["imported_rows"]
    assert data["job"]["snapshots"] == len(jobs)
    assert pd.Timestamp(data["job"]["last_observed_at"]) == latest["observed_at"]
    assert data["at"].endswith("Z")
    estimate = eta(jobs, details, at=at).iloc[-1]
    assert pd.Timestamp(data["eta"]["p50"]) == estimate["eta_p50"]
    assert data["eta"]["remaining_p90_s"] == estimate["remaining_p90_s"]
    assert [row["phase"] for row in data["phases"]] == phases(jobs)["phase"].astype(str).tolist()
    judged = stragglers(details, at=at)
    assert {row["file"] for row in data["stragglers"]} == set(
        judged.loc[judged["is_straggler"], "file"]
    )
    assert data["files"]["count"] == details["file_index"].nunique()
    assert sum(data["files"]["states"].values()) == data["files"]["count"]


def test_what_is_missing_is_null():
    jobs, details, at = simulated("stragglers", 40, 0.0)
    data = loaded(jobs, details, at)
    assert data["eta"]["p50"] is None
    assert data["eta"]["reason"] == "pending: no history"
    assert data["throughput"] == {"rows_per_s": None, "bytes_per_s": None, "rows_per_s_mean": None}
    assert data["phases"][0]["end"] is None


def test_names_come_back_from_json_as_they_were_sent():
    jobs, details, at = renamed(HOSTILE_NAMES, job_id=HOSTILE_NAMES[6], reason=HOSTILE_NAMES[7])
    text = report(jobs, details, at=at, form="json")
    assert text.isascii()
    data = json.loads(text)
    assert data["job"]["job_id"] == HOSTILE_NAMES[6]
    assert data["job"]["reason"] == HOSTILE_NAMES[7]


def test_failed_files_are_counted_by_cause():
    data = loaded(*failed_files())
    assert data["failures"] == [
        {
            "reason": "cannot read FILE: EOF",
            "files": 4,
            "culprits": ["in/2.parquet", "in/3.parquet", "in/4.parquet"],
            "examples": ["in/2.parquet", "in/3.parquet", "in/4.parquet"],
        },
        {"reason": "no space", "files": 1, "culprits": [], "examples": ["in/1.parquet"]},
    ]
    assert data["files"] == {"count": 6, "states": {"Failed": 5, "InProgress": 1}}


# -- Markdown -------------------------------------------------------------------------------------


def tables(text):
    """Rows of cells of each table, split where Markdown does."""
    found = re.findall(r"(?:^\|.*\|\n?)+", text, re.MULTILINE)
    return [
        [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in one.splitlines()]
        for one in found
    ]


def test_markdown_tables_line_up_and_hold_the_stragglers():
    jobs, details, at = simulated()
    text = report(jobs, details, at=at, form="md")
    for lines in re.findall(r"(?:^\|.*\|\n?)+", text, re.MULTILINE):
        assert len({len(line) for line in lines.splitlines()}) == 1
    judged = stragglers(details, at=at)
    late = judged.loc[judged["is_straggler"], "file"]
    assert {row[0].strip("`") for row in tables(text)[1][2:]} == set(late)
    assert "**Importing" in text
    assert "<" not in text


def test_no_text_of_a_server_becomes_markdown():
    jobs, details, at = renamed(
        HOSTILE_NAMES, job_id=HOSTILE_NAMES[9], collection_name=HOSTILE_NAMES[0],
        reason=HOSTILE_NAMES[9] + HOSTILE_NAMES[0],
    )  # fmt: skip
    text = report(jobs, details, at=at, form="md")
    for table in tables(text):
        assert len({len(row) for row in table}) == 1
    bare = re.sub(r"(`+) ?.*?\1", "", text)
    assert not re.search(r"(?<!\\)<", bare)
    assert not re.search(r"(?<!\\)\[", bare)
    assert "@all" not in bare
    assert all(c.isprintable() or c == "\n" for c in text)


def test_failures_by_cause_are_a_table():
    jobs, details, at = failed_files()
    [*_, causes] = tables(report(jobs, details, at=at, form="md"))
    assert causes[2] == [
        "`cannot read FILE: EOF`",
        "4",
        "`in/2.parquet, in/3.parquet, in/4.parquet`",
        "`in/2.parquet, in/3.parquet, in/4.parquet`",
    ]


def test_a_failed_job_is_reported_by_what_was_seen_before():
    jobs, details, at = failed_files()
    text = report(jobs, details, at=at, form="md")
    assert "- Progress: 55 %, before it failed" in text
    assert "- Rows: 500 of 1,000, before it failed" in text


# -- Errors ---------------------------------------------------------------------------------------


def test_a_form_that_there_is_not_is_refused():
    jobs, details, at = simulated()
    with pytest.raises(ValueError, match="form is one of html, md, json, not 'pdf'"):
        report(jobs, details, at=at, form="pdf")


@pytest.mark.parametrize("form", ["html", "md", "json"])
def test_none_or_several_jobs_are_refused(form):
    jobs, details, at = simulated()
    with pytest.raises(ValueError, match=r"no snapshot by 20\S+: its first is of 2026-"):
        report(jobs, details, at=at - timedelta(days=1000), form=form)
    with pytest.raises(ValueError, match="no answer about a job: check source_uri and job_id"):
        report(jobs.iloc[:0], details, at=at, form=form)
    two = pd.concat([jobs.astype({"job_id": "str"}), jobs.assign(job_id="8")])
    with pytest.raises(ValueError, match="snapshots of 2 jobs"):
        report(two, details, at=at, form=form)
